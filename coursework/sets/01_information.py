# %% [markdown]
# # Problem set 1: Information
#
# To chapter 1 of *The Information in a Task*. Write your answers where a cell says so, keep the names of the functions,
# and hand in this notebook after it has run from top to bottom. The first checks help you on the way; your functions are
# graded on other inputs. Unless a problem says otherwise, information is in **bits**.

# %%
import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom

from t2v import estimators
from t2v import information as info

# %% [markdown]
# ## Problem 1.1 Several witnesses (15 points)
#
# $X$ is a fair coin. Each of $n$ witnesses saw it and reports it wrongly with probability $\epsilon$, independently of the
# others. Show that the number of witnesses who say "heads" tells about $X$ all that their $n$ reports tell. Then write
# `witness_bits(n, flip)`, the information $I(X; Y_1, \dots, Y_n)$ in bits, without an array of $2^n$ entries.


# %%
def witness_bits(n, flip):
    """Bits that n independent witnesses, each wrong with probability flip, give about a fair coin."""
    ### BEGIN SOLUTION
    counts = np.arange(n + 1)
    rows = np.stack([binom.pmf(counts, n, flip), binom.pmf(counts, n, 1 - flip)])
    return info.mutual_information(rows / rows.sum())
    ### END SOLUTION


# %%
# A first check: one witness is a binary symmetric channel, and a second one adds something, but not as much again.
one = info.mutual_information([[0.45, 0.05], [0.05, 0.45]])
assert np.isclose(witness_bits(1, 0.1), one)
assert one < witness_bits(2, 0.1) < 2 * one

# %% tags=["hidden"]
from coursework import Problem, Written


def _binary_entropy(e):
    return info.entropy([e, 1 - e])


problem_1 = Problem(
    "1.1",
    15,
    witness_bits,
    lambda rng: (int(rng.integers(2, 9)), float(rng.uniform(0.05, 0.4))),
    {
        "The witnesses saw the same coin: their reports are independent only given X, and their bits do not add up.": (
            lambda n, e: n * (1 - _binary_entropy(e))
        ),
        "That is in nats.": lambda n, e: np.log(2) * witness_bits(n, e),
        "That is H(X | reports), what the reports leave open.": lambda n, e: 1 - witness_bits(n, e),
        "That is what the majority's verdict tells: the size of the majority tells more.": lambda n, e: (
            _majority_bits(n, e)
        ),
    },
)


def _majority_bits(n, e):
    k = np.arange(n + 1)
    heads = binom.pmf(k, n, 1 - e)
    vote = [heads[2 * k > n].sum(), heads[2 * k == n].sum(), heads[2 * k < n].sum()]
    return info.mutual_information(np.array([vote, vote[::-1]]) / 2)


# %% [markdown]
# ## Problem 1.2 Synergy (20 points)
#
# Knowing a third variable can raise the information between two, or lower it. Write `synergy(joint)`:
# $I(X;Y \mid Z) - I(X;Y)$ in bits, for an array $p(x, y, z)$ with the axes in this order. Find by hand one distribution of
# three bits for which it is $+1$ and one for which it is $-1$, and put them into the first check.


# %%
def synergy(joint):
    """I(X;Y|Z) − I(X;Y) in bits, axes X, Y, Z."""
    ### BEGIN SOLUTION
    return info.conditional_mutual_information(joint) - info.mutual_information(np.asarray(joint).sum(axis=2))
    ### END SOLUTION


# %%
# A first check, to be completed: x and y are fair and independent, and z = x xor y.
xor = np.zeros((2, 2, 2))
for x in (0, 1):
    for y in (0, 1):
        xor[x, y, x ^ y] = 0.25
assert np.isclose(synergy(xor), 1)

# %% tags=["hidden"]
problem_2 = Problem(
    "1.2",
    20,
    synergy,
    lambda rng: (rng.dirichlet(np.ones(24)).reshape(2, 3, 4),),
    {
        "The sign: a third variable that reveals a relation makes synergy positive.": lambda j: -synergy(j),
        "That is I(X;Y|Z): take I(X;Y) off.": lambda j: info.conditional_mutual_information(j),
        "That is I(X,Y;Z), what the pair tells about the third.": lambda j: info.mutual_information(
            j.reshape(-1, j.shape[2])
        ),
        "That is the total correlation, which is never negative.": lambda j: info.total_correlation(j),
        "That is in nats.": lambda j: np.log(2) * synergy(j),
        "I(X;Y) wants Z summed away, which is axis 2; you summed axis 0.": lambda j: (
            info.conditional_mutual_information(j) - info.mutual_information(j.sum(axis=0))
        ),
    },
)

# %% [markdown]
# ## Problem 1.3 The price of whole bits (15 points)
#
# A code that gives the outcome $x$ a word of $\lceil \log_2 1/p(x) \rceil$ bits can be decoded (Kraft's inequality: show
# it). Write `excess(p)`: how many bits its mean length exceeds the entropy. Why is this always less than one bit?


# %%
def excess(p):
    """Mean length of Shannon's code minus the entropy, in bits; every outcome has a positive probability."""
    ### BEGIN SOLUTION
    p = np.asarray(p)
    return float(p @ np.ceil(-np.log2(p)) - info.entropy(p))
    ### END SOLUTION


# %%
# A first check: powers of two cost nothing, and a rare event is expensive.
assert np.isclose(excess([0.5, 0.25, 0.125, 0.125]), 0)
assert 0 <= excess([0.9, 0.1]) < 1

# %% tags=["hidden"]
problem_3 = Problem(
    "1.3",
    15,
    excess,
    lambda rng: (rng.dirichlet(np.ones(int(rng.integers(3, 9)))),),
    {
        "Words are used as often as their outcomes occur: take the mean under p.": lambda p: float(
            np.ceil(-np.log2(p)).mean() - info.entropy(p)
        ),
        "That is the mean length: take the entropy off.": lambda p: float(p @ np.ceil(-np.log2(p))),
        "Round up: words that are rounded down or to the nearest bit need not be decodable.": lambda p: float(
            p @ np.round(-np.log2(p)) - info.entropy(p)
        ),
        "Word lengths come from logarithms to base 2.": lambda p: float(
            p @ np.ceil(-np.log(p)) - info.entropy(p)
        ),
        "The length is in bits, and your entropy in nats.": lambda p: float(
            p @ np.ceil(-np.log2(p)) - info.entropy(p, base=np.e)
        ),
    },
)

# %% [markdown]
# ## Problem 1.4 No classifier can do better (20 points)
#
# Whoever guesses $X$, one of $k$ values, from $Y$ and errs with probability $e$ obeys Fano's inequality,
#
# $$ H(X \mid Y) \;\le\; h(e) + e \log_2 (k - 1), \qquad h(e) = -e \log_2 e - (1 - e) \log_2 (1 - e). $$
#
# Prove it with the chain rule. Then write `least_error(joint)`: the smallest $e$ that the inequality allows, for $p(x, y)$
# with $X$ on axis 0. Solve the equation numerically; no shortcut that loosens it.


# %%
def least_error(joint):
    """Smallest error probability that Fano's inequality allows a guess of X from Y."""
    ### BEGIN SOLUTION
    k = len(joint)
    left = info.conditional_entropy(joint)
    return float(brentq(lambda e: info.entropy([e, 1 - e]) + e * np.log2(k - 1) - left, 0, 1 - 1 / k))
    ### END SOLUTION


# %%
# A first check: no guess is better than what Fano allows, and the best guess takes the likeliest x for every y. Where all
# mistakes are equally likely, as in a copy of four values that is wrong in 0.3 of the cases, nothing is lost.
table = np.array([[0.30, 0.05, 0.02], [0.03, 0.20, 0.10], [0.02, 0.08, 0.20]])
assert 0 < least_error(table) < 1 - table.max(axis=0).sum()
assert np.isclose(least_error((0.6 * np.eye(4) + 0.1) / 4), 0.3)

# %% tags=["hidden"]


def _sharp_joint(rng):
    k = int(rng.integers(3, 7))
    joint = rng.dirichlet(np.full(k, 0.5), size=5).T + 0.02
    return (joint / joint.sum(),)


problem_4 = Problem(
    "1.4",
    20,
    least_error,
    _sharp_joint,
    {
        "That is the loosened form, (H − 1)/log k: solve the equation itself.": lambda j: (
            (info.conditional_entropy(j) - 1) / np.log2(len(j))
        ),
        "A wrong guess leaves k − 1 values, not k.": lambda j: _fano(info.conditional_entropy(j), len(j) + 1),
        "That guesses Y from X: X is on axis 0, and H(X|Y) is asked for.": lambda j: _fano(
            info.conditional_entropy(j.T), len(j)
        ),
        "H(X) is what is open before Y is seen: use H(X|Y).": lambda j: _fano(
            info.entropy(j.sum(axis=1)), len(j)
        ),
        "That is the error of the best guess; Fano's bound lies below it.": lambda j: 1 - j.max(axis=0).sum(),
    },
)


def _fano(left, k):
    def miss(e):
        return info.entropy([e, 1 - e]) + e * np.log2(k - 1) - left

    return float(brentq(miss, 0, 1 - 1 / k)) if miss(1 - 1 / k) > 0 else 1 - 1 / k


# %% [markdown]
# ## Problem 1.5 Bits out of nothing (15 points)
#
# $X$ and $Y$ are independent, with $r$ and $c$ values, and you plug the frequencies of $n$ pairs into the formula of the
# mutual information. $2n$ times the result in nats is nearly $\chi^2$-distributed with $(r-1)(c-1)$ degrees of freedom.
# Write `spurious_bits(r, c, n)`: the mean of the estimate in bits, to this order.


# %%
def spurious_bits(r, c, n):
    """Mean of the plug-in estimate of I, in bits, for independent variables with r and c values and n samples."""
    ### BEGIN SOLUTION
    return (r - 1) * (c - 1) / (2 * n * np.log(2))
    ### END SOLUTION


# %%
# A first check by simulation.
rng = np.random.default_rng(0)
drawn = [estimators.plug_in(rng.integers(5, size=500), rng.integers(8, size=500)) for _ in range(300)]
assert np.isclose(spurious_bits(5, 8, 500), np.mean(drawn), rtol=0.1)

# %% tags=["hidden"]
problem_5 = Problem(
    "1.5",
    15,
    spurious_bits,
    lambda rng: (int(rng.integers(3, 9)), int(rng.integers(3, 9)), int(rng.integers(100, 2000))),
    {
        "That is in nats: divide by log 2.": lambda r, c, n: (r - 1) * (c - 1) / (2 * n),
        "A factor 2: it is 2n times the estimate that is χ².": lambda r, c, n: (
            (r - 1) * (c - 1) / (n * np.log(2))
        ),
        "Not all cells are free, given the margins: count (r − 1)(c − 1).": lambda r, c, n: (
            (r * c - 1) / (2 * n * np.log(2))
        ),
        "Multiply by log 2? One nat is 1/log 2 bits.": lambda r, c, n: (
            (r - 1) * (c - 1) / (2 * n) * np.log(2)
        ),
    },
)

# %% [markdown]
# ## Problem 1.6 An argument (15 points, graded by a person)
#
# A paper cuts the 64 activations of a layer into 30 bins each, plugs the frequencies of 1,000 samples into the formula, and
# reports $I(X;T) = 9.97$ bits for every layer. In at most 150 words: what has been measured? Which experiment on the same
# data would show it, and what would you report instead?
#
# ### BEGIN SOLUTION
# $\log_2 1000 \approx 9.97$: every sample lies in a cell of its own, so the estimate is the entropy of the *sample index*.
# It says nothing about the layer (2 points for the number, 5 for the reason). Shuffling the pairs, or using noise in place
# of activations, gives the same value (4). Report a lower bound with an independent test set, an estimator made for many
# dimensions with its error, or information of a noisy channel that is stated (4).
# ### END SOLUTION

# %% tags=["hidden"]
problem_6 = Written("1.6", 15)
