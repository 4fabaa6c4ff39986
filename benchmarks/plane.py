"""How long the information plane takes: 4,096 inputs × 7 layers × 100 epochs, by both estimators.

Usage: python benchmarks/plane.py    (prints Markdown; the last run is at the end of this file)

CPU seconds are summed over the threads: on idle cores the wall time is about CPU seconds ÷ threads.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from t2v import plane

LIMIT_S = 20.0


def rows_by_loop(activations: list[np.ndarray], labels: np.ndarray) -> float:
    """Estimate with ``np.unique(axis=0)`` on the binned rows: what the hashing replaces. Returns CPU seconds."""
    start = time.process_time()
    for a in activations:
        digits = np.minimum((a + 1) * 15, 29).astype(np.int64)
        np.unique(digits, axis=0, return_counts=True)
        np.unique(np.column_stack([digits, labels]), axis=0, return_counts=True)
    return time.process_time() - start


def main() -> None:
    task = plane.spherical_task()
    net = plane.Ensemble((12, 10, 7, 5, 4, 3, 2, 1))
    recording = plane.record(net, task.inputs, task.labels, epochs=range(100), lr=3e-3)
    print(
        f"{torch.get_num_threads()} threads, {len(recording.epochs)} epochs × 7 layers × {len(task.labels)} inputs\n"
    )
    print("| estimator | seconds | CPU seconds | CPU ms a point |\n|---|---|---|---|")
    for name, options in {
        "binned, 30 bins": {"estimator": "binned"},
        "kde, both bounds, all 4,096 inputs": {"estimator": "kde", "noise_var": 1e-2},
        "kde, both bounds, 1,024 inputs": {
            "estimator": "kde",
            "noise_var": 1e-2,
            "subset": np.arange(0, 4096, 4),
        },
    }.items():
        start, cpu = time.perf_counter(), time.process_time()
        plane.trajectory(recording, task.labels, **options)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        note = " (over the limit)" if cpu / torch.get_num_threads() > LIMIT_S else ""
        print(f"| {name} | {seconds:.1f} | {cpu:.1f}{note} | {cpu / 0.7:.2f} |")
    few = [layer[0] for moment in recording.activations[::10] for layer in moment]
    print(
        f"| for comparison: np.unique on rows (a tenth, × 10) | | {10 * rows_by_loop(few, task.labels):.1f} | |"
    )


if __name__ == "__main__":
    main()

# Last run, 2026-11-24, two cores shared with other work (so read the CPU seconds; the limit is 20 s of wall time on
# two idle cores, CPU seconds ÷ 2):
#
# | estimator | seconds | CPU seconds | CPU ms a point |
# |---|---|---|---|
# | binned, 30 bins | 1.1 | 0.3 | 0.46 |
# | kde, both bounds, all 4,096 inputs | 110.2 | 31.1 | 44.38 |
# | kde, both bounds, 1,024 inputs | 10.8 | 3.1 | 4.49 |
# | for comparison: np.unique on rows (a tenth, × 10) | | 4.8 | |
