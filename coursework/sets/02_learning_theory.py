# %% [markdown]
# # Problem set 2: What a sample proves
#
# To chapter 2 of *The Information in a Task*. Write your answers where a cell says so, keep the names of the functions,
# and hand in this notebook after it has run from top to bottom. The first checks help you on the way; your functions are
# graded on other inputs. Logarithms are natural unless a problem says otherwise.

# %%
import math

import numpy as np
from scipy.stats import beta, norm

from t2v import bounds

# %% [markdown]
# ## Problem 2.1 How large must a validation set be? (20 points)
#
# You trained $k$ networks and choose the one with the fewest errors on $n$ validation images that none has seen. The
# measured error of *every* network, so of the chosen one too, shall be within $\epsilon$ of its true error, above **or**
# below, except with probability $\delta$. Derive the least $n$ from Hoeffding's inequality and write
# `validation_size(k, epsilon, delta)`, a whole number.


# %%
def validation_size(k, epsilon, delta):
    """Least number of validation samples for the errors of k networks, within epsilon on both sides."""
    ### BEGIN SOLUTION
    return math.ceil(math.log(2 * k / delta) / (2 * epsilon**2))
    ### END SOLUTION


# %%
# A first check: a thousand networks cost few more images than ten, and the package's margin agrees.
assert validation_size(1000, 0.02, 0.05) < 2 * validation_size(10, 0.02, 0.05)
n = validation_size(10, 0.02, 0.05)
assert (
    bounds.pac(math.log(10), 0.05, n, "two_sided")
    <= 0.02
    < bounds.pac(math.log(10), 0.05, n - 1, "two_sided")
)

# %% tags=["hidden"]
from coursework import Problem, Written

problem_1 = Problem(
    "2.1",
    20,
    validation_size,
    lambda rng: (int(rng.integers(3, 500)), float(rng.uniform(0.01, 0.1)), float(rng.uniform(0.01, 0.2))),
    {
        "Above or below: two events for each network, so 2k/δ.": lambda k, e, d: math.ceil(
            math.log(k / d) / (2 * e**2)
        ),
        "The chosen network depends on the validation set: the bound must hold for all k at once.": lambda k, e, d: (
            math.ceil(math.log(2 / d) / (2 * e**2))
        ),
        "Round up: one image fewer does not suffice.": lambda k, e, d: math.floor(
            math.log(2 * k / d) / (2 * e**2)
        ),
        "A whole number of images: round up.": lambda k, e, d: math.log(2 * k / d) / (2 * e**2),
        "The margin enters as 2ε²; the 2 is missing.": lambda k, e, d: math.ceil(math.log(2 * k / d) / e**2),
        "The union bound adds failures: log(2k/δ), not k log(2/δ).": lambda k, e, d: math.ceil(
            k * math.log(2 / d) / (2 * e**2)
        ),
    },
)

# %% [markdown]
# ## Problem 2.2 The exact bound of one network (20 points)
#
# One network, fixed before the test, makes `errors` mistakes on $m$ test samples. The best upper bound on its risk is the
# largest $R$ under which so few mistakes are not yet surprising: $P(\mathrm{Bin}(m, R) \le \text{errors}) \ge \delta$.
# Write `upper_risk(errors, m, delta)`. (The binomial's distribution function is one of the beta distribution:
# $P(\mathrm{Bin}(m, R) \le k) = P(B > R)$ with $B \sim \mathrm{Beta}(k+1, m-k)$. Or solve numerically.)


# %%
def upper_risk(errors, m, delta):
    """Exact one-sided upper bound on the risk, valid with probability 1 − delta; errors < m."""
    ### BEGIN SOLUTION
    return float(beta.ppf(1 - delta, errors + 1, m - errors))
    ### END SOLUTION


# %%
# A first check: without an error the bound is 1 − δ^(1/m), and it is never looser than Hoeffding's.
assert np.isclose(upper_risk(0, 100, 0.05), 1 - 0.05 ** (1 / 100))
assert upper_risk(7, 100, 0.05) < 0.07 + bounds.pac(0.0, 0.05, 100)

# %% tags=["hidden"]
problem_2 = Problem(
    "2.2",
    20,
    upper_risk,
    lambda rng: (int(rng.integers(1, 30)), int(rng.integers(40, 300)), float(rng.uniform(0.02, 0.2))),
    {
        "Only one side is asked for: all of δ belongs to it.": lambda k, m, d: float(
            beta.ppf(1 - d / 2, k + 1, m - k)
        ),
        "That is Hoeffding's bound, which does not know how few the errors are.": lambda k, m, d: (
            k / m + math.sqrt(math.log(1 / d) / (2 * m))
        ),
        "“At most `errors`” includes the number itself: you are one error short.": lambda k, m, d: float(
            beta.ppf(1 - d, k, m - k + 1)
        ),
        "That is the lower end: the risk under which so *many* errors are not yet surprising.": lambda k, m, d: (
            float(beta.ppf(d, k, m - k + 1))
        ),
        "That is the normal approximation; few errors are far from normal.": lambda k, m, d: (
            k / m + norm.ppf(1 - d) * math.sqrt(k / m * (1 - k / m) / m)
        ),
        "The tail has probability δ, not 1 − δ.": lambda k, m, d: float(beta.ppf(d, k + 1, m - k)),
    },
    tolerance=1e-5,
)

# %% [markdown]
# ## Problem 2.3 From $2^n$ to a polynomial (20 points)
#
# By the lemma of Sauer and Shelah, a class of VC dimension $d$ labels $n$ points in at most $\sum_{i \le d} \binom{n}{i}$
# ways. Write `labelling_bits(n, d)`: the base-2 logarithm of that number, for $n$ as large as 10,000 (where $2^n$ is no
# floating-point number). From which $n$ on is it less than $n$, and what has that to do with learning?


# %%
def labelling_bits(n, d):
    """log2 of the largest number of labellings of n points by a class of VC dimension d."""
    ### BEGIN SOLUTION
    return math.log2(sum(math.comb(n, i) for i in range(d + 1)))
    ### END SOLUTION


# %%
# A first check: up to d points all labellings are there; intervals have d = 2 and label n points in 1 + n(n+1)/2 ways.
assert np.isclose(labelling_bits(5, 5), 5)
assert np.isclose(labelling_bits(100, 2), math.log2(1 + 100 * 101 / 2))
assert 200 < labelling_bits(10_000, 20) < 210

# %% tags=["hidden"]
problem_3 = Problem(
    "2.3",
    20,
    labelling_bits,
    lambda rng: (int(rng.integers(12, 40)), int(rng.integers(2, 5))),
    {
        "The sum runs to d, d included.": lambda n, d: math.log2(sum(math.comb(n, i) for i in range(d))),
        "That is in nats: take the logarithm to base 2.": lambda n, d: math.log(2) * labelling_bits(n, d),
        "The sum starts at i = 0: the labelling without a positive point.": lambda n, d: math.log2(
            sum(math.comb(n, i) for i in range(1, d + 1))
        ),
        "That is the convenient bound (en/d)^d; the sum itself is asked for.": lambda n, d: (
            d * math.log2(math.e * n / d)
        ),
        "All labellings are n bits, and only a class that shatters the points has them.": lambda n, d: float(
            n
        ),
    },
    tolerance=1e-9,
)

# %% [markdown]
# ## Problem 2.4 Errors that are not the network's (20 points)
#
# In a data set with $k$ classes, a share $s$ of the labels was replaced by labels drawn **uniformly from all $k$ classes**
# (so some came back unchanged), independently of the images. A network shows the error `observed` against these labels.
# Derive its error against the true labels, and write `true_error(observed, s, k)`.


# %%
def true_error(observed, s, k):
    """Error against the true labels, from the error against labels of which a share s is uniformly random."""
    ### BEGIN SOLUTION
    return (observed - s * (k - 1) / k) / (1 - s)
    ### END SOLUTION


# %%
# A first check by simulation: a network that errs on 20% of the true labels.
rng = np.random.default_rng(0)
truth = rng.integers(10, size=200_000)
guess = np.where(rng.random(truth.size) < 0.2, (truth + rng.integers(1, 10, truth.size)) % 10, truth)
noisy = np.where(rng.random(truth.size) < 0.3, rng.integers(10, size=truth.size), truth)
assert np.isclose(true_error(np.mean(guess != noisy), 0.3, 10), 0.2, atol=0.01)

# %% tags=["hidden"]


def _noise(rng):
    s, k = float(rng.uniform(0.1, 0.6)), int(rng.integers(2, 12))
    return (1 - s) * float(rng.uniform(0.05, 0.4)) + s * (k - 1) / k, s, k


problem_4 = Problem(
    "2.4",
    20,
    true_error,
    _noise,
    {
        "A replaced label is right in 1/k of the cases: the network errs on (k − 1)/k of them, not on all.": (
            lambda e, s, k: (e - s) / (1 - s)
        ),
        "Only the share 1 − s of the labels tells the true error: divide by it.": lambda e, s, k: (
            e - s * (k - 1) / k
        ),
        "That is for labels that are replaced by *another* class.": lambda e, s, k: (
            (e - s) / (1 - s * k / (k - 1))
        ),
        "That is the way from the true error to the observed one; solve for the true one.": lambda e, s, k: (
            (1 - s) * e + s * (k - 1) / k
        ),
        "A random label is *wrong* in (k − 1)/k of the cases, and right in 1/k.": lambda e, s, k: (
            (e - s / k) / (1 - s)
        ),
    },
)

# %% [markdown]
# ## Problem 2.5 What a vacuous bound says (20 points, graded by a person)
#
# For a network with a million weights of 32 bits and 60,000 training images, the bound of chapter 2 gives an
# $\epsilon$ far above 1. A fellow student concludes: "So theory says that this network does not generalise." Another: "It
# does generalise, so the theorem is wrong." In at most 200 words: what is wrong with both? Name one quantity that differs
# between training on true and on random labels and could enter a better bound, and one that cannot.
#
# ### BEGIN SOLUTION
# A bound above 1 is true and says nothing; the theorem gives a sufficient condition, and no lower bound (5 points). It is
# not wrong, since it holds for every member of the class at once, whatever the data: the same $\epsilon$ for true and for
# random labels, and for the latter the gap really is large (5). Candidates: bits needed to describe *these* weights given
# a prior (compression, PAC-Bayes), margins, distance from the initialisation, information of the weights about the labels
# (5 for one with a reason). Not: number of weights, VC dimension, training error at the end, which are equal in both (5).
# ### END SOLUTION

# %% tags=["hidden"]
problem_5 = Written("2.5", 20)
