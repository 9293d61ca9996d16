"""Find the tensors that half precision cannot hold: too large, or so small that a divisor or a logarithm loses them.

float16 has elements up to 65,504, normal ones from 6.1e-5, and none but zero below 3e-8. A graph is run on the probe
inputs (probes.py), and a tensor is *wide* where

- a finite element of it is larger than 65,504: a residual stream, a mask of finfo.min, a sum of squares;
- all elements of it are below the normal range, on every probe;
- an operator divides by it or takes its logarithm, and it has elements below the normal range, or may have them because
  a constant that vanishes in half (an epsilon of 1e-12) was added; so are the small tensors that it is computed from.

Every operator that reads or writes a wide tensor computes in float32, and so does an operator with a constant that half
does not hold, and a normalization that would square elements above 255. The rule reads `Step`s; each target that
computes in half derives them from its own graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.passes.user_code import node_line

if TYPE_CHECKING:
    from torch.export import ExportedProgram

Array = NDArray[Any]
LARGEST = 65504.0
NORMAL = 2.0**-14
# Half of the smallest element: smaller elements become zero.
VANISHING = 2.0**-25
# Loss of a constant that counts as held (export/verify/expected.py, HALF_DB).
HELD_DB = 40.0
NUMBER_DB = 20.0
MOST_NAMED = 4


@dataclass(slots=True)
class Extremes:
    """The magnitudes of a tensor over all probes, of finite elements that are not zero.

    `largest` and `smallest` are over all elements; `least_peak` is the largest element of the probe where that is
    smallest.
    """

    largest: float = 0.0
    smallest: float = float("inf")
    least_peak: float = float("inf")

    def add(self, value: Array) -> None:
        """Add one probe's elements."""
        magnitudes = np.abs(value, dtype=np.float32)
        if not np.isfinite(magnitudes.max(initial=0.0)):
            magnitudes = magnitudes[np.isfinite(magnitudes)]
        # The bits of positive floats have the order of the floats. Less 1, those of zero are the largest of all: this
        # takes an eighth of the time of a mask.
        bits = np.ascontiguousarray(magnitudes).view(np.uint32)
        high = float(magnitudes.max(initial=0.0))
        if high > 0:
            self.largest, self.least_peak = max(self.largest, high), min(self.least_peak, high)
            low = (bits - np.uint32(1)).min() + np.uint32(1)
            self.smallest = min(self.smallest, float(low.view(np.float32)))


@dataclass(frozen=True, slots=True)
class Step:
    """An operator, as the rule reads it.

    `inputs` are the float tensors that it reads and an operator or the caller provides; `constants` the elements of its
    float constants. `divisors` are the inputs whose small elements count: a divisor, the operand of a logarithm.
    `squares`: it normalizes its first input. `moves`: it moves, adds or bounds elements or takes roots, so small ones
    may stay small.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: tuple[Array, ...] = ()
    divisors: tuple[str, ...] = ()
    squares: bool = False
    moves: bool = False


@dataclass(frozen=True, slots=True)
class Wide:
    """The steps of a graph that compute in float32, and why: tensor or step name -> reason with its number."""

    steps: frozenset[str] = frozenset()
    tensors: frozenset[str] = frozenset()
    reasons: Mapping[str, str] = field(default_factory=dict)


def holds(value: Array) -> bool:
    """Return whether float16 holds the array: none of its elements becomes infinite, and rounding loses little.

    A single number may lose a tenth (an epsilon of 1e-6), an array HELD_DB.
    """
    truth = value[np.isfinite(value)].astype(np.float64)
    if not truth.size or not truth.any():
        return True
    with np.errstate(over="ignore"):
        rounded = truth.astype(np.float16).astype(np.float64)
    if not np.isfinite(rounded).all():
        return False
    noise = float(np.sum((rounded - truth) ** 2))
    return noise <= float(np.sum(truth**2)) * 10 ** (-(NUMBER_DB if truth.size == 1 else HELD_DB) / 10)


def find_wide(steps: Sequence[Step], extremes: Mapping[str, Extremes]) -> Wide:
    """Apply the rule to a graph, in its order of execution."""
    reasons: dict[str, str] = {}
    for name, item in extremes.items():
        if item.largest > LARGEST:
            reasons[name] = f"elements up to {item.largest:.3g}"
        elif 0 < item.largest < NORMAL:
            reasons[name] = f"no element above {item.largest:.3g}"
    for name, smallest in small_divisors(steps, extremes).items():
        reasons.setdefault(name, f"elements of {smallest:.1g} in a divisor or a logarithm")
    tensors = frozenset(reasons)
    kept = {step.name for step in steps if tensors.intersection((*step.inputs, *step.outputs))}
    for step in steps:
        largest = max((extremes[name].largest for name in step.inputs[:1] if name in extremes), default=0.0)
        if step.squares and largest**2 > LARGEST:
            kept.add(step.name)
            reasons.setdefault(step.name, f"squares of elements up to {largest:.3g}")
        unheld = [value for value in step.constants if not holds(value) and not (step.moves and vanishes(value))]
        if unheld:
            kept.add(step.name)
            reasons.setdefault(step.name, f"constants of {peak(unheld):.3g}")
    return Wide(frozenset(kept), tensors, reasons)


def small_divisors(steps: Sequence[Step], extremes: Mapping[str, Extremes]) -> dict[str, float]:
    """Return the divisors with elements below half's normal range, and the small tensors that they are computed from.

    The way back from a divisor goes on through steps that move elements, and through others where all elements were
    small on some probe.
    """
    small = small_tensors(steps, extremes)
    producers = {name: step for step in steps for name in step.outputs}
    waiting = [name for step in steps for name in step.divisors if name in small]
    results: dict[str, float] = {}
    while waiting:
        name = waiting.pop()
        step = producers.get(name)
        if name in results:
            continue
        results[name] = small[name]
        for source in step.inputs if step else ():
            all_small = source in extremes and extremes[source].least_peak < NORMAL
            if source in small and (all_small or (step is not None and step.moves)):
                waiting.append(source)
    return results


def small_tensors(steps: Sequence[Step], extremes: Mapping[str, Extremes]) -> dict[str, float]:
    """Return the tensors with elements below half's normal range, seen or possible, and the smallest element."""
    small = {name: item.smallest for name, item in extremes.items() if item.smallest < NORMAL}
    for step in steps:
        if not step.moves:
            continue
        numbers = [peak([value]) for value in step.constants if value.size == 1 and vanishes(value)]
        passed = [*numbers, *(small[name] for name in step.inputs if name in small)]
        for name in step.outputs if passed else ():
            small[name] = min(small.get(name, np.inf), *passed)
    return small


def vanishes(value: Array) -> bool:
    """Return whether the array's elements are zero in half, but not all of them zero."""
    return 0 < peak([value]) < VANISHING


def peak(values: Iterable[Array]) -> float:
    """Return the largest finite magnitude of several arrays."""
    return max((float(np.abs(value[np.isfinite(value)]).max(initial=0.0)) for value in values), default=0.0)


def user_lines(program: ExportedProgram) -> dict[str, str]:
    """Return the line of the user's code that computes each node, by node name."""
    lines = {node.name: node_line(node) for node in program.graph_module.graph.nodes}
    return {name: line for name, line in lines.items() if line}


def wide_notes(wide: Wide, lines: Mapping[str, str]) -> tuple[str, ...]:
    """Return the note for artifact.json on the operators that compute in float32, with reasons; () without any."""
    if not wide.steps:
        return ()
    named = []
    for name, reason in list(wide.reasons.items())[:MOST_NAMED]:
        at = lines.get(name, "")
        named.append(f"{name}: {reason}" + (f", {at}" if at else ""))
    more = f" and {len(wide.reasons) - MOST_NAMED} more" if len(wide.reasons) > MOST_NAMED else ""
    return (f"{len(wide.steps)} operators stay float32, half precision cannot hold {'; '.join(named)}{more}",)
