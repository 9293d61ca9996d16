"""Read samples that are no photos: .npy (one array), .npz (arrays by tensor name) and .wav (sound)."""

from __future__ import annotations

import wave
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydramobile.errors import StageError
from hydramobile.spec import ModelSpec, TensorSpec

STAGE = "samples"
ARRAYS = frozenset({".npy", ".npz", ".wav"})
Array = NDArray[Any]


def read_sample(spec: ModelSpec, path: Path, size: tuple[int, int]) -> dict[str, Array]:
    """Return the inputs that a file holds, in the shapes and dtypes of model.toml.

    A .npy or .wav file is the model's first input that is no photo. Raises StageError("samples") that names the file,
    the tensor, and what does not fit.
    """
    inputs = {name: spec.tensors[name] for name in spec.inputs()}
    if path.suffix == ".npz":
        arrays = read_npz(path)
        unknown = sorted(set(arrays) - set(inputs))
        if unknown:
            raise StageError(STAGE, f"{path} holds {unknown[0]!r}, which is no input (inputs: {', '.join(inputs)})")
    else:
        name = next((name for name, tensor in inputs.items() if tensor.kind == "tensor"), None)
        if name is None:
            raise StageError(STAGE, f"{path} is no photo, and all inputs of {spec.name} are photos")
        value = read_wav(path, inputs[name].at(size)) if path.suffix == ".wav" else read_npy(path)
        arrays = {name: value}
    return {name: fit(path, inputs[name], value, size) for name, value in arrays.items()}


def read_npy(path: Path) -> Array:
    try:
        value: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StageError(STAGE, f"{path} is no readable .npy file of numbers: {error}") from error
    return value


def read_npz(path: Path) -> Mapping[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise StageError(STAGE, f"{path} is no readable .npz file of numbers: {error}") from error


def read_wav(path: Path, shape: tuple[int, ...]) -> Array:
    """Return PCM sound as [channels, time] in [-1, 1], cut or padded with silence to the last axis of `shape`.

    The sample rate is not changed: it is the one that the net was made for. One channel is made of several where the
    net takes one.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, width = file.getnchannels(), file.getsampwidth()
            data = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise StageError(STAGE, f"{path} is no readable .wav file (PCM of 8 to 32 bits): {error}") from error
    if width == 1:
        values = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    else:
        # Sign-extended: the bytes are the upper ones of an int32.
        raw = np.frombuffer(data, np.uint8).reshape(-1, width)
        wide = np.zeros((len(raw), 4), np.uint8)
        wide[:, 4 - width :] = raw
        values = (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    sound = values.reshape(-1, channels).T
    wanted = shape[-2] if len(shape) > 1 else 1
    if wanted == 1 and channels > 1:
        sound = sound.mean(0, keepdims=True)
    length = shape[-1]
    return np.pad(sound[:, :length], ((0, 0), (0, max(0, length - sound.shape[1]))))


def fit(path: Path, tensor: TensorSpec, value: Array, size: tuple[int, int]) -> Array:
    """Return `value` in the tensor's shape and dtype; axes of length 1 may be missing."""
    shape = tensor.at(size)
    if [dim for dim in value.shape if dim != 1] != [dim for dim in shape if dim != 1]:
        raise StageError(STAGE, f"{path}: {tensor.name!r} has shape {list(value.shape)}, the model takes {list(shape)}")
    if value.dtype.kind not in "fiub" or (value.dtype.kind == "f") != tensor.dtype.startswith(("float", "bfloat")):
        raise StageError(STAGE, f"{path}: {tensor.name!r} has dtype {value.dtype}, the model takes {tensor.dtype}")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise StageError(STAGE, f"{path}: {tensor.name!r} holds NaN or infinite values")
    low, high = tensor.range or (-np.inf, np.inf)
    if value.size and (value.min() < low or value.max() > high):
        held = f"[{value.min():g}, {value.max():g}]"
        raise StageError(STAGE, f"{path}: {tensor.name!r} lies in {held}, its range is [{low:g}, {high:g}]")
    return np.ascontiguousarray(value.reshape(shape).astype(tensor.dtype))
