"""The worker process of one target: capture once, convert once, derive every recipe.

A vendor's crash, hang or memory use stays in here. Events go to the parent as JSON lines on a pipe; stdout and
stderr (vendors are noisy) are a log file.
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

from export.program import Cache, Program, calibrate, calibrate_like, capture, limit_calibration
from export.quantize.cross_layer_equalization import equalized
from export.seal import input_hash, seal
from export.target import Target, load_target
from export.verify.readback import compare, summary
from hydramobile.artifact import artifact_folder
from hydramobile.errors import StageError
from hydramobile.files import locked, staging_folder
from hydramobile.process import receive, send
from hydramobile.recipe_files import find_recipe
from hydramobile.recipes import FLOAT32, Recipe
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is asked to make: one target, several recipes, into `out`/<model>/<target>/<recipe>."""

    model: str
    target: str
    recipes: tuple[str, ...]
    out: str
    calibrate: str | None = None


class Events:
    """Writes {"event": "start" | "done" | "failed", "stage": ..., "recipe": ...} lines to the parent."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def send(self, **content: Any) -> None:
        send(self.stream, **content)

    @contextmanager
    def stage(self, name: str, recipe_name: str = "") -> Iterator[None]:
        """Announce a stage. An error inside is reported with its stage and raised on."""
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


# Of a basis: whether it is equalized, by how many samples, and the hash of weights that are not the model's.
Key = tuple[bool, int, str]
PLAIN: Key = (False, 0, "")


@dataclass(frozen=True, slots=True)
class Basis:
    """What recipes are made from: the program, what the target converted it to, and what was done to it before."""

    program: Program
    converted: Any
    note: str = ""


def work(job: Job, events: Events) -> None:
    """Run a job. Failures are told as events; a failing recipe does not stop the others."""
    target = load_target(job.target)
    try:
        with events.stage("capture"):
            program = captured(job, target)
        with tempfile.TemporaryDirectory(prefix=f"hydra-{job.target}-") as scratch:
            with events.stage("convert"):
                bases = {PLAIN: Basis(program, target.convert(program, Path(scratch)))}
            for name in job.recipes:
                emit_one(job, target, bases, (find_recipe(program.spec, job.target, name), Path(scratch)), events)
    except StageError:
        return  # told as an event


def basis(target: Target, bases: dict[Key, Basis], chosen: Recipe, scratch: Path) -> Basis:
    """What `chosen` is made from: with its calibration samples; an equalized net is converted anew, and so is one with
    weights of the recipe's own."""
    plain = bases[PLAIN]
    if chosen.weights:
        return with_weights(target, bases, chosen, scratch)
    if not chosen.calibrated:
        return plain
    program = limit_calibration(plain.program, chosen.samples)
    if not chosen.equalized:
        return replace(plain, program=program)
    key = (True, chosen.samples, "")
    if key not in bases:
        made = equalized(program, target.static_bits)
        folder = scratch / f"equalized-{chosen.samples}"
        folder.mkdir()
        bases[key] = Basis(made.program, target.convert(made.program, folder), made.note)
    return bases[key]


def with_weights(target: Target, bases: dict[Key, Basis], chosen: Recipe, scratch: Path) -> Basis:
    """The net with a recipe's own weights, converted once for all recipes that name the same ones."""
    key = (False, 0, chosen.weights_sha256)
    if key not in bases:
        path, given = Path(chosen.weights), bases[PLAIN].program
        program = calibrate_like(capture(given.spec, weights=path), given)
        folder = scratch / f"weights-{chosen.weights_sha256[:16]}"
        folder.mkdir()
        note = f"weights of its own, {path.name} (sha256 {chosen.weights_sha256}), judged against the model's"
        bases[key] = Basis(program, target.convert(program, folder), note)
    return bases[key]


def captured(job: Job, target: Target) -> Program:
    """The program, with calibration tensors where a recipe needs them."""
    spec = load_spec(Path(job.model))
    program = capture(spec)
    program = replace(program, cache=Cache(Path(job.out) / spec.name / ".ranges", input_hash(spec, target, FLOAT32)))
    if any(find_recipe(spec, job.target, name).calibrated for name in job.recipes):
        folder = Path(job.calibrate) if job.calibrate else None
        return calibrate(program, load_samples(spec, "calibrate", folder))
    return program


def emit_one(job: Job, target: Target, bases: dict[Key, Basis], what: tuple[Recipe, Path], events: Events) -> None:
    """Make one recipe, `what` = (recipe, scratch folder), from its basis; read it back, seal it, move it in."""
    (chosen, scratch), program = what, bases[PLAIN].program
    folder = artifact_folder(Path(job.out), program.spec.name, job.target, chosen.name)
    lock = folder.parent / f".{chosen.name}.lock"
    try:
        with events.stage("emit", chosen.name), locked(lock), staging_folder(folder) as staging:
            own = basis(target, bases, chosen, scratch)
            emitted = target.emit(own.program, own.converted, chosen, staging)
            notes = [*emitted.notes, *([own.note] if own.note else []), *calibration_note(own.program, chosen)]
            if chosen.name != "float32":  # which parity holds to 1e-4 of the outputs themselves
                originals = target.originals(own.program, own.converted, chosen)
                notes += summary(compare(job.target, chosen, target.read_weights(staging, emitted), originals))
            seal(program, target, chosen, replace(emitted, notes=tuple(notes)), staging)
    except StageError:
        return  # told as an event


def calibration_note(program: Program, chosen: Recipe) -> tuple[str, ...]:
    """How the ranges of integer activations were found."""
    if not chosen.activation_bits:
        return ()
    return (f"ranges by {chosen.method} over {len(program.calibration)} calibration samples",)


def main() -> None:
    import torch

    # One thread: sums of another order would change the last bits from one machine to the next.
    torch.set_num_threads(1)
    fields, stream = receive(sys.argv[1:])
    with stream:
        work(Job(**{**fields, "recipes": tuple(fields["recipes"])}), Events(stream))


if __name__ == "__main__":
    main()
