"""Drawn inputs: seeded inputs beyond the samples, by which every file is judged besides.

A file can be right on photos or noise and wrong on zeros or at the ends of the range: a branch that the exporter fixed,
a sum that overflows half precision, an operator that treats zeros otherwise.

The exporter draws inputs of its own ("calibrate") to find the ranges of a net's tensors. Their noise differs; zeros,
ends and ramp are the same, so integer recipes are measured on drawn inputs and not judged by them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hydramobile.files import sha256_bytes
from hydramobile.preprocess import to_range
from hydramobile.spec import ModelSpec, TensorSpec

# kind -> content. All stay within the tensor's range; of a float tensor without a range, LARGE is the end.
KINDS = {
    "zeros": "zeros, or the end of the range nearest to 0",
    "high": "the upper end of the range",
    "low": "the lower end of the range",
    "gradient": "a ramp from the lower to the upper end over all elements",
    "large": "one of the two ends per element, at random",
    "sparse": "one element in twenty at an end, the others as zeros",
    "dim": "noise around zero: of a thousandth of the range, or of four steps of a photo or of integers",
    "noise": "white noise over the range",
}
# Inputs without a range are usually normalised: four standard deviations.
LARGE = 4.0
SPARSE, DIM = 0.05, 1e-3
VERSION = 1


def drawn_names(spec: ModelSpec) -> tuple[str, ...]:
    """Return the kinds of drawn inputs of a model: at least six. "low" is left out where it is the same as "zeros"."""
    ranges = [ends(spec.tensors[name]) for name in spec.inputs()]
    same = all(low >= 0 for low, _ in ranges)
    return tuple(kind for kind in KINDS if not (kind == "low" and same))


def drawn_hash(kind: str, split: str = "judge") -> str:
    """Return the hash that keys the golden of a drawn input, as a photo's own hash does."""
    return sha256_bytes(f"drawn/{seed(kind, split)}/{VERSION}".encode())


def seed(kind: str, split: str) -> str:
    return kind if split == "judge" else f"{split}/{kind}"


def ends(tensor: TensorSpec) -> tuple[float, float]:
    """Return the (lower, upper) end of the values of an input."""
    if tensor.range is not None:
        return tensor.range
    if tensor.kind == "rgb-photo" or tensor.dtype == "bool":
        return 0.0, 1.0
    if tensor.dtype in ("uint8", "int8", "int16"):
        return float(np.iinfo(tensor.dtype).min), float(np.iinfo(tensor.dtype).max)
    return (-LARGE, LARGE) if tensor.dtype.startswith("float") else (-1.0, 1.0)


def dimmed(tensor: TensorSpec, width: float) -> float:
    """Return the share of the range that dim noise has: DIM, or four steps where values have steps (photos, integers).

    Smaller noise would be rounded to zeros.
    """
    step = width / 255 if tensor.kind == "rgb-photo" else 0.0 if tensor.dtype.startswith("float") else 1.0
    return min(1.0, max(DIM, 4 * step / width))


def drawn_input(tensor: TensorSpec, size: tuple[int, int], kind: str, split: str = "judge") -> NDArray[np.generic]:
    """Return one drawn input. Integers and bools are rounded, photos have steps of 1/255."""
    low, high = ends(tensor)
    shape = tensor.at(size)
    rng = np.random.default_rng(int(sha256_bytes(f"{seed(kind, split)}/{tensor.name}".encode())[:16], 16))
    base = min(max(0.0, low), high)
    noise, end = np.asarray(rng.random(shape)), np.where(rng.random(shape) < 0.5, low, high)
    steps = np.linspace(low, high, noise.size).reshape(shape)
    values = {
        "zeros": np.full(shape, base),
        "high": np.full(shape, high),
        "low": np.full(shape, low),
        "gradient": steps,
        "large": end,
        "sparse": np.where(noise < SPARSE, np.where(end == base, low + high - base, end), base),
        "dim": base + dimmed(tensor, high - low) * (low + (high - low) * noise - base),
        "noise": low + (high - low) * noise,
    }[kind]
    if tensor.dtype == "bool":
        return np.asarray(values >= 0.5 if kind != "dim" else noise < SPARSE)
    if not tensor.dtype.startswith("float"):
        return np.asarray(np.rint(values).clip(np.ceil(low), np.floor(high))).astype(tensor.dtype)
    if tensor.kind == "rgb-photo":
        shares = np.round((values - low) / (high - low) * 255).astype(np.float32) / np.float32(255)
        return to_range(shares, tensor.range)
    # As for samples: a float64 input holds float32 numbers.
    return np.asarray(values).astype(np.float32).astype(tensor.dtype)
