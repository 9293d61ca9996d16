"""Pose MakeHuman's body and its garments together: every vertex moves with the bones that hold its body vertices.

Clothes, hair and glasses are fitted to the body at rest and then move with it. Fitting them to the posed body would
leave their offsets and sizes in the axes of the rest pose.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from reference.render.assets import Clothing, Floats, Ints, Mesh, Skeleton, body_folder, load_obj, load_skeleton
from reference.training.views import POINT_NAMES

Turns = dict[str, NDArray[np.float64]]
# Vertices of the base mesh at the face points; left is the person's own.
_ON_THE_MIDDLE = {"nose tip": 297, "nose bridge": 131, "chin": 5162, "forehead": 251}
_ON_THE_LEFT = {"cheek": 11935, "eye corner": 6962, "ear": 12038, "temple": 11842}


@lru_cache(maxsize=1)
def base_mesh() -> Mesh:
    """Return MakeHuman's body at rest, soles near y = -8, looking along z."""
    return load_obj(body_folder() / "3dobjs" / "base.obj")


@lru_cache(maxsize=1)
def body_vertices() -> Ints:
    """Return the body's vertices without the helpers for fitting clothes."""
    mesh = base_mesh()
    return np.unique(mesh.faces[mesh.groups == "body"])


def mirrored(vertex: int) -> int:
    """Return the body vertex that mirrors `vertex` at the middle plane."""
    mesh, body = base_mesh(), body_vertices()
    point = mesh.vertices[vertex] * np.array([-1, 1, 1], np.float32)
    return int(body[np.argmin(((mesh.vertices[body] - point) ** 2).sum(1))])


@lru_cache(maxsize=1)
def face_vertices() -> tuple[int, ...]:
    """Return the body vertex of each of POINT_NAMES."""
    vertices = []
    for name in POINT_NAMES:
        side, _, point = name.partition(" ")
        if name in _ON_THE_MIDDLE:
            vertices.append(_ON_THE_MIDDLE[name])
        else:
            vertices.append(_ON_THE_LEFT[point] if side == "left" else mirrored(_ON_THE_LEFT[point]))
    return tuple(vertices)


@dataclass(frozen=True, slots=True)
class Rig:
    """The skeleton, and the weight of each bone [b] on each body vertex [n]: an [n, b] matrix with rows of sum 1."""

    skeleton: Skeleton
    bones: tuple[str, ...]
    weights: Any  # scipy.sparse.csr_matrix: no stubs

    def matrices(self, rest: Floats, turns: Turns) -> NDArray[np.float64]:
        """Return the 3x4 motion of every body vertex, [n, 12], for bones rotated by `turns` (3x3, in the rest axes)."""
        known: dict[str, NDArray[np.float64]] = {}
        stacked = np.stack([self._matrix(bone, rest, turns, known)[:3].ravel() for bone in self.bones])
        return np.asarray(self.weights @ stacked)

    def bone_matrix(self, bone: str, rest: Floats, turns: Turns) -> NDArray[np.float64]:
        """Return the 4x4 motion of one bone."""
        return self._matrix(bone, rest, turns, {})

    def _matrix(
        self, bone: str, rest: Floats, turns: Turns, known: dict[str, NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        if bone not in known:
            parent = self.skeleton.bones[bone].get("parent")
            local = np.eye(4)
            if bone in turns:
                pivot = self.skeleton.joint(rest, bone, "head")
                local[:3, :3], local[:3, 3] = turns[bone], pivot - turns[bone] @ pivot
            known[bone] = (self._matrix(parent, rest, turns, known) if parent else np.eye(4)) @ local
        return known[bone]


@lru_cache(maxsize=2)
def load_rig(folder: Path) -> Rig:
    """Read the rig of a wardrobe's rigs/ folder."""
    skeleton = load_skeleton(folder)
    bones = tuple(skeleton.bones)
    rows = [skeleton.weights[bone][0] for bone in bones if bone in skeleton.weights]
    columns = [np.full(len(skeleton.weights[b][0]), i) for i, b in enumerate(bones) if b in skeleton.weights]
    shares = [skeleton.weights[bone][1] for bone in bones if bone in skeleton.weights]
    shape = (len(base_mesh().vertices), len(bones))
    held = sparse.csr_matrix((np.concatenate(shares), (np.concatenate(rows), np.concatenate(columns))), shape)
    total = np.asarray(held.sum(1)).ravel()
    held = sparse.diags(1 / np.maximum(total, 1e-6)) @ held
    loose = sparse.csr_matrix(
        (np.ones((total < 1e-6).sum()), (np.flatnonzero(total < 1e-6), np.zeros((total < 1e-6).sum(), int))), shape
    )
    return Rig(skeleton, bones, (held + loose).tocsr())


@dataclass(frozen=True, slots=True)
class Garment:
    """Triangles on a body at rest: `vertices` [m, 3], `faces`, `uv` [k, 3, 2].

    `hold` [m, n] has the weights of the body vertices on each vertex (rows of sum 1).
    """

    vertices: Floats
    faces: Ints
    uv: Floats
    hold: Any  # scipy.sparse.csr_matrix: no stubs

    def posed(self, matrices: NDArray[np.float64]) -> Floats:
        """Return the vertices moved by the body's `matrices` [n, 12]."""
        return moved(self.vertices, np.asarray(self.hold @ matrices))


def moved(vertices: Floats, matrices: NDArray[np.float64]) -> Floats:
    """Move each of `vertices` [m, 3] by its 3x4 of `matrices` [m, 12]."""
    turned = np.einsum("mij,mj->mi", matrices.reshape(-1, 3, 4)[:, :, :3], vertices)
    return np.asarray(turned + matrices.reshape(-1, 3, 4)[:, :, 3], np.float32)


def fitted(clothing: Clothing, rest: Floats) -> Garment:
    """Fit `clothing` to the body at rest."""
    mesh = clothing.mesh
    anchors = clothing.rows[:, :3].astype(int)
    shares = np.clip(clothing.rows[:, 3:6], 0, None)
    shares /= np.maximum(shares.sum(1, keepdims=True), 1e-6)
    count = len(mesh.vertices)
    hold = sparse.csr_matrix(
        (shares.ravel(), (np.repeat(np.arange(count), 3), anchors.ravel())), (count, len(base_mesh().vertices))
    )
    return Garment(clothing.fit(rest), mesh.faces, mesh.uv[mesh.uv_faces], hold)


def skin_of(rest: Floats, shown: NDArray[np.bool_]) -> Garment:
    """Return the body's surface as a garment; `shown` marks the base mesh's faces to draw."""
    mesh = base_mesh()
    return Garment(rest, mesh.faces[shown], mesh.uv[mesh.uv_faces[shown]], sparse.identity(len(rest), format="csr"))


def held_by(vertices: Floats, faces: Ints, uv: Floats, carriers: Ints) -> Garment:
    """Return a garment whose vertex i moves with body vertex carriers[i]; a single carrier moves all of it."""
    carriers = np.broadcast_to(carriers, (len(vertices),))
    hold = sparse.csr_matrix(
        (np.ones(len(vertices)), (np.arange(len(vertices)), carriers)), (len(vertices), len(base_mesh().vertices))
    )
    return Garment(vertices, faces, uv, hold)
