# %% [markdown]
# # Problem set 9: Distances between tasks
#
# To chapter 9 of *The Information in a Task*. Write your answers where a cell says so, keep the names of the functions,
# and hand in this notebook after it has run from top to bottom. The first checks help you on the way; your functions are
# graded on other inputs.

# %%
import numpy as np

from t2v import distance

# %% [markdown]
# ## Problem 9.1 Half alike (20 points)
#
# Two embeddings are equal on a share $s$ of the filters; on the others, $F_b = c F_a$. Derive $d_\mathrm{sym}$ by hand, and write
# `partly_scaled(s, c)`. Which part of the embeddings does the result not depend on? What is it for $s = 0$, whatever $c$ is?


# %%
def partly_scaled(s, c):
    """Symmetric distance of two embeddings that agree on a share s of the filters, and differ by a factor c on the rest."""
    ### BEGIN SOLUTION
    a, b = 1 / (1 + c), c / (1 + c)
    inner = s / 4 + (1 - s) * a * b
    return 1 - inner / np.sqrt((s / 4 + (1 - s) * a**2) * (s / 4 + (1 - s) * b**2))
    ### END SOLUTION


# %%
# A first check: the package's distance of one such pair.
first = np.random.default_rng(0).exponential(size=10)
second = first * np.where(np.arange(10) < 4, 1, 7)
assert np.isclose(partly_scaled(0.4, 7.0), distance.symmetric(first, second))

# %% tags=["hidden"]
from coursework import Problem, Written

problem_1 = Problem(
    "9.1",
    20,
    partly_scaled,
    lambda rng: (float(rng.uniform(0.1, 0.9)), float(rng.uniform(1.5, 20))),
    {
        "That is the cosine itself: the distance is 1 minus it.": lambda s, c: 1 - partly_scaled(s, c),
        "s and 1 − s are exchanged: s is the share that is equal.": lambda s, c: partly_scaled(1 - s, c),
        "That is the plain cosine distance of constant embeddings; d_sym compares F_a/(F_a+F_b) with F_b/(F_a+F_b).": (
            lambda s, c: 1 - (s + (1 - s) * c) / np.sqrt(s + (1 - s) * c**2)
        ),
        "Where the embeddings are equal both ratios are ½, not 1.": lambda s, c: (
            1
            - (s + (1 - s) * c / (1 + c) ** 2)
            / np.sqrt((s + (1 - s) / (1 + c) ** 2) * (s + (1 - s) * c**2 / (1 + c) ** 2))
        ),
        "A root is missing: divide by both norms.": lambda s, c: (
            1
            - (s / 4 + (1 - s) * c / (1 + c) ** 2)
            / ((s / 4 + (1 - s) / (1 + c) ** 2) * (s / 4 + (1 - s) * c**2 / (1 + c) ** 2))
        ),
    },
)

# %% [markdown]
# ## Problem 9.2 Is it a metric? (15 points)
#
# Write `worst_violation(d)`: the largest $d_{ik} - d_{ij} - d_{jk}$ over all triples of **different** tasks, for a symmetric matrix of
# distances. A metric has none above 0. What does $d_\mathrm{sym}$ have, what its square root, on random embeddings? (Try it.)


# %%
def worst_violation(d):
    """Largest d(i,k) − d(i,j) − d(j,k) over triples of different tasks."""
    ### BEGIN SOLUTION
    excess = d[:, None, :] - d[:, :, None] - d[None, :, :]
    i, j, k = np.indices(excess.shape)
    return float(excess[(i != j) & (j != k) & (i != k)].max())
    ### END SOLUTION


# %%
# A first check: points on a line, of which the middle one is a detour of length 0; then their squared distances; and
# three tasks that are all as far apart, where every detour is longer by 1.
points = np.array([0.0, 1.0, 3.0])
line = np.abs(points[:, None] - points)
assert np.isclose(worst_violation(line), 0)
assert np.isclose(worst_violation(line**2), 9 - 1 - 4)
assert np.isclose(worst_violation(1 - np.eye(3)), -1)

# %% tags=["hidden"]


def _distances(rng):
    scatter = rng.uniform(0.2, 1, size=(6, 6))
    d = (scatter + scatter.T) / 2
    np.fill_diagonal(d, 0)
    return (d,)


def _excess(d):
    return d[:, None, :] - d[:, :, None] - d[None, :, :]


def _different(d):
    i, j, k = np.indices((len(d),) * 3)
    return _excess(d)[(i != j) & (j != k) & (i != k)]


problem_2 = Problem(
    "9.2",
    15,
    worst_violation,
    lambda rng: (_distances(rng)[0] ** float(rng.choice([0.5, 3])),),
    {
        "Three different tasks: with i = j the difference is 0, and hides a matrix that has none.": lambda d: (
            float(_excess(d).max())
        ),
        "That is the smallest: the worst violation is the largest difference.": lambda d: float(
            _different(d).min()
        ),
        "The sign: the long side minus the two short ones.": lambda d: float((-_different(d)).max()),
    },
)

# %% [markdown]
# ## Problem 9.3 How well does a grouping fit? (20 points)
#
# For a task, let $a$ be its mean distance to the *other* tasks of its group, and $b$ the least of its mean distances to the other groups. Its
# silhouette is $(b - a)/\max(a, b)$. Write `silhouette(d, labels)`: the mean over all tasks. Every group has two tasks or more.


# %%
def silhouette(d, labels):
    """Mean silhouette of a grouping, from a matrix of distances."""
    ### BEGIN SOLUTION
    groups = np.unique(labels)
    member = labels[:, None] == groups
    sums = d @ member
    own = np.argmax(member, axis=1)
    rows = np.arange(len(d))
    a = sums[rows, own] / (member.sum(axis=0)[own] - 1)
    means = np.where(member, np.inf, sums / member.sum(axis=0))
    b = means.min(axis=1)
    return float(np.mean((b - a) / np.maximum(a, b)))
    ### END SOLUTION


# %%
# A first check: two tight groups far apart, by hand; and the same points grouped badly.
points = np.array([0.0, 1.0, 10.0, 11.0])
line = np.abs(points[:, None] - points)
assert np.isclose(silhouette(line, np.array([0, 0, 1, 1])), (9.5 / 10.5 + 8.5 / 9.5) / 2)
assert silhouette(line, np.array([0, 1, 0, 1])) < 0

# %% tags=["hidden"]


def _groups(rng):
    labels = rng.permutation([0, 0, 0, 1, 1, 2, 2, 2])
    points = rng.normal(size=(8, 2)) + labels[:, None]
    return np.linalg.norm(points[:, None] - points, axis=2), labels


def _silhouette(itself=False, farthest=False, pooled=False, sign=1, divided=True):
    def value(d, labels):
        scores = []
        for i in range(len(d)):
            others = [k for k in np.unique(labels) if k != labels[i]]
            a = d[i, labels == labels[i]].sum() / (np.sum(labels == labels[i]) - (not itself))
            means = [d[i, labels == k].mean() for k in others]
            b = d[i, labels != labels[i]].mean() if pooled else max(means) if farthest else min(means)
            scores.append(sign * (b - a) / (max(a, b) if divided else 1))
        return float(np.mean(scores))

    return value


problem_3 = Problem(
    "9.3",
    20,
    silhouette,
    _groups,
    {
        "a is the mean over the *other* tasks of the group: the task itself, at distance 0, does not count.": _silhouette(
            itself=True
        ),
        "b is the mean distance to the nearest other group, not to the farthest.": _silhouette(farthest=True),
        "b is the least of the groups' means, not the mean over all tasks of other groups.": _silhouette(
            pooled=True
        ),
        "The sign: a good grouping has b > a, and a positive silhouette.": _silhouette(sign=-1),
        "Divide by the larger of a and b.": _silhouette(divided=False),
    },
)

# %% [markdown]
# ## Problem 9.4 Where the ranking turns (15 points)
#
# Two sources have the symmetric distances $d_1$, $d_2$ to the target and $t_1$, $t_2$ to the reference $t_0$. Derive the
# $\alpha$ at which $d_\mathrm{asym}$ ranks them alike, and write `turning_alpha(d1, d2, t1, t2)` for $t_1 \ne t_2$. On which side of it does the source that is
# nearer to the target win, and which sign of $\alpha$ says that the choice of $\alpha \ge 0$ does not matter?


# %%
def turning_alpha(d1, d2, t1, t2):
    """The alpha at which two sources have the same asymmetric distance."""
    ### BEGIN SOLUTION
    return (d1 - d2) / (t1 - t2)
    ### END SOLUTION


# %%
# A first check.
alpha = turning_alpha(0.30, 0.25, 0.6, 0.2)
assert np.isclose(0.30 - alpha * 0.6, 0.25 - alpha * 0.2)

# %% tags=["hidden"]
problem_4 = Problem(
    "9.4",
    15,
    turning_alpha,
    lambda rng: tuple(float(v) for v in rng.uniform(0.1, 0.9, size=4)),
    {
        "The sign: α times the distance to t0 is taken *off*.": lambda d1, d2, t1, t2: (d2 - d1) / (t1 - t2),
        "That is 1/α.": lambda d1, d2, t1, t2: (t1 - t2) / (d1 - d2),
        "That is where the asymmetric distances are 0, not where they are equal.": lambda d1, d2, t1, t2: (
            d1 / t1
        ),
        "Differences, not sums.": lambda d1, d2, t1, t2: (d1 + d2) / (t1 + t2),
    },
)

# %% [markdown]
# ## Problem 9.5 Everybody's neighbour (15 points)
#
# In many dimensions a few points tend to be the nearest neighbour of many. Write `popularity(d)`: for each task, of how many **other** tasks it
# is the nearest neighbour (no ties). Apply it to embeddings of your own, or to `np.exp(rng.normal(size=(30, 1000)))`, with $d_\mathrm{sym}$: is
# there a hub, and would it pass for "a good source for everything"?


# %%
def popularity(d):
    """For each task, the number of other tasks whose nearest neighbour it is."""
    ### BEGIN SOLUTION
    others = d + np.diag(np.full(len(d), np.inf))
    return np.bincount(others.argmin(axis=1), minlength=len(d))
    ### END SOLUTION


# %%
# A first check: on a line, the middle of three is the neighbour of both ends.
points = np.array([0.0, 1.1, 2.0])
assert popularity(np.abs(points[:, None] - points)).tolist() == [0, 2, 1]

# %% tags=["hidden"]


def _asymmetric(rng):
    d = rng.uniform(0.2, 1, size=(8, 8))
    np.fill_diagonal(d, 0)
    return (d,)


problem_5 = Problem(
    "9.5",
    15,
    popularity,
    _asymmetric,
    {
        "Each task is nearest to itself: leave the diagonal out.": lambda d: np.bincount(
            d.argmin(axis=1), minlength=len(d)
        ),
        "d[i, j] is the distance from i to j: row i knows the neighbours of i. The axes are swapped.": lambda d: (
            np.bincount((d + np.diag(np.full(len(d), np.inf))).argmin(axis=0), minlength=len(d))
        ),
        "That counts the farthest task, not the nearest.": lambda d: np.bincount(
            d.argmax(axis=1), minlength=len(d)
        ),
        "That is each task's neighbour; count how often a task is one.": lambda d: (
            d + np.diag(np.full(len(d), np.inf))
        ).argmin(axis=1),
        "A count, not a share.": lambda d: popularity(d) / len(d),
    },
)

# %% [markdown]
# ## Problem 9.6 Agreement with a tree (15 points, graded by a person)
#
# Eight of ten tasks have their nearest neighbour in their own family, "so the distance recovers the taxonomy". In at most 150 words: which
# chance level belongs to this number, which trivial explanations (the rendering, the number of classes, the difficulty) must be excluded,
# and how would you exclude one of them?
#
# ### BEGIN SOLUTION
# Chance is the mean of $(n_g - 1)/(n - 1)$ over the tasks, for families of sizes $n_g$; with a few large families it is high. A p-value comes
# from permuting the labels over the tasks (5 points). Members of one family often share the source of the images, fonts or cameras, size, and number of
# classes, so that any embedding, raw pixel statistics too, finds them (5). Exclude: neighbours of the same source or rendering do
# not count; vary the rendering within the family and share it between families; compare with a baseline embedding (mean pixel,
# features), or use the partial Mantel correlation given the difference in norms (5 for one that fits).
# ### END SOLUTION

# %% tags=["hidden"]
problem_6 = Written("9.6", 15)
