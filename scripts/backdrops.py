#!/usr/bin/env python3
"""`backdrops.py FROM TO`: convert the pictures below FROM to JPEGs of at most 960 pixels per side in TO.

They are backdrops and wall pictures of synthesized views (reference/synthesize). Wallpaper packages hold one picture in
many sizes: only the smallest file of each `contents/` folder is taken. Pictures of one color are left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, LEAST_SIDE, LEAST_BYTES = 960, 400, 40_000
# Standard deviation of the gray levels below which a picture is a plain color.
LEAST_SPREAD = 14.0


def main(source: Path, target: Path) -> int:
    chosen: dict[str, Path] = {}
    for path in sorted(source.rglob("*")):
        if path.suffix.lower() not in {".jpg", ".jpeg", ".png", ".webp"} or path.is_symlink() or not path.is_file():
            continue
        size = path.stat().st_size
        key = str(path).split("/contents/", 1)[0]
        if size >= LEAST_BYTES and (key not in chosen or size < chosen[key].stat().st_size):
            chosen[key] = path
    target.mkdir(parents=True, exist_ok=True)
    count = 0
    for path in chosen.values():
        with Image.open(path) as image:
            image.draft("RGB", (2 * SIDE, 2 * SIDE))
            picture = image.convert("RGB")
        spread = float(np.asarray(picture.resize((64, 64)).convert("L"), np.float64).std())
        if min(picture.size) >= LEAST_SIDE and spread >= LEAST_SPREAD:
            picture.thumbnail((SIDE, SIDE))
            picture.save(target / f"{count:03d}.jpg", quality=90)
            count += 1
    sys.stdout.write(f"{count} pictures in {target}\n")
    return 0 if count else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
