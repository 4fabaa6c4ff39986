"""Oracles: brute force over rows, integration of one-dimensional mixtures, exact rotations of the icosahedron."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, stats

from t2v import estimators, information, plane
from t2v.variational import DivergedError

RNG = np.random.default_rng(0)


# ------------------------------------------------------------------ the 12-bit task


def test_icosahedron_vertices_are_evenly_spread():
    v = plane.icosahedron()
    cosines = np.sort(v @ v.T, axis=1)
    expected = [-1] + [-1 / math.sqrt(5)] * 5 + [1 / math.sqrt(5)] * 5 + [1]
    np.testing.assert_allclose(cosines, np.tile(expected, (12, 1)), atol=1e-12)


def test_task_is_balanced_and_as_informative_as_asked():
    task = plane.spherical_task()
    assert task.inputs.shape == (4096, 12)
    assert len(np.unique(task.inputs, axis=0)) == 4096
    assert set(np.unique(task.inputs)) == {-1.0, 1.0}
    assert abs(task.p_label.mean() - 0.5) < 0.03
    assert task.i_xy == pytest.approx(0.99, abs=1e-6)
    joint = np.stack([1 - task.p_label, task.p_label], 1) / 4096
    assert information.mutual_information(joint) == pytest.approx(task.i_xy, abs=1e-9)


def test_rule_does_not_change_under_rotations_of_the_sphere():
    """Every rotation that maps the vertices onto themselves permutes the bits and must leave f alone."""
    task, v = plane.spherical_task(seed=3), plane.icosahedron()
    index = {tuple(row): i for i, row in enumerate(task.inputs.astype(int))}
    found = 0
    for j in range(12):
        for k in range(
            12
        ):  # the rotation that takes vertex 0 to j and a neighbour of 0 to k, if there is one
            near = int(np.argmax(np.isclose(v @ v[0], 1 / math.sqrt(5))))
            if not np.isclose(v[j] @ v[k], 1 / math.sqrt(5)):
                continue
            frame = lambda a, b: np.stack([a, b, np.cross(a, b)], 1)  # noqa: E731
            rotation = frame(v[j], v[k]) @ np.linalg.inv(frame(v[0], v[near]))
            move = np.abs(v @ rotation.T - v[:, None]).sum(-1).argmin(0)
            assert sorted(move) == list(range(12))
            moved = np.empty_like(task.inputs)
            moved[:, move] = task.inputs
            other = [index[tuple(row)] for row in moved.astype(int)[::97]]
            np.testing.assert_allclose(task.statistic[other], task.statistic[::97], atol=1e-9)
            found += 1
    assert found == 60  # the rotation group of the icosahedron


# ------------------------------------------------------------------ binned


def brute_force(t, y, bins, low, high):
    rows = [tuple(min(int((v - low) / (high - low) * bins), bins - 1) for v in row) for row in t]
    joint = np.zeros((len(set(rows)), len(set(y))))
    place, classes = ({v: i for i, v in enumerate(dict.fromkeys(a))} for a in (rows, y))
    for r, c in zip(rows, y, strict=True):
        joint[place[r], classes[c]] += 1 / len(y)
    return information.entropy(joint.sum(1)), information.mutual_information(joint)


@pytest.mark.parametrize(("n", "d", "bins"), [(300, 1, 7), (300, 3, 30), (200, 40, 4)])
def test_binned_agrees_with_brute_force(n, d, bins):
    """The last case does not fit in 63 bits: it goes through the hash."""
    t, y = np.tanh(RNG.normal(size=(n, d))), RNG.integers(3, size=n)
    t[n // 2 :] = t[: n - n // 2]  # repeats, so that the hash has something to tell apart
    got = plane.binned_information(t, y, bins=bins, limits=(-1, 1))
    assert got == pytest.approx(brute_force(t, y.tolist(), bins, -1, 1), abs=1e-9)


def test_a_unit_at_its_limit_falls_into_the_outermost_bin():
    """In single precision tanh reaches 1 itself: the last bin is closed, and 1 has no bin of its own."""
    t = np.tanh(np.array([-30.0, -1.5, 1.5, 30.0], dtype=np.float32))
    assert t[-1] == 1
    got = plane.binned_information(t, np.array([0, 0, 1, 1]), bins=4, limits=(-1, 1))
    assert got == pytest.approx((1.0, 1.0))


def test_binned_agrees_with_the_plug_in_estimator_of_chapter_1():
    t, y = np.tanh(RNG.normal(size=(500, 1))), RNG.integers(2, size=500)
    digits = np.minimum((t[:, 0] + 1) / 2 * 10, 9).astype(int)
    assert plane.binned_information(t, y, bins=10, limits=(-1, 1))[1] == pytest.approx(
        estimators.plug_in(digits, y)
    )


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, (40, 2), elements=st.floats(-1, 1)), st.integers(1, 40), st.integers(0, 10**6))
def test_binned_inequalities(t, bins, seed):
    y = np.random.default_rng(seed).integers(2, size=40)
    i_xt, i_ty = plane.binned_information(t, y, bins=bins, limits=(-1, 1))
    assert -1e-12 <= i_ty <= min(i_xt, 1.0) + 1e-9
    assert i_xt <= math.log2(40) + 1e-9
    assert i_xt <= 2 * math.log2(bins) + 1e-9
    finer, _ = plane.binned_information(t, y, bins=2 * bins, limits=(-1, 1))
    assert finer >= i_xt - 1e-9  # splitting bins never loses information


def test_row_codes_are_equal_exactly_for_equal_rows():
    for d, base in ((5, 30), (64, 30)):
        rows = RNG.integers(base, size=(2000, d))
        rows[1000:] = rows[:1000]
        codes = plane.row_codes(rows, base)
        assert len(np.unique(codes)) == len(np.unique(rows, axis=0))
        np.testing.assert_array_equal(codes[1000:], codes[:1000])


# ------------------------------------------------------------------ KDE


def naive_kde(t, y, noise_var):
    square = ((t[:, None] - t[None]) ** 2).sum(-1)
    result = []
    for scale in (8, 2):
        near = np.exp(-square / (scale * noise_var))
        whole = -np.log2(near.mean(1)).mean()
        given_y = sum(-np.log2(near[np.ix_(y == c, y == c)].mean(1)).sum() for c in np.unique(y)) / len(y)
        result += [whole, given_y]
    return result


@pytest.mark.parametrize("block", [7, 64, 1000])
def test_kde_agrees_with_the_naive_formula(block):
    t, y = np.tanh(RNG.normal(size=(150, 3))), RNG.integers(3, size=150)
    low, low_y, high, high_y = naive_kde(t, y, 0.01)
    got = plane.kde_bounds(t, y, noise_var=0.01, block=block)
    assert (got.i_xt_lower, got.i_xt_upper) == pytest.approx((low, high), abs=1e-9)
    assert got.i_ty_matched_lower == pytest.approx(low - low_y, abs=1e-9)
    assert got.i_ty_matched_upper == pytest.approx(high - high_y, abs=1e-9)
    assert got.i_ty_lower == pytest.approx(max(0, low - high_y), abs=1e-9)
    h_y = information.entropy(np.bincount(y) / 150)
    assert got.i_ty_upper == pytest.approx(min(h_y, high - low_y), abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("scale", [1, 100, 1000])
def test_kde_stays_a_bound_in_every_precision(dtype, scale):
    """64 rows, four times each: I(X;T) ≤ 6 bits, and the labels of equal rows are told by nothing."""
    rows = np.random.default_rng(0).normal(size=(64, 5)) + 3
    t = np.repeat((scale * rows).astype(dtype), 4, axis=0)
    got = plane.kde_bounds(t, np.arange(256) % 2, noise_var=1e-2)
    assert got.i_xt_upper <= 6 + 1e-12
    assert got.i_xt_lower <= got.i_xt_upper
    assert abs(got.i_ty_matched_lower) < 1e-12
    assert abs(got.i_ty_matched_upper) < 1e-12
    low, _, high, _ = naive_kde(t.astype(np.longdouble), np.arange(256) % 2, 1e-2)
    assert (got.i_xt_lower, got.i_xt_upper) == pytest.approx((float(low), float(high)), abs=1e-9)


def test_kde_does_not_depend_on_where_the_origin_is():
    t, y = np.tanh(RNG.normal(size=(200, 5))), RNG.integers(2, size=200)
    a, b = (plane.kde_bounds(t + shift, y, noise_var=1e-2) for shift in (0, 1e5))
    assert (a.i_xt_lower, a.i_xt_upper) == pytest.approx((b.i_xt_lower, b.i_xt_upper), abs=1e-6)


@pytest.mark.parametrize("noise_var", [1e-3, 0.02, 0.5])
def test_kde_bounds_the_exact_mixture(noise_var):
    t, y = np.linspace(-1, 1, 12)[:, None] ** 3, (np.arange(12) > 6).astype(int)

    def entropy(points):
        density = lambda x: stats.norm.pdf(x, points, math.sqrt(noise_var)).mean()  # noqa: E731
        f = lambda x: -density(x) * math.log2(density(x)) if density(x) > 1e-300 else 0.0  # noqa: E731
        edges = np.linspace(-1 - 8 * noise_var**0.5, 1 + 8 * noise_var**0.5, 60)
        return sum(integrate.quad(f, a, b)[0] for a, b in pairwise(edges))

    i_xt = entropy(t[:, 0]) - 0.5 * math.log2(2 * math.pi * math.e * noise_var)
    i_ty = entropy(t[:, 0]) - sum((y == c).mean() * entropy(t[y == c, 0]) for c in (0, 1))
    got = plane.kde_bounds(t, y, noise_var=noise_var)
    assert got.i_xt_lower - 1e-6 <= i_xt <= got.i_xt_upper + 1e-6
    assert got.i_ty_lower - 1e-6 <= i_ty <= got.i_ty_upper + 1e-6


# ------------------------------------------------------------------ exact


def exact_by_counting(t, y):
    rows = [tuple(float(v) for v in row) for row in t]
    counts = [Counter(rows), Counter(y), Counter(zip(rows, y, strict=True))]
    h_t, h_y, h = (-sum(c / len(y) * math.log2(c / len(y)) for c in a.values()) for a in counts)
    return h_t, h_t + h_y - h


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exact_information_counts_equal_rows(dtype):
    t = np.maximum(RNG.normal(size=(400, 3)), 0).astype(dtype)  # a ReLU: some rows are all 0
    t[200:] = t[:200]
    t[:50][t[:50] == 0] = -0.0  # is 0 as well
    y = RNG.integers(3, size=400)
    got = plane.exact_information(t, y)
    assert got == pytest.approx(exact_by_counting(t, y.tolist()), abs=1e-12)
    assert got[0] < math.log2(200) + 1e-12
    distinct = RNG.normal(size=(256, 1))
    assert plane.exact_information(distinct, y[:256])[0] == pytest.approx(8.0)


def test_exact_information_sees_the_last_digit_and_a_bin_does_not():
    t = np.full((4, 1), 0.5, dtype=np.float32)
    t[2:] = np.nextafter(t[2:], np.float32(1))
    assert plane.exact_information(t, np.arange(4)) == (1.0, 1.0)
    assert plane.binned_information(t, np.arange(4), limits=(0, 1)) == (0.0, 0.0)
    with pytest.raises(DivergedError, match="not finite"):
        plane.exact_information(np.array([[math.nan]]), np.zeros(1))


def test_exact_trajectory_of_all_inputs_against_a_network_by_hand():
    """Over the 4,096 patterns: H(T_k) of a ReLU net from sets of its outputs, never rising from layer to layer."""
    task = plane.spherical_task()
    net = plane.Ensemble((12, 4, 2, 1), activation="relu", members=2, seed=3)
    recording = plane.record(net, task.inputs, task.labels, epochs=[0, 1], batch_size=1024)
    records = plane.trajectory(recording, task.labels, estimator="exact")
    assert {r.estimator for r in records} == {"exact"}
    epochs, bits = plane.table(records, "i_xt", "exact")
    assert bits.shape == (2, 3, len(epochs))
    for i, k in ((0, 0), (1, 1), (1, 2)):
        by_hand = exact_by_counting(recording.activations[1][k][i], task.labels.tolist())
        chosen = next(r for r in records if (r.epoch, r.layer, r.member) == (1, k + 1, i))
        assert (chosen.i_xt, chosen.i_ty) == pytest.approx(by_hand, abs=1e-9)
    assert (np.diff(bits, axis=1) < 1e-9).all()  # data processing, layer by layer
    assert bits.max() <= 12
    assert bits[:, 1].max() < 12  # two ReLU units have lost something


# ------------------------------------------------------------------ networks


def test_members_train_as_if_alone():
    task = plane.spherical_task()
    together = plane.Ensemble((12, 5, 3, 1), members=2, seed=4)
    alone = plane.Ensemble((12, 5, 3, 1), members=1, seed=5)
    common = {"epochs": [0, 3], "batch_size": 512, "lr": 0.2, "optimizer": "sgd"}
    a = plane.record(together, task.inputs, task.labels, **common)
    b = plane.record(alone, task.inputs, task.labels, **common)
    for x, y in zip(a.activations[-1], b.activations[-1], strict=True):
        np.testing.assert_allclose(x[1], y[0], atol=1e-5)
    assert a.loss[-1, 1] == pytest.approx(b.loss[-1, 0], abs=1e-5)
    assert a.loss[-1].max() < a.loss[0].max()


def test_ensemble_agrees_with_plain_layers():
    net = plane.Ensemble((4, 3, 5), activation="relu", members=2, seed=0)
    x = torch.randn(6, 4)
    for i in range(2):
        hidden = torch.relu(x @ net.weights[0][i] + net.biases[0][i])
        logits = hidden @ net.weights[1][i] + net.biases[1][i]
        torch.testing.assert_close(net(x)[i], logits)
        torch.testing.assert_close(net.layers(x)[0][i], hidden)
        torch.testing.assert_close(net.layers(x)[1][i], logits.softmax(-1))
    labels = torch.arange(6) % 5
    expected = torch.nn.functional.cross_entropy(net(x)[1], labels)
    torch.testing.assert_close(net.loss(x, labels)[1], expected)


def test_trajectory_names_its_estimator_and_its_place():
    task = plane.spherical_task()
    net = plane.Ensemble((12, 4, 2, 1), members=2, seed=1)
    recording = plane.record(net, task.inputs, task.labels, epochs=[0, 2], train=np.arange(3000))
    records = plane.trajectory(recording, task.labels)
    assert len(records) == 2 * 3 * 2
    assert {(r.epoch, r.layer, r.member) for r in records} == {
        (e, k, i) for e in (0, 2) for k in (1, 2, 3) for i in (0, 1)
    }
    assert {r.estimator for r in records} == {"binned(30)"}
    epochs, values = plane.table(records, "i_xt")
    assert epochs == [0, 2]
    direct = plane.binned_information(recording.activations[1][1][0], task.labels, bins=30, limits=(-1, 1))
    assert (values[0, 1, 1], plane.table(records, "i_ty")[1][0, 1, 1]) == pytest.approx(direct)
    kde = plane.trajectory(recording, task.labels, estimator="kde", subset=np.arange(200), members=[0])
    assert {r.estimator for r in kde} == {"kde_lower(0.001)", "kde_upper(0.001)"}
    assert plane.compression(kde, "kde_upper").shape == (1, 3)
    assert not np.isnan(recording.test).any()


@pytest.mark.parametrize(
    ("path", "fall"),
    [
        ([1.0, 3.0, 2.5, 0.5], 2.5),
        ([2.0, 3.0, 0.2, 1.0], 2.0),
        ([0.1, 2.0, 1.5, 2.0], 0.0),
        ([4.0, 1.0], 3.0),
    ],
)
def test_compression_is_the_fall_after_the_peak(path, fall):
    records = [plane.Record(e, 1, 0, v, 0.0, "binned(30)") for e, v in enumerate(path)]
    assert plane.compression(records) == pytest.approx(np.array([[fall]]))


def test_every_layer_and_member_falls_from_its_own_peak():
    paths = {(0, 1): [3.0, 2.0], (0, 2): [1.0, 1.0], (1, 1): [0.0, 5.0], (1, 2): [4.0, 0.0]}
    records = [
        plane.Record(e, k, i, v, 0.0, "binned(30)") for (i, k), p in paths.items() for e, v in enumerate(p)
    ]
    assert plane.compression(records[::-1]).tolist() == [[1.0, 0.0], [0.0, 4.0]]


def two_members() -> list[plane.Record]:
    """Epochs 0, 2, 5, 9 of two members and two layers; the output's I(T;Y) reaches 90% of its end at 5 and at 2."""
    i_xt = {(0, 1): [9, 4, 6, 5], (0, 2): [3, 1, 1, 1], (1, 1): [8, 8, 7, 2], (1, 2): [2, 3, 2, 2.5]}
    i_ty = {(0, 2): [0, 0.1, 0.95, 1.0], (1, 2): [0.2, 0.46, 0.3, 0.5]}
    return [
        plane.Record(e, k, i, i_xt[i, k][j], i_ty.get((i, k), [1] * 4)[j], "exact")
        for (i, k) in i_xt
        for j, e in enumerate((0, 2, 5, 9))
    ]


def test_the_fall_is_counted_from_the_fit_on():
    """What drifted away before the network had fitted is no phase of compression."""
    records = two_members()
    fitted = plane.fit_epoch(records)
    assert fitted.tolist() == [5, 2]
    assert plane.compression(records).tolist() == [[4, 2], [6, 0.5]]
    assert plane.compression(records, since=fitted).tolist() == [[1, 0], [6, 0.5]]
    assert plane.compression(records, since=[3, 3]).tolist() == [[1, 0], [5, 0]]
    assert plane.compression(records, since=[9, 9]).tolist() == [[0, 0], [0, 0]]
    assert plane.fit_epoch(records, share=0.1).tolist() == [2, 0]
    for bad in ([5], [5, 10]):
        with pytest.raises(ValueError, match=r"since: .* one epoch for each of 2 members, up to 9"):
            plane.compression(records, since=bad)
    with pytest.raises(ValueError, match="share: 0"):
        plane.fit_epoch(records, share=0)


def test_bins_of_an_unbounded_unit_cover_its_whole_run_or_each_epoch():
    """A layer whose outputs grow tenfold: fixed bins see it enter new cells, moving bins see nothing change."""
    t, y = np.random.default_rng(2).uniform(0, 1, (300, 2)), np.arange(300) % 2
    t[:2] = [[0, 0], [1, 1]]
    run = {0: [t, t[:, :1]], 5: [10 * t, t[:, :1]]}
    fixed = plane.trajectory(run, y, bins=8, layers=[1])
    moving = plane.trajectory(run, y, bins=8, layers=[1], limits="each")
    for records, spans in ((fixed, (10, 10)), (moving, (1, 10))):
        for record, scale, high in zip(records, (1, 10), spans, strict=True):
            expected = brute_force(scale * t, y.tolist(), 8, 0, high)
            assert (record.i_xt, record.i_ty) == pytest.approx(expected, abs=1e-9)
    assert fixed[1].i_xt - fixed[0].i_xt > 2
    assert moving[1].i_xt == pytest.approx(moving[0].i_xt)


def test_noise_gives_a_lower_and_an_upper_record():
    t, y = np.tanh(np.random.default_rng(3).normal(size=(120, 2))), np.arange(120) % 2
    low, high = plane.trajectory({0: [t]}, y, estimator="kde", noise_var=0.05)
    bounds = naive_kde(t, y, 0.05)
    assert (low.estimator, low.i_xt) == ("kde_lower(0.05)", pytest.approx(bounds[0]))
    assert (high.estimator, high.i_xt) == ("kde_upper(0.05)", pytest.approx(bounds[2]))
    assert high.i_ty == pytest.approx(bounds[2] - bounds[3])


@pytest.mark.parametrize(("batch", "steps"), [(None, 1), (100, 4)])
def test_record_takes_plain_steps_on_the_training_rows_alone(batch, steps):
    """Full batch: one step an epoch. The same descent by hand: no momentum, no rows of the test set."""
    x = torch.randn(800, 4, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    rows = np.arange(0, 800, 2)
    net = plane.Ensemble((4, 3, 1), seed=3)
    w = [p[0].detach().clone().requires_grad_() for p in (*net.weights, *net.biases)]
    run = plane.record(
        net, x, y, epochs=[0, 2], train=rows, batch_size=batch, lr=0.3, optimizer="sgd", seed=7
    )
    order = torch.Generator().manual_seed(7)
    for _ in range(2):
        left = torch.from_numpy(rows)[torch.randperm(400, generator=order)]
        for part in range(steps):
            index = left[part * 100 :][:100] if batch else left
            logit = (torch.tanh(x[index] @ w[0] + w[2]) @ w[1] + w[3])[:, 0]
            loss = torch.nn.functional.softplus((1 - 2 * y[index]) * logit).mean()
            grads = torch.autograd.grad(loss, w)
            w = [(a - 0.3 * g).detach().requires_grad_() for a, g in zip(w, grads, strict=True)]
    with torch.no_grad():
        hidden = torch.tanh(x @ w[0] + w[2])
        right = ((hidden @ w[1] + w[3])[:, 0] > 0) == (y == 1)
    np.testing.assert_allclose(run.activations[-1][0][0], hidden, atol=1e-5)
    assert run.train[-1, 0] == pytest.approx(right[rows].double().mean().item())
    assert run.test[-1, 0] == pytest.approx(right[rows + 1].double().mean().item())


def test_draw_planes_puts_every_layer_where_it_is():
    import matplotlib.pyplot as plt

    x, y = RNG.uniform(0, 5, (2, 3, 4)), RNG.uniform(0, 1, (2, 3, 4))
    figure = plane.draw_planes({"a": (x, y), "b": (x + 1, y)}, step=2, title="epoch 7")
    points = [line for line in figure.axes[1].lines if line.get_marker() == "o"]
    assert len(points) == 3
    np.testing.assert_allclose(points[1].get_xdata(), x[:, 1, 2] + 1)
    np.testing.assert_allclose(points[1].get_ydata(), y[:, 1, 2])
    assert figure.axes[0].get_title(loc="left") == "a" or figure.axes[0].get_title() == "a"
    plt.close(figure)


def test_log_epochs():
    assert plane.log_epochs(100, 4) == [0, 1, 10, 100]


# ------------------------------------------------------------------ bad input


def spoiled():
    a = [[np.zeros((5, 2)), np.zeros((5, 1))] for _ in range(3)]
    a[2][1] = np.full((5, 1), np.nan)
    return dict(zip((0, 10, 20), a, strict=True))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: plane.trajectory(spoiled(), np.arange(5) % 2), ["epoch 20", "layer 2", "diverged"]),
        (lambda: plane.binned_information(np.zeros((4, 2)), np.zeros(4), bins=0), ["bins", "0", "at least 1"]),
        (lambda: plane.binned_information(np.zeros((4, 2)), np.zeros(5)), ["labels", "(4, 2)", "(5,)"]),
        (lambda: plane.binned_information(np.zeros((3, 2)), [0, 1, math.nan]), ["labels", "1 of 3", "NaN"]),
        (lambda: plane.exact_information(np.zeros((3, 2)), [0, math.nan, math.nan]), ["labels", "2 of 3", "NaN"]),
        (lambda: plane.kde_bounds(np.zeros((3, 2)), [0, 1, math.nan]), ["labels", "1 of 3", "NaN"]),
        (lambda: plane.binned_information(np.full(4, 2.0), np.zeros(4), limits=(-1, 1)), ["limits", "(-1, 1)"]),
        (lambda: plane.kde_bounds(np.zeros((4, 2)), np.zeros(4), noise_var=0), ["noise_var", "0"]),
        (lambda: plane.trajectory(spoiled(), np.zeros(5), estimator="ksg"), ["estimator", "'ksg'", "binned"]),
        (lambda: plane.Ensemble((12, 3), activation="gelu"), ["activation", "'gelu'", "tanh"]),
        (lambda: plane.Ensemble((12,)), ["sizes"]),
        (lambda: plane.Ensemble((12, 1))(torch.zeros(3, 11)), ["inputs", "(3, 11)", "(n, 12)"]),
        (lambda: plane.spherical_task(information=2), ["information", "2"]),
        (lambda: run(labels=np.full(8, 2)), ["labels", "2", "0 … 1"]),
        (lambda: run(train=[9]), ["train", "0 … 7"]),
        (lambda: run(optimizer="lbfgs"), ["optimizer", "'lbfgs'"]),
        (lambda: run(lr=-1), ["lr", "-1"]),
        (lambda: run(batch_size=0), ["batch_size", "0"]),
        (lambda: run(epochs=[]), ["epochs"]),
        (lambda: plane.table(plane.trajectory({0: [np.zeros((4, 1))]}, np.zeros(4), estimator="kde")), ["estimator"]),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(ValueError) as error:
        call()
    for word in words:
        assert word in str(error.value)


def test_layers_and_members_that_are_not_there_are_refused():
    recording = {0: [np.ones((4, 2))], 1: [np.eye(4)]}
    for chosen, message in (
        ({"layers": [2]}, "layers: there is no 2"),
        ({"members": [1]}, "members: there is no 1"),
    ):
        with pytest.raises(ValueError, match=message):
            plane.trajectory(recording, [0, 1, 0, 1], **chosen)
    assert len(plane.trajectory(recording, [0, 1, 0, 1], layers=np.array([1]), members=np.array([0]))) == 2


def run(**changes):
    arguments = {"labels": np.arange(8) % 2, "epochs": [0, 1], **changes}
    return plane.record(plane.Ensemble((3, 2, 1)), np.ones((8, 3)), arguments.pop("labels"), **arguments)


def test_divergence_names_the_epoch():
    x = np.random.default_rng(0).normal(size=(64, 3)) * 1e3
    with pytest.raises(DivergedError, match=r"epoch \d+"):
        plane.record(
            plane.Ensemble((3, 4, 4, 1), activation="softplus"), x, np.arange(64) % 2,
            epochs=[200], lr=1e38, optimizer="sgd",
        )  # fmt: skip
