"""docs/results.json and the README's result table: the figures that do not depend on the machine.

The block in the README is a function of docs/results.json alone, so a test can tell that it is stale; that file
names the spec and weights it was measured with, so a test can tell that it is stale too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import words
from benchmarks.report.gather import Evidence
from benchmarks.report.judged import label_loss, losses
from hydramobile.errors import StageError, UsageError
from hydramobile.files import canonical_json, dump_json, sha256_bytes, write_text

Row = dict[str, Any]
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
DIGITS = 7


def results(evidence: Evidence) -> Row:
    """The content of docs/results.json: a row a target x recipe, with its worst task losses and its bytes."""
    rows = []
    for verdict in evidence.verdicts:
        size = evidence.size(verdict.target, verdict.recipe)
        found = losses(evidence, verdict.target, verdict.recipe)
        current = size if size and not size["stale"] else None
        rows.append(
            {
                "target": verdict.target,
                "recipe": verdict.recipe,
                "must_ship": verdict.ship,
                "state": verdict.state,
                "bytes": current["ships"]["bytes"] if current else None,
                "gzip": current["ships"]["gzip"] if current else None,
                "losses": {output: loss(measure) for output, measure in found.items()},
                "labels": truth(label_loss(evidence, verdict.target, verdict.recipe)),
            }
        )
    document = evidence.documents.get("parity", {})
    return {
        "schema": 1,
        "model": evidence.spec.name,
        "version": evidence.spec.version,
        "spec_sha256": evidence.spec.sha256,
        "weights_sha256": evidence.spec.weights_sha256,
        "samples": len(document.get("samples", [])),
        "artifacts": rows,
    }


def loss(measure: Mapping[str, Any]) -> Row:
    numbers = {key: round(float(measure[key]), DIGITS) for key in ("value", "mean")}
    about = {key: measure[key] for key in ("metric", "worst", "runtime", "evidence")}
    return {**about, **numbers}


def truth(found: Mapping[str, Any] | None) -> Row | None:
    """What an artifact loses against labels: as `loss`, and the shares of wrong pairs it is the difference of."""
    if found is None:
        return None
    shares = {key: round(float(found[key]), DIGITS) for key in ("whdr", "reference")}
    return {**loss(found), **shares, "output": found["output"], "labels": found["labels"]}


def label_column(rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """Heading and cells of what was lost against labels, on the mean; no heading where nothing was."""
    own = [row.get("labels") for row in rows]
    head = next((f"{item['output']}: {words.metric_name(item['metric'])}" for item in own if item), "")
    return head, [words.number(item["metric"], item["mean"]) if item else "–" for item in own]


def block(document: Mapping[str, Any]) -> str:
    """The table between the markers, markers included. Takes the content of docs/results.json and nothing else."""
    rows: Sequence[Mapping[str, Any]] = document["artifacts"]
    outputs = list(dict.fromkeys(output for row in rows for output in row["losses"]))
    metric = {output: next(r["losses"][output]["metric"] for r in rows if output in r["losses"]) for output in outputs}
    heads = ["target", "recipe", "stands", "an app ships", "gzip"]
    heads += [f"{output}: worst {words.metric_name(metric[output])}" for output in outputs]
    head, told = label_column(rows)
    heads += [*filter(None, [head]), "evidence"]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * 3 + " ---: |" * (len(heads) - 4) + " --- |"]
    for row, lost in zip(rows, told, strict=True):
        own = [row["losses"].get(output) for output in outputs]
        cells = [row["target"], row["recipe"], f"{words.STATES[row['state']][0]} {row['state']}"]
        cells += [words.megabytes(row["bytes"]) or "–", words.megabytes(row["gzip"]) or "–"]
        cells += [words.number(item["metric"], item["value"]) if item else "–" for item in own]
        cells += [lost] if head else []
        labels = dict.fromkeys(item["evidence"] for item in own if item)
        cells.append(", ".join(["static", *labels] if row["bytes"] else labels) or "–")
        lines.append(f"| {' | '.join(cells)} |")
    facts = (
        f"{document['model']} {document['version']}, weights `{document['weights_sha256'][:12]}`, worst of "
        f"{document['samples']} judging samples and of every runtime that ran the file, against the reference's own "
        f"outputs; {counted(rows)}docs/results.json `{key(document)[:12]}`. Evidence labels: "
        + "; ".join(f"*{name}*: {words.EVIDENCE[name]}" for name in labels_of(rows))
        + "."
    )
    return "\n".join([BEGIN, *lines, "", facts, END])


def counted(rows: Sequence[Mapping[str, Any]]) -> str:
    found = next((row["labels"] for row in rows if row.get("labels")), None)
    if not found:
        return ""
    name, own = words.metric_name(found["metric"]), words.number(found["metric"], found["reference"])
    return f"{name}: mean over {found['labels']} labelled views, of which float32 has {own} of the pairs wrong; "


def labels_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found = dict.fromkeys(item["evidence"] for row in rows for item in row["losses"].values())
    return [name for name in words.EVIDENCE if name in found or name == "static"]


def key(document: Mapping[str, Any]) -> str:
    return sha256_bytes(canonical_json(document).encode())


def renew_readme(evidence: Evidence, readme: Path) -> Path:
    """Rewrite the block in `readme` and docs/results.json beside it; returns the latter's path.

    Raises UsageError where the file or its markers are missing, StageError("report") when not a single artifact was
    judged: an empty table must not replace a full one.
    """
    if not readme.is_file():
        raise UsageError(f"no file {readme}")
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UsageError(f"{readme} needs one {BEGIN} and one {END}, in this order")
    document = results(evidence)
    if not any(row["losses"] for row in document["artifacts"]):
        raise StageError("report", f"no artifact was judged; {readme} keeps its table. Run: make parity")
    path = readme.parent / "docs" / "results.json"
    write_text(path, dump_json(document))
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    write_text(readme, before + block(document) + after)
    return path
