# %% [markdown]
# # Problem set 7: Fisher's matrix
#
# To chapter 7 of *The Information in a Task*. Write your answers where a cell says so, keep the names of the functions,
# and hand in this notebook after it has run from top to bottom. The first checks help you on the way; your functions are
# graded on other inputs. The Fisher matrix is a **mean** over the samples, with labels from the model, in **nats**.

# %%
import numpy as np
import torch
from torch import nn

from t2v import fisher

# %% [markdown]
# ## Problem 7.1 Logistic regression (20 points)
#
# The model says $p(y = 1 \mid x) = 1/(1 + e^{-w \cdot x})$. Derive its Fisher matrix with respect to $w$, and write
# `logistic_fisher(w, x)` for weights of shape $(d,)$ and inputs of shape $(n, d)$. Why do no labels occur in it?


# %%
def logistic_fisher(w, x):
    """Fisher matrix (d, d) of logistic regression, mean over the rows of x."""
    ### BEGIN SOLUTION
    p = 1 / (1 + np.exp(-x @ w))
    return (x * (p * (1 - p))[:, None]).T @ x / len(x)
    ### END SOLUTION


# %%
# A first check: the package's matrix of a network with the logits 0 and w·x.
class Logistic(nn.Module):
    """Two logits, the first of which is 0."""

    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(torch.as_tensor(w))

    def forward(self, x):
        """Return the logits."""
        one = (x @ self.w)[:, None]
        return torch.cat([torch.zeros_like(one), one], dim=1)


rng = np.random.default_rng(0)
w, x = rng.normal(size=3), rng.normal(size=(40, 3))
assert np.allclose(logistic_fisher(w, x), fisher.full(Logistic(w), torch.as_tensor(x)))

# %% tags=["hidden"]
from coursework import Problem, Written


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


problem_1 = Problem(
    "7.1",
    20,
    logistic_fisher,
    lambda rng: (rng.normal(size=4), rng.normal(size=(12, 4))),
    {
        "A mean over the samples, not a sum: divide by n.": lambda w, x: len(x) * logistic_fisher(w, x),
        "The weight p(1 − p) is missing.": lambda w, x: x.T @ x / len(x),
        "The weight is p(1 − p), the variance of the label, not p.": lambda w, x: (
            (x * _sigmoid(x @ w)[:, None]).T @ x / len(x)
        ),
        "The mean of products, not the product of means: each sample has its own p(1 − p).": lambda w, x: (
            (_sigmoid(x @ w) * (1 - _sigmoid(x @ w))).mean() * x.T @ x / len(x)
        ),
        "That squares the mean gradient's weight: E (y − p)² = p(1 − p), not (p(1 − p))².": lambda w, x: (
            (x * ((_sigmoid(x @ w) * (1 - _sigmoid(x @ w))) ** 2)[:, None]).T @ x / len(x)
        ),
    },
)

# %% [markdown]
# ## Problem 7.2 Two small factors for a large matrix (20 points)
#
# A linear layer has inputs $a$ and, at its outputs, the gradients $g$ of $\log p$; the gradient with respect to $W$, of shape
# (out, in), is $g a^\top$. Kronecker-factored curvature replaces the mean of
# $\mathrm{vec}(g a^\top)\,\mathrm{vec}(g a^\top)^\top$, where vec goes through $W$ **row by row** as PyTorch's `flatten` does, by a
# product of two small means. Write `kronecker(a, g)` for arrays $(n, \text{in})$ and $(n, \text{out})$; the result has shape
# (out·in, out·in). When is the replacement exact?


# %%
def kronecker(a, g):
    """Kronecker-factored Fisher matrix of a linear layer, for weights flattened row by row."""
    ### BEGIN SOLUTION
    return np.kron(g.T @ g / len(g), a.T @ a / len(a))
    ### END SOLUTION


# %%
# A first check: for one sample nothing is lost, nor for two of opposite signs.
a, g = rng.normal(size=(1, 3)), rng.normal(size=(1, 2))
score = np.outer(g, a).ravel()
assert np.allclose(kronecker(a, g), np.outer(score, score))
assert np.allclose(kronecker(np.vstack([a, -a]), np.vstack([g, -g])), np.outer(score, score))

# %% tags=["hidden"]
problem_2 = Problem(
    "7.2",
    20,
    kronecker,
    lambda rng: (rng.normal(size=(10, 3)) + 0.5, rng.normal(size=(10, 4))),
    {
        "The order: for weights that are flattened row by row, the output's factor comes first.": lambda a, g: (
            np.kron(a.T @ a / len(a), g.T @ g / len(g))
        ),
        "Each factor is a mean: divide both by n.": lambda a, g: np.kron(g.T @ g, a.T @ a / len(a)),
        "Each factor is a mean: divide both by n, not none.": lambda a, g: np.kron(g.T @ g, a.T @ a),
        "That is the exact matrix; its factorisation is asked for.": lambda a, g: (
            np.einsum("no,ni,np,nj->oipj", g, a, g, a).reshape(12, 12) / len(a)
        ),
        "Second moments, not covariances: do not take the mean off.": lambda a, g: np.kron(
            g.T @ g / len(g) - np.outer(g.mean(0), g.mean(0)),
            a.T @ a / len(a) - np.outer(a.mean(0), a.mean(0)),
        ),
        "The mean of the squares, not the square of the mean.": lambda a, g: np.kron(
            np.outer(g.mean(0), g.mean(0)), np.outer(a.mean(0), a.mean(0))
        ),
    },
)

# %% [markdown]
# ## Problem 7.3 A determinant of a million rows (20 points)
#
# $F = \tfrac1n G^\top G$ from $n$ scores, the rows of $G$, of shape $(n, k)$ with $k \gg n$. Derive $\log |F + \lambda I|$ without ever
# forming a $k \times k$ matrix, and write `damped_logdet(scores, damping)` in nats. It must work for $k = 10^6$.


# %%
def damped_logdet(scores, damping):
    """log|F + damping·I| in nats, F = scoresᵀ scores / n, through an (n, n) matrix."""
    ### BEGIN SOLUTION
    n, k = scores.shape
    small = scores @ scores.T / n + damping * np.eye(n)
    return float(np.linalg.slogdet(small)[1] + (k - n) * np.log(damping))
    ### END SOLUTION


# %%
# A first check: a case that is small enough for the large matrix.
scores = rng.normal(size=(5, 30))
large = scores.T @ scores / 5 + 0.1 * np.eye(30)
assert np.isclose(damped_logdet(scores, 0.1), np.linalg.slogdet(large)[1])
assert np.isfinite(damped_logdet(rng.normal(size=(3, 1_000_000)), 1e-3))

# %% tags=["hidden"]
problem_3 = Problem(
    "7.3",
    20,
    damped_logdet,
    lambda rng: (rng.normal(size=(6, int(rng.integers(15, 60)))), float(rng.uniform(0.01, 0.5))),
    {
        "The other k − n eigenvalues are λ, and their logarithms count.": lambda s, d: float(
            np.linalg.slogdet(s @ s.T / len(s) + d * np.eye(len(s)))[1]
        ),
        "F is a mean: the small matrix is divided by n as well.": lambda s, d: float(
            np.linalg.slogdet(s @ s.T + d * np.eye(len(s)))[1] + (s.shape[1] - len(s)) * np.log(d)
        ),
        "The small matrix has n eigenvalues already: k − n are left, not k.": lambda s, d: float(
            np.linalg.slogdet(s @ s.T / len(s) + d * np.eye(len(s)))[1] + s.shape[1] * np.log(d)
        ),
        "That is log|F/λ + I|.": lambda s, d: float(
            np.linalg.slogdet(s @ s.T / len(s) / d + np.eye(len(s)))[1]
        ),
        "That is in bits.": lambda s, d: damped_logdet(s, d) / np.log(2),
    },
)

# %% [markdown]
# ## Problem 7.4 How noisy is one draw? (20 points)
#
# For one image with class probabilities $p$, of shape $(c,)$, and gradients $g_y = \nabla_w \log p(y)$, the rows of an array
# $(c, k)$, the diagonal of the Fisher matrix is the mean of $g_y^2$ over $y \sim p$. One may also draw one $y$ and take its $g_y^2$.
# Write `relative_noise(p, gradients)`: the standard deviation of the draw divided by its mean, for each of the $k$ weights. What
# happens to it for an image that the model is nearly sure of?


# %%
def relative_noise(p, gradients):
    """Standard deviation over mean of the squared gradient of a drawn label, shape (k,)."""
    ### BEGIN SOLUTION
    squares = gradients**2
    mean = p @ squares
    return np.sqrt(p @ squares**2 - mean**2) / mean
    ### END SOLUTION


# %%
# A first check: a sure model seldom draws the label that matters. Two classes, p = (1 − e, e): g is (−e, 1 − e).
sure = [float(relative_noise(np.array([1 - e, e]), np.array([[-e], [1 - e]]))[0]) for e in (0.4, 0.1, 0.01)]
assert sure[0] < sure[1] < sure[2]
assert np.isclose(sure[1] ** 2, 1 / 0.09 - 4)  # chapter 8 has this special case: 1/q − 4 with q = p(1 − p)

# %% tags=["hidden"]


def _image(rng):
    p = rng.dirichlet(np.ones(5))
    jacobian = rng.normal(size=(5, 6))
    return p, jacobian - p @ jacobian


problem_4 = Problem(
    "7.4",
    20,
    relative_noise,
    _image,
    {
        "That is the variance over the mean: take the root.": lambda p, g: (
            (p @ g**4 - (p @ g**2) ** 2) / (p @ g**2)
        ),
        "Divide by the mean.": lambda p, g: np.sqrt(p @ g**4 - (p @ g**2) ** 2),
        "The labels are drawn from p: classes do not count alike.": lambda p, g: (
            (g**2).std(axis=0) / (g**2).mean(axis=0)
        ),
        "Take the squared mean off: that is the root of the second moment.": lambda p, g: (
            np.sqrt(p @ g**4) / (p @ g**2)
        ),
        "That is the noise of the gradient; the noise of its square is asked for.": lambda p, g: np.sqrt(
            p @ g**2
        ),
    },
)

# %% [markdown]
# ## Problem 7.5 The Fisher that vanishes (20 points, graded by a person)
#
# A paper trains a network to zero training error and reports that "the Fisher information of the training set" fell by three
# orders of magnitude in the last epochs. The code squares the gradient of the loss at the *training labels*. In at most 200 words:
# which matrix was computed, why does it vanish at the end whatever the network has learnt, and what does the true Fisher matrix
# do at the same time on the training images and on fresh ones?
#
# ### BEGIN SOLUTION
# The empirical Fisher: mean of squared gradients at the given labels (4 points). At interpolation $p(y_i \mid x_i) \to 1$, every
# per-sample gradient is proportional to $e_{y} - p \to 0$, also for random labels that carry no information (6). If in addition a
# batch mean was squared, the value is smaller still by about the batch size (bonus 2). The true one, with labels from the model,
# has the weight $\operatorname{diag} p - pp^\top$ and falls on the *training* images as well, since the model is sure of them (5); on
# fresh images the model is less sure, and it can remain large. Report it there (5).
# ### END SOLUTION

# %% tags=["hidden"]
problem_5 = Written("7.5", 20)
