"""Write the report; it lists missing evidence with the command that makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report.gather import Gathered, gather
from benchmarks.report.judged import Place, number, whole
from benchmarks.report.opening import opening
from benchmarks.report.page import Drawn, PixelLine, Pixels, page_context
from benchmarks.report.pictures import chosen_runtime, overview, worst_pictures
from benchmarks.report.pixels import Chosen, from_pixels, fused_entry
from benchmarks.report.render import render
from benchmarks.report.summary import renew_readme
from benchmarks.report.typical import typical
from benchmarks.request import Progress, silent
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.files import write_text
from hydramobile.goldens import Golden, load_goldens
from hydramobile.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """The options of a report.

    `samples` is the folder of further photos that parity was run with. `readme` is a file whose table is renewed.
    """

    spec: ModelSpec
    out: Path
    samples: Path | None = None
    include_photos: bool = False
    readme: Path | None = None


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """A float32 artifact, and an available runtime that judged it; a vendor's runtime sorts before an interpreter."""

    interpreted: bool
    target: str
    runtime: str
    evidence: str


def write_report(request: ReportRequest, progress: Progress = silent) -> str:
    """Write `build/<model>/report.html` and `report.md` from the available evidence, and return a sentence on it.

    Raises NothingJudged when there is neither evidence nor an artifact.
    """
    evidence = gather(request.spec, request.out, request.samples)
    goldens, notes = read_goldens(evidence, request)
    progress("report: pictures")
    pictures, more = worst_pictures(evidence, goldens, request.include_photos)
    progress("report: other ways of preparing a photo")
    begin = opening(evidence)
    drawn = Drawn(
        typical=typical(evidence, goldens, request.include_photos, begin.takes),
        overview=overview(evidence, goldens, request.include_photos),
        pictures=pictures,
        notes=notes + more,
        pixels=pixels(evidence, goldens),
    )
    context = page_context(evidence, drawn, begin)
    progress("report: page")
    for name in ("report.html", "report.md"):
        write_text(evidence.root / name, render(name, context))
    written = str(evidence.root / "report.html")
    if request.readme:
        written += f" and {renew_readme(evidence, request.readme)}"
    return f"wrote {written}"


def read_goldens(evidence: Gathered, request: ReportRequest) -> tuple[dict[str, Golden], list[str]]:
    """Return (goldens by sample, notes); without goldens, a note says why the report has no pictures."""
    try:
        goldens = load_goldens(evidence.spec, evidence.samples, evidence.spec.size, request.out)
    except StageError as error:
        return {}, [str(error)]
    return {golden.sample: golden for golden in goldens}, []


def pixels(evidence: Gathered, goldens: Mapping[str, Golden]) -> Pixels | None:
    """Return the *from pixels* table of the first float32 artifact that an available runtime has judged."""
    photos = [(sample, goldens[sample.name]) for sample in evidence.samples if sample.path and sample.name in goldens]
    candidates: dict[Candidate, Entry] = {}
    for (target, recipe), artifact in evidence.artifacts.items():
        rows = whole(evidence, evidence.judged(target, recipe)) if recipe == "float32" else []
        runtime, entry = chosen_runtime(rows), fused_entry(artifact, evidence.spec)
        if runtime and entry:
            label = next(row.evidence for row in rows if row.runtime == runtime)
            candidates[Candidate(label != "host", target, runtime, label)] = entry
    if not photos or not candidates:
        return None
    best = min(candidates)
    entry = candidates[best]
    chosen = Chosen(evidence.folder(best.target, "float32"), entry, best.runtime, evidence.root / "report.log")
    place = Place(entry.id, "direct", best.runtime, best.evidence)
    rows_of_page = [
        PixelLine(
            name=departed.departure.name,
            about=departed.departure.about,
            samples=departed.samples,
            numbers=[number(measure, place) for measure in departed.measures],
            reason=departed.reason,
        )
        for departed in from_pixels(evidence.spec, photos, chosen)
    ]
    return Pixels(best.target, best.runtime, best.evidence, rows_of_page)
