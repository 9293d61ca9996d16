"""Objects near people: chairs, sofas, shelves, tables, plants, lamps, curtains, columns, vases."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from reference.render.assets import rotation
from reference.render.people import Material, Part, rgb
from reference.synthesize import textures
from reference.synthesize.dress import fabric_color
from reference.synthesize.shapes import box, card, lathe, panel

Vector = NDArray[np.float64]


def matter(rng: np.random.Generator) -> Material:
    """Draw a material of furniture and walls: painted, wooden or clad."""
    color = fabric_color(rng) * 1.1 if rng.random() < 0.5 else rng.uniform(0.15, 0.9) * rng.uniform(0.75, 1.05, 3)
    wood = rng.random() < 0.3
    texture = textures.wall(int(rng.integers(textures.WALLS)))
    tint = np.array([0.5, 0.3, 0.17]) * rng.uniform(0.3, 1.6) if wood else color
    return Material(texture, rgb(np.minimum(tint, 1.3)), float(rng.choice([0.01, 0.06])), 20.0, bump=0.02)


def weave(rng: np.random.Generator) -> Material:
    """Draw upholstery: dyed, often patterned."""
    kind = float(rng.choice([0, 1, 2, 3, 5], p=[0.5, 0.12, 0.08, 0.1, 0.2]))
    pattern = (kind, float(rng.choice([4, 8, 20])), float(rng.uniform(0.3, 0.7)), float(rng.choice([0, 1, 4])))
    tints = rgb(fabric_color(rng) * 1.1), rgb(fabric_color(rng) * 1.1)
    texture = textures.wall(int(rng.integers(textures.WALLS)))
    return Material(texture, tints[0], 0.01, dye=0.9, bump=0.03, pattern=pattern, second=tints[1])


def leaf(rng: np.random.Generator) -> Material:
    texture = textures.foliage(int(rng.integers(textures.FOLIAGE)))
    return Material(texture, rgb(rng.uniform(0.5, 1.3) * rng.uniform(0.8, 1.1, 3)), 0.03, cutoff=0.5)


def sofa(rng: np.random.Generator, foot: Vector, turn: float) -> list[Part]:
    """Build seat, back, arms and cushions; the back's front face is at `foot`."""
    cover = weave(rng)
    wide, tall, deep = rng.uniform(12, 24), rng.uniform(7, 10.5), rng.uniform(1.5, 3)
    ahead = rotation((0, 1, 0), turn)
    parts = box(_at(foot, ahead, (0, 0, -deep / 2)), np.array([wide, tall, deep]), turn, cover, (3, 1))
    parts += box(_at(foot, ahead, (0, 0, 3.2)), np.array([wide, 4.3, 6.4]), turn, cover, (3, 1))
    for side in (-1, 1):
        parts += box(_at(foot, ahead, (side * (wide / 2 + 0.8), 0, 1.5)), np.array([1.8, 6.2, 9.0]), turn, cover)
    for _ in range(int(rng.integers(0, 4))):
        spot = _at(foot, ahead, (float(rng.uniform(-wide / 2, wide / 2)), 4.3, 0.7))
        parts += box(spot, np.array([4.2, 4.0, 1.2]), turn + float(rng.uniform(-15, 15)), weave(rng))
    return parts


def chair(rng: np.random.Generator, foot: Vector, turn: float) -> list[Part]:
    """Build an armchair's or office chair's back, up to the shoulders or the head, and its seat."""
    cover = weave(rng) if rng.random() < 0.7 else matter(rng)
    wide, tall, deep = rng.uniform(3.8, 6.5), rng.uniform(9, 13.5), rng.uniform(0.4, 1.6)
    ahead = rotation((0, 1, 0), turn)
    parts = box(_at(foot, ahead, (0, 4, -deep / 2)), np.array([wide, tall - 4, deep]), turn, cover)
    parts += box(_at(foot, ahead, (0, 3.8, 2.4)), np.array([wide, 0.8, 4.8]), turn, cover)
    if rng.random() < 0.35:  # a headrest
        parts += box(_at(foot, ahead, (0, tall, -deep / 2)), np.array([wide * 0.6, 2.2, deep]), turn, cover)
    return parts


def shelf(rng: np.random.Generator, foot: Vector, turn: float) -> list[Part]:
    """Build boards with books, boxes and vases between two sides."""
    wood, wide, tall, deep = matter(rng), rng.uniform(7, 16), rng.uniform(9, 22), rng.uniform(2.2, 3.8)
    ahead = rotation((0, 1, 0), turn)
    parts = box(_at(foot, ahead, (0, 0, -deep + 0.2)), np.array([wide, tall, 0.2]), turn, matter(rng))
    for side in (-1, 1):
        parts += box(_at(foot, ahead, (side * wide / 2, 0, -deep / 2)), np.array([0.25, tall, deep]), turn, wood)
    level = 0.4
    while level < tall:
        parts += box(_at(foot, ahead, (0, level, -deep / 2)), np.array([wide, 0.25, deep]), turn, wood)
        across = -wide / 2 + 0.4
        while across < wide / 2 - 0.8:
            kind, w = rng.random(), float(rng.uniform(0.25, 0.9))
            spot = _at(foot, ahead, (across + w / 2, level + 0.25, -deep / 2))
            if kind < 0.6:
                size = np.array([w * 0.8, rng.uniform(1.4, 2.4), deep * 0.7])
                parts += box(spot, size, turn + float(rng.normal(0, 3)), matter(rng))
            elif kind < 0.75:
                parts += vase(rng, spot, float(rng.uniform(1.0, 2.2)))
            across += w * (1 if kind < 0.6 else 2.5) + float(rng.exponential(0.15))
        level += float(rng.uniform(2.8, 4.2))
    return parts


def table(rng: np.random.Generator, foot: Vector, turn: float) -> list[Part]:
    """Build a top on legs with a few objects on it."""
    wood, size = matter(rng), rng.uniform([8, 6.8, 5], [18, 8, 9])
    ahead = rotation((0, 1, 0), turn)
    parts = box(_at(foot, ahead, (0, size[1] - 0.4, 0)), np.array([size[0], 0.4, size[2]]), turn, wood, (2, 1))
    for x in (-1, 1):
        for z in (-1, 1):
            spot = _at(foot, ahead, (x * size[0] * 0.45, 0, z * size[2] * 0.42))
            parts += box(spot, np.array([0.5, size[1] - 0.4, 0.5]), turn, wood)
    for _ in range(int(rng.integers(0, 5))):
        spot = _at(foot, ahead, (rng.uniform(-0.4, 0.4) * size[0], size[1], rng.uniform(-0.4, 0.4) * size[2]))
        if rng.random() < 0.5:
            parts += vase(rng, spot, float(rng.uniform(0.8, 2.6)))
        else:
            parts += box(spot, rng.uniform([0.8, 0.2, 0.8], [3.2, 2.2, 2.4]), float(rng.uniform(0, 90)), matter(rng))
    return parts


def vase(rng: np.random.Generator, foot: Vector, tall: float) -> list[Part]:
    wide = tall * float(rng.uniform(0.2, 0.5))
    belly, neck = wide * float(rng.uniform(0.9, 1.3)), wide * float(rng.uniform(0.3, 1.0))
    profile = [(0.0, 0.0), (wide * 0.7, 0.0), (belly, tall * 0.4), (neck, tall * 0.8), (neck * 1.15, tall)]
    return [lathe(foot, profile, matter(rng), 14)]


def plant(rng: np.random.Generator, foot: Vector, turn: float) -> list[Part]:
    """Build crossed cards of leaves in a pot."""
    pot, tall, wide = float(rng.uniform(0.8, 2.2)), float(rng.uniform(4, 15)), float(rng.uniform(3, 9))
    parts = [lathe(foot, [(0, 0), (pot * 0.8, 0), (pot, pot * 1.6), (0, pot * 1.5)], matter(rng), 14)]
    green = leaf(rng)
    top = foot + np.array([0, pot * 1.3, 0])
    parts += [card(top, wide, tall, turn + 60 * step + float(rng.uniform(-15, 15)), green) for step in range(3)]
    return parts


def lamp(rng: np.random.Generator, foot: Vector, turn: float) -> list[Part]:
    """Build a floor lamp, sometimes lit."""
    del turn  # the same from all sides
    tall, wide = float(rng.uniform(11, 18)), float(rng.uniform(1.2, 2.6))
    shade = Material(textures.wall(0), rgb(fabric_color(rng) + 0.3), glow=float(rng.choice([0.0, 1.5, 4.0])))
    return [
        lathe(foot, [(0, 0), (1.3, 0), (1.3, 0.2), (0.15, 0.3), (0.15, tall - 2)], matter(rng), 10),
        lathe(foot + np.array([0, tall - 2.4, 0]), [(wide, 0), (wide * float(rng.uniform(0.5, 1)), 2.6)], shade, 16),
    ]


def curtain(rng: np.random.Generator, foot: Vector, turn: float) -> list[Part]:
    """Build a curtain in folds."""
    cloth, wide, tall = weave(rng), float(rng.uniform(5, 16)), float(rng.uniform(18, 26))
    folds = int(rng.integers(6, 16)) * 2
    x = np.linspace(-wide / 2, wide / 2, folds + 1)
    z = 0.45 * np.where(np.arange(folds + 1) % 2 == 0, 1.0, -1.0) * rng.uniform(0.5, 1.2, folds + 1)
    ahead = rotation((0, 1, 0), turn)
    edges = [_at(foot, ahead, (float(a), 0, float(b))) for a, b in zip(x, z, strict=True)]
    up = np.array([0, tall, 0])
    return [panel(a, b - a, up, cloth, (0.3, 3)) for a, b in pairwise(edges)]


def column(rng: np.random.Generator, foot: Vector, turn: float) -> list[Part]:
    """Build a pillar, a door leaf or the end of a wall."""
    return box(foot, rng.uniform([0.6, 14, 0.4], [5, 28, 3]), turn, matter(rng))


def block(rng: np.random.Generator, foot: Vector, turn: float) -> list[Part]:
    """Build a cabinet, a crate or a low wall."""
    return box(foot, rng.uniform([3, 4, 2.5], [12, 13, 6]), turn, matter(rng), (1, float(rng.choice([1, 3]))))


def globe(rng: np.random.Generator, foot: Vector, turn: float) -> list[Part]:
    """Build a ball, a balloon or a hanging lamp."""
    del turn  # the same from all sides
    size = float(rng.uniform(0.8, 3.5))
    angle = np.linspace(-np.pi / 2, np.pi / 2, 12)
    profile = [(size * float(np.cos(a)), size * float(np.sin(a))) for a in angle]
    return [lathe(foot + np.array([0, float(rng.uniform(size, 20)), 0]), profile, matter(rng), 18)]


Maker = Callable[[np.random.Generator, Vector, float], list[Part]]
BEHIND: tuple[Maker, ...] = (sofa, chair, shelf, curtain, block, table)
BESIDE: tuple[Maker, ...] = (shelf, plant, plant, lamp, curtain, column, block, table, chair, globe)


def _at(foot: Vector, ahead: NDArray[np.float64], local: tuple[float, float, float]) -> Vector:
    return np.asarray(foot + ahead @ np.array(local))
