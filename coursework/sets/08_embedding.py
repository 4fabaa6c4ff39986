# %% [markdown]
# # Problem set 8: A task as a vector
#
# To chapter 8 of *The Information in a Task*. Write your answers where a cell says so, keep the names of the functions,
# and hand in this notebook after it has run from top to bottom. The first checks help you on the way; your functions are
# graded on other inputs.

# %%
import itertools

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

from t2v import distance, fisher

# %% [markdown]
# ## Problem 8.1 The head's own Fisher information (20 points)
#
# A linear head without a bias turns features $f$, of shape $(n, d)$, into class probabilities, of shape $(n, c)$. Derive the
# *diagonal* of the Fisher matrix of the head's weights (labels from the model, mean over samples) and write
# `head_fisher(features, probabilities)`, of shape $(c, d)$ as the weights. Why is it useless as an embedding of the task?


# %%
def head_fisher(features, probabilities):
    """Diagonal Fisher information of a linear head's weights, (classes, d)."""
    ### BEGIN SOLUTION
    return (probabilities * (1 - probabilities)).T @ features**2 / len(features)
    ### END SOLUTION


# %%
# A first check: the package's diagonal of a linear layer.
head = nn.Linear(4, 3, bias=False)
x = torch.randn(25, 4, generator=torch.Generator().manual_seed(0))
package = fisher.diagonal(head, x)["weight"]
assert np.allclose(head_fisher(x.numpy(), head(x).softmax(1).detach().numpy()), package, atol=1e-6)

# %% tags=["hidden"]
from coursework import Problem, Written

problem_1 = Problem(
    "8.1",
    20,
    head_fisher,
    lambda rng: (rng.normal(size=(12, 4)), rng.dirichlet(np.ones(3), size=12)),
    {
        "A mean over the samples, not a sum.": lambda f, p: (p * (1 - p)).T @ f**2,
        "The variance of a class indicator is p(1 − p), not p.": lambda f, p: p.T @ f**2 / len(f),
        "The shape is (classes, d), as the head's weights have it: the axes are swapped.": lambda f, p: (
            head_fisher(f, p).T
        ),
        "Squares are taken per sample, before the mean.": lambda f, p: ((p * (1 - p)).T @ f / len(f)) ** 2,
        "Each sample has its own p(1 − p): do not average the factors apart.": lambda f, p: np.outer(
            (p * (1 - p)).mean(0), (f**2).mean(0)
        ),
        "The features enter squared.": lambda f, p: (p * (1 - p)).T @ f / len(f),
    },
)

# %% [markdown]
# ## Problem 8.2 An embedding without a scale (20 points)
#
# In a ReLU network the weights of a filter can be multiplied by $c$, and what reads the filter divided by $c$: the function stays, and
# the filter's Fisher information is divided by $c^2$. Write `scale_free(fisher_values, weight)`, one value a filter for arrays of shape
# (out, in, height, width): the **sum** over the filter's weights of $F_j w_j^2$. Show that it does not depend on $c$. Why does
# an embedding of tasks by one fixed probe not need it?


# %%
def scale_free(fisher_values, weight):
    """Sum of F·w² over the weights of each filter, shape (out,)."""
    ### BEGIN SOLUTION
    return (fisher_values * weight**2).sum(axis=(1, 2, 3))
    ### END SOLUTION


# %%
# A first check: 27 weights of 2 count four times each; and the twin with a rescaled filter.
assert np.allclose(scale_free(np.ones((2, 3, 3, 3)), np.full((2, 3, 3, 3), 2.0)), [4 * 27, 4 * 27])
rng = np.random.default_rng(0)
values, weight = rng.exponential(size=(2, 3, 3, 3)), rng.normal(size=(2, 3, 3, 3))
c = np.array([5.0, 0.1])[:, None, None, None]
assert np.allclose(scale_free(values, weight), scale_free(values / c**2, c * weight))

# %% tags=["hidden"]
problem_2 = Problem(
    "8.2",
    20,
    scale_free,
    lambda rng: (rng.exponential(size=(3, 3, 2, 2)), rng.normal(size=(3, 3, 2, 2))),
    {
        "The sum is asked for, not the mean.": lambda f, w: (f * w**2).mean(axis=(1, 2, 3)),
        "That is one value for each *input* channel: a filter is an output channel, axis 0.": lambda f, w: (
            f * w**2
        ).sum(axis=(0, 2, 3)),
        "w enters squared: F·w still depends on c, and on the sign.": lambda f, w: (f * w).sum(
            axis=(1, 2, 3)
        ),
        "|w| is not enough: F goes as 1/c².": lambda f, w: (f * np.abs(w)).sum(axis=(1, 2, 3)),
        "Multiply before you sum: the sum of products, not the product of sums.": lambda f, w: (
            f.sum(axis=(1, 2, 3)) * (w**2).sum(axis=(1, 2, 3))
        ),
    },
)

# %% [markdown]
# ## Problem 8.3 The noise floor (20 points)
#
# Every one of $n$ tasks was embedded with two seeds: the rows of `first` and of `second`, of shape $(n, d)$, belong to the same tasks.
# Write `noise_floor(first, second)`: the **median** symmetric distance of a task's two embeddings, divided by the median symmetric
# distance of two different tasks within `first`. Which values would make you distrust a ranking?


# %%
def noise_floor(first, second):
    """Median distance between seeds over median distance between tasks."""
    ### BEGIN SOLUTION
    same = [distance.symmetric(a, b) for a, b in zip(first, second, strict=True)]
    other = [distance.symmetric(a, b) for a, b in itertools.combinations(first, 2)]
    return float(np.median(same) / np.median(other))
    ### END SOLUTION


# %%
# A first check: no noise is no floor, and two tasks that are exchanged do not move the median of six; alone, they are
# as far from themselves as from each other. With noise as large as the tasks' differences nothing is left.
tasks = np.exp(rng.normal(size=(6, 200)))
assert noise_floor(tasks, tasks) < 1e-9
assert noise_floor(tasks, tasks[[1, 0, 2, 3, 4, 5]]) < 1e-9
assert np.isclose(noise_floor(tasks[:2], tasks[[1, 0]]), 1)
assert np.isclose(noise_floor(tasks, np.exp(rng.normal(size=(6, 200)))), 1, atol=0.3)

# %% tags=["hidden"]


def _two_seeds(rng):
    tasks = np.exp(rng.normal(size=(7, 20)))
    return [tasks * np.exp(0.3 * rng.normal(size=tasks.shape)) for _ in range(2)]


def _floor(metric=distance.symmetric, centre=np.median, everything=False):
    def value(first, second):
        same = [metric(a, b) for a, b in zip(first, second, strict=True)]
        pairs = itertools.product(first, first) if everything else itertools.combinations(first, 2)
        return float(centre(same) / centre([metric(a, b) for a, b in pairs]))

    return value


problem_3 = Problem(
    "8.3",
    20,
    noise_floor,
    lambda rng: tuple(_two_seeds(rng)),
    {
        "The median is asked for, which one odd task does not move; you took means.": _floor(centre=np.mean),
        "A task's distance to itself, 0, is no distance between tasks: leave the diagonal out.": _floor(
            everything=True
        ),
        "That is with the plain cosine distance.": _floor(metric=distance.cosine),
        "The ratio is upside down: noise over signal.": lambda a, b: 1 / noise_floor(a, b),
    },
)

# %% [markdown]
# ## Problem 8.4 An exact p-value (20 points)
#
# The embedding's norm shall track the difficulty of $n \le 7$ tasks: Spearman's $\rho$ of `norms` and `errors` is positive. How
# likely is a $\rho$ at least as large if the errors were dealt out at random? Write `exact_p(norms, errors)`: the share of all $n!$
# permutations of the errors, **the given order among them**, with a $\rho$ at least as large (one-sided; no ties).


# %%
def exact_p(norms, errors):
    """One-sided permutation p-value of Spearman's correlation, over all permutations."""
    ### BEGIN SOLUTION
    a, b = (np.argsort(np.argsort(v)) for v in (norms, errors))
    every = np.array([a @ np.array(order) for order in itertools.permutations(b)])
    return float(np.mean(every >= a @ b))
    ### END SOLUTION


# %%
# A first check: the perfect order has the p-value 1/n!, the reverse order 1.
assert np.isclose(exact_p([1.0, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]), 1 / 24)
assert np.isclose(exact_p([1.0, 2, 3, 4], [0.4, 0.3, 0.2, 0.1]), 1)
assert np.isclose(spearmanr([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]).statistic, 1)

# %% tags=["hidden"]


def _related(rng):
    norms = rng.normal(size=6)
    return norms, norms + 0.7 * rng.normal(size=6)


def _counted(a, b, test):
    every = np.array([a @ np.array(order) for order in itertools.permutations(b)])
    return float(test(every, a @ b))


def _ranks(v):
    return np.argsort(np.argsort(v)) - (len(v) - 1) / 2


problem_4 = Problem(
    "8.4",
    20,
    exact_p,
    _related,
    {
        "“At least as large” counts the given order, and those that equal it.": lambda a, b: _counted(
            _ranks(a), _ranks(b), lambda e, s: np.mean(e > s + 1e-9)
        ),
        "That is two-sided: only large positive correlations count.": lambda a, b: _counted(
            _ranks(a), _ranks(b), lambda e, s: np.mean(np.abs(e) >= abs(s) - 1e-9)
        ),
        "That is Pearson's correlation: take ranks first.": lambda a, b: _counted(
            a - a.mean(), b - b.mean(), lambda e, s: np.mean(e >= s - 1e-12)
        ),
        "That is the other tail.": lambda a, b: _counted(
            _ranks(a), _ranks(b), lambda e, s: np.mean(e <= s + 1e-9)
        ),
        "That is ρ itself.": lambda a, b: float(spearmanr(a, b).statistic),
        "That is SciPy's approximate, two-sided p-value.": lambda a, b: float(spearmanr(a, b).pvalue),
    },
)

# %% [markdown]
# ## Problem 8.5 A task that cannot be learnt (20 points, graded by a person)
#
# Somebody embeds a task whose labels were dealt out at random. In at most 200 words: will its norm be small ("there is nothing to
# learn") or large? Argue with the weight $\operatorname{diag} p - p p^\top$ of the Fisher matrix, for the head that fits best and for one
# that overfits its images. What does this mean for the claim that the norm measures the *information* in a task?
#
# ### BEGIN SOLUTION
# The best head of a random task predicts the class frequencies for every image; $p(1-p)$ is then as large as it gets, so the
# Fisher information of the logits is greatest (6 points). How much reaches the probe's weights depends on the head's weights: with strong
# regularisation they go to 0, and the gradient with them, so the norm can be small too (4). A head that overfits is sure of its
# own images, with $F$ near 0 there, and sure and wrong elsewhere, which is why embeddings use images that the head has not seen (5).
# So the norm measures how uncertain the model stays and how strongly the output moves with the probe's weights, hence difficulty *for this
# probe and head*; it is no amount of information that the images have about the labels, which is 0 here (5).
# ### END SOLUTION

# %% tags=["hidden"]
problem_5 = Written("8.5", 20)
