# %% [markdown]
# # Problem set 4: The Lagrangian as a loss
#
# To chapter 4 of *The Information in a Task*. Write your answers where a cell says so, keep the names of the functions,
# and hand in this notebook after it has run from top to bottom. The first checks help you on the way; your functions are
# graded on other inputs. Mind the unit: each problem names it.

# %%
import numpy as np
import torch

from t2v import variational

# %% [markdown]
# ## Problem 4.1 Paying with the wrong prior (20 points)
#
# $X$ is standard normal, and $T = X + \text{noise}$ with Gaussian noise of variance $s^2$. Training charges
# $R = \mathbb{E}_x \mathrm{KL}(p(t \mid x) \Vert \mathcal{N}(0, v))$. Derive $R$ in **nats** and write `rate(noise_var, prior_var)`.
# For which $v$ is it equal to $I(T;X)$?


# %%
def rate(noise_var, prior_var):
    """Mean KL in nats of N(x, noise_var) to N(0, prior_var), for standard normal x."""
    ### BEGIN SOLUTION
    return 0.5 * ((1 + noise_var) / prior_var - 1 + np.log(prior_var / noise_var))
    ### END SOLUTION


# %%
# A first check: the mean over many x of the package's divergence; with v = 1 + s² it is the channel's information.
x = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0))
kl = variational.kl_normal(
    x, torch.full_like(x, np.log(0.5)), torch.zeros_like(x), torch.full_like(x, np.log(2.0))
)
assert np.isclose(rate(0.5, 2.0), float(kl.mean()), atol=0.01)
assert np.isclose(rate(0.25, 1.25), 0.5 * np.log(1 + 1 / 0.25))

# %% tags=["hidden"]
from coursework import Problem, Written

problem_1 = Problem(
    "4.1",
    20,
    rate,
    lambda rng: (float(rng.uniform(0.1, 2)), float(rng.uniform(0.5, 3))),
    {
        "The mean moves with x: E x² = 1 belongs into the first term.": lambda s, v: (
            0.5 * (s / v - 1 + np.log(v / s))
        ),
        "The factor ½ is missing.": lambda s, v: 2 * rate(s, v),
        "That is in bits.": lambda s, v: rate(s, v) / np.log(2),
        "That is I(T;X), which R equals for the best prior only.": lambda s, v: 0.5 * np.log(1 + 1 / s),
        "The logarithm is of prior variance over noise variance, not the inverse.": lambda s, v: (
            0.5 * ((1 + s) / v - 1 + np.log(s / v))
        ),
    },
)

# %% [markdown]
# ## Problem 4.2 Water in reverse (20 points)
#
# Independent Gaussian components with variances $\sigma_i^2$ are to be reproduced with a *total* squared error of at most $D$.
# The rate is least when every component gets the error $D_i = \min(\theta, \sigma_i^2)$ with one level $\theta$: who lies below
# the level is not sent at all. Write `gaussian_rate(variances, distortion)`: find $\theta$ with $\sum_i D_i = D$ and return
# $\sum_i \tfrac12 \log_2 (\sigma_i^2 / D_i)$, in **bits**, for $0 < D < \sum_i \sigma_i^2$.


# %%
def gaussian_rate(variances, distortion):
    """Rate in bits of independent Gaussian components at this total squared error."""
    ### BEGIN SOLUTION
    ordered = np.sort(variances)
    below = np.concatenate([[0.0], np.cumsum(ordered)[:-1]])
    levels = (distortion - below) / np.arange(len(ordered), 0, -1)  # if exactly the i smallest are not sent
    level = levels[np.argmax(levels <= ordered)]
    return float(0.5 * np.log2(np.maximum(ordered / level, 1)).sum())
    ### END SOLUTION


# %%
# A first check: with equal variances all share the error; a component that is tiny is not worth a bit.
assert np.isclose(gaussian_rate(np.array([1.0, 1.0]), 0.5), 2)
assert np.isclose(gaussian_rate(np.array([1.0, 1e-9]), 0.25), 1)

# %% tags=["hidden"]


def _components(rng):
    variances = rng.exponential(size=int(rng.integers(4, 9))) + 0.01
    return variances, float(rng.uniform(0.3, 0.7) * variances.sum())


problem_2 = Problem(
    "4.2",
    20,
    gaussian_rate,
    _components,
    {
        "Equal shares D/k waste error on components that are smaller than their share, and give them negative bits.": (
            lambda v, d: float(0.5 * np.log2(v * len(v) / d).sum())
        ),
        "Equal shares D/k, cut at 0, do not use up D: raise the level for the others.": lambda v, d: float(
            0.5 * np.log2(np.maximum(v * len(v) / d, 1)).sum()
        ),
        "Errors in proportion to the variances are not the cheapest.": lambda v, d: float(
            0.5 * len(v) * np.log2(v.sum() / d)
        ),
        "That is in nats.": lambda v, d: np.log(2) * gaussian_rate(v, d),
        "The factor ½ is missing.": lambda v, d: 2 * gaussian_rate(v, d),
    },
    tolerance=1e-4,
)

# %% [markdown]
# ## Problem 4.3 A one-sided dropout (20 points)
#
# A unit is 0 or 1. Noise turns a 1 into a 0 with probability $p$; a 0 stays. Derive the capacity of this channel in **bits** in
# closed form and write `one_sided_capacity(p)` for $0 < p < 1$. (Write $I$ with $q = P(X = 1)$ and set its derivative to 0.
# What you get has one logarithm and one power.) How does it compare with an erasure of the same $p$?


# %%
def one_sided_capacity(p):
    """Capacity in bits of the channel that turns 1 into 0 with probability p and leaves 0 alone."""
    ### BEGIN SOLUTION
    return float(np.log2(1 + (1 - p) * p ** (p / (1 - p))))
    ### END SOLUTION


# %%
# A first check against the package's iteration.
assert np.isclose(one_sided_capacity(0.3), variational.capacity([[1.0, 0.0], [0.3, 0.7]]), atol=1e-6)

# %% tags=["hidden"]


def _h(e):
    return float(-e * np.log2(e) - (1 - e) * np.log2(1 - e))


problem_3 = Problem(
    "4.3",
    20,
    one_sided_capacity,
    lambda rng: (float(rng.uniform(0.05, 0.9)),),
    {
        "That is the erasure channel, whose output says that it was erased.": lambda p: 1 - p,
        "That is the symmetric channel, which also turns a 0 into a 1.": lambda p: 1 - _h(p),
        "That is the information of a fair input; the best input has fewer ones.": lambda p: (
            _h((1 - p) / 2) - 0.5 * _h(p)
        ),
        "That is in nats.": lambda p: np.log(2) * one_sided_capacity(p),
        "p and 1 − p are exchanged.": lambda p: one_sided_capacity(1 - p),
    },
    tolerance=1e-5,
)

# %% [markdown]
# ## Problem 4.4 Which way does the rate push? (20 points)
#
# The rate of a Gaussian encoder is $\tfrac12 \sum_j (e^{\ell_j} + \mu_j^2 - 1 - \ell_j)$ nats a sample, with means $\mu$ and
# log-variances $\ell$. Training charges its mean over the batch. Write `rate_gradient(mean, log_var)` for arrays of shape
# $(n, d)$: the gradients of that **batch mean** with respect to `mean` and to `log_var`, as a pair of arrays.
# At which log-variance does the rate leave a component in peace?


# %%
def rate_gradient(mean, log_var):
    """Gradients of the batch-mean KL to N(0, I): (with respect to mean, with respect to log_var), each (n, d)."""
    ### BEGIN SOLUTION
    n = len(mean)
    return mean / n, (np.exp(log_var) - 1) / (2 * n)
    ### END SOLUTION


# %%
# A first check: automatic differentiation of the package's divergence.
mean, log_var = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
mean.requires_grad_(), log_var.requires_grad_()
variational.kl_standard_normal(mean, log_var).mean().backward()
ours = rate_gradient(mean.detach().numpy(), log_var.detach().numpy())
assert np.allclose(ours[0], mean.grad) and np.allclose(ours[1], log_var.grad)

# %% tags=["hidden"]
problem_4 = Problem(
    "4.4",
    20,
    rate_gradient,
    lambda rng: (rng.normal(size=(6, 3)), rng.normal(size=(6, 3))),
    {
        "The loss is a mean over the batch: divide by n.": lambda m, v: (m, (np.exp(v) - 1) / 2),
        "Divide by n samples, not by n·d entries: the components are summed.": lambda m, v: (
            m / m.size,
            (np.exp(v) - 1) / (2 * m.size),
        ),
        "That is the derivative by the variance, not by its logarithm.": lambda m, v: (
            m / len(m),
            (1 - np.exp(-v)) / (2 * len(m)),
        ),
        "The ½ belongs to the log-variance too.": lambda m, v: (m / len(m), (np.exp(v) - 1) / len(m)),
        "That is the direction of descent; the gradient has the other sign.": lambda m, v: (
            -m / len(m),
            (1 - np.exp(v)) / (2 * len(m)),
        ),
    },
)

# %% [markdown]
# ## Problem 4.5 What fell? (20 points, graded by a person)
#
# A network with a Gaussian encoder is trained at $\beta = 0.001$ and at $\beta = 0.1$; its rate $\mathbb{E}\,\mathrm{KL}$ against a
# fixed prior falls from 40 nats to 9 nats. In at most 200 words: can you conclude that $I(T;X)$ fell? That $I(T;N)$ of a
# nuisance fell? Which measurement would you add in either case?
#
# ### BEGIN SOLUTION
# The rate is $I(T;X) + \mathrm{KL}(p(t) \Vert r(t))$. From 9 nats follows $I(T;X) \le 9$ in the second network; the first one
# may have had less than 40, even less than 9, with a badly fitting marginal: only the bound fell (7 points). Add a lower
# bound or sandwich that knows $p(t \mid x)$, such as `gaussian_information` (4). For a nuisance independent of the label,
# $I(T;N) \le I(T;X) - I(T;Y)$ bounds the second network if $I(T;Y)$ is bounded from below by the decoder, and says nothing
# of the first (6). Add a probe that reads $N$, on inputs that it was not fitted to; a probe gives a *lower* bound (3).
# ### END SOLUTION

# %% tags=["hidden"]
problem_5 = Written("4.5", 20)
