"""Turn photos into a set of views: teacher mattes where the teacher is sure, face relief, depth by an ensemble.

The set has `kind` photos and `known` 0: the loss asks that people are nearer than the background, and weakly that faces
have the relief of the face mesh. Where an ensemble labelled it, `disparity` is its answer. Photos without people have a
matte of 0. Photos belong to others, so the set is never committed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from reference.teacher.depth import DepthTeachers
from reference.teacher.networks import MESH_POINTS, Teachers
from reference.training.views import FACES, POINTS
from reference.training.write import write_index, write_shard

SIDE = 320
"""Photos are cropped to their middle square and resized to this many pixels per side."""

VIEWS_PER_SHARD = 64


@dataclass(frozen=True, slots=True)
class Confidence:
    """Thresholds that a teacher's matte must meet to be used for training.

    `agreement` is the soft IoU with the mirror image, `doubt` the share of the person's pixels with alpha between .2
    and .8, `share` the person's share of the photo (least, most).
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


@dataclass(frozen=True, slots=True)
class Labelling:
    """How photos are labelled.

    `teachers` is the folder of mediapipe's networks. `depth` are weights of an ensemble that gives depth. `empty` says
    that nobody is in the photos. `excluded` are sha256 of photos that are left out, as those of an evaluation.
    """

    teachers: Path
    depth: tuple[Path, ...] = ()
    empty: bool = False
    excluded: frozenset[str] = frozenset()
    confidence: Confidence = Confidence()


def make_set(folders: Sequence[Path], out: Path, labelling: Labelling) -> tuple[int, int]:
    """Label every photo of `folders` and write the set `out`; return (kept, seen).

    Raises UsageError if `out` exists or a folder has no photos, StageError("photos") if no photo is kept.
    """
    if out.exists():
        raise UsageError(f"{out} exists; name a folder that does not")
    paths = [path for folder in folders for path in photos_of(folder)]
    label_one = labeller(labelling)
    kept = [view for path in paths if (view := label_one(path)) is not None]
    if not kept:
        raise StageError("photos", f"the teacher is sure of none of {len(paths)} photos")
    write_views(out, kept, 0)
    return len(kept), len(paths)


def labeller(labelling: Labelling) -> Callable[[Path], dict[str, Any] | None]:
    """Return the function that labels one photo, or returns None where the photo is not taken."""
    depth = DepthTeachers(labelling.depth) if labelling.depth else None
    teachers = None if labelling.empty else Teachers(labelling.teachers)

    def label_one(path: Path) -> dict[str, Any] | None:
        digest = sha256_file(path)
        if digest in labelling.excluded:
            return None
        view = empty_view(path) if teachers is None else label(path, teachers, labelling.confidence)
        if view is None:
            return None
        if depth is not None and not labelling.empty:
            view["disparity"] = depth.label(view["rgb"], view["alpha"].astype(np.float32) / 255).astype(np.float16)
        view["about"]["sha256"] = digest
        return view

    return label_one


def write_views(out: Path, views: Sequence[dict[str, Any]], seed: int) -> None:
    """Write labelled photos as the set `out`."""
    with staging_folder(out) as staging:
        rows = [
            write_shard(staging, start // VIEWS_PER_SHARD, *_columns(views[start : start + VIEWS_PER_SHARD]))
            for start in range(0, len(views), VIEWS_PER_SHARD)
        ]
        write_index(staging, "photos", seed, (SIDE, SIDE), rows)


def photos_of(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"no folder of photos at {folder}")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UsageError(f"{folder} holds no photos (looked for: {', '.join(sorted(SUFFIXES))})")
    return paths


def label(path: Path, teachers: Teachers, confidence: Confidence) -> dict[str, Any] | None:
    """Return one photo's arrays (names of `views.ARRAYS`) and `about`, or None if the teacher is not sure."""
    square = middle_square(load_photo(path))
    edge = square.width
    soft, agreement = teachers.matte(square)
    if not confidence.keeps(soft, agreement):
        return None
    matte = Image.fromarray(soft).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    # The teacher's outline is softer than hair: .1 to .9 is stretched to the whole range.
    alpha = np.clip((np.asarray(matte) - 0.1) / 0.8, 0, 1)
    small = square.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    face = np.zeros((FACES, POINTS, 4), np.float32)
    faces = teachers.faces(square)
    for row, box in enumerate(faces):
        mesh, score = teachers.mesh(square, box)
        if score > 0.5:
            points = mesh[list(MESH_POINTS)]
            face[row, :, :2] = (points[:, :2] + 0.5) * (SIDE / edge) - 0.5
            face[row, :, 2] = -points[:, 2] / box.side
            face[row, :, 3] = 1
    return {
        "rgb": np.asarray(small),
        "disparity": np.zeros((SIDE, SIDE), np.float16),
        "alpha": np.round(alpha * 255).astype(np.uint8),
        "known": 0,
        "face": face,
        "about": {
            "view": path.stem,
            "agreement": round(agreement, 4),
            "people": len(faces),
            "split": "train",
        },
    }


def middle_square(photo: Image.Image) -> Image.Image:
    """Return the largest square in the middle of a photo."""
    edge = min(photo.size)
    left, top = (photo.width - edge) // 2, (photo.height - edge) // 2
    return photo.crop((left, top, left + edge, top + edge))


def empty_view(path: Path) -> dict[str, Any]:
    """Return the arrays of a photo without people: a matte of 0, no depth, no face."""
    small = middle_square(load_photo(path)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return {
        "rgb": np.asarray(small),
        "disparity": np.zeros((SIDE, SIDE), np.float16),
        "alpha": np.zeros((SIDE, SIDE), np.uint8),
        "known": 0,
        "face": np.zeros((FACES, POINTS, 4), np.float32),
        "about": {"view": path.stem, "people": 0, "split": "train"},
    }


def _columns(views: Sequence[dict[str, Any]]) -> tuple[dict[str, NDArray[Any]], list[Any]]:
    names = [name for name in views[0] if name != "about"]
    return {name: np.stack([np.asarray(view[name]) for view in views]) for name in names}, [v["about"] for v in views]
