"""The picture sheet: photo, true and predicted matte, true and predicted depth, one row per photo."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hydramobile.files import write_bytes
from hydramobile.measures import PERSON
from reference.evaluation.measure import Judged
from reference.infer import colored

_HEIGHT, _LINE = 256, 16
_COLUMNS = 2
Floats = NDArray[np.float32]


def write_sheet(path: Path, some: Sequence[Judged]) -> None:
    """Draw two columns of rows [photo, true matte, matte, true depth, depth]; depth over the person's own p2-p98."""
    rows = [_row(judged) for judged in some]
    width = max(row.width for row in rows)
    lines = -(-len(rows) // _COLUMNS)
    sheet = Image.new("RGB", (width * _COLUMNS, lines * (_HEIGHT + _LINE)), "white")
    for index, row in enumerate(rows):
        sheet.paste(row, ((index % _COLUMNS) * width, (index // _COLUMNS) * (_HEIGHT + _LINE)))
    stream = io.BytesIO()
    sheet.save(stream, "JPEG", quality=88)
    write_bytes(path, stream.getvalue())


def _row(judged: Judged) -> Image.Image:
    height, width = judged.depth.shape
    person = (judged.matte > PERSON) & (judged.truth > 0)
    small = (max(1, round(width * _HEIGHT / height)), _HEIGHT)
    photo = judged.case.photo.resize(small, Image.Resampling.BILINEAR)
    panels = [
        photo,
        *(_grey(field).resize(small) for field in (judged.matte, judged.alpha)),
        *(_depth(field, person).resize(small) for field in (judged.truth, judged.depth)),
    ]
    row = Image.new("RGB", (small[0] * len(panels), _HEIGHT + _LINE), "white")
    for index, panel in enumerate(panels):
        row.paste(panel, (index * small[0], _LINE))
    whdr = judged.figures.get("whdr_2")
    text = f"{judged.case.name}: IoU {judged.figures['iou']:.3f}" + ("" if whdr is None else f", WHDR {whdr:.3f}")
    ImageDraw.Draw(row).text((2, 2), text, fill="black")
    return row


def _grey(field: Floats) -> Image.Image:
    return Image.fromarray(np.round(np.clip(field, 0, 1) * 255).astype(np.uint8)).convert("RGB")


def _depth(field: Floats, person: NDArray[np.bool_]) -> Image.Image:
    inside = field[person] if person.any() else field
    low, high = np.percentile(inside, (2, 98))
    return Image.fromarray(np.round(colored((field - low) / max(float(high - low), 1e-6))).astype(np.uint8), "RGB")
