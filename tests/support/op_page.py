"""Render the outcomes of the sweep over PyTorch's op tests as the first part of docs/supported-ops.md."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TypedDict

TAKEN = ("passed", "decomposed")
# From the worst. The state of an op is the worst of its samples.
STATES = ("crashed", "wrong", "refused", "decomposed", "passed")
HEAD = """## Ops of PyTorch's own tests

PyTorch lists its ops with sample inputs (`torch.testing._internal.common_methods_invocations.op_db`). Each op that has
a float32 forward and an output of a fixed shape is exported with at most 6 of its samples, evenly spread: tensors are
inputs, other arguments are constants, complex results are pairs of reals, and tensors without axes have one element. An
op counts as taken where all its samples pass; the share is of all ops, also of those that have not run. The ops that
are not swept, with the reason, stand at the end of this part.

"""


class Swept(TypedDict):
    """One op: why it is left out, or per target [state, detail, number of samples]."""

    left_out: str
    targets: dict[str, list[list[object]]]


def sweep_page(swept: Mapping[str, Swept], targets: Mapping[str, str]) -> str:
    """Return the shares of all targets, the table of ops, the reasons, and the ops that are left out."""
    rows = {name: row for name, row in swept.items() if not row["left_out"]}
    parts = [HEAD, shares(rows, targets), "\n", table(rows, targets)]
    parts += [reasons(rows, target, title) for target, title in targets.items()]
    return "".join([*parts, left_out(swept)])


def state_of(outcomes: list[list[object]]) -> str:
    """Return the worst state of an op's samples."""
    return min((str(state) for state, _, _ in outcomes), key=STATES.index)


def shares(rows: Mapping[str, Swept], targets: Mapping[str, str]) -> str:
    """Return a table of targets with the number of ops by state, and the share that is taken."""
    lines = [
        "| target | taken | passed | decomposed | refused | wrong | crashed | not run |",
        "| --- |" + " ---: |" * 7,
    ]
    for target, title in targets.items():
        run = [state_of(row["targets"][target]) for row in rows.values() if target in row["targets"]]
        states = Counter(run)
        # Of all ops: one that has not run is not taken.
        taken = f"{100 * sum(states[state] for state in TAKEN) / max(1, len(rows)):.1f} %"
        cells = [taken, *(str(states[state]) for state in ("passed", "decomposed", "refused", "wrong", "crashed"))]
        lines.append(f"| {title} | {' | '.join([*cells, str(len(rows) - len(run))])} |")
    unnamed = sum(
        str(detail).startswith("(unnamed)")
        for row in rows.values()
        for outcomes in row["targets"].values()
        for _, detail, _ in outcomes
    )
    note = f"{len(rows)} ops. Refusals that do not name the op: {unnamed}."
    return "\n".join(lines) + f"\n\n{note}\n"


def table(rows: Mapping[str, Swept], targets: Mapping[str, str]) -> str:
    lines = [f"| op | samples | {' | '.join(targets.values())} |", "| --- | ---: |" + " --- |" * len(targets)]
    for name, row in rows.items():
        if not row["targets"]:
            continue
        numbers = [sum(int(str(count)) for _, _, count in outcomes) for outcomes in row["targets"].values()]
        cells = [states_cell(row["targets"].get(target, [])) for target in targets]
        lines.append(f"| `{name}` | {max(numbers, default=0)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def states_cell(outcomes: list[list[object]]) -> str:
    """Join the states of an op's samples: "passed (5), refused (1)"."""
    counts: Counter[str] = Counter()
    for state, _, count in outcomes:
        counts[str(state)] += int(str(count))
    if len(counts) < 2:
        return next(iter(counts), "not run")
    return ", ".join(f"{state} ({counts[state]})" for state in reversed(STATES) if counts[state])


def reasons(rows: Mapping[str, Swept], target: str, title: str) -> str:
    """Return the ops that a target does not take, each with its first reason."""
    lines = []
    for name, row in rows.items():
        outcomes = row["targets"].get(target, [])
        untaken = [(state, detail) for state, detail, _ in outcomes if state not in TAKEN]
        if untaken:
            lines.append(f"- `{name}`: {untaken[0][0]}: {str(untaken[0][1])[:160]}")
    return f"\n### Ops not taken by {title}\n\n" + "\n".join(lines) + "\n" if lines else ""


def left_out(swept: Mapping[str, Swept]) -> str:
    by_reason = defaultdict(list)
    for name, row in swept.items():
        if row["left_out"]:
            by_reason[row["left_out"]].append(name)
    lines = [
        f"- {reason} ({len(names)}): " + ", ".join(f"`{name}`" for name in names)
        for reason, names in sorted(by_reason.items())
    ]
    return "\n### Ops that are left out\n\n" + "\n".join(lines) + "\n" if lines else ""


def cell(outcomes: list[list[str]]) -> str:
    """Join the outcomes of one op on one target: "as is (3), decomposed: scatter (1)"."""
    words = Counter(f"decomposed: {detail}" if state == "decomposed" else state for state, detail in outcomes)
    if len(words) == 1:
        return next(iter(words))
    return ", ".join(f"{word} ({count})" for word, count in sorted(words.items()))
