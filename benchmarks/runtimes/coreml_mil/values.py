"""Read constants of a MIL program: literals of the graph file, and blobs of weight.bin.

A blob file (MIL "storage v2") has a 64-byte header, then 64 bytes of metadata per blob at the offset that the program
names: u32 sentinel 0xDEADBEEF, u32 dtype, u64 bytes, u64 offset of the data, u64 unused bits at the end of the data.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydramobile.errors import StageError

STAGE = "open"
SENTINEL = 0xDEADBEEF
METADATA = struct.Struct("<IIQQQ")


@dataclass(frozen=True, slots=True)
class ValueType:
    """A tensor type of the program. `dtype` is MIL's name. An axis of unknown size is -1."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def known(self) -> bool:
        """Whether every axis has a fixed size."""
        return -1 not in self.shape


@dataclass(frozen=True, slots=True)
class DType:
    """How a MIL dtype is stored (`bits` per element), and the numpy dtype that holds it here."""

    name: str
    bits: int
    numpy: str


# By the number of MIL.DataType.
DTYPES = {
    1: DType("bool", 8, "bool"),
    2: DType("string", 0, "O"),
    10: DType("float16", 16, "float16"),
    11: DType("float32", 32, "float32"),
    12: DType("float64", 64, "float64"),
    21: DType("int8", 8, "int8"),
    22: DType("int16", 16, "int16"),
    23: DType("int32", 32, "int32"),
    24: DType("int64", 64, "int64"),
    25: DType("int4", 4, "int8"),
    31: DType("uint8", 8, "uint8"),
    32: DType("uint16", 16, "uint16"),
    33: DType("uint32", 32, "uint32"),
    34: DType("uint64", 64, "uint64"),
    35: DType("uint4", 4, "uint8"),
    36: DType("uint2", 2, "uint8"),
    37: DType("uint1", 1, "uint8"),
    38: DType("uint6", 6, "uint8"),
    39: DType("uint3", 3, "uint8"),
}
BY_NAME = {dtype.name: dtype for dtype in DTYPES.values()}

Constant = NDArray[np.generic] | str


def value_type(proto: Any) -> ValueType:
    """Return the type of a MIL ValueType message. Raises StageError("open") for any but tensors of known dtypes."""
    category = proto.WhichOneof("type")
    if category != "tensorType":
        raise StageError(STAGE, f"a value of MIL type {category!r} is not supported (supported: tensorType)")
    tensor = proto.tensorType
    if tensor.dataType not in DTYPES:
        known = ", ".join(BY_NAME)
        raise StageError(STAGE, f"MIL data type {tensor.dataType} is not supported (supported: {known})")
    dims = (dim.constant.size if dim.WhichOneof("dimension") == "constant" else -1 for dim in tensor.dimensions)
    return ValueType(DTYPES[tensor.dataType].name, tuple(int(size) for size in dims))


def read_value(proto: Any, weights: Path) -> Constant:
    """Return a MIL Value message as an array, or as str for a scalar string. `weights` is the folder of the blobs."""
    type_ = value_type(proto.type)
    dtype = BY_NAME[type_.dtype]
    if proto.WhichOneof("value") == "blobFileValue":
        blob = proto.blobFileValue
        return decode(read_blob(weights / blob.fileName.rpartition("/")[2], int(blob.offset)), dtype, type_.shape)
    tensor = proto.immediateValue.tensor
    field = tensor.WhichOneof("value")
    values = getattr(tensor, field).values if field else ()
    if dtype.name == "string":
        texts = [str(item) for item in values]
        return np.array(texts, dtype=object) if type_.shape else texts[0]
    if field == "bytes":
        return decode(bytes(values), dtype, type_.shape)
    array = np.array(list(values), dtype=dtype.numpy)
    return np.full(type_.shape, array[0]) if array.size == 1 else array.reshape(type_.shape)


def read_blob(path: Path, offset: int) -> bytes:
    """Return the data of the blob whose metadata is at `offset`. Raises StageError("open") where there is none."""
    if not path.is_file():
        raise StageError(STAGE, f"{path} does not exist; the program refers to it")
    with path.open("rb") as stream:
        stream.seek(offset)
        header = stream.read(METADATA.size)
        if len(header) < METADATA.size or (fields := METADATA.unpack(header))[0] != SENTINEL:
            raise StageError(STAGE, f"{path} has no blob at byte {offset}")
        _, _, size, start, _ = fields
        stream.seek(start)
        data = stream.read(size)
    if len(data) != size:
        raise StageError(
            STAGE, f"{path} is truncated: the blob at byte {offset} needs {size} bytes, {len(data)} are left"
        )
    return data


def decode(data: bytes, dtype: DType, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Return bytes as an array. Dtypes of fewer than 8 bits are packed, the first element in the lowest bits."""
    count = prod(shape)
    if dtype.bits >= 8:
        flat = np.frombuffer(data, dtype=np.dtype(dtype.numpy).newbyteorder("<"))
    else:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[: count * dtype.bits]
        weights = (1 << np.arange(dtype.bits)).astype(np.uint8)
        flat = bits.reshape(-1, dtype.bits) @ weights
        if dtype.name.startswith("int"):
            flat = flat.astype(np.int8) - ((flat >> (dtype.bits - 1)) << dtype.bits).astype(np.int8)
    if flat.size < count:
        raise StageError(STAGE, f"a constant of shape {list(shape)} holds {flat.size} elements of {dtype.name}")
    return flat[:count].reshape(shape)
