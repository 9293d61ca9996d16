"""A posed person: the parts to draw, the position and rotation of the head, and the face points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reference.render.assets import Floats, Ints, rotation
from reference.render.people import Material, Part
from reference.synthesize.identity import Identity
from reference.synthesize.posing import Stance, hanging_arms, head_and_back, reach, seated_legs, wrist_targets
from reference.synthesize.rig import Garment, Rig, Turns, face_vertices, load_rig, moved

Vector = NDArray[np.float64]
# Decimetres from the floor to the hip joints of a person on a seat of 4.3 dm.
SEAT = 5.3


@dataclass(frozen=True, slots=True)
class Body:
    """An identity's rest body with an expression, bent by `turns`.

    It is then rotated by `facing` degrees about the vertical and moved to `place` (decimetres, soles at y = 0).
    """

    identity: Identity
    rest: Floats
    turns: Turns
    facing: float
    place: Vector
    rig: Rig

    @property
    def frame(self) -> NDArray[np.float64]:
        return rotation((0, 1, 0), self.facing)

    def world(self, points: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Map posed points [n, 3] from the rest frame to the world."""
        return np.asarray((points - [0, self.identity.soles, 0]) @ self.frame.T + self.place, np.float64)

    def local(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points [n, 3] from the world to the rest frame: the inverse of world()."""
        return (points - self.place) @ self.frame + [0, self.identity.soles, 0]

    def head(self) -> tuple[Vector, NDArray[np.float64]]:
        """Return the middle of the head in the world, and the head's rotation (columns: its left, up, ahead)."""
        matrix = self.rig.bone_matrix("head", self.rest, self.turns)
        skeleton = self.rig.skeleton
        middle = 0.45 * skeleton.joint(self.rest, "head", "head") + 0.55 * skeleton.joint(self.rest, "head", "tail")
        middle[2] += 0.5
        return self.world((matrix[:3, :3] @ middle + matrix[:3, 3])[None])[0], self.frame @ matrix[:3, :3]


def stand(identity: Identity, rest: Floats, stance: Stance, facing: float, place: Vector, rigs: Path) -> Body:
    """Return `identity` with back and head posed by `stance` and the arms at rest."""
    return Body(identity, rest, head_and_back(stance), facing, place, load_rig(rigs))


def with_arms(rng: np.random.Generator, body: Body, hand: str, eye: Vector) -> Body:
    """Pose the arms by `hand`: "down" hangs both, "phone" holds the phone at `eye`, "face" puts a hand at the face."""
    turns = {**body.turns, **hanging_arms(rng)}
    if hand != "down":
        side, sign = ("L", 1.0) if rng.random() < 0.5 else ("R", -1.0)
        back = body.rig.bone_matrix("spine01", body.rest, body.turns)
        if hand == "phone":
            # The hand is behind the camera, beside and below it.
            ahead = eye - body.head()[0]
            aside = body.frame @ np.array([sign * rng.uniform(0.4, 1.8), -rng.uniform(0.6, 2.0), 0])
            target = body.local((eye + aside + 0.9 * ahead / np.linalg.norm(ahead))[None])[0]
        else:
            target = _beside_face(rng, body, sign)
        target = back[:3, :3].T @ (target - back[:3, 3])
        hint = np.array([sign * float(rng.uniform(0.2, 1.0)), -1.0, float(rng.uniform(-0.3, 0.2))])
        turns = reach(body.rig.skeleton, body.rest, turns, side, target, hint)
        if hand == "face":
            turns[f"wrist.{side}"] = rotation((0, 0, 1), float(rng.uniform(-25, 25)))
    return Body(body.identity, body.rest, turns, body.facing, body.place, body.rig)


def sit(rng: np.random.Generator, body: Body) -> Body:
    """Bend the legs and lower the body onto a seat; SEAT is the height of the hips above the floor."""
    hip = body.rig.skeleton.joint(body.rest, "upperleg01.L", "head")
    down = body.world(hip[None])[0][1] - SEAT
    place = body.place - np.array([0, down, 0])
    return replace(body, turns={**body.turns, **seated_legs(rng)}, place=place)


def with_pose(rng: np.random.Generator, body: Body, arms: str, eye: Vector) -> Body:
    """Pose both arms by `arms` of a plan, or reach one of them out for the camera at `eye`."""
    skeleton = body.rig.skeleton
    hips, shoulders = (
        np.stack([skeleton.joint(body.rest, f"{bone}.{side}", "head") for side in "LR"])
        for bone in ("upperleg01", "upperarm01")
    )
    turns = {**body.turns, **hanging_arms(rng)}
    if arms == "forward":
        side, sign = ("L", 1.0) if rng.random() < 0.5 else ("R", -1.0)
        shoulder = shoulders[0 if side == "L" else 1]
        way = body.local(eye[None])[0] - shoulder + rng.normal(0, 2.0, 3)
        wrist = shoulder + way / np.linalg.norm(way) * float(rng.uniform(3.4, 5.4))
        targets = {side: (wrist, np.array([sign, -1.0, 0.0]))}
    else:
        targets = wrist_targets(rng, arms, hips, shoulders)
    back = body.rig.bone_matrix("spine01", body.rest, body.turns)
    for side, (wrist, elbow) in targets.items():
        # A lap and hips stay where they are when the back bends; the others move with the chest.
        target = back[:3, :3].T @ (wrist - back[:3, 3]) if arms in ("lap", "hips") else wrist
        turns = reach(skeleton, body.rest, turns, side, target, elbow)
    return replace(body, turns=turns)


def _beside_face(rng: np.random.Generator, body: Body, sign: float) -> Vector:
    """Draw a position of the wrist (posed, in the rest frame) for a hand at the chin, cheek, temple, ear or hair."""
    matrix = body.rig.bone_matrix("head", body.rest, body.turns)
    spots = {
        "chin": ([0.2 * sign, 6.15, 1.9], [0.35 * sign, -1.5, 0.5]),
        "cheek": ([0.85 * sign, 6.9, 1.1], [0.5 * sign, -1.6, 0.45]),
        "temple": ([0.95 * sign, 7.5, 0.7], [0.7 * sign, -1.4, 0.6]),
        "ear": ([1.15 * sign, 7.1, 0.5], [0.3 * sign, -1.6, 0.3]),
        "hair": ([0.8 * sign, 8.4, 0.9], [1.0 * sign, -1.1, 0.5]),
        "before": ([0.5 * sign, 6.6, 3.2], [0.6 * sign, -1.5, 0.3]),
    }
    spot, off = spots[str(rng.choice(sorted(spots)))]
    return np.asarray(matrix[:3, :3] @ np.array(spot) + matrix[:3, 3] + np.array(off) + rng.normal(0, 0.12, 3))


@dataclass(frozen=True, slots=True)
class Figure:
    """`points` [12, 3] are views.POINT_NAMES in the world; the head's `rotation` has columns left, up, ahead."""

    parts: tuple[Part, ...]
    points: NDArray[np.float64]
    middle: Vector
    rotation: NDArray[np.float64]


def figure(body: Body, garments: dict[str, Garment], materials: dict[str, Material]) -> Figure:
    """Return the parts of `body` and its `garments`, each with the material of its name."""
    matrices = body.rig.matrices(body.rest, body.turns)
    parts = []
    for name, material in materials.items():
        garment = garments[name]
        if not len(garment.faces):  # hair that a cap hides
            continue
        vertices = body.world(garment.posed(matrices)).astype(np.float32)
        parts.append(smooth(vertices, garment.faces, garment.uv, material))
    marks = list(face_vertices())
    points = body.world(moved(body.rest[marks], matrices[marks]))
    middle, turn = body.head()
    return Figure(tuple(parts), points, middle, turn)


def smooth(vertices: Floats, faces: Ints, uv: Floats, material: Material) -> Part:
    """Return triangles with normals averaged at shared vertices, weighted by area."""
    corners = vertices[faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    count, spread = len(vertices), np.repeat(flat, 3, axis=0)
    index = faces.ravel()
    normals: NDArray[np.float64] = np.stack([np.bincount(index, spread[:, k], count) for k in range(3)], axis=1)
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return Part(corners, normals.astype(np.float32)[faces], uv, material)
