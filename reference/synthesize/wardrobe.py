"""The wardrobe's items of each split: identities of validation and test wear no item that training saw."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from hydramobile.errors import StageError, UsageError
from reference.render.assets import STAGE

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
# Names of makehumancommunity/makehuman-assets. The wardrobe is small, so validation and test share these items and
# differ by the seeds of their faces, bodies, colors, scenes and lights.
HELD_OUT = frozenset(
    {
        "short03", "bob02", "braid01",
        "female_elegantsuit01", "male_casualsuit03", "male_casualsuit06",
        "young_lightskinned_female_diffuse3", "young_lightskinned_male_diffuse3",
        "middleage_lightskinned_male_diffuse", "middleage_darkskinned_male_diffuse",
        "eyebrow010", "eyebrow011", "eyebrow012", "grey_eye", "eyelashes04", "shoes06",
    }
)  # fmt: skip

# Its texture is not in the wardrobe; without it the hair is opaque and looks like a helmet.
_UNUSABLE = frozenset({"bob01"})


@dataclass(frozen=True, slots=True)
class Wardrobe:
    """One split's folders of hair, outfits, shoes, brows and lashes, and files of skins and eyes."""

    folder: Path
    hair: tuple[Path, ...]
    outfits: tuple[Path, ...]
    shoes: tuple[Path, ...]
    brows: tuple[Path, ...]
    lashes: tuple[Path, ...]
    skins: tuple[Path, ...]
    eyes: tuple[Path, ...]

    @property
    def rigs(self) -> Path:
        return self.folder / "rigs"


@lru_cache(maxsize=4)
def load_wardrobe(folder: Path, split: Split) -> Wardrobe:
    """Return the items of `split`. Raises UsageError if `folder` is no wardrobe, StageError if a kind is missing."""
    if not (folder / "rigs").is_dir():
        raise UsageError(f"{folder} is not a MakeHuman wardrobe: it has no rigs/")

    def of(kind: str, pattern: str) -> tuple[Path, ...]:
        items = sorted(path for path in folder.glob(pattern) if path.is_file() or any(path.glob("*.mhclo")))
        items = [path for path in items if path.name not in _UNUSABLE]
        chosen = tuple(path for path in items if (path.stem in HELD_OUT) == (split != "train"))
        if not chosen:
            raise StageError(STAGE, f"{folder} has no {kind} for {split} ({len(items)} in all, looked for {pattern})")
        return chosen

    return Wardrobe(
        folder,
        of("hair", "hair/*"),
        of("outfits", "clothes/*male_*"),
        of("shoes", "clothes/shoes*"),
        of("brows", "eyebrows/*"),
        of("lashes", "eyelashes/*"),
        of("skins", "skins/textures/*_diffuse*"),
        of("eyes", "eyes/materials/*_eye.png"),
    )


def look_of(folder: Path) -> Path | None:
    """Return an item's color texture, its ambient occlusion if it has no colors, or None."""
    for pattern in ("*_diffuse.*", "eyebrow*.png", "eyelash*.png", "*_ao.*"):
        if found := sorted(folder.glob(pattern)):
            return found[0]
    return None
