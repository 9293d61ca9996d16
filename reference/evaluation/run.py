"""`python -m reference evaluate`: from cases to evaluation.json, evaluation.md and sheet.jpg."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from hydramobile.errors import NothingJudged, UsageError
from hydramobile.files import dump_json, sha256_file, write_text
from hydramobile.loader import load_modules
from hydramobile.preprocess import load_photo
from hydramobile.spec import ModelSpec
from reference.evaluation.bins import BINS
from reference.evaluation.measure import Case, Judged, judge
from reference.evaluation.people import judge_people, means_with_phones, read_people
from reference.evaluation.sheet import write_sheet
from reference.evaluation.tables import markdown
from reference.evaluation.truedepth import real_photos
from reference.training.checkpoint import load_named
from reference.training.views import POINTS, ViewSet

SCHEMA = 1
JSON, MARKDOWN, SHEET = "evaluation.json", "evaluation.md", "sheet.jpg"
# The sheet shows this many of the worst synthetic views and as many evenly spaced ones.
_DRAWN = 6


@dataclass(frozen=True, slots=True)
class Question:
    """The request: the model's own weights, or a file of weights, on synthetic sets and on folders of photos.

    `real` holds phone portraits, `people` the photos that people.toml lists, `mattes` their mattes by teachers.
    """

    spec: ModelSpec
    weights: Path | None
    sets: tuple[Path, ...]
    real: Path | None
    views: int
    people: Path | None = None
    mattes: Path = Path("build/mattes")


def evaluate(question: Question, out: Path) -> dict[str, Any]:
    """Measure, write the three files into `out` and return the content of evaluation.json.

    Raises NothingJudged if the question names neither sets nor photos.
    """
    if not question.sets and question.real is None and question.people is None:
        raise NothingJudged("nothing to measure on: name synthetic sets, --real FOLDER or --people FOLDER")
    people = read_people(question.spec, question.people, question.mattes) if question.people else None
    modules, digest = _modules(question)
    real = [judge(modules, question.spec, case) for case in real_cases(question.real)] if question.real else []
    sets = [ViewSet(folder) for folder in question.sets]
    synthetic = [judge(modules, question.spec, case) for s in sets for case in synthetic_cases(s, question.views)]
    report = summarize(question, digest, real, synthetic)
    shown: list[Judged] = []
    if people is not None:
        block, shown = judge_people(modules, question.spec, people)
        report["people"] = {**block, "means": means_with_phones(block, report["real"])}
    report["sets"] = [{"name": s.folder.name, "views": len(s), "content": s.content_hash} for s in sets]
    write_text(out / JSON, dump_json(report))
    write_text(out / MARKDOWN, markdown(report))
    write_sheet(out / SHEET, [*real, *_drawn(shown), *_drawn(synthetic)])
    return report


def _modules(question: Question) -> tuple[dict[str, nn.Module], str]:
    modules = load_modules(question.spec)
    if question.weights is None:
        return modules, question.spec.weights_sha256
    from safetensors.torch import load_file

    if not question.weights.is_file():
        raise UsageError(f"no weights at {question.weights}")
    load_named(modules, load_file(question.weights))
    return modules, sha256_file(question.weights)


def real_cases(folder: Path) -> Iterator[Case]:
    for path, truth in real_photos(folder):
        # The phone's depth is dense, so the order of person and background can be judged.
        nobody = np.zeros((0, POINTS, 4), np.float32)
        yield Case(path.name, load_photo(path), truth.disparity, truth.alpha, True, nobody, {})


def synthetic_cases(views: ViewSet, most: int) -> Iterator[Case]:
    scale = np.array([1 / views.width, 1 / views.height], np.float32)
    for number in range(min(most, len(views))):
        view = views.view(number)
        faces = view.face.astype(np.float32)
        faces[..., :2] = (faces[..., :2] + 0.5) * scale
        about = {**view.about, "set": views.folder.name}
        yield Case(
            f"{views.folder.name}/{view.about.get('view', number)}",
            Image.fromarray(np.array(view.rgb)),
            view.disparity.astype(np.float32),
            view.alpha.astype(np.float32) / np.float32(255),
            view.known == 2,
            faces,
            about,
        )


def summarize(question: Question, digest: str, real: Sequence[Judged], synthetic: Sequence[Judged]) -> dict[str, Any]:
    """Return evaluation.json: each real photo, means of the synthetic views and of their bins, the worst of each."""
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "model": question.spec.name,
        "weights": digest,
        "real": {j.case.name: {**_rounded(j.figures), "baselines": _whdr(j)} for j in real},
        "synthetic": {"all": means(synthetic)} if synthetic else {},
        "bins": {},
        "worst": {},
    }
    for dimension, name_of in BINS.items():
        groups: dict[str, list[Judged]] = defaultdict(list)
        for judged in synthetic:
            name = name_of(judged.case.about)
            if name is not None:
                groups[name].append(judged)
        if len(groups) > 1:
            report["bins"][dimension] = {name: means(groups[name]) for name in sorted(groups)}
    for title, some in (("real", real), ("synthetic", synthetic)):
        if some:
            worst = max(some, key=badness)
            report["worst"][title] = {"photo": worst.case.name, **_rounded(worst.figures)}
    seen = [*(f"{len(real)} real photos" for _ in real[:1]), *(f"{len(synthetic)} views" for _ in synthetic[:1])]
    worst_names = ", ".join(w["photo"] for w in report["worst"].values())
    report["verdict"] = f"measured on {' and '.join(seen)}; worst: {worst_names}"
    return report


def badness(judged: Judged) -> float:
    """Return the measure by which the worst photo is chosen: lost matte IoU plus wrong depth order."""
    whdr, iou = judged.figures.get("whdr_2"), judged.figures["iou"]
    return (whdr or 0.0) + 1 - (iou or 0.0)


def means(some: Sequence[Judged]) -> dict[str, float | int]:
    """Return each figure's mean over the photos that have it, `relief` over all pairs, and the baselines' WHDR."""
    names = {name for judged in some for name in judged.figures if name != "relief"}
    result: dict[str, float | int] = {"views": len(some)}
    for name in sorted(names):
        values = [value for judged in some if (value := judged.figures.get(name)) is not None]
        if values:
            result[name] = round(float(np.mean(values)), 4)
    right, total = (sum(judged.points[part] for judged in some) for part in (0, 1))
    if total:
        result["relief"] = round(right / total, 4)
    for name in ("ramp", "alpha as depth"):
        values = [judged.baselines[name]["whdr_2"] for judged in some if judged.baselines]
        if values:
            result[f"whdr_2 of {name}"] = round(float(np.mean(values)), 4)
    return result


def _rounded(figures: dict[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 4) for name, value in figures.items()}


def _whdr(judged: Judged) -> dict[str, dict[str, float]]:
    chosen = ("whdr_2", "abs_rel", "delta_1.05", "r2")
    return {name: {key: round(values[key], 4) for key in chosen} for name, values in judged.baselines.items()}


def _drawn(synthetic: Sequence[Judged]) -> list[Judged]:
    """Return the worst synthetic views, then evenly spaced ones."""
    if len(synthetic) <= 2 * _DRAWN:
        return list(synthetic)
    worst = sorted(synthetic, key=badness, reverse=True)[:_DRAWN]
    return [*worst, *(synthetic[int(i)] for i in np.linspace(0, len(synthetic) - 1, _DRAWN))]
