# %% [markdown]
# # Problem set 6: Information in the weights
#
# To chapter 6 of *The Information in a Task*. Write your answers where a cell says so, keep the names of the functions,
# and hand in this notebook after it has run from top to bottom. The first checks help you on the way; your functions are
# graded on other inputs. Mind the unit: each problem names it.

# %%
import numpy as np
from scipy.stats import binom

from t2v import information as info
from t2v import weights

# %% [markdown]
# ## Problem 6.1 What tosses tell about a coin (20 points)
#
# A coin's probability of heads $\theta$ is one of `biases`, with probabilities `prior`. $D$ are $m$ tosses. Show that
# $I(\theta; D)$ depends on the number of heads alone, and write `coin_bits(biases, prior, m)` in **bits**. No learner,
# whatever it does with $D$, has weights with more information about $\theta$: why?


# %%
def coin_bits(biases, prior, m):
    """I(θ; m tosses) in bits."""
    ### BEGIN SOLUTION
    heads = binom.pmf(np.arange(m + 1), m, np.asarray(biases)[:, None])
    return info.mutual_information(np.asarray(prior)[:, None] * heads)
    ### END SOLUTION


# %%
# A first check: one toss of a two-headed or a two-tailed coin tells all; many tosses tell which coin it is.
assert np.isclose(coin_bits([0.0, 1.0], [0.5, 0.5], 1), 1)
assert coin_bits([0.3, 0.7], [0.5, 0.5], 5) < coin_bits([0.3, 0.7], [0.5, 0.5], 300) <= 1 + 1e-9

# %% tags=["hidden"]
from coursework import Problem, Written


def _coin(rng):
    return rng.uniform(0.1, 0.9, size=4), rng.dirichlet(np.ones(4)), int(rng.integers(2, 15))


problem_1 = Problem(
    "6.1",
    20,
    coin_bits,
    _coin,
    {
        "Tosses share their coin: their bits about it do not add up.": lambda b, p, m: m * coin_bits(b, p, 1),
        "That is in nats.": lambda b, p, m: np.log(2) * coin_bits(b, p, m),
        "The coins occur with the probabilities of the prior, which need not be equal.": lambda b, p, m: (
            coin_bits(b, np.full(len(b), 1 / len(b)), m)
        ),
        "That is the entropy of the number of heads: take off what the coin leaves open.": lambda b, p, m: (
            info.entropy(p @ binom.pmf(np.arange(m + 1), m, b[:, None]))
        ),
        "That is H(θ), the most that any number of tosses could tell.": lambda b, p, m: info.entropy(p),
        "The number of heads is one of 0, …, m: m + 1 values.": lambda b, p, m: _without_last(b, p, m),
    },
)


def _without_last(b, p, m):
    joint = p[:, None] * binom.pmf(np.arange(m), m, b[:, None])
    return info.mutual_information(joint / joint.sum())


# %% [markdown]
# ## Problem 6.2 The bound with the root (20 points)
#
# McAllester's form of the PAC-Bayes bound replaces the inverse of the binary divergence by Pinsker's inequality,
# $\mathrm{kl}(p \Vert q) \ge 2 (p - q)^2$ in nats. Derive from
# $\mathrm{kl}(\text{error} \Vert \text{risk}) \le (\mathrm{KL} + \log(2\sqrt m/\delta))/m$ an upper bound on the risk in closed form, and write it
# as `mcallester(error, kl_nats, m, delta)`. When is it much looser than the form with the inverse?


# %%
def mcallester(error, kl_nats, m, delta):
    """Upper bound on the true error; the divergence is in nats. It may exceed 1."""
    ### BEGIN SOLUTION
    return error + np.sqrt((kl_nats + np.log(2 * np.sqrt(m) / delta)) / (2 * m))
    ### END SOLUTION


# %%
# A first check: it is never below the package's bound, and nearly equal to it where the error is near one half.
assert weights.pac_bayes(0.0, 50.0, 1000) < 0.6 * mcallester(0.0, 50.0, 1000, 0.05)
assert np.isclose(weights.pac_bayes(0.45, 5.0, 100_000), mcallester(0.45, 5.0, 100_000, 0.05), atol=1e-3)

# %% tags=["hidden"]
problem_2 = Problem(
    "6.2",
    20,
    mcallester,
    lambda rng: (
        float(rng.uniform(0, 0.4)),
        float(rng.uniform(1, 300)),
        int(rng.integers(100, 5000)),
        float(rng.uniform(0.01, 0.2)),
    ),
    {
        "Pinsker: kl ≥ 2(difference)², so the root is of 1/2m; the 2 is missing.": lambda e, k, m, d: (
            e + np.sqrt((k + np.log(2 * np.sqrt(m) / d)) / m)
        ),
        "The union bound's price 2√m is missing in the logarithm.": lambda e, k, m, d: (
            e + np.sqrt((k + np.log(1 / d)) / (2 * m))
        ),
        "The divergence is in nats already.": lambda e, k, m, d: (
            e + np.sqrt((k * np.log(2) + np.log(2 * np.sqrt(m) / d)) / (2 * m))
        ),
        "Add the training error: that is the gap alone.": lambda e, k, m, d: mcallester(0.0, k, m, d),
        "The root is missing.": lambda e, k, m, d: e + (k + np.log(2 * np.sqrt(m) / d)) / (2 * m),
        "2√m/δ, and not 2m/δ.": lambda e, k, m, d: e + np.sqrt((k + np.log(2 * m / d)) / (2 * m)),
    },
)

# %% [markdown]
# ## Problem 6.3 The best noise (20 points)
#
# Around its minimum $w^*$, the mean loss of one weight is $\tfrac h2 (w - w^*)^2$ nats. Among Gaussians $q = \mathcal{N}(\mu, \sigma^2)$,
# find the one that minimises $\mathbb{E}_q[\text{loss}] + \tfrac{\beta}{m} \mathrm{KL}(q \Vert \mathcal{N}(0, \lambda^2))$, and write
# `best_posterior(h, w_star, m, beta, prior_var)`, which returns the pair $(\mu, \sigma^2)$. Check the limits $\beta \to 0$ and
# $h \to 0$ on paper.


# %%
def best_posterior(h, w_star, m, beta, prior_var):
    """(mean, variance) of the Gaussian that minimises loss + beta/m · KL."""
    ### BEGIN SOLUTION
    precision = m * h / beta + 1 / prior_var
    return m * h / beta * w_star / precision, 1 / precision
    ### END SOLUTION


# %%
# A first check: no neighbour is better.
def objective(mu, var, h, w_star, m, beta, prior_var):
    """Expected loss plus price, in nats."""
    kl = weights.gaussian_kl(np.array([mu]), np.log([var]), prior_var)
    return h / 2 * ((mu - w_star) ** 2 + var) + beta / m * float(kl)


case = (2.0, 0.7, 5, 2.0, 0.3)
mu, var = best_posterior(*case)
least = objective(mu, var, *case)
assert all(objective(mu + a, var * b, *case) >= least for a in (-0.05, 0, 0.05) for b in (0.9, 1, 1.1))

# %% tags=["hidden"]
problem_3 = Problem(
    "6.3",
    20,
    best_posterior,
    lambda rng: (
        float(rng.uniform(0.1, 4)),
        float(rng.normal()),
        int(rng.integers(10, 200)),
        float(rng.uniform(0.2, 3)),
        float(rng.uniform(0.3, 3)),
    ),
    {
        "The variance, and not the standard deviation, is asked for.": lambda h, w, m, b, v: (
            best_posterior(h, w, m, b, v)[0],
            best_posterior(h, w, m, b, v)[1] ** 0.5,
        ),
        "The prior's precision 1/λ² is missing.": lambda h, w, m, b, v: (w, b / (m * h)),
        "The prior draws the mean towards 0: it is not w* itself.": lambda h, w, m, b, v: (
            w,
            best_posterior(h, w, m, b, v)[1],
        ),
        "β divides the curvature: a higher price means more noise.": lambda h, w, m, b, v: best_posterior(
            h, w, m, 1 / b, v
        ),
        "The loss is a mean over samples: m multiplies the curvature.": lambda h, w, m, b, v: best_posterior(
            h, w, 1, b, v
        ),
        "That is the precision: invert it.": lambda h, w, m, b, v: (
            best_posterior(h, w, m, b, v)[0],
            1 / best_posterior(h, w, m, b, v)[1],
        ),
    },
)

# %% [markdown]
# ## Problem 6.4 A prior for every layer (20 points)
#
# The weights of several layers, with means `mean` and log-variances `log_var`, lie in one long vector; `layer` says to which layer
# each belongs. Every layer has its own zero-mean Gaussian prior, whose variance is chosen so that the divergence is least. Show
# that what remains is $\sum_l \tfrac{k_l}{2} \log \lambda_l^2 - \tfrac12 \sum_j \log \sigma_j^2$, with $k_l$ weights in layer $l$, and
# write `layered_kl(mean, log_var, layer)` in **nats**.


# %%
def layered_kl(mean, log_var, layer):
    """Sum over layers of the KL to the layer's best zero-mean Gaussian prior, in nats."""
    ### BEGIN SOLUTION
    second = mean**2 + np.exp(log_var)
    priors = [second[layer == i].mean() for i in np.unique(layer)]
    sizes = [np.sum(layer == i) for i in np.unique(layer)]
    return float(0.5 * np.dot(sizes, np.log(priors)) - 0.5 * log_var.sum())
    ### END SOLUTION


# %%
# A first check: with one layer it is the least value of the package's divergence over the prior's variance.
rng = np.random.default_rng(0)
mean, log_var = rng.normal(size=20), rng.normal(size=20)
scan = [float(weights.gaussian_kl(mean, log_var, v)) for v in np.geomspace(0.1, 50, 2000)]
assert np.isclose(layered_kl(mean, log_var, np.zeros(20, dtype=int)), min(scan), atol=1e-4)

# %% tags=["hidden"]


def _layers(rng):
    layer = np.repeat([0, 1, 2], [4, 7, 9])
    return rng.normal(size=20) * (1 + 2 * layer), rng.normal(size=20) - 1, layer


problem_4 = Problem(
    "6.4",
    20,
    layered_kl,
    _layers,
    {
        "That is one prior for all: every layer has its own.": lambda m, v, i: layered_kl(
            m, v, np.zeros_like(i)
        ),
        "λ² is the mean of μ² + σ², not of μ² alone.": lambda m, v, i: float(
            0.5 * sum(np.sum(i == k) * np.log((m[i == k] ** 2).mean()) for k in np.unique(i)) - 0.5 * v.sum()
        ),
        "A layer counts with the number of its weights k_l.": lambda m, v, i: float(
            0.5 * sum(np.log((m[i == k] ** 2 + np.exp(v[i == k])).mean()) for k in np.unique(i))
            - 0.5 * v.sum()
        ),
        "That is in bits.": lambda m, v, i: layered_kl(m, v, i) / np.log(2),
        "That is the mean over the weights; the divergence is a sum.": lambda m, v, i: (
            layered_kl(m, v, i) / len(m)
        ),
        "The factor ½ is missing.": lambda m, v, i: 2 * layered_kl(m, v, i),
        "That is for priors of variance 1, not for the best ones.": lambda m, v, i: float(
            0.5 * (np.exp(v) + m**2 - 1 - v).sum()
        ),
    },
)

# %% [markdown]
# ## Problem 6.5 Whose property is it? (20 points, graded by a person)
#
# Is the information in the weights a property of the architecture, of the training procedure, or of the data? In at most 200
# words: give for each of the three an example in which only this one changes and $I(D;W)$ changes. Then explain why a number
# called "information in the weights of *this* trained network" needs a prior or a noise that somebody chose.
#
# ### BEGIN SOLUTION
# Of all three, since $I(D;W)$ needs a distribution of data sets and a stochastic map from data to weights. Architecture: one
# unit instead of a hundred limits $H(W)$. Procedure: weight noise, early stopping, or not training at all ($I = 0$). Data:
# random labels in place of true ones at the same error; or a distribution with one possible data set ($I = 0$). 4 points each.
# One network is one outcome, and mutual information is an expectation over outcomes; for fixed weights one can only report
# $\mathrm{KL}(q(W \mid D) \Vert p(W))$, whose expectation bounds $I(D;W)$ for every prior and depends on the prior and on the
# width of the posterior that were chosen (8).
# ### END SOLUTION

# %% tags=["hidden"]
problem_5 = Written("6.5", 20)
