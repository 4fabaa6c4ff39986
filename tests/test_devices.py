"""Device handling without a GPU: on torch's meta device a tensor made on the wrong device raises; with a GPU, the numbers.

A meta tensor has a shape and no values, so what must be read back (features for the head, the embedding itself) is
made up at the one door that leads back to the CPU: ``Tensor.cpu``. Everything else runs as it would on a GPU.

The net has holes: matrix products without a bias, convolutions and ``copy_`` take a CPU operand on meta without a word.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from t2v import embedding, fisher, precision, probes, tasks, transfer

METHODS = ("rademacher", "sample", "exact", "variational")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")


class Small(nn.Module):
    """Convolution, batch norm, depthwise convolution and a head."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(
                nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 8, 3, groups=8)
            )
            self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(x).mean((2, 3)))


class Transformer(nn.Module):
    """One block of self-attention by plain Linear layers, as timm writes them."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.patch, self.norm = nn.Conv2d(3, 8, 8, stride=8), nn.LayerNorm(8)
            self.qkv, self.out, self.fc = nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patch(x).flatten(2).mT
        q, k, v = self.qkv(self.norm(tokens)).chunk(3, dim=2)
        return self.fc((tokens + self.out(nn.functional.scaled_dot_product_attention(q, k, v))).mean(1))


def small_task(classes: int = 3, n: int = 24) -> tasks.Task:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    part = tasks.ArrayDataset(rng.integers(0, 256, (n, 24, 24, 3), dtype=np.uint8), labels.astype(np.int64))
    return tasks.Task("small", part, part, tuple("abcdefgh"[:classes]))


@pytest.fixture
def readable_meta(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Let ``Tensor.cpu`` make values up for meta tensors, and keep the shapes that were read."""
    real, read = torch.Tensor.cpu, []
    generator = torch.Generator().manual_seed(0)

    def cpu(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_meta:
            return real(tensor)
        read.append(tensor.shape)
        return torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    return read


@pytest.mark.parametrize("network", [Small, Transformer])
@pytest.mark.parametrize("method", METHODS)
def test_an_embedding_is_made_on_its_device(
    network: type[nn.Module], method: embedding.Method, readable_meta: list[torch.Size]
) -> None:
    probe = probes.from_module(network())
    found = embedding.embed(small_task(), probe, method=method, device="meta", batch_size=5)
    assert probe.device.type == "meta"
    assert found.values.size == sum(probe.model.get_parameter(n).shape[0] for n in probe.layers)
    assert readable_meta


@pytest.mark.parametrize("curvature", ["gauss-newton", "reparametrised"])
def test_precisions_are_trained_on_the_device(
    curvature: precision.Curvature, readable_meta: list[torch.Size]
) -> None:
    model, x = Small().to("meta"), torch.rand(10, 3, 24, 24, device="meta")
    y = torch.zeros(10, dtype=torch.long, device="meta")
    found = precision.posterior(
        model, x, targets=y, curvature=curvature, burn=1, passes=1, batch_size=4, prior_var=0.1
    )
    assert all(v.is_meta for v in (*found.information.values(), *found.precision.values()))
    assert readable_meta == [torch.Size([])] * (
        2 + len(found.prior)
    )  # the history, and the priors: nothing large


def test_features_and_classes_go_through_the_device(readable_meta: list[torch.Size]) -> None:
    probe = probes.from_module(Small()).to("meta")
    images = small_task().train.images
    assert next(iter(probe.batches(images, 5))).is_meta
    assert probe.features(images, 5).shape == (24, 8)
    assert probe.classify(images, 5).shape == (24, 5)


def test_a_tensor_on_the_wrong_device_is_caught(
    readable_meta: list[torch.Size], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plant three bugs and see each one fail; without this the tests above could pass for no reason."""
    probe, task = probes.from_module(Small()), small_task()
    with monkeypatch.context() as patch:  # the head is left on the CPU
        patch.setattr(nn.Linear, "to", lambda self, *a, **k: self)
        with pytest.raises((RuntimeError, NotImplementedError)):
            embedding.embed(task, probe, device="meta")
    with monkeypatch.context() as patch:  # draws of the labels are left on the CPU
        patch.setattr(torch.Tensor, "to", _not_for_double(torch.Tensor.to))
        with pytest.raises((RuntimeError, NotImplementedError)):
            embedding.embed(task, probe, method="sample", device="meta")
    with monkeypatch.context() as patch:  # noise of the weights is left on the CPU
        patch.setattr(
            precision._Noisy,
            "draw",
            lambda self, p, g: {n: torch.randn(m.shape, generator=g) for n, m in self.means.items()},
        )
        with pytest.raises((RuntimeError, NotImplementedError)):
            embedding.embed(task, probe, method="variational", device="meta")


def _not_for_double(real: object) -> object:
    """Return a ``Tensor.to`` that forgets float64 tensors (the draws) on the CPU."""

    def to(tensor: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        return tensor if tensor.dtype == torch.float64 else real(tensor, *args, **kwargs)  # type: ignore[operator]

    return to


def test_fine_tuning_stays_on_the_device(
    readable_meta: list[torch.Size], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as meta goes: the check that the loss is finite must read a value, so it is told that it is."""
    monkeypatch.setattr(torch, "isfinite", lambda t: True)
    probe = probes.from_module(Small())
    expert = transfer.finetune(probe, small_task(), epochs=1, batch_size=8, device="meta")
    assert expert.device.type == "meta"
    assert expert.classifier is not None
    assert expert.classifier.weight.is_meta
    assert probe.device.type == "cpu"
    with monkeypatch.context() as patch:  # a planted bug: the labels stay on the CPU
        patch.setattr(torch, "from_numpy", _without_to(torch.from_numpy))
        with pytest.raises((RuntimeError, NotImplementedError)):
            transfer.finetune(probe, small_task(), epochs=1, device="meta")


def _without_to(real: object) -> object:
    """Return a ``from_numpy`` whose integer tensors cannot be moved."""

    class Stuck(torch.Tensor):
        def to(self, *args: object, **kwargs: object) -> torch.Tensor:
            return self.as_subclass(torch.Tensor)

    def from_numpy(array: np.ndarray) -> torch.Tensor:
        tensor = real(array)  # type: ignore[operator]
        return tensor.as_subclass(Stuck) if tensor.dtype == torch.int64 else tensor

    return from_numpy


@needs_gpu
@pytest.mark.parametrize("method", METHODS)
def test_gpu_gives_the_embedding_of_the_cpu(method: embedding.Method) -> None:
    one, two = (
        embedding.embed(small_task(), probes.from_module(Small()), method=method, device=d)
        for d in ("cpu", "cuda")
    )
    assert np.allclose(one.values, two.values, rtol=1e-2, atol=1e-4 * one.values.max())


@needs_gpu
def test_gpu_gives_the_precisions_of_the_cpu() -> None:
    model, x = Small().double().requires_grad_(False), torch.rand(12, 3, 24, 24).double()
    there = precision.posterior(copy.deepcopy(model).cuda(), x.cuda(), layers=["body.0"])
    here = precision.posterior(model, x, layers=["body.0"])
    assert torch.allclose(
        here.information["body.0.weight"], there.information["body.0.weight"].cpu(), rtol=1e-6
    )


@needs_gpu
def test_gpu_fine_tunes() -> None:
    expert = transfer.finetune(probes.from_module(Small()), small_task(), epochs=1, device="cuda")
    assert expert.device.type == "cuda"
    assert np.isfinite(expert.classify(small_task().train.images)).all()
    assert fisher.trace(expert.with_head(expert.classifier), torch.rand(4, 3, 24, 24)) > 0
