"""The tasks of an atlas run, opened by name when they are needed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2v import external
from t2v._files import file_name
from t2v.tasks import Task, is_path, names, open_task, task_name

if TYPE_CHECKING:
    from t2v.atlas import AtlasConfig

#: Task images kept in memory, in bytes; beyond, the oldest are dropped and read again.
_MEMORY = 8 << 30
#: Names that stand for the probe in a run's answers.
PROBE, TUNED_PROBE = "probe", "probe, fine-tuned"
RESERVED = {PROBE, TUNED_PROBE}


class Library:
    """The tasks of a run, opened when they are needed; the oldest are dropped when they take too much memory."""

    def __init__(self, config: AtlasConfig, tasks: Sequence[Task] | None) -> None:
        self.config, self._open = config, dict[str, Callable[[], Task]]()
        self._folders: dict[str, Path] = {}
        if tasks is not None:
            for task in tasks:
                if task.name in self._open:
                    raise ValueError(f"tasks: {task.name} given more than once")
                self._open[task.name] = lambda task=task: task  # type: ignore[misc]
        else:
            for text in config.tasks or _folders(config.library):
                name, opener = _opener(text, config)
                if name in self._open:
                    raise ValueError(f"tasks: two are called {name!r}")
                self._open[name] = opener
                if (folder := _folder(text, config)) is not None:
                    self._folders[name] = folder
        self.names = tuple(self._open)
        files = [file_name(name) for name in self.names]
        if len(set(files)) < len(files):
            raise ValueError("tasks: two names give the same file name")
        if taken := RESERVED & set(self.names):
            raise ValueError(f"tasks: {min(taken)!r} stands for the probe; give the task another name")
        self._kept: dict[str, Task] = {}

    def __getitem__(self, name: str) -> Task:
        if name not in self._kept:
            task = self._open[name]()
            _check_shots(name, task, self.config.shots)
            self._kept[name] = task
            while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > _MEMORY:
                del self._kept[next(iter(self._kept))]
        return self._kept[name]

    def fingerprint(self, name: str) -> str:
        """Return a digest of a task's images: of a folder's files, or of the pixels where there is no folder.

        A folder is neither decoded nor chosen from, and only what the loader would read counts: hidden files and other
        kinds do not. torchvision checks its files itself, so that there the name is enough.
        """
        if name in self._folders:
            return _digest(self._folders[name])
        digest = hashlib.sha256(name.encode())
        if not name.startswith("torchvision:"):
            task = self[name]
            for part in (task.train, task.test):
                digest.update(np.ascontiguousarray(part.images).data)
                digest.update(np.ascontiguousarray(part.labels).data)
            digest.update(repr(task.classes).encode())
        return digest.hexdigest()[:16]


def _digest(folder: Path) -> str:
    """Return a digest of the names and contents of all images of a folder."""
    digest = hashlib.sha256()
    for part in external.layout(folder).parts:
        for label, paths in external.scan(part).items():
            for path in paths:
                where = path.relative_to(part).as_posix()
                digest.update(repr((label, where, path.stat().st_size)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _folders(library: str) -> list[str]:
    if library == "offline":
        raise ValueError("tasks: there are none; names of offline tasks are accepted")
    if not Path(library).is_dir():
        raise ValueError(f"library: {library!r} is neither 'offline' nor a folder of image folders")
    return sorted(p.name for p in Path(library).iterdir() if p.is_dir() and not p.name.startswith("."))


def _opener(text: str, c: AtlasConfig) -> tuple[str, Callable[[], Task]]:
    """Return a task's name and how to open it; unknown names are refused when the run starts."""
    path = _folder(text, c)
    where = text if path is None else f"{path}{os.sep}"  # which no offline name can be
    numbers: dict[str, Any] = {"size": c.size, "train": c.train, "test": c.test, "seed": c.seed}
    return task_name(where), lambda: open_task(where, root=c.root, download=c.download, **numbers)


def _folder(text: str, c: AtlasConfig) -> Path | None:
    """Return the folder that a task's name stands for, if it stands for one."""
    if text.startswith("torchvision:"):
        return None
    if c.library != "offline":
        return Path(c.library) / text
    return Path(text) if is_path(text) or (text not in names() and Path(text).is_dir()) else None


def _bytes(task: Task) -> int:
    return int(task.train.images.nbytes + task.test.images.nbytes)


def _check_shots(name: str, task: Task, shots: int) -> None:
    counts = np.bincount(task.train.labels, minlength=task.n_classes)
    if counts.min() < shots:
        raise ValueError(
            f"shots: class {task.classes[counts.argmin()]!r} of task {name!r} has {counts.min()} training images;"
            f" {shots} were asked for"
        )
    if len(task.test) == 0:
        raise ValueError(f"tasks: {name!r} has no test images")
