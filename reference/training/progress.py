"""Progress of a run: lines with the remaining time, log.jsonl, and the loss curve."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from reference.training.options import Options

LOG, CURVE = "log.jsonl", "curve.png"
EVERY = 20


class Progress:
    """Print and log for rank 0. Lines of the log after the step from which a run resumes are dropped."""

    def __init__(self, run: Path, options: Options, step: int, seconds: float) -> None:
        self.path, self.options = run / LOG, options
        self._terms: dict[str, list[float]] = defaultdict(list)
        self._first, self._since = step, seconds
        kept = [line for line in read_log(run) if line["step"] <= step]
        run.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def note(self, step: int, share: float, seconds: float, terms: Mapping[str, float]) -> None:
        """Record the terms of a step; every `EVERY` steps write their means and print the remaining time."""
        for name, value in terms.items():
            self._terms[name].append(value)
        # The last step is logged too, so that a run of a few steps has a line.
        if step % EVERY and step != self.options.steps:
            return
        means = {name: round(sum(values) / len(values), 6) for name, values in self._terms.items()}
        self._terms.clear()
        self._write({"kind": "train", "step": step, "seconds": round(seconds, 1), **means})
        images = (self.options.synthetic + self.options.photos) * self.options.processes
        rate = (step - self._first) * images / max(seconds - self._since, 1e-9)
        left = seconds * (1 - share) / max(share, 1e-9) / 60
        total = f"{self.options.minutes:g} min" if self.options.minutes else f"{self.options.steps} steps"
        typer.echo(f"step {step} of {total}: loss {means['loss']:.4f}, {rate:.1f} images/s, {left:.1f} minutes to go")

    def validated(self, step: int, figures: Mapping[str, float]) -> None:
        rounded = {name: round(value, 5) for name, value in figures.items()}
        self._write({"kind": "validation", "step": step, **rounded})
        typer.echo(f"step {step}: validation {', '.join(f'{k} {v:.4f}' for k, v in rounded.items())}")

    def _write(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


def read_log(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log, [] if there is none. A line that was cut off by a kill is dropped."""
    path = run / LOG
    lines: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def draw_curve(run: Path) -> None:
    """Draw the loss, its parts, and the validation figures that the run has over the steps into curve.png."""
    from matplotlib.figure import Figure

    log = read_log(run)
    figure = Figure(figsize=(10, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    trained = [line for line in log if line["kind"] == "train"]
    for name in ("loss", "person_l1", "gradient", "scale_shift_l1", "matte_entropy"):
        if trained and name in trained[0]:
            upper.plot([t["step"] for t in trained], [t[name] for t in trained], label=name)
    upper.set_ylabel(f"training, mean of {EVERY} steps")
    if trained:
        upper.set_yscale("log")
        upper.legend()
    checked = [line for line in log if line["kind"] == "validation"]
    steps = [line["step"] for line in checked]
    for name, label in (
        ("whdr", "WHDR inside the person"),
        ("mae", "matte MAE"),
        ("angle_mean", "normals, mean angle in degrees"),
    ):
        if checked and name in checked[0]:
            lower.plot(steps, [line[name] for line in checked], "o-", label=label)
    if checked and "iou" in checked[0]:
        lower.plot(steps, [1 - line["iou"] for line in checked], "o-", label="1 - matte IoU")
    lower.set_ylabel("synthetic validation, moving average")
    lower.set_xlabel("step")
    if checked:
        lower.legend()
    figure.savefig(run / CURVE, dpi=110)
