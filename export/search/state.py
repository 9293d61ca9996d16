"""The state of a search: its request, its measurements, and every choice that it has verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from export.search.builds import Build
from export.search.decoder import Decoder
from export.search.losses import Bench
from export.search.solve import Choice, Option, total
from export.search.store import Store
from export.search.trial import Trial
from hydramobile.spec import ModelSpec

Pair = tuple[str, Build]


@dataclass(frozen=True, slots=True)
class Request:
    """The request for a search: the builds of a model on each target, into `out`/<model>.

    `photos` is a folder that calibrates beside the model's own samples.
    """

    spec: ModelSpec
    out: Path
    targets: tuple[str, ...]
    builds: Sequence[Build]
    photos: Path | None = None

    @property
    def folder(self) -> Path:
        """Return the folder of the search's own files."""
        return search_folder(self.spec, self.out)

    def pairs(self) -> list[Pair]:
        """Return every target with every build, build by build."""
        return [(target, build) for build in self.builds for target in self.targets]


@dataclass(slots=True)
class State:
    """A running search. `tables` holds the options of each layer by target, and shrinks as exports refuse options.

    `overhead` is the bytes of a target's shipped files beside its layers. `trials` are the choices verified so far.
    """

    request: Request
    bench: Bench
    decoder: Decoder
    store: Store
    tables: dict[str, dict[str, list[Option]]]
    overhead: dict[str, float] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)

    def size(self, target: str, choice: Choice) -> float:
        """Return the bytes of a target's files for a choice."""
        return total(choice) + self.overhead[target]


def search_folder(spec: ModelSpec, out: Path) -> Path:
    """Return the folder of a search's own files: search.json, pareto.png and measurements."""
    return out / spec.name / "search"
