"""Time the bottleneck curve against the PyPI packages embo and dit, all in one run, and compare what they find.

Usage: python benchmarks/bottleneck.py [repeats]

Every solver gets the same joint distribution and the same β. embo 1.1 mixes units (β times bits against a logarithm
in nats), so that its β counts as β/ln 2: it is judged at that β, where it solves the same problem. dit's optimiser
takes hours at 64 × 16 and is run at 4 × 3; its Blahut–Arimoto starts from a matrix that is no channel and is left out.
"Worse by" is the largest excess of the peer's objective I(T;X) − β I(T;Y) over ours, in bits; a negative number would be
a β where the peer is better. Wall and processor seconds (children included) are the least of all repeats.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import dit  # noqa: E402
import embo  # noqa: E402
import numpy as np  # noqa: E402
from dit.rate_distortion.information_bottleneck import InformationBottleneck  # noqa: E402

from t2v import bottleneck  # noqa: E402

Points = tuple[np.ndarray, np.ndarray]


def processor() -> float:
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def timed(functions: dict[str, Callable[[], Points]], repeats: int) -> dict[str, tuple[float, float, Points]]:
    """Return the least wall and processor seconds, and the points, of each; they take turns."""
    best: dict[str, tuple[float, float, Points]] = {}
    for _ in range(repeats):
        for name, function in functions.items():
            wall, cpu = time.perf_counter(), processor()
            points = function()
            wall, cpu = time.perf_counter() - wall, processor() - cpu
            old = best.get(name, (np.inf, np.inf, points))
            best[name] = (min(old[0], wall), min(old[1], cpu), points)
    return best


def ours(joint: np.ndarray, betas: np.ndarray) -> Points:
    curve = bottleneck.curve(joint, betas)
    return curve.i_tx, curve.i_ty


def by_embo(joint: np.ndarray, betas: np.ndarray) -> Points:
    np.random.seed(0)  # noqa: NPY002 - embo draws its starts from the global generator
    low, high = betas[[0, -1]] * np.log(2)
    solver = embo.InformationBottleneck(
        pxy=joint.copy(), minbeta=low, maxbeta=high, numbeta=len(betas), ensure_monotonic_bound=False
    )
    i_tx, i_ty, _, _ = solver.get_bottleneck()
    return np.asarray(i_tx), np.asarray(i_ty)


def by_dit(joint: np.ndarray, betas: np.ndarray) -> Points:
    np.random.seed(0)  # noqa: NPY002 - so does dit
    solve = InformationBottleneck.functional()
    points = np.array([solve(dit.Distribution.from_ndarray(joint), beta) for beta in betas])
    return points[:, 0], points[:, 1]


def report(title: str, table: dict[str, tuple[float, float, Points]], betas: np.ndarray) -> None:
    """Print one row a solver: the first is ours, and the measure of the others."""
    print(f"\n{title}")
    print(f"{'solver':<8}{'wall s':>10}{'cpu s':>10}{'cpu ÷ ours':>12}{'worse by':>12}{'β where better':>16}")
    (_, own_cpu, own), *_ = table.values()
    for name, (wall, cpu, points) in table.items():
        excess = (points[0] - betas * points[1]) - (own[0] - betas * own[1])
        worst, better = excess[np.abs(excess).argmax()], int((excess < -1e-9).sum())
        print(
            f"{name:<8}{wall:>10.3f}{cpu:>10.2f}{cpu / own_cpu:>12.1f}{worst:>12.2g}{better:>16}", flush=True
        )


def main(repeats: int = 3) -> None:
    warnings.simplefilter("ignore")
    for concentration, high in ((1.0, 60), (0.1, 20)):
        rng = np.random.default_rng(0)
        joint = rng.dirichlet(np.full(64 * 16, concentration)).reshape(64, 16)
        betas = np.linspace(0.5, high, 100)
        functions = {
            "t2v": lambda j=joint, b=betas: ours(j, b),
            "embo": lambda j=joint, b=betas: by_embo(j, b),
        }
        title = f"64 × 16, Dirichlet({concentration:g}), 100 β in 0.5 … {high}"
        report(title, timed(functions, repeats), betas)
    joint = np.random.default_rng(8).dirichlet(np.ones(12)).reshape(4, 3)
    betas = np.linspace(2, 20, 5)
    functions = {"t2v": lambda: ours(joint, betas), "dit": lambda: by_dit(joint, betas)}
    report("4 × 3, Dirichlet(1), 5 β in 2 … 20", timed(functions, 1), betas)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
