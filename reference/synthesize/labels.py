"""Write synthesized views as a model's labels: photos, and the truth as pictures that every program can read."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from hydramobile.errors import StageError, UsageError
from hydramobile.files import sha256_bytes, staging_folder
from hydramobile.labels import LEAST_PERSON
from hydramobile.measures import PERSON
from reference.training.views import View, ViewSet

Field = NDArray[np.uint8]
_QUALITY = 92
_HEADER = "# Views whose order in depth is known (hydramobile/labels.py): files are judged by them against the truth."


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a view and their description."""

    photo: bytes
    truth: bytes
    matte: bytes
    description: str


def write_labels(source_set: Path, folder: Path, count: int) -> int:
    """Replace `folder` by labels.toml and the first `count` views of `source_set` that have exact depth everywhere.

    Views with a photograph as backdrop are skipped: they have no depth behind people, and the photograph has another
    licence. Raises UsageError for a set of photos, a split other than test, or too few such views.
    """
    views = ViewSet(source_set)
    if views.kind != "synthetic":
        raise UsageError(f"{source_set} is a set of photos, whose depth is unknown")
    if views.index.get("split") != "test":
        raise UsageError(
            f"{source_set} is of the split {views.index.get('split')!r}; labels are of the split test, never trained on"
        )
    views.verify()
    chosen = [(number, view) for number in range(len(views)) if usable(view := views.view(number))][:count]
    if len(chosen) < count:
        message = f"{source_set} has {len(chosen)} views with exact depth everywhere, not {count}; synthesize more"
        raise UsageError(message)
    index = views.index
    source = (
        "rendered by this project from MakeHuman's assets (CC0): python -m reference synthesize --split test "
        f"--seed {index['seed']} --views {index['views']}, then python -m reference labels"
    )
    rows = [_HEADER, "", 'tensor = "depth"', f'source = "{source}"', 'license = "CC0-1.0"']
    with staging_folder(folder) as staging:
        for number, view in chosen:
            files, name = pictures(view), f"view-{number:03d}"
            rows += ["", "[[label]]", f'description = "{files.description}"']
            for part, suffix in (("photo", ".jpg"), ("truth", "-depth.png"), ("matte", "-matte.png")):
                data: bytes = getattr(files, part)
                (staging / f"{name}{suffix}").write_bytes(data)
                rows.append(f'{part} = {{ file = "{name}{suffix}", sha256 = "{sha256_bytes(data)}" }}')
        (staging / "labels.toml").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return len(chosen)


def usable(view: View) -> bool:
    return view.known == 2 and int((view.alpha > 255 * PERSON).sum()) >= LEAST_PERSON


def pictures(view: View) -> Files:
    """Encode a view's photo, disparity and matte.

    Disparity is kept where alpha exceeds PERSON and one pixel around, because WHDR interpolates between these pixels
    only. It has 65,535 steps up to the nearest point.
    """
    sure = Image.fromarray(np.where(view.alpha > 255 * PERSON, 255, 0).astype(np.uint8))
    kept = np.asarray(sure.filter(ImageFilter.MaxFilter(3))) > 0
    disparity = np.where(kept, view.disparity.astype(np.float64), 0.0)
    most = float(disparity.max())
    if most <= 0:
        raise StageError("labels", "the person is at no distance")
    about = view.about
    people = "one person" if about["people"] == 1 else f"{about['people']} people"
    return Files(
        encoded(view.rgb, "JPEG", quality=_QUALITY, subsampling=0),
        encoded(np.round(disparity / most * 65535).astype(np.uint16), "PNG", optimize=True),
        encoded(view.alpha, "PNG", optimize=True),
        f"{people}, {about['framing']}, {about['scene']}, light {about['light']}",
    )


def encoded(values: NDArray[np.generic], kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values)).save(stream, kind, **options)
    return stream.getvalue()
