"""Label photos with mattes by two teachers that err in different ways, and say how far they agree.

MediaPipe's selfie segmentation knows people and has no hair. ISNet has hair and fingers and takes any salient object.
Where both see the same person, ISNet's matte is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hydramobile.errors import UsageError
from hydramobile.files import dump_json, sha256_file, staging_folder
from hydramobile.preprocess import load_photo
from reference.teacher.isnet import SalientObject
from reference.teacher.networks import Teachers
from reference.teacher.photos import photos_of

INDEX = "mattes.json"
SCHEMA = 1
# The longer side of a stored matte, in pixels. Depth and matte are judged at 512x384.
LONGEST = 768
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Matte:
    """A teacher's matte [h, w] in [0, 1] of the photo at `path`.

    `agreement` is the IoU of the two teachers (alpha over .5), `mirrored` the soft IoU of MediaPipe's matte with the
    matte of the mirrored photo, `person` the share of the photo that the matte covers.
    """

    path: Path
    alpha: Floats
    agreement: float
    mirrored: float
    person: float


def label_folder(folders: Sequence[Path], out: Path, teachers: Path, names: Sequence[str] = ()) -> int:
    """Write NAME.png (8-bit matte) for the photos of `folders`, and mattes.json; return how many.

    `names` limits the photos to files of these names. Raises UsageError if `out` exists or a name is not there.
    """
    if out.exists():
        raise UsageError(f"{out} exists; name a folder that does not")
    paths = [path for folder in folders for path in photos_of(folder)]
    missing = sorted(set(names) - {path.name for path in paths})
    if missing:
        raise UsageError(f"{missing[0]} is in none of {', '.join(map(str, folders))}")
    chosen = [path for path in paths if not names or path.name in names]
    rows = {}
    with staging_folder(out) as staging:
        for matte in label(chosen, teachers):
            Image.fromarray(np.round(matte.alpha * 255).astype(np.uint8)).save(staging / f"{matte.path.stem}.png")
            rows[matte.path.name] = {
                "sha256": sha256_file(matte.path),
                "agreement": round(matte.agreement, 4),
                "mirrored": round(matte.mirrored, 4),
                "person": round(matte.person, 4),
            }
        (staging / INDEX).write_text(dump_json({"schema": SCHEMA, "photos": rows}), encoding="utf-8")
    return len(rows)


def label(paths: Sequence[Path], teachers: Path) -> Iterator[Matte]:
    """Yield the matte of each photo."""
    people, objects = Teachers(teachers), SalientObject(teachers / "isnet")
    for path in paths:
        photo = load_photo(path)
        soft, mirrored = people.matte(photo)
        fine = objects.matte(photo)
        scale = min(1.0, LONGEST / max(photo.size))
        size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
        coarse, detailed = resized(soft, size), resized(fine, size)
        agreement = overlap(coarse > 0.5, detailed > 0.5)
        yield Matte(path, detailed, agreement, mirrored, float((detailed > 0.5).mean()))


def resized(alpha: Floats, size: tuple[int, int]) -> Floats:
    """Return a matte at (width, height), antialiased where it shrinks."""
    image = Image.fromarray(alpha).resize(size, Image.Resampling.BICUBIC)
    return np.clip(np.asarray(image, np.float32), 0, 1)


def overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the intersection over the union of two masks, 1 where both are empty."""
    union = int((first | second).sum())
    return 1.0 if union == 0 else float((first & second).sum() / union)
