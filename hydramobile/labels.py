"""Labels: photos with known order in depth, to measure how many right answers an artifact loses.

Goldens measure only an artifact's agreement with the reference. `<model>/labels/labels.toml` lists the labels. Their
photos are never among the model's samples, which is checked by hash:

    tensor = "depth"                    the output they belong to, judged as relative-depth
    source, license                     of all labels
    [[label]]  photo = { file = "a.jpg", sha256 = "..." }
               truth = { ... }          16-bit grey PNG: disparity in any unit, larger is nearer, 0 where not known
               matte = { ... }          8-bit grey PNG: opacity of the person

WHDR, the share of pairs of pixels in the wrong order, is defined here and in hydramobile/measures.py; the evaluation of
the reference uses the same functions. Depth and truth are stretched to a field of 512x384 over the whole photo. A pixel
counts where the true matte is above 0.9. A seeded pair of pixels counts where its truths differ by more than 2 % of the
person's range p2 to p98 (percentiles). A tie is wrong. *WHDR loss* is the WHDR of an artifact minus the WHDR of the
float32 reference on the same pairs. It is negative where rounding happened to help.
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
from hydramobile.toml_table import Table, is_number, read_toml

STAGE = "labels"
FOLDER = "labels"
METRIC = "whdr_loss"
LONG, SHORT = 512, 384
"""Sides of the field at which depth is compared with the truth, in the orientation of the photo."""
# The fewest pixels of the field that a person must have.
LEAST_PERSON = 200
# The largest relative difference between the aspect ratios of a truth and its photo: phones round their depth maps to
# whole pixels.
ASPECT = 0.02
Array = NDArray[Any]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Label:
    """A photo with the pictures of its true disparity and of its true matte."""

    photo: Sample
    truth: Path
    matte: Path


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of one output. `sha256` covers the hashes of all files, in their order."""

    tensor: str
    all: tuple[Label, ...]
    sha256: str

    def spread(self, most: int) -> tuple[Label, ...]:
        """Return `most` labels, evenly spread, or all of them where `most` is 0."""
        if not 0 < most < len(self.all):
            return self.all
        return tuple(self.all[index * len(self.all) // most] for index in range(most))


@dataclass(frozen=True, slots=True)
class OrderTest:
    """Pairs of pixels of one photo whose order in depth is known, as indices into the flattened field.

    `size` is the (width, height) of that field.
    """

    size: tuple[int, int]
    pairs: Pairs

    def whdr(self, output: Array) -> float:
        """Return the WHDR of an output [1, 1, H, W]. Raises StageError("judge") for another shape, NaN or infinity."""
        if output.ndim != 4 or output.shape[:2] != (1, 1):
            raise StageError("judge", f"depth must be [1, 1, H, W], found {list(output.shape)}")
        if not np.isfinite(output).all():
            raise StageError("judge", f"{int((~np.isfinite(output)).sum())} of {output.size} values are not finite")
        field = stretched(np.asarray(output[0, 0], np.float32), self.size).astype(np.float64)
        return wrong_share(field.ravel(), self.pairs)


def field_size(width: int, height: int) -> tuple[int, int]:
    """Return the (width, height) of the field at which a photo is judged."""
    return (SHORT, LONG) if height >= width else (LONG, SHORT)


def stretched(values: Floats, size: tuple[int, int]) -> Floats:
    """Resize a field [h, w] of any range to `size` = (width, height): bilinear, antialiased when shrinking."""
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR), np.float32)


def judged_pixels(truth: Floats, matte: Floats) -> NDArray[np.bool_]:
    """Return the mask of the field where depth is judged: pixels of the person with known distance."""
    return (matte > PERSON) & (truth > 0)


def listing_of(spec: ModelSpec) -> Path:
    return spec.folder / FOLDER / "labels.toml"


def has_labels(spec: ModelSpec) -> bool:
    return listing_of(spec).is_file()


def load_labels(spec: ModelSpec) -> Labels | None:
    """Read the labels of a model, or return None where it has none. Pictures are hashed here; `order_test` opens them.

    Raises StageError("labels") for a malformed list, a tensor whose judge has no metric for labels, a file that is
    missing or has another hash, and a photo that is also a sample or is listed twice.
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
    """Return a file of a row and its hash."""
    table = row.table(name)
    found = listed_file(table, folder, STAGE)
    table.done()
    return found


def refuse_shared(spec: ModelSpec, top: Table, labels: list[Label]) -> None:
    """Raise StageError("labels") where a photo is also a sample of the model, or two photos are the same."""
    taken = {sample.sha256: f"a {sample.split} sample too ({sample.name})" for sample in committed_samples(spec)}
    names: set[str] = set()
    for label in labels:
        if label.photo.sha256 in taken:
            raise top.error(f"{label.photo.name} is {taken[label.photo.sha256]}; what was seen before proves nothing")
        if label.photo.name in names:
            raise top.error(f"two photos are named {label.photo.name!r}")
        names.add(label.photo.name)
        taken[label.photo.sha256] = f"the same photo as {label.photo.name}"


def order_test(label: Label) -> OrderTest:
    """Return the pairs of pixels whose order in depth follows from the truth of a label.

    Raises StageError("labels") for a picture that cannot be read, has another mode or another aspect ratio than its
    photo, and for a truth without a person or without differences in depth.
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
    return OrderTest(size, Pairs(where[pairs.first], where[pairs.second], pairs.difference))


def grey(path: Path, mode: str) -> Floats:
    """Read the levels [h, w] of a grey picture of Pillow's `mode`. Raises StageError("labels") for any other file."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            found, levels = image.mode, np.asarray(image)
    except Exception as error:  # a decoder may raise any type; each means a bad file
        raise StageError(STAGE, f"{path} is not a picture that can be read: {error}") from error
    if found != mode:
        bits = {"I;16": 16, "L": 8}[mode]
        raise StageError(STAGE, f"{path} must be grey with {bits} bits; Pillow reads it as {found}")
    return levels.astype(np.float32)


def modules_for(spec: ModelSpec, tensor: str) -> list[str]:
    """Return the modules that `tensor` depends on, in the order they run."""
    needed, modules = {tensor}, list[str]()
    for module in reversed(list(spec.modules.values())):
        if not needed.isdisjoint(module.outputs):
            modules.append(module.name)
            needed.update(module.inputs)
    return modules[::-1]


def whdr(spec: ModelSpec, modules: Mapping[str, Any], labels: Labels, size: tuple[int, int]) -> dict[str, float]:
    """Return the WHDR of PyTorch `modules` on each label's photo at (H, W), by the photo's name."""
    result: dict[str, float] = {}
    for label in labels.all:
        output = make_golden(spec, modules, label.photo, size).tensors[labels.tensor]
        result[label.photo.name] = order_test(label).whdr(output)
    return result


def reference_key(spec: ModelSpec, labels: Labels, size: tuple[int, int]) -> str:
    parts = [spec.sha256, spec.weights_sha256, labels.sha256, list(size), CONTRACT]
    return sha256_bytes(canonical_json(parts).encode())


def reference_path(root: Path) -> Path:
    """Return the file of the reference's WHDR beside a model's goldens."""
    return root / "labels.json"


def refresh_reference(spec: ModelSpec, labels: Labels, size: tuple[int, int], root: Path) -> bool:
    """Write the WHDR of the float32 reference where it is missing or stale in `root`. Return whether it was written.

    It is copied from the committed goldens where they have the same inputs.
    """
    if known_reference(spec, labels, size, root) is not None:
        return False
    reference = known_reference(spec, labels, size, committed_folder(spec))
    if reference is None:
        reference = whdr(spec, load_modules(spec), labels, size)
    write_text(
        reference_path(root), dump_json({"schema": 1, "key": reference_key(spec, labels, size), "whdr": reference})
    )
    return True


def known_reference(spec: ModelSpec, labels: Labels, size: tuple[int, int], root: Path) -> dict[str, float] | None:
    """Return the result of `read_reference`, or None where it raises."""
    try:
        return read_reference(spec, labels, size, root)
    except StageError:
        return None


def refresh_labels(spec: ModelSpec, roots: Sequence[Path]) -> int:
    """Run `refresh_reference` on each of `roots`. Return the number of written files, 0 for a model without labels."""
    labels = load_labels(spec)
    return sum(refresh_reference(spec, labels, spec.size, root) for root in roots) if labels else 0


def read_reference(spec: ModelSpec, labels: Labels, size: tuple[int, int], *roots: Path) -> dict[str, float]:
    """Read the WHDR of the float32 reference per label, from the first of `roots` that has it.

    Raises StageError("labels") where no root has it, or it was made from other inputs.
    """
    remedy = f"refresh it with: make goldens MODEL={spec.folder}"
    path = next((path for root in roots if (path := reference_path(root)).is_file()), None)
    if path is None:
        raise StageError(STAGE, f"no WHDR of the reference in {roots[0]}; {remedy}")
    document = read_json(path, STAGE)
    if not isinstance(document, Mapping) or document.get("key") != reference_key(spec, labels, size):
        raise StageError(STAGE, f"{path} is stale: the spec, weights, labels or size changed since; {remedy}")
    shares = document.get("whdr")
    names = [label.photo.name for label in labels.all]
    if not isinstance(shares, Mapping) or set(shares) != set(names) or not all(map(is_number, shares.values())):
        raise StageError(STAGE, f"{path} is not of these {len(names)} labels; {remedy}")
    return {name: float(shares[name]) for name in names}
