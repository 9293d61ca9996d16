"""Scenes: rooms, gardens and streets with exact depth, built around the people and the camera."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reference.render.assets import rotation
from reference.render.people import Material, Part, rgb
from reference.render.raster import Camera
from reference.synthesize import textures
from reference.synthesize.furniture import BEHIND, BESIDE, chair, leaf, matter, plant, sofa
from reference.synthesize.plan import Plan
from reference.synthesize.shapes import box, card, moved_part, panel

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ground:
    """The scene's frame: the origin is below the first person, z points towards the camera up to a random rotation.

    `eye` is the camera in it, `height` the height of the person's head, `width` half the width that the people take.
    """

    eye: Vector
    height: float
    width: float


def build_scene(rng: np.random.Generator, plan: Plan, camera: Camera, head: Vector, folder: Path | None) -> list[Part]:
    """Draw the scene's parts in the world, none for a backdrop.

    `head` is the first person's, `folder` holds pictures to hang on walls.
    """
    if plan.setting == "backdrop":
        return []
    ahead = camera.eye - head
    turn = float(np.rad2deg(np.arctan2(ahead[0], ahead[2])))
    turn += float(rng.uniform(-50, 50)) if rng.random() < 0.45 else float(rng.normal(0, 4))
    frame = rotation((0, 1, 0), turn)
    origin = np.array([head[0], 0, head[2]])
    ground = Ground(frame.T @ (camera.eye - origin), float(head[1]), 2.8 + 4.2 * (plan.people - 1))
    parts = {"room": _room, "garden": _garden, "street": _street}[plan.setting](rng, ground, folder)
    parts += _clutter(rng, ground, plan)
    return [moved_part(part, frame, origin) for part in parts]


def _room(rng: np.random.Generator, ground: Ground, folder: Path | None) -> list[Part]:
    eye = ground.eye
    back = float(rng.uniform(3, 10) if rng.random() < 0.45 else rng.uniform(8, 45))
    left = max(float(rng.uniform(9, 40)), -eye[0] + 4)
    right = max(float(rng.uniform(9, 40)), eye[0] + 4)
    front, tall = max(eye[2] + 6, float(rng.uniform(12, 40))), max(float(rng.uniform(23, 33)), eye[1] + 3)
    walls, other = matter(rng), matter(rng)
    side = walls if rng.random() < 0.7 else other
    wide, deep = left + right, front + back
    tiles = float(rng.uniform(0.06, 0.2))

    def plane(corner: tuple[float, float, float], u: Vector, v: Vector, material: Material) -> Part:
        repeat = (float(np.linalg.norm(u)) * tiles, float(np.linalg.norm(v)) * tiles)
        return panel(np.array(corner), u, v, material, repeat)

    x, y, z = np.array([wide, 0, 0]), np.array([0, tall, 0]), np.array([0, 0, deep])
    ceiling = Material(textures.wall(0), rgb(rng.uniform(0.5, 1.0, 3)), glow=float(rng.choice([0.0, 0.3])))
    parts = [
        plane((-left, 0, -back), x, y, walls),
        plane((-left, 0, front), -z, y, side),
        plane((right, 0, -back), z, y, side),
        plane((right, 0, front), -x, y, other),
        plane((-left, 0, front), x, -z, matter(rng)),
        plane((-left, tall, -back), x, z, ceiling),
    ]
    for _ in range(int(rng.integers(0, 5))):
        parts += _hung(rng, Wall(-left, right, tall, -back + 0.06), folder)
    if rng.random() < 0.3:  # a beam, cornice or skirting board
        level = float(rng.choice([0.0, 9.0, tall - 3]))
        parts += box(np.array([0, level, -back + 0.3]), np.array([2 * wide, 1.2, 0.5]), 0.0, other)
    return parts


@dataclass(frozen=True, slots=True)
class Wall:
    """The back wall: x of its left and right end, the ceiling's height, and z just in front of it."""

    left: float
    right: float
    height: float
    z: float


def _hung(rng: np.random.Generator, wall: Wall, folder: Path | None) -> list[Part]:
    """Draw a framed picture, photograph or window on the back wall."""
    w, h = float(rng.uniform(3, 13)), float(rng.uniform(3, 12))
    corner = np.array([rng.uniform(wall.left, wall.right - w), rng.uniform(5, max(wall.height - h, 6)), wall.z])
    window = rng.random() < 0.3
    if window or rng.random() < 0.4:
        shown = textures.print_(int(rng.integers(textures.PRINTS // 3)) * 3 + (0 if window else 1))
    else:
        shown = textures.opaque(folder, int(rng.integers(4096)))
    frame = panel(corner - [0.4, 0.4, 0.03], np.array([w + 0.8, 0, 0]), np.array([0, h + 0.8, 0]), matter(rng))
    glass = Material(shown, rgb(np.full(3, rng.uniform(0.5, 1.0))), 0.08, 60.0, glow=3.0 if window else 0.0)
    return [frame, panel(corner, np.array([w, 0, 0]), np.array([0, h, 0]), glass)]


def _far(rng: np.random.Generator, far: float, folder: Path | None) -> list[Part]:
    """Draw sky, horizon and ground."""
    photo = rng.random() < 0.45
    shown = textures.opaque(folder, int(rng.integers(4096))) if photo else textures.heavens(int(rng.integers(10)))
    glow = float(rng.uniform(0.5, 2.0))
    sky = Material(shown, rgb(np.full(3, 0.25)), glow=glow * 3)
    earth = Material(
        textures.ground(str(rng.choice(["grass", "gravel"]))), rgb(rng.uniform(0.2, 0.8) * rng.uniform(0.7, 1.0, 3))
    )
    size = far * 3
    return [
        panel(np.array([-size, 0, far]), np.array([2 * size, 0, 0]), np.array([0, 0, -2 * far]), earth, (80, 30)),
        panel(np.array([-size, -far * 0.1, -far]), np.array([2 * size, 0, 0]), np.array([0, size, 0]), sky, (2, 1)),
    ]


def _garden(rng: np.random.Generator, ground: Ground, folder: Path | None) -> list[Part]:
    far = float(rng.uniform(100, 500))
    parts = _far(rng, far, folder)
    hedge = Material(textures.hedge(int(rng.integers(4))), rgb(rng.uniform(0.3, 1.0) * rng.uniform(0.8, 1.1, 3)))
    if rng.random() < 0.5:
        place = np.array([rng.uniform(-20, 20), 0, -rng.uniform(10, 60)])
        parts += box(place, rng.uniform([40, 8, 5], [120, 25, 9]), float(rng.uniform(-25, 25)), hedge, (6, 2))
    for _ in range(int(rng.integers(2, 10))):
        place = _clear(rng, ground, rng.uniform([-60, 0, -90], [60, 0, -6]))
        size = float(rng.uniform(10, 60))
        turn = float(rng.uniform(-40, 40))
        green = leaf(rng)
        parts += [card(place, size, size * float(rng.uniform(0.9, 1.4)), turn + 70 * step, green) for step in range(2)]
    return parts


def _street(rng: np.random.Generator, ground: Ground, folder: Path | None) -> list[Part]:
    """Draw house fronts with windows along one or both sides, cars as blocks, posts."""
    parts = _far(rng, float(rng.uniform(200, 600)), folder)
    for side in (-1, 1):
        if rng.random() < 0.25:
            continue
        near = max(float(rng.uniform(8, 50)), side * float(ground.eye[0]) + 5)
        front = matter(rng)
        at = -float(rng.uniform(-20, 20))
        for _ in range(int(rng.integers(2, 5))):
            wide, tall = float(rng.uniform(40, 90)), float(rng.uniform(35, 130))
            foot = np.array([side * (near + 15), 0, at - wide / 2])
            parts += box(foot, np.array([30, tall, wide]), 0.0, front, (4, 4))
            parts += _windows(rng, side * near, (at - wide, at), tall)
            at -= wide * float(rng.uniform(1, 1.2))
            front = matter(rng)
    for _ in range(int(rng.integers(0, 7))):
        place = _clear(rng, ground, rng.uniform([-40, 0, -120], [40, 0, -8]))
        size = (
            rng.uniform([15, 12, 35], [20, 18, 48]) if rng.random() < 0.6 else rng.uniform([0.8, 25, 0.8], [2, 60, 2])
        )
        parts += box(place, size, float(rng.choice([0, 90])) + float(rng.normal(0, 4)), matter(rng))
    return parts


def _windows(rng: np.random.Generator, x: float, span: tuple[float, float], tall: float) -> list[Part]:
    """Draw rows of panes just in front of a house front at `x`, from z span[0] to span[1]."""
    pane = Material(textures.wall(0), rgb(rng.uniform(0.05, 0.5, 3)), 0.25, 60.0, glow=float(rng.choice([0.0, 1.0])))
    step = float(rng.uniform(14, 24))
    parts, at, inward = [], x - np.sign(x) * 0.15, -float(np.sign(x))
    for level in np.arange(8, min(tall - 16, 90), 26):
        for z in np.arange(span[0] + 6, span[1] - 10, step):
            start = z if inward > 0 else z + 9
            parts.append(
                panel(np.array([at, level, start]), np.array([0, 0, 9 * inward]), np.array([0, 15.0, 0]), pane)
            )
    return parts


def _clear(rng: np.random.Generator, ground: Ground, place: Vector) -> Vector:
    """Return `place`, moved aside if the people stand there."""
    if abs(place[0]) < ground.width + 3 and place[2] > -8:
        place[0] = float(rng.choice([-1, 1])) * (ground.width + float(rng.uniform(4, 25)))
    return np.asarray(place)


def _clutter(rng: np.random.Generator, ground: Ground, plan: Plan) -> list[Part]:
    """Draw objects close behind people, beside them and sometimes in front of them; plan.clutter decides how many."""
    parts: list[Part] = []
    amount = plan.clutter
    indoors = plan.setting == "room"
    if rng.random() < 0.25 + 0.5 * amount * indoors:
        maker = BEHIND[int(rng.integers(len(BEHIND)))]
        near = float(rng.uniform(1.8, 3.2)) if maker in (chair, sofa) else float(rng.uniform(3, 14))
        parts += maker(rng, np.array([rng.normal(0, 2.5), 0, -near]), float(rng.normal(0, 14)))
    for _ in range(int(rng.poisson(2.6 * amount)) + (2 if amount >= 1 else 0)):
        maker = plant if not indoors and rng.random() < 0.5 else BESIDE[int(rng.integers(len(BESIDE)))]
        reach = ground.width + float(rng.uniform(1.2, 4 if amount >= 1 else 14))
        forward = float(rng.uniform(-9, 2.5))
        foot = np.array([float(rng.choice([-1, 1])) * (reach + 2.5), 0, forward])
        if np.hypot(foot[0] - ground.eye[0], foot[2] - ground.eye[2]) > 5:
            parts += maker(rng, foot, float(rng.normal(0, 25)))
    far = float(np.hypot(ground.eye[0], ground.eye[2]))
    if far > 7 and rng.random() < 0.25 * amount:
        # In front of the person: a box at the frame's side, not in front of the face.
        ahead = ground.eye / far
        foot = np.array([ahead[0], 0, ahead[2]]) * float(rng.uniform(4, far - 3))
        foot[0] += float(rng.choice([-1, 1]) * rng.uniform(2.5, 5))
        size = np.array([rng.uniform(3, 12), ground.height * rng.uniform(0.35, 0.62), rng.uniform(1, 3)])
        parts += box(foot, size, float(rng.normal(0, 20)), matter(rng))
    return parts
