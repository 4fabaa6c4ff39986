# %% [markdown]
# # Problem set 10: Where to start from
#
# To chapter 10 of *The Information in a Task*. Write your answers where a cell says so, keep the names of the functions,
# and hand in this notebook after it has run from top to bottom. The first checks help you on the way; your functions are
# graded on other inputs. Predictions are **distances** (small is good), measurements **errors** (small is good).

# %%
import numpy as np

from t2v import transfer

# %% [markdown]
# ## Problem 10.1 Pairs in order (15 points)
#
# Kendall's $\tau$ is the share of pairs of sources that prediction and measurement put into the same order, minus the share that they put into
# opposite orders. Write `kendall(predicted, measured)` (no ties). What is $\tau$ if a quarter of the pairs is in the wrong order?


# %%
def kendall(predicted, measured):
    """Kendall's tau of two arrays without ties."""
    ### BEGIN SOLUTION
    i, j = np.triu_indices(len(predicted), k=1)
    return float(np.mean(np.sign(predicted[i] - predicted[j]) * np.sign(measured[i] - measured[j])))
    ### END SOLUTION


# %%
# A first check against the package.
p, m = np.array([0.1, 0.4, 0.2, 0.9]), np.array([0.3, 0.35, 0.2, 0.5])
assert np.isclose(kendall(p, m), transfer.compare(p, m).kendall)

# %% tags=["hidden"]
from coursework import Problem, Written


def _related(rng):
    predicted = rng.normal(size=7)
    return predicted, predicted + rng.normal(size=7)


problem_1 = Problem(
    "10.1",
    15,
    kendall,
    _related,
    {
        "Both are better when smaller: equal orders count as +1.": lambda p, m: -kendall(p, m),
        "That is the share of pairs in the same order: take the others off.": lambda p, m: (
            (1 + kendall(p, m)) / 2
        ),
        "Divide by the number of pairs, n(n − 1)/2, not by n².": lambda p, m: (
            kendall(p, m) * (len(p) - 1) / len(p) / 2
        ),
        "Each pair counts once: leave out the pairs of a source with itself.": lambda p, m: (
            kendall(p, m) * (len(p) - 1) / len(p)
        ),
        "That is Pearson's correlation.": lambda p, m: float(np.corrcoef(p, m)[0, 1]),
        "That is Spearman's correlation of ranks.": lambda p, m: transfer.compare(p, m).spearman,
    },
)

# %% [markdown]
# ## Problem 10.2 A short list (20 points)
#
# You can afford to fine-tune from $k$ sources and keep the best. Write `shortlist_regret(predicted, measured, k)`: the error of the best among the
# $k$ sources with the smallest *predicted* distance, minus the error of the best source of all. What is it for $k = n$?


# %%
def shortlist_regret(predicted, measured, k):
    """Regret of trying the k sources that are predicted to be best."""
    ### BEGIN SOLUTION
    tried = np.argsort(predicted)[:k]
    return float(measured[tried].min() - measured.min())
    ### END SOLUTION


# %%
# A first check: with one source it is the package's regret, with all there is none.
p, m = np.array([0.1, 0.4, 0.2, 0.9]), np.array([0.5, 0.35, 0.3, 0.2])
assert np.isclose(shortlist_regret(p, m, 1), transfer.compare(p, m).regret)
assert shortlist_regret(p, m, 4) == 0

# %% tags=["hidden"]


def _candidates(rng):
    return rng.permutation(10) / 10, rng.uniform(0.1, 0.9, size=10), int(rng.integers(2, 5))


problem_2 = Problem(
    "10.2",
    20,
    shortlist_regret,
    _candidates,
    {
        "You keep the best of those that you tried, not their mean.": lambda p, m, k: float(
            m[np.argsort(p)[:k]].mean() - m.min()
        ),
        "Distances: small is good. You tried the farthest sources.": lambda p, m, k: float(
            m[np.argsort(p)[-k:]].min() - m.min()
        ),
        "Take off the error of the best source of all.": lambda p, m, k: float(m[np.argsort(p)[:k]].min()),
        "That tries one source only.": lambda p, m, k: float(m[np.argmin(p)] - m.min()),
        "That is relative to the best error; the difference is asked for.": lambda p, m, k: float(
            m[np.argsort(p)[:k]].min() / m.min() - 1
        ),
        "The order comes from the predictions; the measurements are not known when you choose.": lambda p, m, k: (
            float(m[np.argsort(m)[:k]].min() - m.min())
        ),
    },
)

# %% [markdown]
# ## Problem 10.3 Two labellings of the same images (20 points)
#
# A source network sorts the target's images into its own classes. `counts[z, y]` is how often its class $z$ met the target's class $y$. Write
# `negative_conditional_entropy(counts)`: $-H(Y \mid Z)$ in **nats** of the frequencies. No table holds only positive counts. Why is a
# source with more classes favoured, and what would help?


# %%
def negative_conditional_entropy(counts):
    """−H(Y|Z) in nats; axis 0 is Z, the source's class, and axis 1 is Y."""
    ### BEGIN SOLUTION
    z, y = np.nonzero(counts)
    rows = counts.sum(axis=1)
    return float((counts[z, y] * np.log(counts[z, y] / rows[z])).sum() / counts.sum())
    ### END SOLUTION


# %%
# A first check against the package, which wants the labels and not the table.
counts = np.array([[5, 0, 1], [2, 7, 0]])
z, y = (np.repeat(v, counts.ravel()) for v in np.indices(counts.shape).reshape(2, -1))
assert np.isclose(negative_conditional_entropy(counts), transfer.nce(z, y))

# %% tags=["hidden"]


def _counts(rng):
    counts = rng.integers(0, 9, size=(4, 3))
    counts[0, 0] = 0
    return (counts + np.array([[0, 0, 1]]),)


def _open(counts):
    p = counts / counts.sum()
    rows = np.broadcast_to(p.sum(axis=1, keepdims=True), p.shape)
    use = p > 0
    return float((p[use] * np.log(p[use] / rows[use])).sum())


def _marginal(p):
    return float((p[p > 0] * np.log(p[p > 0])).sum())


problem_3 = Problem(
    "10.3",
    20,
    negative_conditional_entropy,
    _counts,
    {
        "That is in bits.": lambda c: _open(c) / np.log(2),
        "That is −H(Z|Y): the axes are swapped.": lambda c: _open(c.T),
        "The score is −H(Y|Z), never positive.": lambda c: -_open(c),
        "Images count alike, so source classes count as often as they occur: weigh the rows.": lambda c: (
            float(np.mean([_marginal(row / row.sum()) for row in c]))
        ),
        "That is −H(Y,Z), of the pair: add H(Z).": lambda c: _marginal(c / c.sum()),
        "Divide by the number of images.": lambda c: _open(c) * c.sum(),
    },
)

# %% [markdown]
# ## Problem 10.4 What it saves (10 points)
#
# There are $n$ tasks. To measure all transfers, one fine-tunes from each task to each *other*, at `transfer` hours. With embeddings, at `embed` hours a
# task, one fine-tunes to every task from the best $k$ only. Write `speedup(n, embed, transfer, k)`: hours of the first over hours of the second.


# %%
def speedup(n, embed, transfer, k):
    """Cost of measuring all transfers over that of embedding and trying k sources a task."""
    ### BEGIN SOLUTION
    return n * (n - 1) * transfer / (n * embed + n * k * transfer)
    ### END SOLUTION


# %%
# A first check: free embeddings and one trial a task save the factor n − 1.
assert np.isclose(speedup(20, 0.0, 3.0, 1), 19)

# %% tags=["hidden"]
problem_4 = Problem(
    "10.4",
    10,
    speedup,
    lambda rng: (
        int(rng.integers(5, 60)),
        float(rng.uniform(0.1, 1)),
        float(rng.uniform(1, 9)),
        int(rng.integers(1, 4)),
    ),
    {
        "No task is transferred to itself: n(n − 1).": lambda n, e, t, k: n * t / (e + k * t),
        "Transfer has a direction: each pair counts twice.": lambda n, e, t, k: (n - 1) * t / 2 / (e + k * t),
        "The k trials a task cost hours too.": lambda n, e, t, k: (n - 1) * t / e,
        "The ratio is upside down.": lambda n, e, t, k: (e + k * t) / ((n - 1) * t),
        "One embedding a task: n of them, not n(n − 1).": lambda n, e, t, k: (
            (n - 1) * t / ((n - 1) * e + k * t)
        ),
        "k trials for each of the n targets.": lambda n, e, t, k: n * (n - 1) * t / (n * e + k * t),
    },
)

# %% [markdown]
# ## Problem 10.5 A gain with an error bar (20 points)
#
# With each of $n$ seeds an expert was fine-tuned, with the error `transferred[i]`, and the same network trained without it, with the error
# `scratch[i]`, **on the same split**. The gain is the ratio of means, $D = \bar t / \bar s - 1$. Derive its standard error to first order: with
# $r = \bar t/\bar s$ it is the standard error of the mean of $t_i - r s_i$ (with $n - 1$), divided by $\bar s$. Write
# `gain_with_error(transferred, scratch)`, which returns the pair. What does pairing buy if hard splits are hard for both?


# %%
def gain_with_error(transferred, scratch):
    """(gain, standard error) of fine-tuning over seeds, for paired runs."""
    ### BEGIN SOLUTION
    ratio = transferred.mean() / scratch.mean()
    left = transferred - ratio * scratch
    return ratio - 1, left.std(ddof=1) / np.sqrt(len(left)) / scratch.mean()
    ### END SOLUTION


# %%
# A first check by simulation: the spread of the gain over many repetitions of five paired runs.
rng = np.random.default_rng(0)
hard = rng.normal(0, 0.03, size=(3000, 5))
scratch = 0.4 + hard + rng.normal(0, 0.01, size=hard.shape)
moved = 0.3 + 0.75 * hard + rng.normal(0, 0.01, size=hard.shape)
gains, errors = np.transpose([gain_with_error(t, s) for t, s in zip(moved, scratch, strict=True)])
assert np.isclose(np.sqrt(np.mean(errors**2)), gains.std(), rtol=0.1)
assert np.isclose(gains.mean(), transfer.gain(0.3, 0.4), atol=0.005)

# %% tags=["hidden"]


def _runs(rng):
    hard = rng.normal(0, 0.05, size=6)
    return 0.3 + 0.7 * hard + rng.normal(0, 0.01, 6), 0.4 + hard + rng.normal(0, 0.02, 6)


problem_5 = Problem(
    "10.5",
    20,
    gain_with_error,
    _runs,
    {
        "That is the mean of the ratios; the gain is the ratio of the means.": lambda t, s: (
            (t / s - 1).mean(),
            (t / s).std(ddof=1) / np.sqrt(len(t)),
        ),
        "Divide by n − 1 in the variance.": lambda t, s: (
            t.mean() / s.mean() - 1,
            (t - t.mean() / s.mean() * s).std() / np.sqrt(len(t)) / s.mean(),
        ),
        "That is the standard deviation of one run: the mean of n runs has 1/√n of it.": lambda t, s: (
            t.mean() / s.mean() - 1,
            (t - t.mean() / s.mean() * s).std(ddof=1) / s.mean(),
        ),
        "The runs are paired: the errors of t and s are not independent.": lambda t, s: (
            t.mean() / s.mean() - 1,
            np.sqrt(t.var(ddof=1) + (t.mean() / s.mean()) ** 2 * s.var(ddof=1)) / np.sqrt(len(t)) / s.mean(),
        ),
        "The gain is negative where transfer helps: the sign.": lambda t, s: (
            1 - t.mean() / s.mean(),
            (t - t.mean() / s.mean() * s).std(ddof=1) / np.sqrt(len(t)) / s.mean(),
        ),
        "The error of the gain is relative: divide by the mean of scratch.": lambda t, s: (
            t.mean() / s.mean() - 1,
            (t - t.mean() / s.mean() * s).std(ddof=1) / np.sqrt(len(t)),
        ),
    },
)

# %% [markdown]
# ## Problem 10.6 A fair comparison (15 points, graded by a person)
#
# "Our score reaches $\tau = 0.61$ on the twelve sources of one target; LogME reaches 0.54." In at most 150 words: what do you need to know before you
# believe that the score is better, which baseline without any score must be shown, and why may $\tau$ be the wrong measure for a user?
#
# ### BEGIN SOLUTION
# The error of the difference: over targets, sources and the seeds of the measured errors; one target with 66 pairs says little, and both scores
# are computed on the same sources, so the bootstrap must be paired (6 points). Whether the score's constants ($\alpha$, layers) were chosen on this
# target (2). Baselines: always the same good source (ImageNet, or the largest), the best source on average, chance (3). A user takes the
# first or the first few: regret counts, and $\tau$ may be high because bad sources are ordered well (4).
# ### END SOLUTION

# %% tags=["hidden"]
problem_6 = Written("10.6", 15)
