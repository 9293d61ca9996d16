"""Probe inputs: what a net is run on to find the largest and the smallest elements of its tensors.

They are the example, the calibration samples, and inputs drawn over each tensor's range, of which real inputs may be:
all zero, all at either end, a gradient, few large elements, small noise, half zero and half noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program, run_modules
from hydramobile.errors import StageError
from hydramobile.samples import load_samples, sample_inputs

Array = NDArray[Any]
Draw = Callable[[np.random.Generator, tuple[int, ...], float, float], Array]
SEED = 11
SPARSE, DIM = 0.95, 1e-3


def nearest_zero(low: float, high: float) -> float:
    return min(max(0.0, low), high)


def half_noise(rng: np.random.Generator, shape: tuple[int, ...], low: float, high: float) -> Array:
    """Return noise whose first half is zero."""
    values = rng.uniform(low, high, shape)
    values.reshape(-1)[: values.size // 2] = nearest_zero(low, high)
    return values


DRAWS: dict[str, Draw] = {
    "zeros": lambda rng, shape, low, high: np.full(shape, nearest_zero(low, high)),
    "low": lambda rng, shape, low, high: np.full(shape, low),
    "high": lambda rng, shape, low, high: np.full(shape, high),
    "gradient": lambda rng, shape, low, high: np.linspace(low, high, int(np.prod(shape))).reshape(shape),
    "sparse": lambda rng, shape, low, high: np.where(rng.random(shape) > SPARSE, high, nearest_zero(low, high)),
    "dim": lambda rng, shape, low, high: np.clip(rng.uniform(low, high, shape) * DIM, low, high),
    "half": half_noise,
}


def drawn_inputs(program: Program) -> list[dict[str, Array]]:
    """Return one set of the model's inputs per draw. Integers without a declared range keep the example's elements."""
    rng, sets = np.random.default_rng(SEED), []
    for name, draw in DRAWS.items():
        sets.append({key: drawn_input(program, key, name, draw, rng) for key in program.spec.inputs()})
    return sets


def drawn_input(program: Program, key: str, name: str, draw: Draw, rng: np.random.Generator) -> Array:
    """Return the input `key` drawn as `name`, in its own dtype."""
    value, tensor = program.tensors[key].numpy(), program.spec.tensors[key]
    if value.dtype == np.bool_:
        return np.full_like(value, name != "zeros") if name in ("zeros", "high") else rng.random(value.shape) < 0.5
    floating = value.dtype.kind == "f"
    limits = tensor.range or (((0.0, 1.0) if tensor.kind == "rgb-photo" else (-1.0, 1.0)) if floating else None)
    if limits is None:
        return value
    values = draw(rng, value.shape, float(limits[0]), float(limits[1]))
    return (values if floating else np.rint(values)).astype(value.dtype)


def drawn_tensors(program: Program) -> list[dict[str, Any]]:
    """Return every tensor of the model, by name, for each drawn input that the modules take."""
    results = []
    for inputs in drawn_inputs(program):
        try:
            results.append(run_modules(program.spec, program.modules, inputs))
        except StageError:
            continue  # the net refuses the input, so no app can feed it
    return results


def probe_tensors(program: Program) -> list[dict[str, Any]]:
    """Return every tensor of the model, by name: for the example, the calibration samples and the drawn inputs."""
    samples = [dict(program.tensors), *map(dict, program.calibration)]
    if not program.calibration:
        samples += [
            run_modules(program.spec, program.modules, sample_inputs(program.spec, sample, program.size))
            for sample in load_samples(program.spec, "calibrate")
        ]
    return samples + drawn_tensors(program)
