"""Labels: photos with the true order in depth, to tell what a file loses in right answers, not in agreement alone.

`<model>/labels/labels.toml` lists them. They are neither calibrated with nor judged by otherwise, checked by hash:

    tensor = "depth"                    the output they belong to, judged as relative-depth
    source, license                     of them all
    [[label]]  photo = { file = "a.jpg", sha256 = "..." }
               truth = { ... }          16-bit grey PNG: disparity in any unit, larger is nearer, 0 where not known
               matte = { ... }          8-bit grey PNG: opacity of the person

WHDR is defined once, here and in hydramobile/measures.py (the reference's own evaluation uses the same functions):
depth and truth stretched to 512x384 over the whole photo; pixels of a true matte above .9; the seeded pairs whose
truths differ by more than 2 % of the person's p2-p98; a tie is wrong. *WHDR loss*: a file's WHDR less that of the
float32 reference on the same pairs; below 0 where rounding happened to help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hydramobile.errors import StageError
from hydramobile.files import canonical_json, dump_json, read_json, sha256_bytes, write_text
from hydramobile.goldens import committed_folder, make_golden
from hydramobile.loader import load_modules
from hydramobile.measures import LABEL_METRICS, PERSON, WHDR_GAP, Pairs, far_pairs, wrong_share
from hydramobile.preprocess import CONTRACT, load_photo
from hydramobile.samples import Sample, committed_samples, listed_file
from hydramobile.spec import ModelSpec
from hydramobile.toml_table import Table, read_toml

STAGE = "labels"
FOLDER = "labels"
METRIC = "whdr_loss"
LONG, SHORT = 512, 384
"""Sides of the field that depth is judged at against truth; portrait or landscape as the photo is."""
# A person of fewer pixels of the field than this is not judged for depth.
LEAST_PERSON = 200
# How far a truth's aspect may be from its photo's: phones round their depth maps to whole pixels.
ASPECT = 0.02
Array = NDArray[Any]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Label:
    """A photo, and the pictures of its truth and of its matte."""

    photo: Sample
    truth: Path
    matte: Path


@dataclass(frozen=True, slots=True)
class Labels:
    """`sha256` covers every file's hash, in order."""

    tensor: str
    all: tuple[Label, ...]
    sha256: str

    def spread(self, most: int) -> tuple[Label, ...]:
        """All, or `most` of them evenly spread where that is not 0."""
        if not 0 < most < len(self.all):
            return self.all
        return tuple(self.all[index * len(self.all) // most] for index in range(most))


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of an output: the order of these pairs of the flat field at `size`, (width, height)."""

    size: tuple[int, int]
    pairs: Pairs

    def whdr(self, made: Array) -> float:
        """WHDR of an output [1, 1, H, W]. Raises StageError("judge") for another shape or values not finite."""
        if made.ndim != 4 or made.shape[:2] != (1, 1):
            raise StageError("judge", f"depth must be [1, 1, H, W], found {list(made.shape)}")
        if not np.isfinite(made).all():
            raise StageError("judge", f"{int((~np.isfinite(made)).sum())} of {made.size} values are not finite")
        field = stretched(np.asarray(made[0, 0], np.float32), self.size).astype(np.float64)
        return wrong_share(field.ravel(), self.pairs)


def field_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of the judging field of a photo."""
    return (SHORT, LONG) if height >= width else (LONG, SHORT)


def stretched(values: Floats, size: tuple[int, int]) -> Floats:
    """A field [h, w] of any range, bilinearly at `size` = (width, height), antialiased when shrinking."""
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR), np.float32)


def judged_pixels(truth: Floats, matte: Floats) -> NDArray[np.bool_]:
    """Where depth is judged, of truth and matte on the field: surely the person, at a known distance."""
    return (matte > PERSON) & (truth > 0)


def listing_of(spec: ModelSpec) -> Path:
    return spec.folder / FOLDER / "labels.toml"


def has_labels(spec: ModelSpec) -> bool:
    return listing_of(spec).is_file()


def load_labels(spec: ModelSpec) -> Labels | None:
    """The labels of a model, None where it has none. The pictures are hashed here, and opened by `ask`.

    Raises StageError("labels") for a malformed list, a tensor that no judge has labels for, a file that is missing or
    not the one that was listed, and a photo that is a sample too or stands twice.
    """
    listing = listing_of(spec)
    if not has_labels(spec):
        return None
    top = read_toml(listing, STAGE)
    tensor = top.one_of("tensor", tuple(t.name for t in spec.judged() if t.judge in LABEL_METRICS))
    source, license_ = top.string("source"), top.string("license")
    found: list[Label] = []
    hashes: list[str] = []
    for row in top.rows("label"):
        files = {name: read_file(listing.parent, row, name) for name in ("photo", "truth", "matte")}
        row.string("description", "")
        row.done()
        path, digest = files["photo"]
        photo = Sample(path.stem, "label", digest, path, source, license_)
        found.append(Label(photo, files["truth"][0], files["matte"][0]))
        hashes += [digest for _, digest in files.values()]
    top.done()
    if not found:
        raise top.error("lists no [[label]]")
    refuse_shared(spec, top, found)
    return Labels(tensor, tuple(found), sha256_bytes(canonical_json([tensor, *hashes]).encode()))


def read_file(folder: Path, row: Table, name: str) -> tuple[Path, str]:
    """A file of a row and its hash."""
    table = row.table(name)
    found = listed_file(table, folder, STAGE)
    table.done()
    return found


def refuse_shared(spec: ModelSpec, top: Table, labels: list[Label]) -> None:
    taken = {sample.sha256: f"a {sample.split} sample too ({sample.name})" for sample in committed_samples(spec)}
    names: set[str] = set()
    for label in labels:
        if label.photo.sha256 in taken:
            raise top.error(f"{label.photo.name} is {taken[label.photo.sha256]}; what was seen before proves nothing")
        if label.photo.name in names:
            raise top.error(f"two photos are named {label.photo.name!r}")
        names.add(label.photo.name)
        taken[label.photo.sha256] = f"the same photo as {label.photo.name}"


def ask(label: Label) -> Question:
    """The pairs that a label's truth knows the order of.

    Raises StageError("labels") for a picture that cannot be read, is not of its kind or not of the photo's aspect, and
    for a truth that shows no person or a flat one.
    """
    truth, matte = grey(label.truth, "I;16"), grey(label.matte, "L") / np.float32(255)
    width, height = load_photo(label.photo.path or label.truth).size
    for path, values in ((label.truth, truth), (label.matte, matte)):
        if abs(values.shape[0] / values.shape[1] * width / height - 1) > ASPECT:
            sides = f"{values.shape[1]}x{values.shape[0]}"
            raise StageError(STAGE, f"{path} is {sides}, which is not the shape of its photo, {width}x{height}")
    size = field_size(width, height)
    field = stretched(truth, size)
    person = judged_pixels(field, stretched(matte, size))
    where = np.flatnonzero(person)
    if where.size < LEAST_PERSON:
        raise StageError(STAGE, f"{label.truth} knows the depth of {where.size} pixels of the person, too few to judge")
    pairs = far_pairs(field.astype(np.float64)[person], WHDR_GAP)
    if not pairs.first.size:
        raise StageError(STAGE, f"{label.truth} is flat: it has no order")
    return Question(size, Pairs(where[pairs.first], where[pairs.second], pairs.difference))


def grey(path: Path, mode: str) -> Floats:
    """The levels of a grey picture, [h, w]; `mode` as Pillow calls its bits. Raises StageError("labels")."""
    try:
        with Image.open(path) as image:
            found, levels = image.mode, np.asarray(image)
    except Exception as error:  # decoders raise whatever the bytes lead them to; all of it is a bad file
        raise StageError(STAGE, f"{path} is not a picture that can be read: {error}") from error
    if found != mode:
        bits = {"I;16": 16, "L": 8}[mode]
        raise StageError(STAGE, f"{path} must be grey with {bits} bits; Pillow reads it as {found}")
    return levels.astype(np.float32)


def makers(spec: ModelSpec, tensor: str) -> list[str]:
    """The modules that `tensor` depends on, in the order they run."""
    wanted, found = {tensor}, list[str]()
    for module in reversed(list(spec.modules.values())):
        if not wanted.isdisjoint(module.outputs):
            found.append(module.name)
            wanted.update(module.inputs)
    return found[::-1]


def whdr(spec: ModelSpec, modules: Mapping[str, Any], labels: Labels, size: tuple[int, int]) -> dict[str, float]:
    """By name, the WHDR of each label of what PyTorch `modules` make of its photo at (H, W)."""
    found: dict[str, float] = {}
    for label in labels.all:
        made = make_golden(spec, modules, label.photo, size).tensors[labels.tensor]
        found[label.photo.name] = ask(label).whdr(made)
    return found


def key(spec: ModelSpec, labels: Labels, size: tuple[int, int]) -> str:
    parts = [spec.sha256, spec.weights_sha256, labels.sha256, list(size), CONTRACT]
    return sha256_bytes(canonical_json(parts).encode())


def reference_path(root: Path) -> Path:
    """Beside a model's goldens."""
    return root / "labels.json"


def refresh_reference(spec: ModelSpec, labels: Labels, size: tuple[int, int], root: Path) -> bool:
    """Write what the float32 reference's WHDR is, where it is missing or stale in `root`; whether it was. What is
    committed is taken where it is of the same inputs."""
    if known_reference(spec, labels, size, root) is not None:
        return False
    made = known_reference(spec, labels, size, committed_folder(spec))
    if made is None:
        made = whdr(spec, load_modules(spec), labels, size)
    write_text(reference_path(root), dump_json({"schema": 1, "key": key(spec, labels, size), "whdr": made}))
    return True


def known_reference(spec: ModelSpec, labels: Labels, size: tuple[int, int], root: Path) -> dict[str, float] | None:
    try:
        return read_reference(spec, labels, size, root)
    except StageError:
        return None


def refresh_labels(spec: ModelSpec, roots: Sequence[Path]) -> int:
    """`refresh_reference` in each of `roots`; how many were written. 0 for a model without labels."""
    labels = load_labels(spec)
    return sum(refresh_reference(spec, labels, spec.size, root) for root in roots) if labels else 0


def read_reference(spec: ModelSpec, labels: Labels, size: tuple[int, int], *roots: Path) -> dict[str, float]:
    """By label, the WHDR of the float32 reference, from the first of `roots` that has it.

    Raises StageError("labels") where none has it or it was made from other inputs.
    """
    remedy = f"refresh it with: make goldens MODEL={spec.folder}"
    path = next((path for root in roots if (path := reference_path(root)).is_file()), None)
    if path is None:
        raise StageError(STAGE, f"no WHDR of the reference in {roots[0]}; {remedy}")
    document = read_json(path, STAGE)
    if not isinstance(document, Mapping) or document.get("key") != key(spec, labels, size):
        raise StageError(STAGE, f"{path} is stale: the spec, weights, labels or size changed since; {remedy}")
    found = document.get("whdr")
    names = [label.photo.name for label in labels.all]
    if not isinstance(found, Mapping) or set(found) != set(names):
        raise StageError(STAGE, f"{path} is not of these {len(names)} labels; {remedy}")
    return {name: float(found[name]) for name in names}
