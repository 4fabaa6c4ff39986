"""Choosing a network or a task: against other implementations, by hand, and on a shelf of four experts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from t2v import baselines, choose, embedding, probes, tasks, transfer


class Weighted(nn.Module):
    """Features are the image's mean colours, some of them in the dark: what it can tell apart is known."""

    def __init__(self, red: float, green: float, blue: float) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(3, 3)
        self.conv.weight.data = torch.diag(torch.tensor([float(red), green, blue])).view(3, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(x).mean((2, 3)))


def seeing(*colours: float, name: str = "colours") -> probes.Probe:
    return probes.from_module(Weighted(*colours), name=name)


def coloured(name: str, n: int = 60, channel: int = 0, seed: int = 0, spread: float = 12.0) -> tasks.Task:
    """Tell three strengths of one colour apart; the two others are noise."""
    rng = np.random.default_rng(seed)

    def part(count: int) -> tasks.ArrayDataset:
        labels = np.arange(count) % 3
        pixels = rng.normal(110, 30, (count, 1, 1, 3)) + rng.normal(0, 5, (count, 8, 8, 3))
        pixels[..., channel] = 60 + 45 * labels[:, None, None] + rng.normal(0, spread, (count, 1, 1))
        return tasks.ArrayDataset(np.clip(pixels, 0, 255).astype(np.uint8), labels)

    return tasks.Task(name, part(n), part(12), ("weak", "middle", "strong"))


TARGET = coloured("reds")
#: Four experts: one sees what matters, one sees it faintly among noise, one sees nothing of it, one sees one thing.
SHELF = {
    "red": seeing(1, 0.01, 0.01),
    "all": seeing(1, 1, 1),
    "faint": seeing(0.002, 1, 1),
    "blind": seeing(0, 1, 1),
}


def test_the_shelf_is_ordered_by_what_its_networks_can_see() -> None:
    found = choose.choose(TARGET, seeing(0, 0, 1), SHELF)
    assert found.target == "reds"
    assert {c.source for c in found.ranking[:2]} == {"red", "all"}
    assert {c.source for c in found.ranking[2:]} == {"faint", "blind", "probe"}
    assert found.stay is False
    errors = [c.error for c in found.ranking]
    assert errors == sorted(errors)
    assert errors[0] < 0.2 < 0.4 < errors[-1]
    first, *others = found.ranking
    assert [c.source for c in found.ranking if c.within_noise] == [others[0].source]
    assert found.advice == (
        f"start from {first.source} (error {first.error:.3f}); {others[0].source} is within noise of it"
    )
    for c in found.ranking:
        assert c.low <= c.error <= c.high
        assert c.seconds > 0
        network = {**SHELF, "probe": seeing(0, 0, 1)}[c.source]
        assert c.logme == pytest.approx(
            baselines.logme(network.features(TARGET.train.images), TARGET.train.labels)
        )


def test_the_probe_may_come_first() -> None:
    found = choose.choose(TARGET, seeing(1, 0.01, 0.01), {"blind": SHELF["blind"], "faint": SHELF["faint"]})
    assert found.stay is True
    assert found.ranking[0].source == "probe"
    assert found.advice.startswith("stay with the probe (error 0.")
    assert found.advice.endswith("; nothing else is within noise of it")
    same = choose.choose(TARGET, seeing(1, 0.01, 0.01), {"again": SHELF["red"], "red": SHELF["red"]})
    assert same.stay is True  # of equals the probe, then by name
    assert same.advice.endswith("; again and red are within noise of it")


def test_the_error_is_that_of_heads_on_the_other_parts() -> None:
    """Another library's logistic regression, with the penalty in its own scale, fitted part by part."""
    features, labels = SHELF["all"].features(TARGET.train.images).astype(float), TARGET.train.labels
    wrong = np.zeros(len(labels), bool)
    for part in transfer.folds(labels, 5, 3):
        rest = np.setdiff1d(np.arange(len(labels)), part)
        centre = features[rest].mean(0)
        scale = np.sqrt(((features[rest] - centre) ** 2).sum(1).mean())
        head = LogisticRegression(C=1 / (1e-4 * len(rest)), max_iter=10_000, tol=1e-8)
        head.fit((features[rest] - centre) / scale, labels[rest])
        wrong[part] = head.predict((features[part] - centre) / scale) != labels[part]
    found = {c.source: c for c in choose.choose(TARGET, seeing(0, 0, 1), SHELF, seed=3).ranking}
    assert found["all"].error == pytest.approx(
        wrong.mean(), abs=1.01 / 60
    )  # one image may lie on the boundary


def test_no_test_image_is_looked_at() -> None:
    swapped = dataclasses.replace(TARGET, test=tasks.ArrayDataset(TARGET.test.images * 0, TARGET.test.labels))
    before, after = (choose.choose(t, seeing(0, 0, 1), SHELF) for t in (TARGET, swapped))
    assert [(c.source, c.error) for c in before.ranking] == [(c.source, c.error) for c in after.ranking]


def test_who_is_told_apart_by_hand() -> None:
    """Six of six discordant images for one side: 2 / 2⁶ = 0.03; seven of eight: 18 / 2⁸ = 0.07."""
    base = np.zeros(50, bool)
    six, seven = base.copy(), base.copy()
    six[:6], seven[:7] = True, True
    other = base.copy()
    other[49] = True
    assert not choose.tied(base, six)
    assert not choose.tied(six, base)
    assert choose.tied(other, seven)
    assert choose.tied(base, base)
    assert choose.tied(base, base.copy() ^ (np.arange(50) < 5))  # 2 / 2⁵ = 0.06
    with pytest.raises(ValueError, match=r"shapes \(50,\) and \(49,\) differ"):
        choose.tied(base, six[1:])


def test_pairing_tells_apart_what_intervals_do_not() -> None:
    """Both are wrong on twenty of sixty images, one on seven more: the intervals overlap, the pairs do not lie."""
    a, b = np.arange(60) < 20, np.arange(60) < 27
    assert choose._interval(a)[1] > choose._interval(b)[0]
    assert not choose.tied(a, b)


def test_tasks_are_ranked_by_their_heads_and_by_task2vec() -> None:
    probe = seeing(1, 0.8, 0.6)
    sources = [
        coloured("red too", seed=1),
        coloured("greens", channel=1, seed=2),
        coloured("blues", channel=2, seed=3),
    ]
    found = choose.choose_task(TARGET, probe, sources, device="cpu")
    assert found.stay is None
    assert found.ranking[0].source == "red too"
    own = embedding.embed(TARGET, probe, device="cpu")
    ranked = {
        r.source: r.d_asym
        for r in transfer.rank(own, [embedding.embed(s, probe, device="cpu") for s in sources])
    }
    for c in found.ranking:
        source = next(s for s in sources if s.name == c.source)
        head = embedding.fit_head(probe.features(source.train.images), source.train.labels, 3)
        logits = head(torch.from_numpy(probe.features(TARGET.train.images))).double().numpy()
        assert c.head == pytest.approx(baselines.nearest_class_mean(logits, TARGET.train.labels))
        assert c.low <= c.head <= c.high
        assert c.d_asym == pytest.approx(ranked[c.source])
    nearest = min(ranked, key=lambda name: ranked[name])
    assert found.advice.startswith("train an expert on red too first (Task2Vec ")
    assert ("Task2Vec too" if nearest == "red too" else f"Task2Vec would take {nearest}") in found.advice
    with pytest.raises(ValueError, match="not the target itself"):
        choose.choose_task(TARGET, probe, [TARGET])
    with pytest.raises(ValueError, match="at least one is needed"):
        choose.choose_task(TARGET, probe, [])


def test_noise_covers_and_does_not_count_what_all_sources_share() -> None:
    """Sources that are alike: the margin holds nineteen differences of twenty, whatever the target's own luck."""
    rng, hits, n = np.random.default_rng(0), [], 6
    names = [f"s{k}" for k in range(n)]
    for _ in range(2000):
        first, second = (
            dict(zip(names, 0.3 + 10 * rng.normal() + 0.02 * rng.normal(size=n), strict=True))
            for _ in range(2)
        )
        found = choose.noise(first, second)
        a, b = rng.choice(n, 2, replace=False)
        hits.append(abs(first[names[a]] - first[names[b]]) <= found.margin)
    assert 0.93 < np.mean(hits) < 0.985  # wider than 0.95: the pair takes part in the estimate
    assert found.standard_error < 0.1


def test_ties_by_hand() -> None:
    first = {"a": 0.30, "b": 0.10, "c": 0.12, "d": 0.99}
    second = {
        "a": 0.31,
        "b": 0.10,
        "c": 0.14,
    }  # changes 0.01, 0, 0.02: their deviation is 0.01, and t₂ = 4.303
    found = choose.noise(first, second)
    assert found.standard_error == pytest.approx(0.01)
    assert found.margin == pytest.approx(0.04303, abs=1e-5)
    assert found.ties == ("c",)
    for bad in ({"a": 0.1}, {"a": 0.1, "e": 0.2}):
        with pytest.raises(ValueError, match="at least two of the first's sources"):
            choose.noise(first, bad)


def test_bad_input_is_refused() -> None:
    probe, lonely = seeing(1, 1, 1), TARGET.train.labels.copy()
    lonely[lonely == 2] = 1
    lonely[0] = 2
    single = dataclasses.replace(TARGET, train=tasks.ArrayDataset(TARGET.train.images, lonely))
    for call, message in (
        (lambda: choose.choose(TARGET, probe, {}), "networks: there are none"),
        (lambda: choose.choose(TARGET, probe, {"probe": probe}), "'probe' stands for the probe itself"),
        (lambda: choose.choose(TARGET, probe, SHELF, folds=1), "at least two"),
        (lambda: choose.choose(single, probe, SHELF), "one sample"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


# ---------------------------------------------------------------- what the command line names


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run with four experts, one of them of the target itself."""
    probe = probes.load()
    for name in ("reds", "greens", "blues", "greys"):
        expert = dataclasses.replace(probe, name=f"{probe.name}@{name}")
        transfer.save_expert(expert, tmp_path / "run" / "experts" / f"{name}.pt", {"task": name})
    (tmp_path / "run" / "config.json").write_text("{}")
    return tmp_path / "run"


def test_specs_are_told_apart(run: Path, tmp_path: Path) -> None:
    (tmp_path / "images" / "a").mkdir(parents=True)
    for spec, what in (
        (run / "experts" / "reds.pt", "expert"),
        (run, "run"),
        (tmp_path / "images", "task"),
        ("mnist", "task"),
        ("torchvision:MNIST", "task"),
        ("resnet18", "network"),
        ("efficientnet_lite1", "network"),
    ):
        assert choose.kind(str(spec)) == what, spec
    for spec, message in (
        (str(tmp_path / "no"), "no such file or folder"),
        ("expert.pt", "no such file or folder"),
        ("resnet_18", "neither a file, a folder, a task nor a network; nearest: .*resnet18"),
        ("mnits", "nearest: mnist"),
    ):
        with pytest.raises(ValueError, match=message):
            choose.kind(spec)


def test_networks_are_opened_and_the_targets_own_expert_is_left_out(run: Path, tmp_path: Path) -> None:
    probe = probes.load()
    networks, left_out = choose.open_networks([str(run)], probe, "reds")
    assert set(networks) == {"greens", "blues", "greys"}
    assert len(left_out) == 1
    assert "reds.pt is left out: it was trained on 'reds' itself" in left_out[0]
    images = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3)).astype(np.uint8)
    assert np.allclose(networks["blues"].features(images), probe.features(images))
    file = str(run / "experts" / "blues.pt")
    twice, _ = choose.open_networks([str(run), file], probe, "reds")
    assert f"blues ({file})" in twice
    with pytest.raises(ValueError, match=r"'efficientnet_lite0' is given twice, or is the probe"):
        choose.open_networks(["efficientnet_lite0"], probe, "reds")
    other = dataclasses.replace(probe, name="mine@yellows")
    transfer.save_expert(other, tmp_path / "yellows.pt")
    with pytest.raises(
        ValueError, match=r"yellows.pt is an expert of probe 'mine', which has no known architecture"
    ):
        choose.open_networks([str(tmp_path / "yellows.pt")], probe, "reds")
    (tmp_path / "bad.pt").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"bad.pt: not an expert, or damaged .*; remove it"):
        choose.open_networks([str(tmp_path / "bad.pt")], probe, "reds")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="a run without experts yet"):
        choose.open_networks([str(tmp_path / "empty")], probe, "reds")
