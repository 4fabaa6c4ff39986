"""A library of image folders is checked before anything is made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from t2v import atlas, probes


def small() -> probes.Probe:
    layers = nn.Sequential()
    layers.add_module("conv", nn.Conv2d(3, 4, 3))
    layers.add_module("pool", nn.AdaptiveAvgPool2d(1))
    layers.add_module("flat", nn.Flatten())
    layers.add_module("fc", nn.Linear(4, 2))
    return probes.from_module(layers, name="small")


def images(folder: Path, n: int) -> None:
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for k in range(n):
            pixels = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{k}.png")


def test_all_folders_are_checked_first_and_a_failure_leaves_nothing(tmp_path: Path) -> None:
    library, out = tmp_path / "library", tmp_path / "run"
    for name, n in (("first", 10), ("second", 3), ("third", 10)):
        images(library / name, n)
    config = atlas.AtlasConfig.at("quick", library=str(library), size=16, train=12, test=8, shots=4)
    (library / "third" / "b" / "7.png").write_bytes(b"\x89PNG no")
    with pytest.raises(ValueError, match=r"shots: class 'a' of task 'second' has 2 .* \(and 1 more: third\)"):
        atlas.run(config, out, probe=small())
    assert not out.exists()
