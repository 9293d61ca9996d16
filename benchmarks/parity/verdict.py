"""The verdict of a comparison: pass or mismatch, and the number that decided it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import Literal

from hydramobile.limits import share_of_limit
from hydramobile.measures import Measure, higher


def judge(measures: Sequence[Measure]) -> tuple[Literal["pass", "mismatch"], str]:
    """Return the verdict and its reason.

    The reason of a mismatch names the first broken limit, the worst sample and the limit that would have passed. A
    comparison without a single limit proves nothing and is a mismatch.
    """
    limited = [(measure, measure.limit) for measure in measures if measure.limit is not None]
    if not limited:
        return "mismatch", "nothing was compared against a limit"
    broken = [(measure, limit) for measure, limit in limited if not measure.passed]
    if not broken:
        return "pass", ""
    first, allowed = broken[0]
    limit = f"{allowed:g}"
    digits = digits_apart(first.value, float(limit))
    # Rounded towards the side on which the value passes.
    side = ROUND_FLOOR if higher(first.metric) else ROUND_CEILING
    enough = float(Context(prec=digits, rounding=side).create_decimal(repr(float(first.value))))
    return "mismatch", (
        f"{first.output} {first.metric} {first.value:.{digits}g} against a limit of {limit} on {first.worst} "
        f"({enough:.{digits}g} would have passed)"
    )


def digits_apart(value: float, limit: float) -> int:
    """Return how many digits of `value` to show: three, or more until the rounded value differs from `limit`."""
    return next((digits for digits in range(3, 17) if float(f"{value:.{digits}g}") != limit), 17)


def tightest(measures: Iterable[Measure]) -> Measure | None:
    """Return the measure that uses the greatest share of its limit; None if no measure has a limit."""
    return max((measure for measure in measures if measure.limit is not None), key=used, default=None)


def used(measure: Measure) -> float:
    """Return the share of the limit that the value uses; 0 for a measure without a limit."""
    return 0.0 if measure.limit is None else share_of_limit(measure.metric, measure.value, measure.limit)
