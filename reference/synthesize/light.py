"""Random lighting: windows, lamps, sun and sky, and light from behind the person."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reference.synthesize.painter import Lighting

Vector = NDArray[np.float64]


def draw_light(rng: np.random.Generator, kind: str, facing: float) -> Lighting:
    """Draw lighting of `kind`, one of plan.LIGHTS; `facing` is the camera's azimuth (degrees) seen from the person."""
    side = float(rng.choice([-1, 1]))
    key_at, height, strength, ambient, blur = {
        "soft": (rng.uniform(-60, 60), rng.uniform(15, 60), rng.uniform(0.1, 0.8), 1.0, 0.006),
        "side": (side * rng.uniform(35, 95), rng.uniform(5, 50), rng.uniform(1.2, 3.0), 0.45, 0.0025),
        "window": (side * rng.uniform(20, 110), rng.uniform(0, 35), rng.uniform(0.9, 2.6), 0.5, 0.008),
        "sun": (rng.uniform(-110, 110), rng.uniform(25, 70), rng.uniform(2.0, 5.0), 0.9, 0.0008),
        "dim": (rng.uniform(-120, 120), rng.uniform(20, 75), rng.uniform(0.2, 1.2), 0.25, 0.003),
        "backlit": (180 + rng.uniform(-55, 55), rng.uniform(5, 50), rng.uniform(1.5, 5.0), 0.35, 0.002),
    }[kind]
    warm = np.array([1.0, rng.uniform(0.82, 1.0), rng.uniform(0.6, 1.0)])
    cool = np.array([rng.uniform(0.7, 1.0), rng.uniform(0.85, 1.0), 1.0])
    key, fill = (cool, warm) if rng.random() < 0.35 else (warm, cool)
    azimuths = [facing + key_at, facing + rng.uniform(-180, 180), facing + rng.uniform(90, 270)]
    heights = [height, rng.uniform(-10, 60), rng.uniform(5, 60)]
    directions = np.stack([towards(a, h) for a, h in zip(azimuths, heights, strict=True)])
    colors = np.stack([key * strength, fill * rng.uniform(0, 0.35), warm * rng.uniform(0, 0.5) * (rng.random() < 0.5)])
    ambient *= float(rng.uniform(0.35, 1.0))
    lobes = [(directions[0], key * strength * float(rng.uniform(0.1, 0.5)), float(rng.uniform(1, 6)))]
    for _ in range(int(rng.integers(1, 4))):
        color = warm if rng.random() < 0.5 else cool
        at = towards(float(rng.uniform(-180, 180)), float(rng.uniform(-20, 70)))
        lobes.append((at, color * float(rng.uniform(0.1, 1.4)) * ambient, float(rng.uniform(1, 10))))
    if kind == "backlit":
        lobes = [(at, color * (0.25 if at @ towards(facing, 0) > 0 else 1.6), width) for at, color, width in lobes]
    above, below = fill * ambient * float(rng.uniform(0.4, 1.1)), warm * ambient * float(rng.uniform(0.1, 0.5))
    return Lighting(directions, colors, irradiance(above, below, lobes), float(blur))


def towards(azimuth: float, elevation: float) -> Vector:
    """Return the unit vector at `azimuth` degrees left of z and `elevation` degrees above the floor."""
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])


def irradiance(above: Vector, below: Vector, lobes: list[tuple[Vector, Vector, float]]) -> NDArray[np.float64]:
    """Return the spherical harmonics [9, 3] of an environment, convolved with the cosine of a diffuse surface.

    The environment shades from `below` to `above` and has lobes (direction, color, sharpness) of
    exp(sharpness * (cosine - 1)).
    """
    way = _sphere()
    sky = below + (above - below) * (0.5 + 0.5 * way[:, 1:2])
    for at, color, sharpness in lobes:
        sky = sky + color * np.exp(sharpness * (way @ at - 1))[:, None]
    x, y, z = way.T
    basis = np.stack([np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y])
    # Squared norms of the basis times pi's cosine lobe (1, 2/3, 1/4 by order), so that an even sky of 1 gives 1.
    norms = np.array([1, 3, 3, 3, 15, 15, 1.25, 15, 3.75])
    lobe = np.array([1, 2 / 3, 2 / 3, 2 / 3, 1 / 4, 1 / 4, 1 / 4, 1 / 4, 1 / 4])
    return np.asarray((norms * lobe)[:, None] * (basis @ sky) / len(way))


def _sphere(count: int = 600) -> NDArray[np.float64]:
    """Return `count` evenly spread directions (a Fibonacci lattice)."""
    index = np.arange(count) + 0.5
    height, around = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - height**2)
    return np.stack([np.cos(around) * ring, height, np.sin(around) * ring], axis=1)
