"""Exact information on finite distributions: closed forms, brute force, the inequalities as properties."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.stats import entropy as scipy_entropy

from t2v import information as info

quick = settings(max_examples=60, deadline=None)


def distributions(shape):
    """Return distributions of one shape: some entries zero, some tiny, never all zero."""
    masses = st.one_of(st.just(0.0), st.floats(1e-12, 1.0), st.floats(0.1, 1.0))
    return (
        arrays(np.float64, shape, elements=masses).filter(lambda a: a.sum() > 0.05).map(lambda a: a / a.sum())
    )


shapes_2d = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6)
shapes_3d = array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=4)
joints = shapes_2d.flatmap(distributions)
triples = shapes_3d.flatmap(distributions)


def channel(rng, n_inputs, n_outputs):
    """Return a random channel with a few exact zeros."""
    rows = rng.random((n_inputs, n_outputs)) * (rng.random((n_inputs, n_outputs)) < 0.7)
    rows[np.arange(n_inputs), rng.integers(n_outputs, size=n_inputs)] += 0.1
    return rows / rows.sum(axis=1, keepdims=True)


def brute_mutual_information(joint):
    """Return I(X;Y) in bits by a double loop over the definition."""
    total = 0.0
    for x in range(joint.shape[0]):
        for y in range(joint.shape[1]):
            if joint[x, y] > 0:
                total += joint[x, y] * math.log2(joint[x, y] / joint[x].sum() / joint[:, y].sum())
    return total


# Known values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "bits"),
    [([1.0, 0.0], 0.0), ([0.5, 0.5], 1.0), ([0.5, 0.25, 0.125, 0.125], 1.75), (np.full((4, 8), 1 / 32), 5)],
)
def test_entropy_of_known_distributions(p, bits):
    assert info.entropy(p) == pytest.approx(bits, abs=1e-12)
    assert info.entropy(p, base=np.e) == pytest.approx(bits * math.log(2), abs=1e-12)
    assert info.entropy(p, base=16) == pytest.approx(bits / 4, abs=1e-12)


def test_surprise_of_known_outcomes():
    np.testing.assert_allclose(info.surprise([0.5, 0.25, 0.25, 0.0]), [1, 2, 2, np.inf])
    np.testing.assert_allclose(info.surprise([0.5, 0.5], base=np.e), [math.log(2)] * 2)
    assert not np.signbit(info.surprise([1.0])).any()


@pytest.mark.parametrize("flip", [0.0, 0.05, 0.11, 0.5, 1.0])
def test_mutual_information_of_the_binary_symmetric_channel(flip):
    joint = np.array([[1 - flip, flip], [flip, 1 - flip]]) / 2
    h = 0.0 if flip in (0.0, 1.0) else -flip * math.log2(flip) - (1 - flip) * math.log2(1 - flip)
    assert info.mutual_information(joint) == pytest.approx(1 - h, abs=1e-12)
    assert info.conditional_entropy(joint) == pytest.approx(h, abs=1e-12)
    assert info.mutual_information(joint, base=np.e) == pytest.approx((1 - h) * math.log(2), abs=1e-12)


def test_conditional_entropy_conditions_on_the_second_axis():
    # X is uniform on four symbols; Y says whether X < 2: one bit of X is left given Y, none of Y given X.
    joint = np.array([[1, 0], [1, 0], [0, 1], [0, 1]]) / 4
    assert info.conditional_entropy(joint) == 1.0
    assert info.conditional_entropy(joint.T) == 0.0


def test_kl_of_known_distributions():
    assert info.kl_divergence([0.5, 0.5], [0.25, 0.75]) == pytest.approx(1 - 0.5 * math.log2(3), abs=1e-12)
    assert info.kl_divergence([0.25, 0.75], [0.5, 0.5]) == pytest.approx(0.75 * math.log2(3) - 1, abs=1e-12)


def test_conditional_mutual_information_of_the_exclusive_or():
    # Z = X xor Y of two fair coins: independent in pairs, one bit once the third is known.
    joint = np.zeros((2, 2, 2))
    for x in range(2):
        for y in range(2):
            joint[x, y, x ^ y] = 0.25
    assert info.mutual_information(joint.sum(axis=2)) == 0.0
    assert info.conditional_mutual_information(joint) == pytest.approx(1.0, abs=1e-12)
    assert info.total_correlation(joint) == pytest.approx(1.0, abs=1e-12)


def test_total_correlation_of_copies_counts_every_copy():
    joint = np.zeros((3, 3, 3, 3))
    joint[range(3), range(3), range(3), range(3)] = 1 / 3
    assert info.total_correlation(joint) == pytest.approx(3 * math.log2(3), abs=1e-12)
    assert info.total_correlation([0.2, 0.8]) == 0.0


# Zeros -----------------------------------------------------------------------------------------------


def test_zero_probabilities_are_exact_limits():
    assert info.entropy([0.0, 1.0, 0.0]) == 0.0
    assert info.kl_divergence([0.0, 1.0], [0.0, 1.0]) == 0.0
    assert info.kl_divergence([0.0, 1.0], [0.5, 0.5]) == pytest.approx(1.0, abs=1e-15)
    assert info.kl_divergence([0.5, 0.5], [0.0, 1.0]) == math.inf
    assert info.cross_entropy([0.5, 0.5], [0.0, 1.0]) == math.inf
    assert info.cross_entropy([0.0, 1.0], [0.0, 1.0]) == 0.0
    joint = np.array([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    assert info.mutual_information(joint) == 1.0
    assert info.conditional_entropy(joint) == 0.0


@pytest.mark.filterwarnings("error")
def test_tiny_probabilities_do_not_underflow_or_warn():
    tiny = 1e-200
    joint = np.array([[tiny, 0.0], [0.0, 1.0]])
    assert math.isfinite(info.mutual_information(joint))
    assert info.mutual_information(joint) == pytest.approx(info.entropy(joint.sum(axis=0)), rel=1e-12)
    assert info.kl_divergence([0.5, 0.5], [0.0, 1.0]) == math.inf
    assert info.surprise([0.0, 1.0])[0] == math.inf


# Identities and inequalities -------------------------------------------------------------------------


@quick
@given(joints)
def test_three_forms_of_mutual_information_agree(joint):
    """C01: eq. 1 and its sum-of-entropies form."""
    p_x, p_y = joint.sum(axis=1), joint.sum(axis=0)
    value = info.mutual_information(joint)
    rows = [p_x[i] * info.kl_divergence(joint[i] / p_x[i], p_y) for i in range(len(p_x)) if p_x[i] > 0]
    assert value == pytest.approx(sum(rows), abs=1e-12)
    assert value == pytest.approx(info.entropy(p_x) + info.entropy(p_y) - info.entropy(joint), abs=1e-12)
    assert value == pytest.approx(info.entropy(p_x) - info.conditional_entropy(joint), abs=1e-12)
    assert value == pytest.approx(brute_mutual_information(joint), abs=1e-12)


@quick
@given(joints)
def test_mutual_information_is_symmetric_and_bounded(joint):
    value = info.mutual_information(joint)
    assert value >= 0
    assert value == pytest.approx(info.mutual_information(joint.T), abs=1e-12)
    assert value <= min(info.entropy(joint.sum(axis=1)), info.entropy(joint.sum(axis=0))) + 1e-12


@quick
@given(
    st.integers(1, 8).flatmap(lambda n: st.tuples(distributions(n), distributions(n))),
    st.sampled_from([2, np.e, 10]),
)
def test_cross_entropy_is_entropy_plus_divergence(pair, base):
    """C02: eq. 2; SciPy is the peer."""
    p, q = pair
    h, kl, cross = info.entropy(p, base), info.kl_divergence(p, q, base), info.cross_entropy(p, q, base)
    assert kl >= 0
    assert cross >= h - 1e-12
    assert h == pytest.approx(scipy_entropy(p, base=base), abs=1e-12)
    if math.isinf(cross):
        assert math.isinf(kl)
        assert ((p > 0) & (q == 0)).any()
    else:
        assert cross == pytest.approx(h + kl, abs=1e-11)
        assert kl == pytest.approx(scipy_entropy(p, q, base=base), abs=1e-11)


def test_bits_are_the_default_everywhere() -> None:
    """Fair bits, of which the second and the third axis are copies."""
    p, q, cube = [0.5, 0.5], [0.25, 0.75], np.zeros((2, 2, 2))
    cube[0, 0, 0] = cube[1, 1, 1] = 0.5
    copy = np.eye(2) / 2
    found = [
        info.entropy(p),
        info.conditional_entropy(np.full((2, 2), 0.25)),
        info.mutual_information(copy),
        info.kl_divergence([1, 0], p),
        info.cross_entropy(p, q) + math.log2(3) / 2 - 1,
        info.total_correlation(cube) - 1,
        info.conditional_mutual_information(np.stack([copy, copy], axis=2) / 2),
    ]
    assert found == pytest.approx([1] * 7)


@quick
@given(st.lists(st.integers(1, 4).flatmap(distributions), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_total_correlation_is_zero_only_for_independent_axes(margins, seed):
    """C03: a product has none; any other joint has what its margins' entropies exceed its own by."""
    joint = margins[0]
    for margin in margins[1:]:
        joint = np.multiply.outer(joint, margin)
    assert info.total_correlation(joint) == pytest.approx(0.0, abs=1e-12)
    rng = np.random.default_rng(seed)
    other = rng.dirichlet(np.ones(joint.size)).reshape(joint.shape)
    axes = range(joint.ndim)
    entropies = [info.entropy(other.sum(axis=tuple(a for a in axes if a != keep))) for keep in axes]
    assert info.total_correlation(other) == pytest.approx(sum(entropies) - info.entropy(other), abs=1e-11)


@pytest.mark.parametrize("shift", [1e-4, 0.01, 0.2, -0.2])
def test_total_correlation_sees_any_departure_from_independence(shift):
    """C03, the other direction: the margins stay, the dependence is second order in the shift."""
    joint = np.full((2, 2), 0.25) + shift * np.array([[1, -1], [-1, 1]])
    assert info.total_correlation(joint) > 0
    if abs(shift) < 0.05:
        assert info.total_correlation(joint, base=np.e) == pytest.approx(8 * shift**2, rel=0.01)


@pytest.mark.parametrize("shift", [1e-4, 0.002, 0.05, 0.125, -0.125])
def test_total_correlation_sees_what_no_pair_shows(shift):
    """C03: mass moved round a cube leaves all pairs independent; a sum over the pairs would find nothing."""
    joint = np.full((2, 2, 2), 1 / 8)
    for cell in np.ndindex(2, 2, 2):
        joint[cell] += shift * (-1) ** sum(cell)
    for axis in range(3):
        assert info.mutual_information(joint.sum(axis=axis)) == pytest.approx(0.0, abs=1e-14)
    nats = sum(p * math.log(8 * p) for p in joint.ravel() if p > 0)  # all margins are fair coins
    assert nats > 0
    assert info.total_correlation(joint, base=np.e) == pytest.approx(nats, rel=1e-6)


def test_rounding_below_zero_is_cut_and_a_wrong_sign_is_not(monkeypatch):
    """C03: a routine that returned the negative would else give 0 for products, and for all others."""
    copy = np.eye(2) / 2
    for value, found in ((-1e-12, 0.0), (-0.0, 0.0), (1e-12, 1e-12), (-1e-3, -1e-3), (-1.0, -1.0)):
        monkeypatch.setattr(info, "_ratio", lambda *_, value=value, **__: value)
        assert info.total_correlation(copy) == found
        assert not np.signbit(info.total_correlation(copy)) or found < 0


@pytest.mark.parametrize("n_axes", [2, 3, 8])
def test_sums_off_by_the_tolerance_do_not_take_a_value_below_zero(n_axes):
    joint = np.full((2,) * n_axes, 0.5**n_axes) * (1 + 9e-10)
    assert info.total_correlation(joint) == 0.0
    off = np.array([0.5, 0.5]) * (1 - 9e-10)
    assert info.kl_divergence(off, [0.5 * (1 + 9e-10)] * 2) == 0.0


@quick
@given(triples)
def test_chain_rules(joint):
    h = info.entropy
    assert h(joint) == pytest.approx(
        h(joint.sum(axis=(1, 2))) + info.conditional_entropy(joint.reshape(len(joint), -1).T), abs=1e-11
    )
    # I(X; Y, Z) = I(X; Z) + I(X; Y | Z)
    with_both = info.mutual_information(joint.reshape(len(joint), -1))
    conditional = info.conditional_mutual_information(joint)
    assert with_both == pytest.approx(info.mutual_information(joint.sum(axis=1)) + conditional, abs=1e-11)
    assert conditional >= 0
    p_z = joint.sum(axis=(0, 1))
    slices = [p * info.mutual_information(joint[:, :, k] / p) for k, p in enumerate(p_z) if p > 0]
    assert conditional == pytest.approx(sum(slices), abs=1e-11)


@quick
@given(joints, st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5))
def test_data_processing_inequality(joint, seed, n_first, n_second):
    """C04: through two channels, information about Y and about X can only fall."""
    rng = np.random.default_rng(seed)
    joint = joint.T  # axis 0 is X
    first, second = channel(rng, joint.shape[0], n_first), channel(rng, n_first, n_second)
    about_y = [info.mutual_information(joint)]
    about_y.append(info.mutual_information(info.push_forward(joint, first)))
    about_y.append(info.mutual_information(info.push_forward(joint, first @ second)))
    p_x = joint.sum(axis=1)
    about_x = [info.entropy(p_x)]
    about_x += [info.mutual_information(info.push_forward(p_x, c)) for c in (first, first @ second)]
    for chain in (about_y, about_x):
        assert all(a >= b - 1e-12 for a, b in itertools.pairwise(chain))


@quick
@given(joints, st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_push_forward_is_a_markov_chain(joint, seed, n_outputs):
    encoder = channel(np.random.default_rng(seed), joint.shape[0], n_outputs)
    full = info.push_forward(joint, encoder, keep_input=True)
    np.testing.assert_allclose(full, np.einsum("xy,xt->xyt", joint, encoder), atol=1e-15)
    np.testing.assert_allclose(info.push_forward(joint, encoder), full.sum(axis=0), atol=1e-15)
    np.testing.assert_allclose(info.push_forward(joint.sum(axis=1), encoder), full.sum(axis=1), atol=1e-14)
    # I(Y; T | X) = 0: given X, the representation knows nothing more of Y.
    assert info.conditional_mutual_information(full.transpose(1, 2, 0)) == pytest.approx(0.0, abs=1e-12)


def test_push_forward_through_a_chosen_axis():
    rng = np.random.default_rng(0)
    joint, first, second = rng.dirichlet(np.ones(12)).reshape(3, 4), channel(rng, 3, 5), channel(rng, 5, 2)
    twice = info.push_forward(info.push_forward(joint, first), second, axis=-1)
    np.testing.assert_allclose(twice, info.push_forward(joint, first @ second), atol=1e-15)
    assert twice.shape == (4, 2)
    by_y = channel(rng, 4, 6)
    kept = info.push_forward(joint, by_y, axis=1, keep_input=True)
    np.testing.assert_allclose(kept, np.einsum("xy,yt->xyt", joint, by_y), atol=1e-15)
    np.testing.assert_array_equal(kept, info.push_forward(joint, by_y, axis=-1, keep_input=True))
    np.testing.assert_allclose(
        info.push_forward(joint.sum(axis=1), first, keep_input=False), joint.sum(axis=1) @ first
    )


# The running example ---------------------------------------------------------------------------------


def test_example_joint_is_a_distribution_with_the_letters_shapes():
    joint, letters, strokes = info.example_joint()
    assert joint.shape == (len(letters), len(strokes)) == (26, 6)
    np.testing.assert_allclose(joint.sum(axis=1), 1 / 26, atol=1e-15)
    given_letter = {
        letter: dict(zip(strokes, 26 * row, strict=True)) for letter, row in zip(letters, joint, strict=True)
    }
    assert given_letter["E"]["left bowl"] == given_letter["E"]["rising"] == 0.0
    assert given_letter["I"]["vertical"] > 0.8
    assert given_letter["O"]["left bowl"] == pytest.approx(0.5, abs=0.01) == given_letter["O"]["right bowl"]
    assert given_letter["N"]["falling"] > 0.2 > given_letter["N"]["rising"] == 0.0
    assert given_letter["Z"]["rising"] > 0.3 > given_letter["Z"]["falling"] == 0.0
    assert given_letter["V"]["rising"] == pytest.approx(given_letter["V"]["falling"], abs=0.01)


def test_example_joint_measures_the_outline():
    # An I is one rectangle: its outline is 2 (height + width), and matplotlib knows its extents.
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    box = TextPath((0, 0), "I", size=100, prop=FontProperties(family="DejaVu Sans")).get_extents()
    joint, _, _ = info.example_joint("I")
    assert joint[0, 0] == pytest.approx(box.height / (box.height + box.width), rel=1e-6)
    assert joint[0, 1] == pytest.approx(box.width / (box.height + box.width), rel=1e-6)


def test_letter_outline_closes_and_follows_the_curves():
    pieces, kinds = info.letter_outline("O")
    assert pieces.shape == (len(kinds), 2, 2)
    # Two closed curves: every end is a start, and the outer one bounds the letter's box.
    np.testing.assert_allclose(np.unique(pieces[:, 0], axis=0), np.unique(pieces[:, 1], axis=0), atol=1e-9)
    length = np.linalg.norm(pieces[:, 1] - pieces[:, 0], axis=1).sum()
    width, height = np.ptp(pieces[:, 0], axis=0)
    assert math.pi * min(width, height) < length < 2 * math.pi * max(width, height)
    assert set(kinds) == {4, 5}


@pytest.mark.parametrize("letters", ["", "AA", "A B", 7])
def test_example_joint_refuses_bad_letters(letters):
    with pytest.raises(ValueError, match=r"letters? is .*accepted"):
        info.example_joint(letters)


# Bad input -------------------------------------------------------------------------------------------

functions = {
    "p": [info.entropy, info.surprise, lambda p, **k: info.kl_divergence(p, [1.0], **k)],
    "q": [lambda q, **k: info.kl_divergence([1.0], q, **k), lambda q, **k: info.cross_entropy([1.0], q, **k)],
    "joint": [info.total_correlation, info.mutual_information, info.conditional_entropy],
}


@pytest.mark.parametrize(("name", "function"), [(n, f) for n, fs in functions.items() for f in fs])
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([[0.5, -0.5], [0.5, 0.5]], "negative entry, -0.5; accepted: numbers >= 0"),
        ([[0.5, 0.25], [0.25, 0.1]], "sums to 1.1; accepted: 1 within 1e-09"),
        ([[0.5, 0.5], [2e-9, 0.0]], "sums to 1.000000002; accepted"),
        ([[np.nan, 1.0]], "NaN or infinite entries; accepted: finite"),
        ([[np.inf, 1.0]], "NaN or infinite entries; accepted: finite"),
        (np.zeros((0, 2)), "is empty"),
    ],
)
def test_what_is_not_a_distribution_is_refused(name, function, values, says):
    values = np.asarray(values)
    with pytest.raises(ValueError) as error:
        function(values if name == "joint" else values.ravel())
    assert str(error.value).startswith(f"{name} ")
    assert says in str(error.value)


def test_sums_within_the_tolerance_are_accepted_as_they_are():
    np.testing.assert_array_equal(info.check_distribution([0.5, 0.5 + 5e-10]), [0.5, 0.5 + 5e-10])
    assert info.mutual_information(np.full((2, 2), 0.25) + 2e-10) >= 0


# Short floats ----------------------------------------------------------------------------------------


def softmaxes(shape, dtype, scale):
    """Return the same softmax as PyTorch and as NumPy compute it in a short float."""
    torch = pytest.importorskip("torch")
    logits = (np.random.default_rng(0).normal(size=shape) * scale).astype(dtype)
    powers = np.exp(logits - logits.max())
    return [torch.softmax(torch.from_numpy(logits).flatten(), 0).reshape(shape), powers / powers.sum()]


@pytest.mark.parametrize("shape", [(2,), (100,), (50_000,), (26, 6), (300, 40), (3, 4, 5)])
@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 1e-5), (np.float16, 0.02)])
@pytest.mark.parametrize("scale", [0.0, 1.0, 8.0])
def test_the_softmax_of_a_short_float_is_a_distribution(shape, dtype, error, scale):
    for p in softmaxes(shape, dtype, scale):
        exact = np.asarray(p, dtype=np.float64)
        checked = info.check_distribution(p)
        np.testing.assert_allclose(checked, exact / exact.sum(), rtol=1e-15)
        assert checked.dtype == np.float64
        assert info.entropy(p) == pytest.approx(scipy_entropy(exact.ravel(), base=2), abs=error)
        assert info.total_correlation(p) >= 0


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [(3, 2), (20, 500), (2000, 30)])
def test_the_softmax_of_a_short_float_is_a_channel(dtype, shape):
    torch = pytest.importorskip("torch")
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(1), requires_grad=True)
    rows = torch.softmax(logits, 1).to(getattr(torch, dtype))
    checked = info.check_channel(rows)
    np.testing.assert_allclose(checked.sum(axis=1), 1, atol=1e-14)
    np.testing.assert_allclose(checked, rows.detach().numpy(), rtol=5e-3)
    uniform = np.full(len(rows), 1 / len(rows), dtype=dtype)
    t = info.push_forward(uniform, rows)
    assert t.sum() == pytest.approx(1, abs=1e-12)
    assert 0 < info.mutual_information(t) < math.log2(len(rows))


@pytest.mark.parametrize(
    ("dtype", "n"),
    [(np.float32, 2), (np.float32, 100), (np.float32, 1_000_000), (np.float16, 2), (np.float16, 100)],
)
@pytest.mark.parametrize("mass", [0.99, 1.01])
def test_a_short_float_has_the_room_of_its_rounding_and_no_more(n, dtype, mass):
    p = np.full(n, mass / n).astype(dtype)
    with pytest.raises(ValueError, match=r"p sums to .*; accepted: 1 within [\d.e-]+ \(divide by the sum\)"):
        info.entropy(p)
    with pytest.raises(ValueError, match=r"channel has a row that sums to"):
        info.check_channel(p[None])


def test_doubles_keep_their_tolerance():
    p = np.array([0.5, 0.5 + 2e-9])
    with pytest.raises(ValueError, match="accepted: 1 within 1e-09"):
        info.entropy(p)
    with pytest.raises(TypeError, match=r"p is no array .*accepted: an array of real numbers"):
        info.entropy([[1.0], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: info.entropy(1.0), "p is a single number"),
        (lambda: info.mutual_information([0.5, 0.5]), "joint has 1 axes (shape (2,)); accepted: exactly 2"),
        (lambda: info.mutual_information(np.full((2, 2, 2), 1 / 8)), "joint has 3 axes"),
        (lambda: info.conditional_entropy([0.5, 0.5]), "joint has 1 axes"),
        (lambda: info.conditional_mutual_information(np.eye(2) / 2), "accepted: exactly 3"),
        (lambda: info.kl_divergence([1.0], [0.5, 0.5]), "p has shape (1,) and q has shape (2,)"),
        (lambda: info.push_forward([0.5, 0.5], [0.5, 0.5]), "channel has 1 axes"),
        (
            lambda: info.push_forward([0.5, 0.5], np.eye(3)),
            "channel has 3 rows; accepted: one for each input symbol, 2",
        ),
        (
            lambda: info.push_forward([0.5, 0.5], [[1.0, 0.0], [0.5, 0.4]]),
            "channel has a row that sums to 0.9",
        ),
        (lambda: info.push_forward([0.5, 0.5], [[1.0, 0.0], [1.5, -0.5]]), "channel has a negative entry"),
        (
            lambda: info.push_forward([0.5, 0.5], np.eye(2), axis=1),
            "axis is 1, but joint has 1 axes; accepted: -1 to 0",
        ),
        (lambda: info.entropy([1.0], base=1), "base is 1; accepted: a number > 1"),
        (lambda: info.entropy([1.0], base=0.5), "base is 0.5"),
        (lambda: info.entropy([1.0], base=math.nan), "base is nan"),
    ],
)
def test_bad_values_are_named(call, says):
    with pytest.raises(ValueError) as error:
        call()
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: info.entropy(["a", "b"]), "p has entries of type"),
        (lambda: info.entropy([0.5 + 0j, 0.5]), "complex128; accepted: an array of real numbers"),
        (lambda: info.entropy([1.0], base="e"), "base is 'e'; accepted"),
        (lambda: info.entropy([1.0], base=True), "base is True; accepted"),
        (lambda: info.push_forward([0.5, 0.5], np.eye(2), axis=0.0), "axis is 0.0; accepted: an integer"),
    ],
)
def test_bad_types_are_named(call, says):
    with pytest.raises(TypeError) as error:
        call()
    assert says in str(error.value)


def test_importing_the_module_does_not_import_torch():
    code = "import sys, t2v.information; print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# What users hand over ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["float16", "float32", "bfloat16", "table", "nullable", "mixed table", "objects"]
)
@pytest.mark.parametrize("n", [2, 10, 1000])
def test_distributions_of_shorter_floats_are_taken_and_normalised(kind, n):
    """Softmax vectors, undivided, as a network leaves them; the right value is that of the same numbers in float64."""
    import torch

    pd = pytest.importorskip("pandas")
    p = torch.softmax(torch.randn(2, n, generator=torch.Generator().manual_seed(n)), 1) / 2
    half = p.half() if kind == "float16" else p.bfloat16() if kind == "bfloat16" else p
    array = half.double().numpy()
    kinds = {
        "table": lambda: pd.DataFrame(half.numpy()),
        "nullable": lambda: (
            pd.DataFrame({i: pd.Series(v, dtype="Float32") for i, v in enumerate(half.numpy())}).T
        ),
        "mixed table": lambda: pd.DataFrame(
            {i: v.astype([np.float64, np.float32][i]) for i, v in enumerate(half.numpy())}
        ),
        "objects": lambda: (array / array.sum()).astype(object),
    }
    given_ = kinds.get(kind, lambda: half.clone().requires_grad_())()
    right = array / array.sum()
    assert info.entropy(given_) == pytest.approx(info.entropy(right), abs=1e-9)
    joint = right.T if kind == "mixed table" else right
    assert info.mutual_information(given_) == pytest.approx(info.mutual_information(joint), abs=1e-9)
    channel = right / right.sum(axis=1, keepdims=True)
    rows = info.push_forward(half[0] * 2, np.tile(channel[0], (n, 1)))
    assert rows.sum() == pytest.approx(1.0, abs=1e-12)


def test_the_room_of_a_type_does_not_excuse_what_is_no_distribution():
    for kind in (np.float16, np.float32, np.float64):
        with pytest.raises(ValueError, match=r"p sums to .*; accepted: 1 within"):
            info.entropy(np.array([0.5, 0.49], dtype=kind))
    with pytest.raises(ValueError, match=r"p sums to 0\.9999\d+; accepted: 1 within 6\.\d+e-07"):
        info.entropy(np.array([0.5, 0.49999], dtype=np.float32))
    with pytest.raises(TypeError, match=r"p has entries of type object \(str\)"):
        info.entropy(np.array([0.5, "half"], dtype=object))
    gaps = pytest.importorskip("pandas").Series([0.5, None, 0.5], dtype="Float64")
    with pytest.raises(ValueError, match="p has NaN or infinite entries"):
        info.entropy(gaps)
