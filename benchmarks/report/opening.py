"""The opening of the report: may I ship, which file, how big, how fast, what is lost, what next."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.report import words
from benchmarks.report.gather import Gathered, State, Verdict
from benchmarks.report.judged import Number, Place, deciding, losses, number
from benchmarks.report.strongest import TIMES
from hydramobile.artifact import primary, ships
from hydramobile.measures import worse
from hydramobile.targets import BUNDLED, target_info

# Platforms in the order of the page, with their names.
PLATFORMS = {"ios": "iOS", "android": "Android", "web": "web"}
# Files whose sizes differ by less than this factor are called equally big: the one that loses least is recommended.
EQUAL = 1.05
# The number of different reasons that the opening prints; the verdicts below it have all of them.
REASONS = 3
ON_DEVICE = "measured-on-device"
# The model of commands that name none.
DEFAULT = "models/portrait"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A reason why files may not ship, and the files for which it holds."""

    reason: str
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """May I ship: "Yes", "No" or "Not yet", a sentence with counts, reasons against it, and a note on candidates.

    `more` is the number of further reasons.
    """

    word: str
    tone: str
    text: str
    troubles: Sequence[Trouble]
    more: int
    beside: str


@dataclass(frozen=True, slots=True)
class Speed:
    """The median time of one run of the whole model, and where it was measured."""

    ms: float
    runtime: str
    where: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Take:
    """The file to take for a platform; without one, `reason` says why.

    `files` are relative to the folder of the report. `others` are files that a reader may take instead: what they are,
    and their names and sizes. `untimed`: only runtimes that predict no app's times, or none at all, run it here.
    """

    platform: str
    target: str
    recipe: str = ""
    state: State = "missing"
    folder: str = ""
    files: Sequence[str] = ()
    bytes: int | None = None
    gzip: int | None = None
    lost: Sequence[Number] = ()
    closest: Number | None = None
    speed: Speed | None = None
    untimed: bool = False
    others: Sequence[str] = ()
    reason: str = ""

    @property
    def name(self) -> str:
        return f"{self.target}/{self.recipe}"


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do next, and its command ("" where the text needs none)."""

    text: str
    command: str


@dataclass(frozen=True, slots=True)
class Opening:
    """The answers. `samples` is the least number of samples by which a file that must ship was judged."""

    answer: Answer
    samples: int
    takes: Sequence[Take]
    steps: Sequence[Step]
    devices: bool


def opening(evidence: Gathered) -> Opening:
    """Return the answers to a reader's first questions."""
    takes = files_to_take(evidence)
    reply = answer(evidence)
    devices = any(row.evidence == ON_DEVICE for row in (*evidence.devices, *evidence.latencies, *evidence.parity))
    return Opening(reply, judged_samples(evidence), takes, steps(evidence, takes), devices)


def judged_samples(evidence: Gathered) -> int:
    """Return the least number of samples over the files that must ship and were judged; 0 if none was."""
    known = [
        [row.samples for row in evidence.judged(*verdict.pair) if row.mode == "direct" and "@" not in row.entry]
        for verdict in evidence.verdicts
        if verdict.ship
    ]
    return min((max(counts) for counts in known if counts), default=0)


def answer(evidence: Gathered) -> Answer:
    """Answer whether every file that must ship may."""
    must = [verdict for verdict in evidence.verdicts if verdict.ship]
    good = [verdict for verdict in must if verdict.state == "ships"]
    bad = [verdict for verdict in must if verdict.state in ("broken", "refused") or failed(evidence, verdict)]
    waiting = [verdict for verdict in must if verdict not in good and verdict not in bad]
    beside = candidates(evidence.verdicts)
    grouped = troubles([*bad, *waiting])
    shown, more = grouped[:REASONS], max(len(grouped) - REASONS, 0)
    if not must:
        return Answer("Not decided", "warn", "budget.toml lists no file that must ship.", shown, more, beside)
    if not bad and not waiting:
        every = "The one file that must ship does" if len(must) == 1 else f"All {len(must)} files that must ship do"
        them = "it" if len(must) == 1 else "them"
        text = f"{every}: within every limit of the budget, in every runtime that ran {them}."
        return Answer("Yes", "good", text, (), 0, beside)
    over = sum(not failed(evidence, verdict) for verdict in bad)
    counts = [f"{over} {'is' if over == 1 else 'are'} over a limit"] if over else []
    counts += [f"{len(bad) - over} failed"] if len(bad) > over else []
    counts += [f"{len(waiting)} {'is' if len(waiting) == 1 else 'are'} not judged yet"] if waiting else []
    text = f"Of {len(must)} files that must ship, {', '.join(counts)}; {len(good)} may ship."
    return Answer("No" if bad else "Not yet", "bad" if bad else "warn", text, shown, more, beside)


def failed(evidence: Gathered, verdict: Verdict) -> bool:
    """Return whether a stage failed, while the file was made or judged."""
    outcome = evidence.exports.get(verdict.name)
    return verdict.state == "failed" or (verdict.state == "missing" and bool(outcome and outcome.state == "failed"))


def candidates(verdicts: Iterable[Verdict]) -> str:
    """Return a sentence on the recipes that need not ship; "" if none was judged."""
    counts: dict[str, int] = {}
    for verdict in verdicts:
        if not verdict.ship and verdict.state != "missing":
            counts[verdict.state] = counts.get(verdict.state, 0) + 1
    if not counts:
        return ""
    names = {"passes": "within every limit too", "refused": "refused, which breaks nothing", "failed": "failed"}
    parts = [f"{count} {names.get(state, state)}" for state, count in counts.items()]
    total = sum(counts.values())
    return f"Of {total} further candidate{'s' if total > 1 else ''}: {', '.join(parts)}."


def troubles(verdicts: Iterable[Verdict]) -> list[Trouble]:
    """Return each reason once, with the files for which it holds."""
    found: dict[str, list[str]] = {}
    for verdict in verdicts:
        found.setdefault(verdict.reason, []).append(verdict.name)
    return [Trouble(reason, names) for reason, names in found.items()]


def files_to_take(evidence: Gathered) -> list[Take]:
    """Return one file per platform that the budget or the build folder knows."""
    platforms: dict[str, list[Verdict]] = {}
    for verdict in evidence.verdicts:
        platforms.setdefault(target_info(verdict.target).platform, []).append(verdict)
    order = [name for name in PLATFORMS if name in platforms]
    order += [name for name in platforms if name not in PLATFORMS and good(platforms[name])]
    return [take(evidence, PLATFORMS.get(name, name), platforms[name]) for name in order]


def good(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return the verdicts of files that must ship and may; the candidates that pass if there is none."""
    known = list(verdicts)
    return [v for v in known if v.state == "ships"] or [v for v in known if v.state == "passes"]


def take(evidence: Gathered, platform: str, verdicts: Sequence[Verdict]) -> Take:
    """Return the smallest file of a platform that may ship, or the reason why there is none."""
    usable = [verdict for verdict in good(verdicts) if verdict.pair in evidence.artifacts]
    if not usable:
        asked = [verdict for verdict in verdicts if verdict.ship] or list(verdicts)
        return Take(platform, asked[0].target, reason="; ".join(trouble.reason for trouble in troubles(asked)[:1]))
    chosen = smallest(evidence, usable)
    artifact = evidence.artifacts[chosen.pair]
    entries = primary(artifact) or artifact.entries
    records = ships(artifact)
    files = [record.path.split("/")[0] for record in records] or [entry.file for entry in entries]
    size = evidence.size(*chosen.pair)
    fresh = size if size and not evidence.stale(size) else None
    lost = [
        number(loss.measure, Place(loss.entry, "direct", loss.runtime, loss.evidence))
        for loss in losses(evidence, *chosen.pair).values()
    ]
    return Take(
        platform=platform,
        target=chosen.target,
        recipe=chosen.recipe,
        state=chosen.state,
        folder=f"{chosen.target}/{chosen.recipe}/",
        files=list(dict.fromkeys(files)),
        bytes=fresh.ships.bytes if fresh else sum(record.bytes for record in records) or None,
        gzip=fresh.ships.gzip if fresh and target_info(chosen.target).web_engine else None,
        lost=lost,
        closest=deciding(evidence, chosen),
        speed=speed(evidence, chosen, platform),
        untimed=any(row.pair == chosen.pair and row.verdict != "measured" for row in evidence.latencies),
        others=others(evidence, chosen, verdicts),
    )


def weight(evidence: Gathered, verdict: Verdict) -> float:
    """Return the bytes that an app ships, infinity where the size is unknown."""
    size = evidence.size(*verdict.pair)
    if size and not evidence.stale(size):
        return size.ships.bytes
    return sum(record.bytes for record in ships(evidence.artifacts[verdict.pair])) or float("inf")


def smallest(evidence: Gathered, verdicts: Sequence[Verdict]) -> Verdict:
    """Return the smallest file; of files that are about equally big, the one that loses least.

    Shares of a limit do not compare recipes, whose limits differ; they decide where the task losses are equal.
    """
    least = min(weight(evidence, verdict) for verdict in verdicts)
    near = [verdict for verdict in verdicts if weight(evidence, verdict) <= least * EQUAL]
    lost = {verdict.name: losses(evidence, *verdict.pair) for verdict in near}

    def order(verdict: Verdict) -> tuple[int, float, str]:
        beaten = sum(
            worse(loss.measure.metric, loss.measure.value, other[output].measure.value)
            for output, loss in lost[verdict.name].items()
            for other in lost.values()
            if output in other
        )
        found = deciding(evidence, verdict)
        return beaten, (found.used or 0.0) if found else 0.0, verdict.name

    return min(near, key=order)


def others(evidence: Gathered, chosen: Verdict, verdicts: Sequence[Verdict]) -> list[str]:
    """Return what a reader may take instead: a file of another format, and the smallest candidate that passes."""
    found = []
    for target in dict.fromkeys(verdict.target for verdict in verdicts if verdict.target != chosen.target):
        own = [v for v in verdicts if v.target == target and v.state == "ships" and v.pair in evidence.artifacts]
        if own:
            found.append(f"or {sized(evidence, smallest(evidence, own))}")
    passing = [v for v in verdicts if v.state == "passes" and v.pair in evidence.artifacts and v != chosen]
    least = min(passing, key=lambda verdict: (weight(evidence, verdict), verdict.name), default=None)
    if least and weight(evidence, least) * EQUAL < weight(evidence, chosen):
        found.append(f"smaller, and passes too: {sized(evidence, least)}")
    return found


def sized(evidence: Gathered, verdict: Verdict) -> str:
    return f"{verdict.name}, {words.megabytes(weight(evidence, verdict))}"


def speed(evidence: Gathered, verdict: Verdict, platform: str) -> Speed | None:
    """Return the strongest time of a file, and of equally strong ones the shortest; None if nothing timed it.

    A browser's time is one of the web only.
    """
    found = [
        Speed(row.main.p50_ms, row.runtime, row.where, str(row.evidence))
        for row in evidence.latencies
        if row.pair == verdict.pair and row.verdict == "measured" and not evidence.stale(row)
    ]
    for device in evidence.devices:
        if device.pair == verdict.pair and device.verdict == "measured" and not evidence.stale(device):
            most = max((len(e.modules) for c in device.configurations for e in c.entries), default=0)
            name = device.device.model if device.device else device.runtime
            found += [
                Speed(entry.mean_ms, configuration.configuration, name, str(device.evidence))
                for configuration in device.configurations
                for entry in configuration.entries
                if entry.mean_ms is not None and len(entry.modules) == most
            ]
    known = TIMES if platform == PLATFORMS["web"] else [label for label in TIMES if label != "browser-host"]
    ranked = [item for item in found if item.evidence in known]
    return min(ranked, key=lambda item: (TIMES.index(item.evidence), item.ms, item.runtime), default=None)


def steps(evidence: Gathered, takes: Iterable[Take]) -> list[Step]:
    """Return what to do next: mend what may not ship, make what is missing, use the files, strengthen the evidence."""
    folder = shown(evidence.spec.folder)
    found: list[Step] = []
    must = [verdict for verdict in evidence.verdicts if verdict.ship]
    broken = next((verdict for verdict in must if verdict.state == "broken"), None)
    if broken:
        text = f"Find the first layer of {broken.name} that differs"
        found.append(Step(text, f"python -m benchmarks parity --only {broken.name} --bisect"))
    if any(verdict.state in ("missing", "failed") for verdict in must):
        found.append(Step("Export the files that are missing", "make export"))
    if any(verdict.state in ("stale", "unjudged", "missing") for verdict in must):
        found.append(Step("Judge what was not judged", "make parity"))
    commands = {step.command for step in found}
    for lacking in evidence.missing:
        if lacking.command not in commands:
            commands.add(lacking.command)
            found.append(Step(f"Add what this report lacks ({lacking.what})", lacking.command))
    ready = [item for item in takes if item.recipe]
    if ready:
        platforms = dict.fromkeys(target_info(item.target).platform for item in ready)
        found += [
            Step(f"Make a package for {PLATFORMS[name]} apps", f"make bundle-{name}")
            for name in platforms
            if name in BUNDLED
        ]
    for item in ready:
        for step in target_info(item.target).steps:
            if step.label == ON_DEVICE and step.command not in commands:
                commands.add(step.command)
                found.append(Step(f"Measure {item.name} on a phone", step.command))
    return [replace(step, command=of_model(step.command, folder)) for step in found]


def of_model(command: str, folder: str) -> str:
    """Return a command with the folder of its model, which both kinds of commands leave out for the portrait."""
    if not command or folder == DEFAULT:
        return command
    return f"{command} {f'MODEL={folder}' if command.startswith('make ') else f'--model {folder}'}"


def shown(folder: Path) -> str:
    """Return a folder as a command below the current folder names it; its last part for a folder elsewhere."""
    relative = Path(os.path.relpath(folder))
    return folder.name if ".." in relative.parts else relative.as_posix()
