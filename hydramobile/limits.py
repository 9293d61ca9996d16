"""How much of its limit a measured value uses."""

from __future__ import annotations

from hydramobile.measures import higher


def share_of_limit(metric: str, value: float, limit: float) -> float:
    """Return the share of `limit` that `value` uses: 1 is at the limit, and above 1 is beyond it.

    A share such as IoU uses its loss: (1 - value) of the allowed (1 - limit). A limit of 1 allows no loss. Decibels use
    limit / value. A loss below 0 is a gain, and uses nothing.
    """
    if higher(metric):
        if metric == "snr_db":
            return limit / value if value > 0 else float("inf")
        return (1.0 - value) / (1.0 - limit) if limit < 1.0 else 2.0 * float(value < limit)
    return max(value, 0.0) / limit if limit else float(value > 0)
