"""What a comparison came to: Pass, Mismatch, Failed or Unavailable. A verdict never loses its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import Any

from hydramobile.measures import Measure, higher

KINDS = ("pass", "mismatch", "failed", "unavailable")


@dataclass(frozen=True, slots=True)
class Result:
    """One artifact x entry x mode x runtime.

    `mode`: "direct" (photo in), "boundary" (a module on reference features), "chain" (a module on features that
    the exported modules before it made), "labels" (photo in, judged by truth), "against" (photo in, held to the model
    that the artifact stands in for), "dtypes" (storage types read from the file), "size". `artifact` is the sha256 of
    the sealed artifact the numbers belong to; a report shows a result with another hash as stale.
    """

    target: str
    recipe: str
    artifact: str
    runtime: str
    evidence: str
    entry: str = ""
    mode: str = ""
    verdict: str = "pass"
    stage: str = ""
    reason: str = ""
    samples: int = 0
    measures: tuple[Measure, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        row = asdict(self)
        row["measures"] = [{**asdict(measure), "passed": measure.passed} for measure in self.measures]
        return row


def judge(measures: Sequence[Measure]) -> tuple[str, str]:
    """("pass" | "mismatch", reason). The reason of a mismatch names the first broken limit, the worst sample and
    the limit that would have passed. A comparison without a single limit proves nothing and is a mismatch."""
    limited = [measure for measure in measures if measure.limit is not None]
    if not limited:
        return "mismatch", "nothing was compared against a limit"
    broken = [measure for measure in limited if not measure.passed]
    if not broken:
        return "pass", ""
    first = broken[0]
    limit = f"{first.limit:g}"
    digits = digits_apart(first.value, float(limit))
    # Rounded to the side on which it would indeed have passed.
    side = ROUND_FLOOR if higher(first.metric) else ROUND_CEILING
    enough = float(Context(prec=digits, rounding=side).create_decimal(repr(float(first.value))))
    return "mismatch", (
        f"{first.output} {first.metric} {first.value:.{digits}g} against a limit of {limit} on {first.worst} "
        f"({enough:.{digits}g} would have passed)"
    )


def digits_apart(value: float, limit: float) -> int:
    """How many digits of `value` to show: three, or as many as it takes to read as another number than `limit`."""
    return next((digits for digits in range(3, 17) if float(f"{value:.{digits}g}") != limit), 17)


def tightest(measures: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Of measures as JSON, the one that used up the most of its limit; None where none has a limit."""
    return max((measure for measure in measures if measure["limit"] is not None), key=used, default=None)


def used(measure: Mapping[str, Any]) -> float:
    """Share of the limit that is used up: 1 is at the limit, whichever way the metric points."""
    value, limit = float(measure["value"]), float(measure["limit"])
    if higher(str(measure["metric"])):
        if measure["metric"] == "snr_db":
            return limit / value if value > 0 else float("inf")
        # A share: what is lost of it against what may be lost. A limit of 1 allows no loss at all.
        return (1.0 - value) / (1.0 - limit) if limit < 1.0 else 2.0 * float(value < limit)
    # A loss below 0 is a gain, and uses nothing up.
    return max(value, 0.0) / limit if limit else float(value > 0)
