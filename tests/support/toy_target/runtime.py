"""The runtime of the toy target: executes graph.json step by step in numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from benchmarks.runtime import Array, Runtime, Tensors, from_file, to_file
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.files import read_json

# Constants of up to this many elements are biases and scales, not weights.
SMALL = 16


class ToySession:
    def __init__(self, path: Path, entry: Entry) -> None:
        self.entry = entry
        self.graph = read_json(path / "graph.json", "open")
        self.weights = {name: value.astype(np.float32) for name, value in read_weights(path).items()}
        unknown = sorted({step["op"] for step in self.graph["steps"]} - set(OPS))
        if unknown:
            raise StageError("open", f"{path}: unsupported ops {unknown} (supported: {', '.join(OPS)})")
        self.values: dict[str, Array] = {}

    def bind(self, inputs: Tensors) -> None:
        ports = zip(self.graph["inputs"], self.entry.inputs, strict=True)
        self.values = {**self.weights, **{name: to_file(port, inputs[port.name]) for name, port in ports}}

    def invoke(self) -> float:
        started = perf_counter()
        for step in self.graph["steps"]:
            self.values[step["name"]] = OPS[step["op"]](*(self.argument(value) for value in step["args"]))
        return perf_counter() - started

    def argument(self, value: Any) -> Any:
        return self.values[value["tensor"]] if isinstance(value, dict) else value

    def fetch(self) -> dict[str, Array]:
        ports = zip(self.graph["outputs"], self.entry.outputs, strict=True)
        return {port.name: from_file(port, self.values[name]) for name, port in ports}

    def close(self) -> None:
        self.values = {}


class ToyRuntime(Runtime):
    name = "toy"
    evidence = "interpreted"
    targets = ("toy",)
    timed = False
    about = "an interpreter in numpy"

    def unavailable(self) -> str | None:
        return None

    def version(self) -> dict[str, str]:
        return {"numpy": np.__version__}

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> ToySession:
        return ToySession(folder / entry.file, entry)

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        stored: dict[str, int] = {}
        for value in read_weights(folder / entry.file).values():
            if value.size > SMALL:
                stored[str(value.dtype)] = stored.get(str(value.dtype), 0) + value.nbytes
        return stored


def read_weights(path: Path) -> dict[str, Array]:
    """Read the weights by name. Raises StageError("open") where the file is missing or malformed."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        weights: dict[str, Array] = load_file(path / "weights.safetensors")
    except (OSError, SafetensorError) as error:
        raise StageError("open", f"{path / 'weights.safetensors'}: {error}") from error
    return weights


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Array:
    """Compute `aten.conv2d`: [N, C, H, W] and [O, C / groups, h, w] to [N, O, H', W']. Dilation is not supported."""
    assert tuple(dilation) == (1, 1)
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    windows: Array = sliding_window_view(padded, weight.shape[2:], axis=(2, 3))  # type: ignore[call-overload]  # numpy's stub wants an int
    windows = windows[:, :, :: stride[0], :: stride[1]]
    split = windows.reshape(x.shape[0], groups, -1, *windows.shape[2:])
    kernels = weight.reshape(groups, -1, *weight.shape[1:])
    product = np.einsum("ngchwij,gocij->ngohw", split, kernels, optimize=True)
    output: Array = product.reshape(x.shape[0], -1, *product.shape[3:])
    return output if bias is None else output + bias[:, None, None]


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    return x @ weight.T if bias is None else x @ weight.T + bias


def mean_pool(x: Array, size: list[int]) -> Array:
    """Compute `aten.adaptive_avg_pool2d` to 1 x 1, the only size that is supported."""
    assert size == [1, 1]
    pooled: Array = x.mean((2, 3), keepdims=True)
    return pooled


def hardsigmoid(x: Array) -> Array:
    return np.clip(x / np.float32(6) + np.float32(0.5), 0, 1)


OPS: dict[str, Callable[..., Array]] = {
    "aten.adaptive_avg_pool2d.default": mean_pool,
    "aten.add.Tensor": lambda x, y: x + y,
    "aten.clone.default": lambda x: x,
    "aten.conv2d.default": conv2d,
    "aten.hardsigmoid.default": hardsigmoid,
    "aten.hardswish.default": lambda x: x * hardsigmoid(x),
    "aten.linear.default": linear,
    "aten.mul.Tensor": lambda x, y: x * y,
    "aten.relu.default": lambda x: np.maximum(x, 0),
    "aten.sub.Tensor": lambda x, y: x - y,
    "aten.view.default": lambda x, shape: x.reshape(shape),
}
