"""Goldens: inputs, features and outputs of the reference, computed once and stored for every later comparison.

There is one .npz per sample, keyed by spec, weights, sample, size and preprocessing. `build/<model>/goldens` holds all
judging samples, with float32 features. `<model>/goldens` holds a few committed goldens, with float16 features, so that
artifacts can be judged where torch is not installed. Committed goldens also hold the outputs of every module for the
*rounded* features, so that a head is compared with the reference head on the same inputs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hydramobile.errors import StageError
from hydramobile.files import canonical_json, sha256_bytes, write_bytes
from hydramobile.loader import as_tuple, load_modules
from hydramobile.preprocess import CONTRACT
from hydramobile.reference_run import check_repeats, check_tensor, run_modules
from hydramobile.samples import Sample, drawn_samples, sample_inputs
from hydramobile.spec import ModelSpec
from hydramobile.sway import Reference, movements_of, reference_of

if TYPE_CHECKING:
    import torch

STAGE = "golden"
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Golden:
    """The reference's tensors of one sample, by name, in reference layout.

    `boundary[module][output]` is the reference module's output for the stored `tensors`. It differs from
    `tensors[output]` only where features were rounded to the `feature_dtype` float16.

    `sway` and `half` hold, per final float output, how far the reference moves when its input moves by a rounding of
    float32, and when its weights and inputs are rounded to float16 (hydramobile/sway.py); empty in older and committed
    goldens. `refused` says why the reference gives no outputs for a drawn input; then there are no tensors.
    """

    sample: str
    inputs: Mapping[str, Array]
    tensors: Mapping[str, Array]
    boundary: Mapping[str, Mapping[str, Array]]
    feature_dtype: str
    sway: Mapping[str, Array] = field(default_factory=dict)
    half: Mapping[str, Array] = field(default_factory=dict)
    refused: str = ""

    def value(self, name: str) -> Array:
        return self.inputs[name] if name in self.inputs else self.tensors[name]


def golden_key(spec: ModelSpec, sample: Sample, size: tuple[int, int]) -> str:
    parts = [spec.sha256, spec.weights_sha256, sample.sha256, list(size), CONTRACT]
    return sha256_bytes(canonical_json(parts).encode())


def golden_path(root: Path, sample: Sample) -> Path:
    return root / f"{sample.name}-{sample.sha256[:8]}.npz"


def build_folder(out: Path, spec: ModelSpec) -> Path:
    return out / spec.name / "goldens"


def committed_folder(spec: ModelSpec) -> Path:
    return spec.folder / "goldens"


def make_golden(
    spec: ModelSpec, modules: Mapping[str, torch.nn.Module], sample: Sample, size: tuple[int, int]
) -> Golden:
    """Run the reference modules on one sample, in float32 on the CPU (hydramobile/float32.py).

    Infinite values stand: a net may forbid a class by -inf. Raises StageError("golden") for NaN, for infinite values
    alone, and for another shape or dtype than declared.
    """
    inputs = sample_inputs(spec, sample, size)
    known = run_modules(spec, modules, inputs)
    for name, value in known.items():
        try:
            check_tensor(spec, name, value, size)
        except StageError as error:
            raise StageError(STAGE, f"{error.message} on sample {sample.name!r}") from error
    tensors: dict[str, Array] = {name: value.numpy().copy() for name, value in known.items() if name not in inputs}
    boundary = {m.name: {name: tensors[name] for name in m.outputs} for m in spec.modules.values()}
    return Golden(sample.name, inputs, tensors, boundary, "float32")


def halve(spec: ModelSpec, modules: Mapping[str, torch.nn.Module], golden: Golden) -> Golden:
    """Round the features of a golden to float16 and recompute every module's outputs from the rounded features."""
    import torch

    edges = set(spec.edges())
    tensors = {n: v.astype(np.float16) if n in edges and v.dtype.kind == "f" else v for n, v in golden.tensors.items()}
    boundary: dict[str, dict[str, Array]] = {}
    for module in spec.modules.values():
        inputs = [tensors.get(name, golden.inputs.get(name)) for name in module.inputs]
        with torch.no_grad():
            arguments = (torch.from_numpy(widened(np.asarray(value))) for value in inputs)
            outputs = as_tuple(modules[module.name](*arguments))
        # Only the outputs of a module that reads features change.
        moved = not edges.isdisjoint(module.inputs)
        boundary[module.name] = {
            name: rounded(value.numpy(), name in edges) if moved else tensors[name]
            for name, value in zip(module.outputs, outputs, strict=True)
        }
    return Golden(golden.sample, golden.inputs, tensors, boundary, "float16")


def rounded(value: Array, feature: bool) -> Array:
    return value.astype(np.float16 if feature and value.dtype.kind == "f" else value.dtype)


def widened(value: Array) -> Array:
    """Return a float16 tensor as float32, and any other as it is."""
    return value.astype(np.float32) if value.dtype == np.float16 else value


def golden_digest(golden: Golden) -> str:
    """Return the hash of all tensors of a golden, by name."""
    digest = hashlib.sha256(canonical_json([golden.sample, golden.feature_dtype, golden.refused]).encode())
    groups = {"input": golden.inputs, "tensor": golden.tensors, "sway": golden.sway, "half": golden.half}
    groups |= {f"boundary/{module}": outputs for module, outputs in golden.boundary.items()}
    for kind, arrays in groups.items():
        for name, value in arrays.items():
            digest.update(canonical_json([kind, name, value.dtype.str, list(value.shape)]).encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def save_golden(path: Path, golden: Golden, key: str, with_inputs: bool = True) -> None:
    """Write a golden as an .npz whose bytes depend on its content alone. numpy's own writer stores the time."""
    arrays: dict[str, Array] = {}
    if with_inputs:
        arrays |= {f"input/{name}": value for name, value in golden.inputs.items()}
    arrays |= {f"tensor/{name}": value for name, value in golden.tensors.items()}
    if golden.feature_dtype != "float32":
        for module, outputs in golden.boundary.items():
            arrays |= {f"boundary/{module}/{n}": v for n, v in outputs.items() if v is not golden.tensors[n]}
    for kind, movements in (("sway", golden.sway), ("half", golden.half)):
        arrays |= {f"{kind}/{name}": value for name, value in movements.items()}
    meta = {"schema": 1, "key": key, "sample": golden.sample, "feature_dtype": golden.feature_dtype}
    if golden.refused:
        meta["refused"] = golden.refused
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        archive.writestr(zipfile.ZipInfo("meta.json"), canonical_json(meta))
        for name, value in arrays.items():
            member = io.BytesIO()
            np.save(member, np.asarray(value, order="C"), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.getvalue())
    write_bytes(path, buffer.getvalue())


def load_golden(path: Path, spec: ModelSpec, sample: Sample, size: tuple[int, int]) -> Golden:
    """Read a golden. Raises StageError("golden") when it is missing, unreadable, or of another key."""
    remedy = f"refresh it with: make goldens MODEL={spec.folder}"
    if not path.is_file():
        raise StageError(STAGE, f"no golden for sample {sample.name!r} at {path}; {remedy}")
    try:
        with zipfile.ZipFile(path) as archive:
            meta = json.loads(archive.read("meta.json"))
            arrays = {
                name.removesuffix(".npy"): np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
                for name in archive.namelist()
                if name.endswith(".npy")
            }
    except (zipfile.BadZipFile, OSError, KeyError, ValueError, EOFError) as error:
        raise StageError(STAGE, f"{path} is not readable: {error}; {remedy}") from error
    if meta.get("key") != golden_key(spec, sample, size):
        raise StageError(STAGE, f"{path} is stale: the spec, weights, sample or size changed since; {remedy}")
    if meta.get("refused"):
        return Golden(sample.name, {}, {}, {}, "float32", refused=str(meta["refused"]))
    tensors = below(arrays, "tensor/")
    lost = [name for module in spec.modules.values() for name in module.outputs if name not in tensors]
    if lost:
        raise StageError(STAGE, f"{path} is not readable: it holds no {lost[0]!r}; {remedy}")
    inputs = below(arrays, "input/")
    if not inputs:
        # The goldens of a user's own photos are stored without the photo.
        inputs = sample_inputs(spec, sample, size)
    boundary = {
        module.name: {n: arrays.get(f"boundary/{module.name}/{n}", tensors[n]) for n in module.outputs}
        for module in spec.modules.values()
    }
    return Golden(
        sample.name, inputs, tensors, boundary, meta["feature_dtype"], below(arrays, "sway/"), below(arrays, "half/")
    )


def below(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def load_goldens(spec: ModelSpec, samples: Iterable[Sample], size: tuple[int, int], out: Path) -> list[Golden]:
    """Read the goldens of `samples` from the build folder.

    Where that folder does not exist and torch is not installed, the committed goldens are read instead. They cover
    fewer samples; the caller reports how many. Raises StageError("golden") with the command that makes missing ones.
    """
    chosen = list(samples)
    root = build_folder(out, spec)
    if not root.is_dir() and importlib.util.find_spec("torch") is None:
        committed = [sample for sample in chosen if golden_path(committed_folder(spec), sample).is_file()]
        if not committed:
            raise StageError(STAGE, f"no goldens in {root} or {committed_folder(spec)}, and no torch to make them")
        return [load_golden(golden_path(committed_folder(spec), s), spec, s, size) for s in committed]
    return [load_golden(golden_path(root, sample), spec, sample, size) for sample in chosen]


def load_drawn(spec: ModelSpec, size: tuple[int, int], out: Path) -> list[Golden]:
    """Read the goldens of the drawn inputs from the build folder, as `load_goldens`. None are committed."""
    root = build_folder(out, spec)
    if not root.is_dir() and importlib.util.find_spec("torch") is None:
        return []
    return [load_golden(golden_path(root, sample), spec, sample, size) for sample in drawn_samples(spec)]


def refresh(
    spec: ModelSpec,
    samples: Iterable[Sample],
    size: tuple[int, int],
    root: Path,
    half: bool = False,
    tell: Callable[[str], None] = lambda name: None,
) -> int:
    """Compute the goldens of `samples` that are missing or stale in `root`, and return the number of computed goldens.

    `half` stores features as float16 (see `halve`). `tell` is called with the name of each sample before it is
    computed. Raises StageError("golden"), and leaves none of the computed goldens, where the net returns other tensors
    for the first computed sample the second time, or after all others: then it is no reference.
    """
    modules = None
    reference: Reference | None = None
    computed: list[Path] = []
    for sample in samples:
        path = golden_path(root, sample)
        try:
            load_golden(path, spec, sample, size)
            continue
        except StageError:
            modules = modules or load_modules(spec)
        tell(sample.name)
        make = drawn_golden if sample.drawn else make_golden
        golden = make(spec, modules, sample, size)
        if not computed:
            first = golden
            check_again(spec, modules, first)
        if not half and not golden.refused:
            reference = reference or reference_of(spec, modules)
            movements = movements_of(reference, golden.inputs, golden.tensors)
            golden = replace(golden, sway=movements.sway, half=movements.half)
        save_golden(
            path,
            halve(spec, modules, golden) if half else golden,
            golden_key(spec, sample, size),
            with_inputs=not sample.private,
        )
        computed.append(path)
    if computed and modules:
        try:
            check_again(spec, modules, first)
        except StageError:
            for path in computed:
                path.unlink()
            raise
    return len(computed)


def drawn_golden(
    spec: ModelSpec, modules: Mapping[str, torch.nn.Module], sample: Sample, size: tuple[int, int]
) -> Golden:
    """Return the golden of a drawn input; one that is `refused` where the reference itself fails or gives NaN there.

    A drawn input may lie outside the domain of a net, such as the logarithm of zeros; then it judges nothing.
    """
    try:
        return make_golden(spec, modules, sample, size)
    except StageError as error:
        return Golden(sample.name, {}, {}, {}, "float32", refused=error.message)


def check_again(spec: ModelSpec, modules: Mapping[str, torch.nn.Module], golden: Golden) -> None:
    """Run the reference on a golden's inputs again, and raise StageError("golden") where it returns other tensors."""
    if golden.refused:
        return
    import torch

    before = {name: torch.from_numpy(value) for name, value in golden.tensors.items()}
    try:
        check_repeats(spec, before, run_modules(spec, modules, golden.inputs))
    except StageError as error:
        raise StageError(STAGE, error.message) from error
