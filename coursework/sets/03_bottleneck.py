# %% [markdown]
# # Problem set 3: The bottleneck
#
# To chapter 3 of *The Information in a Task*. Write your answers where a cell says so, keep the names of the functions,
# and hand in this notebook after it has run from top to bottom. The first checks help you on the way; your functions are
# graded on other inputs. Information is in **bits**, and $\beta$ multiplies $I(T;Y)$.

# %%
import itertools

import numpy as np

from t2v import bottleneck
from t2v import information as info

# %% [markdown]
# ## Problem 3.1 Nothing is noise (20 points)
#
# Let $Y = X$, uniform on $n$ values. Show that no encoder leaves the diagonal $I(T;Y) = I(T;X)$, and derive the least value
# of $I(T;X) - \beta I(T;Y)$ over all encoders. Write `least_objective(n, beta)`. What happens at $\beta = 1$?


# %%
def least_objective(n, beta):
    """Least I(T;X) − beta·I(T;Y) in bits, for Y = X uniform on n values."""
    ### BEGIN SOLUTION
    return min(0.0, (1 - beta) * np.log2(n))
    ### END SOLUTION


# %%
# A first check: the package finds the same minimum.
for beta in (0.5, 3.0):
    found = bottleneck.solve(np.eye(4) / 4, beta)
    assert np.isclose(least_objective(4, beta), found.i_tx - beta * found.i_ty, atol=1e-6)

# %% tags=["hidden"]
from coursework import Problem, Written

problem_1 = Problem(
    "3.1",
    20,
    least_objective,
    lambda rng: (int(rng.integers(2, 20)), float(rng.choice([rng.uniform(0.1, 0.9), rng.uniform(1.1, 5)]))),
    {
        "Below β = 1 it is best to keep nothing, which costs 0: the minimum is never positive.": lambda n, b: (
            (1 - b) * np.log2(n)
        ),
        "That is in nats.": lambda n, b: np.log(2) * least_objective(n, b),
        "The sign: what is kept lowers the objective.": lambda n, b: -least_objective(n, b),
        "β multiplies I(T;Y) here, and not I(T;X).": lambda n, b: min(0.0, (b - 1) * np.log2(n)),
    },
)

# %% [markdown]
# ## Problem 3.2 The price of a channel that forgets (20 points)
#
# $X$ is a fair bit. $Y$ equals $X$ with probability $1 - e$, and is erased ("?") with probability $e$. Compute the singular
# values of $p(x,y)/\sqrt{p(x)p(y)}$ by hand, and write `critical_erasure(e)`: the $\beta$ at which the trivial
# representation stops being a local minimum.


# %%
def critical_erasure(e):
    """Critical beta of a fair bit that is erased with probability e."""
    ### BEGIN SOLUTION
    return 1 / (1 - e)
    ### END SOLUTION


# %%
# A first check against the package.
erasing = np.array([[0.35, 0.0, 0.15], [0.0, 0.35, 0.15]])
assert np.isclose(critical_erasure(0.3), bottleneck.critical_beta(erasing))

# %% tags=["hidden"]
problem_2 = Problem(
    "3.2",
    20,
    critical_erasure,
    lambda rng: (float(rng.uniform(0.05, 0.9)),),
    {
        "That is 1/σ₂: the critical β is 1/σ₂².": lambda e: (1 - e) ** -0.5,
        "That is σ₂², what one bit of T can be worth: invert it.": lambda e: 1 - e,
        "That squares once too often: σ₂² = 1 − e already.": lambda e: (1 - e) ** -2,
        "That is for a bit that is flipped, not erased.": lambda e: (1 - 2 * e) ** -2,
        "That is the inverse of the erased share.": lambda e: 1 / e,
    },
)

# %% [markdown]
# ## Problem 3.3 What a grouping loses (20 points)
#
# A hard clustering gives each symbol $x$ a group: `groups[x]` is one of $0, 1, \dots$. Write `lost_bits(joint, groups)`: what it
# loses of the relevant information, $I(X;Y) - I(T;Y)$, for $p(x,y)$ with $X$ on axis 0. Show that it is never negative
# without using the data-processing inequality: it is a mean of divergences. Which?


# %%
def lost_bits(joint, groups):
    """I(X;Y) − I(T;Y) in bits of the hard clustering x → groups[x]."""
    ### BEGIN SOLUTION
    merged = np.zeros((int(np.max(groups)) + 1, joint.shape[1]))
    np.add.at(merged, np.asarray(groups, dtype=int), joint)
    return info.mutual_information(joint) - info.mutual_information(merged)
    ### END SOLUTION


# %%
# A first check: grouping symbols that say the same of Y is free, and one group for all loses everything.
same = np.array([[0.2, 0.1], [0.1, 0.05], [0.1, 0.45]])
assert np.isclose(lost_bits(same, np.array([0, 0, 1])), 0)
assert np.isclose(lost_bits(same, np.array([0, 0, 0])), info.mutual_information(same))

# %% tags=["hidden"]


def _joint(rng):
    n = int(rng.integers(5, 9))
    joint = rng.dirichlet(np.ones(4), size=n) * rng.uniform(0.05, 2, size=(n, 1))
    return joint / joint.sum()


def _grouped(rng):
    joint = _joint(rng)
    return joint, rng.permutation(np.arange(len(joint)) % 3)


def _merge(joint, groups):
    return np.stack([joint[groups == g].sum(axis=0) for g in np.unique(groups)])


problem_3 = Problem(
    "3.3",
    20,
    lost_bits,
    _grouped,
    {
        "That is I(T;Y), what is kept.": lambda j, g: info.mutual_information(_merge(j, g)),
        "That is in nats.": lambda j, g: np.log(2) * lost_bits(j, g),
        "That is H(X|T), all bits that are lost; only those about Y count.": lambda j, g: (
            info.entropy(j.sum(axis=1)) - info.entropy(_merge(j, g).sum(axis=1))
        ),
        "The sign: I(X;Y) is the larger of the two.": lambda j, g: -lost_bits(j, g),
        "A group's distribution is the sum of its rows of p(x,y), not the mean of the rows p(y|x).": lambda j, g: (
            info.mutual_information(j)
            - info.mutual_information(
                np.stack(
                    [
                        (j[g == k] / j[g == k].sum(axis=1, keepdims=True)).mean(axis=0) * j[g == k].sum()
                        for k in np.unique(g)
                    ]
                )
            )
        ),
    },
)

# %% [markdown]
# ## Problem 3.4 The cheapest merger (20 points)
#
# The agglomerative bottleneck starts with one group a symbol and merges, again and again, the two that lose the fewest bits
# about $Y$. Write one step, `cheapest_merger(joint)`: the pair $(i, j)$ with $i < j$. Use the two rows alone, not the whole
# of $I(X;Y)$, for each pair.


# %%
def cheapest_merger(joint):
    """Return (i, j), i < j: the rows of p(x, y) whose merger loses the fewest bits about Y."""

    ### BEGIN SOLUTION
    def loss(pair):
        rows = joint[list(pair)]
        return rows.sum() * info.mutual_information(rows / rows.sum())

    return min(itertools.combinations(range(len(joint)), 2), key=loss)
    ### END SOLUTION


# %%
# A first check: rows 0 and 1 say the same of Y.
assert tuple(cheapest_merger(same)) == (0, 1)

# %% tags=["hidden"]


def _uneven(rng):
    joint = rng.dirichlet(np.full(6, 3.0), size=9) * np.exp(1.5 * rng.normal(size=(9, 1)))
    return (joint / joint.sum(),)


def _pair(loss):
    def search(joint):
        pairs = itertools.combinations(range(len(joint)), 2)
        return min(pairs, key=lambda pair: loss(*joint[list(pair)]))

    return search


problem_4 = Problem(
    "3.4",
    20,
    cheapest_merger,
    _uneven,
    {
        "Weigh the divergence by the probability p(i) + p(j) of the pair: rare symbols are cheap to merge.": _pair(
            lambda a, b: info.mutual_information(np.stack([a, b]) / (a.sum() + b.sum()))
        ),
        "That merges the rows p(y|x) that are nearest in Euclidean distance; information is not Euclidean.": _pair(
            lambda a, b: float(np.linalg.norm(a / a.sum() - b / b.sum()))
        ),
        "That compares rows of p(x,y): divide by p(x) before you compare.": _pair(
            lambda a, b: float(np.linalg.norm(a - b))
        ),
        "That merges the two rarest symbols, whatever they say of Y.": _pair(
            lambda a, b: float(a.sum() + b.sum())
        ),
        "That is the dearest merger; the one that loses least is asked for.": _pair(
            lambda a, b: (
                -(a.sum() + b.sum()) * info.mutual_information(np.stack([a, b]) / (a.sum() + b.sum()))
            )
        ),
        "Count from 0, as Python does.": lambda j: tuple(i + 1 for i in cheapest_merger(j)),
        "The smaller index first.": lambda j: tuple(cheapest_merger(j)[::-1]),
    },
)

# %% [markdown]
# ## Problem 3.5 A bottleneck that did not converge? (20 points, graded by a person)
#
# A student runs Blahut and Arimoto's iteration from a random encoder at $\beta = 1.3$, where $I(X;Y) = 0.8$ bits, and gets
# $I(T;X) = I(T;Y) = 0$ to ten digits. In at most 200 words: give two explanations that have nothing to do with a mistake
# in the code, and for each a computation with `t2v.bottleneck` that would confirm or refute it.
#
# ### BEGIN SOLUTION
# (a) $\beta$ lies below the onset: by the data-processing inequality every $\beta \le 1$ is trivial, and for noisy relations
# the trivial encoder is still the global minimum above 1. Check: `onset_beta(joint)` > 1.3 (8 points). (b) $\beta$ lies
# between the onset and the critical value: the trivial encoder is a local minimum with a better one elsewhere, and the
# iteration fell into it. Check: compare `solve`, which anneals and restarts, with `blahut_arimoto` from this start, and
# `critical_beta(joint)` with 1.3 (8). Also accepted for (b): slow convergence near the critical value, checked by `n_iter`
# and a smaller tolerance. Clear names of local and global minimum: 4.
# ### END SOLUTION

# %% tags=["hidden"]
problem_5 = Written("3.5", 20)
