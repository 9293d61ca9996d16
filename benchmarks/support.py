"""support.json: which recipe stands on which target, from one judgement of everything a build folder holds.

Reviewed data beside the model: a recipe is called supported only where a row of this file says so. Every artifact is
judged on all samples, weighed, and timed in rounds interleaved with the float32 file of its target; what was done is
not done again, so that an interrupted run goes on where it stopped. Rows of other artifacts of the same weights stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.grid.run import Rounds, document_of, line_up, summarize, take_rounds
from benchmarks.machine import identity
from benchmarks.parity.run import Request, run_parity, select
from benchmarks.report.gather import gather
from benchmarks.report.summary import label_column, results
from benchmarks.report.words import megabytes, metric_name, number
from benchmarks.runtime import load_runtime, runs
from benchmarks.size import run_size
from hydramobile.errors import NothingJudged, StageError, UsageError
from hydramobile.files import dump_json, read_json, write_text
from hydramobile.spec import ModelSpec
from hydramobile.support import GOOD, UNMADE, read_support, support_path
from hydramobile.targets import REGISTRY, TARGETS

TIMES = "support-times.json"
# One runtime per target, the one that its files are for on this computer: the grid is wide enough.
RUNTIMES = tuple(REGISTRY[name].grid_runtime for name in TARGETS)
# A recipe is called slower than float32, or faster, beyond this: medians of fresh processes move by a few percent.
NOISE = 0.05
BEGIN, END = "<!-- support:begin -->", "<!-- support:end -->"
Row = dict[str, Any]
Progress = Callable[[str], None]


def run_support(request: Request, rounds: Rounds | None, progress: Progress = lambda text: None) -> Row:
    """Judge, weigh and time (`rounds` None: do not time) what has not been, and write the model's support.json.

    Raises NothingJudged when there is no artifact, StageError for missing or stale goldens.
    """
    request = replace(request, runtimes=request.runtimes or RUNTIMES)
    found, _ = select(request)
    for target, recipe in unjudged(request):
        progress(f"judging {target} {recipe}")
        run_parity(replace(request, only=((target, recipe),)), progress)
    weighed = recorded(request.root / "size.json")
    heavy = [(a.target, a.recipe) for _, a in found if (a.target, a.recipe, a.sha256) not in weighed]
    if heavy:
        run_size(replace(request, only=tuple(heavy), runtimes=()), progress)
    times = time_rest(request, rounds, progress) if rounds else read_times(request)
    document = document_from(request, times)
    write_text(support_path(request.spec), dump_json(document))
    return document


def unjudged(request: Request) -> list[tuple[str, str]]:
    """(target, recipe) of the artifacts that a chosen runtime, able to run here, has not judged."""
    judged = recorded(request.root / "parity.json")
    found, _ = select(request)
    todo = []
    for _, artifact in found:
        able = [name for name in request.runtimes if usable(name, artifact.target, artifact.recipe)]
        key = (artifact.target, artifact.recipe, artifact.sha256)
        if any((*key, name) not in judged for name in able):
            todo.append((artifact.target, artifact.recipe))
    return todo


def usable(name: str, target: str, recipe: str) -> bool:
    runtime = load_runtime(name)
    return runs(runtime, target, recipe) and runtime.unavailable() is None


def recorded(path: Path) -> set[tuple[str, ...]]:
    """(target, recipe, artifact) of an evidence file's rows, and the same with the runtime."""
    if not path.is_file():
        return set()
    rows = read_json(path, "support").get("results", [])
    keys = [(row["target"], row["recipe"], row["artifact"]) for row in rows]
    return {*keys, *((*key, str(row.get("runtime", ""))) for key, row in zip(keys, rows, strict=True))}


def read_times(request: Request) -> list[Row]:
    path = request.root / TIMES
    return list(read_json(path, "support")["results"]) if path.is_file() else []


def time_rest(request: Request, rounds: Rounds, progress: Progress) -> list[Row]:
    """Time what was not timed, each target's with its float32 file in the same rounds; returns all rows so far."""
    known = {row["artifact"]: row for row in read_times(request)}
    found, _ = select(request)
    current = {artifact.sha256 for _, artifact in found}
    kept = [row for key, row in known.items() if key in current]
    for target in dict.fromkeys(artifact.target for _, artifact in found):
        fresh = [a.recipe for _, a in found if a.target == target and a.recipe != "float32" and a.sha256 not in known]
        if not fresh:
            continue
        pairs = tuple((target, recipe) for recipe in ("float32", *fresh))
        asked = replace(request, only=pairs)
        rows, contenders = line_up(asked)
        take_rounds(contenders, rounds, asked, progress)
        document = document_of(asked, rounds, [*rows, *(contender.row for contender in contenders)])
        kept += [ratios(document, row) for row in document["results"] if row["recipe"] in fresh]
        write_text(request.root / TIMES, dump_json({"schema": 1, "results": kept}))
    return kept


def ratios(document: Mapping[str, Any], row: Mapping[str, Any]) -> Row:
    """One artifact's times as shares of float32's, by entry; empty where it was not timed, with the reason."""
    same = (row["target"], row["recipe"], row["runtime"])
    found = [item for item in summarize(document) if (item["target"], item["recipe"], item["runtime"]) == same]
    loads = [process["load"] for process in row["processes"]]
    return {
        "target": row["target"],
        "recipe": row["recipe"],
        "artifact": row["artifact"],
        "runtime": row["runtime"],
        "reason": row["reason"],
        "to_float32": {item["entry"]: item["to_float32"] for item in found if item["to_float32"] is not None},
        "rounds": document["rounds"],
        "load": [min(loads), max(loads)] if loads else [],
    }


def document_from(request: Request, times: Sequence[Mapping[str, Any]]) -> Row:
    """support.json: a row a target and recipe, sorted. Those of an earlier one for the same weights stay where this one
    was not asked for them or has no artifact."""
    spec = request.spec
    asked = {(artifact.target, artifact.recipe) for _, artifact in select(request)[0]}
    evidence = gather(spec, request.out, request.samples)
    timed = {(row["target"], row["recipe"], row["artifact"]): row for row in times}
    rows = {(row["target"], row["recipe"]): row for row in earlier(spec)}
    reasons = {(v.target, v.recipe): v.reason for v in evidence.verdicts}
    for row in results(evidence)["artifacts"]:
        pair = (row["target"], row["recipe"])
        artifact = evidence.artifacts.get(pair)
        if pair not in asked or row["state"] not in (*GOOD, "refused", "broken", "failed"):
            continue  # not judged: nothing to record
        time = timed.get((*pair, artifact.sha256)) if artifact else None
        judged = evidence.judged(*pair)
        rows[pair] = {
            **row,
            "reason": reasons.get(pair, ""),
            "samples": max((item["samples"] for item in judged if item["mode"] != "labels"), default=0),
            "time": {key: time[key] for key in ("runtime", "to_float32", "rounds", "load", "reason")} if time else None,
            "badly": badly(evidence.size(*pair), evidence.size(row["target"], "float32"), time),
        }
    rows |= {pair: row for pair, row in unmade(evidence.exports).items() if pair not in evidence.artifacts}
    machine = identity()
    return {
        "schema": 1,
        "model": spec.name,
        "spec_sha256": spec.sha256,
        "weights_sha256": spec.weights_sha256,
        "machine": {key: machine[key] for key in ("system", "processor", "flags", "cores")},
        "results": [rows[pair] for pair in sorted(rows)],
    }


def unmade(exports: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], Row]:
    """Of export.json, the rows of what a target does not make, or failed to."""
    blank: Row = {"must_ship": False, "bytes": None, "gzip": None, "losses": {}, "labels": None}
    rest: Row = {"samples": 0, "time": None, "badly": []}
    states = {"not supported": UNMADE, "unavailable": UNMADE, "failed": "failed"}
    found = {}
    for outcome in exports.values():
        if outcome["state"] in states:
            pair = (str(outcome["target"]), str(outcome["recipe"]))
            reason = ": ".join(filter(None, (outcome["stage"], outcome["reason"])))
            own = {"target": pair[0], "recipe": pair[1], "state": states[outcome["state"]], "reason": reason}
            found[pair] = {**own, **blank, **rest}
    return found


def earlier(spec: ModelSpec) -> list[Row]:
    document = read_support(spec)
    same = document is not None and document["weights_sha256"] == spec.weights_sha256
    return list(document["results"]) if document and same else []


def badly(size: Mapping[str, Any] | None, base: Mapping[str, Any] | None, time: Mapping[str, Any] | None) -> list[str]:
    """What was measured to its disadvantage: slower than float32, more operators outside the delegate."""
    said = []
    shares = sorted((time or {}).get("to_float32", {}).items())
    slower = [f"{entry} {share:.2f}" for entry, share in shares if share > 1 + NOISE]
    if time and slower:
        said.append(f"slower than float32 in {time['runtime']}: {', '.join(slower)} of its time")
    plain = {row["entry"]: row for row in (base or {}).get("delegation", [])}
    left = []
    for row in (size or {}).get("delegation", []):
        other = plain.get(row["entry"])
        outside, usual = row["ops"] - row["delegated"], other["ops"] - other["delegated"] if other else 0
        if outside > usual:
            left.append(f"{row['entry']} {outside} of {row['ops']} (float32: {usual})")
    return [*said, f"operators outside the delegate: {', '.join(left)}"] if left else said


def block(document: Mapping[str, Any]) -> str:
    """The README's table, markers included: a function of support.json alone."""
    rows = [row for row in document["results"] if row["state"] != UNMADE]
    outputs = list(dict.fromkeys(output for row in rows for output in row["losses"]))
    metric = {output: next(r["losses"][output]["metric"] for r in rows if output in r["losses"]) for output in outputs}
    heads = ["target", "recipe", "stands", "an app ships", *(f"{o}: worst {metric_name(metric[o])}" for o in outputs)]
    head, told = label_column(rows)
    heads += [*filter(None, [head]), "time against float32", "what it does badly"]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * 3 + " ---: |" * (len(heads) - 4) + " --- |"]
    for row, lost in zip(rows, told, strict=True):
        cells = [row["target"], row["recipe"], row["state"], megabytes(row["bytes"]) or "–"]
        for output in outputs:
            found = row["losses"].get(output)
            cells.append(number(found["metric"], found["value"]) if found else "–")
        cells += [lost] if head else []
        shares = list(((row["time"] or {}).get("to_float32") or {}).values())
        cells.append(f"{min(shares):.2f} to {max(shares):.2f}" if shares else "–")
        cells.append("; ".join(row["badly"]) or ("" if row["state"] in GOOD else row["reason"]))
        lines.append(f"| {' | '.join(cells)} |")
    samples = sorted({row["samples"] for row in rows if row["samples"]})
    spread = f"{samples[0]} to {samples[-1]}" if len(samples) > 1 else f"{samples[0] if samples else 0}"
    facts = (
        f"{document['model']}, weights `{document['weights_sha256'][:12]}`, worst of {spread} judging samples; times "
        f"are ratios within interleaved rounds of fresh processes on {document['machine']['processor']} (*host*); "
        "a phone differs."
    )
    return "\n".join([BEGIN, *lines, "", facts + never_made(document["results"]), END])


def never_made(rows: Sequence[Mapping[str, Any]]) -> str:
    """What no target makes of the grid, in a sentence; the reasons stand in support.json."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["state"] == UNMADE:
            found.setdefault(row["target"], []).append(row["recipe"])
    said = "; ".join(f"{target}: {', '.join(names)}" for target, names in found.items())
    return f" Not made (support.json says why): {said}." if said else ""


def renew_table(spec: ModelSpec, readme: Path) -> None:
    """Rewrite the block between the markers of `readme` from support.json. Raises UsageError without one of them."""
    document = read_support(spec)
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    if document is None or text.count(BEGIN) != 1 or text.count(END) != 1:
        raise UsageError(f"{readme} needs one {BEGIN} and one {END}, and {support_path(spec)} must exist")
    write_text(readme, text.split(BEGIN)[0] + block(document) + text.split(END)[1])


def conclude_support(document: Mapping[str, Any]) -> str:
    """The reason line of a pass. Refused recipes are results; one that could not be run is a failure."""
    rows = document["results"]
    if not any(row["losses"] for row in rows):
        raise NothingJudged("no artifact was judged; make them with: make grid")
    bad = [row for row in rows if row["state"] == "failed"]
    if bad:
        raise StageError("support", f"{bad[0]['target']} {bad[0]['recipe']}: {bad[0]['reason']} ({len(bad)} failed)")
    good, made = sum(row["state"] in GOOD for row in rows), sum(row["state"] != UNMADE for row in rows)
    return f"{good} of {made} recipes are supported, {made - good} refused; {len(rows) - made} are not made"
