"""Draw an identity's materials for one view: skin lightness, hair color, dyed and patterned clothes."""

from __future__ import annotations

import colorsys
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reference.render.people import Material, rgb
from reference.synthesize import textures
from reference.synthesize.identity import Identity

# Albedo in linear light, from the darkest to the lightest skin.
_SKIN = np.array(
    [[0.045, 0.024, 0.016], [0.12, 0.065, 0.042], [0.27, 0.155, 0.10], [0.43, 0.275, 0.20], [0.52, 0.36, 0.29]]
)
_HAIR = np.array(
    [
        [0.012, 0.010, 0.009],
        [0.03, 0.02, 0.014],
        [0.07, 0.042, 0.026],
        [0.16, 0.095, 0.055],
        [0.42, 0.29, 0.15],
        [0.26, 0.09, 0.035],
        [0.36, 0.35, 0.34],
        [0.66, 0.65, 0.63],
    ]
)
_HAIR_ODDS = {
    "young": [0.23, 0.23, 0.19, 0.15, 0.12, 0.06, 0.01, 0.01],
    "old": [0.16, 0.15, 0.13, 0.11, 0.09, 0.03, 0.23, 0.10],
}


def dress(rng: np.random.Generator, identity: Identity, lightness: float) -> dict[str, Material]:
    """Return the material of each of the identity's garments."""
    texture = identity.textures
    skin_path = _path(texture["skin"])
    target = skin_color(lightness) * rng.uniform(0.92, 1.08, 3)
    tint = np.clip(target / mean_albedo(skin_path), 0.12, 1.8)
    # Most eyes are brown; the wardrobe's are mostly blue.
    odds = [0.0, 0.1, 0.4, 0.5] if identity.race != "caucasian" else [0.5, 0.2, 0.2, 0.1]
    eye = textures.eye(_path(texture["eyes"]), int(rng.choice(4, p=odds)))
    materials = {
        "skin": Material(
            skin_path, rgb(tint), float(rng.uniform(0.012, 0.04)), float(rng.uniform(10, 30)),
            bump=0.006, soft=(0.32, 0.2, 0.16),
        ),
        "eyes": Material(eye, gloss=0.05, shininess=90.0, cutoff=0.5, soft=(0.3, 0.3, 0.3)),
        "teeth": Material(_path(texture["teeth"]), gloss=0.1, shininess=30.0),
        "brows": Material(_path(texture["brows"]), cutoff=0.45),
        "lashes": Material(_path(texture["lashes"]), cutoff=0.5),
        "outfit": cloth(rng, texture["outfit"]),
        "shoes": cloth(rng, texture["shoes"]),
    }  # fmt: skip
    if "hair" in identity.garments:
        materials["hair"] = hair(rng, texture["hair"], identity.age, lightness)
    return materials


def skin_color(lightness: float) -> NDArray[np.float64]:
    """Return the albedo of skin for a lightness of 0 (darkest) to 1 (lightest)."""
    return np.array([np.interp(lightness, np.linspace(0, 1, len(_SKIN)), _SKIN[:, k]) for k in range(3)])


def hair_color(rng: np.random.Generator, age: str, lightness: float) -> NDArray[np.float64]:
    odds = np.array(_HAIR_ODDS[age])
    if lightness < 0.45 and rng.random() < 0.85:
        odds = odds * [1, 1, 0.5, 0.1, 0.02, 0.05, 1, 1]
    color = _HAIR[int(rng.choice(len(_HAIR), p=odds / odds.sum()))]
    if rng.random() < 0.03:
        color = np.array(colorsys.hsv_to_rgb(float(rng.random()), 0.7, 0.4))
    return np.asarray(color * rng.uniform(0.8, 1.3) * rng.uniform(0.92, 1.08, 3))


def hair(rng: np.random.Generator, path: Path | None, age: str, lightness: float) -> Material:
    color = hair_color(rng, age, lightness)
    texture = textures.strands(int(rng.integers(4))) if path is None or path.stem.endswith("_ao") else path
    gray = 0.35 if isinstance(texture, np.ndarray) else float(mean_albedo(texture) @ [0.3, 0.6, 0.1])
    shine = float(rng.uniform(0.004, 0.03)) + 0.1 * float(color.mean())
    return Material(
        texture, rgb(color / (0.08 + gray)), shine, 18.0, cutoff=-1.0, dye=0.92, bump=0.01, soft=(0.4, 0.4, 0.4)
    )


def cloth(rng: np.random.Generator, path: Path | None) -> Material:
    """Draw a fabric: as painted, or dyed, striped, checked, printed."""
    painted = path is not None and "_diffuse" in path.stem
    texture = textures.strands(0) if path is None else path
    gloss, bump = float(rng.choice([0.005, 0.02, 0.08], p=[0.6, 0.3, 0.1])), float(rng.uniform(0.005, 0.03))
    if painted and rng.random() < 0.22:
        return Material(texture, rgb(rng.uniform(0.5, 1.2, 3)), gloss, 8.0, bump=bump)
    gray = float(mean_albedo(texture) @ [0.3, 0.6, 0.1]) if isinstance(texture, Path) else 0.4
    first, second = (fabric_color(rng) / (0.08 + gray) for _ in range(2))
    if rng.random() < 0.4:
        second = first * rng.uniform(0.3, 1.6)
    kind = float(rng.choice([0, 1, 2, 3, 4, 5], p=[0.4, 0.16, 0.08, 0.08, 0.13, 0.15]))
    repeats = float(rng.choice([8, 16, 32, 64])) if kind != 5 else float(rng.choice([30, 60, 120]))
    slant = float(rng.choice([0.0, 1.0, 3.0, 20.0]))
    return Material(
        texture, rgb(np.minimum(first, 3.0)), gloss, 8.0, dye=float(rng.uniform(0.8, 1.0)), bump=bump,
        pattern=(kind, repeats, float(rng.uniform(0.3, 0.7)), slant), second=rgb(np.minimum(second, 3.0)),
    )  # fmt: skip


def fabric_color(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw black, white or gray in 45 % of the cases, else any hue, mostly of moderate strength."""
    if rng.random() < 0.45:
        return np.full(3, float(rng.choice([0.015, 0.03, 0.08, 0.2, 0.45, 0.7]))) * rng.uniform(0.9, 1.1, 3)
    strength, value = float(rng.beta(2, 2)), float(rng.choice([0.06, 0.15, 0.3, 0.5, 0.75]))
    return np.array(colorsys.hsv_to_rgb(float(rng.random()), strength, value))


@lru_cache(maxsize=128)
def mean_albedo(path: Path) -> NDArray[np.float64]:
    """Return the mean color [3] of a texture's opaque and not quite black texels, in linear light."""
    small = np.asarray(Image.open(path).convert("RGBA").resize((64, 64)), np.float64) / 255
    solid = (small[..., 3] > 0.5) & (small[..., :3].sum(-1) > 0.1)
    texels = small[solid] if solid.any() else small.reshape(-1, 4)
    return np.asarray((texels[:, :3] ** 2.2).mean(0))


def _path(path: Path | None) -> Path:
    assert path is not None  # skins, eyes, teeth, brows and lashes always have a texture
    return path
