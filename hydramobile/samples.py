"""Sample sets: the photos a model is judged on and calibrated with, listed in samples/samples.toml.

The two splits never share a file (checked by hash). Photos the user adds by folder stay outside the
repository, the goldens that travel, and the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hydramobile.errors import StageError, UsageError
from hydramobile.files import dump_json, inside, locked, read_json, sha256_bytes, sha256_file, write_text
from hydramobile.preprocess import load_photo, to_tensor
from hydramobile.spec import ModelSpec, TensorSpec
from hydramobile.toml_table import Table, read_toml

STAGE = "samples"
CALIBRATED = "calibration.json"
SPLITS = ("calibrate", "judge")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif"})
# Enough to see a worst case and a spread on a model that ships no samples of its own.
SEEDED = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """One input. `path` is None for a seeded synthetic one; `private` photos never leave the machine."""

    name: str
    split: str
    sha256: str
    path: Path | None
    source: str
    license: str
    private: bool = False


def load_samples(spec: ModelSpec, split: str, folder: Path | None = None) -> tuple[Sample, ...]:
    """The samples of `split`, committed ones first, then the photos of `folder` (private).

    A model whose only input is not a photo, or that ships no samples and is given no folder, gets seeded
    synthetic inputs. Raises UsageError for a missing or empty folder, StageError("samples") for a bad list.
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
    return tuple(chosen)


def listed_file(row: Table, folder: Path, stage: str) -> tuple[Path, str]:
    """The file in `folder` that a row names, and its hash. Raises StageError for one that is missing or another."""
    path, expected = inside(folder, row.string("file"), stage), row.string("sha256")
    if not path.is_file():
        raise row.error(f"{path} does not exist")
    if sha256_file(path) != expected:
        raise row.error(f"{path} does not match its sha256")
    return path, expected


def committed_samples(spec: ModelSpec) -> list[Sample]:
    listing = spec.samples_folder / "samples.toml"
    if not listing.is_file():
        if spec.samples_of:
            raise StageError(
                STAGE, f"{spec.name} takes the samples of {spec.samples_of!r}, but {listing} does not exist"
            )
        return []
    top = read_toml(listing, STAGE)
    found: list[Sample] = []
    for row in top.rows("sample"):
        split = row.one_of("split", SPLITS)
        path, digest = listed_file(row, listing.parent, STAGE)
        found.append(Sample(path.stem, split, digest, path, row.string("source"), row.string("license")))
        row.string("description", "")
        row.done()
    top.done()
    if not found:
        raise top.error("lists no [[sample]]")
    calibrate = {sample.sha256 for sample in found if sample.split == "calibrate"}
    for sample in found:
        if sample.split == "judge" and sample.sha256 in calibrate:
            raise top.error(f"{sample.name} is in both splits; judging on calibration photos proves nothing")
    return found


def folder_samples(folder: Path, split: str) -> list[Sample]:
    if not folder.is_dir():
        raise UsageError(f"no folder of samples at {folder}")
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not photos:
        raise UsageError(f"{folder} holds no photos (looked for: {', '.join(sorted(SUFFIXES))})")
    return [Sample(p.stem, split, sha256_file(p), p, "user", "private", private=True) for p in photos]


def record_calibration(root: Path, artifact: str, samples: Sequence[Sample]) -> None:
    """Note in `root`/calibration.json which samples calibrated `artifact` ("<target>/<recipe>"), by hash."""
    path = root / CALIBRATED
    with locked(root / ".calibration.lock"):
        known = read_json(path, STAGE) if path.is_file() else {}
        known[artifact] = sorted(sample.sha256 for sample in samples)
        write_text(path, dump_json(dict(sorted(known.items()))))


def refuse_calibrated(root: Path, artifacts: Iterable[str], judging: Sequence[Sample]) -> None:
    """Raises StageError("samples") where a judging sample calibrated one of `artifacts`: the user's own folders are
    known to the two commands one by one."""
    path = root / CALIBRATED
    known = read_json(path, STAGE) if path.is_file() else {}
    for artifact in artifacts:
        used = set(known.get(artifact, ()))
        for sample in judging:
            if sample.sha256 in used:
                raise StageError(
                    STAGE,
                    f"{sample.name} calibrated {artifact} and is asked to judge it, which proves nothing; give "
                    "--samples and --calibrate different photos",
                )


def refuse_overlap(spec: ModelSpec, chosen: Sequence[Sample], split: str) -> None:
    others = {sample.sha256 for sample in committed_samples(spec) if sample.split != split}
    for sample in chosen:
        if sample.sha256 in others:
            raise StageError(
                STAGE, f"{sample.path} is asked for {split!r} but the model's list has it in the other split"
            )


def sample_inputs(spec: ModelSpec, sample: Sample, size: tuple[int, int]) -> dict[str, NDArray[np.generic]]:
    """The model's input tensors for one sample, in reference layout.

    The photo feeds every input of kind rgb-photo; other inputs are seeded from the sample's hash.
    """
    inputs: dict[str, NDArray[np.generic]] = {}
    for name in spec.inputs():
        tensor = spec.tensors[name]
        if tensor.kind == "rgb-photo" and sample.path is not None:
            inputs[name] = to_tensor(load_photo(sample.path), size)
        else:
            inputs[name] = seeded_input(tensor, size, f"{sample.sha256}/{name}")
    return inputs


def seeded_input(tensor: TensorSpec, size: tuple[int, int], seed: str) -> NDArray[np.generic]:
    """A reproducible synthetic input over the tensor's range.

    Spatial inputs are smooth blobs with fine noise: white noise alone drives a CNN's features to their means
    and would hide layout errors.
    """
    rng = np.random.default_rng(int(sha256_bytes(seed.encode())[:16], 16))
    shape = tensor.at(size)
    low, high = tensor.range or ((0.0, 1.0) if tensor.kind == "rgb-photo" else (-1.0, 1.0))
    if tensor.dtype == "bool":
        return rng.random(shape) < 0.5
    if tensor.dtype != "float32":
        return rng.integers(int(low), int(high) + 1, shape).astype(tensor.dtype)
    noise = rng.random(shape)
    if len(shape) == 4:
        coarse = rng.random((*shape[:2], 5, 5))
        rows = np.linspace(0, 4, shape[2]).round().astype(int)
        columns = np.linspace(0, 4, shape[3]).round().astype(int)
        noise = 0.85 * coarse[:, :, rows][:, :, :, columns] + 0.15 * noise
    values = (low + (high - low) * noise).astype(np.float32)
    # Photos are 8-bit: a byte-valued input must reach an ImageType model unchanged.
    return np.round(values * 255).astype(np.float32) / np.float32(255) if tensor.kind == "rgb-photo" else values
