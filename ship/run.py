"""Ship a net: export each target, compute the goldens, judge each file as soon as it stands, write the report."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydramobile.budget import load_budget
from hydramobile.errors import ExitCode, StageError, UsageError
from hydramobile.files import sha256_file
from hydramobile.model_code import check_factory
from hydramobile.recipe_files import check_name
from hydramobile.recipes import SETS
from hydramobile.spec import ModelSpec, load_spec
from hydramobile.targets import resolve, target_info
from ship.commands import Ended, run_command
from ship.rows import ShipRow, exported_row, judged_row, merged
from ship.schedule import Task, run_tasks

# Targets whose first verdict comes early, first.
FIRST = ("onnx", "coreml", "litert", "tfjs")
Progress = Callable[[str], None]


DEFAULT_OUT = Path("build")


@dataclass(frozen=True, slots=True)
class ShipRequest:
    """The options of `ship`. `quick`: one runtime per target, few samples, no report."""

    targets: tuple[str, ...]
    spec: ModelSpec
    out: Path
    recipes: tuple[str, ...] = ()
    samples: Path | None = None
    quick: bool = False

    @property
    def where(self) -> tuple[str, ...]:
        return ("--model", str(self.spec.folder), "--out", str(self.out))

    @property
    def short(self) -> str:
        """Return the same options for a person to type: without the folder that is the default."""
        return f"--model {self.spec.folder}" + ("" if self.out == DEFAULT_OUT else f" --out {self.out}")


@dataclass(slots=True)
class Shipment:
    """The state of one run: the rows so far, and the report's path."""

    request: ShipRequest
    progress: Progress
    started: float = field(default_factory=time.monotonic)
    rows: dict[tuple[str, str], ShipRow] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    report: str = ""

    def say(self, text: str) -> None:
        self.progress(f"{time.monotonic() - self.started:5.0f} s  {text}")

    def export(self, target: str) -> None:
        request = self.request
        self.say(f"{target}: export")
        recipes = [word for recipe in request.recipes for word in ("--recipe", recipe)]
        ended = run_command("export", target, *request.where, "--overwrite", *recipes)
        if not isinstance(ended.content, list):
            raise failure(ended, f"export {target}")
        budget = load_budget(request.spec)
        with self.lock:
            for outcome in ended.content:
                row = exported_row(outcome, budget, request.out, request.spec.name)
                if row.limit:
                    self.say(f"{target} {row.recipes[0]}: {row.verdict}: {row.limit}")
                self.rows[target, row.recipes[0]] = row

    def goldens(self) -> None:
        request = self.request
        samples = ("--samples", request.samples) if request.samples else ()
        ended = run_command("hydramobile", "goldens", *request.where, *samples)
        if ended.code:
            raise failure(ended, "goldens")

    def parity(self, target: str) -> None:
        request = self.request
        chosen = [key for key, row in self.rows.items() if key[0] == target and row.file]
        if not chosen:
            return
        words: list[object] = [word for key in chosen for word in ("--only", "/".join(key))]
        if request.samples:
            words += ["--samples", request.samples]
        if request.quick:
            words += ["--runtime", target_info(target).test_runtime, "--most", 4, "--lean"]
        self.say(f"{target}: parity")
        ended = run_command("benchmarks", "parity", *request.where, *words)
        if not isinstance(ended.content, dict):
            raise failure(ended, f"parity {target}")
        with self.lock:
            for key in chosen:
                row = judged_row(self.rows[key], ended.content["results"], " ".join(request.where))
                self.rows[key] = row
                self.say(f"{target} {key[1]}: {row.verdict}, {row.megabytes:.2f} MB, {row.limit}")

    def measure(self) -> None:
        if any(row.file for row in self.rows.values()):
            run_command("benchmarks", "size", *self.request.where)

    def write_report(self) -> None:
        page = self.request.out / self.request.spec.name / "report.html"
        ended = run_command("benchmarks", "report", *self.request.where, as_json=False)
        if ended.code == 0 and page.is_file():
            self.report = str(page)
        else:
            self.say(f"report: {ended.reason}")


def ship(request: ShipRequest, progress: Progress) -> Shipment:
    """Run all steps. A target that fails does not stop the others; wrong usage does.

    Raises UsageError and StageError where a command could not do its work at all.
    """
    shipment = Shipment(request, progress)
    targets = sorted(request.targets, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    judged = [
        Task(f"parity {name}", lambda name=name: shipment.parity(name), (f"export {name}", "goldens"), alone="parity")  # type: ignore[misc]  # a default binds the loop's name
        for name in targets
    ]
    exports = [Task(f"export {name}", lambda name=name: shipment.export(name)) for name in targets]  # type: ignore[misc]  # the same
    run_tasks([*judged, *exports[:1], Task("goldens", shipment.goldens), *exports[1:]])
    if not request.quick:
        shipment.say("size, report")
        shipment.measure()
        shipment.write_report()
    return shipment


def ordered_rows(shipment: Shipment) -> list[ShipRow]:
    """Return the rows by target and recipe; equal failures of one target are one row."""
    return merged([row for _, row in sorted(shipment.rows.items())])


def failure(ended: Ended, title: str) -> Exception:
    """Return the error of a command that could not do its work."""
    if ended.usage:
        return UsageError(ended.reason)
    stage, _, reason = ended.reason.partition(": ")
    if ended.code == ExitCode.STAGE and reason and " " not in stage:
        return StageError(stage, reason)
    return StageError(title.partition(" ")[0], ended.reason)


def model_folder(model: Path, out: Path, progress: Progress) -> Path:
    """Return a model folder: `model` itself, or the one that `init` writes for a .pt2 file below `out`.

    Raises UsageError where `model` is neither.
    """
    if model.suffix != ".pt2":
        return model
    if not model.is_file():
        raise UsageError(f"there is no file {model}")
    folder = out / "models" / model.stem
    copy = folder / "net.pt2"
    if (folder / "model.toml").is_file() and copy.is_file() and sha256_file(copy) == sha256_file(model):
        return folder
    progress(f"init {folder} {model}")
    ended = run_command("export", "init", folder, model, "--overwrite")
    if ended.code:
        raise failure(ended, "init")
    for text in ended.content["notes"]:
        progress(f"note: {text}")
    return folder


def make_request(words: Sequence[str], request: dict[str, Any], progress: Progress) -> ShipRequest:
    """Check the words of the command line. Raises UsageError before anything runs."""
    targets = resolve(words)
    spec = load_spec(model_folder(request.pop("model"), request["out"], progress))
    recipes = tuple(check_name(spec, name) for asked in request.pop("recipes") for name in SETS.get(asked, (asked,)))
    load_budget(spec)  # a bad budget.toml and a mistyped factory are reported before anything runs
    check_factory(spec)
    return ShipRequest(targets, spec, recipes=recipes, **request)
