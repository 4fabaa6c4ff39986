"""Layers whose first axis is not the sample, and weights that are used outside their layer: right, or refused by name.

The oracle is plain autograd, sample by sample and class by class, on two copies of the sample: it knows nothing of layers.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import timm
import torch
from helpers import load_script
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from t2v import fisher, precision


def oracle(model: nn.Module, x: Tensor, names: list[str]) -> dict[str, Tensor]:
    """Return the exact Fisher information of each weight; a batch of one would meet faults of torch's kernels."""
    was = [p.requires_grad for p in model.parameters()]
    parameters = [model.get_parameter(name).requires_grad_(True) for name in names]
    total = [torch.zeros_like(p) for p in parameters]
    for i in range(len(x)):
        log_p = model(torch.cat([x[i : i + 1]] * 2))[0].log_softmax(0)
        for value in log_p:
            found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
            for t, g in zip(total, found, strict=True):
                if g is not None:
                    t += value.detach().exp() * g**2 / len(x)
    for p, flag in zip(model.parameters(), was, strict=True):
        p.requires_grad_(flag)
    return {name: t.detach() for name, t in zip(names, total, strict=True)}


def worst(ours: dict[str, Tensor], truth: dict[str, Tensor]) -> float:
    """Return the largest error of a parameter, relative to its largest value."""
    return max(
        float((ours[n] - t).abs().max() / t.abs().max()) if t.any() else float(ours[n].abs().max())
        for n, t in truth.items()
    )


def pooled(truth: dict[str, Tensor], columns: tuple[str, ...] = ()) -> dict[str, Tensor]:
    return {
        n: t.mean(0) if n in columns else t.flatten(1).mean(1) if t.ndim > 1 else t for n, t in truth.items()
    }


class Net(nn.Module):
    """A layer, what is done around it, and a head."""

    def __init__(self, layer: nn.Module, use: Callable[[nn.Module, Tensor], Tensor], width: int) -> None:
        super().__init__()
        self.layer, self.use, self.head = layer, use, nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.use(self.layer, x)))


def tokens(layer: nn.Module, x: Tensor) -> Tensor:
    """(n, 4, 6): every token a row of the first axis, as attention in windows has it."""
    return layer(x.reshape(-1, 6)).reshape(len(x), 4, -1).mean(1)


def windows(layer: nn.Module, x: Tensor) -> Tensor:
    return torch.tanh(layer(x.reshape(-1, 2, 6))).reshape(len(x), 4, -1).mean(1)


def frames(layer: nn.Module, x: Tensor) -> Tensor:
    """(n, 2, 4, 6, 6): pictures of a film, all in the first axis."""
    out = layer(x.flatten(0, 1))
    return torch.tanh(out).flatten(2).mean(2).reshape(len(x), 2, -1).mean(1)


def series(layer: nn.Module, x: Tensor) -> Tensor:
    return torch.tanh(layer(x.flatten(0, 1))).mean(2).reshape(len(x), 2, -1).mean(1)


def words(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x.reshape(-1, 2)).reshape(len(x), 8, -1).tanh().mean(1)


TOKENS, FILM, SERIES = (3, 4, 6), (3, 2, 4, 6, 6), (3, 2, 4, 9)
FOLDED = {
    "linear, tokens": (nn.Linear(6, 5), tokens, 5, TOKENS),
    "linear, windows": (nn.Linear(6, 5), windows, 5, TOKENS),
    "layer norm": (nn.LayerNorm(6), windows, 6, TOKENS),
    "batch norm 1d": (nn.BatchNorm1d(6), tokens, 6, TOKENS),
    "convolution": (nn.Conv2d(4, 5, 3, padding=1), frames, 5, FILM),
    "pointwise": (nn.Conv2d(4, 5, 1), frames, 5, FILM),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), frames, 6, FILM),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4, padding=1), frames, 4, FILM),
    "depthwise, few": (nn.Conv2d(4, 4, 5, groups=4), frames, 4, FILM),
    "wide": (nn.Conv2d(4, 30, 5), frames, 30, FILM),
    "one position": (nn.Conv2d(4, 5, 6), frames, 5, FILM),
    "conv1d": (nn.Conv1d(4, 5, 3), series, 5, SERIES),
    "batch norm": (nn.BatchNorm2d(4), frames, 4, FILM),
    "group norm": (nn.GroupNorm(2, 4), frames, 4, FILM),
    "embedding": (nn.Embedding(7, 5), words, 5, "words"),
}


def prepared(layer: nn.Module, use: Callable, width: int, shape: tuple[int, ...] | str) -> tuple[Net, Tensor]:
    g = torch.Generator().manual_seed(5)
    net = Net(layer, use, width).double().eval()
    for p in net.parameters():
        p.data = torch.randn(p.shape, generator=g, dtype=torch.float64) * 0.6
    if shape == "words":
        return net, torch.randint(0, 7, (3, 8), generator=g)
    return net, torch.randn(shape, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("name", FOLDED)
def test_rows_of_a_sample_are_folded_back(name: str) -> None:
    net, x = prepared(*FOLDED[name])
    names = [n for n, _ in net.named_parameters()]
    truth = oracle(net, x, names)
    assert worst(fisher.diagonal(net, x), truth) < 1e-10
    columns = ("layer.weight",) if name == "embedding" else ()
    assert worst(fisher.diagonal(net, x, pool="filter"), pooled(truth, columns)) < 1e-10
    norms = fisher.gradient_norms(net, x)
    assert float(norms.square().mean()) == pytest.approx(
        float(sum(t.sum() for t in truth.values())), rel=1e-9
    )
    support = fisher.supported(net, x)
    assert (list(support.folded), support.slow) == (["layer"], {})
    with pytest.raises(ValueError, match=r"layer 'layer' .*: the first axis of its input has length"):
        fisher.diagonal(net, x, check=False)


class SequenceFirst(nn.Module):
    """Four tokens and, in the test, four samples: the shapes tell nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(x.transpose(0, 1))).mean(0))


class SampleInside(SequenceFirst):
    """The first axis counts (token, sample), and not (sample, token)."""

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.tanh(self.inner(x.transpose(0, 1).flatten(0, 1)))
        return self.head(rows.reshape(x.shape[1], len(x), -1).mean(0))


class Code(SequenceFirst):
    """A positional code of batch size 1."""

    def forward(self, x: Tensor) -> Tensor:
        grid = torch.linspace(-1, 1, 24, dtype=x.dtype).reshape(1, 4, 6)
        return self.head(torch.tanh(x[..., :5] * self.inner(grid)).mean(1))


class Query(SequenceFirst):
    """A layer that is fed with what was learned, and not with the sample."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Embedding(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        keys = self.inner(self.query.weight)
        return self.head(torch.tanh(torch.einsum("ntc,tk->nk", x, keys)))


class SampleFirst(SequenceFirst):
    """The same function, as a network usually computes it."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(x)).mean(1))


class Windowed(SequenceFirst):
    def forward(self, x: Tensor) -> Tensor:
        rows = torch.tanh(self.inner(x.reshape(-1, 2, 6)))
        return self.head(rows.reshape(len(x), 4, -1).mean(1))


class UsedTwice(SequenceFirst):
    """The layer is called, and its weight is used once more without it."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.inner(x))
        return self.head(torch.tanh(F.linear(x + 1, self.inner.weight)).mean(1) + h.mean(1))


class CalledTwice(SequenceFirst):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(torch.sin(x)) * self.inner(x)).mean(1))


class Tied(nn.Module):
    """A word's vector at the entrance and at the exit."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.mix = nn.Embedding(3, 5), nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.tanh(self.mix(self.words(x))).mean(1), self.words.weight)


class Penalised(SequenceFirst):
    """The norm of a weight is a part of the logits."""

    def forward(self, x: Tensor) -> Tensor:
        shift = self.inner.weight.square().sum().sqrt() * torch.arange(3, dtype=x.dtype)
        return self.head(torch.tanh(self.inner(x)).mean(1)) + shift


class Standardised(nn.Conv2d):
    """Weight standardisation: with weights of mean zero its output is a plain convolution's, and its gradient is not."""

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, w / w.detach().std((1, 2, 3), keepdim=True), self.bias)


class Centred(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)


class Detached(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.detach(), self.bias)


class LowRank(nn.Linear):
    """A frozen map with a low-rank update."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.A, self.B = nn.Parameter(torch.randn(2, sizes[0])), nn.Parameter(torch.randn(sizes[1], 2))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x @ self.A.T @ self.B.T


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Attending(nn.Module):
    """Attention that reads a layer's weight without calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


def image_net(conv: nn.Module) -> nn.Module:
    return nn.Sequential(conv, nn.Tanh(), nn.Flatten(), nn.Linear(20, 3))


SLOW = {
    "sequence first, as long as the batch": (SequenceFirst, (4, 4, 6), "inner"),
    "sample inside": (SampleInside, (3, 4, 6), "inner"),
    "code of batch size 1": (Code, (3, 4, 6), "inner"),
    "learned query": (Query, (4, 4, 6), "inner"),
    "used twice": (UsedTwice, (3, 4, 6), "inner"),
    "called twice": (CalledTwice, (3, 4, 6), "inner"),
    "tied by a function": (Tied, "words", "words"),
    "norm of a weight": (Penalised, (3, 4, 6), "inner"),
    "standardised": (lambda: image_net(Standardised(3, 5, 2)), (3, 3, 3, 3), "0"),
    "centred": (lambda: image_net(Centred(3, 5, 2)), (3, 3, 3, 3), "0"),
    "detached": (lambda: nn.Sequential(Detached(6, 5), nn.Tanh(), nn.Linear(5, 3)), (4, 6), "0"),
    "low rank": (lambda: nn.Sequential(LowRank(6, 5), nn.Tanh(), nn.Linear(5, 3)), (4, 6), "0"),
    "doubled": (lambda: nn.Sequential(Doubled(6, 5), nn.Tanh(), nn.Linear(5, 3)), (4, 6), "0"),
    "never called": (Attending, (3, 4, 6), "attention.out_proj"),
}


#: Their shapes, calls or outputs alone tell, without the check.
REFUSED = (
    *("sample inside", "code of batch size 1", "called twice", "standardised"),
    *("low rank", "doubled", "never called"),
)


def built(name: str) -> tuple[nn.Module, Tensor, list[str], str]:
    make, shape, layer = SLOW[name]
    torch.manual_seed(3)
    model = make().double().eval()
    if name == "centred":  # so that the outputs agree, and the derivatives alone tell
        w = model[0].weight.data
        w -= w.mean((1, 2, 3), keepdim=True)
    x = torch.randint(0, 3, (4, 5)) if shape == "words" else torch.randn(shape, dtype=torch.float64)
    left = ("query.weight", "0.A", "0.B", "attention.in_proj_weight", "attention.in_proj_bias")
    return model, x, [n for n, _ in model.named_parameters() if n not in left], layer


@pytest.mark.parametrize("name", SLOW)
def test_a_layer_that_disagrees_with_autograd_is_computed_by_it(name: str) -> None:
    model, x, names, layer = built(name)
    truth = oracle(model, x, names)
    assert worst(fisher.diagonal(model, x, layers=names), truth) < 1e-10
    columns = ("words.weight",)
    assert worst(fisher.diagonal(model, x, layers=names, pool="filter"), pooled(truth, columns)) < 1e-10
    norms = fisher.gradient_norms(model, x, layers=names, batch_size=2)
    assert float(norms.square().mean()) == pytest.approx(
        float(sum(t.sum() for t in truth.values())), rel=1e-9
    )
    slow = fisher.supported(model, x).slow
    # A low-rank update stands beside the layer's own product, whose gradient it leaves as it is.
    wanted = {"learned query": {"inner", "query"}, "low rank": set()}
    assert set(slow) == wanted.get(name, {layer})


@pytest.mark.parametrize("name", SLOW)
def test_without_the_check_it_would_be_wrong_or_refused(name: str) -> None:
    """The control: none of these inputs is one that the plain contraction gets right."""
    model, x, names, _ = built(name)
    if name in REFUSED:
        with pytest.raises(ValueError, match="layer '"):
            fisher.diagonal(model, x, layers=names, check=False)
    else:
        ours = fisher.diagonal(model, x, layers=names, check=False)
        assert worst(ours, oracle(model, x, names)) > 0.01


def test_float32_is_not_taken_for_a_fault() -> None:
    """Deep, wide and with many positions, and with a bias whose gradient is zero but for rounding."""
    torch.manual_seed(0)
    net = timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=64, depth=4)
    found = fisher.supported(net, torch.randn(2, 3, 64, 64))
    assert found.slow == {}
    net = timm.create_model("tf_efficientnet_lite0", num_classes=3)
    found = fisher.supported(net, torch.randn(2, 3, 64, 64))
    assert (found.slow, found.left_out) == ({}, {})
    assert len(found.taken) == len(list(net.named_parameters()))


class Keys(nn.Module):
    """The bias of the keys moves no attention weight: its gradient is rounding and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.head = (
            nn.Linear(16, 16),
            nn.Linear(16, 16),
            nn.Linear(16, 16),
            nn.Linear(16, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        weights = (self.q(x) @ self.k(x).mT).softmax(-1)
        return self.head((weights @ self.v(x)).mean(1))


def test_a_gradient_that_is_rounding_alone_is_no_fault() -> None:
    torch.manual_seed(0)
    assert fisher.supported(Keys(), torch.randn(2, 30, 16)).slow == {}


class Mixed(nn.Module):
    def __init__(self, mix: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.mix, self.head = mix, nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(x))


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x - x.mean(0),
        lambda x: F.dropout(x, 0.5),
        lambda x: (x @ x.T).softmax(1) @ x,
        nn.BatchNorm1d(6, affine=False, track_running_stats=False),
        lambda x: x + torch.arange(len(x))[:, None],
        lambda x: x.roll(1, 0),
    ],
)
def test_a_network_that_mixes_its_batch_is_refused(mix: Callable[[Tensor], Tensor]) -> None:
    model, x = Mixed(mix).double(), torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).double()
    calls = (fisher.diagonal, fisher.trace, fisher.gradient_norms, fisher.supported, fisher.scores)
    for n in (4, 2, 1):  # a lone sample is held against itself beside another
        for call in calls:
            with pytest.raises(ValueError, match=r"the logits of one sample change by .* no gradient of one"):
                call(model, x[:n])
    assert fisher.diagonal(model, x, check=False)


class Choosy(nn.Module):
    """A tokenizer's habit: what is no sample of it is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        if not bool((x[:, 0] == 1).all()):
            raise ValueError("each sample starts with 1")
        return self.head(x)


def test_a_lone_sample_needs_no_company_that_the_network_refuses() -> None:
    x = torch.tensor([[1.0, 2, 3, 4, 5, 6]])
    assert fisher.trace(Choosy(), x) > 0


class Sizes(SequenceFirst):
    """Windows of four tokens, as many as the sample has; long samples meet the layer once more."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.inner(x.reshape(-1, 4, 6))).reshape(*x.shape[:2], 5).mean(1)
        if x.shape[1] > 8:
            h = h + F.linear(x.mean(1), self.inner.weight)
        return self.head(h)


def test_samples_of_another_shape_are_checked_anew() -> None:
    torch.manual_seed(0)
    net = Sizes().double()
    batches = [torch.randn(3, t, 6, dtype=torch.float64) for t in (8, 4, 8, 12, 4)]
    names = [n for n, _ in net.named_parameters()]
    parts = [oracle(net, x, names) for x in batches]
    want = {n: torch.stack([part[n] for part in parts]).mean(0) for n in names}
    assert worst(fisher.diagonal(net, batches), want) < 1e-10
    assert worst(fisher.diagonal(net, batches, layers="supported", pool="filter"), pooled(want)) < 1e-10
    norms = fisher.gradient_norms(net, batches)
    total = float(sum(t.sum() for t in want.values()))
    assert float(norms.square().mean()) == pytest.approx(total, rel=1e-9)


class Early(SequenceFirst):
    """Long samples leave before the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.inner(x)).mean(1)
        return self.head(h if x.shape[1] > 4 else h + self.more(x).mean(1))


@pytest.mark.parametrize("kind", [SequenceFirst, Windowed])
def test_every_batch_of_the_variational_estimator_is_checked_where_it_must(kind: type[nn.Module]) -> None:
    """The noise moves the weights after the first batch, and the layers stay what they were."""
    torch.manual_seed(0)
    usual = SampleFirst().double()
    other = kind().double()
    other.load_state_dict(usual.state_dict())
    x = torch.randn(8, 4, 6, dtype=torch.float64)
    found, want = (precision.posterior(net, x, batch_size=4).information for net in (other, usual))
    assert worst(found, want) < 1e-9


def test_a_layer_that_rests_later_on_is_refused_and_not_forgotten() -> None:
    batches = [torch.randn(3, t, 6) for t in (4, 8)]
    for layers in (None, "supported"):
        with pytest.raises(ValueError, match=r"'more' .* took no part"):
            fisher.diagonal(Early(), batches, layers=layers)


def test_weights_that_are_made_of_others_are_refused_by_name() -> None:
    x = torch.randn(4, 5)

    def net(change: Callable[[nn.Module], object]) -> nn.Module:
        model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
        change(model[0])
        return model

    cases = [
        (net(parametrizations.weight_norm), r"'0\.parametrizations\.weight\.original0' belongs to a Param"),
        (net(torch.nn.utils.weight_norm), r"'0\.weight_g' is none that a Linear has of itself"),
        (net(torch.nn.utils.spectral_norm), r"'0\.weight_orig' is none that a Linear has of itself"),
        (net(lambda m: prune.l1_unstructured(m, "weight", 0.5)), r"'0\.weight_orig' is none that a Linear"),
        (nn.Sequential(LowRank(5, 3)), r"'0\.A' is none that a LowRank has of itself"),
    ]
    for model, message in cases:
        with pytest.raises(ValueError, match=message):
            fisher.diagonal(model, x)
        with pytest.warns(UserWarning, match=message):
            taken = fisher.diagonal(model, x, layers="supported")
        assert worst(taken, oracle(model.eval(), x, list(taken))) < 1e-4
        left = fisher.supported(model, x).left_out
        assert {*taken, *left} == {n for n, _ in model.named_parameters()}


class Resting(nn.Module):
    """A part that rests in eval mode, a parameter of its own, and a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.body, self.spare = nn.Parameter(torch.ones(6)), nn.Linear(6, 3), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x * self.token)


def test_supported_takes_what_there_is_and_names_the_rest() -> None:
    model, x = Resting(), torch.randn(4, 6)
    with pytest.warns(UserWarning, match="token: .*\n  spare.weight: layer 'spare' .* took no part"):
        found = fisher.diagonal(model, x, layers="supported")
    assert list(found) == ["body.weight", "body.bias"]
    with pytest.raises(ValueError, match=r"'token' belongs to a Resting.*fisher\.register"):
        fisher.diagonal(model, x)
    with pytest.raises(ValueError, match=r"'spare' .* took no part"):
        fisher.diagonal(model, x, layers=["spare"])
    with pytest.raises(ValueError, match="or 'supported'"):
        fisher.diagonal(model, x, layers="all")
    with pytest.raises(ValueError, match="no parameter of the model is supported"):
        fisher.diagonal(nn.Sequential(nn.PReLU(3)), torch.randn(4, 3), layers="supported")


class Gain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((6,), 1.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * x


def gain_rule(module: Gain, x: Tensor, g: Tensor) -> dict[str, Tensor]:
    return {"gamma": (g * x).reshape(len(x), -1, 6).sum(1)}


@pytest.fixture
def registry():
    before = dict(fisher.REGISTERED)
    yield
    fisher.REGISTERED.clear()
    fisher.REGISTERED.update(before)


@pytest.mark.parametrize(
    ("rule", "slow"),
    [
        (gain_rule, {}),
        ("autograd", {"layer": "registered so"}),
        (lambda m, x, g: {"gamma": x.flatten(1)[:, :6]}, None),
    ],
)
def test_layers_of_ones_own_can_be_registered(registry, rule, slow) -> None:
    net, x = prepared(Gain(), windows, 6, TOKENS)
    with pytest.raises(ValueError, match="belongs to a Gain"):
        fisher.diagonal(net, x)
    fisher.register(Gain, rule)
    truth = oracle(net, x, [n for n, _ in net.named_parameters()])
    for pool in (None, "filter"):
        want = pooled(truth) if pool else truth
        assert worst(fisher.diagonal(net, x, pool=pool), want) < 1e-10
    found = fisher.supported(net, x).slow
    assert found == slow if slow is not None else "not those of autograd" in found["layer"]
    norms = fisher.gradient_norms(net, x)
    assert float(norms.square().mean()) == pytest.approx(
        float(sum(t.sum() for t in truth.values())), rel=1e-9
    )


def test_registering_nonsense_is_refused(registry) -> None:
    with pytest.raises(TypeError, match="not a class of modules"):
        fisher.register(Gain(), gain_rule)
    with pytest.raises(TypeError, match=r"'exactly'.* is accepted"):
        fisher.register(Gain, "exactly")
    fisher.register(Gain, lambda module, x, g: {"gamma": g.sum(0)})
    net, x = prepared(Gain(), lambda layer, x: layer(x), 6, (4, 6))
    with pytest.raises(ValueError, match=r"the registered rule gives .* for 'gamma'"):
        fisher.diagonal(net, x, check=False)


def test_one_logit_and_inference_mode_are_refused_in_words() -> None:
    x = torch.randn(4, 5)
    with pytest.raises(ValueError, match=r"one logit.*two logits"):
        fisher.trace(nn.Linear(5, 1), x)
    with torch.inference_mode():
        made = torch.randn(4, 5)
        with pytest.raises(ValueError, match=r"inference_mode\(\) forbids gradients"):
            fisher.trace(nn.Linear(5, 2), x)
        inside = nn.Linear(5, 2)
    with pytest.raises(ValueError, match="inputs: they were made in"):
        fisher.trace(nn.Linear(5, 2), made)
    for call in (fisher.trace, fisher.full, fisher.scores):
        with pytest.raises(ValueError, match="model: its weights were made in"):
            call(inside, x)


def test_the_check_leaves_no_trace() -> None:
    model, x, _, _ = built("used twice")
    model.train()
    model.head.weight.requires_grad_(False)

    def state() -> tuple[object, ...]:
        hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
        flags = [p.requires_grad for p in model.parameters()]
        return hooks, flags, [m.training for m in model.modules()], [p.grad for p in model.parameters()]

    before, random = state(), torch.get_rng_state()
    fisher.diagonal(model, x)
    assert state() == before
    mixing = Mixed(lambda x: F.dropout(x, 0.5))
    with pytest.raises(ValueError, match="change by"):
        fisher.diagonal(mixing, torch.ones(1, 6))
    torch.set_rng_state(random)
    model.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fisher.diagonal(model, x)
    model._forward_hooks.clear()
    assert state() == before
    assert torch.equal(random, torch.get_rng_state())


def test_the_check_changes_no_result() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    x = torch.randn(5, 3, 6, 6)
    for expectation in ("exact", "sample", "rademacher"):
        with_it, without = (fisher.diagonal(net, x, expectation=expectation, check=c) for c in (True, False))
        assert all(torch.equal(with_it[n], without[n]) for n in without)


def test_a_batch_of_one_is_two_copies_of_it() -> None:
    """The backward pass of batch norm on the CPU is wrong for one sample and a transposed gradient."""
    torch.manual_seed(0)
    net = timm.create_model("levit_128s", num_classes=3, img_size=64).double().eval()
    x = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    names = list(fisher.supported(net, x).taken)
    whole = fisher.diagonal(net, x, layers=names, pool="filter")
    parts = fisher.diagonal(net, x, layers=names, pool="filter", batch_size=2)
    assert worst(parts, whole) < 1e-9
    names = [n for n in whole if n.startswith("stem")]
    assert worst({n: whole[n] for n in names}, pooled(oracle(net, x, names))) < 1e-9


#: Of the table that scripts/timm_coverage.py makes: networks that are quick, one a way to use the first axis, and plain ones.
SAMPLE = {
    "mobilevit_xxs": "folded",
    "test_vit": "plain",
    "test_resnet": "plain",
    "test_efficientnet": "plain",
    "test_convnext": "plain",
    "test_mambaout": "plain",
    "test_nfnet": "slow",
    "mobilenetv3_small_050": "plain",
    "lcnet_035": "plain",
    "regnety_002": "plain",
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("timm_coverage")


@pytest.mark.parametrize("name", SAMPLE)
def test_architectures_of_timm_are_exact(script: ModuleType, name: str) -> None:
    row = script.run(name)
    assert row["verdict"] == "exact", row
    assert (row["slow"] > 0) == (SAMPLE[name] == "slow"), row


def test_the_script_sees_a_wrong_number(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: what an earlier edition did, squares of rows where those of samples are asked for."""
    from t2v import _layers

    monkeypatch.setattr(
        _layers.LinearLayer, "patches", lambda self: self.x.reshape(len(self.x), 1, -1, self.x.shape[-1]).mT
    )
    monkeypatch.setattr(
        _layers.LinearLayer, "gradient", lambda self, g: g.reshape(len(g), 1, -1, g.shape[-1]).mT
    )
    monkeypatch.setattr(fisher, "_TOLERANCE", {torch.float64: 1e9})
    assert script.run("mobilevit_xxs")["verdict"] == "wrong"
