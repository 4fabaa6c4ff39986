"""The live figures: their numbers are the package's, they obey mouse, keys and address, and they are light.

Each figure is loaded from a disk into a bare page, in headless Chromium; no built site is needed. ``CASES`` says for each
what the package gives at some settings, and how to move it. A new figure without cases fails here.
"""

from __future__ import annotations

import decimal
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from t2v import atlas, bottleneck, bounds, comparison, distance, embedding, estimators, fisher, plane, world
from t2v import information as info

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import explorables_data  # noqa: E402
import explorables_stills as stills  # noqa: E402

sys.path.pop(0)
FOLDER, NAMES = stills.FOLDER, stills.names()
MISSING = stills.BROWSER is None or importlib.util.find_spec("playwright") is None
needs_browser = pytest.mark.skipif(MISSING, reason="no Chromium, or no playwright")
LARGEST, SLOWEST, NEAR = 25_000, 50, 1e-3
#: Where each stands, as the first figure: a chapter or the landing page.
PLACES: dict[str, list[str]] = {
    "postal_robot": ["03_bottleneck.ipynb"],
    "choose_network": ["10_transfer.ipynb", "index.md"],
    "flip_label": ["07_fisher.ipynb"],
    "guess_letter": ["01_information.ipynb"],
    "two_mixers": ["09_distance.ipynb"],
    "break_bound": ["02_learning_theory.ipynb"],
    "sure_head": ["08_embedding.ipynb"],
    "two_taps": ["04_lagrangian.ipynb"],
    "one_ruler": ["05_forgetting.ipynb"],
    "coin_weights": ["06_weights.ipynb"],
}


@dataclass
class Case:
    """Settings at which page and package are compared, and how both are asked."""

    settings: list[dict[str, Any]]
    oracle: Callable[..., dict[str, Any]]
    handle: str  # the label of a handle that arrow keys move
    changes: dict[str, Any] = field(default_factory=dict)  # settings that another view has


# --- what the package says ---


def postal_robot(beta: float, start: int, page: dict[str, Any]) -> dict[str, Any]:
    """From the best, `solve`; from the page's own random partition, plain Blahut–Arimoto."""
    joint = info.example_joint()[0]
    best = bottleneck.solve(joint, beta)
    if not start:
        return {"tx": best.i_tx, "ty": best.i_ty, "gap": 0.0, "excess": 0.0}
    labels = np.array(page["labels"])
    hard = np.eye(labels.max() + 1)[labels]
    found = bottleneck.blahut_arimoto(joint, beta, hard, max_iter=20_000)
    return {"tx": found.i_tx, "ty": found.i_ty, "excess": found.objective - best.objective}


def choose_network(
    target: str, order: list[int], alpha: float, reference: str, page: dict[str, Any], **_: Any
) -> dict[str, Any]:
    """From the committed tables: one seed's scores, another seed's errors; also the averages over all targets."""
    names, scores = atlas.read_pairs(ROOT / "book" / "runs" / "atlas" / "pairs-seed0.csv")
    errors = atlas.read_pairs(ROOT / "book" / "runs" / "atlas" / "pairs-seed1.csv")[1]["error"]
    asymmetric = scores["d_sym"] - alpha * scores[f"source_to_{reference}"]
    t, six = names.index(target), [names.index(source) for source in page["sources"]]
    assert len(set(six)) == 6
    assert t not in six
    found: dict[str, Any] = {"errors": errors[t, six], "whole": {}, "average": {}}
    said = {
        "you": np.arange(6.0),
        "task2vec": asymmetric[t, six],
        "logme": -scores["logme"][t, six],
        "chance": np.ones(6),
    }
    for name, predicted in said.items():
        judged = comparison.compare(predicted, errors[t, six])
        found[name] = {"tau": judged.kendall, "regret": judged.regret}
    for name, matrix in {"task2vec": asymmetric, "logme": -scores["logme"]}.items():
        rest = [[s for s in range(len(names)) if s != of] for of in range(len(names))]
        each = [comparison.compare(matrix[of, rest[of]], errors[of, rest[of]]) for of in range(len(names))]
        found["whole"][name] = {"tau": each[t].kendall, "regret": each[t].regret}
        found["average"][name] = np.mean([one.kendall for one in each])
    return found


class TwoWeights(torch.nn.Module):
    """Logits 0 and w·x: the model of the figure, as the package takes models."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor([1.4, -0.8], dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = x @ self.w
        return torch.stack([torch.zeros_like(z), z], dim=1)


def flip_label(points: list[float], labels: list[int], page: dict[str, Any], **_: Any) -> dict[str, Any]:
    """The package's matrices of the model; the page says which labels it has drawn."""
    x = torch.tensor(points, dtype=torch.float64).reshape(-1, 2)
    assert len(page["signs"]) == len(x)
    assert set(page["signs"]) == {0, 1}
    found: dict[str, Any] = {}
    for key, options in {
        "exact": {},
        "empirical": {"expectation": "empirical", "targets": torch.tensor(labels)},
        "drawn": {"expectation": "empirical", "targets": torch.tensor(page["signs"])},
    }.items():
        matrix = fisher.full(TwoWeights(), x, **options).numpy()
        found[key] = [matrix[0, 0], matrix[0, 1], matrix[1, 1]]
    found["traces"] = [entries[0] + entries[2] for entries in found.values()]
    return found


def guess_letter(touches: list[int], n: int, page: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Bayes' rule on the package's table, and the package's estimates from the pairs that the page has drawn."""
    joint = info.example_joint()[0]
    given, marginal = joint * 26, joint.sum(axis=0)
    likelihood = np.prod(given[:, touches], axis=1)
    posterior = likelihood / likelihood.sum()
    x, y = np.array(page["x"]), np.array(page["y"])
    assert len(x) == len(y) == n
    seen = np.histogram2d(x, y, bins=[np.arange(27), np.arange(7)])[0]
    assert (joint[seen > 0] > 0).all()
    if n >= 1000:  # the pairs come from the table
        np.testing.assert_allclose(seen / n, joint, atol=0.02)
    with np.errstate(divide="ignore"):
        evidence = np.log2(given[page["letter"], touches] / marginal[touches])
    return {
        "posterior": posterior,
        "left": info.entropy(posterior),
        "evidence": evidence,
        "truth": info.mutual_information(joint),
        "plugIn": estimators.plug_in(x, y),
        "millerMadow": estimators.plug_in(x, y, correction="miller_madow"),
    }


def two_mixers(
    a: list[float], b: list[float], c: float, s: float, filter: int, page: dict[str, Any]
) -> dict[str, Any]:
    """The package's two distances, with and without the factors."""
    x, y, factor = np.array(a), np.array(b), np.where(np.arange(8) == filter, s, 1.0)
    before = {"cosine": distance.cosine(x, y), "symmetric": distance.symmetric(x, y)}
    x, y = c * factor * x, factor * y
    return {
        "cosine": distance.cosine(x, y),
        "symmetric": distance.symmetric(x, y),
        "before": before,
        "x": x,
        "y": y,
    }


def break_bound(
    m: int, bits: int, delta: float, page: dict[str, Any], draws: int = 200, **_: Any
) -> dict[str, Any]:
    """The package's margin and exact failure; the draws of the page against many coins that are really thrown."""
    margin = bounds.pac(bits * np.log(2), delta, m, "two_sided")
    if bits > 20:  # a margin above any gap: nothing to list
        assert margin > 0.5
        return {"epsilon": margin, "exact": 0.0, "failed": 0, "mean": 0.5}
    worst = np.array(page["worst"])
    assert len(worst) == draws
    assert page["failed"] == (worst > margin + bounds.ROUNDING).sum()
    thrown = np.abs(np.random.default_rng(0).binomial(m, 0.5, (400, 2 ** min(bits, 10))) / m - 0.5).max(1)
    if bits <= 10:
        assert abs(thrown.mean() - page["mean"]) < 4 * thrown.std() / 20
        assert abs(worst.mean() - thrown.mean()) < 5 * np.hypot(thrown.std() / 20, worst.std() / draws**0.5)
    # the levels 1/m, 2/m, … of an even m, each with the package's probability of one coin, and of many
    alone = [bounds.violation_probability([0.5], (k + 0.5) / m, m, "two_sided") for k in range(m // 2)]
    return {
        "epsilon": margin,
        "exact": bounds.violation_probability(np.full(2**bits, 0.5), margin, m, "two_sided"),
        "mean": -np.expm1(2**bits * np.log1p(-np.array(alone))).sum() / m,
    }


def two_taps(
    price: float,
    rhoDigit: float,
    rhoBackground: float,
    digit: float,
    background: float,
    page: dict[str, Any],
) -> dict[str, Any]:
    """The cheapest taps from the package; the reader's from determinants of the joint covariance of X, Y and T."""
    rho = np.diag([rhoDigit, rhoBackground])
    least = bottleneck.gaussian(np.eye(2), rho, np.eye(2), 1 / price)
    flows = np.maximum([digit, background], 1e-9)
    noise = np.diag(1 / (4**flows - 1))
    t = np.eye(2) + noise

    def known(of: np.ndarray, cross: np.ndarray) -> float:
        whole = np.block([[of, cross], [cross.T, t]])
        return (np.linalg.slogdet(t)[1] + np.linalg.slogdet(of)[1] - np.linalg.slogdet(whole)[1]) / np.log(4)

    tx, ty = known(np.eye(2), np.eye(2)), known(np.eye(2), rho.T)
    best = price * least.i_tx - least.i_ty
    return {
        "tx": tx,
        "ty": ty,
        "loss": price * tx - ty,
        "bestTx": least.i_tx,
        "bestTy": least.i_ty,
        "bestLoss": best,
        "excess": price * tx - ty - best,
    }


class Gains(torch.nn.Module):
    """Eight filters, each of one weight 1, below a head that stays."""

    def __init__(self, head: torch.nn.Linear) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(8, dtype=torch.float64))
        self.head = [head.weight.double(), head.bias.double()]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(self.w * x, *self.head)


def sure_head(power: float, page: dict[str, Any], **_: Any) -> dict[str, Any]:
    """The package's head on the page's images, and the package's Fisher information of the weights below it."""
    own, fresh = (np.array(page["images"][part]) for part in ("own", "fresh"))
    labels = np.repeat([0, 1], len(own) // 2)
    head = embedding.fit_head(own, labels, 2, l2=10**power)
    found: dict[str, Any] = {}
    for part, x in {"own": own, "fresh": fresh}.items():
        values = fisher.full(Gains(head), torch.from_numpy(x)).diagonal().numpy()
        found[part] = {"f": values, "total": values.sum()}
    return found


def one_ruler(w: float, bins: int, unit: str, ruler: str, page: dict[str, Any]) -> dict[str, Any]:
    """The package's instruments on inputs at the quantiles of a normal: they count, where the page has a formula."""
    many, few = (scipy.stats.norm.ppf((np.arange(n) + 0.5) / n) for n in (400_000, 4096))
    t = np.tanh(w * many) if unit == "tanh" else np.maximum(0, w * many)
    if ruler == "shares":  # as many outputs in each bin as ties allow
        codes = np.searchsorted(np.quantile(t, np.arange(1, bins) / bins), t, side="right")
        bits = plane.exact_information(codes, many > 0)[0]
    else:
        top = float(np.tanh(4 * w) if unit == "tanh" else 4 * w) if ruler == "own" else 1.0
        if unit == "relu" and ruler == "fixed":
            bins = bins * int(np.ceil(3.5 * w))  # of the same width, up to the largest output
            top = 2.0 * int(np.ceil(3.5 * w))
        low = -top if unit == "tanh" else 0.0
        bits = plane.binned_information(t.clip(low, top), many > 0, bins=bins, limits=(low, top))[0]
    with decimal.localcontext(prec=400):  # an output has as many digits as it needs
        sums = [Decimal(w) * Decimal(float(x)) for x in few[::64]]
        paper = [1 - 2 / ((2 * a).exp() + 1) if unit == "tanh" else max(Decimal(0), a) for a in sums]
    differ = len(set(paper)) / len(paper)
    assert differ == 1 if unit == "tanh" else 0.5 <= differ < 0.52
    single = np.tanh(w * few) if unit == "tanh" else np.maximum(0, w * few)
    labels = np.arange(4096) % 2
    ranks = np.arange(4096) if unit == "tanh" else np.maximum(0, few)
    return {
        "bits": bits,
        "exact": plane.exact_information(ranks, labels)[0],
        "single": plane.exact_information(single.astype(np.float32), labels)[0],
    }


def averaged(learner: world.World) -> float:
    """Loss of a new toss, in bits, when each data set's weights are averaged."""
    predicted = learner.learner @ learner.model
    return float(
        -np.einsum("td,tz,dz->", learner.joint().sum(axis=2), learner.likelihood, np.log2(predicted))
    )


def overlap(discs: dict[str, list[float]], names: str) -> float:
    """Area that some of the drawn discs share, counted on a grid."""
    axis = np.linspace(-3, 3, 1501)
    inside = [(axis[:, None] - x) ** 2 + (axis - y) ** 2 < r**2 for x, y, r in (discs[n] for n in names)]
    return float(np.logical_and.reduce(inside).sum() * (axis[1] - axis[0]) ** 2)


def coin_weights(beta: float, fitted: int, prior: list[float], page: dict[str, Any]) -> dict[str, Any]:
    """The package's learner on all 64 data sets; at β = 1 the fitted prior is the truth, of which it is the marginal."""
    coin, true = world.coin(), np.array([0, 1, 0, 1, 0, 1, 0]) / 3
    if fitted and beta != 1:
        one = world.solve(**coin, m=6, beta=beta, tol=1e-9)
    else:
        drawn_from = true if fitted else np.array(prior)
        one = world.World(**coin, m=6, learner=world.gibbs(coin["model"], 6, beta, drawn_from))
        if fitted:
            np.testing.assert_allclose(one.joint().sum(axis=(0, 1)), true, atol=1e-3)
    parts, regions = world.decompose(one), world.regions(one)
    for pair, expected in {"t": np.log2(3), "d": sum(v for k, v in regions.items() if "d" in k)}.items():
        assert overlap(page["discs"], pair) == pytest.approx(expected, abs=0.02)
    assert overlap(page["discs"], "dw") == pytest.approx(parts.information, abs=0.02)
    assert overlap(page["discs"], "td") == pytest.approx(regions["td"] + regions["tdw"], abs=0.02)
    curve = {step["beta"]: step["average"] for step in page["curve"]}
    assert page["turn"] == min(curve, key=lambda price: curve[price])
    if fitted or np.allclose(prior, true):
        assert page["turn"] == 1
    else:  # a prior that is not the truth has another best price
        swept = [world.gibbs(coin["model"], 6, price, np.array(prior)) for price in curve]
        again = [averaged(world.World(**coin, m=6, learner=learner)) for learner in swept]
        np.testing.assert_allclose(list(curve.values()), again, atol=NEAR)
    return {
        "regions": regions,
        "learned": parts.learned,
        "memorised": parts.overfitting,
        "stored": parts.information,
        "train": one.train_loss(),
        "drawn": one.test_loss(),
        "average": averaged(one),
        "posterior": one.learner[[2**heads - 1 for heads in range(7)]],
    }


def shuffled_points(seed: int, flips: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    points, labels = rng.normal(size=48).clip(-2.8, 2.8).round(2), rng.integers(0, 2, 24)
    labels[:flips] = 1 - labels[:flips]
    return {"points": points.tolist(), "labels": labels.tolist(), "draw": seed + 3}


MIXERS = np.random.default_rng(0).uniform(0.02, 3, (5, 2, 8)).round(3).tolist()
CASES: dict[str, Case] = {
    "break_bound": Case(
        [
            {"m": m, "bits": bits, "delta": delta, "draws": draws, "seed": bits}
            for m, bits, delta, draws in (
                (10, 0, 0.5, 400),
                (100, 4, 0.05, 300),
                (50, 8, 0.3, 500),
                (100, 10, 0.05, 200),
                (400, 15, 0.2, 100),
                (1000, 20, 0.01, 100),
                (300, 3_200_000, 0.05, 10),
            )
        ],
        break_bound,
        "number of hypotheses",
        {"m": 40, "draws": 300, "delta": 0.2},
    ),
    "two_taps": Case(
        [
            {
                "digit": digit,
                "background": background,
                "price": price,
                "rhoDigit": strong,
                "rhoBackground": weak,
            }
            for digit, background, price, strong, weak in (
                (1.2, 2.5, 0.1, 0.9, 0.5),
                (2.0, 0.5, 0.3, 0.9, 0.5),
                (0.3, 3.0, 0.02, 0.6, 0.95),
                (4.0, 0.0, 0.5, 0.8, 0.0),
                (0.0, 1.0, 0.9, 0.7, 0.3),
                (1.5, 1.5, 0.2, 0.95, 0.9),
            )
        ],
        two_taps,
        "digit tap",
        {"digit": 2, "price": 0.3},
    ),
    "sure_head": Case(
        [
            {"a": [-x, -y], "b": [x, y], "power": power, "seed": seed}
            for x, y, power, seed in (
                (1, 0.3, -3, 1),
                (0.4, 0.1, -1, 2),
                (2.4, 0.7, -2, 3),
                (1.5, -1, 0, 4),
                (0, 0.8, -0.5, 5),
                (1, 0.3, -2.5, 6),
            )
        ],
        sure_head,
        "centre of the first cloud",
        {"power": -2, "a": "-2~1", "seed": 3},
    ),
    "flip_label": Case(
        [shuffled_points(seed, 4 * seed) for seed in range(6)],
        flip_label,
        "the chosen point",
        {"draw": 5, "selected": 2},
    ),
    "guess_letter": Case(
        [
            {"touches": touches, "n": n, "sample": sample, "hidden": hidden}
            for touches, n, sample, hidden in (
                ([], 10, 1, 1),
                ([0], 60, 1, 2),
                ([2, 3, 2], 300, 2, 3),
                ([4, 5, 1, 0], 1000, 3, 4),
                ([1, 0, 0, 5], 3000, 4, 5),
            )
        ],
        guess_letter,
        "number of letters felt",
        {"touches": "2~3", "n": 400, "hidden": 4},
    ),
    "two_mixers": Case(
        [
            {"a": a, "b": b, "c": c, "s": s, "filter": k}
            for (a, b), c, s, k in zip(
                MIXERS, (1, 0.2, 5, 1, 8), (1, 4, 1, 0.1, 0.3), (0, 3, 7, 2, 5), strict=True
            )
        ],
        two_mixers,
        "task a, chosen filter",
        {"c": 3, "s": 0.5, "filter": 4},
    ),
    "one_ruler": Case(
        [
            {"w": w, "bins": bins, "unit": unit, "ruler": ruler}
            for w, bins, unit, ruler in (
                (0.1, 30, "tanh", "fixed"),
                (1.0, 30, "tanh", "fixed"),
                (4.0, 30, "tanh", "fixed"),
                (30.0, 30, "tanh", "fixed"),
                (2.0, 7, "tanh", "fixed"),
                (0.3, 24, "tanh", "own"),
                (3.0, 16, "tanh", "shares"),
                (0.5, 30, "relu", "fixed"),
                (6.0, 12, "relu", "fixed"),
                (8.0, 30, "relu", "own"),
                (5.0, 16, "relu", "shares"),
            )
        ],
        one_ruler,
        "weight of the unit",
        {"w": 9, "bins": 12, "unit": "relu", "ruler": "own"},
    ),
    "coin_weights": Case(
        [
            {"beta": beta, "fitted": fitted, "prior": prior}
            for beta, fitted, prior in (
                (1.0, 0, [0, 1 / 3, 0, 1 / 3, 0, 1 / 3, 0]),
                (0.2, 0, [0, 1 / 3, 0, 1 / 3, 0, 1 / 3, 0]),
                (2.5, 0, [1 / 7] * 7),
                (0.06, 0, [0.05, 0.1, 0.4, 0.05, 0.1, 0.1, 0.2]),
                (0.7, 0, [0.5, 0, 0, 0, 0, 0.25, 0.25]),
                (1.0, 1, [1 / 7] * 7),
                (2.0, 1, [1 / 7] * 7),
                (0.6, 1, [1 / 7] * 7),
                (0.2, 1, [1 / 7] * 7),
            )
        ],
        coin_weights,
        "price of a bit",
        {"beta": 0.3, "fitted": 1},
    ),
    "choose_network": Case(
        [
            {"target": "greek_lower", "order": [0, 1, 2, 3, 4, 5], "alpha": 0.15, "reference": "trivial"},
            {"target": "greek_lower", "order": [5, 3, 2, 4, 1, 0], "alpha": 1.0, "reference": "canonical"},
            {"target": "mnist", "order": [2, 0, 5, 4, 1, 3], "alpha": 0.0, "reference": "trivial"},
            {"target": "chess", "order": [1, 2, 3, 4, 5, 0], "alpha": 0.6, "reference": "trivial"},
            {"target": "textures", "order": [4, 1, 0, 3, 5, 2], "alpha": 0.3, "reference": "canonical"},
            {"target": "photo_blur", "order": [3, 2, 1, 0, 5, 4], "alpha": 0.15, "reference": "canonical"},
        ],
        choose_network,
        "network trained on printed digits",
        {"order": "5~4~3~2~1~0", "revealed": 1, "alpha": 0.4, "reference": "canonical"},
    ),
    "postal_robot": Case(
        [
            *({"beta": beta, "start": 0} for beta in (1.3, 1.5, 2.0, 3.0, 4.0, 6.0, 12.0, 20.0)),
            *({"beta": beta, "start": start} for beta in (4.0, 12.0) for start in (1, 2)),
        ],
        postal_robot,
        "price of memory, along the curve",
        {"beta": 7.5, "start": 2},
    ),
}

figures = pytest.mark.parametrize("name", NAMES)


# --- what needs no browser ---


def test_every_figure_has_cases_and_a_place() -> None:
    assert set(CASES) == set(NAMES) == set(PLACES)


@pytest.mark.parametrize("name", explorables_data.FILES)
def test_the_data_are_what_the_package_gives(name: str) -> None:
    committed = (FOLDER / f"{name}.data.js").read_text(encoding="utf-8")
    assert committed == explorables_data.script(name), "run scripts/explorables_data.py"


@figures
def test_a_figure_is_light_and_whole(name: str) -> None:
    own = (FOLDER / f"{name}.js").read_text(encoding="utf-8")
    size = sum((FOLDER / file).stat().st_size for file in [f"{name}.js", *stills.needs(name)])
    assert (FOLDER / f"{name}.js").stat().st_size < LARGEST, "a figure's own script"
    assert size < 2 * LARGEST, "with the data that it may share with others"
    assert not re.search(r"https?://(?!www\.w3\.org)|fetch\(|import |eval\(|innerHTML|#[0-9a-f]{6}\b", own)
    still = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert not re.search(r'\bid="|url\(|NaN|undefined|<image', still), "pages hold several stills: no ids"
    assert re.search(r'data-wide="\d+" data-tall="\d+"', still)


@pytest.mark.parametrize(("name", "place"), [(n, p) for n, places in PLACES.items() for p in places])
def test_a_figure_is_the_first_of_its_page(name: str, place: str) -> None:
    path = ROOT / "book" / place
    if path.suffix == ".md":
        assert f"{{explorable}} {name}\n" in path.read_text(encoding="utf-8")
        return
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    at = next((i for i, words in enumerate(texts) if f":::{{explorable}} {name}\n" in words), None)
    assert at is not None, f"{place}: no live figure"
    assert f"_static/explorables/{name}.svg" in texts[at]
    before = [*texts[:at], texts[at].partition(":::{explorable}")[0]]
    assert not any("```{" in words or "import " in words for words in before), (
        "what stands before it is the hook"
    )
    goals = next(i for i, words in enumerate(texts) if "{admonition} Goals" in words)
    assert at <= goals


# --- in a browser ---


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = play.chromium.launch(
            executable_path=stills.BROWSER,
            args=["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"],
        )
        yield found
        found.close()


class Opened:
    """A page from a disk that holds figures, and the errors that it reports."""

    def __init__(self, browser: Any, file: Path, fragment: str = "", **options: Any) -> None:
        self.errors: list[str] = []
        self.tab = browser.new_page(**({"viewport": {"width": 1000, "height": 900}} | options))
        self.tab.on("pageerror", lambda e: self.errors.append(str(e)))
        self.tab.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.tab.goto(file.as_uri() + fragment)

    def settings(self, name: str) -> str:
        """Wait until the address is written, and return the part of a figure."""
        self.tab.wait_for_timeout(350)
        return next(
            (p for p in self.tab.evaluate("location.hash")[1:].split(";") if p.startswith(f"{name}:")), ""
        )


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(*names: str, **options: str) -> Path:
        path = tmp_path / "page.html"
        path.write_text(stills.page(*names, folder=f"{FOLDER.as_uri()}/", **options), encoding="utf-8")
        return path

    return write


def stage(name: str) -> str:
    return f'[data-explorable="{name}"]'


def compare(page: Any, expected: Any, where: str) -> None:
    if isinstance(expected, dict):
        for key, value in expected.items():
            compare(page[key], value, f"{where}: {key}")
    else:
        np.testing.assert_allclose(page, expected, rtol=NEAR, atol=NEAR, err_msg=where)


@needs_browser
@figures
def test_the_numbers_are_the_packages(name: str, browser: Any, file: Callable[..., Path]) -> None:
    opened, case = Opened(browser, file(name)), CASES[name]
    assert len(case.settings) >= 5
    for settings in case.settings:
        page = opened.tab.evaluate("([name, s]) => t2vExplorables[name].compute(s)", [name, settings])
        for key, expected in case.oracle(**settings, page=page).items():
            compare(page[key], expected, f"{key} at {settings}")
    assert not opened.errors
    opened.tab.close()


@needs_browser
@figures
def test_an_input_takes_little_time(name: str, browser: Any, file: Callable[..., Path]) -> None:
    """Processor time of the page's thread, for script, style and layout: other processes may run beside this one."""
    opened = Opened(browser, file(name))
    session = opened.tab.context.new_cdp_session(opened.tab)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(m["value"] for m in metrics if m["name"] == "TaskDuration")

    sliders = opened.tab.locator(f"{stage(name)} input[type=range]")
    assert sliders.count(), "a figure has a slider"
    times = []
    for place in np.linspace(0.05, 0.95, 10):
        for slider in sliders.all():
            before = spent()
            slider.evaluate(
                """(input, place) => { input.value = +input.min + (input.max - input.min) * place;
                input.dispatchEvent(new Event('input', {bubbles: true}));
                document.body.getBoundingClientRect(); }""",
                place,
            )
            times.append(spent() - before)
    assert min(times) > 0
    assert np.quantile(times, 0.9) <= SLOWEST, sorted(times)
    print(f"{name}: {np.median(times):.1f} ms, at most {max(times):.1f}")
    opened.tab.close()


@needs_browser
@figures
def test_keys_move_a_handle_and_the_address_follows(
    name: str, browser: Any, file: Callable[..., Path]
) -> None:
    opened, case = Opened(browser, file(name)), CASES[name]
    handle = opened.tab.locator(f'{stage(name)} [role="slider"][aria-label="{case.handle}"]')
    say = opened.tab.locator(f"{stage(name)} .x-say")
    handle.focus()
    before, words = handle.get_attribute("aria-valuetext"), say.inner_text()
    opened.tab.keyboard.press("Shift+ArrowRight")
    opened.tab.keyboard.press("ArrowUp")
    assert handle.get_attribute("aria-valuetext") != before
    assert say.inner_text() != words
    assert opened.tab.evaluate("document.activeElement.getAttribute('aria-label')") == case.handle
    ring = handle.locator(".x-ring").first
    assert ring.evaluate("e => getComputedStyle(e).stroke") not in ("none", "rgba(0, 0, 0, 0)")
    moved, address = handle.get_attribute("aria-valuetext"), opened.settings(name)
    assert address
    opened.tab.wait_for_timeout(400)
    assert opened.tab.locator(f"{stage(name)} [aria-live]").inner_text() == say.inner_text()
    again = Opened(browser, file(name), f"#{address}")
    same = again.tab.locator(f'{stage(name)} [role="slider"][aria-label="{case.handle}"]')
    assert same.get_attribute("aria-valuetext") == moved
    assert not opened.errors + again.errors
    for page in (opened, again):
        page.tab.close()


@needs_browser
@figures
def test_a_pointer_drags_a_handle(name: str, browser: Any, file: Callable[..., Path]) -> None:
    opened, case = Opened(browser, file(name)), CASES[name]
    handle = opened.tab.locator(f'{stage(name)} [role="slider"][aria-label="{case.handle}"]')
    handle.scroll_into_view_if_needed()
    before, box = handle.get_attribute("aria-valuetext"), handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    opened.tab.mouse.move(x, y)
    opened.tab.mouse.down()
    opened.tab.mouse.move(x + 30, y - 30, steps=4)
    opened.tab.mouse.up()
    assert handle.get_attribute("aria-valuetext") != before
    assert opened.settings(name)
    assert not opened.errors
    opened.tab.close()


@needs_browser
@figures
def test_nonsense_in_the_address_does_no_harm(name: str, browser: Any, file: Callable[..., Path]) -> None:
    keys = Opened(browser, file(name)).tab.evaluate("n => Object.keys(t2vExplorables[n].spec.settings)", name)
    for value in ("-1e9", "1e9", "%E0%A4%A", "a~b", ""):
        wrong = Opened(browser, file(name), f"#{name}:" + "&".join(f"{key}={value}" for key in keys))
        assert wrong.tab.locator(f"{stage(name)} .x-say").inner_text()
        assert not wrong.errors, value
        picture = wrong.tab.locator(f"{stage(name)} .x-picture").evaluate("e => e.outerHTML")
        assert "NaN" not in picture, value
        wrong.tab.close()


@needs_browser
def test_figures_on_one_page_share_the_address(browser: Any, file: Callable[..., Path]) -> None:
    """Each keeps its part; an ordinary anchor is left alone until a figure moves."""
    states = []
    for name in NAMES:
        changed = "&".join(f"{key}={value}" for key, value in CASES[name].changes.items())
        states.append(f"{name}:{changed}")
    opened = Opened(browser, file(*NAMES), "#" + ";".join(states))
    first = NAMES[0]
    handle = opened.tab.locator(f'{stage(first)} [role="slider"][aria-label="{CASES[first].handle}"]')
    handle.focus()
    opened.tab.keyboard.press("ArrowRight")
    for name in NAMES:
        assert opened.settings(name), name
    assert not opened.errors
    opened.tab.close()


@needs_browser
@figures
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_figure_is_accessible(name: str, theme: str, browser: Any, file: Callable[..., Path]) -> None:
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        pytest.skip("axe-core is not installed: pip install axe-playwright-python")
    dark = "<style>html[data-theme=dark] body { background: #14181e; color: #eceff4 }</style>"
    opened = Opened(browser, file(name, head=dark), viewport={"width": 360, "height": 800})
    opened.tab.evaluate("t => { document.documentElement.dataset.theme = t; }", theme)
    opened.tab.evaluate((Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = opened.tab.evaluate(
        """async () => (await axe.run('main', {resultTypes: ['violations']})).violations
        .filter(v => ['serious', 'critical'].includes(v.impact))
        .map(v => `${v.id}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 120) + (n.any[0] || {}).message)}`)"""
    )
    assert not found, "\n".join(found)
    assert opened.tab.evaluate("document.documentElement.scrollWidth") <= 360
    opened.tab.close()


@needs_browser
@figures
def test_without_scripts_the_still_stays(name: str, browser: Any, file: Callable[..., Path]) -> None:
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    try:
        import explorables
    finally:
        sys.path.pop(0)
    alt = "What is to be seen in this picture, in words"
    body = f'<figure class="t2v-explorable">{explorables.still(name, alt)}</figure>'
    opened = Opened(browser, file(name, body=body), java_script_enabled=False)
    picture = opened.tab.get_by_role("img", name=alt)
    assert picture.bounding_box()["height"] > 150
    living = Opened(browser, file(name, body=body))
    assert living.tab.locator(f"{stage(name)} .x-live > svg").count() == 1
    assert living.tab.locator(f"{stage(name)} > svg").count() == 0
    for page in (opened, living):
        page.tab.close()


@needs_browser
@figures
def test_the_still_is_what_the_figure_draws(name: str, browser: Any) -> None:
    committed = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    heights = re.compile(
        r'data-(?:wide|tall)="\d+" '
    )  # of the living figure: they depend on the machine's fonts
    assert heights.sub("", stills.draw(browser, name)) == heights.sub("", committed), (
        "run scripts/explorables_stills.py"
    )
