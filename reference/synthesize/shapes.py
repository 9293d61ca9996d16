"""Simple solids on a base, rotated about the vertical: boxes, cylinders, balls, cards of leaves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reference.render.assets import Floats, rotation
from reference.render.people import Material, Part, smooth_part

Vector = NDArray[np.float64]
_CORNERS = np.array([0, 1, 2, 0, 2, 3])
_SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)


def panel(corner: Vector, right: Vector, up: Vector, material: Material, repeat: tuple[float, float] = (1, 1)) -> Part:
    """Return a parallelogram with its texture repeated along `right` and `up`."""
    return _panels(corner[None], right[None], up[None], material, repeat)


def box(
    foot: Vector, size: NDArray[np.float64], turn: float, material: Material, repeat: tuple[float, float] = (1, 1)
) -> list[Part]:
    """Return front, back, two sides and top of a box with the middle of its base at `foot`."""
    angle = np.deg2rad(turn)
    x = np.array([np.cos(angle), 0.0, -np.sin(angle)]) * size[0]
    y = np.array([0.0, size[1], 0.0])
    z = np.array([np.sin(angle), 0.0, np.cos(angle)]) * size[2]
    at = foot - x / 2 - z / 2
    corners, rights = np.array([at + z, at, at + x + z, at + y + z, at + x]), np.array([x, z, -z, x, -x])
    return [_panels(corners, rights, np.array([y, y, y, -z, y]), material, repeat)]


def _panels(corners: Vector, rights: Vector, ups: Vector, material: Material, repeat: tuple[float, float]) -> Part:
    """Return parallelograms [n, 3] as one part of two triangles each."""
    points = np.stack([corners, corners + rights, corners + rights + ups, corners + ups], axis=1)
    vertices = points[:, _CORNERS].reshape(-1, 3, 3).astype(np.float32)
    r, u = rights, ups
    normal = np.stack(
        [
            r[:, 1] * u[:, 2] - r[:, 2] * u[:, 1],
            r[:, 2] * u[:, 0] - r[:, 0] * u[:, 2],
            r[:, 0] * u[:, 1] - r[:, 1] * u[:, 0],
        ],
        axis=1,
    )
    normal /= np.sqrt((normal**2).sum(1, keepdims=True))
    normals = np.repeat(normal, 6, axis=0).reshape(-1, 3, 3).astype(np.float32)
    uv = np.tile(_SQUARE[_CORNERS].reshape(2, 3, 2) * np.array(repeat, np.float32), (len(corners), 1, 1))
    return Part(vertices, normals, uv.astype(np.float32), material)


def card(foot: Vector, width: float, height: float, turn: float, material: Material) -> Part:
    """Return an upright picture with the middle of its base at `foot`."""
    right = rotation((0, 1, 0), turn) @ np.array([width, 0, 0])
    return panel(foot - right / 2, right, np.array([0, height, 0]), material)


def lathe(foot: Vector, profile: list[tuple[float, float]], material: Material, sides: int = 20) -> Part:
    """Return a solid of revolution about the vertical through `foot`; `profile` is (radius, height), bottom first."""
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    rings = np.array(profile, np.float64)
    points = np.stack(
        [
            foot[0] + rings[:, :1] * np.cos(angle),
            np.broadcast_to(foot[1] + rings[:, 1:], (len(rings), sides + 1)),
            foot[2] - rings[:, :1] * np.sin(angle),
        ],
        axis=-1,
    )
    around, along = np.meshgrid(angle / (2 * np.pi), np.linspace(0, 1, len(rings)))
    index = np.arange(points[..., 0].size).reshape(points.shape[:2])
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, 1:].ravel(), index[1:, :-1].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    uv: Floats = np.stack([around.ravel(), along.ravel()], 1).astype(np.float32)[faces]
    return smooth_part(points.reshape(-1, 3).astype(np.float32), faces, uv, material)


def moved_part(part: Part, turn: NDArray[np.float64], shift: Vector) -> Part:
    """Return `part` rotated by a 3x3 about the origin, then moved."""
    vertices = (part.vertices @ turn.T + shift).astype(np.float32)
    return Part(vertices, (part.normals @ turn.T).astype(np.float32), part.uv, part.material)
