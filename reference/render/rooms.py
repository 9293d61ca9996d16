"""Rooms and gardens for people to stand in: textured boxes, procedural but for a few free textures of scikit-image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from reference.render.assets import Floats, rotation
from reference.render.people import Material, Part

_SIDE = 256
# The sky's tint is low, since the scene's lights fall on it too.
_SKY_DIM = (0.4, 0.4, 0.4)
Vector = tuple[float, float, float]


def random_room(rng: np.random.Generator) -> list[Part]:
    """Draw a room around the origin, floor at y = 0, people looking along z; sizes in decimetres."""
    width, back, height = rng.uniform(18, 35), rng.uniform(8, 25), rng.uniform(25, 32)
    front = 60.0
    walls = Material(surface(rng), _color(rng, 0.25, 1.0))
    floor = Material(surface(rng), _color(rng, 0.15, 0.6), gloss=0.05)
    tiles = float(rng.uniform(2, 5))
    parts = [
        quad((-width, 0, -back), (2 * width, 0, 0), (0, height, 0), walls, (tiles, tiles * height / (2 * width))),
        quad((-width, 0, front), (0, 0, -front - back), (0, height, 0), walls, (tiles * 2, tiles / 2)),
        quad((width, 0, -back), (0, 0, front + back), (0, height, 0), walls, (tiles * 2, tiles / 2)),
        quad((-width, 0, front), (2 * width, 0, 0), (0, 0, -front - back), floor, (6, 8)),
        quad((-width, height, -back), (2 * width, 0, 0), (0, 0, front + back), Material(plain(), glow=0.15), (1, 1)),
    ]
    for _ in range(int(rng.integers(1, 4))):
        w, h = float(rng.uniform(4, 10)), float(rng.uniform(4, 9))
        corner = (float(rng.uniform(-width, width - w)), float(rng.uniform(10, height - h)), -back + 0.1)
        window = rng.random() < 0.35
        material = Material(picture(rng, window), glow=1.2 if window else 0.0)
        frame = Material(plain(), _color(rng, 0.05, 0.9))
        parts.append(
            quad((corner[0] - 0.5, corner[1] - 0.5, -back + 0.05), (w + 1, 0, 0), (0, h + 1, 0), frame, (1, 1))
        )
        parts.append(quad(corner, (w, 0, 0), (0, h, 0), material, (1, 1)))
    for _ in range(int(rng.integers(1, 6))):
        size = rng.uniform([3, 3, 2], [14, 16, 6])
        x = float(rng.choice([-1, 1]) * rng.uniform(5 + size[0] / 2, max(width - size[0] / 2, 6 + size[0] / 2)))
        z = float(rng.uniform(-back + size[2], -1))
        parts += box((x, 0.0, z), size, float(rng.uniform(-20, 20)), Material(surface(rng), _color(rng, 0.1, 0.9)))
    return parts


def random_garden(rng: np.random.Generator) -> list[Part]:
    """Draw open ground, a sky, hedges and house fronts behind the origin."""
    far = float(rng.uniform(120, 250))
    ground = Material(free(str(rng.choice(["grass", "gravel"]))), _color(rng, 0.2, 0.7))
    parts = [
        quad((-far * 2, 0, far), (far * 4, 0, 0), (0, 0, -far * 2), ground, (60, 30)),
        quad((-far * 3, 0, -far), (far * 6, 0, 0), (0, far * 3, 0), Material(sky(rng), _SKY_DIM, glow=0.6), (1, 1)),
    ]
    for _ in range(int(rng.integers(2, 6))):
        size = rng.uniform([25, 15, 10], [70, 50, 20])
        place = (float(rng.uniform(-80, 80)), 0.0, -float(rng.uniform(45, 0.8 * far)))
        material = Material(free("brick"), _color(rng, 0.4, 1.2)) if rng.random() < 0.5 else leaves(rng)
        parts += box(place, size, float(rng.uniform(-30, 30)), material, (3, 3))
    for side in (-1, 1):
        size = rng.uniform([6, 8, 6], [16, 22, 12])
        parts += box((side * float(rng.uniform(14, 30)), 0.0, -float(rng.uniform(8, 30))), size, 0.0, leaves(rng))
    return parts


def quad(corner: Vector, right: Vector, up: Vector, material: Material, repeat: tuple[float, float]) -> Part:
    """Return a parallelogram, its texture repeated `repeat` times along `right` and `up`."""
    at, u, v = (np.array(value, np.float32) for value in (corner, right, up))
    vertices = np.stack([np.stack([at, at + u, at + u + v]), np.stack([at, at + u + v, at + v])])
    normal = np.cross(u, v)
    normals = np.broadcast_to(normal / np.linalg.norm(normal), vertices.shape).astype(np.float32)
    uv: Floats = np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]], np.float32) * np.array(
        repeat, np.float32
    )
    return Part(vertices, normals, uv, material)


def box(
    foot: Vector, size: NDArray[np.float64], turn: float, material: Material, repeat: tuple[float, float] = (1, 1)
) -> list[Part]:
    """Return front, two sides and top of a box with the middle of its base at `foot`."""
    x, y, z = (rotation((0, 1, 0), turn) * size).T
    corner = np.array(foot) - x / 2 - z / 2
    faces = ((corner + z, x, y), (corner, z, y), (corner + x + z, -z, y), (corner + y + z, x, -z))
    return [quad(xyz(at), xyz(u), xyz(v), material, repeat) for at, u, v in faces]


def xyz(values: NDArray[np.float64]) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])


def _color(rng: np.random.Generator, low: float, high: float) -> Vector:
    return xyz(rng.uniform(low, high) * rng.uniform(0.6, 1.1, 3))


def rgba(rgb: NDArray[np.float64]) -> NDArray[np.uint8]:
    opaque = np.full((*rgb.shape[:2], 1), 255)
    return np.ascontiguousarray(np.concatenate([np.clip(rgb, 0, 255), opaque], axis=2).astype(np.uint8))


def plain() -> NDArray[np.uint8]:
    return rgba(np.full((8, 8, 3), 225.0))


def noise(rng: np.random.Generator, cells: int) -> NDArray[np.float64]:
    """Return smooth noise [_SIDE, _SIDE] in [0, 1] that tiles."""
    coarse = rng.random((cells, cells)).astype(np.float32)
    tiled = Image.fromarray(np.tile(coarse, (3, 3))).resize((3 * _SIDE, 3 * _SIDE), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(tiled, np.float64)[_SIDE : 2 * _SIDE, _SIDE : 2 * _SIDE], 0, 1)


def surface(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a texture of plaster, planks, stripes, checks or brick."""
    kind = str(rng.choice(["plaster", "planks", "stripes", "checks", "brick"], p=[0.4, 0.2, 0.15, 0.1, 0.15]))
    if kind == "brick":
        return free("brick")
    grain = 0.6 * noise(rng, 6) + 0.3 * noise(rng, 24) + 0.1 * noise(rng, 128)
    rows, columns = np.indices((_SIDE, _SIDE))
    tone = 170 + 60 * grain
    if kind == "planks":
        plank = columns // 32
        tone = (130 + 80 * rng.random(8))[plank] + 40 * (np.roll(noise(rng, 8), 7, 0) - 0.5)
        tone[columns % 32 == 0] *= 0.5
    elif kind == "stripes":
        tone = tone * np.where(columns // 16 % 2 == 0, 1.0, rng.uniform(0.6, 0.9))
    elif kind == "checks":
        tone = tone * np.where((columns // 64 + rows // 64) % 2 == 0, 1.0, rng.uniform(0.4, 0.8))
    return rgba(tone[..., None] * rng.uniform(0.9, 1.05, 3))


def free(name: str) -> NDArray[np.uint8]:
    """Return brick, grass or gravel of scikit-image (CC0, from CC0Textures and LinolaFett), brightened to mid-tones."""
    from skimage import data

    gray = np.asarray(Image.fromarray(getattr(data, name)()).resize((_SIDE, _SIDE)), np.float64)
    return rgba(np.repeat(gray[..., None] * (165 / gray.mean()), 3, axis=2))


def leaves(rng: np.random.Generator) -> Material:
    tone = 40 + 190 * noise(rng, 48) * (0.4 + 0.6 * noise(rng, 8))
    return Material(rgba(tone[..., None] * [0.55, 0.75, 0.3]), _color(rng, 0.5, 1.1))


def sky(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a sky with clouds, brighter and whiter towards the horizon (the last row)."""
    fall = np.linspace(0, 1, _SIDE)[:, None, None]
    top, horizon = np.array([90.0, 140, 210]), np.array([225.0, 228, 230])
    clouds = np.clip(2.2 * noise(rng, 5) + 0.8 * noise(rng, 20) - 1.6, 0, 1)[..., None] * rng.uniform(0, 1)
    return rgba((top + (horizon - top) * fall) * (1 - clouds) + 240 * clouds)


def picture(rng: np.random.Generator, window: bool) -> NDArray[np.uint8]:
    """Draw a bright window with a cross, or an abstract print."""
    if window:
        canvas = Image.fromarray(sky(rng)).convert("RGB").filter(ImageFilter.GaussianBlur(6))
        draw = ImageDraw.Draw(canvas)
        draw.line((_SIDE // 2, 0, _SIDE // 2, _SIDE), fill="white", width=10)
        draw.line((0, _SIDE // 2, _SIDE, _SIDE // 2), fill="white", width=10)
        return rgba(np.asarray(canvas, np.float64))
    canvas = Image.new("RGB", (_SIDE, _SIDE), tuple(int(v) for v in rng.integers(60, 250, 3)))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(4, 12))):
        x0, y0 = rng.integers(-60, _SIDE, 2)
        box = (int(x0), int(y0), int(x0 + rng.integers(20, 160)), int(y0 + rng.integers(20, 160)))
        color = tuple(int(v) for v in rng.integers(0, 256, 3))
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(box, fill=color)
    return rgba(np.asarray(canvas, np.float64))
