"""Sample sets: the photos with which a model is judged and calibrated, listed in samples/samples.toml.

The two splits never share a file, which is checked by hash. Photos that a user adds by folder are copied neither into
the repository, nor into committed goldens, nor into the report.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hydramobile.drawn import drawn_hash, drawn_input, drawn_names
from hydramobile.errors import StageError, UsageError
from hydramobile.files import dump_json, inside, locked, read_json, set_aside, sha256_bytes, sha256_file, write_text
from hydramobile.preprocess import load_photo, to_range, to_tensor
from hydramobile.sample_files import ARRAYS, read_sample
from hydramobile.spec import ModelSpec, TensorSpec
from hydramobile.toml_table import Table, read_toml

STAGE = "samples"
CALIBRATED = "calibration.json"
SPLITS = ("calibrate", "judge")
# The source of drawn samples, and the first word of their names.
DRAWN = "drawn"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif"}) | ARRAYS
# The number of synthetic samples of a model without photos: enough to see a worst case and a spread.
SEEDED = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """One input. `path` is None for a synthetic one. A `private` photo is never copied anywhere."""

    name: str
    split: str
    sha256: str
    path: Path | None
    source: str
    license: str
    private: bool = False

    @property
    def drawn(self) -> bool:
        """Whether it is one of `drawn_samples`; a photo may have any source."""
        return self.path is None and self.source == DRAWN


def load_samples(spec: ModelSpec, split: str, folder: Path | None = None) -> tuple[Sample, ...]:
    """Return the samples of `split`: the committed ones, then the photos of `folder`, which are private.

    Where there are neither, synthetic inputs are returned, seeded by the name of the split. Raises UsageError for a
    missing or empty folder, and StageError("samples") for a malformed list.
    """
    committed = [sample for sample in committed_samples(spec) if sample.split == split]
    added = folder_samples(folder, split) if folder is not None else []
    chosen = committed + added
    if not chosen:
        return tuple(
            Sample(
                f"seeded-{split}-{index}", split, sha256_bytes(f"{split}{index}".encode()), None, "seeded", "CC0-1.0"
            )
            for index in range(SEEDED)
        )
    refuse_overlap(spec, chosen, split)
    return distinct(chosen)


def distinct(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return the samples without second copies of one photo, each under a name of its own.

    Results are stored by name: photos of one name (IMG_1.jpeg and IMG_1.png, or one name in two folders) have the
    first eight digits of their hash added.
    """
    once = {sample.sha256: sample for sample in reversed(samples)}
    kept = [sample for sample in samples if once[sample.sha256] is sample]
    shared = {name for name, count in Counter(sample.name for sample in kept).items() if count > 1}
    return tuple(
        replace(sample, name=f"{sample.name}-{sample.sha256[:8]}") if sample.name in shared else sample
        for sample in kept
    )


def listed_file(row: Table, folder: Path, stage: str) -> tuple[Path, str]:
    """Return the file in `folder` that a row names, and its hash.

    Raises StageError where it is missing or has another hash.
    """
    path, expected = inside(folder, row.string("file"), stage), row.string("sha256")
    if not path.is_file():
        raise row.error(f"{path} does not exist")
    if sha256_file(path) != expected:
        raise row.error(f"{path} does not match its sha256")
    return path, expected


def committed_samples(spec: ModelSpec) -> list[Sample]:
    """Return all samples of samples.toml. Raises StageError("samples") for a malformed list."""
    listing = spec.samples_folder / "samples.toml"
    if not listing.is_file():
        if spec.samples_of:
            raise StageError(
                STAGE, f"{spec.name} takes the samples of {spec.samples_of!r}, but {listing} does not exist"
            )
        return []
    top = read_toml(listing, STAGE)
    samples: list[Sample] = []
    for row in top.rows("sample"):
        split = row.one_of("split", SPLITS)
        path, digest = listed_file(row, listing.parent, STAGE)
        samples.append(Sample(path.stem, split, digest, path, row.string("source"), row.string("license")))
        row.string("description", "")
        row.done()
    top.done()
    if not samples:
        raise top.error("lists no [[sample]]")
    calibrate = {sample.sha256 for sample in samples if sample.split == "calibrate"}
    for sample in samples:
        if sample.split == "judge" and sample.sha256 in calibrate:
            raise top.error(f"{sample.name} is in both splits; judging on calibration photos proves nothing")
    return samples


def folder_samples(folder: Path, split: str) -> list[Sample]:
    """Return the photos of a user's folder as private samples. Raises UsageError where there are none."""
    if not folder.is_dir():
        raise UsageError(f"no folder of samples at {folder}")
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not photos:
        raise UsageError(f"{folder} holds no photos (looked for: {', '.join(sorted(SUFFIXES))})")
    for path in photos:
        if not path.is_file():
            raise UsageError(f"{path} is no regular file; move it out of {folder}")
    return [Sample(p.stem, split, sha256_file(p), p, "user", "private", private=True) for p in photos]


def record_calibration(root: Path, artifact: str, samples: Sequence[Sample]) -> None:
    """Record in `root`/calibration.json the hashes of the samples that calibrated `artifact` ("<target>/<recipe>")."""
    path = root / CALIBRATED
    with locked(root / ".calibration.lock"):
        try:
            known = read_calibration(path)
        except StageError as error:  # sealed artifacts hold their own hashes
            set_aside(path, error.message)
            known = {}
        known[artifact] = sorted(sample.sha256 for sample in samples)
        write_text(path, dump_json(dict(sorted(known.items()))))


def read_calibration(path: Path) -> dict[str, list[str]]:
    """Read calibration.json; empty where there is none. Raises StageError("samples") for a damaged file."""
    if not path.is_file():
        return {}
    table = Table(read_json(path, STAGE), str(path), STAGE)
    return {str(name): list(table.strings(name)) for name in table.data}


def refuse_calibrated(root: Path, artifacts: Mapping[str, Sequence[str]], judging: Sequence[Sample]) -> None:
    """Raise StageError("samples") where a judging sample calibrated one of `artifacts`.

    `artifacts` holds the hashes of the samples that each artifact names itself, by "<target>/<recipe>". Artifacts of
    older exports name none; for them calibration.json is read. The two commands are given a user's folders
    independently, so neither can compare them by itself.
    """
    try:
        known = read_calibration(root / CALIBRATED)
    except StageError as error:
        set_aside(root / CALIBRATED, error.message)
        known = {}
    for artifact, own in artifacts.items():
        used = {*known.get(artifact, ()), *own}
        for sample in judging:
            if sample.sha256 in used:
                raise StageError(
                    STAGE,
                    f"{sample.name} calibrated {artifact} and is asked to judge it, which proves nothing; give "
                    "--samples and --calibrate different photos",
                )


def refuse_overlap(spec: ModelSpec, chosen: Sequence[Sample], split: str) -> None:
    """Raise StageError("samples") where a sample is in the other split of the model's list."""
    others = {sample.sha256 for sample in committed_samples(spec) if sample.split != split}
    for sample in chosen:
        if sample.sha256 in others:
            raise StageError(
                STAGE, f"{sample.path} is asked for {split!r} but the model's list has it in the other split"
            )


def sample_inputs(spec: ModelSpec, sample: Sample, size: tuple[int, int]) -> dict[str, NDArray[np.generic]]:
    """Return the model's input tensors for one sample, in reference layout.

    An input of kind rgb-photo is the sample's photo, or an input is an array of its file (.npy, .npz, .wav). Other
    inputs are random, seeded by the sample's hash. All inputs of a drawn sample are drawn.
    """
    arrays = sample.path is not None and sample.path.suffix in ARRAYS
    given = read_sample(spec, sample.path, size) if sample.path is not None and arrays else {}
    inputs: dict[str, NDArray[np.generic]] = {}
    assumed = assumed_ranges(spec, size)
    for name in spec.inputs():
        tensor = replace(spec.tensors[name], range=assumed.get(name, spec.tensors[name].range))
        if sample.drawn:
            inputs[name] = drawn_input(tensor, size, sample.name.removeprefix(f"{DRAWN}-"), sample.split)
        elif name in given:
            inputs[name] = given[name]
        elif not arrays and tensor.kind == "rgb-photo" and sample.path is not None:
            inputs[name] = to_range(to_tensor(load_photo(sample.path), size), tensor.range)
        else:
            inputs[name] = seeded_input(tensor, size, f"{sample.sha256}/{name}")
    return inputs


def drawn_samples(spec: ModelSpec, split: str = "judge") -> tuple[Sample, ...]:
    """Return the drawn inputs of a model (hydramobile/drawn.py) as samples: drawn-zeros, drawn-high, ..."""
    return tuple(
        Sample(f"{DRAWN}-{kind}", split, drawn_hash(kind, split), None, DRAWN, "CC0-1.0") for kind in drawn_names(spec)
    )


# The ranges of each model by its content: a model is run once to find them.
ASSUMED: dict[tuple[str, str, str], dict[str, tuple[float, float]]] = {}


def assumed_ranges(spec: ModelSpec, size: tuple[int, int]) -> dict[str, tuple[float, float]]:
    """Return the ranges of the int32 and int64 inputs that index tables and whose range model.toml does not declare.

    Without torch, which runs the model, no range is found.
    """
    asked = open_integers(spec)
    if not asked or importlib.util.find_spec("torch") is None:
        return {}
    key = (str(spec.folder), spec.sha256, spec.weights_sha256)
    if key not in ASSUMED:
        from hydramobile.index_bounds import index_bounds

        tensors = {name: spec.tensors[name] for name in spec.inputs()}
        inputs = {name: seeded_input(tensor, size, f"bounds/{name}") for name, tensor in tensors.items()}
        inputs |= {name: np.zeros_like(inputs[name]) for name in asked}
        ASSUMED[key] = index_bounds(spec, inputs, asked)
    return ASSUMED[key]


def open_integers(spec: ModelSpec) -> set[str]:
    """Return the int32 and int64 inputs without a declared range."""
    tensors = [spec.tensors[name] for name in spec.inputs()]
    return {tensor.name for tensor in tensors if tensor.dtype in ("int32", "int64") and tensor.range is None}


def seeded_input(tensor: TensorSpec, size: tuple[int, int], seed: str) -> NDArray[np.generic]:
    """Return a reproducible random input over the tensor's range.

    Tensors of rank 4 are smooth blobs with fine noise. White noise alone drives a CNN's features to their means and
    would hide layout errors.
    """
    rng = np.random.default_rng(int(sha256_bytes(seed.encode())[:16], 16))
    shape = tensor.at(size)
    low, high = tensor.range or ((0.0, 1.0) if tensor.kind == "rgb-photo" else (-1.0, 1.0))
    if tensor.dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if tensor.dtype in ("uint8", "int8", "int16") and tensor.range is None:
        low, high = np.iinfo(tensor.dtype).min, np.iinfo(tensor.dtype).max
    if not tensor.dtype.startswith("float"):
        return np.asarray(rng.integers(int(low), int(high) + 1, shape)).astype(tensor.dtype)
    noise = np.asarray(rng.random(shape))
    if len(shape) == 4:
        coarse = rng.random((*shape[:2], 5, 5))
        rows = np.linspace(0, 4, shape[2]).round().astype(int)
        columns = np.linspace(0, 4, shape[3]).round().astype(int)
        noise = 0.85 * coarse[:, :, rows][:, :, :, columns] + 0.15 * noise
    if tensor.kind == "rgb-photo":
        # Photos have 8 bits: an input that Core ML takes as an image must arrive unchanged.
        return to_range(np.round(noise.astype(np.float32) * 255).astype(np.float32) / np.float32(255), tensor.range)
    # float64 inputs hold float32 numbers: a file's input of float32 then gets the very same values.
    return (low + (high - low) * noise).astype(np.float32).astype(tensor.dtype)
