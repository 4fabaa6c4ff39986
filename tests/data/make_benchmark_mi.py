"""Draw the samples of ``benchmark_mi.npz`` from the PyPI package benchmark-mi, with their known information.

The package pins numpy < 2, pandas < 2 and an old jax, and does not import with the newest jax that it allows:
it cannot share the book's environment. To draw the samples again, in an environment of its own:

    python -m venv peers
    peers/bin/pip install benchmark-mi==0.1.3 jax==0.4.30 jaxlib==0.4.30 "setuptools<80"
    peers/bin/python tests/data/make_benchmark_mi.py
"""

from pathlib import Path

import bmi
import numpy as np

TASKS = (
    "1v1-normal-0.75",
    "1v1-additive-0.75",
    "1v1-bimodal-0.75",
    "wiggly-1v1-normal-0.75",
    "half_cube-1v1-normal-0.75",
    "swissroll_x-normal_cdf-1v1-normal-0.75",
    "multinormal-dense-2-2-0.5",
    "multinormal-sparse-3-3-2-2.0",
    "asinh-student-identity-2-2-1",
)


def main(n: int = 1500, seed: int = 0) -> None:
    """Write for every task its x, its y and its information in nats."""
    arrays = {}
    for name in TASKS:
        task = bmi.benchmark.BENCHMARK_TASKS[name]
        x, y = task.sample(n, seed=seed)
        arrays[f"{name}/x"], arrays[f"{name}/y"] = np.asarray(x, np.float32), np.asarray(y, np.float32)
        arrays[f"{name}/nats"] = np.float64(task.mutual_information)
    np.savez_compressed(Path(__file__).with_name("benchmark_mi.npz"), **arrays)


if __name__ == "__main__":
    main()
