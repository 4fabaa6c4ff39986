"""Speed of the offline library: processor milliseconds an image, drawn and from the cache.

Usage: python benchmarks/tasks.py [--size 64] [--train 600] [--test 400] [--tasks 40]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

from t2v import tasks


def measure(names: list[str], size: int, train: int, test: int) -> dict[str, tuple[float, float]]:
    """Return for each task the processor seconds of drawing it (and keeping it), and of reading it again."""
    seconds = {}
    for name in names:
        times = []
        for _ in range(2):
            start = time.process_time()
            tasks.load(name, size=size, train=train, test=test)
            times.append(time.process_time() - start)
        seconds[name] = (times[0], times[1])
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of the offline library.")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--train", type=int, default=600)
    parser.add_argument("--test", type=int, default=400)
    parser.add_argument("--tasks", type=int, default=40, help="how many tasks, spread over the library")
    options = parser.parse_args()
    names = tasks.names()
    names = names[:: max(1, len(names) // options.tasks)][: options.tasks]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["T2V_CACHE"] = folder
        seconds = measure(names, options.size, options.train, options.test)
    images = options.train + options.test
    print(f"{'task':20s} {'drawn':>10s} {'cached':>10s}   ms an image")
    for name, (drawn, cached) in seconds.items():
        print(f"{name:20s} {1000 * drawn / images:10.2f} {1000 * cached / images:10.3f}")
    drawn, cached = (sum(s[k] for s in seconds.values()) for k in (0, 1))
    print(f"{len(names)} tasks of {images} images: {drawn:.1f} s drawn, {cached:.1f} s cached (one core)")


if __name__ == "__main__":
    main()
