"""`python -m campaign`: run every bad input and every fault, and write docs/reliability.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from campaign.faults import FAULTS
from campaign.inputs import KINDS, World, make_world, seeded
from campaign.runner import ROOT, Server

PAGE = ROOT / "docs/reliability.md"
LONGEST = 110
PAGE_TEXT = """\
# Reliability

Written by `make campaign` ({minutes:.0f} minutes). {total} bad inputs of {kinds} kinds and {faults} faults go through
the real command lines. Each must end by itself with a verdict line and the exit code that fits, without a traceback,
and leave no process after 10 s and no lost artifact. Inputs are damaged from seeds, so every case can be repeated
(`tests/campaign`); a few of each kind run in `make test`.

| input | cases | exit codes | slowest |
| --- | ---: | --- | ---: |
{rows}
Exit codes: 0 the input was still valid, 1 a budget is broken, 2 bad usage, 3 a stage failed, 4 nothing could be judged.

| fault | how it ended |
| --- | --- |
{ends}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="one kind of input or fault")
    parser.add_argument("--write", action="store_true", help="renew docs/reliability.md")
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, Server() as server:
        world = make_world(Path(scratch))
        rows, wrong = inputs(world, server, Path(scratch), arguments.only)
        faults, broken = run_faults(world, Path(scratch), arguments.only)
    print("\n".join([*wrong, *broken]))
    minutes = (time.monotonic() - started) / 60
    if arguments.write:
        PAGE.write_text(page(rows, faults, minutes), encoding="utf-8")
    bad = len(wrong) + len(broken)
    cases = sum(count for _, count, _, _ in rows)
    print(f"{cases} bad inputs of {len(rows)} kinds, {len(faults)} faults, {bad} ended wrongly, {minutes:.0f} min")
    sys.exit(1 if bad else 0)


Row = tuple[str, int, str, float]


def inputs(world: World, server: Server, scratch: Path, only: str) -> tuple[list[Row], list[str]]:
    """Run all bad inputs; return one row per kind, and a line per case that ended wrongly."""
    rows, wrong = [], []
    for kind, (count, _) in KINDS.items():
        if only not in ("", kind.__name__):
            continue
        codes: Counter[int | None] = Counter()
        slowest = 0.0
        for number in range(count):
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                words, allowed = kind(world, seeded(kind, number), Path(folder))
                outcome = server.run(words, Path(folder) if kind.__name__ == "checkpoint" else ROOT)
            codes[outcome.code] += 1
            slowest = max(slowest, outcome.seconds)
            if fault := outcome.fault(allowed):
                wrong.append(f"{kind.__name__} {number}: {fault} ({' '.join(map(str, words))})")
        text = ", ".join(f"{code}: {number}" for code, number in sorted(codes.items(), key=str))
        rows.append((kind.__name__.replace("_", " "), count, text, slowest))
        print(f"{kind.__name__}: {text}; slowest {slowest:.1f} s", file=sys.stderr, flush=True)
    return rows, wrong


def run_faults(world: World, scratch: Path, only: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Run all faults; return (fault, how it ended), and a line per fault that ended wrongly."""
    rows, wrong = [], []
    for fault in FAULTS:
        name = fault.__name__.replace("_", " ")
        if only not in ("", fault.__name__):
            continue
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            try:
                rows.append((name, tidy(fault(world, Path(folder)), folder)))
            except AssertionError as error:
                wrong.append(f"{fault.__name__}: {error}")
        print(f"{name}: {'wrong' if wrong and wrong[-1].startswith(fault.__name__) else 'right'}", file=sys.stderr)
    return rows, wrong


def tidy(text: str, folder: str) -> str:
    """Return a verdict for a table: without the folder that it ran in, and not too long."""
    short = text.replace(f"{folder}/", "").replace("|", "/")
    return short if len(short) <= LONGEST else f"{short[:LONGEST]}..."


def page(rows: list[Row], faults: list[tuple[str, str]], minutes: float) -> str:
    """Return docs/reliability.md."""
    kinds = "".join(f"| {name} | {count} | {codes} | {slowest:.1f} s |\n" for name, count, codes, slowest in rows)
    ends = "".join(f"| {name} | {end} |\n" for name, end in faults)
    return PAGE_TEXT.format(
        minutes=minutes, total=sum(row[1] for row in rows), kinds=len(rows), faults=len(faults), rows=kinds, ends=ends
    )


if __name__ == "__main__":
    main()
