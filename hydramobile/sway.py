"""How far the reference itself moves when numbers are rounded: the error that is not a file's own.

A sort of nearly equal scores, a threshold, the sine of a long sum: such a net turns the rounding of a sum into another
result. No file repeats it, and a file that differs by as much as the reference differs from itself is not wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hydramobile.errors import StageError
from hydramobile.reference_run import run_modules
from hydramobile.spec import ModelSpec

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
# The perturbation of float32 inputs, as a share of the largest input: about eight roundings.
NUDGE = 1e-6
# The least signal-to-noise ratio of a parameter that counts as held by float16.
HELD_DB = 40.0


@dataclass(frozen=True, slots=True)
class Movements:
    """|y' - y| of each final output as float16: for nudged inputs, and for weights and inputs in float16."""

    sway: Mapping[str, Array]
    half: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Reference:
    """The modules of a model, and copies of them with weights in float16 (see `in_half`)."""

    spec: ModelSpec
    modules: Mapping[str, torch.nn.Module]
    halves: Mapping[str, torch.nn.Module]


def reference_of(spec: ModelSpec, modules: Mapping[str, torch.nn.Module]) -> Reference:
    """Return the modules with their copies, made once for all inputs."""
    return Reference(spec, modules, in_half(modules) or modules)


def movements_of(reference: Reference, inputs: Mapping[str, Array], tensors: Mapping[str, Array]) -> Movements:
    """Run the reference twice more and return how far its final outputs move. `tensors` are its own outputs."""
    rng = np.random.default_rng(11)
    nudged = {
        name: value + (NUDGE * largest(value) * rng.uniform(-1, 1, value.shape)).astype(value.dtype)
        if value.dtype.kind == "f"
        else value
        for name, value in inputs.items()
    }
    halved = {name: half_of(value) for name, value in inputs.items()}
    return Movements(
        moved(reference.spec, reference.modules, nudged, tensors),
        moved(reference.spec, reference.halves, halved, tensors),
    )


def half_of(value: Array) -> Array:
    """Return an input rounded to float16; integers, and elements beyond its range, stay."""
    if value.dtype.kind != "f":
        return value
    with np.errstate(over="ignore"):
        rounded = value.astype(np.float16).astype(value.dtype)
    return np.where(np.isfinite(rounded), rounded, value)


def largest(value: Array) -> float:
    """Return max |x|, or 1 for an input of zeros."""
    return float(np.abs(value).max(initial=0.0)) or 1.0


def in_half(modules: Mapping[str, torch.nn.Module]) -> dict[str, torch.nn.Module] | None:
    """Return copies of the modules whose float parameters are rounded to float16; None where they cannot be copied.

    A parameter that float16 cannot hold to HELD_DB stays float32, as the exporter keeps it: its loss is no excuse for a
    file.
    """
    import torch

    try:
        copies = {name: copy.deepcopy(module) for name, module in modules.items()}
    except Exception:  # noqa: BLE001  foreign modules may hold anything; without a copy the inputs alone are rounded
        return None
    with torch.no_grad():
        for module in copies.values():
            for parameter in module.parameters():
                rounded = parameter.half().to(parameter.dtype) if parameter.is_floating_point() else parameter
                noise = float((rounded - parameter).double().square().sum())
                if noise <= float(parameter.double().square().sum()) * 10 ** (-HELD_DB / 10):
                    parameter.copy_(rounded)
    return copies


def moved(
    spec: ModelSpec,
    modules: Mapping[str, torch.nn.Module],
    inputs: Mapping[str, Array],
    tensors: Mapping[str, Array],
) -> dict[str, Array]:
    """Return |y' - y| of the final outputs; empty where the reference fails on the inputs."""
    try:
        outputs = run_modules(spec, modules, inputs)
    except StageError:
        return {}
    edges = spec.edges()
    result: dict[str, Array] = {}
    for name, value in tensors.items():
        if name in edges:
            continue
        other = outputs[name].numpy().astype(np.float64)
        if other.shape == value.shape:
            difference = np.abs(other - value.astype(np.float64))
            # An element that is infinite on both sides has not moved; one that becomes NaN moved as far as can be.
            difference = np.where(other == value, 0.0, np.nan_to_num(difference, nan=65504.0))
            result[name] = np.minimum(difference, 65504.0).astype(np.float16)
    return result
