"""The scale of an output: its movement between inputs, the precision of float32, and differences between channels.

An error is judged against how far the reference's output moves (`Scale.unit`). Three facts keep this verdict right:

- Float32 rounds. An output that moves by less than a thousand roundings cannot be judged to a thousandth of its
  movement: two sound programs add in different orders. `floor` is the error that such programs may show.
- The reference itself may move far when its input moves by a rounding (a sort of nearly equal scores, the sine of a
  long sum). An error of that size is not the file's (`Golden.sway`).
- One tensor may hold quantities of different scale, such as boxes in pixels beside scores. The largest one must not
  judge the others: such a tensor is judged channel by channel.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydramobile.errors import StageError

Array = NDArray[Any]
Floats = NDArray[np.float64]

# A sum of n products in float32 is off by a few units in the last place of its largest part, and the error grows with
# the depth of the summation: kernels add in blocks, and blocks of blocks (Higham 1993, pairwise summation). Sound nets
# measured 1 to 16 units of their largest output against float64 (the nets of the tests, the portrait, ten others).
ROUNDINGS, DEPTH = 4, 4
# The default limit of err_sens (hydramobile/budget.py): an error at the floor is at this limit, not beyond it.
LIMIT = 1e-3
# How often the movement of the reference under a perturbation of 1e-6 of its input's range is allowed to a file.
SWAYS = 4.0
# Channels whose RMS differ by more than this factor hold different quantities.
MIXED = 100.0
# A channel quieter than this share of the loudest is judged as if it had this share: beside pixels it is silent.
QUIET = 1e-4
# A channel needs this many elements to be judged by itself; the scores of a classifier are no channels.
ELEMENTS, CHANNELS = 8, 512


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of one output over all samples and drawn inputs.

    `spread` and `magnitude` are max |y(x1) - y(x2)| over neighbouring inputs and max |y|: one number per channel along
    `axis`, or a single number where `axis` is None.
    """

    spread: Floats
    magnitude: Floats
    axis: int | None = None

    def channels(self, value: Array) -> Floats:
        """Return [channels, elements] of a tensor, or [1, elements] where the tensor is judged as a whole."""
        floats = value.astype(np.float64)
        if self.axis is None:
            return floats.reshape(1, -1)
        return np.moveaxis(floats, self.axis, 0).reshape(floats.shape[self.axis], -1)

    def unit(self, sway: Array | None = None) -> Floats:
        """Return the movement that an error is divided by, per channel.

        `sway` is the movement of the reference on this input under a perturbation of a rounding. A channel that never
        moves has a unit of 1, or more: then the error itself is judged.
        """
        floor = floor_of(self.magnitude)
        if sway is not None:
            floor = floor + SWAYS * np.abs(self.channels(sway)).max(axis=1)
        unit = np.maximum(self.spread, floor / LIMIT)
        unit = np.maximum(unit, QUIET * self.spread.max())
        return np.where(self.spread > 0, unit, np.maximum(unit, 1.0))


def floor_of(magnitude: Floats) -> Floats:
    """Return the error that float32 arithmetic of a tensor's own size makes: ROUNDINGS x DEPTH x eps x max |y|."""
    return np.asarray(ROUNDINGS * DEPTH * float(np.finfo(np.float32).eps) * magnitude)


def scale_of(outputs: Sequence[Array], by_channel: bool = True) -> Scale:
    """Return the scale of an output from the reference's values of all inputs, which have one shape.

    Elements that are not finite do not count: they are compared by position.
    """
    finite = [np.where(np.isfinite(value), value, 0).astype(np.float64) for value in outputs]
    axis = mixed_axis(finite) if by_channel else None
    blank = Scale(np.zeros(1), np.zeros(1), axis)
    parts = [blank.channels(value) for value in finite]
    magnitude = np.max([np.abs(part).max(axis=1, initial=0.0) for part in parts], axis=0)
    moves = [np.abs(a - b).max(axis=1, initial=0.0) for a, b in itertools.pairwise(parts)]
    return Scale(np.max(moves, axis=0) if moves else np.zeros_like(magnitude), magnitude, axis)


def without_infinities(candidate: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Return both arrays with 0 at the positions where both are the same infinity, or both NaN.

    A net may return infinities, such as masked scores. Raises StageError("judge") where only one array has them.
    """
    odd = ~(np.isfinite(candidate) & np.isfinite(reference))
    if not odd.any():
        return candidate, reference
    alike = (candidate == reference) | (np.isnan(candidate) & np.isnan(reference))
    wrong = odd & ~alike
    if wrong.any():
        raise StageError("judge", f"{int(wrong.sum())} of {candidate.size} values are not finite")
    return np.where(odd, 0.0, candidate), np.where(odd, 0.0, reference)


def mixed_axis(outputs: Sequence[Floats]) -> int | None:
    """Return the axis whose channels differ in RMS by more than MIXED; None where there is no such axis.

    The axis of channels is 1 for maps of rank 4 (the columns of a picture are no channels), and 1 or the last one for
    tensors of rank 3, such as the rows of a detector. An axis with more channels than elements per channel is a
    sequence. Channels quieter than QUIET of the loudest count as silent.
    """
    widest, chosen = MIXED, None
    axes = {2: (1,), 3: (2, 1)}.get(outputs[0].ndim, (1,) if outputs[0].ndim > 3 else ())
    for axis in axes:
        count = outputs[0].shape[axis]
        if not 2 <= count <= CHANNELS or outputs[0].size // count < max(ELEMENTS, count):
            continue
        others = tuple(other for other in range(outputs[0].ndim) if other != axis)
        rms = np.sqrt(np.mean([(value**2).mean(axis=others) for value in outputs], axis=0))
        heard = rms[rms > QUIET * rms.max()]
        ratio = float(heard.max() / heard.min()) if heard.size else 1.0
        if ratio > widest:
            widest, chosen = ratio, axis
    return chosen
