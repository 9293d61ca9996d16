"""The worker process of one target: capture once, convert once, derive every recipe.

A vendor's crash, hang or memory use stays in this process. Events go to the parent as JSON lines on a pipe; stdout and
stderr (vendors are noisy) go to a log file.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from export.program import Cache, Program, calibrate, calibrate_like, capture, limit_calibration, without_drawn
from export.quantize.cross_layer_equalization import equalize
from export.seal import input_hash, seal
from export.target import Target, load_target
from export.verify.readback import compare, stored_layers, summary
from hydramobile.artifact import artifact_folder
from hydramobile.errors import StageError
from hydramobile.files import lock_of, locked, staging_folder
from hydramobile.process import receive, send
from hydramobile.recipe_files import find_recipe
from hydramobile.recipes import FLOAT32, Recipe
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec


@dataclass(frozen=True, slots=True)
class Job:
    """The work of one process: several recipes of one target, into `out`/<model>/<target>/<recipe>."""

    model: str
    target: str
    recipes: tuple[str, ...]
    out: str
    calibrate: str | None = None


class Events:
    """Write {"event": "start" | "done" | "failed", "stage": ..., "recipe": ...} lines to the parent."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def send(self, **content: Any) -> None:
        send(self.stream, **content)

    @contextmanager
    def stage(self, name: str, recipe_name: str = "") -> Iterator[None]:
        """Announce a stage. Report an error inside with its stage, and raise it on as a StageError."""
        self.send(event="start", stage=name, recipe=recipe_name)
        try:
            yield
        except StageError as error:
            self.send(event="failed", stage=error.stage, recipe=recipe_name, error=error.message)
            raise
        except Exception as error:
            traceback.print_exc()
            self.send(event="failed", stage=name, recipe=recipe_name, error=f"{type(error).__name__}: {error}")
            raise StageError(name, str(error)) from error
        self.send(event="done", stage=name, recipe=recipe_name)


@dataclass(frozen=True, slots=True)
class Source:
    """The input of `emit`: the program, its conversion by the target, and a note on steps before the conversion."""

    program: Program
    converted: Any
    note: str = ""


class Sources:
    """The source of each recipe, converted once for all recipes that share it.

    Most recipes share `plain`. An equalized net is converted anew, and so is a net with weights of the recipe's own.
    """

    def __init__(self, target: Target, plain: Source, scratch: Path) -> None:
        self.target = target
        self.plain = plain
        self.scratch = scratch
        self.known: dict[str, Source] = {}

    def of(self, chosen: Recipe) -> Source:
        """Return the source of a recipe, with the recipe's calibration samples."""
        if chosen.weights:
            return self.with_weights(chosen)
        if not chosen.calibrated:
            return self.plain
        whole = self.plain.program if chosen.activation_bits else without_drawn(self.plain.program)
        program = limit_calibration(whole, chosen.samples)
        if not chosen.equalized:
            return replace(self.plain, program=program)
        key = f"equalized-{chosen.samples}"
        if key not in self.known:
            result = equalize(program, self.target.static_bits)
            self.known[key] = self.convert(key, result.program, result.note)
        return self.known[key]

    def with_weights(self, chosen: Recipe) -> Source:
        """Return the net with the recipe's own weights."""
        key = f"weights-{chosen.weights_sha256[:16]}"
        if key not in self.known:
            path, plain = Path(chosen.weights), self.plain.program
            program = calibrate_like(capture(plain.spec, weights=path), plain)
            note = f"weights of its own, {path.name} (sha256 {chosen.weights_sha256}), judged against the model's"
            self.known[key] = self.convert(key, program, note)
        return self.known[key]

    def convert(self, key: str, program: Program, note: str) -> Source:
        folder = self.scratch / key
        folder.mkdir()
        return Source(program, self.target.convert(program, folder), note)


def work(job: Job, events: Events) -> None:
    """Run a job. Failures are reported as events; a failing recipe does not stop the others."""
    target = load_target(job.target)
    try:
        with events.stage("capture"):
            program = capture_calibrated(job, target)
        with tempfile.TemporaryDirectory(prefix=f"hydra-{job.target}-") as folder:
            scratch = Path(folder)
            with events.stage("convert"):
                plain = Source(program, target.convert(program, scratch))
            sources = Sources(target, plain, scratch)
            for name in job.recipes:
                emit(job, target, sources, find_recipe(program.spec, job.target, name), events)
    except StageError:
        return  # reported as an event


def capture_calibrated(job: Job, target: Target) -> Program:
    """Capture the program, with calibration tensors where a recipe needs them."""
    spec = load_spec(Path(job.model))
    program = capture(spec)
    program = replace(program, cache=Cache(Path(job.out) / spec.name / ".ranges", input_hash(spec, target, FLOAT32)))
    if any(find_recipe(spec, job.target, name).calibrated for name in job.recipes):
        folder = Path(job.calibrate) if job.calibrate else None
        return calibrate(program, load_samples(spec, "calibrate", folder), drawn=True)
    return program


def emit(job: Job, target: Target, sources: Sources, chosen: Recipe, events: Events) -> None:
    """Write one recipe's files to a staging folder, read them back, seal them, and move the folder into its place."""
    folder = artifact_folder(Path(job.out), sources.plain.program.spec.name, job.target, chosen.name)
    try:
        with events.stage("emit", chosen.name), locked(lock_of(folder)), staging_folder(folder) as staging:
            source = sources.of(chosen)
            emitted = target.emit(source.program, source.converted, chosen, staging)
            notes = [*emitted.notes, *([source.note] if source.note else []), *calibration_note(source.program, chosen)]
            if chosen.name != "float32":  # parity compares the outputs of float32 to 1e-4
                originals = target.originals(source.program, source.converted, chosen)
                rows = compare(job.target, chosen, target.read_weights(staging, emitted), originals)
                notes += summary(rows)
                if not chosen.base:
                    emitted = replace(emitted, layers=stored_layers(rows, chosen, source.program.spec.modules))
            seal(source.program, target, chosen, replace(emitted, notes=tuple(notes)), staging)
    except StageError:
        return  # reported as an event


def calibration_note(program: Program, chosen: Recipe) -> tuple[str, ...]:
    """Return the note on how the ranges of integer activations were observed."""
    if not chosen.activation_bits:
        return ()
    return (f"ranges by {chosen.method} over {len(program.calibration)} calibration samples",)


def main() -> None:
    import torch

    # One thread: another order of summation would change the last bits from one machine to the next.
    torch.set_num_threads(1)
    fields, stream = receive(sys.argv[1:])
    with stream:
        work(Job(**{**fields, "recipes": tuple(fields["recipes"])}), Events(stream))


if __name__ == "__main__":
    main()
