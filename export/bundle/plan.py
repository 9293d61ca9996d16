"""Describe the package of one artifact: its methods, what each reads and returns, and in which order they run.

A package runs modules, never a fused entry: the features of one run serve all heads, and no weight is loaded twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from export.bundle.names import camel, pascal
from hydramobile.artifact import Artifact, Entry, Port, primary
from hydramobile.errors import StageError
from hydramobile.files import read_json
from hydramobile.verdicts import Rows

STAGE = "bundle"
# A module's name as the verb of its method, where the name is a noun.
VERBS = {"encoder": "encode", "decoder": "decode", "classifier": "classify", "detector": "detect"}
PHOTO = "rgb-photo"


@dataclass(frozen=True, slots=True)
class Source:
    """Where an input of a step comes from: the result of the step `step`, or the caller ("")."""

    port: Port
    step: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One module, which is one method of the package.

    `sources` has one item per input, in the file's order. `features` names the outputs that other steps read, `results`
    the outputs of the net. An output may be both.
    """

    name: str
    verb: str
    entry: Entry
    sources: tuple[Source, ...]
    features: tuple[str, ...]
    results: tuple[str, ...]

    @property
    def asked(self) -> tuple[Port, ...]:
        """Return the inputs that the caller gives."""
        return tuple(source.port for source in self.sources if not source.step)

    @property
    def photos(self) -> tuple[Port, ...]:
        """Return the inputs that are photos, which the package preprocesses."""
        return tuple(port for port in self.asked if port.kind == PHOTO)

    @property
    def reads(self) -> tuple[str, ...]:
        """Return the steps whose features this one reads, each once."""
        return tuple(dict.fromkeys(source.step for source in self.sources if source.step))


@dataclass(frozen=True, slots=True)
class Whole:
    """One fused entry as a method that calls the steps `steps` in order and returns the outputs `outputs`."""

    name: str
    verb: str
    steps: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The package of the artifact in `folder`.

    `rows` are its rows of parity.json. `unproven` says why they do not prove it, "" where they do.
    """

    folder: Path
    artifact: Artifact
    steps: tuple[Step, ...]
    wholes: tuple[Whole, ...]
    rows: Rows
    unproven: str

    @cached_property
    def package(self) -> str:
        """Return the package's name in Pascal case: a net of several modules is a hydra."""
        suffix = "Hydra" if len(self.steps) > 1 else "Net"
        name = pascal(self.artifact.model)
        name = name if name and not name[0].isdigit() else f"Model{name}"
        return name if name.endswith(suffix) else name + suffix

    @cached_property
    def golden(self) -> dict[str, Any]:
        """Return golden.json: `entries`, by entry id, with the files of inputs and outputs below golden/."""
        content: dict[str, Any] = read_json(self.folder / self.artifact.golden["folder"] / "golden.json", STAGE)
        return content

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)


def make_plan(folder: Path, artifact: Artifact, rows: Rows, unproven: str) -> Plan:
    """Return the plan of an artifact. Raises StageError("bundle") where its modules do not fit together."""
    entries = [entry for entry in primary(artifact) if len(entry.modules) == 1]
    fused = [entry for entry in primary(artifact) if len(entry.modules) > 1]
    passed_on = {edge.tensor: edge.source for edge in artifact.edges}
    steps = order_steps([make_step(entry, entries, fused, passed_on) for entry in entries])
    return Plan(folder, artifact, steps, make_wholes(fused, steps), rows, unproven)


def make_step(entry: Entry, entries: Sequence[Entry], fused: Sequence[Entry], passed_on: dict[str, str]) -> Step:
    """Return the step of one module's entry."""
    (module,) = entry.modules
    returned = {port.name for whole in fused for port in whole.outputs}
    features = tuple(port.name for port in entry.outputs if passed_on.get(port.name) == module)
    results = tuple(port.name for port in entry.outputs if port.name not in features or port.name in returned)
    sources = []
    for port in entry.inputs:
        source = passed_on.get(port.name, "")
        if source:
            check_passed(entry, port, next(other for other in entries if other.modules == (source,)))
        sources.append(Source(port, next((other.name for other in entries if other.modules == (source,)), "")))
    alone = len(entries) == 1
    return Step(entry.name, "run" if alone else verb_of(entry.name), entry, tuple(sources), features, results)


def check_passed(reader: Entry, port: Port, writer: Entry) -> None:
    """Raise StageError("bundle") where a tensor is written in another form than it is read."""
    written = next(other for other in writer.outputs if other.name == port.name)
    for key in ("shape", "layout", "dtype", "scale", "zero_point"):
        if getattr(written, key) != getattr(port, key):
            raise StageError(
                STAGE,
                f"{port.name!r} leaves {writer.name!r} with {key} {getattr(written, key)} and enters {reader.name!r} "
                f"with {getattr(port, key)}: a package passes tensors on as they are",
            )


def verb_of(name: str) -> str:
    return VERBS.get(name, camel(name))


def order_steps(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps so that each stands behind the steps whose features it reads."""
    ordered: list[Step] = []
    left = list(steps)
    while left:
        names = {step.name for step in ordered}
        ready = [step for step in left if set(step.reads) <= names]
        if not ready:
            raise StageError(STAGE, f"modules {', '.join(step.name for step in left)} read each other's features")
        ordered += ready
        left = [step for step in left if step not in ready]
    return tuple(ordered)


def make_wholes(fused: Sequence[Entry], steps: Sequence[Step]) -> tuple[Whole, ...]:
    """Return the fused entries whose modules all have a step."""
    by_module = {step.entry.modules[0]: step.name for step in steps}
    return tuple(
        Whole(
            entry.name,
            camel(entry.name),
            tuple(step.name for step in steps if step.entry.modules[0] in entry.modules),
            tuple(port.name for port in entry.outputs),
        )
        for entry in fused
        if all(module in by_module for module in entry.modules)
    )
