"""How long the information plane takes: 4,096 inputs × 7 layers × 100 epochs, by both estimators.

Usage: python benchmarks/plane.py    (prints Markdown; the last run is at the end of this file)
"""

from __future__ import annotations

import time

import numpy as np
import torch

from t2v import plane

LIMIT_S = 20.0


def rows_by_loop(activations: list[np.ndarray], labels: np.ndarray) -> float:
    """Estimate with ``np.unique(axis=0)`` on the binned rows: what the hashing replaces. Returns seconds."""
    start = time.perf_counter()
    for a in activations:
        digits = np.minimum((a + 1) * 15, 29).astype(np.int64)
        np.unique(digits, axis=0, return_counts=True)
        np.unique(np.column_stack([digits, labels]), axis=0, return_counts=True)
    return time.perf_counter() - start


def main() -> None:
    task = plane.spherical_task()
    net = plane.Ensemble((12, 10, 7, 5, 4, 3, 2, 1))
    recording = plane.record(net, task.inputs, task.labels, epochs=range(100), lr=3e-3)
    print(
        f"{torch.get_num_threads()} threads, {len(recording.epochs)} epochs × 7 layers × {len(task.labels)} inputs\n"
    )
    print("| estimator | seconds | ms a point |\n|---|---|---|")
    for name, options in {
        "binned, 30 bins": {"estimator": "binned"},
        "kde, both bounds, all 4,096 inputs": {"estimator": "kde", "noise_var": 1e-2},
        "kde, both bounds, 1,024 inputs": {
            "estimator": "kde",
            "noise_var": 1e-2,
            "subset": np.arange(0, 4096, 4),
        },
    }.items():
        start = time.perf_counter()
        plane.trajectory(recording, task.labels, **options)
        seconds = time.perf_counter() - start
        print(
            f"| {name} | {seconds:.1f}{' (over the limit)' if seconds > LIMIT_S else ''} | {seconds / 0.7:.2f} |"
        )
    few = [layer[0] for moment in recording.activations[::10] for layer in moment]
    print(
        f"| for comparison: np.unique on rows (a tenth, × 10) | {10 * rows_by_loop(few, task.labels):.1f} | |"
    )


if __name__ == "__main__":
    main()
