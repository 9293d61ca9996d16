"""The report: all evidence of one model on one page, and the same as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report.gather import Evidence, gather
from benchmarks.report.judged import number_row, whole
from benchmarks.report.page import page_context
from benchmarks.report.pictures import chosen_runtime, overview, worst_pictures
from benchmarks.report.pixels import from_pixels, fused_entry
from benchmarks.report.render import render
from benchmarks.report.summary import renew_readme
from hydramobile.errors import StageError
from hydramobile.files import write_text
from hydramobile.goldens import Golden, load_goldens
from hydramobile.spec import ModelSpec

Row = dict[str, Any]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """`samples`: the folder of further photos that parity was given; `readme`: the file whose table is renewed."""

    spec: ModelSpec
    out: Path
    samples: Path | None = None
    include_photos: bool = False
    readme: Path | None = None


def write_report(request: ReportRequest, progress: Progress = lambda text: None) -> str:
    """Write `build/<model>/report.html` and `report.md` from what evidence there is; returns where.

    What is missing is said in the report, with the command that makes it. Raises NothingJudged when there is
    nothing at all.
    """
    evidence = gather(request.spec, request.out, request.samples)
    goldens, notes = read_goldens(evidence, request)
    progress("report: pictures")
    pictures, more = worst_pictures(evidence, goldens, request.include_photos)
    progress("report: other ways of preparing a photo")
    context = page_context(
        evidence,
        {
            "overview": overview(evidence, goldens, request.include_photos),
            "pictures": pictures,
            "notes": notes + more,
            "pixels": pixels(evidence, goldens),
        },
    )
    progress("report: page")
    for name in ("report.html", "report.md"):
        write_text(evidence.root / name, render(name, context))
    written = str(evidence.root / "report.html")
    if request.readme:
        written += f" and {renew_readme(evidence, request.readme)}"
    return f"wrote {written}"


def read_goldens(evidence: Evidence, request: ReportRequest) -> tuple[dict[str, Golden], list[str]]:
    """Goldens by sample; without them the report goes without pictures, and says so."""
    try:
        found = load_goldens(evidence.spec, evidence.samples, evidence.spec.size, request.out)
    except StageError as error:
        return {}, [str(error)]
    return {golden.sample: golden for golden in found}, []


def pixels(evidence: Evidence, goldens: Mapping[str, Golden]) -> Row | None:
    """The *from pixels* rows, of the first float32 artifact that a runtime here has judged."""
    photos = [(sample, goldens[sample.name]) for sample in evidence.samples if sample.path and sample.name in goldens]
    candidates = []
    for (target, recipe), artifact in evidence.artifacts.items():
        rows = whole(evidence, evidence.judged(target, recipe)) if recipe == "float32" else []
        runtime, entry = chosen_runtime(rows), fused_entry(artifact, evidence.spec)
        if runtime and entry:
            label = next(row["evidence"] for row in rows if row["runtime"] == runtime)
            candidates.append((label != "host", target, runtime, entry, label))
    if not photos or not candidates:
        return None
    # A vendor's own runtime before an interpreter of ours: faster, and closer to an app.
    _, target, runtime, entry, label = min(candidates, key=lambda item: item[:3])
    folder = evidence.folder(target, "float32")
    rows = from_pixels(evidence.spec, photos, folder, entry, runtime, evidence.root / "report.log")
    about = {"entry": entry.id, "mode": "direct", "runtime": runtime, "evidence": label}
    for row in rows:
        row["numbers"] = [number_row(measure_json(measure), about) for measure in row["measures"]]
    return {"target": target, "runtime": runtime, "evidence": label, "rows": rows}


def measure_json(measure: Any) -> Row:
    names = ("output", "metric", "value", "mean", "limit", "worst")
    return {name: getattr(measure, name) for name in names}
