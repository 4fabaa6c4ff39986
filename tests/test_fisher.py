"""The Fisher matrix against brute force in float64, closed forms, torch.func and a peer library."""

from __future__ import annotations

import copy
import math

import pytest
import timm
import torch
from torch import Tensor, nn

from t2v import fisher


def brute_force(
    model: nn.Module, x: Tensor, expectation: str = "exact", targets: Tensor | None = None
) -> dict[str, Tensor]:
    """Square the gradient of log p(y|x) sample by sample, label by label, with plain autograd."""
    model = copy.deepcopy(model).eval()
    for p in model.parameters():
        p.requires_grad_(True)
    named = dict(model.named_parameters())
    total = {name: torch.zeros_like(p) for name, p in named.items()}
    for i in range(len(x)):
        log_p = model(x[i : i + 1])[0].log_softmax(0)
        p = log_p.detach().exp()
        labels = range(len(log_p)) if expectation == "exact" else [int(targets[i])]
        for y in labels:
            weight = float(p[y]) if expectation == "exact" else 1.0
            gradients = torch.autograd.grad(
                log_p[y], list(named.values()), retain_graph=True, allow_unused=True
            )
            for name, g in zip(named, gradients, strict=True):
                if g is not None:
                    total[name] += weight * g**2
    return {name: t / len(x) for name, t in total.items()}


def assert_same(
    ours: dict[str, Tensor], oracle: dict[str, Tensor], pool: str | None, rtol: float = 1e-10
) -> None:
    assert list(ours) == list(oracle)
    for name, want in oracle.items():
        if pool == "filter" and want.ndim > 1:
            want = want.mean(0) if "embedding" in name else want.flatten(1).mean(1)
        got = ours[name]
        assert got.shape == want.shape, name
        error = float((got - want).abs().max() / want.abs().max().clamp(min=1e-300))
        index = int((got - want).abs().argmax())
        ratio = float(got.flatten()[index] / want.flatten()[index])
        assert error <= rtol, (
            f"{name}[{index}]: {got.flatten()[index]} and {want.flatten()[index]}, ratio {ratio}"
        )


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give weights, biases and running statistics values that hide no mistake behind zeros and ones."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double()
    for p in model.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64) * (0.3 if p.ndim > 1 else 0.5)
    for name, buffer in model.named_buffers():
        if "running_var" in name:
            buffer.data = torch.rand(buffer.shape, generator=generator, dtype=torch.float64) + 0.5
        elif "running_mean" in name:
            buffer.data = torch.randn(buffer.shape, generator=generator, dtype=torch.float64) * 0.2
    return model


def head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3)]


class Tokens(nn.Module):
    """Embedding, LayerNorm and Linear on token sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 6, padding_idx=0)
        self.norm = nn.LayerNorm(6)
        self.linear = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(self.embedding(x)).tanh()).mean(1)


class Residual(nn.Module):
    """In-place activations and additions, as torchvision's ResNet has them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Sequential(*head(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(x))
        out += x
        return self.head(self.relu(out))


IMAGES = (4, 3, 9, 8)
MODELS = {
    "linear": (lambda: nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), (4, 5)),
    "linear without bias": (lambda: nn.Sequential(nn.Linear(5, 3, bias=False)), (4, 5)),
    "conv": (lambda: nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(inplace=True), *head(5)), IMAGES),
    "conv as first layer, in place": (
        lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(inplace=True), *head(5)),
        IMAGES,
    ),
    "conv strided dilated": (
        lambda: nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, dilation=2, padding=(2, 1)), nn.Tanh(), *head(5)),
        IMAGES,
    ),
    "conv same padding": (
        lambda: nn.Sequential(nn.Conv2d(3, 5, (2, 4), padding="same"), nn.Tanh(), *head(5)),
        IMAGES,
    ),
    "conv reflect": (
        lambda: nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, padding_mode="reflect"), nn.Tanh(), *head(5)),
        IMAGES,
    ),
    "conv grouped": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 3, groups=2), nn.Tanh(), *head(6)),
        IMAGES,
    ),
    "conv grouped pointwise": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 1, groups=2), nn.Tanh(), *head(6)),
        IMAGES,
    ),
    "conv depthwise": (
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, stride=2, padding=1), nn.Tanh(), *head(6)),
        IMAGES,
    ),
    "conv depthwise large map": (
        lambda: nn.Sequential(nn.Conv2d(3, 3, 2, groups=3, dilation=2), nn.Tanh(), *head(3)),
        (2, 3, 20, 20),
    ),
    "conv to one position": (lambda: nn.Sequential(nn.Conv2d(3, 5, (9, 8)), nn.Tanh(), *head(5)), IMAGES),
    "conv gram": (lambda: nn.Sequential(nn.Conv2d(3, 40, 6), nn.Tanh(), *head(40)), IMAGES),
    "conv1d": (
        lambda: nn.Sequential(nn.Conv1d(3, 4, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)),
        (4, 3, 9),
    ),
    "conv3d": (
        lambda: nn.Sequential(nn.Conv3d(2, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3)),
        (3, 2, 3, 3, 3),
    ),
    "conv3d depthwise": (
        lambda: nn.Sequential(nn.Conv3d(2, 2, 2, groups=2), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)),
        (3, 2, 3, 3, 3),
    ),
    "batch norm": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), *head(4)),
        IMAGES,
    ),
    "batch norm 1d": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3)),
        (4, 5),
    ),
    "group norm": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.Tanh(), *head(4)),
        IMAGES,
    ),
    "layer norm 2 axes": (
        lambda: nn.Sequential(nn.LayerNorm((3, 5)), nn.Flatten(), nn.Linear(15, 3)),
        (4, 3, 5),
    ),
    "linear on few tokens": (
        lambda: nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 4), nn.Flatten(), nn.Linear(12, 3)),
        (4, 3, 20),
    ),
    "linear on many tokens": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Flatten(), nn.Linear(80, 3)),
        (4, 20, 3),
    ),
    "residual": (Residual, IMAGES),
    "tokens": (Tokens, "tokens"),
}


def build(name: str) -> tuple[nn.Module, Tensor]:
    make, shape = MODELS[name]
    torch.manual_seed(1)
    model = randomise(make())
    if shape == "tokens":
        return model, torch.tensor([[1, 2, 2, 0, 5], [3, 3, 3, 6, 0], [4, 1, 2, 3, 6]])
    return model, torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize("pool", [None, "filter"])
@pytest.mark.parametrize("name", MODELS)
def test_diagonal_is_brute_force(name: str, pool: str | None) -> None:
    model, x = build(name)
    assert_same(fisher.diagonal(model, x, pool=pool), brute_force(model, x), pool)


class Norms(nn.Module):
    """A convolution, a batch norm and what is made of their outputs."""

    def __init__(self, use, kind: type[nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.use, self.conv, self.norm = use, nn.Conv2d(3, 4, 3, padding=1), kind(4)
        self.head = nn.Sequential(*head(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.use(self, x))


def gated(m: Norms, x: Tensor) -> Tensor:
    """What the norm reads decides, outside the graph, on what goes on."""
    y = m.conv(x)
    return m.norm(y).tanh() * (y.detach().mean((1, 2, 3), keepdim=True) > 0.3)


#: What follows a norm; whether it may be folded; whether its output is kept as a copy.
FOLDS = {
    "tanh": (lambda m, x: m.norm(m.conv(x)).tanh(), True, False),
    "clipped in place": (lambda m, x: m.norm(m.conv(x)).relu_(), True, False),
    "clipped in place at both ends": (lambda m, x: nn.functional.hardtanh_(m.norm(m.conv(x))), True, False),
    "added in place": (lambda m, x: m.norm(m.conv(x)).add_(x.sum(1, keepdim=True)).relu_(), True, True),
    "in place, no clipping": (lambda m, x: m.norm(m.conv(x)).sigmoid_(), True, True),
    "norm read twice": (lambda m, x: m.norm(m.conv(x)).tanh() * m.norm(m.conv(x).detach()), False, False),
    "convolution read twice": (lambda m, x: (lambda y: m.norm(y).tanh() * y)(m.conv(x)), False, False),
    "activation between": (lambda m, x: m.norm(m.conv(x).tanh()), False, False),
    "activation in place between": (lambda m, x: m.norm(m.conv(x).relu_()), False, False),
    "a slope of zero": (lambda m, x: m.norm(m.conv(x)).tanh(), False, False),
}


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("name", FOLDS)
def test_a_folded_batch_norm_is_brute_force(name: str, check: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    use, folds, copied = FOLDS[name]
    model = randomise(Norms(use))
    x = torch.randn(IMAGES, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    seen = []
    own = fisher.Folding.use
    monkeypatch.setattr(fisher.Folding, "use", lambda self, pairs: seen.extend(pairs) or own(self, pairs))
    if name == "norm read twice" and not check:
        with pytest.raises(ValueError, match="more than once"):
            fisher.diagonal(model, x, check=False)
        return
    if name == "a slope of zero":
        model.norm.weight.data[1] = 0.0
    for pool in (None, "filter"):
        assert_same(fisher.diagonal(model, x, pool=pool, check=check), brute_force(model, x), pool)
    assert {(pair.conv, pair.norm, pair.copied) for pair in seen} == (
        {("conv", "norm", copied)} if folds else set()
    )
    norms = fisher.gradient_norms(model, x, check=check)
    total = sum(float(t.sum()) for t in brute_force(model, x).values())
    assert float(norms.square().mean()) == pytest.approx(total, rel=1e-9)
    for layers in (["conv"], ["norm"], ["norm.bias", "head"]):
        some = fisher.diagonal(model, x, layers=layers, check=check)
        truth = brute_force(model, x)
        assert_same(some, {n: truth[n] for n in some}, None)


def test_a_convolution_whose_output_decides_outside_the_graph_is_not_folded() -> None:
    """The graph shows one reader; the logits alone tell. Without comparing them the control below would be wrong."""
    model = randomise(Norms(gated))
    model.norm.running_mean += 1.0
    x = torch.randn(8, 3, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    y = model.conv(x).mean((1, 2, 3)) > 0.3
    folded = model.eval().norm(model.conv(x)).mean((1, 2, 3)) > 0.3
    assert bool((y != folded)[0])  # else this test asks nothing
    for check in (True, False):
        assert_same(fisher.diagonal(model, x, check=check), brute_force(model, x), None)


def test_folding_leaves_no_trace_and_user_hooks_forbid_it() -> None:
    model = randomise(Norms(FOLDS["tanh"][0])).train()
    x = torch.randn(IMAGES, dtype=torch.float64)
    conv, norm = model.conv, model.norm
    before = [(n, id(p), p.clone()) for n, p in model.named_parameters()]
    fisher.diagonal(model, x)
    with pytest.raises(ValueError, match="NaN"):
        fisher.diagonal(model, [x, torch.full_like(x, math.nan)])
    after = list(model.named_parameters())
    assert [(n, i) for n, i, _ in before] == [(n, id(p)) for n, p in after]
    assert all(torch.equal(value, p) for (_, _, value), (_, p) in zip(before, after, strict=True))
    assert "forward" not in norm.__dict__
    assert norm.training
    seen = []
    conv.register_forward_hook(lambda _m, _a, out: seen.append(out.detach()))
    fisher.diagonal(model, x)
    assert all(torch.equal(out[:1], seen[0][:1]) for out in seen)


def test_a_large_sample_goes_in_smaller_batches() -> None:
    """As many numbers as eight pictures of 224 pixels; the result is that of one batch."""
    model, _ = build("batch norm")
    x = torch.randn(5, 3, 300, 500, dtype=torch.float64)
    sizes = []
    model.register_forward_pre_hook(lambda _m, args: sizes.append(len(args[0])))
    whole = fisher.diagonal(model, x, check=False, expectation="rademacher")
    assert max(sizes) <= fisher._NUMBERS // x[0].numel() == 2
    parts = fisher.diagonal(model, x.split(1), check=False, expectation="rademacher")
    assert all(torch.allclose(whole[n], parts[n], rtol=1e-9) for n in whole)


@pytest.mark.parametrize("shape", [(40, 6, 1), (8, 8, 3), (16, 5, 5), (6, 4, 7)])
def test_every_route_to_the_row_norms_gives_the_same(shape: tuple[int, int, int]) -> None:
    """The routes differ by cost alone: each is forced in turn."""
    from t2v import _layers

    channels, side, kernel = shape
    conv = nn.Conv2d(channels, 9, kernel, padding=kernel // 2).double()
    g = torch.Generator().manual_seed(1)
    x = torch.randn(3, channels, side, side, dtype=torch.float64, generator=g)
    layer = _layers.ConvLayer(conv, x, "conv")
    layer.shape = conv(x).shape
    slope = torch.randn(layer.shape, dtype=torch.float64, generator=g)
    flat = layer.gradient(slope)
    want = torch.stack(
        [
            nn.grad.conv2d_weight(x[i : i + 1], conv.weight.shape, slope[i : i + 1], padding=kernel // 2)
            .square()
            .sum((1, 2, 3))
            for i in range(3)
        ]
    )
    gram = _layers._gram(layer.patches())
    routes = {
        "products": layer.norms_of_products(flat),
        "patches": ((flat @ gram) * flat).sum(3),
        "chosen": layer.row_norms(flat),
    }
    if kernel > 1:
        routes["pixels"] = ((flat @ layer._pixel_gram()) * flat).sum(3)
    for name, rows in routes.items():
        assert torch.allclose(rows[:, 0], want, rtol=1e-11), name


@pytest.mark.parametrize("pool", [None, "filter"])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 5, "padding": 2},
        {"kernel_size": 5, "padding": 4, "stride": 2},
        {"kernel_size": (5, 3), "padding": (3, 1), "dilation": (1, 2)},
        {"kernel_size": 5, "padding": 2, "padding_mode": "circular"},
        {"kernel_size": 3, "padding": "same"},
        {"kernel_size": 3, "stride": 2},
    ],
)
def test_a_depthwise_kernel_that_mostly_meets_padding_is_brute_force(pool: str | None, options: dict) -> None:
    torch.manual_seed(1)
    model = randomise(nn.Sequential(nn.Conv2d(3, 6, groups=3, **options), nn.Tanh(), *head(6)))
    x = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    assert_same(fisher.diagonal(model, x, pool=pool), brute_force(model, x), pool)


@pytest.mark.parametrize("pool", [None, "filter"])
def test_empirical_is_brute_force_and_differs_from_the_true_fisher(pool: str | None) -> None:
    model, x = build("residual")
    y = torch.tensor([0, 2, 1, 0])
    ours = fisher.diagonal(model, x, expectation="empirical", targets=y, pool=pool)
    assert_same(ours, brute_force(model, x, "empirical", y), pool)
    true = fisher.diagonal(model, x, pool=pool)
    assert any(not torch.allclose(ours[n], true[n], rtol=0.1) for n in true)


@pytest.mark.slow
def test_efficientnet_is_brute_force() -> None:
    model = randomise(timm.create_model("tf_efficientnet_lite0", num_classes=2))
    for p in model.parameters():
        p.data *= 0.5
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    assert_same(fisher.diagonal(model, x, pool="filter"), brute_force(model, x), "filter")


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto"])
def test_timm_models_are_brute_force_where_supported(name: str) -> None:
    kwargs = {"img_size": 32} if name.startswith("vit") else {}
    model = timm.create_model(name, num_classes=2, **kwargs).double().eval()
    layers = [
        f"{n}.{k}"
        for n, m in model.named_modules()
        if isinstance(m, nn.Linear | nn.Conv2d | nn.LayerNorm | nn.BatchNorm2d)
        for k, _ in m.named_parameters(recurse=False)
    ]
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    oracle = brute_force(model, x)
    ours = fisher.diagonal(model, x, layers=layers, pool="filter")
    assert_same(ours, {n: oracle[n] for n in ours}, "filter")


def test_logistic_regression_in_closed_form() -> None:
    """F = E[(diag p − ppᵀ) ⊗ xxᵀ] for softmax regression without bias."""
    model, x = build("linear without bias")
    p = model(x).softmax(1)
    covariance = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    want = torch.einsum("nab,ni,nj->aibj", covariance, x, x).reshape(15, 15) / len(x)
    full = fisher.full(model, x)
    assert torch.allclose(full, want, atol=1e-14)
    assert torch.allclose(fisher.diagonal(model, x)["0.weight"].flatten(), want.diag(), atol=1e-14)


@pytest.mark.parametrize("name", ["conv", "batch norm", "linear"])
def test_diagonal_trace_and_norms_agree_with_full(name: str) -> None:
    model, x = build(name)
    full = fisher.full(model, x)
    diagonal = torch.cat([d.flatten() for d in fisher.diagonal(model, x).values()])
    assert torch.allclose(full.diag(), diagonal, rtol=1e-10)
    assert fisher.trace(model, x) == pytest.approx(float(full.trace()), rel=1e-10)
    norms = fisher.gradient_norms(model, x)
    assert norms.shape == (len(x),)
    assert float(norms.square().mean()) == pytest.approx(float(full.trace()), rel=1e-10)


def test_full_is_the_hessian_of_the_kl_divergence() -> None:
    """The definition that does not mention scores: KL(p_w ‖ p_{w+d}) ≈ ½ dᵀ F d."""
    model, x = build("linear")
    named = {n: p.detach() for n, p in model.named_parameters()}
    p = model(x).softmax(1).detach()

    def divergence(flat: Tensor) -> Tensor:
        sizes = [v.numel() for v in named.values()]
        params = {n: f.view(v.shape) for (n, v), f in zip(named.items(), flat.split(sizes), strict=True)}
        log_q = torch.func.functional_call(model, params, (x,)).log_softmax(1)
        return (p * (p.log() - log_q)).sum(1).mean()

    flat = torch.cat([v.flatten() for v in named.values()])
    hessian = torch.autograd.functional.hessian(divergence, flat)
    assert torch.allclose(fisher.full(model, x), hessian, atol=1e-10)


@pytest.mark.parametrize("expectation", ["sample", "rademacher"])
def test_monte_carlo_is_unbiased_and_converges_at_root_n(expectation: str) -> None:
    model, x = build("linear")
    exact = fisher.diagonal(model, x)["0.weight"]
    errors = {}
    for draws in (8, 512):
        options = {"expectation": expectation, "draws": draws}
        runs = torch.stack([fisher.diagonal(model, x, seed=s, **options)["0.weight"] for s in range(10)])
        errors[draws] = float((runs - exact).square().mean().sqrt() / exact.mean())
    slope = math.log(errors[512] / errors[8]) / math.log(512 / 8)
    assert -0.65 < slope < -0.35, errors
    assert errors[512] < 0.1, errors


def relative_noise(model: nn.Module, x: Tensor, expectation: str, seeds: int = 60) -> float:
    exact = fisher.diagonal(model, x, pool="filter")["0.weight"]
    runs = [fisher.diagonal(model, x, expectation=expectation, pool="filter", seed=s) for s in range(seeds)]
    return float(torch.stack([r["0.weight"] - exact for r in runs]).square().mean().sqrt() / exact.mean())


def test_rademacher_is_less_noisy_than_a_sampled_label_where_the_model_is_confident() -> None:
    """A sampled label of a confident model is a rare event; of an unsure one it is the better draw."""
    torch.manual_seed(2)
    model, x = (
        nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 20)).double(),
        torch.randn(8, 5).double(),
    )
    assert relative_noise(model, x, "sample") < relative_noise(model, x, "rademacher")
    model[2].weight.data *= 20
    assert relative_noise(model, x, "rademacher") < relative_noise(model, x, "sample")


@pytest.mark.parametrize("expectation", ["exact", "sample", "rademacher"])
def test_result_does_not_depend_on_the_batching(expectation: str) -> None:
    model, x = build("batch norm")
    whole = fisher.diagonal(model, x, expectation=expectation, draws=3, seed=2)
    for batches in (x.split(1), (b for b in x.split(3))):
        parts = fisher.diagonal(model, batches, expectation=expectation, draws=3, seed=2)
        for name in whole:
            assert torch.allclose(whole[name], parts[name], rtol=1e-10), name
    again = fisher.diagonal(model, x, expectation=expectation, draws=3, seed=2, batch_size=2)
    assert all(torch.allclose(whole[n], again[n], rtol=1e-10) for n in whole)


def test_seed_changes_the_draws_and_only_them() -> None:
    model, x = build("linear")
    first, second, other = (
        fisher.diagonal(model, x, expectation="sample", seed=s)["0.weight"] for s in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_logdet_matches_slogdet_and_the_gram_route() -> None:
    model, x = build("linear")
    full = fisher.full(model, x)
    size = len(full)
    for damping, scale in ((0.1, 1.0), (2.0, 50.0)):
        want = torch.linalg.slogdet(scale * full + damping * torch.eye(size, dtype=torch.float64)).logabsdet
        assert fisher.logdet(model, x, damping=damping, scale=scale) == pytest.approx(float(want), rel=1e-9)
    wide = randomise(nn.Sequential(nn.Linear(5, 60), nn.Tanh(), nn.Linear(60, 3)))
    full = fisher.full(wide, x)
    want = torch.linalg.slogdet(full + 0.5 * torch.eye(len(full), dtype=torch.float64)).logabsdet
    assert fisher.logdet(wide, x, damping=0.5) == pytest.approx(float(want), rel=1e-9)


def test_logdet_refuses_a_singular_matrix_and_names_its_rank() -> None:
    model, x = build("linear")
    with pytest.raises(ValueError, match=r"singular \(rank 8 of 39\)"):
        fisher.logdet(model, x)
    with pytest.raises(ValueError, match="damping"):
        fisher.logdet(model, x, damping=-1.0)
    with pytest.raises(ValueError, match="scale"):
        fisher.logdet(model, x, damping=1.0, scale=0.0)


def test_logdet_without_damping_where_the_matrix_is_regular() -> None:
    class Slope(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            z = self.linear(x)
            return torch.cat([z, torch.zeros_like(z)], 1)

    model, x = randomise(Slope()), torch.randn(20, 3, dtype=torch.float64)
    want = torch.linalg.slogdet(fisher.full(model, x)).logabsdet
    assert fisher.logdet(model, x) == pytest.approx(float(want), rel=1e-9)
    # Other units, and so an ill-conditioned matrix, change |F| by the squares of the factors, and nothing else.
    units = torch.tensor([1.0, 1e-2, 1e-4], dtype=torch.float64)
    with torch.no_grad():
        model.linear.weight /= units
    assert torch.linalg.cond(fisher.full(model, x * units)) > 1e7
    scaled = want + 2 * units.log().sum()
    assert fisher.logdet(model, x * units) == pytest.approx(float(scaled), rel=1e-7)


def test_sampling_errors_of_diagonal_and_full_matrix_are_those_of_gaussian_inputs() -> None:
    """Two classes at p = ½ and standard normal inputs: F̂ is a quarter of the second moments of n inputs.

    The relative squared errors in the Frobenius norm are (d + 1)/n for the matrix and 2/n for its diagonal.
    """
    d, n, repetitions = 12, 30, 150
    model = nn.Linear(d, 2, bias=False).double()
    nn.init.zeros_(model.weight)
    g = torch.Generator().manual_seed(0)
    errors = []
    for _ in range(repetitions):
        found = fisher.full(model, torch.randn(n, d, generator=g, dtype=torch.float64))
        block = found[:d, :d] - 0.25 * torch.eye(d, dtype=torch.float64)
        errors.append([block.square().sum(), block.diagonal().square().sum()])
    relative = torch.tensor(errors).mean(0) / (d / 16)
    assert relative[0].item() == pytest.approx((d + 1) / n, rel=0.1)
    assert relative[1].item() == pytest.approx(2 / n, rel=0.2)


def test_agrees_with_curvlinops() -> None:
    """A peer's generalised Gauss–Newton matrix of the cross-entropy is this Fisher matrix."""
    curvlinops = pytest.importorskip("curvlinops")
    model, x = build("linear")
    y = torch.zeros(len(x), dtype=torch.long)
    peer = curvlinops.GGNLinearOperator(
        model,
        nn.CrossEntropyLoss(reduction="mean"),
        list(model.parameters()),
        [(x, y)],
        check_deterministic=False,
    )
    dense = torch.as_tensor(peer @ torch.eye(peer.shape[1], dtype=torch.float64))
    assert torch.allclose(fisher.full(model, x), dense, atol=1e-10)


def test_model_comes_back_as_it_was_also_after_an_exception() -> None:
    model, x = build("batch norm")
    model.train()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    modes = [m.training for m in model.modules()]
    flags = [p.requires_grad for p in model.parameters()]
    mean = model[1].running_mean.clone()

    def unchanged() -> bool:
        hooks = any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
        return (
            modes == [m.training for m in model.modules()]
            and flags == [p.requires_grad for p in model.parameters()]
            and torch.equal(mean, model[1].running_mean)
            and all(p.grad is None for p in model.parameters())
            and not hooks
        )

    fisher.diagonal(model, x)
    assert unchanged()
    with pytest.raises(ValueError, match="NaN"):
        fisher.diagonal(model, torch.full_like(x, math.nan))
    assert unchanged()
    with pytest.raises(RuntimeError):
        fisher.diagonal(model, x[:, :2])
    assert unchanged()
    fisher.full(model, x)
    assert unchanged()


def test_it_runs_in_eval_mode_whatever_the_model_was_in() -> None:
    model, x = build("batch norm")
    model.eval()
    want = fisher.diagonal(model, x)
    model.train()
    got = fisher.diagonal(model, x)
    assert all(torch.equal(want[n], got[n]) for n in want)


def test_layers_select_modules_and_parameters() -> None:
    model, x = build("batch norm")
    everything = fisher.diagonal(model, x)
    some = fisher.diagonal(model, x, layers=["1", "0.weight"])
    assert list(some) == ["0.weight", "1.weight", "1.bias"]
    assert all(torch.equal(some[n], everything[n]) for n in some)
    with pytest.raises(ValueError, match=r"'0\.weigth' is not in the model; nearest: 0\.weight"):
        fisher.diagonal(model, x, layers=["0.weigth"])


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * x


class Sneaky(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_unsupported_layers_are_refused_by_name() -> None:
    x = torch.randn(4, 5)
    cases = [
        (nn.Sequential(Scale(), nn.Linear(5, 3)), r"'0\.gamma' belongs to a Scale"),
        (nn.Sequential(nn.Linear(5, 5), nn.PReLU(), nn.Linear(5, 3)), r"'1\.weight' belongs to a PReLU"),
        (
            nn.Sequential(nn.BatchNorm1d(5, track_running_stats=False), nn.Linear(5, 3)),
            "no running statistics",
        ),
    ]
    for model, message in cases:
        with pytest.raises(ValueError, match=message):
            fisher.diagonal(model, x)
    with pytest.raises(ValueError, match="'0': Sneaky computes something else than Linear"):
        fisher.diagonal(nn.Sequential(Sneaky(5, 3)), x, check=False)  # with it, see test_layers.py
    shared = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3))
    shared[1].weight = shared[0].weight
    for layers in (None, ["0"], ["1.weight"]):  # one layer alone shows only a part of the tensor's gradient
        with pytest.raises(ValueError, match="one shared tensor"):
            fisher.trace(shared, x, layers=layers)
    assert list(fisher.diagonal(shared, x, layers=["2"])) == ["2.weight", "2.bias"]
    layer = nn.Linear(5, 5)
    with pytest.raises(ValueError, match="more than once"):
        fisher.diagonal(nn.Sequential(layer, layer, nn.Linear(5, 3)), x, layers=["0"], check=False)
    unused = nn.Sequential(nn.Linear(5, 3))
    unused.register_module("spare", None)
    unused.spare = nn.Linear(2, 2)
    unused.forward = lambda x: unused[0](x)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"'spare' .* took no part"):
        fisher.diagonal(unused, x)


def test_bad_input_is_refused_with_a_reason() -> None:
    model, x = build("linear")
    cases = [
        (x[:0], {}, "at least one"),
        (torch.where(torch.arange(4)[:, None] == 2, math.nan, x), {}, "inputs: sample 2 has NaN"),
        ([x, torch.full_like(x, math.inf)], {}, "inputs: sample 4"),
        (x, {"expectation": "exactly"}, "accepted: exact, sample, rademacher, empirical"),
        (x, {"draws": 0}, "draws: 0"),
        (x, {"pool": "layer"}, "pool: 'layer'"),
        (x, {"expectation": "empirical"}, "needs labels"),
        (
            x,
            {"expectation": "empirical", "targets": torch.tensor([0, 1, 2, 3])},
            r"label 3 is out of range; .* 3 classes",
        ),
        (x, {"expectation": "empirical", "targets": torch.tensor([0, 1])}, "2 labels for 4 inputs"),
        (x, {"layers": []}, "non-empty list"),
        ([], {}, "no sample"),
    ]
    for inputs, options, message in cases:
        with pytest.raises(ValueError, match=message):
            fisher.diagonal(model, inputs, **options)
    truth = torch.tensor([True, False, True, False])
    with pytest.raises(ValueError, match=r"integer labels of shape \(4,\) are accepted, not torch.bool"):
        fisher.diagonal(model, x, expectation="empirical", targets=truth)
    for wrong in (x.numpy(), [x.numpy()], [{"x": x}], "batches", None):
        with pytest.raises(TypeError, match="inputs: "):
            fisher.diagonal(model, wrong)
    with pytest.raises(ValueError, match="no parameters"):
        fisher.full(nn.Tanh(), x)
    overflow = torch.ones(3, 5, dtype=torch.float64)
    overflow[1] = 1e200
    linear = nn.Sequential(nn.Linear(5, 3)).double()
    linear[0].weight.data.fill_(1e200)
    with pytest.raises(ValueError, match="logits: sample 1 has"):
        fisher.diagonal(linear, overflow)
    with pytest.raises(ValueError, match="must return logits"):
        fisher.diagonal(nn.Sequential(nn.Conv2d(3, 2, 1)), torch.randn(2, 3, 4, 4))
    with pytest.raises(ValueError, match="GiB"):
        fisher.full(nn.Sequential(nn.Linear(3000, 300)), torch.randn(2, 3000))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_labels_of_any_integer_type_are_labels(dtype: torch.dtype) -> None:
    model, x = build("linear")
    y = torch.arange(len(x)) % 3
    want = fisher.trace(model, x, expectation="empirical", targets=y)
    assert fisher.trace(model, [(x, y.to(dtype))], expectation="empirical") == want
    assert torch.equal(
        fisher.full(model, x, "empirical", targets=y.to(dtype)), fisher.full(model, x, "empirical", targets=y)
    )


def test_everything_stays_on_the_models_device() -> None:
    """On the meta device a tensor made on the CPU by mistake raises: a test of device handling without a GPU."""
    for name in (
        "batch norm",
        "conv depthwise",
        "conv gram",
        "linear on few tokens",
        "layer norm 2 axes",
        "group norm",
    ):
        model, x = build(name)
        model, x = model.to("meta"), x.to("meta")
        for expectation in ("exact", "sample", "rademacher"):
            for pool in (None, "filter"):
                out = fisher.diagonal(model, x, expectation=expectation, pool=pool)
                assert all(value.is_meta for value in out.values())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_gpu_gives_the_same_numbers() -> None:
    model, x = build("residual")
    for expectation in ("exact", "sample", "rademacher"):
        cpu = fisher.diagonal(model, x, expectation=expectation)
        gpu = fisher.diagonal(copy.deepcopy(model).cuda(), x.cuda(), expectation=expectation)
        assert all(torch.allclose(cpu[n], gpu[n].cpu(), rtol=1e-8) for n in cpu)
