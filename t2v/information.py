"""Information of finite distributions, exactly: entropy, divergence, mutual information, channels.

A distribution is an array of non-negative numbers that sum to 1 (within 1e-9); each axis is one variable.
A shorter float, such as the float32 of a network's softmax, has the room of its own rounding and is then divided
by its sum, in float64. What is not a distribution raises ``ValueError``. Zero probabilities are legal everywhere
and give the exact limits, 0 · log 0 = 0 and p · log(p/0) = ∞. Every function takes the base of its logarithm:
2 gives bits (the default), ``np.e`` gives nats. Quantities that are non-negative by theorem are returned as 0
where rounding falls below it.
"""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

from t2v._checks import precision, real

Array = NDArray[np.float64]

#: How far the sum of a distribution (or of a row of a channel) may be from 1: in float64, and at most in any type.
SUM_TOLERANCE, WIDEST_TOLERANCE = 1e-9, 5e-3
#: How far rounding, and sums that are off by SUM_TOLERANCE on each of up to 64 axes, take a value below 0 (in bits).
_ROUNDING = 1e-7


def check_distribution(p: ArrayLike, name: str = "p", *, ndim: int | None = None) -> Array:
    """Return ``p`` as a float64 array after checking that it is a distribution.

    Parameters
    ----------
    p : array_like
        Non-negative numbers, one axis for each variable; NumPy, a list, a tensor or a data frame. They sum to 1 within
        :data:`SUM_TOLERANCE`; in float32 and float16 within 4 √n machine epsilons for n numbers, and at most 0.005.
    name : str
        What error messages call the argument.
    ndim : int, optional
        The number of axes that is wanted; any number of at least one by default.

    Returns
    -------
    ndarray
        The same numbers; those that came in float32 or float16 are divided by their sum.

    Raises
    ------
    TypeError
        If ``p`` is not an array of real numbers.
    ValueError
        If it has the wrong number of axes, is empty, has NaN, infinite or negative entries, or does not sum
        to 1.
    """
    array, epsilon = _finite(p, name)
    if ndim is None and array.ndim == 0:
        raise ValueError(f"{name} is a single number; accepted: an array with at least one axis")
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} has {array.ndim} axes (shape {array.shape}); accepted: exactly {ndim}")
    return _of_mass_one(array, array.sum(), epsilon * array.size**0.5, name)


def check_channel(channel: ArrayLike, name: str = "channel", *, n_inputs: int | None = None) -> Array:
    """Return a channel p(t|x), one row for each x, as a float64 array after checking every row.

    Parameters
    ----------
    channel : array_like, shape (n_inputs, n_outputs)
        Rows are distributions over t, within the tolerance of :func:`check_distribution`.
    name : str
        What error messages call the argument.
    n_inputs : int, optional
        The number of rows that is wanted.

    Returns
    -------
    ndarray, shape (n_inputs, n_outputs)
        The same numbers; rows that came in float32 or float16 are divided by their sums.

    Raises
    ------
    TypeError
        If the channel is not an array of real numbers.
    ValueError
        If it is not a matrix with ``n_inputs`` rows, or if a row is not a distribution.
    """
    array, epsilon = _finite(channel, name)
    if array.ndim != 2:
        raise ValueError(
            f"{name} has {array.ndim} axes (shape {array.shape}); accepted: 2, with the rows p(t|x)"
        )
    if n_inputs is not None and array.shape[0] != n_inputs:
        raise ValueError(f"{name} has {array.shape[0]} rows; accepted: one for each input symbol, {n_inputs}")
    mass = array.sum(axis=1, keepdims=True)
    return _of_mass_one(array, mass, epsilon * array.shape[1] ** 0.5, name)


def _finite(values: ArrayLike, name: str) -> tuple[Array, float]:
    """Return the numbers in float64, and the machine epsilon of a shorter float that they came in (else 0)."""
    array = real(values, name)
    if array.size == 0:
        raise ValueError(
            f"{name} is empty (shape {array.shape}); accepted: at least one symbol on every axis"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has NaN or infinite entries; accepted: finite numbers >= 0")
    return array, precision(values)


def _of_mass_one(array: Array, mass: Any, rounding: float, name: str) -> Array:
    """Refuse negative entries, and sums (one, or one a row) that are not 1; divide what was rounded by its sum."""
    if array.min() < 0:
        raise ValueError(
            f"{name} has a negative entry, {array.min():.6g}; accepted: numbers >= 0 that sum to 1"
        )
    tolerance = max(SUM_TOLERANCE, min(4 * rounding, WIDEST_TOLERANCE))
    worst = np.ravel(mass)[np.argmax(np.abs(np.ravel(mass) - 1))]
    if abs(worst - 1) > tolerance:
        what = "has a row that sums" if np.ndim(mass) else "sums"
        raise ValueError(
            f"{name} {what} to {worst:.12g}; accepted: 1 within {tolerance:g} (divide by the sum)"
        )
    return array / mass if rounding else array


def log_base(base: float) -> float:
    """Return ln(base) after checking it: divide nats by it to change the unit.

    Parameters
    ----------
    base : float
        Greater than 1: 2 for bits, ``np.e`` for nats, 10 for hartleys.

    Returns
    -------
    float
        The natural logarithm of the base.

    Raises
    ------
    TypeError
        If the base is not a real number.
    ValueError
        If it is not finite and greater than 1.
    """
    if isinstance(base, bool) or not isinstance(base, numbers.Real):
        raise TypeError(f"base is {base!r}; accepted: a number > 1 (2 for bits, np.e for nats)")
    if not (math.isfinite(base) and base > 1):
        raise ValueError(f"base is {base!r}; accepted: a number > 1 (2 for bits, np.e for nats)")
    return math.log(base)


def surprise(p: ArrayLike, base: float = 2) -> Array:
    """Return the surprise log 1/p of every outcome; ∞ where p = 0.

    Parameters
    ----------
    p : array_like
        A distribution, any number of axes.
    base : float
        Base of the logarithm (2: bits).

    Returns
    -------
    ndarray
        The shape of ``p``, in units of the base.

    Raises
    ------
    TypeError, ValueError
        If ``p`` is not a distribution, or the base not a number > 1.
    """
    p = check_distribution(p)
    with np.errstate(divide="ignore"):
        # "+ 0.0" turns the -0.0 of a certain outcome into 0.0.
        return -np.log(p) / log_base(base) + 0.0


def entropy(p: ArrayLike, base: float = 2) -> float:
    """Return Shannon's entropy H = E[log 1/p]; of a joint distribution, the joint entropy.

    Parameters
    ----------
    p : array_like
        A distribution, any number of axes.
    base : float
        Base of the logarithm (2: bits).

    Returns
    -------
    float
        Between 0 (one certain outcome) and log(number of outcomes), in units of the base.

    Raises
    ------
    TypeError, ValueError
        If ``p`` is not a distribution, or the base not a number > 1.
    """
    p = check_distribution(p)
    return _non_negative(-xlogy(p, p).sum() / log_base(base))


def conditional_entropy(joint: ArrayLike, base: float = 2) -> float:
    """Return H(X|Y) = E_y H(X | Y=y) = H(X, Y) − H(Y): axis 0 is X, axis 1 is Y.

    Parameters
    ----------
    joint : array_like, shape (n_x, n_y)
        p(x, y).
    base : float
        Base of the logarithm (2: bits).

    Returns
    -------
    float
        Between 0 (X is a function of Y) and H(X) (independent), in units of the base.

    Raises
    ------
    TypeError, ValueError
        If ``joint`` is not a distribution with two axes, or the base not a number > 1.
    """
    joint = check_distribution(joint, "joint", ndim=2)
    # Term by term, E[log p(y) / p(x, y)]: a deterministic X gives 0, not a difference of two roundings.
    return _non_negative(_ratio(joint, numerator=[_margin(joint, (1,))], denominator=[joint], base=base))


def kl_divergence(p: ArrayLike, q: ArrayLike, base: float = 2) -> float:
    """Return KL(p‖q) = E_p[log p/q]: infinite where p > 0 = q, and 0 · log(0/q) = 0.

    Parameters
    ----------
    p, q : array_like
        Distributions of one shape, any number of axes.
    base : float
        Base of the logarithm (2: bits).

    Returns
    -------
    float
        At least 0, and 0 only if p = q, in units of the base; may be ``inf``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a distribution, the shapes differ, or the base is not a number > 1.
    """
    p, q = _pair(p, q)
    return _non_negative(_ratio(p, numerator=[p], denominator=[q], base=base))


def cross_entropy(p: ArrayLike, q: ArrayLike, base: float = 2) -> float:
    """Return the cross-entropy H_{p,q} = E_p[log 1/q] = H_p + KL(p‖q) (eq. 2).

    It is the mean length of a message from p in the code that is best for q.

    Parameters
    ----------
    p, q : array_like
        Distributions of one shape: the truth and the model.
    base : float
        Base of the logarithm (2: bits).

    Returns
    -------
    float
        At least H_p, in units of the base; ``inf`` where p > 0 = q.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a distribution, the shapes differ, or the base is not a number > 1.
    """
    p, q = _pair(p, q)
    return _non_negative(-xlogy(p, q).sum() / log_base(base))


def mutual_information(joint: ArrayLike, base: float = 2) -> float:
    """Return I(X;Y) = KL(p(x, y) ‖ p(x) p(y)) (eq. 1), symmetric in its axes.

    Parameters
    ----------
    joint : array_like, shape (n_x, n_y)
        p(x, y).
    base : float
        Base of the logarithm (2: bits).

    Returns
    -------
    float
        Between 0 (independent) and min(H(X), H(Y)), in units of the base.

    Raises
    ------
    TypeError, ValueError
        If ``joint`` is not a distribution with two axes, or the base not a number > 1.
    """
    return total_correlation(check_distribution(joint, "joint", ndim=2), base)


def total_correlation(joint: ArrayLike, base: float = 2) -> float:
    """Return TC(T) = KL(p(t) ‖ ∏ p(t_i)) = Σ H(T_i) − H(T): 0 if and only if the axes are independent.

    Parameters
    ----------
    joint : array_like
        p(t_1, …, t_k): any number of axes, one a component.
    base : float
        Base of the logarithm (2: bits).

    Returns
    -------
    float
        At least 0, in units of the base. With two axes it is the mutual information.

    Raises
    ------
    TypeError, ValueError
        If ``joint`` is not a distribution, or the base not a number > 1.
    """
    joint = check_distribution(joint, "joint")
    margins = [_margin(joint, (axis,)) for axis in range(joint.ndim)]
    return _non_negative(_ratio(joint, numerator=[joint], denominator=margins, base=base))


def conditional_mutual_information(joint: ArrayLike, base: float = 2) -> float:
    """Return I(X;Y|Z) = E_z I(X;Y | Z=z): axes X, Y, Z.

    Parameters
    ----------
    joint : array_like, shape (n_x, n_y, n_z)
        p(x, y, z).
    base : float
        Base of the logarithm (2: bits).

    Returns
    -------
    float
        At least 0, and 0 exactly when X → Z → Y is a Markov chain; in units of the base.

    Raises
    ------
    TypeError, ValueError
        If ``joint`` is not a distribution with three axes, or the base not a number > 1.
    """
    joint = check_distribution(joint, "joint", ndim=3)
    z, xz, yz = (_margin(joint, axes) for axes in ((2,), (0, 2), (1, 2)))
    return _non_negative(_ratio(joint, numerator=[joint, z], denominator=[xz, yz], base=base))


#: What the information may be divided by, from H(X), H(Y) and H(X, Y).
AVERAGES = ("arithmetic", "geometric", "min", "max", "joint")


def normalised_mutual_information(joint: ArrayLike, average: str = "arithmetic") -> float:
    """Return I(X;Y) as a share of the entropies: 0 for independent variables, 1 where each gives the other.

    Parameters
    ----------
    joint : array_like, shape (n_x, n_y)
        p(x, y).
    average : {"arithmetic", "geometric", "min", "max", "joint"}
        What I is divided by: a mean of H(X) and H(Y), the smaller (1 where either variable is a function of the
        other), the larger, or H(X, Y). Only ``"max"`` and ``"joint"`` make 1 − the share a distance (Vinh, Epps and
        Bailey 2010).

    Returns
    -------
    float
        Between 0 and 1, whatever the base.

    Raises
    ------
    TypeError, ValueError
        If ``joint`` is not a distribution with two axes, the average is unknown, or what would be divided by is 0: a
        variable of one value has no entropy to share.
    """
    joint = check_distribution(joint, "joint", ndim=2)
    x, y, both = entropy(joint.sum(axis=1)), entropy(joint.sum(axis=0)), entropy(joint)
    return share(mutual_information(joint), x, y, both, average)


def share(value: float, x: float, y: float, both: float, average: str = "arithmetic") -> float:
    """Divide an information by a mean of entropies, all in one unit: :func:`normalised_mutual_information`.

    Parameters
    ----------
    value : float
        I(X;Y).
    x, y, both : float
        H(X), H(Y) and H(X, Y).
    average : str
        One of :data:`AVERAGES`.

    Returns
    -------
    float
        At most 1.

    Raises
    ------
    ValueError
        If the average is unknown, or 0.
    """
    if average not in AVERAGES:
        raise ValueError(f"average is {average!r}; accepted: {', '.join(map(repr, AVERAGES))}")
    means = ((x + y) / 2, math.sqrt(x * y), min(x, y), max(x, y), both)
    whole = dict(zip(AVERAGES, means, strict=True))[average]
    if whole <= 0:
        which = "x and y" if x == y == 0 else "x" if x == 0 else "y"
        raise ValueError(
            f"{which} has one value only, so that there is no entropy to divide by; accepted: variables that vary"
        )
    return min(value / whole, 1.0)


def push_forward(
    joint: ArrayLike, channel: ArrayLike, *, axis: int = 0, keep_input: bool | None = None
) -> Array:
    """Send one variable of a joint distribution through a channel p(t|x); T becomes the last axis.

    Parameters
    ----------
    joint : array_like
        p(x), or p(x, y), or more axes; X is the axis ``axis``.
    channel : array_like, shape (n_x, n_t)
        p(t|x), one row for each x. T sees the other variables only through X (Y → X → T).
    axis : int
        The axis that enters the channel: 0 by default; -1 sends an earlier result through the next layer.
    keep_input : bool, optional
        Whether X keeps its axis. By default only p(x) keeps it: p(x) gives the joint of (X, T), and p(x, y)
        that of (Y, T); ``True`` gives p(x, y, t).

    Returns
    -------
    ndarray
        The joint distribution, with T as its last axis.

    Raises
    ------
    TypeError, ValueError
        If ``joint`` is not a distribution, has no such axis, or the channel's rows are not distributions,
        one for each x.
    """
    joint = check_distribution(joint, "joint")
    if isinstance(axis, bool) or not isinstance(axis, numbers.Integral):
        raise TypeError(f"axis is {axis!r}; accepted: an integer")
    if not -joint.ndim <= axis < joint.ndim:
        raise ValueError(
            f"axis is {axis}, but joint has {joint.ndim} axes; accepted: {-joint.ndim} to {joint.ndim - 1}"
        )
    channel = check_channel(channel, n_inputs=joint.shape[axis])
    if keep_input is None:
        keep_input = joint.ndim == 1
    if not keep_input:
        return np.tensordot(joint, channel, axes=(axis, 0))
    with_t = np.moveaxis(joint, axis, -1)[..., None] * channel
    return np.moveaxis(with_t, -2, axis if axis >= 0 else axis - 1)


def example_joint(letters: str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ") -> tuple[Array, list[str], list[str]]:
    """Return the running example of chapters 1–3: letters against the strokes that they are made of.

    Draw a letter, each as likely as the next; then put a finger blindly on its outline, as the DejaVu Sans
    that matplotlib ships draws it. The joint distribution of the letter and of the kind of stroke under the
    finger is computed from the outline's lengths: real data, without sampling. Straight pieces within 10° of
    an axis count as vertical or horizontal; curved ones as bowls, by the half of the letter they lie in.

    Parameters
    ----------
    letters : str
        Different characters that the font draws; the 26 capitals by default.

    Returns
    -------
    joint : ndarray, shape (n_letters, 6)
        p(letter, stroke); several entries are exactly 0 (an E has no bowl).
    row_names : list of str
        The letters.
    column_names : list of str
        The kinds of stroke.

    Raises
    ------
    ValueError
        If there is none, or a character repeats or leaves no ink.
    """
    if not isinstance(letters, str) or not letters or len(set(letters)) < len(letters):
        raise ValueError(f"letters is {letters!r}; accepted: a string of different characters, at least one")
    lengths = np.zeros((len(letters), 6))
    for row, letter in zip(lengths, letters, strict=True):
        pieces, kinds = letter_outline(letter)
        np.add.at(row, kinds, np.linalg.norm(pieces[:, 1] - pieces[:, 0], axis=1))
    joint = lengths / lengths.sum(axis=1, keepdims=True) / len(letters)
    return joint, list(letters), ["vertical", "horizontal", "rising", "falling", "left bowl", "right bowl"]


def letter_outline(letter: str) -> tuple[Array, NDArray[np.int64]]:
    """Return the outline of a letter in DejaVu Sans as short straight pieces, and the kind of stroke of each.

    Parameters
    ----------
    letter : str
        One character.

    Returns
    -------
    pieces : ndarray, shape (n, 2, 2)
        Start and end, each x and y; the font's size is 100.
    kinds : ndarray of int, shape (n,)
        0 … 5: the columns of :func:`example_joint`.

    Raises
    ------
    ValueError
        If it is not one character that leaves ink.
    """
    import matplotlib
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not isinstance(letter, str) or len(letter) != 1 or not letter.isprintable() or letter.isspace():
        raise ValueError(f"letter is {letter!r}; accepted: one character that leaves ink")
    font = FontProperties(fname=f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf")
    path = TextPath((0, 0), letter, size=100, prop=font)
    pieces, kinds = [], []
    here = start = np.zeros(2)
    for points, code in path.iter_segments(simplify=False):
        if code == path.MOVETO:
            here = start = points
            continue
        # A closing piece returns to the start; a curve comes as its control points and its end.
        corners = np.vstack([here, start if code == path.CLOSEPOLY else points.reshape(-1, 2)])
        if (corners == here).all():
            continue  # an outline that was closed already
        curved = code in (path.CURVE3, path.CURVE4)
        line = _bezier(corners) if curved else corners
        pieces.append(np.stack([line[:-1], line[1:]], axis=1))
        kinds.append(_kinds(pieces[-1], curved, path.get_extents().intervalx.mean()))
        here = corners[-1]
    return np.concatenate(pieces), np.concatenate(kinds)


def _bezier(corners: Array, steps: int = 64) -> Array:
    """Return points along the Bézier curve with these control points (de Casteljau's construction)."""
    t = np.linspace(0, 1, steps + 1)[:, None, None]
    points = np.broadcast_to(corners, (steps + 1, *corners.shape))
    while points.shape[1] > 1:
        points = (1 - t) * points[:, :-1] + t * points[:, 1:]
    return points[:, 0]


def _kinds(pieces: Array, curved: bool, centre: float) -> NDArray[np.int64]:
    """Tell vertical, horizontal, rising, falling (0 … 3), and of curved pieces left and right bowl (4, 5)."""
    if curved:
        return np.where(pieces[:, :, 0].mean(axis=1) < centre, 4, 5)
    dx, dy = (pieces[:, 1] - pieces[:, 0]).T
    angle = np.degrees(np.arctan2(dy, dx)) % 180
    flat = np.minimum(angle, 180 - angle)
    return np.select([flat > 80, flat < 10, angle < 90], [0, 1, 2], 3)


def _pair(p: ArrayLike, q: ArrayLike) -> tuple[Array, Array]:
    p, q = check_distribution(p, "p"), check_distribution(q, "q")
    if p.shape != q.shape:
        raise ValueError(f"p has shape {p.shape} and q has shape {q.shape}; accepted: one shape for both")
    return p, q


def _margin(joint: Array, keep: tuple[int, ...]) -> Array:
    """Sum out every axis that is not in ``keep``; summed axes stay with length 1, for broadcasting."""
    return joint.sum(axis=tuple(a for a in range(joint.ndim) if a not in keep), keepdims=True)


def _ratio(p: Array, *, numerator: list[Array], denominator: list[Array], base: float) -> float:
    """Return E_p log(∏ numerator / ∏ denominator) in units of the base.

    The logarithms are taken factor by factor: the product of two small margins would underflow to 0.
    """
    above = sum(xlogy(p, factor) for factor in numerator)
    below = sum(xlogy(p, factor) for factor in denominator)
    return float(np.sum(above - below) / log_base(base))


def _non_negative(value: float) -> float:
    """Return the value, or 0.0 where rounding took a non-negative quantity below 0 (or to -0.0).

    What lies further below is no rounding but a fault, and is returned as it is: hidden, it would pass for independence.
    """
    return float(value) if value > 0 or value < -_ROUNDING else 0.0
