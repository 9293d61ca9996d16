"""Phone portraits that carry their own depth and matte: Apple's HEIC and JPEG.

HEIC holds disparity in 8 bits with its range in 1/metres (d_min, d_max). Portrait JPEGs hold it as a further JPEG in
the same file, without a readable range: it is known up to scale and shift, which every depth measure here removes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from hydramobile.errors import StageError, UsageError

STAGE = "truth"
Floats = NDArray[np.float32]

_JPEG_START = b"\xff\xd8\xff"
# Part of the URN of the auxiliary image that holds the people's matte in a HEIC.
_MATTE = "portraiteffectsmatte"


@dataclass(frozen=True, slots=True)
class Truth:
    """A phone's own disparity (larger is nearer) and matte in [0, 1], each [h, w] at its own size."""

    disparity: Floats
    alpha: Floats


def real_photos(folder: Path) -> Iterator[tuple[Path, Truth]]:
    """Yield every photo of `folder` with its depth and matte, by name. Raises UsageError if there is none."""
    if not folder.is_dir():
        raise UsageError(f"no folder of real photos at {folder}")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".heic", ".jpg", ".jpeg"))
    if not paths:
        raise UsageError(f"{folder} holds no HEIC or JPEG")
    for path in paths:
        yield path, read_truth(path)


def read_truth(path: Path) -> Truth:
    """Return the depth and the matte inside the file. Raises StageError("truth") if either is missing."""
    return _heic(path) if path.suffix.lower() == ".heic" else _jpeg(path)


def _heic(path: Path) -> Truth:
    import pillow_heif

    image: Any = pillow_heif.open_heif(path)[0]
    depths = image.info.get("depth_images") or []
    mattes = [ids[0] for urn, ids in (image.info.get("aux") or {}).items() if _MATTE in urn]
    if not depths or not mattes:
        raise StageError(STAGE, f"{path} carries {len(depths)} depth images and {len(mattes)} mattes, not one of each")
    low, high = (float(depths[0].info["metadata"][key]) for key in ("d_min", "d_max"))
    return Truth(_unit(depths[0].to_pillow()) * (high - low) + low, _unit(image.get_aux_image(mattes[0]).to_pillow()))


def _jpeg(path: Path) -> Truth:
    """Read the pictures appended to a portrait JPEG: the depth is 640 or 768 pixels long, the matte more than 1000."""
    data, start = path.read_bytes(), 0
    pictures: list[Image.Image] = []
    while (start := data.find(_JPEG_START, start)) >= 0:
        try:
            picture = Image.open(io.BytesIO(data[start:]))
            picture.load()
            pictures.append(picture)
        except (UnidentifiedImageError, OSError):  # three bytes inside another picture that equal a start marker
            pass
        start += len(_JPEG_START)
    depths = [p for p in pictures[1:] if max(p.size) in (640, 768)]
    mattes = [p for p in pictures[1:] if max(p.size) > 1000]
    if not depths or not mattes:
        raise StageError(STAGE, f"{path} carries {len(depths)} depth pictures and {len(mattes)} mattes")
    return Truth(_unit(depths[0]), _unit(mattes[0]))


def _unit(image: Image.Image) -> Floats:
    return np.asarray(image.convert("L"), np.float32) / np.float32(255)
