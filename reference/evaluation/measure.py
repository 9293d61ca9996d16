"""Measure one photo against its truth: the network, and baselines for comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from hydramobile.labels import LEAST_PERSON, field_size, judged_pixels, stretched
from hydramobile.measures import PERSON, background_errors, depth_truth, matte_truth, order_errors, point_order, ramp
from hydramobile.preprocess import nearest_size, to_tensor
from hydramobile.spec import ModelSpec
from reference.infer import enlarge, run

Floats = NDArray[np.float32]

# A face of fewer pixels than this on the judging field has no measurable relief.
_LEAST_FACE = 24.0


@dataclass(frozen=True, slots=True)
class Case:
    """A photo and its truth, at any size. `scene`: the truth is exact outside the person too.

    faces: [F, P, 4], x and y as shares of width and height, disparity, visible; F is 0 for an unlabelled photo.
    """

    name: str
    photo: Image.Image
    disparity: Floats
    alpha: Floats
    scene: bool
    faces: Floats
    about: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Judged:
    """The net's outputs for a case, on the judging field, and the figures (None: nothing to judge)."""

    case: Case
    depth: Floats
    alpha: Floats
    truth: Floats
    matte: Floats
    figures: dict[str, float | None]
    baselines: dict[str, dict[str, float]]
    points: tuple[int, int]


def judge(modules: dict[str, nn.Module], spec: ModelSpec, case: Case) -> Judged:
    """Run the network on the whole photo, as apps do, and measure depth and matte on the judging field."""
    size = nearest_size(case.photo, spec.sizes)
    outputs = run(modules, spec, to_tensor(case.photo, size))
    field = field_size(*case.photo.size)
    depth, alpha = (enlarge(outputs[name][0, 0], field) for name in ("depth", "alpha"))
    truth, matte = stretched(case.disparity, field), stretched(case.alpha, field)
    person = judged_pixels(truth, matte)
    figures: dict[str, float | None] = dict(matte_truth(alpha, matte))
    baselines: dict[str, dict[str, float]] = {}
    if int(person.sum()) >= LEAST_PERSON:
        figures |= depth_truth(depth, truth, person)
        figures["background"] = background_errors(depth, truth, matte) if case.scene else None
        figures["scene_whdr"] = _scene(depth, truth, matte) if case.scene else None
        baselines = {
            "constant": depth_truth(np.zeros_like(depth), truth, person),
            "ramp": depth_truth(ramp(truth, person), truth, person),
            "alpha as depth": depth_truth(alpha, truth, person),
        }
    points = face_points(depth, case.faces)
    figures["relief"] = points[0] / points[1] if points[1] else None
    return Judged(case, depth, alpha, truth, matte, figures, baselines, points)


def _scene(depth: Floats, truth: Floats, matte: Floats) -> float:
    """Return the share of wrongly ordered pairs (gap 2 % of the range) among pixels with alpha under .1 or over .9."""
    sure = (matte > PERSON) | (matte < 1 - PERSON)
    return order_errors(depth.astype(np.float64)[sure], truth.astype(np.float64)[sure], 0.02)


def face_points(depth: Floats, faces: Floats) -> tuple[int, int]:
    """Return (right, all) pairs of visible face points whose order is known: nose before cheeks before ears."""
    height, width = depth.shape
    right = total = 0
    for face in faces:
        x, y = face[:, 0] * width - 0.5, face[:, 1] * height - 0.5
        seen = (face[:, 3] > 0.5) & (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        if seen.sum() < 4 or max(np.ptp(x[seen]), np.ptp(y[seen])) < _LEAST_FACE:
            continue
        predicted = depth[np.round(y[seen]).astype(int), np.round(x[seen]).astype(int)].astype(np.float64)
        good, all_ = point_order(predicted, face[seen, 2].astype(np.float64))
        right, total = right + good, total + all_
    return right, total
