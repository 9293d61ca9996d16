"""Constants of a MIL program: literal values in the graph file, and blobs in weight.bin.

The blob file (MIL "storage v2"): a 64-byte header, then for each blob 64 bytes of metadata at the offset that the
program names: u32 sentinel 0xDEADBEEF, u32 type, u64 bytes, u64 offset of the data, u64 unused bits at its end.
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
    """A tensor type of the program. `dtype` is MIL's name; a dimension of unknown size is -1."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def known(self) -> bool:
        return -1 not in self.shape


@dataclass(frozen=True, slots=True)
class DType:
    """How a MIL type is stored (`bits` a value) and which numpy type holds it here."""

    name: str
    bits: int
    numpy: str


# By number in MIL.DataType.
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
    """The type of a MIL ValueType message. Raises StageError("open") for lists, tuples, states and unknown dtypes."""
    kind = proto.WhichOneof("type")
    if kind != "tensorType":
        raise StageError(STAGE, f"a value of MIL type {kind!r} is not supported (supported: tensorType)")
    tensor = proto.tensorType
    if tensor.dataType not in DTYPES:
        known = ", ".join(BY_NAME)
        raise StageError(STAGE, f"MIL data type {tensor.dataType} is not supported (supported: {known})")
    dims = (dim.constant.size if dim.WhichOneof("dimension") == "constant" else -1 for dim in tensor.dimensions)
    return ValueType(DTYPES[tensor.dataType].name, tuple(int(size) for size in dims))


def read_value(proto: Any, weights: Path) -> Constant:
    """A MIL Value message as an array of its shape (a string scalar as str). `weights` is the folder of the blobs."""
    kind = value_type(proto.type)
    dtype = BY_NAME[kind.dtype]
    if proto.WhichOneof("value") == "blobFileValue":
        blob = proto.blobFileValue
        return decode(read_blob(weights / blob.fileName.rpartition("/")[2], int(blob.offset)), dtype, kind.shape)
    tensor = proto.immediateValue.tensor
    field = tensor.WhichOneof("value")
    values = getattr(tensor, field).values if field else ()
    if dtype.name == "string":
        texts = [str(item) for item in values]
        return np.array(texts, dtype=object) if kind.shape else texts[0]
    if field == "bytes":
        return decode(bytes(values), dtype, kind.shape)
    array = np.array(list(values), dtype=dtype.numpy)
    return np.full(kind.shape, array[0]) if array.size == 1 else array.reshape(kind.shape)


def read_blob(path: Path, offset: int) -> bytes:
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
    """Raw bytes as an array; types below 8 bits are packed from the least significant bit up."""
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
        raise StageError(STAGE, f"a constant of shape {list(shape)} holds {flat.size} values of {dtype.name}")
    return flat[:count].reshape(shape)
