"""Fixtures: small sets of views of a ball in front of a wall, for the mechanics of training and evaluation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reference.training.write import write_index, write_shard

MakeSet = Callable[..., Path]


def ball(rng: np.random.Generator, height: int, width: int, known: int, normals: bool = False) -> dict[str, np.ndarray]:
    """Draw a textured ball in front of a wall that comes nearer downwards, and points on the ball."""
    rows, columns = np.mgrid[:height, :width]
    x, y, radius = width * rng.uniform(0.4, 0.6), height * rng.uniform(0.4, 0.6), width * rng.uniform(0.25, 0.4)
    square = ((columns - x) / radius) ** 2 + ((rows - y) / radius) ** 2
    inside = square < 1
    alpha = np.clip((1.05 - square) * 10, 0, 1)[..., None]
    rgb = alpha * rng.uniform(40, 200, 3) + (1 - alpha) * rng.uniform(0, 255, 3) + rng.normal(0, 6, (height, width, 3))
    near = 2 + 0.5 * np.sqrt(np.clip(1 - square, 0, 1))
    # The ball is a bulge of half a unit in disparity; its normals are those of a half ball.
    normal = np.stack([(columns - x) / radius, -(rows - y) / radius, np.sqrt(np.clip(1 - square, 0, 1))], -1)
    face = np.zeros((2, 12, 4))
    face[0, :, 0], face[0, :, 1] = x + radius * np.linspace(-0.9, 0.9, 12), y
    face[0, :, 2] = 2 + 0.5 * np.sqrt(1 - np.linspace(-0.9, 0.9, 12) ** 2)
    face[0, :, 3] = 1
    return {
        "rgb": np.clip(rgb, 0, 255),
        "disparity": np.where(inside, near, 0.5 + 0.3 * rows / height) * (known > 0),
        "alpha": np.round(alpha[..., 0] * 255),
        "known": np.array(known),
        "face": face,
        **({"normal": np.round(127 * normal * inside[..., None])} if normals else {}),
    }


@pytest.fixture(scope="session")
def make_set() -> MakeSet:
    """Return `make_set(folder, seed, views, kind, known, normals)`: it writes views of 96x72 pixels, four per shard."""

    def make(
        folder: Path,
        seed: int = 1,
        views: int = 6,
        kind: str = "synthetic",
        known: tuple[int, ...] = (2, 1),
        normals: bool = False,
    ) -> Path:
        rng, rows = np.random.default_rng(seed), []
        for number, start in enumerate(range(0, views, 4)):
            shard = [ball(rng, 96, 72, known[n % len(known)], normals) for n in range(start, min(start + 4, views))]
            arrays = {name: np.stack([view[name] for view in shard]) for name in shard[0]}
            about = [
                {"view": start + n, "pitch": 30.0 * (n % 2), "people": 1, "hair": f"hair{n % 2}", "backlit": n % 2 == 1}
                for n in range(len(shard))
            ]
            rows.append(write_shard(folder, number, arrays, about))
        write_index(folder, kind, seed, (96, 72), rows)
        return folder

    return make
