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


def test_nothing_is_pinned_and_no_weight_rearranged_off_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    def pin(tensor: torch.Tensor) -> torch.Tensor:
        raise AssertionError("pinned")

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    probe = probes.from_module(Small()).to("cpu")
    assert probe.features(small_task().train.images).shape == (24, 8)
    assert all(p.is_contiguous() for p in probe.model.parameters())
    with pytest.raises(AssertionError, match="pinned"):  # the branch that a GPU takes
        probes._sent(torch.zeros(2, 2), torch.device("cuda"))


def test_inputs_are_channels_last() -> None:
    probe = probes.from_module(Small())
    x = probe.preprocess(small_task().train.images)
    assert x.is_contiguous(memory_format=torch.channels_last)
    want = (small_task().train.images[3, 5, 7] / 255 - probe.mean) / probe.std
    assert np.allclose(x[3, :, 5, 7].numpy(), want, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_layout_of_the_weights_leaves_the_embedding(
    method: embedding.Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``Probe.to`` does on CUDA, done on the CPU."""
    want = embedding.embed(small_task(), probes.from_module(Small()), method=method, device="cpu")
    probe = probes.from_module(Small())
    monkeypatch.setattr(probes.Probe, "to", lambda self, device: self)
    probe.model.to(memory_format=torch.channels_last)
    assert not probe.model.body[0].weight.is_contiguous()
    got = embedding.embed(small_task(), probe, method=method, device="cpu")
    assert not probe.model.body[0].weight.is_contiguous()
    assert np.allclose(got.values, want.values, rtol=1e-4, atol=1e-8 * want.values.max())


def _switches() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def test_arithmetic_is_switched_and_switched_back() -> None:
    probe, before = probes.from_module(Small()), _switches()
    x = probe.preprocess(small_task().train.images)
    plain = probe.model(x)
    for arithmetic, inside in (("float32", (False,) * 2), ("tf32", (True,) * 2)):
        with probes.computing(probe, arithmetic):
            assert _switches() == inside
            assert torch.equal(probe.model(x), plain)
        assert _switches() == before
    with probes.computing(probe, "bfloat16"):
        rounded = probe.model(x)
        assert not torch.is_autocast_enabled("cpu")  # what comes behind the extractor is not rounded
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - plain).abs().max() < 0.05 * plain.abs().max()
    assert torch.equal(probe.model(x), plain)
    with pytest.raises(RuntimeError), probes.computing(probe, "bfloat16"):
        probe.model(x[:, :2])
    assert _switches() == before
    assert not torch.is_autocast_enabled("cpu")
    assert not probe.model._forward_hooks
    assert not probe.model._forward_pre_hooks
    with (
        pytest.raises(ValueError, match=r"arithmetic: 'half' is unknown; accepted: float32, tf32, bfloat16"),
        probes.computing(probe, "half"),  # type: ignore[arg-type]
    ):
        pass


@pytest.mark.parametrize("method", METHODS)
def test_float32_is_the_default_to_the_bit(method: embedding.Method) -> None:
    probe = probes.from_module(Small())
    plain = embedding.embed(small_task(), probe, method=method, device="cpu")
    for arithmetic in ("float32", "tf32"):  # TF32 exists on CUDA alone
        again = embedding.embed(small_task(), probe, method=method, device="cpu", arithmetic=arithmetic)
        assert np.array_equal(again.values, plain.values)
    rough = embedding.embed(small_task(), probe, method=method, device="cpu", arithmetic="bfloat16")
    assert "arithmetic" not in plain.metadata
    assert rough.metadata["arithmetic"] == "bfloat16"
    assert not np.array_equal(rough.values, plain.values)
    assert np.allclose(rough.values, plain.values, rtol=0.4, atol=0.02 * plain.values.max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["greek_lower", "mnist"])
def test_bfloat16_keeps_the_pattern_and_not_always_the_largest(name: str) -> None:
    """Against the noise of the seed, which divides the images and draws the labels."""
    task, probe = tasks.load(name, size=64, train=100, test=20), probes.load()
    first, *seeds = (embedding.embed(task, probe, seed=s, device="cpu").values for s in range(4))
    rough = embedding.embed(task, probe, device="cpu", arithmetic="bfloat16").values

    def log_correlation(other: np.ndarray) -> float:
        both = (first > 0) & (other > 0)
        return float(np.corrcoef(np.log(first[both]), np.log(other[both]))[0, 1])

    def log_trace_ratio(other: np.ndarray) -> float:
        return abs(float(np.log(other.sum() / first.sum())))

    def correlation(other: np.ndarray) -> float:
        return float(np.corrcoef(first, other)[0, 1])

    assert 1 - log_correlation(rough) < 0.5 * (1 - max(map(log_correlation, seeds)))
    if name == "greek_lower":
        assert log_trace_ratio(rough) < max(map(log_trace_ratio, seeds))
        assert correlation(rough) > max(map(correlation, seeds))
    else:  # wide black areas: not within the seed's noise, and the docstring says so
        assert log_trace_ratio(rough) > 0.5 * max(map(log_trace_ratio, seeds))
        assert correlation(rough) < min(map(correlation, seeds))


def test_squares_of_rounded_gradients_are_summed_in_single_precision() -> None:
    """Summed in bfloat16 itself, 4,096 equal terms stay at 256 of them: 256 + 1 rounds to 256."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 2, bias=False)).to(torch.bfloat16)
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
        model[1].weight[1] = -1.0
    found = fisher.diagonal(model, torch.ones(4096, 1, dtype=torch.bfloat16), batch_size=4096)
    p = torch.tensor([1.0, -1.0]).softmax(0)
    want = 4 * float(p[0] * p[1])
    assert found["0.weight"].dtype == torch.float32
    assert float(found["0.weight"]) == pytest.approx(want, rel=0.05)


@needs_gpu
def test_gpu_lays_the_weights_out_for_its_kernels() -> None:
    probe = probes.from_module(Small()).to("cuda")
    assert probe.model.body[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert probe.preprocess(small_task().train.images).is_contiguous(memory_format=torch.channels_last)
    assert probe.to("cpu").model.body[0].weight.is_contiguous()


@needs_gpu
@pytest.mark.parametrize(("arithmetic", "rtol"), [("tf32", 0.1), ("bfloat16", 0.5)])
def test_gpu_in_less_precision_stays_near(arithmetic: probes.Arithmetic, rtol: float) -> None:
    want, got = (
        embedding.embed(small_task(), probes.from_module(Small()), device="cuda", arithmetic=a)
        for a in ("float32", arithmetic)
    )
    assert np.allclose(got.values, want.values, rtol=rtol, atol=0.02 * want.values.max())


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
