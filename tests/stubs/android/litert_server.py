"""Run signatures of .tflite files for the stub of LiteRT's Kotlin API: requests on stdin, answers on stdout.

Text is Java's modified UTF-8 behind its length in 16 bits, integers are big-endian, elements little-endian.
"""

from __future__ import annotations

import os
import struct
import sys
from functools import cache
from typing import Any, BinaryIO

import numpy as np


@cache
def runner(path: str, signature: str) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=path, num_threads=1).get_signature_runner(signature)


def read_text(stream: BinaryIO) -> str:
    head = stream.read(2)
    if not head:
        raise EOFError
    return stream.read(struct.unpack(">H", head)[0]).decode()


def text(value: str) -> bytes:
    data = value.encode()[:60000]
    return struct.pack(">H", len(data)) + data


def described(details: dict[str, Any]) -> bytes:
    """Return the tensors of one side: their number, then name, dtype and bytes of each."""
    rows = [struct.pack(">i", len(details))]
    for name, detail in details.items():
        dtype = np.dtype(detail["dtype"])
        rows.append(text(name) + text(dtype.name) + struct.pack(">i", int(np.prod(detail["shape"])) * dtype.itemsize))
    return b"".join(rows)


def run(found: Any, stream: BinaryIO) -> bytes:
    """Read the inputs of a run, and return its outputs."""
    details = found.get_input_details()
    feeds = {}
    (count,) = struct.unpack(">i", stream.read(4))
    for _ in range(count):
        name = read_text(stream)
        (length,) = struct.unpack(">i", stream.read(4))
        data = stream.read(length)
        detail = details[name]
        feeds[name] = np.frombuffer(data, detail["dtype"]).reshape(detail["shape"])
    outputs = found(**feeds)
    rows = [struct.pack(">i", len(outputs))]
    for name, value in outputs.items():
        data = np.ascontiguousarray(value).tobytes()
        rows.append(text(name) + struct.pack(">i", len(data)) + data)
    return b"".join(rows)


def main() -> None:
    source = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # LiteRT logs to stdout
    while True:
        try:
            verb, path, signature = read_text(source), read_text(source), read_text(source)
        except EOFError:
            return
        found = runner(path, signature)
        if verb == "describe":
            answer = described(found.get_input_details()) + described(found.get_output_details())
        else:
            answer = run(found, source)
        answers.write(text("") + answer)
        answers.flush()


if __name__ == "__main__":
    main()
