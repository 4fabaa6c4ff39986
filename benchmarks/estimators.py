"""Time the neighbour estimator against the PyPI packages npeet-plus and scikit-learn, all in one run.

Usage: python benchmarks/estimators.py [n]

Each is run several times in turn; the least wall and processor seconds are printed, with the ratio to npeet-plus.
On a machine that others share, the processor seconds are the fairer ones.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import npeet_plus
import numpy as np
from sklearn.feature_selection import mutual_info_regression

from t2v import estimators


def seconds(
    functions: dict[str, Callable[[], float]], rounds: int = 5
) -> dict[str, tuple[float, float, float]]:
    """Return the least wall seconds, the least processor seconds and the value of each; they take turns."""
    best = dict.fromkeys(functions, (np.inf, np.inf, np.nan))
    for _ in range(rounds):
        for name, function in functions.items():
            wall, processor = time.perf_counter(), time.process_time()
            value = function()
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            best[name] = (min(best[name][0], wall), min(best[name][1], processor), value)
    return best


def main(n: int = 10_000, rho: float = 0.7) -> None:
    """Print a table for d = 1 … 10 components of x and of y."""
    print(f"n = {n}, k = 3, correlation {rho}; seconds of {n} pairs of d-vectors; values in nats")
    print(f"{'d':>3} {'estimator':<22}{'wall':>8}{'cpu':>8}{'cpu ÷ npeet':>13}{'value':>9}{'truth':>9}")
    for d in (1, 2, 3, 5, 10):
        x, y = estimators.correlated_gaussians(n, rho, d)
        functions = {
            "npeet-plus": lambda x=x, y=y: npeet_plus.mi(x, y, k=3, base=np.e),
            "t2v ksg": lambda x=x, y=y: estimators.ksg(x, y, base=np.e),
            "t2v ksg, one thread": lambda x=x, y=y: estimators.ksg(x, y, base=np.e, workers=1),
            "t2v ksg, variant 2": lambda x=x, y=y: estimators.ksg(x, y, base=np.e, variant=2),
        }
        if d == 1:
            functions["scikit-learn"] = lambda x=x, y=y: mutual_info_regression(x, y[:, 0], n_neighbors=3)[0]
        table = seconds(functions, rounds=5 if d < 10 else 1)
        for name, (wall, processor, value) in table.items():
            ratio = processor / table["npeet-plus"][1]
            truth = -d / 2 * np.log(1 - rho**2)
            print(
                f"{d:>3} {name:<22}{wall:>8.3f}{processor:>8.3f}{ratio:>13.2f}{value:>9.3f}{truth:>9.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
