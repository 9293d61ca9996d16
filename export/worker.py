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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from export.program import Program, calibrate, capture
from export.seal import seal
from export.target import load_target
from models.artifact import artifact_folder
from models.errors import StageError
from models.files import locked, staging_folder
from models.named import find_recipe
from models.process import receive, send
from models.samples import load_samples
from models.spec import load_spec


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


def work(job: Job, events: Events) -> None:
    """Run a job. Failures are told as events; a failing recipe does not stop the others."""
    target = load_target(job.target)
    try:
        with events.stage("capture"):
            program = captured(job)
        with tempfile.TemporaryDirectory(prefix=f"hydra-{job.target}-") as scratch:
            with events.stage("convert"):
                converted = target.convert(program, Path(scratch))
            for name in job.recipes:
                emit_one(job, target, program, converted, name, events)
    except StageError:
        return  # told as an event


def captured(job: Job) -> Program:
    """The program, with calibration tensors where a recipe needs them."""
    spec = load_spec(Path(job.model))
    program = capture(spec)
    if any(find_recipe(spec, job.target, name).calibrated for name in job.recipes):
        folder = Path(job.calibrate) if job.calibrate else None
        return calibrate(program, load_samples(spec, "calibrate", folder))
    return program


def emit_one(job: Job, target: Any, program: Any, converted: Any, name: str, events: Events) -> None:
    chosen = find_recipe(program.spec, job.target, name)
    folder = artifact_folder(Path(job.out), program.spec.name, job.target, chosen.name)
    lock = folder.parent / f".{chosen.name}.lock"
    try:
        with events.stage("emit", name), locked(lock), staging_folder(folder) as staging:
            emitted = target.emit(program, converted, chosen, staging)
            seal(program, target, chosen, emitted, staging)
    except StageError:
        return  # told as an event


def main() -> None:
    import torch

    # One thread: sums of another order would change the last bits from one machine to the next.
    torch.set_num_threads(1)
    fields, stream = receive(sys.argv[1:])
    with stream:
        work(Job(**{**fields, "recipes": tuple(fields["recipes"])}), Events(stream))


if __name__ == "__main__":
    main()
