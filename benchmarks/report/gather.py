"""Read all evidence of one model from disk, and tell the rows of the present artifacts from stale ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from benchmarks.evidence.cost import CostEvidence, CostRow
from benchmarks.evidence.device import DeviceEvidence, DeviceRow
from benchmarks.evidence.envelope import Evidence, read
from benchmarks.evidence.grid import GridEvidence, GridRow
from benchmarks.evidence.instructions import InstructionEvidence, InstructionRow
from benchmarks.evidence.latency import LatencyEvidence, LatencyRow
from benchmarks.evidence.parity import ParityEvidence, ParityRow
from benchmarks.evidence.profile import ProfileEvidence, ProfileRow
from benchmarks.evidence.row import Row
from benchmarks.evidence.size import SizeEvidence, SizeRow
from benchmarks.outcomes import Outcome, read_outcomes
from benchmarks.parity.standings import standings
from hydramobile import signatures
from hydramobile.artifact import FILE, Artifact, find_artifacts, read_in_place, verify
from hydramobile.budget import Budget, load_budget
from hydramobile.errors import NothingJudged, StageError
from hydramobile.samples import Sample, load_samples
from hydramobile.spec import ModelSpec
from hydramobile.targets import TARGETS

Pair = tuple[str, str]
R = TypeVar("R", bound=Row)
E = TypeVar("E", bound=Evidence[Any])
# The states, best first.
State = Literal["ships", "passes", "refused", "stale", "unjudged", "missing", "broken", "failed"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of one target x recipe. `reason` explains every state other than "ships" and "passes"."""

    target: str
    recipe: str
    ship: bool
    state: State
    reason: str

    @property
    def pair(self) -> Pair:
        return self.target, self.recipe

    @property
    def name(self) -> str:
        return f"{self.target}/{self.recipe}"


@dataclass(frozen=True, slots=True)
class Missing:
    """A part that the report lacks, and the command that makes it."""

    what: str
    command: str


@dataclass(frozen=True, slots=True)
class Documents:
    """The evidence files of one model; None for a missing or unreadable file."""

    parity: ParityEvidence | None = None
    size: SizeEvidence | None = None
    latency: LatencyEvidence | None = None
    grid: GridEvidence | None = None
    profile: ProfileEvidence | None = None
    cost: CostEvidence | None = None
    device: DeviceEvidence | None = None
    instructions: InstructionEvidence | None = None


@dataclass(frozen=True, slots=True)
class Gathered:
    """The data of a report. `artifacts` holds the artifacts on disk.

    Rows of artifacts that are neither on disk nor listed in the budget are left out.
    """

    spec: ModelSpec
    budget: Budget
    root: Path
    artifacts: Mapping[Pair, Artifact]
    documents: Documents
    parity: tuple[ParityRow, ...]
    sizes: tuple[SizeRow, ...]
    latencies: tuple[LatencyRow, ...]
    grids: tuple[GridRow, ...]
    profiles: tuple[ProfileRow, ...]
    costs: tuple[CostRow, ...]
    devices: tuple[DeviceRow, ...]
    instructions: tuple[InstructionRow, ...]
    exports: Mapping[str, Outcome]
    verdicts: tuple[Verdict, ...]
    samples: tuple[Sample, ...]
    missing: tuple[Missing, ...]

    def stale(self, row: Row) -> bool:
        """Return whether the row's artifact differs from the one on disk."""
        return is_stale(row, self.artifacts)

    def folder(self, target: str, recipe: str) -> Path:
        return self.root / target / recipe

    def judged(self, target: str, recipe: str) -> list[ParityRow]:
        """Return the rows of parity that hold measures and belong to the artifact on disk."""
        rows = [row for row in self.parity if row.pair == (target, recipe)]
        return [row for row in rows if row.measures and not self.stale(row)]

    def size(self, target: str, recipe: str) -> SizeRow | None:
        rows = (row for row in self.sizes if row.pair == (target, recipe))
        return next((row for row in rows if row.verdict == "measured"), None)


def gather(spec: ModelSpec, out: Path, folder: Path | None) -> Gathered:
    """Read everything below `out`/<model>. Raises NothingJudged when there is neither artifact nor evidence."""
    root = out / spec.name
    artifacts, notes = read_artifacts(root)
    documents, missing = read_documents(root)
    exports, more = read_exports(root)
    if not artifacts and not notes and documents == Documents() and not exports:
        raise NothingJudged(f"nothing to report in {root}; make it with: make all")
    missing = [*more, *missing, *(notes or ([] if artifacts else [Missing("there are no artifacts", "make export")]))]
    budget = load_budget(spec)
    known = {*artifacts, *asked(budget)}
    parity = rows_of(documents.parity, known)
    return Gathered(
        spec=spec,
        budget=budget,
        root=root,
        artifacts=artifacts,
        documents=documents,
        parity=parity,
        sizes=rows_of(documents.size, known),
        latencies=rows_of(documents.latency, known),
        grids=rows_of(documents.grid, known),
        profiles=rows_of(documents.profile, known),
        costs=rows_of(documents.cost, known),
        devices=rows_of(documents.device, known),
        instructions=rows_of(documents.instructions, known),
        exports=exports,
        verdicts=tuple(verdicts(budget, artifacts, parity, exports)),
        samples=load_samples(spec, "judge", folder),
        missing=tuple(missing),
    )


def read_artifacts(root: Path) -> tuple[dict[Pair, Artifact], list[Missing]]:
    """Return (the artifacts whose files match their seals, notes on the others): a verdict is of the sealed bytes."""
    found: dict[Pair, Artifact] = {}
    notes: list[Missing] = []
    for folder in find_artifacts(root):
        try:
            artifact = read_in_place(folder)
            verify(folder, artifact)
            signatures.check(folder / FILE)
            found[folder.parent.name, folder.name] = artifact
        except StageError as error:
            notes.append(Missing(f"{folder.parent.name}/{folder.name}: {error}", "make export"))
    return found, notes


def read_documents(root: Path) -> tuple[Documents, list[Missing]]:
    """Read the evidence files; return them and notes on missing ones. Every build needs parity, size and latency."""
    missing: list[Missing] = []
    documents = Documents(
        parity=read_one(ParityEvidence, root, missing, expected=True),
        size=read_one(SizeEvidence, root, missing, expected=True),
        latency=read_one(LatencyEvidence, root, missing, expected=True),
        cost=read_one(CostEvidence, root, missing),
        grid=read_one(GridEvidence, root, missing),
        profile=read_one(ProfileEvidence, root, missing),
        device=read_one(DeviceEvidence, root, missing),
        instructions=read_one(InstructionEvidence, root, missing),
    )
    return documents, missing


def read_one(kind: type[E], root: Path, missing: list[Missing], expected: bool = False) -> E | None:
    """Read one evidence file; add a note to `missing` if it is damaged, or absent though `expected`."""
    path = root / kind.FILE
    try:
        if path.is_file():
            if kind is ParityEvidence:
                signatures.check(path)
            return read(kind, path)
        if expected:
            missing.append(Missing(f"{kind.FILE} was not made yet", kind.COMMAND))
    except StageError as error:
        missing.append(Missing(str(error), kind.COMMAND))
    return None


def read_exports(root: Path) -> tuple[dict[str, Outcome], list[Missing]]:
    try:
        return read_outcomes(root), []
    except StageError as error:
        return {}, [Missing(str(error), "make export")]


def rows_of(evidence: Evidence[R] | None, known: Collection[Pair]) -> tuple[R, ...]:
    """Return the rows of `known` artifacts, of the reference, and of unreadable artifacts."""
    rows = evidence.results if evidence else ()
    return tuple(row for row in rows if not row.artifact or not row.target or row.pair in known)


def is_stale(row: Row, artifacts: Mapping[Pair, Artifact]) -> bool:
    """Return whether the row's artifact differs from the one on disk.

    Rows of the reference (no target) and of unreadable artifacts (no hash) are never stale.
    """
    artifact = artifacts.get(row.pair)
    return bool(row.target and row.artifact and (artifact is None or artifact.sha256 != row.artifact))


def asked(budget: Budget) -> list[Pair]:
    return [(target, recipe) for target in TARGETS for recipe in budget.recipes(target)]


def verdicts(
    budget: Budget,
    artifacts: Mapping[Pair, Artifact],
    parity: Sequence[ParityRow],
    exports: Mapping[str, Outcome],
) -> list[Verdict]:
    """Return one verdict per target x recipe that the budget lists, that is on disk, or that was judged."""
    current = [row for row in parity if not is_stale(row, artifacts)]
    stale = {row.pair for row in parity if is_stale(row, artifacts)}
    stood = {(s.target, s.recipe): s for s in standings(budget, current)}
    known = dict.fromkeys([*asked(budget), *sorted({*artifacts, *stood})])
    order = {target: index for index, target in enumerate(TARGETS)}
    result = []
    for target, recipe in sorted(known, key=lambda pair: order.get(pair[0], len(order))):
        ship = recipe in budget.ship.get(target, ())
        standing = stood.get((target, recipe))
        state: State
        if standing:
            state, reason = standing.state, standing.reason
        elif (target, recipe) in artifacts:
            again = (target, recipe) in stale
            state = "stale" if again else "unjudged"
            reason = f"{'exported again since it was judged' if again else 'never judged'}; run: make parity"
        else:
            state, reason = "missing", absent(exports.get(f"{target}/{recipe}"))
        result.append(Verdict(target, recipe, ship, state, reason))
    return result


def absent(outcome: Outcome | None) -> str:
    """Return why there is no artifact."""
    if outcome and outcome.state in ("failed", "unavailable", "not supported"):
        return ": ".join(filter(None, (outcome.state, outcome.stage, outcome.reason)))
    return "not exported; run: make export"
