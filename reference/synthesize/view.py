"""One view: people posed and dressed, a scene around them, a camera, and a record of its properties."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.render.assets import Floats
from reference.render.people import Part
from reference.render.raster import Camera, look
from reference.synthesize import textures
from reference.synthesize.develop import View, develop
from reference.synthesize.dress import dress
from reference.synthesize.extras import draw_extras
from reference.synthesize.figure import Body, Figure, figure, sit, stand, with_arms, with_pose
from reference.synthesize.furniture import chair, sofa, table
from reference.synthesize.identity import Identity, expression
from reference.synthesize.light import draw_light, towards
from reference.synthesize.painter import Painter
from reference.synthesize.plan import Plan
from reference.synthesize.posing import Stance
from reference.synthesize.scenes import build_scene
from reference.training.views import FACES, POINT_NAMES

Vector = NDArray[np.float64]
# A face point at most this many decimetres from the drawn surface counts as visible.
_TOLERANCE = 0.12


@dataclass(frozen=True, slots=True)
class Shot:
    """A view with its face points f16 [2, 12, 4] (x, y in pixels, disparity, visible), `known` and its record."""

    view: View
    face: NDArray[np.float16]
    known: int
    record: dict[str, Any]


def shoot(
    rng: np.random.Generator,
    painter: Painter,
    plan: Plan,
    people: list[Identity],
    wardrobe: Path,
    backdrops: Path | None,
) -> Shot:
    """Draw `plan` with `people`, the first one in the middle."""
    bodies, camera = _arrange(rng, plan, people, wardrobe / "rigs", painter.size)
    clothed = [_clothe(rng, body, plan, first=index == 0) for index, body in enumerate(bodies)]
    figures, notes = [drawn for drawn, _ in clothed], clothed[0][1]
    facing = float(np.rad2deg(np.arctan2(*(camera.eye - figures[0].middle)[[0, 2]])))
    light = draw_light(rng, plan.light, facing)
    scene = build_scene(rng, plan, camera, figures[0].middle, backdrops)
    if plan.seated:
        scene += seat(rng, bodies[0], plan.arms)
    parts = [part for drawn in figures for part in drawn.parts]
    reach = float(np.clip(plan.distance * np.tan(np.deg2rad(plan.field / 2)) * 1.4 + 2, 5, 22))
    layers = painter.paint(merged(scene), parts, camera, light, reach)
    backdrop = None
    if plan.setting == "backdrop":
        backdrop = textures.crop(rng, textures.photo(backdrops, int(rng.integers(1 << 20))), painter.size)
    view = develop(rng, *layers, backdrop, plan.light == "backlit")
    face = np.zeros((FACES, len(POINT_NAMES), 4), np.float16)
    for index, drawn in enumerate(figures[:FACES]):
        face[index] = mark(drawn.points, camera, view)
    record = {**_record(plan, people, figures[0], camera), **notes}
    return Shot(view, face, 1 if plan.setting == "backdrop" else 2, record)


def _arrange(
    rng: np.random.Generator, plan: Plan, people: list[Identity], rigs: Path, size: tuple[int, int]
) -> tuple[list[Body], Camera]:
    """Pose and place the people, and place the camera."""
    pitch = float(np.clip(plan.pitch - plan.elevation, plan.lean - 55, plan.lean + 52))
    yaw = float(np.clip(plan.yaw + plan.azimuth, -75, 75))
    stance = Stance(yaw, pitch, plan.roll, plan.lean, float(rng.normal(0, 4)), 0.3 * yaw + float(rng.normal(0, 6)))
    first = stand(people[0], expression(rng, people[0]), stance, 0.0, np.zeros(3), rigs)
    if plan.seated:
        first = sit(rng, first)
    middle, _ = first.head()
    camera = _camera(rng, plan, first, size)
    free = plan.arms == "free"
    bodies = [with_arms(rng, first, plan.hand, camera.eye) if free else with_pose(rng, first, plan.arms, camera.eye)]
    taken = [0.0]
    for identity in people[1:]:
        side = -np.sign(taken[-1]) if taken[-1] else float(rng.choice([-1, 1]))
        across, back = float(side * rng.uniform(3.0, 6.0)), -float(rng.uniform(-0.5, 5.0))
        if rng.random() < 0.2:
            across, back = across * 1.8, back - float(rng.uniform(5, 30))  # somebody farther away
        taken.append(across)
        place = middle * [1, 0, 1] + towards(plan.azimuth, 0) * back + towards(plan.azimuth + 90, 0) * across
        facing = float(plan.azimuth + rng.normal(0, 14) - 4 * across)
        turn = Stance(*(float(v) for v in rng.normal([0, -plan.elevation * 0.6, 0, -3, 0, 0], [20, 9, 8, 7, 4, 8])))
        body = stand(identity, expression(rng, identity), turn, facing, place, rigs)
        bodies.append(with_arms(rng, body, "face" if rng.random() < 0.08 else "down", camera.eye))
    return bodies, camera


def _camera(rng: np.random.Generator, plan: Plan, body: Body, size: tuple[int, int]) -> Camera:
    middle, _ = body.head()
    way = towards(plan.azimuth, plan.elevation)
    eye = middle + plan.distance * way
    eye[1] = max(eye[1], 0.8)
    half = np.tan(np.deg2rad(plan.field / 2)) * plan.distance
    up = plan.place[1]
    if plan.framing == "full":
        up = (middle[1] * float(rng.uniform(0.4, 0.55))) / half
    right = np.cross(-way, [0, 1, 0])
    right /= np.linalg.norm(right)
    above = np.cross(right, -way)
    shift = right * plan.place[0] * half * size[0] / size[1] + above * up * half
    return Camera(eye, middle - shift, plan.field, plan.tilt)


def seat(rng: np.random.Generator, body: Body, arms: str) -> list[Part]:
    """Build the chair or sofa under a seated person, and often a table before them."""
    hip = body.rig.skeleton.joint(body.rest, "upperleg01.L", "head")
    back = body.world(np.array([[0, hip[1], hip[2] - 1.5]]))[0] * [1, 0, 1]
    parts = (chair if rng.random() < 0.6 else sofa)(rng, back, body.facing)
    if arms == "table" or rng.random() < 0.25:
        front = body.world(np.array([[0, hip[1], hip[2] + float(rng.uniform(6.5, 8.5))]]))[0] * [1, 0, 1]
        parts += table(rng, front, body.facing)
    return parts


def _clothe(rng: np.random.Generator, body: Body, plan: Plan, first: bool) -> tuple[Figure, dict[str, str]]:
    """Return the person's parts, and the names of its glasses, headwear and beard for the record."""
    low, high = plan.skin if first else (0.0, 1.0)
    materials = dress(rng, body.identity, float(np.clip(body.identity.skin, low, high)))
    extras = draw_extras(rng, body.identity, body.rest, materials.get("hair"))
    drawn = figure(body, {**body.identity.garments, **extras.garments}, {**materials, **extras.materials})
    return drawn, extras.notes


def merged(parts: list[Part]) -> list[Part]:
    """Merge parts of the same material, since each part costs a draw call."""
    groups: dict[int, list[Part]] = {}
    for part in parts:
        groups.setdefault(id(part.material), []).append(part)

    def joined(values: list[Floats]) -> Floats:
        return np.concatenate(values)

    return [
        Part(joined([p.vertices for p in g]), joined([p.normals for p in g]), joined([p.uv for p in g]), g[0].material)
        for g in groups.values()
    ]


def project(points: NDArray[np.float64], camera: Camera, size: tuple[int, int]) -> NDArray[np.float64]:
    """Project world points [n, 3] to [n, 3]: x right, y down in pixels (centers at .5), distance along the axis."""
    matrix = look(camera.eye, camera.target, camera.roll)
    seen = points @ matrix[:3, :3].T + matrix[:3, 3]
    far = -seen[:, 2]
    focal = size[1] / 2 / np.tan(np.deg2rad(camera.field) / 2)
    flat = focal * seen[:, :2] / np.maximum(far, 1e-6)[:, None]
    return np.stack([size[0] / 2 + flat[:, 0], size[1] / 2 - flat[:, 1], far], axis=1)


def mark(points: NDArray[np.float64], camera: Camera, view: View) -> NDArray[np.float16]:
    """Return [12, 4]: x, y, disparity, and 1 for points that lie on the surface that the view shows there."""
    height, width = view.alpha.shape
    seen = project(points, camera, (width, height))
    marks = np.zeros((len(points), 4), np.float16)
    for index, (x, y, far) in enumerate(seen):
        inside = 0 <= x < width and 0 <= y < height and far > 0.4
        marks[index, :3] = (np.clip(x, -2000, 2000), np.clip(y, -2000, 2000), 10 / max(float(far), 0.4))
        if inside and view.alpha[int(y), int(x)] >= 128:
            shown = float(view.disparity[int(y), int(x)])
            marks[index, 3] = shown > 0 and abs(10 / shown - far) < _TOLERANCE
    return marks


def _record(plan: Plan, people: list[Identity], first: Figure, camera: Camera) -> dict[str, Any]:
    """Return the record of a view: the head's rotation relative to the camera, and the names of its parts."""
    away = camera.eye - first.middle
    basis = look(camera.eye, camera.target, camera.roll)[:3, :3]
    # The frame that looks at the camera from the head, upright in the picture.
    ahead = away / np.linalg.norm(away)
    left = np.cross(basis[1], ahead)
    left /= np.linalg.norm(left)
    upright = np.stack([left, np.cross(ahead, left), ahead])
    turn = upright @ first.rotation
    yaw = np.rad2deg(np.arctan2(turn[0, 2], turn[2, 2]))
    pitch = -np.rad2deg(np.arcsin(np.clip(turn[1, 2], -1, 1)))
    roll = np.rad2deg(np.arctan2(-turn[1, 0], turn[1, 1]))
    one = people[0]
    skin = one.textures["skin"]
    return {
        "identity": one.name,
        "pitch": round(float(pitch), 1),
        "yaw": round(float(yaw), 1),
        "roll": round(float(roll), 1),
        "distance_m": round(float(np.linalg.norm(away)) / 10, 3),
        "fov_deg": round(plan.field, 1),
        "light": plan.light,
        "backlit": plan.light == "backlit",
        "skin": round(float(np.clip(one.skin, *plan.skin)), 2),
        "skin_file": skin.name if skin is not None else "none",
        "hair": one.hair,
        "outfit": one.outfit,
        "people": len(people),
        "scene": plan.setting,
        "framing": plan.framing,
        "hand": plan.hand,
        "elevation": round(plan.elevation, 1),
        "lean": round(plan.lean, 1),
    }
