"""Judge an artifact on drawn inputs (hydramobile/drawn.py): zeros, the ends of the range, a ramp, sparse and dim ones.

They run once, through the entries that an app would call: one call from the inputs to the outputs where the artifact
has it, otherwise the chain of modules. They are rows of their own, so that no number of a photo mixes with theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.evidence.parity import ParityRow
from benchmarks.parity.bench import Bench
from benchmarks.parity.labels import entries_for, opened
from benchmarks.parity.outputs import as_float, compare
from benchmarks.parity.rows import failed, leave_out
from benchmarks.runtime import Runtime
from hydramobile.artifact import Artifact, Entry
from hydramobile.budget import DRAWN
from hydramobile.errors import HydraError, StageError
from hydramobile.spec import ModelSpec


def judge_drawn(bench: Bench, base: ParityRow, artifact: Artifact, place: tuple[Runtime, Path]) -> Iterator[ParityRow]:
    """Yield one row per chain of entries; none where there are no goldens of drawn inputs.

    `place` is the runtime and the artifact's folder.
    """
    runtime, folder = place
    if not bench.drawn:
        return
    refused = [golden for golden in bench.drawn if golden.refused]
    if len(refused) == len(bench.drawn):
        yield leave_out(base, f"the reference itself fails on every drawn input: {refused[0].refused}", mode="drawn")
        return
    for entries in chains(bench.spec, artifact):
        try:
            with opened(runtime, folder, entries) as through:
                feeds = [{n: as_float(v) for n, v in golden.inputs.items()} for golden in bench.drawn_judged]
                outputs = [through(feed) for feed in feeds]
            row = compare(bench, base, entries[-1], "drawn", outputs)
        except HydraError as error:
            row = failed(base, error, entries[-1].id, "drawn")
            if isinstance(error, StageError) and error.stage == "judge" and base.recipe not in DRAWN:
                row = replace(row, verdict="unavailable", reason=f"measured, not judged: {row.reason}")
        if refused and row.verdict == "pass":
            names = ", ".join(golden.sample for golden in refused)
            left = f"without {names}: the reference itself fails there ({refused[0].refused})"
            row = replace(row, reason="; ".join(filter(None, (row.reason, left))))
        yield row


def chains(spec: ModelSpec, artifact: Artifact) -> list[Sequence[Entry]]:
    """Return the chains of entries that, together, compute every final output from the model's inputs."""
    edges = spec.edges()
    finals = [name for module in spec.modules.values() for name in module.outputs if name not in edges]
    found = [entries_for(spec, artifact, name) for name in finals]
    return list({tuple(entry.id for entry in entries): entries for entries in found}.values())
