"""Judge one artifact in one runtime: its size, storage dtypes, and every entry against the reference.

Entries are judged from the photo ("direct"), on the reference's features ("boundary"), and on the features that the
exported modules computed ("chain").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.evidence.parity import Facts, Mode, ParityRow, Shipped
from benchmarks.parity.bench import Bench
from benchmarks.parity.drawn import judge_drawn
from benchmarks.parity.labels import Labelled, entries_for, label_whdr, loss_measures, opened, skip_reason
from benchmarks.parity.lean import BOUNDARY
from benchmarks.parity.outputs import as_float, compare
from benchmarks.parity.rows import blank, failed, leave_out
from benchmarks.parity.storage import judge_storage
from benchmarks.parity.verdict import judge
from benchmarks.runtime import Array, Runtime, Session, run
from benchmarks.size import download_bytes
from hydramobile.artifact import Artifact, Entry, read_artifact, ships, verify
from hydramobile.budget import LABEL_FALLBACK
from hydramobile.errors import HydraError, StageError
from hydramobile.loader import count_parameters
from hydramobile.measures import MEAN
from hydramobile.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Subject:
    """A sealed artifact in a runtime; `base` is the row that all of its rows are derived from."""

    folder: Path
    artifact: Artifact
    runtime: Runtime
    base: ParityRow


def judge_artifact(bench: Bench, runtime: Runtime, folder: Path) -> Iterator[ParityRow]:
    """Yield all rows of one artifact in one runtime; a failure is a row with its stage, not an exception."""
    artifact = read_artifact(folder)
    subject = Subject(folder, artifact, runtime, blank(artifact, runtime))
    try:
        verify(folder, artifact)
        check_model(bench, artifact)
    except HydraError as error:
        yield failed(subject.base, error)
        return
    yield from judge_size(bench, subject)
    for variant in dict.fromkeys(entry.variant for entry in artifact.entries):
        yield from judge_variant(bench, subject, [entry for entry in artifact.entries if entry.variant == variant])
    yield from judge_drawn(bench, subject.base, artifact, (runtime, folder))
    if bench.labelled:
        yield judge_labels(bench, bench.labelled, subject)
    if bench.against and bench.budget.stands_in(artifact.target, artifact.recipe):
        for row in judge_against(bench.against, subject):
            yield replace(row, mode="against", facts=replace(row.facts, against=bench.budget.against))


def check_model(bench: Bench, artifact: Artifact) -> None:
    spec = bench.spec
    if (artifact.spec_sha256, artifact.weights_sha256) != (spec.sha256, spec.weights_sha256):
        raise StageError("golden", "the artifact was made from another spec or other weights; export it again")
    check_entries(spec, artifact)
    if not bench.goldens:
        raise StageError("golden", "no samples to judge by; a comparison of nothing is not a pass")


def check_entries(spec: ModelSpec, artifact: Artifact) -> None:
    """Raise StageError("artifact") where an entry of the spec, or a tensor of an entry, is missing in the artifact.

    A function that is not there is not judged, and would pass.
    """
    for entry in artifact.entries:
        wanted = spec.entries.get(entry.name)
        ports = {port.name for port in (*entry.inputs, *entry.outputs)}
        if wanted is None or ports != {*wanted.inputs, *wanted.outputs}:
            raise StageError("artifact", f"entry {entry.id!r} is not the entry of the spec; export it again")
    missing = [name for name in spec.entries if name not in {entry.name for entry in artifact.entries}]
    if missing:
        raise StageError("artifact", f"no file holds the entry {missing[0]!r} of the spec; export it again")


def judge_size(bench: Bench, subject: Subject) -> Iterator[ParityRow]:
    """Compare the bytes that an app ships with the budget's `[[size]]` limits; yield one row per limit."""
    artifact = subject.artifact
    for limit in bench.budget.sizes:
        if (limit.recipe, limit.target) == (artifact.recipe, artifact.target):
            records = ships(artifact)
            paths = [subject.folder / record.path for record in records]
            size = sum(map(download_bytes, paths)) if limit.gzip else sum(record.bytes for record in records)
            after = " after gzip" if limit.gzip else ""
            reason = f"an app ships {size / 1e6:.3f} MB{after}, the budget says {limit.bytes / 1e6:g} MB"
            good = size <= limit.bytes
            yield replace(
                subject.base,
                mode="size",
                verdict="pass" if good else "mismatch",
                reason="" if good else reason,
                facts=Facts(shipped=Shipped(size, limit.bytes, limit.gzip)),
            )


def judge_variant(bench: Bench, subject: Subject, entries: Sequence[Entry]) -> Iterator[ParityRow]:
    """Judge the entries of one variant: each separately, and the modules chained on the features they computed."""
    base, runtime, folder = subject.base, subject.runtime, subject.folder
    yield judge_storage(base, subject.artifact, (runtime, folder), entries, count_parameters(bench.spec))
    # Per sample, the tensors that the exported modules computed: the inputs of the chain.
    known: list[dict[str, Array]] = [dict(golden.inputs) for golden in bench.judged]
    for entry in entries:
        try:
            session = runtime.open(folder, entry)
        except HydraError as error:
            yield failed(base, error, entry.id, "open")
            continue
        try:
            yield from judge_entry(bench, base, session, entry, known)
        except HydraError as error:
            yield failed(base, error, entry.id, "run")
        finally:
            session.close()


def judge_entry(
    bench: Bench, base: ParityRow, session: Session, entry: Entry, known: list[dict[str, Array]]
) -> Iterator[ParityRow]:
    """Judge one entry, and add its outputs to `known`, which holds the tensors of each sample.

    The inputs are the photo, or the reference's features. A module whose inputs other modules of the artifact
    computed is judged a second time, on these inputs ("chain").
    """
    features = set(bench.spec.edges()) & {port.name for port in entry.inputs}
    mode: Mode = "boundary" if features else "direct"
    fused = len(entry.modules) > 1
    chained = bool(features) and not fused and all(port.name in known[0] for port in entry.inputs)
    if chained and bench.lean:
        yield leave_out(base, BOUNDARY, entry.id, mode)
    else:
        feeds = [{port.name: as_float(golden.value(port.name)) for port in entry.inputs} for golden in bench.judged]
        outputs = [run(session, feed) for feed in feeds]
        yield compare(bench, base, entry, mode, outputs)
        if not features and not fused:
            extend(known, outputs)
    if chained:
        linked = [run(session, {port.name: tensors[port.name] for port in entry.inputs}) for tensors in known]
        extend(known, linked)
        yield compare(bench, base, entry, "chain", linked)


def extend(known: Sequence[dict[str, Array]], outputs: Sequence[dict[str, Array]]) -> None:
    """Add the outputs of each sample to its tensors."""
    for tensors, output in zip(known, outputs, strict=True):
        tensors.update(output)


def judge_labels(bench: Bench, labelled: Labelled, subject: Subject) -> ParityRow:
    """Judge the artifact's loss against labels, by the entries that compute the labelled output."""
    artifact, tensor, base = subject.artifact, labelled.labels.tensor, subject.base
    limits = bench.budget.label_limits(artifact.target, artifact.recipe, tensor)
    if reason := skip_reason(subject.runtime.name, bool(limits)):
        return leave_out(base, reason, mode="labels")
    try:
        entries = entries_for(bench.spec, artifact, tensor)
        whdr = label_whdr(labelled, subject.runtime, subject.folder, entries)
    except HydraError as error:
        return failed(base, error, mode="labels")
    limits = limits or dict(LABEL_FALLBACK)
    every = len(labelled.labels.all)
    if len(whdr) < every:  # as in Bench.limits: limits of a mean hold over all labels only
        limits = {metric: limit for metric, limit in limits.items() if not metric.startswith(MEAN)}
    measures, score = loss_measures(labelled, whdr, limits)
    row = replace(
        base,
        entry=entries[-1].id,
        mode="labels",
        samples=len(whdr),
        measures=tuple(measures),
        facts=Facts(score=score),
    )
    if not limits:
        return replace(row, reason=f"{len(whdr)} of {every} labels: their mean is not judged")
    verdict, why = judge(measures)
    return replace(row, verdict=verdict, reason=why)


def judge_against(other: Bench, subject: Subject) -> Iterator[ParityRow]:
    """Judge an artifact that replaces another model's, by that model's sizes, outputs, labels and limits."""
    yield from judge_size(other, subject)
    try:
        chains = [entries_for(other.spec, subject.artifact, tensor.name) for tensor in other.spec.judged()]
        for entries in {tuple(entry.id for entry in entries): entries for entries in chains}.values():
            with opened(subject.runtime, subject.folder, entries) as through:
                outputs = [through(golden.inputs) for golden in other.judged]
            yield compare(other, subject.base, entries[-1], "against", outputs)
    except HydraError as error:
        yield failed(subject.base, error)
    if other.labelled:
        yield judge_labels(other, other.labelled, subject)
