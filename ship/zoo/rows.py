"""The rows of a zoo's table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ship.zoo.request import Net, Zoo

PASS = "pass"
# The verdict of a net whose library is missing.
ABSENT = "not installed"


@dataclass(frozen=True, slots=True)
class ZooRow:
    """One file of one net. `reason` says why it does not pass; `figures` holds the worst value per metric."""

    net: str
    source: str
    target: str
    recipe: str
    verdict: str
    figures: dict[str, float] = field(default_factory=dict)
    megabytes: float = 0.0
    seconds: float = 0.0
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def zoo_row(net: Net, row: dict[str, Any]) -> ZooRow:
    passed = row["verdict"] == PASS
    reason = "" if passed else ": ".join(filter(None, (row["stage"], row["limit"])))
    recipes = ", ".join(row["recipes"])
    return ZooRow(
        *(net.name, net.source, row["target"], recipes, row["verdict"]),
        figures=row["figures"],
        megabytes=row["megabytes"],
        seconds=row["seconds"],
        reason=reason,
    )


def failure(net: Net, zoo: Zoo, reason: str, verdict: str = "failed") -> ZooRow:
    """Return the row of a net that has no file at all."""
    return ZooRow(net.name, net.source, ", ".join(zoo.targets), ", ".join(zoo.recipes), verdict, reason=reason)
