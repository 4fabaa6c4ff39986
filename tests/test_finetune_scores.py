"""The scores that train no expert, against independent computations and planted structure."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from helpers import load_script
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis


@pytest.fixture(scope="module")
def script() -> ModuleType:
    load_script("finetune_run")
    return load_script("finetune_scores")


def planted(seed: int = 0, n: int = 120, d: int = 9, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = rng.normal(size=(n, d)) * rng.uniform(0.2, 5, d)
    x[:, :2] += 3 * rng.normal(size=(classes, 2))[y]
    return x, y


def test_the_directions_are_those_of_discriminant_analysis(script: ModuleType) -> None:
    x, y = planted(n=3000)
    x = x / x.std(0)  # the shrinkage then hardly turns the directions
    d, ratios = script.directions(x, y)
    assert d.shape == (9, 2)
    z = x @ d
    rest = z - np.stack([z[y == c].mean(0) for c in range(3)])[y]
    within = rest.T @ rest / (len(x) - 3)
    assert np.allclose(within, np.eye(2), atol=0.1)  # 3,000 samples: little shrinkage
    theirs = LinearDiscriminantAnalysis(solver="eigen").fit(x, y)
    assert np.allclose(ratios / ratios.sum(), theirs.explained_variance_ratio_[:2], atol=0.02)
    span = np.linalg.qr(theirs.scalings_[:, :2])[0]
    assert np.linalg.svd(np.linalg.qr(d)[0].T @ span, compute_uv=False).min() > 0.99


def test_the_likelihood_leaves_each_shot_out(script: ModuleType) -> None:
    x, y = planted(3, n=12)
    best = -np.inf
    for log_t in np.linspace(-5, 4, 2001):
        total, scale = 0.0, []
        for i in range(len(x)):
            rest = np.delete(np.arange(len(x)), i)
            means = [x[[j for j in rest if y[j] == c]].mean(0) for c in range(3)]
            scale.append([((x[i] - m) ** 2).sum() for m in means])
        squares = np.array(scale) / np.mean(scale)
        p = np.exp(-np.exp(log_t) * squares)
        total = float(np.log(p[np.arange(len(x)), y] / p.sum(1)).mean())
        best = max(best, total)
    assert script.left_out_likelihood(x, y) == pytest.approx(best, abs=1e-3)
    assert script.left_out_likelihood(7 * x + 3, y) == pytest.approx(
        script.left_out_likelihood(x, y), abs=1e-6
    )


def test_a_source_with_the_targets_directions_comes_first(script: ModuleType) -> None:

    def task(axes: slice, seed: int, classes: int = 4) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        made = {}
        centres = np.zeros((classes, 12))
        centres[:, axes] = 4 * rng.normal(size=(classes, 3))
        for part, n in (("train", 200), ("shots", 20)):
            y = np.arange(n) % classes
            made[f"{part}_labels"] = y
            noise = rng.normal(size=(n, 12)) * np.where(np.arange(12) < 6, 1, 3)
            for stage in {s for group in script.STAGES.values() for s in group}:
                made[f"{part}:{stage}"] = (centres[y] + noise).astype(np.float32)
        return made

    target, near, far = task(slice(0, 3), 0), task(slice(0, 3), 1), task(slice(6, 9), 2)
    stages = {s for group in script.STAGES.values() for s in group}
    rows = []
    for source in (near, far):
        found = {
            s: script.directions(source[f"train:{s}"].astype(float), source["train_labels"]) for s in stages
        }
        rows.append(script.of_pair(source, found, target))
    looks = [name for name in rows[0] if name.startswith(("dda", "mix"))]
    assert len(looks) == 25
    assert all(rows[0][name] > rows[1][name] for name in looks)
    assert rows[0]["classes"] == rows[1]["classes"]
    script.with_classes(rows)
    assert rows[0]["dda:end:unit+classes"] == pytest.approx(1)  # one of two: ±1, and nothing from the classes


def test_stretching_adds_squared_distances(script: ModuleType) -> None:
    x, y = planted(5, n=20)
    d, ratios = script.directions(x, y)
    z = script.stretched(x, d, ratios, 10.0)
    soft = x @ d * np.sqrt(ratios / (1 + ratios))

    def square(v: np.ndarray) -> float:
        return ((v[0] - v[1]) ** 2).sum() / ((v - v.mean(0)) ** 2).sum(1).mean()

    assert ((z[0] - z[1]) ** 2).sum() == pytest.approx(square(x) + 10 * square(soft))


def test_the_variant_is_chosen_on_the_first_half_alone(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, names = np.random.default_rng(0), tuple("abcdefgh")
    part = dataclasses.replace(script.PARTS["drawn"], names=names)
    monkeypatch.setattr(script, "PARTS", {"drawn": part})
    error = {(t, s): rng.random() for t in names for s in names if s != t}
    first = set("abcd")
    rows, lines = [], ["seed,target,candidate,finetuned_error"]
    for (t, s), value in error.items():
        lines.append(f"0,{t},{s},{value}")
        early = -value if {t, s} <= first else value  # right in the first half only
        late = -value if not {t, s} & first else value
        rows.append({"part": "drawn", "seed": 0, "target": t, "source": s, "early": early, "late": late})
    (tmp_path / "drawn.csv").write_text("\n".join(lines) + "\n")
    early, late = script.choice(tmp_path, rows)
    assert (early["chosen"], late["chosen"]) == (1, 0)
    assert early["chosen_all"] + late["chosen_all"] == 1
    assert early["developed"] == late["judged"] == pytest.approx(1)
    assert early["judged"] == late["developed"] == pytest.approx(-1)
    assert early["regret_developed"] == 0 < early["regret_judged"]
    (tmp_path / "drawn.csv").write_text("\n".join(lines[:30]) + "\n")  # the second half is not measured yet
    early, late = script.choice(tmp_path, rows)
    assert early["chosen"] == 1
    assert "judged" not in early
