"""How far a long run is: a bar in a terminal, lines with an estimate of the time where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
#: Seconds between two lines, at least: a quick stage is silent.
EVERY = 5.0


def follow(items: Sequence[T], what: str, show: bool = True) -> Iterable[T]:
    """Go through items, and show on the error stream how far it is.

    Parameters
    ----------
    items : sequence
        What is gone through.
    what : str
        What is done, such as ``"experts"``.
    show : bool
        False: nothing is shown.
    """
    if not show:
        return items
    if sys.stderr.isatty():
        from tqdm import tqdm

        return tqdm(items, desc=what, leave=False)
    return _lines(items, what)


def _lines(items: Sequence[T], what: str) -> Iterator[T]:
    """Print a line after an item, unless one was printed just before."""
    start = said = before = time.monotonic()
    took: list[float] = []  # of items that were made; what was there already takes no time
    for k, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        took += [now - before] if now - before > 0.1 else []
        before = now
        if now - said >= EVERY:
            said, left = now, sum(took) / max(len(took), 1) * (len(items) - k)
            rest = f", about {words(left)} left" if k < len(items) else ""
            print(
                f"{what}: {k} of {len(items)} ({item}), {words(now - start)}{rest}",
                file=sys.stderr,
                flush=True,
            )


def words(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 3600:.1f} h"
