"""Identities: a body and face, skin, hair and clothes, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reference.render.assets import Floats, body_folder, load_clothing, load_target
from reference.render.people import RACES, only
from reference.synthesize.rig import Garment, base_mesh, body_vertices, fitted, skin_of
from reference.synthesize.wardrobe import Wardrobe, look_of

_DETAILS = ("nose", "mouth", "chin", "cheek", "head", "eyes", "ears", "forehead", "eyebrows", "neck")
_BALD = 0.07


@dataclass(frozen=True, slots=True)
class Identity:
    """A person before pose and light.

    The keys of `garments` and `textures` are skin, eyes, brows, lashes, teeth, outfit, shoes and, unless bald, hair.
    `skin` is 0 (darkest) to 1 (lightest).
    """

    name: str
    sex: str
    race: str
    age: str
    rest: Floats
    garments: dict[str, Garment]
    textures: dict[str, Path | None]
    skin: float
    hair: str
    outfit: str

    @property
    def soles(self) -> float:
        """Return the height of the lowest body vertex at rest."""
        return float(self.rest[body_vertices(), 1].min())


def draw_identity(name: str, rng: np.random.Generator, wardrobe: Wardrobe) -> Identity:
    """Draw the identity called `name` from `rng`."""
    sex = str(rng.choice(["male", "female"]))
    race = str(rng.choice(RACES, p=[0.4, 0.3, 0.3]))
    age = str(rng.choice(["young", "old"], p=[0.7, 0.3]))
    rest = _shape(rng, sex, race, age)
    skin_file, skin = _skin(rng, wardrobe, sex, race, age)
    # Casual clothes fit anybody; suits and dresses are cut for one sex.
    fits = [p for p in wardrobe.outfits if p.name.startswith(f"{sex}_")]
    casual = [p for p in wardrobe.outfits if "casual" in p.name or "sport" in p.name]
    outfit = _pick(rng, fits if fits and rng.random() < 0.65 else (casual or list(wardrobe.outfits)))
    shoes = _pick(rng, list(wardrobe.shoes))
    short = [p for p in wardrobe.hair if p.name.startswith(("short", "afro"))]
    long = [p for p in wardrobe.hair if p not in short]
    chosen = short if short and rng.random() < (0.9 if sex == "male" else 0.3) else (long or short)
    hair = None if rng.random() < (_BALD * 2 if sex == "male" else _BALD / 2) else _pick(rng, chosen)
    folders = {"outfit": outfit, "shoes": shoes, "brows": _pick(rng, list(wardrobe.brows))}
    folders["lashes"] = _pick(rng, list(wardrobe.lashes))
    if hair is not None:
        folders["hair"] = hair
    garments = {kind: _worn(folder, rest) for kind, folder in folders.items()}
    garments["eyes"] = _worn(wardrobe.folder / "eyes" / "high-poly", rest)
    garments["teeth"] = _worn(wardrobe.folder / "teeth" / "teeth_base", rest)
    garments["skin"] = skin_of(rest, _shown(outfit, shoes))
    textures = {kind: look_of(folder) for kind, folder in folders.items()}
    textures |= {"skin": skin_file, "eyes": _pick(rng, list(wardrobe.eyes))}
    textures["teeth"] = wardrobe.folder / "teeth" / "materials" / "teeth.png"
    hair_name = "none" if hair is None else hair.name
    return Identity(name, sex, race, age, rest, garments, textures, skin, hair_name, outfit.name)


@lru_cache(maxsize=64)
def _shown(outfit: Path, shoes: Path) -> NDArray[np.bool_]:
    """Return a mask of the base mesh's faces that are skin and that the clothes leave bare."""
    mesh = base_mesh()
    hides = np.concatenate([load_clothing(only(folder, "*.mhclo")).hides for folder in (outfit, shoes)])
    return np.asarray((mesh.groups == "body") & ~np.isin(mesh.faces, hides).all(1))


def _worn(folder: Path, rest: Floats) -> Garment:
    return fitted(load_clothing(only(folder, "*.mhclo")), rest)


def _pick(rng: np.random.Generator, paths: list[Path]) -> Path:
    return paths[int(rng.integers(len(paths)))]


def _skin(rng: np.random.Generator, wardrobe: Wardrobe, sex: str, race: str, age: str) -> tuple[Path, float]:
    """Draw a texture of the sex, if possible of the tone and age, and the skin's lightness."""
    low, high = {"caucasian": (0.6, 1.0), "asian": (0.45, 0.9), "african": (0.0, 0.45)}[race]
    tone = "darkskinned" if race == "african" else "lightskinned"
    ages = ("young",) if age == "young" else ("old", "middleage")
    fitting = [p for p in wardrobe.skins if f"_{sex}_" in p.name] or list(wardrobe.skins)
    toned = [p for p in fitting if tone in p.name] or fitting
    aged = [p for p in toned if p.name.startswith(ages)]
    return _pick(rng, aged if aged and rng.random() < 0.7 else toned), float(rng.uniform(low, high))


def _shape(rng: np.random.Generator, sex: str, race: str, age: str) -> Floats:
    """Draw a rest body with random build and features, of a mixture of races in which `race` leads."""
    macro = body_folder() / "targets" / "macrodetails"
    body = base_mesh().vertices.copy()

    def add(path: Path, weight: float) -> None:
        rows, moves = load_target(path)
        body[rows] += np.float32(weight) * moves

    mixture = 0.45 * rng.dirichlet([0.6] * 3) + 0.55 * (np.array(RACES) == race)
    for lead, share in zip(RACES, mixture, strict=True):
        add(macro / f"{lead}-{sex}-{age}.target.gz", float(share))
    muscle = rng.choice(["minmuscle", "averagemuscle", "maxmuscle"], p=[0.25, 0.55, 0.2])
    weight = rng.choice(["minweight", "averageweight", "maxweight"], p=[0.15, 0.55, 0.3])
    add(macro / f"universal-{sex}-{age}-{muscle}-{weight}.target.gz", 1.0)
    details = _details()
    for index in rng.choice(len(details), min(16, len(details)), replace=False):
        add(details[index], float(rng.uniform(0, 0.65)))
    return body


@lru_cache(maxsize=1)
def _details() -> tuple[Path, ...]:
    targets = body_folder() / "targets"
    return tuple(sorted(path for folder in _DETAILS for path in (targets / folder).glob("*.target.gz")))


def expression(rng: np.random.Generator, identity: Identity) -> Floats:
    """Return the rest body with a random facial expression: up to three face units, smiles the most common."""
    units = body_folder() / "targets" / "expression" / "units" / identity.race
    paths = sorted(units.glob("*.target.gz"))
    body = identity.rest.copy()
    for index in rng.choice(len(paths), int(rng.integers(0, 4)), replace=False):
        rows, moves = load_target(paths[index])
        body[rows] += np.float32(rng.uniform(0, 0.55)) * moves
    if rng.random() < 0.35:
        rows, moves = load_target(units / "mouth-corner-puller.target.gz")
        body[rows] += np.float32(rng.uniform(0.2, 0.9)) * moves
    return body
