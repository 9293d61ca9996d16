"""Write the report of a search: search.json with every trial, and the chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from export.search.builds import Build
from export.search.chart import write_chart
from export.search.latency import ratios
from export.search.losses import Loss
from export.search.state import State, search_folder
from export.search.trial import Trial
from hydramobile.errors import UsageError
from hydramobile.files import dump_json, read_json, write_text
from hydramobile.spec import ModelSpec

REPORT, CHART = "search.json", "pareto.png"


def write_report(state: State, final: Sequence[Trial]) -> None:
    """Write search.json and pareto.png."""
    request = state.request
    trials = [*state.trials, *final]
    document = {
        "schema": 1,
        "model": request.spec.name,
        "weights_sha256": request.spec.weights_sha256,
        "samples": [sample.name for sample in state.bench.samples],
        "builds": [build.row() for build in request.builds],
        "layers": {
            target: {name: [asdict(option) for option in options] for name, options in table.items()}
            for target, table in state.tables.items()
        },
        "tried": [trial.row() for trial in trials],
    }
    write_text(request.folder / REPORT, dump_json(document))
    measured = ratios(request.spec, request.out, [(trial.target, trial.build) for trial in final])
    write_chart(request.folder / CHART, trials, request.builds, measured)


def redraw(spec: ModelSpec, out: Path) -> Path:
    """Draw the chart of an earlier search again, with the latencies measured since. Raises UsageError without one."""
    folder = search_folder(spec, out)
    if not (folder / REPORT).is_file():
        raise UsageError(f"no search in {folder}; run: python -m export search {spec.folder}")
    document = read_json(folder / REPORT, "search")
    if document["weights_sha256"] != spec.weights_sha256:
        raise UsageError(f"{folder}/{REPORT} is of other weights; run: python -m export search {spec.folder}")
    trials = [
        Trial(
            **{name: row[name] for name in ("target", "build", "bytes", "choice", "chosen", "exported")},
            losses={name: Loss(**loss) for name, loss in row["losses"].items()},
        )
        for row in document["tried"]
    ]
    measured = ratios(spec, out, [(trial.target, trial.build) for trial in trials if trial.chosen])
    write_chart(folder / CHART, trials, [Build(**row) for row in document["builds"]], measured)
    return folder / CHART
