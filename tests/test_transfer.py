"""Rankings from embeddings, and the measured gain."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from t2v import distance, probes, tasks, transfer
from t2v.embedding import TaskEmbedding, fit_head, trivial
from t2v.embedding import split as embedding_split


def fake(name: str, values: np.ndarray, probe: str = "p") -> TaskEmbedding:
    return TaskEmbedding(np.asarray(values, float), {"a": slice(0, 10), "b": slice(10, 30)}, name, probe)


@pytest.fixture
def some() -> list[TaskEmbedding]:
    rng = np.random.default_rng(0)
    return [fake(name, rng.gamma(0.5, size=30)) for name in "tuvwx"]


def test_rank_sorts_by_the_definition(some: list[TaskEmbedding]) -> None:
    target, *sources = some
    assert transfer.rank(target, sources) == transfer.rank(target, sources, alpha=0.15)
    for alpha in (0.0, 0.15, 3.0):
        rows = transfer.rank(target, sources, alpha=alpha)
        t0 = trivial(target)
        want = {s.task: distance.symmetric(s, target) - alpha * distance.symmetric(s, t0) for s in sources}
        assert [r.source for r in rows] == sorted(want, key=want.get)
        for row in rows:
            assert row.d_asym == pytest.approx(want[row.source], abs=1e-12)
            assert row.norm == next(s.norm for s in sources if s.task == row.source)


def test_a_copy_of_the_target_comes_first(some: list[TaskEmbedding]) -> None:
    target, *sources = some
    copy = fake("copy", target.values * (1 + 1e-6))
    assert transfer.rank(target, [*sources, copy])[0].source == "copy"


def test_reference_may_be_any_embedding(some: list[TaskEmbedding]) -> None:
    target, t0, *sources = some
    row = transfer.rank(target, sources, reference=t0, alpha=1.0)[0]
    source = next(s for s in sources if s.task == row.source)
    assert row.d_asym == pytest.approx(distance.symmetric(source, target) - distance.symmetric(source, t0))


def test_bad_input_is_refused(some: list[TaskEmbedding]) -> None:
    target, *sources = some
    for call, message in [
        (lambda: transfer.rank(target, []), "at least one"),
        (lambda: transfer.rank(target, [sources[0], sources[0]]), "u given more than once"),
        (lambda: transfer.rank(target, sources, reference="own"), "accepted: 'trivial'"),
        (lambda: transfer.rank(target, sources, alpha=-0.1), "alpha"),
        (lambda: transfer.rank(target, [fake("z", np.ones(30), "other")]), "different probes"),
        (lambda: transfer.gain(0.1, 0.0), "error_scratch: it is 0"),
        (lambda: transfer.gain(math.nan, 0.1), "error_transfer"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_gain_is_relative_and_negative_where_transfer_helps() -> None:
    assert transfer.gain(0.1, 0.4) == pytest.approx(-0.75)
    assert transfer.gain(0.6, 0.4) == pytest.approx(0.5)


# ---------------------------------------------------------------- experts


class Small(nn.Module):
    """A convolutional network with batch norm and dropout, whose modes matter."""

    def __init__(self, width: int = 10) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.norm = nn.Conv2d(3, width, 5, stride=2), nn.BatchNorm2d(width)
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(width, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.drop(self.norm(self.conv(x)).relu().mean((2, 3))))


def small(width: int = 10) -> probes.Probe:
    return probes.from_module(Small(width), name="small")


def stripes(n: int = 96, noise: int = 60) -> tasks.Task:
    """Stripes that lie, stand, or are fine: no mean colour gives them away."""
    rng, grid = np.random.default_rng(0), np.indices((16, 16))
    kinds = np.stack([grid[0] // 2 % 2, grid[1] // 2 % 2, grid.sum(0) % 2])

    def part(count: int) -> tasks.ArrayDataset:
        labels = np.arange(count) % 3
        pixels = 90 + 20 * kinds[labels][..., None] + rng.integers(-noise, noise, (count, 16, 16, 3))
        return tasks.ArrayDataset(pixels.astype(np.uint8), labels)

    return tasks.Task("stripes", part(n), part(90), ("lying", "standing", "fine"))


def state(probe: probes.Probe) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in probe.model.state_dict().items()}


def error(probe: probes.Probe, task: tasks.Task) -> float:
    head = fit_head(probe.features(task.train.images), task.train.labels, len(task.classes))
    logits = head(torch.from_numpy(probe.features(task.test.images)))
    return float((logits.argmax(1).numpy() != task.test.labels).mean())


def test_an_expert_is_better_at_its_task_and_the_probe_stays_as_it_was() -> None:
    probe, task = small(), stripes()
    before, draw = state(probe), torch.get_rng_state()
    expert = transfer.finetune(probe, task, epochs=15, lr=1e-2)
    assert error(expert, task) < error(probe, task) - 0.1
    assert all(torch.equal(v, before[k]) for k, v in probe.model.state_dict().items())
    assert not any(p.requires_grad for p in [*probe.model.parameters(), *expert.model.parameters()])
    assert not probe.model.training
    assert not expert.model.training
    assert torch.equal(draw, torch.get_rng_state())
    assert expert.name == "small@stripes"
    assert expert.classify(task.test.images).shape == (90, 3)
    assert (expert.classify(task.train.images).argmax(1) == task.train.labels).mean() > 0.7


def test_batch_norm_keeps_the_statistics_of_the_probe() -> None:
    probe = small()
    expert = transfer.finetune(probe, stripes(32), epochs=1)
    assert torch.equal(expert.model.norm.running_mean, probe.model.norm.running_mean)
    assert torch.equal(expert.model.norm.running_var, probe.model.norm.running_var)
    assert not torch.equal(expert.model.norm.weight, probe.model.norm.weight)


def test_an_expert_depends_on_its_seed_alone() -> None:
    probe, task = small(), stripes(40)
    one = state(transfer.finetune(probe, task, epochs=2))
    torch.manual_seed(77)
    two, three = (state(transfer.finetune(probe, task, epochs=2, seed=s)) for s in (0, 1))
    assert all(torch.equal(v, two[k]) for k, v in one.items())
    assert not torch.equal(one["conv.weight"], three["conv.weight"])
    # the labels' type and their place in memory change nothing
    short = task.train.labels[::-1].astype(np.int32)[::-1]
    other = replace(task, train=tasks.ArrayDataset(task.train.images, short))
    four = state(transfer.finetune(probe, other, epochs=2))
    assert all(torch.equal(v, four[k]) for k, v in one.items())


def test_the_first_step_is_adamw_with_clipped_gradients() -> None:
    """One step of one batch, written out: the schedule starts at the full rate, since it has one step."""
    probe, task = small(), stripes(6)
    expert = transfer.finetune(probe, task, epochs=1, lr=0.02, weight_decay=0.1, clip=1e-9, batch_size=6)
    torch.manual_seed(0)
    head = nn.Linear(10, 3)
    model = probes.from_module(Small(), name="small").model.requires_grad_(True)
    logits = head(model(probe.preprocess(task.train.images)))
    nn.functional.cross_entropy(logits, torch.from_numpy(task.train.labels)).backward()
    weights = [*model.parameters(), *head.parameters()]
    norm = torch.sqrt(sum((p.grad**2).sum() for p in weights))
    g = model.conv.weight.grad * 1e-9 / norm
    # AdamW's first step: w (1 − lr·decay) − lr · g / (|g| + 1e-8); gradients this small make the 1e-8 felt
    want = probe.model.conv.weight * (1 - 0.02 * 0.1) - 0.02 * g / (g.abs() + 1e-8)
    assert torch.allclose(expert.model.conv.weight, want, atol=1e-6)
    assert (expert.model.conv.weight - probe.model.conv.weight).abs().max() > 1e-4


def test_the_schedule_warms_up_and_ends_near_nothing() -> None:
    factors = [transfer._schedule(k, 40, 0.1) for k in range(40)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert all(a > b for a, b in pairwise(factors[3:]))
    assert factors[21] == pytest.approx(0.5, abs=0.03)
    assert 0 < factors[-1] < 0.01


def test_a_diverging_run_names_its_epoch() -> None:
    with pytest.raises(ValueError, match=r"infinite in epoch [1-4]"):
        transfer.finetune(small(), stripes(64), lr=1e30)
    broken = small()
    broken.model.conv.weight.data[0] = math.nan
    with pytest.raises(ValueError, match="in epoch 1"):
        transfer.finetune(broken, stripes(12))


def test_an_expert_to_which_all_images_look_alike_is_refused() -> None:
    dead = small()
    dead.model.norm.bias.data[:] = -100  # no unit fires, so none can learn
    with pytest.raises(transfer.TrainingError, match=r"the expert of 'stripes' collapsed.*smaller lr"):
        transfer.finetune(dead, stripes(12), epochs=1)


def test_bad_recipes_are_refused() -> None:
    task = stripes(12)
    for options, message in [
        ({"epochs": 0}, "epochs: 0 is not an integer"),
        ({"batch_size": 2.5}, "batch_size: 2.5"),
        ({"lr": 0.0}, "lr: 0.0 is not a finite number > 0"),
        ({"lr": math.nan}, "lr: nan"),
        ({"clip": -1.0}, "clip"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"warmup": 1.5}, "warmup: 1.5 is not a share"),
    ]:
        with pytest.raises(ValueError, match=message):
            transfer.finetune(small(), task, **options)
    images = tasks.ArrayDataset(task.train.images, np.zeros(12, int))
    with pytest.raises(ValueError, match="'one' needs at least two classes"):
        transfer.finetune(small(), tasks.Task("one", images, images, ("only",)))


def test_an_expert_file_gives_the_same_network_back(tmp_path: Path) -> None:
    probe, task = small(), stripes(24)
    expert = transfer.finetune(probe, task, epochs=1)
    before = state(probe)
    file = transfer.save_expert(expert, tmp_path / "deep" / "e.pt", {"epochs": 1})
    again, about = transfer.load_expert(file, probe)
    assert about == {"epochs": 1}
    assert again.name == expert.name
    assert np.array_equal(again.classify(task.test.images), expert.classify(task.test.images))
    assert all(torch.equal(v, before[k]) for k, v in probe.model.state_dict().items())
    assert [f.name for f in file.parent.iterdir()] == ["e.pt"]


def test_an_expert_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = transfer.save_expert(small(), tmp_path / "e.pt")
    with pytest.raises(
        ValueError, match=r"e\.pt: an expert of another architecture.*conv\.weight is \(10, 3, 5, 5\)"
    ):
        transfer.load_expert(file, small(width=12))
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"e\.pt: not an expert, or damaged"):
        transfer.load_expert(file, small())
    torch.save({"something": 1}, file)
    with pytest.raises(ValueError, match="not an expert"):
        transfer.load_expert(file, small())
    torch.save(
        {"name": "x", "model": {}, "head": None, "about": Path("code")}, file
    )  # needs pickle: never run
    with pytest.raises(ValueError, match="not an expert"):
        transfer.load_expert(file, small())
    whole = small().model.state_dict()
    for model, head in (([1], None), (whole, {"weight": torch.ones(3)}), (whole, {}), ({"a": 1}, None)):
        torch.save({"name": "x", "model": model, "head": head, "about": "{}"}, file)
        with pytest.raises(ValueError, match=r"e\.pt: not an expert"):
            transfer.load_expert(file, small())
    with pytest.raises(FileNotFoundError):
        transfer.load_expert(tmp_path / "nowhere.pt", small())


# ---------------------------------------------------------------- recipes


def quick(n: int = 24, seed: int = 0) -> tasks.Task:
    """Return a task of two colours that a small network learns at once."""
    rng = np.random.default_rng(seed)

    def some(n: int) -> tasks.ArrayDataset:
        labels = np.arange(n) % 2
        images = rng.integers(0, 120, size=(n, 16, 16, 3)) + 120 * labels[:, None, None, None]
        return tasks.ArrayDataset(images.astype(np.uint8), labels)

    return tasks.Task("colours", some(n), some(10), ("dark", "light"))


def test_folds_deal_out_every_class() -> None:
    labels = np.repeat([0, 1, 2], [7, 4, 2])
    for n in (2, 3):
        parts = transfer.folds(labels, n, seed=1)
        assert sorted(np.concatenate(parts)) == list(range(13))
        assert np.ptp([len(p) for p in parts]) <= 1
        for part in parts:  # what is left has every class
            assert set(np.delete(labels, part)) == {0, 1, 2}
    for bad, message in ((np.array([0, 0, 1]), "class 1 has one"), (labels, "at least two")):
        with pytest.raises(ValueError, match=message):
            transfer.folds(bad, 2 if len(bad) == 3 else 1)


def test_the_recipe_with_the_smallest_pooled_error_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    probe, task, seen = small(), quick(), []
    other = replace(probe, name="other")
    table = {("small", 0.1): 0.2, ("other", 0.1): 0.6, ("small", 0.2): 0.5, ("other", 0.2): 0.1}

    def error(
        self: transfer.Recipe, start: probes.Probe, t: tasks.Task, rows: np.ndarray, *_: object
    ) -> float:
        seen.append(tuple(rows))
        return table[start.name, self.lr]

    monkeypatch.setattr(transfer.Recipe, "error", error)
    grid = [transfer.Recipe(0.1, 1), transfer.Recipe(0.2, 1)]
    recipe, errors = transfer.choose_recipe([[probe, other]] * 2, task, grid)
    assert recipe.lr == 0.2  # the probe alone would choose 0.1
    assert np.allclose(errors, [[0.4, 0.4], [0.3, 0.3]])
    assert transfer.choose_recipe([[probe]] * 2, task, grid)[0].lr == 0.1
    assert transfer.choose_recipe([[probe]] * 2, task, [grid[0], replace(grid[0], epochs=9)])[0].epochs == 1
    assert len(set(seen)) == 2  # every network and recipe is judged on the same two halves


def test_a_recipe_is_judged_on_images_that_it_was_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    task, seen = quick(), []
    kept = transfer.finetune

    def spy(start: probes.Probe, part: tasks.Task, **how: object) -> probes.Probe:
        seen.append(part)
        return kept(start, part, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(transfer, "finetune", spy)
    rows = np.array([1, 2, 5])
    error = transfer.Recipe(1e-3, 2).error(small(), task, rows)
    (part,) = seen
    assert np.array_equal(part.train.images, np.delete(task.train.images, rows, axis=0))
    assert np.array_equal(part.train.labels, np.delete(task.train.labels, rows))
    made = kept(small(), part, lr=1e-3, epochs=2, batch_size=16)
    right = sum(made.classify(task.train.images[[r]]).argmax() == task.train.labels[r] for r in rows)
    assert error == pytest.approx(1 - right / 3)


def test_no_test_image_is_looked_at() -> None:
    task, found = quick(), []
    blind = replace(task, test=tasks.ArrayDataset(task.test.images[:0], task.test.labels[:0]))
    grid = [transfer.Recipe(1e-3, 1), transfer.Recipe(1e-2, 1)]
    for t in (task, blind):
        recipe, errors = transfer.choose_recipe([[small()]] * 2, t, grid)
        made = transfer.train_expert(small(), t, grid)
        found.append((recipe, errors.tolist(), made.errors, made.frozen_error, made.chosen))
    assert found[0] == found[1]


def test_an_expert_is_accepted_by_images_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = [transfer.Recipe(1e-3, 1), transfer.Recipe(1e-2, 1)]
    task = tasks.shuffle_labels(
        quick(40), seed=0
    )  # nothing to learn: the error depends on the images that judge
    made = transfer.train_expert(small(), task, grid, share=0.75, seed=3)
    first, held = embedding_split(task.train.labels, 0.75, 3)
    for expert, error in zip(made.experts, made.errors, strict=True):
        assert expert is not None
        guessed = expert.classify(task.train.images[held]).argmax(1)
        assert error == pytest.approx((guessed != task.train.labels[held]).mean())
    features = small().features(task.train.images)
    head = fit_head(features[first], task.train.labels[first], 2)
    guessed = head(torch.from_numpy(features[held])).argmax(1).numpy()
    assert made.frozen_error == pytest.approx((guessed != task.train.labels[held]).mean())
    assert replace(made, errors=(0.2, 0.1), frozen_error=0.1, chosen=1).accepted
    assert not replace(made, errors=(0.2, 0.3), frozen_error=0.1, chosen=0).accepted

    def fails(*_: object, **__: object) -> probes.Probe:
        raise transfer.TrainingError("NaN")

    monkeypatch.setattr(transfer, "finetune", fails)
    with pytest.raises(transfer.TrainingError, match="by every recipe"):
        transfer.train_expert(small(), task, grid)
    assert grid[0].error(small(), task, np.arange(4)) == 1.0


def test_a_network_may_keep_its_own_statistics() -> None:
    task, probe = quick(), small()
    frozen = transfer.finetune(probe, task, epochs=1)
    own = transfer.finetune(probe, task, epochs=1, batch_size=8, statistics="own")
    norms = [[m for m in p.model.modules() if isinstance(m, nn.BatchNorm2d)] for p in (probe, frozen, own)]
    assert norms[0]
    for before, kept, made in zip(*norms, strict=True):
        assert torch.equal(before.running_mean, kept.running_mean)
        assert not torch.equal(before.running_mean, made.running_mean)
        assert not made.training
    # of the first layer: the mean over the batches of the mean of what the layer before it gives
    got: list[torch.Tensor] = []
    hook = norms[2][0].register_forward_hook(lambda _m, args, _o: got.append(args[0].mean((0, 2, 3))))
    with torch.no_grad():
        for start in range(0, len(task.train), 8):
            own.model(own.preprocess(task.train.images[start : start + 8]))
    hook.remove()
    assert torch.allclose(norms[2][0].running_mean, torch.stack(got).mean(0), atol=1e-6)
    with pytest.raises(ValueError, match="accepted: frozen, own"):
        transfer.finetune(probe, task, statistics="batch")  # type: ignore[arg-type]


def test_bad_grids_are_refused() -> None:
    task, grid = quick(), [transfer.Recipe(1e-3, 1)]
    for call in (
        lambda: transfer.choose_recipe([[small()]] * 2, task, []),
        lambda: transfer.choose_recipe([[small()], []], task, grid),
        lambda: transfer.train_expert(small(), task, []),
    ):
        with pytest.raises(ValueError, match="at least one recipe"):
            call()
    with pytest.raises(ValueError, match="at least two"):
        transfer.choose_recipe([[small()]], task, grid)
