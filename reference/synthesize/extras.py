"""Glasses, caps, beards and loose hair, which the wardrobe lacks. All at rest, in the base mesh's axes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reference.render.assets import Floats, Ints
from reference.render.people import Material, rgb
from reference.synthesize import textures
from reference.synthesize.dress import fabric_color, hair_color, mean_albedo
from reference.synthesize.identity import Identity
from reference.synthesize.rig import Garment, base_mesh, body_vertices, held_by

_BRIDGE, _FOREHEAD, _CORNER, _EAR = 131, 251, 6962, 12038
# A cap covers the base mesh's head above this plane: its height at the forehead, and its slope.
_CAP_FRONT, _CAP_SLOPE = 7.72, 0.24


@dataclass(slots=True)
class Extras:
    """Garments and materials by name, and their names in the record. `garments["hair"]` replaces hair under a cap."""

    garments: dict[str, Garment] = field(default_factory=dict)
    materials: dict[str, Material] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, garment: Garment, material: Material) -> None:
        self.garments[name], self.materials[name] = garment, material


def draw_extras(rng: np.random.Generator, identity: Identity, rest: Floats, hair: Material | None) -> Extras:
    """Draw glasses, headwear and a beard at random; everyone who has hair gets loose hair."""
    extras = Extras(notes={"glasses": "none", "headwear": "none", "beard": "none"})
    if rng.random() < 0.24:
        _glasses(rng, rest, extras)
    worn = identity.garments.get("hair")
    if rng.random() < 0.12:
        _cap(rng, rest, extras)
        if worn is not None:
            worn = _below_cap(worn, rest)
            extras.garments["hair"] = worn
    if worn is not None and hair is not None and len(worn.faces):
        _loose_hair(rng, worn, hair, extras)
    if identity.sex == "male" and rng.random() < 0.5:
        color = hair_color(rng, identity.age, identity.skin) if hair is None or rng.random() < 0.2 else None
        _beard(rng, rest, hair if color is None else None, color, extras)
    return extras


def _glasses(rng: np.random.Generator, rest: Floats, extras: Extras) -> None:
    """Add two rims, a bridge and two temples; in 35 % of the cases dark lenses."""
    corner, bridge, ear = rest[_CORNER], rest[_BRIDGE], rest[_EAR]
    wide, tall = float(rng.uniform(0.21, 0.29)), float(rng.uniform(0.14, 0.25))
    thick, power = float(rng.uniform(0.01, 0.032)), float(rng.uniform(2, 5))
    middle = np.array([corner[0] * 0.64, corner[1] - rng.uniform(0, 0.06), bridge[2] + rng.uniform(0.02, 0.08)])
    angle = np.linspace(0, 2 * np.pi, 29)[:-1]
    cosine, sine = np.cos(angle), np.sin(angle)
    rim = np.stack(
        [
            middle[0] + wide * np.sign(cosine) * np.abs(cosine) ** (2 / power),
            middle[1] + tall * np.sign(sine) * np.abs(sine) ** (2 / power),
            middle[2] - 0.12 * cosine * wide,
        ],
        axis=1,
    )
    end = np.array([middle[0] + wide, middle[1] + tall * 0.5, rim[:, 2].min()])
    behind = np.array([max(ear[0] * 0.93, end[0]), ear[1] + 0.12, ear[2] + 0.12])
    temple = np.array([end, 0.5 * (end + behind) + [0.03, 0, 0], behind, behind - np.array([0.02, 0.2, 0.18])])
    inner = np.array([middle[0] - wide, middle[1] + tall * 0.25, middle[2] + 0.02])
    over = np.array([inner, [0, inner[1] + 0.04, inner[2] + 0.05], inner * [-1, 1, 1]])
    mirror = np.array([-1, 1, 1])
    tubes = [
        _tube(np.vstack([rim, rim[:1]]), thick),
        _tube(np.vstack([rim, rim[:1]]) * mirror, thick),
        _tube(temple, thick),
        _tube(temple * mirror, thick),
        _tube(over, thick),
    ]
    color = fabric_color(rng) if rng.random() < 0.5 else np.full(3, float(rng.choice([0.01, 0.03, 0.5])))
    frame = Material(textures.density(255), rgb(color), float(rng.uniform(0.03, 0.3)), 60.0)
    extras.add("glasses", _joined(tubes, _BRIDGE), frame)
    extras.notes["glasses"] = "clear"
    if rng.random() < 0.35:
        lenses = []
        for side in (1.0, -1.0):
            ring = rim * [side, 1, 1]
            points = np.vstack([ring.mean(0), ring]).astype(np.float32)
            index = np.arange(len(ring))
            lenses.append((points, np.stack([np.zeros_like(index), 1 + index, 1 + (index + 1) % len(ring)], 1)))
        glass = Material(textures.density(255), rgb(fabric_color(rng) * 0.1 + 0.004), 0.12, 110.0)
        extras.add("lenses", _joined(lenses, _BRIDGE), glass)
        extras.notes["glasses"] = "dark"


def _above(points: Floats, margin: float) -> NDArray[np.bool_]:
    return np.asarray(points[:, 1] > _CAP_FRONT - _CAP_SLOPE * (1.45 - points[:, 2]) + margin)


@lru_cache(maxsize=1)
def _skull() -> tuple[Ints, Ints]:
    """Return the scalp's body vertices, and its faces as indices into them."""
    mesh = base_mesh()
    wanted = _above(mesh.vertices, 0.0) & np.isin(np.arange(len(mesh.vertices)), body_vertices())
    faces = mesh.faces[wanted[mesh.faces].all(1) & (mesh.groups == "body")]
    used = np.unique(faces)
    return used, np.searchsorted(used, faces)


def _cap(rng: np.random.Generator, rest: Floats, extras: Extras) -> None:
    """Add a knitted cap, or one with a peak."""
    used, faces = _skull()
    center = rest[used].mean(0) * [0, 1, 1] - [0, 0.35, 0]
    outward = rest[used] - center
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    peak = rng.random() < 0.55
    loft = float(rng.uniform(0.12, 0.2)) + float(rng.uniform(0, 0.25)) * np.clip(outward[:, 1:2], 0, 1) ** 2
    shell = (rest[used] + outward * loft).astype(np.float32)
    uv = np.stack([np.arctan2(shell[:, 0], shell[:, 2] - center[2]) * 0.5, shell[:, 1]], axis=1).astype(np.float32)
    kind = float(rng.choice([0, 1, 3, 5], p=[0.5, 0.2, 0.1, 0.2]))
    tints = rgb(fabric_color(rng) * 1.1), rgb(fabric_color(rng) * 1.1)
    cloth = Material(
        textures.wall(2 * int(rng.integers(8))), tints[0], 0.01, dye=1.0, bump=0.03,
        pattern=(kind, float(rng.choice([4, 10, 24])), 0.5, float(rng.choice([0, 1]))), second=tints[1],
    )  # fmt: skip
    extras.add("cap", held_by(shell, faces, uv[faces], used), cloth)
    extras.notes["headwear"] = "cap" if peak else "beanie"
    if not peak:
        return
    across, along = np.meshgrid(np.linspace(-1, 1, 15), np.linspace(0, 1, 6))
    front = rest[_FOREHEAD]
    reach, turned = float(rng.uniform(0.55, 0.85)), -1.0 if rng.random() < 0.15 else 1.0
    depth = front[2] + 0.12 - 0.62 * across**2 + along * reach * (1 - 0.45 * across**2)
    plate = np.stack(
        [0.8 * across, front[1] + 0.02 - 0.16 * along - 0.14 * across**2, depth if turned > 0 else 0.4 - depth], -1
    )
    index = np.arange(90).reshape(6, 15)
    a, b, c, d = (x.ravel() for x in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    quads = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    flat = np.stack([across.ravel(), along.ravel()], 1).astype(np.float32)
    vertices = plate.reshape(-1, 3).astype(np.float32)
    extras.add("peak", held_by(vertices, quads, flat[quads], np.array([_FOREHEAD])), cloth)


def _below_cap(hair: Garment, rest: Floats) -> Garment:
    """Return the hair that a cap does not cover; the cap's plane moves with the forehead."""
    shift = rest[_FOREHEAD] - base_mesh().vertices[_FOREHEAD]
    kept = ~_above(hair.vertices - shift, 0.0)[hair.faces].all(1)
    return Garment(hair.vertices, hair.faces[kept], hair.uv[kept], hair.hold)


def _normals(vertices: Floats, faces: Ints) -> Floats:
    corners = vertices[faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = np.stack([np.bincount(faces.ravel(), np.repeat(flat, 3, 0)[:, k], len(vertices)) for k in range(3)], 1)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9), np.float32)


def _loose_hair(rng: np.random.Generator, hair: Garment, material: Material, extras: Extras) -> None:
    """Add a thin shell around the hair, and single strands that stand off."""
    normals = _normals(hair.vertices, hair.faces)
    # The textures' own brightness, which the dye divides the tint by.
    gray = float(mean_albedo(material.texture) @ [0.3, 0.6, 0.1]) if isinstance(material.texture, Path) else 0.35
    tint = np.array(material.tint) * (0.08 + gray)
    shell = Garment(hair.vertices + normals * np.float32(rng.uniform(0.012, 0.04)), hair.faces, hair.uv, hair.hold)
    fuzz = Material(textures.density(70), rgb(tint), material.gloss, 18.0, cutoff=-1.0, soft=material.soft)
    extras.add("fuzz", shell, fuzz)
    count = int(rng.integers(30, 320))
    used = np.unique(hair.faces)
    roots = used[rng.integers(len(used), size=count)]
    length = np.clip(rng.exponential(0.16, (count, 1)), 0.05, 0.7)
    way = normals[roots] + rng.normal(0, 0.6, (count, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    bend = np.array([0, -1.0, 0]) * rng.uniform(0.0, 1.0, (count, 1)) + rng.normal(0, 0.35, (count, 3))
    steps = np.linspace(0, 1, 6)[None, :, None]
    spine = hair.vertices[roots][:, None] + length[:, None] * (way[:, None] * steps + bend[:, None] * steps**2)
    side = np.cross(way, rng.normal(0, 1, (count, 3)))
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-6)
    width = rng.uniform(0.0015, 0.005, (count, 1))[:, None] * (1 - 0.8 * steps)
    ribbon = np.stack([spine - side[:, None] * width, spine + side[:, None] * width], axis=2)
    index = np.arange(count * 12).reshape(count, 6, 2)
    a, b, c, d = (x.ravel() for x in (index[:, :-1, 0], index[:, :-1, 1], index[:, 1:, 1], index[:, 1:, 0]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    hold = hair.hold[np.repeat(roots, 12)]
    single = Material(textures.density(255), rgb(tint), material.gloss, 18.0, soft=material.soft)
    uv = np.zeros((len(faces), 3, 2), np.float32)
    extras.add("strands", Garment(ribbon.reshape(-1, 3).astype(np.float32), faces, uv, hold), single)


@lru_cache(maxsize=4)
def _jaw(kind: str) -> tuple[Ints, Ints]:
    """Return the body vertices that a beard covers, and its faces as indices into them."""
    x, y, z = base_mesh().vertices.T
    x = np.abs(x)
    lips = (y > 6.5) & (y < 6.71) & (x < 0.3) & (z > 1.35)
    chin = (y < 6.62) & (y > 6.0) & (z > 0.85) & (x < 0.36) & (z > 1.0 - 0.0 * y)
    jaw = (y < 6.75 - 0.25 * (1.2 - z)) & (y > 6.02) & (z > 0.25) & (x > 0.25)
    burns = (x > 0.52) & (y > 6.4) & (y < 7.15) & (z > 0.42) & (z < 0.95)
    lip = (y >= 6.7) & (y < 6.81) & (x < 0.36) & (z > 1.3)
    wanted = {"full": chin | jaw | burns | lip, "goatee": chin | lip, "mustache": lip, "stubble": chin | jaw | lip}[
        kind
    ]
    mesh = base_mesh()
    wanted &= ~lips & np.isin(np.arange(len(x)), body_vertices())
    faces = mesh.faces[wanted[mesh.faces].all(1) & (mesh.groups == "body")]
    used = np.unique(faces)
    return used, np.searchsorted(used, faces)


def _beard(
    rng: np.random.Generator, rest: Floats, hair: Material | None, color: NDArray[np.float64] | None, extras: Extras
) -> None:
    """Add shells of the jaw's skin, each with fewer hairs than the one below."""
    kind = str(rng.choice(["full", "goatee", "mustache", "stubble"], p=[0.4, 0.15, 0.1, 0.35]))
    used, faces = _jaw(kind)
    if not len(faces):
        return
    normals = _normals(rest[used], faces)
    normals = normals + np.array([0, -0.5, 0.15], np.float32)
    uv = (np.stack([rest[used][:, 0] + rest[used][:, 2] * 0.3, rest[used][:, 1]], 1) * 0.6).astype(np.float32)
    long = float(rng.uniform(0.01, 0.03)) if kind == "stubble" else float(rng.uniform(0.03, 0.14))
    tint = color * 1.0 if color is not None else np.array(hair.tint if hair else (0.1, 0.1, 0.1)) * 0.3
    levels = (110, 60) if kind == "stubble" else (235, 215, 185, 140, 80)
    for step, level in enumerate(levels):
        shell = rest[used] + normals * np.float32(0.006 + long * step / len(levels))
        shade = tint * (0.5 + 0.5 * step / len(levels))  # the inner shells are in the outer ones' shadow
        material = Material(textures.density(level), rgb(shade), 0.01, 12.0, cutoff=-1.0, soft=(0.3, 0.3, 0.3))
        extras.add(f"beard {step}", held_by(shell.astype(np.float32), faces, uv[faces], used), material)
    extras.notes["beard"] = kind


def _tube(path: NDArray[np.float64], radius: float, sides: int = 6) -> tuple[Floats, Ints]:
    """Return a tube along `path` [n, 3]."""
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    first = np.cross(along, np.where(np.abs(along[:, 1:2]) > 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]]))
    first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-9)
    second = np.cross(along, first)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)[None, :, None]
    ring = path[:, None] + radius * (np.cos(angle) * first[:, None] + np.sin(angle) * second[:, None])
    index = np.arange(len(path) * sides).reshape(len(path), sides)
    a, b = index[:-1], np.roll(index[:-1], -1, 1)
    c, d = np.roll(index[1:], -1, 1), index[1:]
    faces = np.concatenate([np.stack([x.ravel() for x in t], 1) for t in ((a, b, c), (a, c, d))])
    return ring.reshape(-1, 3).astype(np.float32), faces


def _joined(pieces: list[tuple[Floats, Ints]], carrier: int) -> Garment:
    """Join pieces into one garment that moves with body vertex `carrier`."""
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in pieces)])
    vertices = np.concatenate([vertices for vertices, _ in pieces])
    faces = np.concatenate([faces + start for (_, faces), start in zip(pieces, starts[:-1], strict=True)])
    return held_by(vertices, faces, np.zeros((len(faces), 3, 2), np.float32), np.array([carrier]))
