"""From a Program to measured errors: convert, emit, run in a runtime, compare with PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.runtime import load_runtime, run
from export.program import Program
from export.target import Emitted, Target, load_target
from export.verify.readback import Compared, compare
from hydramobile.artifact import Entry, read_artifact
from hydramobile.measures import tensor_measures
from hydramobile.recipes import Recipe, recipe
from hydramobile.targets import target_info

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Error:
    """The distance of an output from the reference. `peak` is the largest magnitude of the reference."""

    max_abs: float
    mean_abs: float
    snr_db: float
    peak: float

    @property
    def relative(self) -> float:
        """The largest error as a share of the peak."""
        return self.max_abs / self.peak

    @property
    def scaled(self) -> float:
        """The largest error as a share of the peak, or as it is where the peak is below 1."""
        return self.max_abs / max(1.0, self.peak)


@dataclass(frozen=True, slots=True)
class Built:
    """The files of one recipe in `folder`."""

    converted: Converted
    recipe: Recipe
    folder: Path
    emitted: Emitted

    @property
    def entry(self) -> Entry:
        """The first entry."""
        return self.emitted.entries[0]

    def run(self, runtime: str = "") -> Arrays:
        """Return the outputs of the first entry for the program's example, from `runtime` or the target's."""
        program = self.converted.program
        inputs = {name: tensor.numpy() for name, tensor in program.tensors.items()}
        return run_entry(
            runtime or target_info(self.converted.target.name).test_runtime, self.folder, self.entry, inputs
        )

    def errors(self, runtime: str = "") -> dict[str, Error]:
        """Return the error of each output of the first entry. Raises StageError for another shape and for NaN."""
        return errors_of(self.converted.program, self.run(runtime))

    def read_back(self) -> tuple[Compared, ...]:
        """Read the weights back from the files. Raises StageError where one is not stored as the recipe says."""
        target, originals = self.converted.target, self.converted.originals(self.recipe)
        return compare(target.name, self.recipe, target.read_weights(self.folder, self.emitted), originals)


@dataclass(frozen=True, slots=True)
class Converted:
    """A program as one target converted it, to be emitted once per recipe."""

    program: Program
    target: Target
    graphs: Any

    def emit(self, name: str, folder: Path) -> Built:
        """Write the files of recipe `name` into `folder`."""
        chosen = recipe(name)
        folder.mkdir(parents=True, exist_ok=True)
        return Built(self, chosen, folder, self.target.emit(self.program, self.graphs, chosen, folder))

    def originals(self, chosen: Recipe) -> Mapping[str, Any]:
        """Return the float weights that the files of a recipe are compared with, by name."""
        return self.target.originals(self.program, self.graphs, chosen)


def convert(program: Program, target: str, scratch: Path) -> Converted:
    """Convert `program` for `target`. `scratch` is created; what lies there must outlive every `emit`."""
    scratch.mkdir(parents=True, exist_ok=True)
    made = load_target(target)
    return Converted(program, made, made.convert(program, scratch))


def emit(program: Program, target: str, folder: Path, name: str = "float32") -> Built:
    """Convert `program` for `target` and write recipe `name` into `folder`/artifact."""
    return convert(program, target, folder / "scratch").emit(name, folder / "artifact")


def emit_run_compare(program: Program, target: str, folder: Path, name: str = "float32") -> dict[str, Error]:
    """Emit `program` for `target` below `folder`, run it in the target's runtime, and return each output's error."""
    return emit(program, target, folder, name).errors()


def errors_of(program: Program, outputs: Mapping[str, NDArray[Any]]) -> dict[str, Error]:
    """Compare `outputs` with the program's own tensors of the same names."""
    errors = {}
    for name, output in outputs.items():
        reference = program.tensors[name].numpy()
        measures = tensor_measures(output, reference)
        peak = float(np.abs(reference).max())
        errors[name] = Error(measures["max_abs"], measures["mean_abs"], measures["snr_db"], peak)
    return errors


def beyond(errors: Mapping[str, Error], limit: float) -> dict[str, Error]:
    """Return the scaled errors that are larger than `limit`. Most tests expect an empty dict."""
    return {name: error for name, error in errors.items() if not error.scaled <= limit}


def run_entry(runtime: str, folder: Path, entry: Entry, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """Open `entry` of the artifact in `folder` in `runtime`, run it once, and return its outputs."""
    session = load_runtime(runtime).open(folder, entry)
    try:
        return run(session, inputs)
    finally:
        session.close()


def run_sealed(folder: Path, entry: str, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """Run entry `entry` of a sealed artifact once in its target's runtime, and return its outputs."""
    sealed = read_artifact(folder)
    return run_entry(target_info(sealed.target).test_runtime, folder, sealed.entry(entry), inputs)
