"""Capture a model: its entries as PyTorch callables with example inputs, and as ATen graphs."""

from __future__ import annotations

import keyword
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from export.passes.base import PassResult, run_passes
from export.passes.eager import EagerModel
from export.passes.export_graph import export_graph
from export.passes.pipelines import CAPTURE_PASSES, EAGER_PASSES
from hydramobile.artifact import Port
from hydramobile.errors import StageError
from hydramobile.float32 import narrow_dtypes
from hydramobile.loader import as_tuple, load_modules
from hydramobile.recipes import FLOAT_SHARE, smallest_quantized
from hydramobile.reference_run import check_repeats, check_tensor
from hydramobile.reference_run import run_modules as run_modules  # of a program, for its users
from hydramobile.samples import Sample, drawn_samples, load_samples, sample_inputs
from hydramobile.spec import EntrySpec, ModelSpec

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

STAGE = "capture"
# Begins the hash of a drawn input. Samples' hashes are hexadecimal, so drawn inputs sort last where a recipe takes
# a few samples only.
DRAWN_MARK = "x"


@dataclass(frozen=True, slots=True)
class Cache:
    """Locate the cache of activation ranges. `stamp` hashes all their inputs but the samples; "" turns it off."""

    folder: Path = Path()
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """Hold a model that is ready to be converted.

    `tensors` holds every tensor of the model (inputs, features, outputs) by name, in reference layout, for the first
    judging sample: example inputs, shapes and dtypes are read from it. `calibration` holds the same for every
    calibration sample; it is empty unless `calibrate` filled it.
    """

    spec: ModelSpec
    size: tuple[int, int]
    modules: Mapping[str, torch.nn.Module]
    tensors: Mapping[str, torch.Tensor]
    calibration: tuple[Mapping[str, torch.Tensor], ...] = ()
    calibration_hashes: tuple[str, ...] = ()
    cache: Cache = Cache()

    @property
    def entries(self) -> tuple[EntrySpec, ...]:
        return tuple(self.spec.entries.values())

    def callable(self, entry: EntrySpec) -> torch.nn.Module:
        """Return the entry as one module: inputs by position in `entry.inputs` order, a tuple of `entry.outputs`."""
        return entry_module(self.modules, entry, self.spec, self.tensors)

    def example(self, entry: EntrySpec) -> tuple[torch.Tensor, ...]:
        """Return the entry's inputs, in the dtypes that files have (`file_dtype`)."""
        return tuple(in_file_dtype(self.tensors[name]) for name in entry.inputs)

    def feeds(self, entry: EntrySpec) -> list[dict[str, NDArray[Any]]]:
        """Return the entry's inputs by name, in reference layout and `file_dtype`: one dict per calibration sample."""
        return [{name: in_file_dtype(tensors[name]).numpy() for name in entry.inputs} for tensors in self.calibration]

    def final(self) -> tuple[str, ...]:
        """Return the names of the outputs that no module of the model reads."""
        edges = self.spec.edges()
        return tuple(name for module in self.spec.modules.values() for name in module.outputs if name not in edges)

    def exported(self, entry: EntrySpec) -> PassResult[ExportedProgram]:
        """Export the entry and run CAPTURE_PASSES: a fresh ATen graph per call, because vendors mutate their input.

        Raises StageError("capture"), which names the entry and the line of the net that cannot be exported.
        """
        try:
            graph = export_graph(self.callable(entry), self.example(entry))
            result = run_passes(graph.program, CAPTURE_PASSES)
        except StageError as error:
            raise StageError(error.stage, f"entry {entry.name!r}: {error.message}") from error
        return PassResult(result.program, result.modified or graph.modified)

    def least_quantized(self, share: float = FLOAT_SHARE) -> int:
        """Return the number of elements below which a weight stays in float.

        In the largest module, the weights below it hold at most `share` of all elements. Weights are parameters of two
        or more dimensions. Only the largest module counts, so that a new, smaller head does not change the files of the
        other modules.
        """
        return smallest_quantized(self.largest_module(), share)

    def largest_module(self) -> Counter[int]:
        """Return {number of elements: number of weights} of the module with the most elements in weights."""
        counts = [Counter(p.numel() for p in module.parameters() if p.ndim >= 2) for module in self.modules.values()]
        return max(counts, key=lambda sizes: sum(size * count for size, count in sizes.items()))

    def port(self, name: str, nhwc: bool = False, file_name: str | None = None) -> Port:
        """Return the Port of a tensor in a file that has its `file_dtype`; `nhwc` stores NCHW tensors as NHWC.

        A target whose file differs otherwise changes the fields with dataclasses.replace.
        """
        value = self.tensors[name]
        declared = self.spec.tensors.get(name)
        layout = declared.layout if declared else ("NCHW" if value.ndim == 4 else "any")
        moved = nhwc and layout == "NCHW"
        shape = tuple(value.shape)
        return Port(
            name=name,
            file_name=file_name or name,
            shape=(shape[0], shape[2], shape[3], shape[1]) if moved else shape,
            layout="NHWC" if moved else layout,
            dtype=str(file_dtype(value.dtype)).removeprefix("torch."),
            reference_layout=layout,
            range=declared.range if declared else None,
            kind=declared.kind if declared else "tensor",
            judge=declared.judge if declared else None,
            description=declared.description if declared else "",
        )


def file_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of files for a dtype of the reference: int32 for small integers, float32 for other floats.

    Every value keeps its number, except that a float64 which no float32 equals is rounded.
    """
    import torch

    if dtype in (torch.uint8, torch.int8, torch.int16):
        return torch.int32
    return torch.float32 if dtype.is_floating_point else dtype


def in_file_dtype(value: torch.Tensor) -> torch.Tensor:
    return value.to(file_dtype(value.dtype))


def entry_module(
    modules: Mapping[str, torch.nn.Module],
    entry: EntrySpec,
    spec: ModelSpec,
    tensors: Mapping[str, torch.Tensor],
) -> torch.nn.Module:
    """Wire the entry's modules by tensor name into one torch.nn.Module.

    Its inputs may have the `file_dtype` of `tensors`: small integers and float64 are cast to the dtype that the modules
    read. Its outputs have the `file_dtype`.
    """
    import torch

    def is_cast(name: str) -> bool:
        dtype = tensors[name].dtype if name in tensors else torch.float32
        # Modules compute in float32 where float16 is declared (hydramobile/float32.py).
        return dtype != file_dtype(dtype) and dtype not in narrow_dtypes()

    attributes = attribute_names(entry.modules)

    class Wired(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in entry.modules:
                self.add_module(attributes[name], modules[name])

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            known = {
                name: value.to(tensors[name].dtype) if is_cast(name) else value
                for name, value in zip(entry.inputs, inputs, strict=True)
            }
            for name in entry.modules:
                module = spec.modules[name]
                outputs = getattr(self, attributes[name])(*(known[tensor] for tensor in module.inputs))
                known.update(zip(module.outputs, as_tuple(outputs), strict=True))
            return tuple(in_file_dtype(known[name]) if is_cast(name) else known[name] for name in entry.outputs)

    return Wired().eval()


def attribute_names(modules: Sequence[str]) -> dict[str, str]:
    """Return the attribute of each module in a wired one: its name, with "_" behind it where torch has that name.

    torch.fx writes `self.<name>` as Python code, and a torch.nn.Module has attributes of its own, such as `type`.
    """
    import torch

    names: dict[str, str] = {}
    for name in modules:
        attribute = name
        while keyword.iskeyword(attribute) or hasattr(torch.nn.Module, attribute) or attribute in names.values():
            attribute += "_"
        names[name] = attribute
    return names


def capture(spec: ModelSpec, size: tuple[int, int] | None = None, weights: Path | None = None) -> Program:
    """Load the modules, run them on a real input, check their tensors against the spec, and run EAGER_PASSES.

    `weights`: another file than the spec's, of the same keys and shapes.

    Raises StageError("capture") when a module fails or returns another number of tensors, when a tensor has another
    shape or dtype than declared, holds NaN or infinity alone, or differs the second time on the same input.
    """
    size = size or spec.size
    modules = load_modules(spec, weights)
    inputs = sample_inputs(spec, load_samples(spec, "judge")[0], size)
    # The reference's own tensors, before any pass.
    tensors = run_modules(spec, modules, inputs)
    for name, value in tensors.items():
        check_tensor(spec, name, value, size)
    check_repeats(spec, tensors, run_modules(spec, modules, inputs))
    run_passes(EagerModel(modules, lambda: run_modules(spec, modules, inputs)), EAGER_PASSES)
    return Program(spec, size, modules, tensors)


def calibrate(program: Program, samples: Sequence[Sample], drawn: bool = False) -> Program:
    """Return the program with the tensors of every calibration sample, for recipes with integer activations.

    Synthetic samples are noise, which real inputs are not: with `drawn`, drawn inputs then count as samples too.
    """
    spec = program.spec
    tensors = [run_modules(spec, program.modules, sample_inputs(spec, sample, program.size)) for sample in samples]
    hashes = [sample.sha256 for sample in samples]
    if drawn and all(sample.path is None for sample in samples):
        more = drawn_tensors(program)
        tensors += more.values()
        hashes += [DRAWN_MARK + name for name in more]
    return replace(program, calibration=tuple(tensors), calibration_hashes=tuple(hashes))


def without_drawn(program: Program) -> Program:
    """Return the program without its drawn inputs, which widen ranges but must not steer the rounding of weights."""
    kept = [index for index, digest in enumerate(program.calibration_hashes) if not digest.startswith(DRAWN_MARK)]
    return replace(
        program,
        calibration=tuple(program.calibration[index] for index in kept),
        calibration_hashes=tuple(program.calibration_hashes[index] for index in kept),
    )


def drawn_tensors(program: Program) -> dict[str, dict[str, torch.Tensor]]:
    """Return every tensor of the model for each drawn input that the modules take, by its hash."""
    spec = program.spec
    results: dict[str, dict[str, torch.Tensor]] = {}
    for sample in drawn_samples(spec, "calibrate"):
        try:
            results[sample.sha256] = run_modules(spec, program.modules, sample_inputs(spec, sample, program.size))
        except StageError:
            continue  # the net refuses the input, so no app can feed it
    return results


def calibrate_like(program: Program, like: Program) -> Program:
    """Return the program with its own tensors of the calibration samples of `like`."""
    names = program.spec.inputs()
    calibration = [
        run_modules(program.spec, program.modules, {name: tensors[name].numpy() for name in names})
        for tensors in like.calibration
    ]
    return replace(program, calibration=tuple(calibration), calibration_hashes=like.calibration_hashes)


def limit_calibration(program: Program, count: int) -> Program:
    """Return the program with `count` of its calibration samples (0: all), in the order of their hashes.

    The choice is arbitrary but nested: a larger count includes the samples of every smaller count.
    Raises StageError("quantize") when the program has fewer.
    """
    if not count:
        return program
    ordered = sorted(zip(program.calibration_hashes, program.calibration, strict=True), key=lambda pair: pair[0])
    if count > len(ordered):
        raise StageError("quantize", f"{count} calibration samples are asked for, and there are {len(ordered)}")
    hashes, tensors = zip(*ordered[:count], strict=True)
    return replace(program, calibration=tensors, calibration_hashes=hashes)
