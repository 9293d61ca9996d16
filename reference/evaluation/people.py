"""Real people, listed in people.toml of the model: measured depth, checked mattes, and photos without anybody.

    source = "..."                  where the photos come from
    [[depth]]  file, sha256         PACK/rgbd/NAME.jpg, beside it NAME.disparity.png and NAME.mask.png
               person = "..."       photos of one person in one pose count as one
               matte = true         whether the mask is good enough to judge the matte
               sensor = true        false for a render of a scan: reported, not in the means
    [[matte]]  file, sha256         PACK/people/NAME; MATTES/NAME.png is the teachers' matte, checked by eye
    [[empty]]  file, sha256         PACK/backgrounds/NAME: alpha should be 0 everywhere

The photos belong to others. They are judged in place, and neither copied nor committed. None may be trained on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from hydramobile.errors import StageError, UsageError
from hydramobile.files import sha256_file
from hydramobile.preprocess import load_photo, nearest_size, to_tensor
from hydramobile.spec import ModelSpec
from hydramobile.toml_table import Table, read_toml
from reference.evaluation.measure import Case, Judged, judge
from reference.infer import run
from reference.training.views import POINTS

STAGE = "people"
FILE = "people.toml"
# A photo with depth is judged on the person's box, enlarged by this share: its background was cut out or is unknown.
MARGIN = 0.15
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DepthPhoto:
    """A photo with measured disparity. See the module's description of `person`, `matte` and `sensor`."""

    path: Path
    person: str
    matte: bool
    sensor: bool


@dataclass(frozen=True, slots=True)
class People:
    """The listed photos, whose hashes were checked. `mattes` pairs a photo with its matte."""

    depth: tuple[DepthPhoto, ...]
    mattes: tuple[tuple[Path, Path], ...]
    empty: tuple[Path, ...]


def read_people(spec: ModelSpec, pack: Path, mattes: Path) -> People:
    """Read people.toml of the model and find its photos.

    Raises UsageError where a folder or a matte is missing, StageError("people") for a photo with another hash.
    """
    path = spec.samples_folder.parent / FILE
    top = read_toml(path, STAGE)
    top.string("source")
    depth = tuple(
        DepthPhoto(listed(row, pack / "rgbd"), row.string("person"), row.flag("matte"), row.flag("sensor"))
        for row in top.rows("depth", [])
    )
    photos = [listed(row, pack / "people") for row in top.rows("matte", [])]
    empty = tuple(listed(row, pack / "backgrounds") for row in top.rows("empty", []))
    top.done()
    pairs = tuple((photo, mattes / f"{photo.stem}.png") for photo in photos)
    for photo, matte in pairs:
        if not matte.is_file():
            raise UsageError(f"no matte {matte} of {photo.name}: python -m reference mattes {photo.parent} writes it")
    return People(depth, pairs, empty)


def listed(row: Table, folder: Path) -> Path:
    """Return the path of a listed photo whose content has the listed hash."""
    path = folder / row.string("file")
    if not path.is_file():
        raise UsageError(f"{path} is missing: --people names the folder that holds rgbd/, people/ and backgrounds/")
    if sha256_file(path) != row.string("sha256"):
        raise StageError(STAGE, f"{path} is not the listed photo: its sha256 differs")
    return path


def judge_people(modules: dict[str, nn.Module], spec: ModelSpec, people: People) -> tuple[dict[str, Any], list[Judged]]:
    """Measure the net on every photo. Return the block `people` of evaluation.json, and what a sheet can show."""
    depth = [(photo, judge(modules, spec, depth_case(photo))) for photo in people.depth]
    mattes = [judge(modules, spec, matte_case(*pair)) for pair in people.mattes]
    empty = {path.name: false_person(modules, spec, path) for path in people.empty}
    rows = {photo.path.name: depth_row(photo, judged) for photo, judged in depth}
    block = {
        "depth": rows,
        "mattes": {judged.case.name: rounded(judged.figures, ("iou", "mae", "boundary_f")) for judged in mattes},
        "empty": {name: round(share, 4) for name, share in empty.items()},
    }
    return block, [*(judged for _, judged in depth), *mattes]


def depth_case(photo: DepthPhoto) -> Case:
    """Return the person's box of a photo with its disparity. The mask is the matte."""
    stem = photo.path.with_suffix("")
    image = load_photo(photo.path)
    disparity = np.asarray(Image.open(f"{stem}.disparity.png"), np.float32) / np.float32(65535)
    mask = np.asarray(Image.open(f"{stem}.mask.png").convert("L"), np.float32) / np.float32(255)
    if disparity.shape != mask.shape or disparity.shape != (image.height, image.width):
        raise StageError(STAGE, f"{photo.path.name}, its disparity and its mask differ in size")
    top, left, bottom, right = person_box(mask)
    part = slice(top, bottom), slice(left, right)
    nobody = np.zeros((0, POINTS, 4), np.float32)
    crop = image.crop((left, top, right, bottom))
    return Case(photo.path.name, crop, disparity[part], mask[part], False, nobody, {"person": photo.person})


def person_box(mask: Floats) -> tuple[int, int, int, int]:
    """Return (top, left, bottom, right) of the mask's box, enlarged by MARGIN on every side, inside the photo."""
    rows, columns = np.flatnonzero((mask > 0.5).any(1)), np.flatnonzero((mask > 0.5).any(0))
    tall, wide = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    up, aside = round(tall * MARGIN), round(wide * MARGIN)
    return (
        max(0, int(rows[0]) - up),
        max(0, int(columns[0]) - aside),
        min(mask.shape[0], int(rows[-1]) + 1 + up),
        min(mask.shape[1], int(columns[-1]) + 1 + aside),
    )


def matte_case(photo: Path, matte: Path) -> Case:
    """Return a photo with its matte and without depth."""
    alpha = np.asarray(Image.open(matte).convert("L"), np.float32) / np.float32(255)
    nobody = np.zeros((0, POINTS, 4), np.float32)
    return Case(photo.name, load_photo(photo), np.zeros_like(alpha), alpha, False, nobody, {})


def false_person(modules: dict[str, nn.Module], spec: ModelSpec, path: Path) -> float:
    """Return the share of pixels that the net calls person (alpha over .5) in a photo without people."""
    photo = load_photo(path)
    outputs = run(modules, spec, to_tensor(photo, nearest_size(photo, spec.sizes)))
    return float((np.asarray(outputs["alpha"]) > 0.5).mean())


def depth_row(photo: DepthPhoto, judged: Judged) -> dict[str, Any]:
    figures = rounded(judged.figures, ("whdr_2", "whdr_5", "whdr_10", "r2", *(("iou",) if photo.matte else ())))
    ramp = round(judged.baselines["ramp"]["whdr_2"], 4) if judged.baselines else None
    return {"person": photo.person, "sensor": photo.sensor, **figures, "ramp": ramp}


def rounded(figures: Mapping[str, float | None], names: Sequence[str]) -> dict[str, float | None]:
    return {name: None if (value := figures.get(name)) is None else round(value, 4) for name in names}


def means_with_phones(block: Mapping[str, Any], phones: Mapping[str, Any]) -> dict[str, float | int]:
    """Return the figures by which weights are chosen, from this block and from the block `real` of evaluation.json.

    WHDR is a mean over people with sensor depth, each person's photos first averaged. The matte's figures are means
    over photos.
    """
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in block["depth"].values():
        if row["sensor"] and row["whdr_2"] is not None:
            groups[row["person"]].append((row["whdr_2"], row["ramp"]))
    for name, row in phones.items():
        groups[name].append((row["whdr_2"], row["baselines"]["ramp"]["whdr_2"]))
    each = [np.mean(pairs, axis=0) for pairs in groups.values()]
    ious = [row["iou"] for row in (*block["mattes"].values(), *phones.values())]
    shares = list(block["empty"].values())
    result: dict[str, float | int] = {"people": len(each), "mattes": len(ious), "empty": len(shares)}
    if each:
        result["whdr_2"] = round(float(np.mean([pair[0] for pair in each])), 4)
        result["better than the ramp"] = sum(bool(pair[0] < pair[1]) for pair in each)
    if ious:
        result |= {"iou": round(float(np.mean(ious)), 4), "worst iou": round(float(min(ious)), 4)}
    if shares:
        result |= {"false person": round(float(np.mean(shares)), 4), "worst false person": round(max(shares), 4)}
    return result


def matte_names(path: Path) -> tuple[str, ...]:
    """Return the names of the photos that a people.toml lists under [[matte]]."""
    top = read_toml(path, STAGE)
    return tuple(row.string("file") for row in top.rows("matte", []))


def listed_hashes(path: Path) -> frozenset[str]:
    """Return the sha256 of every photo that a people.toml lists: none of them may be trained on."""
    top = read_toml(path, STAGE)
    return frozenset(row.string("sha256") for kind in ("depth", "matte", "empty") for row in top.rows(kind, []))
