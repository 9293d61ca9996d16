"""A contact sheet of a dataset: photo, disparity and coverage side by side."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from hydramobile.files import read_json, write_bytes

NAME = "sheet.png"
_COLUMNS, _ROWS = 6, 8


def write_sheet(folder: Path) -> Path:
    """Draw sheet.png of views spread evenly over the dataset in `folder`."""
    index = read_json(folder / "index.json", "synthesize")
    count = min(_COLUMNS * _ROWS, int(index["views"]))
    chosen = np.linspace(0, int(index["views"]) - 1, count).astype(int)
    height, width = int(index["height"]) // 2, int(index["width"]) // 2
    sheet = Image.new("RGB", (_COLUMNS * width * 3, -(-count // _COLUMNS) * height))
    first, cell = 0, 0
    for shard in index["shards"]:
        with np.load(folder / shard["file"]) as arrays:
            rows = [int(view) - first for view in chosen if first <= view < first + int(shard["views"])]
            loaded = {name: arrays[name] for name in ("rgb", "disparity", "alpha")} if rows else {}
            for view in rows:
                x, y = cell % _COLUMNS * width * 3, cell // _COLUMNS * height
                far = loaded["disparity"][view].astype(np.float32)
                people = loaded["alpha"][view] > 127
                top = float(np.percentile(far[people], 99)) if people.any() else float(far.max())
                depth = np.clip(255 * far / max(top, 1e-6), 0, 255).astype(np.uint8)
                for step, image in enumerate((loaded["rgb"][view], depth, loaded["alpha"][view])):
                    sheet.paste(Image.fromarray(image).resize((width, height)), (x + step * width, y))
                cell += 1
        first += int(shard["views"])
    stream = io.BytesIO()
    sheet.save(stream, "PNG", optimize=True)
    write_bytes(folder / NAME, stream.getvalue())
    return folder / NAME
