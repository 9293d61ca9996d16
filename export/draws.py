"""Draw inputs over each tensor's range, to find the ranges of a net's tensors.

Real inputs may be all zero, all at either end, a gradient, few large elements, small noise, half zero and half noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydramobile.spec import ModelSpec, TensorSpec

Array = NDArray[Any]
Draw = Callable[[np.random.Generator, tuple[int, ...], float, float], Array]
SEED = 11
SPARSE, DIM = 0.95, 1e-3
# The end of the range of an input without one: four standard deviations.
LARGE = 4.0


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


def drawn_inputs(spec: ModelSpec, example: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Return one set of the model's inputs per draw; `example` has their shapes and dtypes.

    Integers without a declared range keep the example's elements.
    """
    rng = np.random.default_rng(SEED)
    return {
        name: {key: drawn_input(spec.tensors[key], example[key], name, rng) for key in spec.inputs()} for name in DRAWS
    }


def drawn_input(tensor: TensorSpec, example: Array, name: str, rng: np.random.Generator) -> Array:
    """Return one input drawn as `name`, in the dtype of `example`."""
    if example.dtype == np.bool_:
        constant = np.full_like(example, name == "high")
        return constant if name in ("zeros", "low", "high") else rng.random(example.shape) < 0.5
    floating = example.dtype.kind == "f"
    ends = tensor.range or ((0.0, 1.0) if tensor.kind == "rgb-photo" else (-LARGE, LARGE) if floating else None)
    if ends is None:
        return example
    values = DRAWS[name](rng, example.shape, float(ends[0]), float(ends[1]))
    return (values if floating else np.rint(values)).astype(example.dtype)
