"""Convert tensors between the reference and a file: axes, scale, zero point and dtype. For export and benchmarks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydramobile.artifact import Port
from hydramobile.errors import StageError

Array = NDArray[Any]
# Dtypes of quantized tensors. Wider integers are indices, which are cast without rounding and clipping.
SMALL = ("uint8", "int8", "uint16", "int16")


def to_file(port: Port, value: Array) -> Array:
    """Convert a tensor of the reference to the layout, scale and dtype of `port` in the file.

    A scalar gets an axis where the file has shape [1].
    Quantized dtypes are rounded to the nearest integer and clipped. The result is C-contiguous. Raises
    StageError("run") for another shape than the file's.
    """
    if port.reference_layout == "NCHW" and port.layout == "NHWC":
        value = np.transpose(value, (0, 2, 3, 1))
    if port.scale != 1.0:
        value = value * np.float32(port.scale)
    if port.zero_point:
        value = value + np.float32(port.zero_point)
    if value.ndim == 0 and port.shape == (1,):
        value = value.reshape(1)
    if tuple(value.shape) != port.shape:
        raise StageError("run", f"{port.name!r} has shape {list(value.shape)}, the file wants {list(port.shape)}")
    if port.dtype in SMALL and value.dtype.kind == "f":
        limits = np.iinfo(port.dtype)
        value = np.clip(np.round(value), limits.min, limits.max)
    return np.asarray(value.astype(port.dtype, copy=False), order="C")


def from_file(port: Port, value: Any) -> Array:
    """Convert a tensor of the file to the reference's layout, scale and dtype, as a copy. Floats become float32.

    Raises StageError("run") for another shape than the file's.
    """
    array = np.array(value)
    if array.shape == (1,) and port.shape == ():
        array = array.reshape(())
    if tuple(array.shape) != port.shape:
        raise StageError("run", f"{port.name!r} came out with shape {list(array.shape)}, not {list(port.shape)}")
    if port.layout == "NHWC" and port.reference_layout == "NCHW":
        array = np.transpose(array, (0, 3, 1, 2))
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    if port.zero_point:
        array = array.astype(np.float32) - np.float32(port.zero_point)
    if port.scale != 1.0:
        array = array / np.float32(port.scale)
    return np.asarray(array, order="C")
