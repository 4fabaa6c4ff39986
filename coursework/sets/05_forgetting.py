# %% [markdown]
# # Problem set 5: Forgetting
#
# To chapter 5 of *The Information in a Task*. Write your answers where a cell says so, keep the names of the functions,
# and hand in this notebook after it has run from top to bottom. The first checks help you on the way; your functions are
# graded on other inputs. Information is in **bits**.

# %%
import numpy as np
from scipy.stats import binom

from t2v import bounds, plane
from t2v import information as info

# %% [markdown]
# ## Problem 5.1 Compression by the ruler (15 points)
#
# $X$ is uniform on $[-1, 1]$ and $T = \max(-1, \min(1, g X))$ with a gain $g \ge 1$. $T$ is put into $b$ equal bins of $[-1, 1]$.
# Derive the information that the binned $\hat T$ has about $X$, and write `clipped_bits(gain, bins)` (two bins or more). What does
# it tell about a network whose weights grow during training?


# %%
def clipped_bits(gain, bins):
    """I(X; binned T) in bits, for T = clip(gain·X) and X uniform on [−1, 1]."""
    ### BEGIN SOLUTION
    p = np.full(bins, 1 / (gain * bins))
    p[[0, -1]] += (1 - 1 / gain) / 2
    return info.entropy(p)
    ### END SOLUTION


# %%
# A first check on a fine grid of inputs, with the package's binning.
grid = np.linspace(-1, 1, 40_001)
clipped = np.clip(3 * grid, -1, 1)[:, None]
measured = plane.binned_information(clipped, (grid > 0).astype(int), bins=10, limits=(-1, 1))[0]
assert np.isclose(clipped_bits(3, 10), measured, atol=0.01)

# %% tags=["hidden"]
from coursework import Problem, Written


def _separate_tails(gain, bins):
    p = np.full(bins + 2, 1 / (gain * bins))
    p[[0, -1]] = (1 - 1 / gain) / 2
    return info.entropy(p)


problem_1 = Problem(
    "5.1",
    15,
    clipped_bits,
    lambda rng: (float(rng.uniform(1.2, 6)), int(rng.integers(3, 30))),
    {
        "The clipped inputs fall into the first and the last bin, which are not bins of their own.": _separate_tails,
        "That would hold for T uniform: the clipped tails fill the outer bins.": lambda g, b: np.log2(b),
        "That is in nats.": lambda g, b: np.log(2) * clipped_bits(g, b),
        "Both tails count: each holds (1 − 1/g)/2.": lambda g, b: info.entropy(
            np.r_[1 / (g * b) + (1 - 1 / g), np.full(b - 1, 1 / (g * b))]
        ),
    },
)

# %% [markdown]
# ## Problem 5.2 A bit in Gaussian noise (20 points)
#
# $X = \pm a$ with equal probability, and $T = X + \mathcal{N}(0, s^2)$. There is no closed form for $I(X;T)$; compute it
# by numerical integration (or Gauss–Hermite quadrature) to six digits: write `antipodal_bits(a, noise_var)`.
# Compare with the capacity $\tfrac12 \log_2(1 + a^2/s^2)$: when are they close?


# %%
def antipodal_bits(a, noise_var):
    """I(X; T) in bits, for X = ±a with equal probability and T = X + N(0, noise_var)."""
    ### BEGIN SOLUTION
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    t = a + np.sqrt(noise_var) * nodes
    return float(1 - weights @ np.logaddexp(0, -2 * a * t / noise_var) / weights.sum() / np.log(2))
    ### END SOLUTION


# %%
# A first check: far apart it is a bit; in strong noise it is the capacity; and it never exceeds either, whatever the unit.
assert np.isclose(antipodal_bits(10, 1), 1)
assert np.isclose(antipodal_bits(0.1, 1), 0.5 * np.log2(1.01), rtol=0.01)
assert np.isclose(antipodal_bits(2, 4), antipodal_bits(1, 1)) and antipodal_bits(1, 1) < 0.5

# %% tags=["hidden"]


def _cut(a, s2):
    from scipy.stats import norm

    e = float(norm.sf(a / np.sqrt(s2)))
    return 1 - info.entropy([e, 1 - e])


problem_2 = Problem(
    "5.2",
    20,
    antipodal_bits,
    lambda rng: (float(rng.uniform(0.5, 2)), float(rng.uniform(0.4, 2))),
    {
        "That is the capacity, which only a Gaussian X reaches.": lambda a, v: 0.5 * np.log2(1 + a**2 / v),
        "That is in nats.": lambda a, v: np.log(2) * antipodal_bits(a, v),
        "That is what the sign of T tells: its size tells how sure the sign is.": _cut,
        "noise_var is the variance: take its root for the standard deviation.": lambda a, v: antipodal_bits(
            a, v**2
        ),
        "That is H(X|T), what stays open.": lambda a, v: 1 - antipodal_bits(a, v),
    },
    tolerance=1e-5,
)

# %% [markdown]
# ## Problem 5.3 How typical is typical? (15 points)
#
# The surprise of a sequence of $n$ independent symbols, divided by $n$, has the mean $H$. Write `spread(p, n)`: its standard
# deviation, in bits. For which distributions is it 0 whatever $n$ is?


# %%
def spread(p, n):
    """Standard deviation of −log2 p(x1 … xn) / n in bits."""
    ### BEGIN SOLUTION
    p = np.asarray(p)
    surprise = -np.log2(p)
    return float(np.sqrt((p @ surprise**2 - (p @ surprise) ** 2) / n))
    ### END SOLUTION


# %%
# A first check by simulation.
p = np.array([0.6, 0.3, 0.1])
symbols = np.random.default_rng(0).choice(3, p=p, size=(5000, 100))
assert np.isclose(spread(p, 100), (-np.log2(p[symbols])).mean(axis=1).std(), rtol=0.05)

# %% tags=["hidden"]
problem_3 = Problem(
    "5.3",
    15,
    spread,
    lambda rng: (rng.dirichlet(np.ones(5)), int(rng.integers(5, 500))),
    {
        "That is the variance: take the root.": lambda p, n: spread(p, n) ** 2,
        "The mean of n independent surprises spreads as 1/√n.": lambda p, n: spread(p, 1),
        "The root of n, not n: variances add up.": lambda p, n: spread(p, 1) / n,
        "Divide by n: the surprise of a sequence grows as n, its spread as √n.": lambda p, n: (
            spread(p, 1) * np.sqrt(n)
        ),
        "That is in nats.": lambda p, n: np.log(2) * spread(p, n),
        "Symbols occur with the probability p: the mean over symbols is weighted.": lambda p, n: float(
            np.log2(p).std() / np.sqrt(n)
        ),
    },
)

# %% [markdown]
# ## Problem 5.4 How many bits may be kept? (15 points)
#
# The bound of chapter 5, `bounds.information`, is $\epsilon = \sqrt{(2^{I} \log 2 + \log (1/\delta)) / 2m}$. Solve it for $I$:
# write `bits_allowed(epsilon, delta, m)`, and 0 where even $I = 0$ is too much. How many more bits do ten times as many
# samples allow, roughly?


# %%
def bits_allowed(epsilon, delta, m):
    """Largest I in bits for which the bound is at most epsilon; 0 if there is none."""
    ### BEGIN SOLUTION
    cells = (2 * m * epsilon**2 - np.log(1 / delta)) / np.log(2)
    return float(np.log2(max(cells, 1)))
    ### END SOLUTION


# %%
# A first check against the package, and in a hopeless case.
assert np.isclose(bounds.information(bits_allowed(0.1, 0.05, 5000), 0.05, 5000), 0.1)
assert bits_allowed(0.01, 0.05, 100) == 0

# %% tags=["hidden"]
problem_4 = Problem(
    "5.4",
    15,
    bits_allowed,
    lambda rng: (
        (float(rng.uniform(0.03, 0.2)), float(rng.uniform(0.01, 0.1)), int(rng.integers(3000, 20_000)))
        if rng.random() < 0.7
        else (0.02, 0.05, int(rng.integers(500, 2000)))
    ),
    {
        "The factor log 2: a class of 2^(2^I) hypotheses has the log-size 2^I log 2.": lambda e, d, m: float(
            np.log2(max(2 * m * e**2 - np.log(1 / d), 1))
        ),
        "That is in nats: I is the exponent of 2.": lambda e, d, m: np.log(2) * bits_allowed(e, d, m),
        "ε enters squared.": lambda e, d, m: float(np.log2(max((2 * m * e - np.log(1 / d)) / np.log(2), 1))),
        "Where even I = 0 is too much, return 0.": lambda e, d, m: float(
            np.log2(max((2 * m * e**2 - np.log(1 / d)) / np.log(2), 1e-300))
        ),
        "δ is missing: log(1/δ) is taken off.": lambda e, d, m: float(
            np.log2(max(2 * m * e**2 / np.log(2), 1))
        ),
    },
)

# %% [markdown]
# ## Problem 5.5 What a cell learns by heart (20 points)
#
# The labels in a cell of a lookup table are fair coins. The cell saw $n$ of them and answers with the commoner one. Derive
# its expected *training* accuracy minus ½, its true accuracy: write `coin_gap(n)`. How does it fall with $n$?


# %%
def coin_gap(n):
    """Expected share of the commoner of two labels among n fair coins, minus one half."""
    ### BEGIN SOLUTION
    heads = np.arange(n + 1)
    return float(binom.pmf(heads, n, 0.5) @ np.maximum(heads, n - heads) / n - 0.5)
    ### END SOLUTION


# %%
# A first check: one label is always right, of two labels three quarters; for large n the gap goes as 1/√(2πn).
assert np.isclose(coin_gap(1), 0.5)
assert np.isclose(coin_gap(2), 0.25)
assert np.isclose(coin_gap(400) * np.sqrt(2 * np.pi * 400), 1, rtol=0.01)

# %% tags=["hidden"]
problem_5 = Problem(
    "5.5",
    20,
    coin_gap,
    lambda rng: (int(rng.integers(2, 60)),),
    {
        "That is the training accuracy: take the true one, ½, off.": lambda n: coin_gap(n) + 0.5,
        "That counts samples: divide by n.": lambda n: n * coin_gap(n),
        "That is the limit for large n; n coins are few.": lambda n: 1 / np.sqrt(2 * np.pi * n),
        "That is the standard deviation of the share; the mean deviation is asked for.": lambda n: (
            0.5 / np.sqrt(n)
        ),
    },
)

# %% [markdown]
# ## Problem 5.6 Two figures (15 points, graded by a person)
#
# Paper A shows that $I(X;T)$ of a tanh network falls after the training error has reached its plateau; paper B finds no
# fall in a ReLU network. In at most 150 words: which question about the *measurement* must be asked first, what does
# problem 5.1 have to do with it, and what would show compression that is no artefact?
#
# ### BEGIN SOLUTION
# Of what variable is this the information? T is a deterministic function of X: with distinct activations $I(X;T) = H(X)$
# always, so both figures show the binned, or noisy, variable (5 points). By 5.1 saturation lowers the binned entropy, though
# no input is forgotten by an exact reader; ReLU does not saturate above, and its range grows with bins fixed or rescaled (5).
# No artefact: noise that is part of the network, in training and use, with the scale fixed; and a fall that survives changes
# of bin width or estimator, beyond its standard error over seeds (5).
# ### END SOLUTION

# %% tags=["hidden"]
problem_6 = Written("5.6", 15)
