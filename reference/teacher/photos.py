"""Photos to a set of views: teacher mattes where the teacher is sure, face relief, and no depth.

The set has `kind` photos and `known` 0: the loss asks that people are nearer than what is behind them, and weakly that
faces have the relief of the face mesh. Photos belong to others: the set is never committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hydramobile.errors import StageError, UsageError
from hydramobile.files import sha256_file, staging_folder
from hydramobile.preprocess import load_photo
from hydramobile.samples import SUFFIXES
from reference.teacher.networks import MESH_POINTS, Teachers
from reference.training.views import FACES, POINTS
from reference.training.write import write_index, write_shard

SIDE = 320
"""Photos are cut to their middle square and brought to this many pixels."""

VIEWS_A_SHARD = 64


@dataclass(frozen=True, slots=True)
class Sureness:
    """What a teacher's matte must reach to be learnt from.

    `agreement` with the mirror image (soft IoU), `doubt` the share of the person's pixels between .2 and .8, and the
    person's share of the photo.
    """

    agreement: float = 0.95
    doubt: float = 0.12
    share: tuple[float, float] = (0.06, 0.97)

    def keeps(self, alpha: NDArray[np.float32], agreement: float) -> bool:
        person = float((alpha > 0.5).mean())
        doubtful = float(((alpha > 0.2) & (alpha < 0.8)).mean())
        return (
            agreement >= self.agreement
            and self.share[0] <= person <= self.share[1]
            and doubtful <= self.doubt * max(person, 1e-6)
        )


def make_set(folders: Sequence[Path], out: Path, teachers: Path, sureness: Sureness | None = None) -> tuple[int, int]:
    """Label every photo of `folders` and write the set `out`; returns (kept, seen).

    Raises UsageError when `out` is there already or a folder has no photos, StageError("photos") when none is kept.
    """
    if out.exists():
        raise UsageError(f"{out} exists; name a folder that does not")
    paths = [path for folder in folders for path in photos_of(folder)]
    asked, labels = sureness or Sureness(), Teachers(teachers)
    kept = [view for path in paths if (view := label(path, labels, asked)) is not None]
    if not kept:
        raise StageError("photos", f"the teacher is sure of none of {len(paths)} photos")
    with staging_folder(out) as staging:
        rows = [
            write_shard(staging, start // VIEWS_A_SHARD, *_columns(kept[start : start + VIEWS_A_SHARD]))
            for start in range(0, len(kept), VIEWS_A_SHARD)
        ]
        write_index(staging, "photos", 0, (SIDE, SIDE), rows)
    return len(kept), len(paths)


def photos_of(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"no folder of photos at {folder}")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise UsageError(f"{folder} holds no photos (looked for: {', '.join(sorted(SUFFIXES))})")
    return found


def label(path: Path, teachers: Teachers, sureness: Sureness) -> dict[str, Any] | None:
    """One photo's arrays (names of `views.ARRAYS`) and `about`, or None where the teacher is not sure."""
    photo = load_photo(path)
    edge = min(photo.size)
    left, top = (photo.width - edge) // 2, (photo.height - edge) // 2
    square = photo.crop((left, top, left + edge, top + edge))
    soft, agreement = teachers.matte(square)
    if not sureness.keeps(soft, agreement):
        return None
    matte = Image.fromarray(soft).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    # The teacher's outline is softer than hair is: its middle is stretched to the whole range.
    alpha = np.clip((np.asarray(matte) - 0.1) / 0.8, 0, 1)
    small = square.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    face = np.zeros((FACES, POINTS, 4), np.float32)
    found = teachers.faces(square)
    for row, where in enumerate(found):
        mesh, score = teachers.mesh(square, where)
        if score > 0.5:
            points = mesh[list(MESH_POINTS)]
            face[row, :, :2] = (points[:, :2] + 0.5) * (SIDE / edge) - 0.5
            face[row, :, 2] = -points[:, 2] / where.side
            face[row, :, 3] = 1
    return {
        "rgb": np.asarray(small),
        "disparity": np.zeros((SIDE, SIDE), np.float16),
        "alpha": np.round(alpha * 255).astype(np.uint8),
        "known": 0,
        "face": face,
        "about": {
            "view": path.stem,
            "sha256": sha256_file(path),
            "agreement": round(agreement, 4),
            "people": len(found),
            "split": "train",
        },
    }


def _columns(views: Sequence[dict[str, Any]]) -> tuple[dict[str, NDArray[Any]], list[Any]]:
    names = [name for name in views[0] if name != "about"]
    return {name: np.stack([np.asarray(view[name]) for view in views]) for name in names}, [v["about"] for v in views]
