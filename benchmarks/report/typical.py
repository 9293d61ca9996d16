"""The picture at the top of the report: a file that ships, on a sample that it does neither best nor worst on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.report import words
from benchmarks.report.gather import Gathered
from benchmarks.report.judged import whole
from benchmarks.report.opening import Take
from benchmarks.report.pictures import chosen_runtime, difference_uri, limits, map_uri, photo_uri, pictured
from benchmarks.report.pixels import fused_entry
from benchmarks.report.rerun import Run, run_again
from benchmarks.runtime import Array, load_runtime
from hydramobile.artifact import Entry
from hydramobile.goldens import Golden
from hydramobile.measures import JUDGES, PERSON, higher
from hydramobile.samples import Sample

# At most so many photos are run again to find the middle one.
MOST = 24


@dataclass(frozen=True, slots=True)
class Pair:
    """One output: by the reference, by the file, and their difference, as data URIs; its task metric on this sample."""

    name: str
    reference: str
    found: str
    difference: str
    metric: str
    value: str


@dataclass(frozen=True, slots=True)
class Typical:
    """A sample of the middle half of `samples` photos, ordered by loss, and the outputs of one file on it."""

    sample: str
    samples: int
    photo: str
    artifact: str
    runtime: str
    evidence: str
    outputs: Sequence[Pair]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A file to draw, and the runtime that draws it."""

    take: Take
    entry: Entry
    runtime: str
    evidence: str


def typical(
    evidence: Gathered, goldens: Mapping[str, Golden], include_private: bool, takes: Iterable[Take]
) -> Typical | None:
    """Return the picture of a typical sample; None without a photo that may be shown, or a file that runs here."""
    chosen = drawable(evidence, takes)
    photos = shown_photos(evidence.samples, goldens, include_private)
    if chosen is None or not photos or photo_uri(evidence, photos[0]) is None:
        return None
    folder = evidence.folder(chosen.take.target, chosen.take.recipe)
    runs = [Run(folder, chosen.entry.id, {golden.sample: golden.inputs for golden in photos})]
    answers = run_again(chosen.runtime, runs, evidence.root / "report.log")[0]
    if isinstance(answers, str):
        return None
    scores = {golden.sample: score(evidence, golden, answers[golden.sample]) for golden in photos}
    lost = {
        sample: {name: loss(first_metric(evidence, name), value) for name, value in own.items()}
        for sample, own in scores.items()
    }
    golden = next(golden for golden in photos if golden.sample == middle(lost))
    outputs = [
        Pair(
            name=name,
            reference=map_uri(golden.tensors[name], limits(evidence, name)),
            found=map_uri(answers[golden.sample][name], limits(evidence, name)),
            difference=difference_uri(answers[golden.sample][name], golden.tensors[name], limits(evidence, name)),
            metric=words.metric_name(first_metric(evidence, name)),
            value=words.number(first_metric(evidence, name), scores[golden.sample][name]),
        )
        for name in pictured(evidence)
    ]
    photo = photo_uri(evidence, golden) or ""
    return Typical(golden.sample, len(photos), photo, chosen.take.name, chosen.runtime, chosen.evidence, outputs)


def drawable(evidence: Gathered, takes: Iterable[Take]) -> Chosen | None:
    """Return a file of the opening that a runtime here runs; a vendor's runtime before an interpreter."""
    found: list[tuple[bool, Chosen]] = []
    for item in takes:
        artifact = evidence.artifacts.get((item.target, item.recipe))
        if artifact is None or not pictured(evidence):
            continue
        rows = whole(evidence, evidence.judged(item.target, item.recipe))
        entry, runtime = fused_entry(artifact, evidence.spec), chosen_runtime(rows)
        if entry and runtime:
            label = next(str(row.evidence) for row in rows if row.runtime == runtime)
            found.append((not load_runtime(runtime).timed, Chosen(item, entry, runtime, label)))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def shown_photos(samples: Iterable[Sample], goldens: Mapping[str, Golden], include_private: bool) -> list[Golden]:
    """Return the goldens of photos that may be shown, at most `MOST`, evenly spread."""
    photos = [goldens[s.name] for s in samples if s.path and s.name in goldens and (include_private or not s.private)]
    step = max(-(-len(photos) // MOST), 1)
    return photos[::step]


def first_metric(evidence: Gathered, output: str) -> str:
    return words.TASK[evidence.spec.tensors[output].judge or ""][0]


def score(evidence: Gathered, golden: Golden, outputs: Mapping[str, Array]) -> dict[str, float]:
    """Return the first task metric of each pictured output on one sample."""
    matte = next((tensor.name for tensor in evidence.spec.judged() if tensor.judge == "alpha-matte"), None)
    person = golden.tensors[matte] > PERSON if matte else None
    result = {}
    for name in pictured(evidence):
        judge = JUDGES[evidence.spec.tensors[name].judge or ""]
        metric = first_metric(evidence, name)
        result[name] = judge(outputs[name], golden.tensors[name], person)[metric]
    return result


def loss(metric: str, value: float) -> float:
    """Return a number that is larger where the file lost more."""
    return -value if higher(metric) else value


def middle(lost: Mapping[str, Mapping[str, float]]) -> str:
    """Return the first sample, in the model's own order, that is in the middle half by loss.

    The samples are ordered by the sum of their ranks over the outputs: neither the best nor the worst quarter counts.
    """
    ranks = dict.fromkeys(lost, 0)
    for output in next(iter(lost.values())):
        values = sorted({own[output] for own in lost.values()})
        for sample, own in lost.items():
            ranks[sample] += values.index(own[output])
    ordered = sorted(lost, key=lambda sample: (ranks[sample], sample))
    cut = len(ordered) // 4
    inside = set(ordered[cut : len(ordered) - cut])
    return next(sample for sample in lost if sample in inside)
