"""Random people: a body of blended shape targets, posed, with skin, hair, eyes, brows, lashes and clothes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hydramobile.errors import StageError
from reference.render.assets import (
    STAGE,
    Floats,
    Ints,
    body_folder,
    load_clothing,
    load_obj,
    load_skeleton,
    load_target,
    rotation,
)

RACES = ("caucasian", "african", "asian")
_DETAILS = ("nose", "mouth", "chin", "cheek", "head", "eyes", "ears", "forehead", "eyebrows", "neck")
# The wardrobe has no dark-skinned female texture: a light one is multiplied by this, in linear light.
_DARK = (0.34, 0.25, 0.20)


@dataclass(frozen=True, slots=True)
class Material:
    """The look of a surface: a texture (path or [h, w, 4] bytes, row 0 at the top) times `tint` in linear light."""

    texture: Path | NDArray[np.uint8]
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gloss: float = 0.02
    shininess: float = 8.0
    # Pixels with a texture alpha below this are holes; a negative value draws a threshold per texel: wisps of hair.
    cutoff: float = 0.0
    # Light that the surface emits, as a share of its color: sky, lamps, windows.
    glow: float = 0.0
    # The share of the texture's own hue that the tint replaces.
    dye: float = 0.0
    # Only reference/synthesize draws the fields below. A woven or printed pattern over the texture: kind (0 none,
    # 1 stripes, 2 patches, 3 checks, 4 plaid, 5 melange), repeats, share and slant; and the pattern's second tint.
    pattern: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    second: tuple[float, float, float] = (1.0, 1.0, 1.0)
    # Height of the relief that the texture's brightness gives the surface, in decimetres.
    bump: float = 0.0
    # How far light wraps around the edge, for red, green and blue: skin lets red through.
    soft: tuple[float, float, float] = (0.15, 0.15, 0.15)


@dataclass(frozen=True, slots=True)
class Part:
    """Triangles [n, 3, 3] with normals [n, 3, 3] and texture coordinates [n, 3, 2] (v up), and their material."""

    vertices: Floats
    normals: Floats
    uv: Floats
    material: Material


@dataclass(frozen=True, slots=True)
class Person:
    """The parts to draw, the middle of the head, and the height of the crown; the soles are at y = 0."""

    parts: tuple[Part, ...]
    head: NDArray[np.float64]
    height: float


@dataclass(frozen=True, slots=True)
class Pose:
    """The head's rotation in degrees: `yaw` to its left, `pitch` down, `roll` to its right; and the back's `lean`."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    lean: float = 0.0


def random_person(rng: np.random.Generator, wardrobe: Path, pose: Pose, turn: float, place: float) -> Person:
    """Draw a person of the wardrobe on the floor y = 0, turned by `turn` degrees, at x = `place` decimetres."""
    sex, race = str(rng.choice(["male", "female"])), str(rng.choice(RACES))
    age = str(rng.choice(["young", "old"], p=[0.75, 0.25]))
    base = load_obj(body_folder() / "3dobjs" / "base.obj")
    body = _pose(rng, _shape(rng, base.vertices, sex, race, age), wardrobe, pose)
    skin = np.unique(base.faces[base.groups == "body"])
    body[:, 1] -= body[skin, 1].min()
    body = (body @ rotation((0, 1, 0), turn).T + [place, 0, 0]).astype(np.float32)

    outfit = pick(rng, (wardrobe / "clothes").glob(f"{sex}_*"))
    shoes = pick(rng, (wardrobe / "clothes").glob("shoes*"))
    hides = np.concatenate([load_clothing(only(folder, "*.mhclo")).hides for folder in (outfit, shoes)])
    shown = (base.groups == "body") & ~np.isin(base.faces, hides).all(1)
    parts = [smooth_part(body, base.faces[shown], base.uv[base.uv_faces[shown]], _skin(rng, wardrobe, sex, race, age))]
    parts += [_worn(body, folder, _cloth(rng, color_texture(folder))) for folder in (outfit, shoes)]
    if rng.random() < 0.9:
        hair = pick(rng, (wardrobe / "hair").glob("short*" if sex == "male" else "*"))
        shade = float(rng.uniform(0.25, 1.5)) * rng.uniform(0.85, 1.15, 3)
        parts.append(_worn(body, hair, Material(color_texture(hair), rgb(shade), 0.1, 20.0, cutoff=-1.0)))
    eyes = pick(rng, (wardrobe / "eyes" / "materials").glob("*_eye.png"))
    parts.append(_worn(body, wardrobe / "eyes" / "high-poly", Material(eyes, gloss=0.6, shininess=120.0, cutoff=0.5)))
    for kind in ("eyebrows", "eyelashes"):
        folder = pick(rng, (wardrobe / kind).glob("*"))
        parts.append(_worn(body, folder, Material(color_texture(folder), cutoff=0.5)))
    teeth = wardrobe / "teeth"
    parts.append(_worn(body, teeth / "teeth_base", Material(teeth / "materials" / "teeth.png", gloss=0.2)))

    skeleton = load_skeleton(wardrobe / "rigs")
    head = 0.4 * skeleton.joint(body, "head", "head") + 0.6 * skeleton.joint(body, "head", "tail")
    return Person(tuple(parts), head, float(body[skin, 1].max()))


def _shape(rng: np.random.Generator, base: Floats, sex: str, race: str, age: str) -> Floats:
    """Draw a rest body with random build, features and expression, of a mixture of races in which `race` leads."""
    targets = body_folder() / "targets"
    macro = targets / "macrodetails"
    body = base.copy()

    def add(path: Path, weight: float) -> None:
        rows, moves = load_target(path)
        body[rows] += np.float32(weight) * moves

    mixture = 0.4 * rng.dirichlet([0.6] * 3) + 0.6 * (np.array(RACES) == race)
    for name, share in zip(RACES, mixture, strict=True):
        add(macro / f"{name}-{sex}-{age}.target.gz", float(share))
    muscle = rng.choice(["minmuscle", "averagemuscle", "maxmuscle"], p=[0.25, 0.6, 0.15])
    weight = rng.choice(["minweight", "averageweight", "maxweight"], p=[0.2, 0.6, 0.2])
    add(macro / f"universal-{sex}-{age}-{muscle}-{weight}.target.gz", 1.0)
    details = sorted(path for folder in _DETAILS for path in (targets / folder).glob("*.target.gz"))
    for index in rng.choice(len(details), 14, replace=False):
        add(details[index], float(rng.uniform(0, 0.6)))
    expressions = sorted((targets / "expression" / "units" / race).glob("*.target.gz"))
    for index in rng.choice(len(expressions), 2, replace=False):
        add(expressions[index], float(rng.uniform(0, 0.5)))
    return body


def _pose(rng: np.random.Generator, body: Floats, wardrobe: Path, pose: Pose) -> Floats:
    """Return `body` with arms down, the head rotated (shared by neck and head) and the back leaning."""

    def turned(share: float) -> NDArray[np.float64]:
        yaw, pitch = rotation((0, 1, 0), share * pose.yaw), rotation((1, 0, 0), share * pose.pitch)
        return yaw @ pitch @ rotation((0, 0, 1), share * pose.roll)

    back = rotation((1, 0, 0), pose.lean / 2)
    turns = {"neck01": turned(0.2), "neck02": turned(0.25), "head": turned(0.55), "spine04": back, "spine02": back}
    for side, sign in (("L", -1), ("R", 1)):
        turns[f"upperarm01.{side}"] = rotation((0, 0, 1), sign * float(rng.uniform(32, 48)))
        turns[f"lowerarm01.{side}"] = rotation((1, 0, 0), -float(rng.uniform(0, 25)))
    return load_skeleton(wardrobe / "rigs").pose(body, turns)


def _skin(rng: np.random.Generator, wardrobe: Path, sex: str, race: str, age: str) -> Material:
    folder = wardrobe / "skins" / "textures"
    tone = "darkskinned" if race == "african" else "lightskinned"
    ages = (age,) if age == "young" else ("old", "middleage")
    exact = [path for a in ages for path in sorted(folder.glob(f"{a}_{tone}_{sex}_diffuse*"))]
    textures = exact or sorted(folder.glob(f"*_{tone}_{sex}_diffuse*")) or sorted(folder.glob(f"*_{sex}_diffuse*"))
    texture = pick(rng, textures)
    lightness = rng.uniform(0.8, 1.15) * rng.uniform(0.95, 1.05, 3)
    darkened = lightness * _DARK if race == "african" and tone not in texture.name else lightness
    return Material(texture, rgb(darkened), gloss=0.06, shininess=14.0)


def _cloth(rng: np.random.Generator, texture: Path) -> Material:
    """Draw a fabric, sometimes as painted, else dyed: the wardrobe is small and some of its shirts bear a logo."""
    if rng.random() < 0.25:
        return Material(texture)
    hue = rng.uniform(0.15, 1.0, 3) * rng.uniform(0.4, 2.2)
    return Material(texture, rgb(hue), dye=float(rng.uniform(0.75, 1.0)))


def _worn(body: Floats, folder: Path, material: Material) -> Part:
    clothing = load_clothing(only(folder, "*.mhclo"))
    return smooth_part(clothing.fit(body), clothing.mesh.faces, clothing.mesh.uv[clothing.mesh.uv_faces], material)


def smooth_part(vertices: Floats, faces: Ints, uv: Floats, material: Material) -> Part:
    """Return triangles with smooth normals: at each vertex the mean of its faces' normals, weighted by area."""
    corners = vertices[faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], flat)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return Part(corners, normals[faces], uv, material)


def color_texture(folder: Path) -> Path:
    """Return the color texture in a wardrobe item's folder."""
    for pattern in ("*_diffuse*", "eyebrow*.png", "eyelash*.png"):
        if found := sorted(folder.glob(pattern)):
            return found[0]
    raise StageError(STAGE, f"{folder} has no color texture")


def pick(rng: np.random.Generator, paths: Iterable[Path]) -> Path:
    """Draw one of `paths`: files, or folders that hold a color texture. Raises StageError if there is none."""
    candidates = sorted(paths)
    usable = [p for p in candidates if p.is_file() or any(p.glob("*_diffuse*")) or any(p.glob("eye*.png"))]
    if not usable:
        raise StageError(STAGE, f"none of {len(candidates)} paths of the wardrobe is a file or holds a color texture")
    return usable[int(rng.integers(len(usable)))]


def only(folder: Path, pattern: str) -> Path:
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise StageError(STAGE, f"{folder} holds no {pattern}")
    return paths[0]


def rgb(values: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
