"""All evidence of one model as it lies on disk, and which of it still belongs to the artifacts on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.parity.run import standings
from hydramobile.artifact import Artifact, find_artifacts, read_artifact
from hydramobile.budget import Budget, load_budget
from hydramobile.errors import NothingJudged, StageError
from hydramobile.files import read_json
from hydramobile.samples import Sample, load_samples
from hydramobile.spec import ModelSpec
from hydramobile.targets import TARGETS

Row = dict[str, Any]
Pair = tuple[str, str]

# Evidence file -> the command that makes it.
COMMANDS = {"parity": "make parity", "size": "make bench", "latency": "make bench"}
# Shown where they were made; a report is whole without them.
OPTIONAL = ("cost", "grid", "profile", "device", "instructions")
# Best first: how a reader wants the verdicts sorted within a target is by recipe, so this only ranks states.
STATES = ("ships", "passes", "refused", "stale", "unjudged", "missing", "broken", "failed")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where one target x recipe stands. `state` is one of `STATES`; `reason` explains all but the first two."""

    target: str
    recipe: str
    ship: bool
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """`artifacts` are those on disk; the rows are as their files hold them, each with `stale` added.

    `missing` pairs what could not be shown with the command that makes it.
    """

    spec: ModelSpec
    budget: Budget
    root: Path
    artifacts: Mapping[Pair, Artifact]
    parity: tuple[Row, ...]
    sizes: tuple[Row, ...]
    latencies: tuple[Row, ...]
    grids: tuple[Row, ...]
    profiles: tuple[Row, ...]
    costs: tuple[Row, ...]
    devices: tuple[Row, ...]
    instructions: tuple[Row, ...]
    exports: Mapping[str, Row]
    documents: Mapping[str, Row]
    verdicts: tuple[Verdict, ...]
    samples: tuple[Sample, ...]
    missing: tuple[tuple[str, str], ...]

    def folder(self, target: str, recipe: str) -> Path:
        return self.root / target / recipe

    def judged(self, target: str, recipe: str) -> list[Row]:
        """Parity rows that hold numbers and belong to the artifact on disk."""
        own = [row for row in self.parity if (row["target"], row["recipe"]) == (target, recipe)]
        return [row for row in own if row["measures"] and not row["stale"]]

    def size(self, target: str, recipe: str) -> Row | None:
        rows = (row for row in self.sizes if (row["target"], row["recipe"]) == (target, recipe))
        return next((row for row in rows if row["verdict"] == "measured"), None)


def gather(spec: ModelSpec, out: Path, folder: Path | None) -> Evidence:
    """Read everything below `out`/<model>. Raises NothingJudged when there is neither artifact nor evidence."""
    root = out / spec.name
    artifacts, notes = read_artifacts(root)
    documents, missing = read_documents(root)
    if not artifacts and not notes and not documents:
        raise NothingJudged(f"nothing to report in {root}; make it with: make all")
    missing += notes or ([] if artifacts else [("there are no artifacts", "make export")])
    hashes = {pair: artifact.sha256 for pair, artifact in artifacts.items()}
    budget = load_budget(spec)
    known = {*hashes, *asked(budget)}

    def rows(name: str) -> tuple[Row, ...]:
        return marked(documents.get(name, {}), hashes, known)

    parity = rows("parity")
    exports = documents.get("export", {}).get("outcomes", {})
    return Evidence(
        spec=spec,
        budget=budget,
        root=root,
        artifacts=artifacts,
        parity=parity,
        sizes=rows("size"),
        latencies=rows("latency"),
        grids=rows("grid"),
        profiles=rows("profile"),
        costs=rows("cost"),
        devices=rows("device"),
        instructions=rows("instructions"),
        exports=exports,
        documents=documents,
        verdicts=tuple(verdicts(budget, hashes, parity, exports)),
        samples=load_samples(spec, "judge", folder),
        missing=tuple(missing),
    )


def read_artifacts(root: Path) -> tuple[dict[Pair, Artifact], list[tuple[str, str]]]:
    found: dict[Pair, Artifact] = {}
    notes: list[tuple[str, str]] = []
    for folder in find_artifacts(root):
        try:
            found[folder.parent.name, folder.name] = read_artifact(folder)
        except StageError as error:
            notes.append((f"{folder.parent.name}/{folder.name}: {error}", "make export"))
    return found, notes


def read_documents(root: Path) -> tuple[dict[str, Row], list[tuple[str, str]]]:
    """The evidence files that are there, and what is missing. A damaged file is missing, with its error."""
    documents: dict[str, Row] = {}
    missing: list[tuple[str, str]] = []
    for name in ("export", "manifest", *COMMANDS, *OPTIONAL):
        command = COMMANDS.get(name, "make bench" if name in OPTIONAL else "make export")
        try:
            if (root / f"{name}.json").is_file():
                documents[name] = dict(read_json(root / f"{name}.json", "report"))
            elif name in COMMANDS:
                missing.append((f"{name}.json was not made yet", command))
        except (StageError, TypeError, ValueError) as error:
            missing.append((str(error), command))
    return documents, missing


def marked(document: Mapping[str, Any], hashes: Mapping[Pair, str], known: set[Pair]) -> tuple[Row, ...]:
    """The rows with `stale`: whether they belong to other bytes than those on disk. Rows of the reference (no target)
    and of artifacts that could not be read (no hash) never are. Those of artifacts that are not `known`, gone from the
    disk and asked for by nobody, are left out."""
    return tuple(
        {**row, "stale": bool(row["target"] and row["artifact"] and hashes.get(pair_of(row)) != row["artifact"])}
        for row in document.get("results", [])
        if not row["artifact"] or pair_of(row) in known
    )


def pair_of(row: Mapping[str, Any]) -> Pair:
    return row["target"], row["recipe"]


def asked(budget: Budget) -> list[Pair]:
    return [(target, recipe) for target in TARGETS for recipe in budget.recipes(target)]


def verdicts(
    budget: Budget, hashes: Mapping[Pair, str], parity: Sequence[Row], exports: Mapping[str, Row]
) -> list[Verdict]:
    """One a target x recipe that the budget asks for, that is on disk, or that was judged, in the order of a reader."""
    stood = {(s.target, s.recipe): s for s in standings(budget, [row for row in parity if not row["stale"]])}
    stale = {pair_of(row) for row in parity if row["stale"]}
    known = dict.fromkeys([*asked(budget), *sorted({*hashes, *stood})])
    found = []
    for target, recipe in sorted(
        known, key=lambda pair: TARGETS.index(pair[0]) if pair[0] in TARGETS else len(TARGETS)
    ):
        ship = recipe in budget.ship.get(target, ())
        standing = stood.get((target, recipe))
        if standing:
            state, reason = standing.state, standing.reason
        elif (target, recipe) in hashes:
            again = (target, recipe) in stale
            state = "stale" if again else "unjudged"
            reason = f"{'exported again since it was judged' if again else 'never judged'}; run: make parity"
        else:
            state, reason = "missing", absent(exports.get(f"{target}/{recipe}"))
        found.append(Verdict(target, recipe, ship, state, reason))
    return found


def absent(outcome: Mapping[str, Any] | None) -> str:
    """Why there is no artifact."""
    if outcome and outcome["state"] in ("failed", "unavailable", "not supported"):
        return ": ".join(filter(None, (outcome["state"], outcome["stage"], outcome["reason"])))
    return "not exported; run: make export"
