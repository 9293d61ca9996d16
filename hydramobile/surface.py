"""Compare fields of surface normals: those of a file with the reference's, and those with truth. Angles in degrees."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]
# A normal that turned by more degrees than this has changed.
TURNED = 5.0


def judge_normals(candidate: Array, reference: Array, person: NDArray[np.bool_] | None) -> dict[str, float]:
    """Return the mean and the 95th percentile of the angle between two fields of normals, in degrees, in the person.

    turned_5 is the share of pixels whose normal turned by more than 5 degrees. Both are [1, 3, H, W]; `person` is
    [1, 1, H, W]. Where it is empty or None, all pixels count.
    """
    angles = angles_between(candidate[0], reference[0])
    inside = angles[person[0, 0]] if person is not None and person.any() else angles.ravel()
    return {
        "angle_mean": float(inside.mean()),
        "angle_p95": float(np.quantile(inside, 0.95)),
        "turned_5": float((inside > TURNED).mean()),
    }


def angles_between(first: Array, second: Array) -> Floats:
    """Return the angles [H, W] between vectors [3, H, W], in degrees. A vector of length 0 is at 90 degrees to all."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    # atan2 keeps small angles exact, which the arc cosine of nearly 1 does not.
    across = np.linalg.norm(np.cross(a, b, axis=0), axis=0)
    angles = np.degrees(np.arctan2(across, (a * b).sum(axis=0)))
    return np.asarray(np.where(lengths > 0, angles, 90.0))


def normal_figures(angles: Floats) -> dict[str, float]:
    """Return the figures of normals against truth, from angles in degrees: mean, median, and shares within a limit.

    Sources: Eigen and Fergus 2015, Fouhey et al. 2013.
    """
    shares = {f"within_{limit:g}": float((angles <= limit).mean()) for limit in (11.25, 22.5, 30.0)}
    return {"angle_mean": float(angles.mean()), "angle_median": float(np.median(angles)), **shares}
