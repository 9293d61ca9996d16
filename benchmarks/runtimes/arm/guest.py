"""Serve requests inside the emulator: one process that loads files and runs them.

It imports nothing of this project: only NumPy and the vendors' aarch64 wheels are installed there. Framing, both ways:
the lengths of a JSON text and of a payload as two little-endian uint32, the text, the payload. A request names an
action in `do`. An answer holds `ok`, and `error` where `ok` is false.
"""

from __future__ import annotations

import json
import os
import platform
import struct
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# XNNPACK's flag to compute in fp16 whatever the file's dtype is (TFLITE_XNNPACK_DELEGATE_FLAG_FORCE_FP16).
FORCE_FP16 = 0x4


class Engine(Protocol):
    """Run one function of one file in one library."""

    def bind(self, feeds: Mapping[str, Array]) -> None: ...

    def invoke(self) -> None: ...

    def fetch(self) -> dict[str, Array]: ...


class Interpreter:
    """Run one signature in LiteRT's interpreter with its default XNNPACK delegate."""

    def __init__(self, file: str, function: str, outputs: list[str], threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter as LiteRT

        self.interpreter = LiteRT(model_path=file, num_threads=threads)
        runner = self.interpreter.get_signature_runner(function)
        self.inputs = {key: int(value["index"]) for key, value in runner.get_input_details().items()}
        indices = {key: int(value["index"]) for key, value in runner.get_output_details().items()}
        self.outputs = {name: indices[name] for name in outputs}
        self.wrapper = self.interpreter._interpreter
        self.graph = self.wrapper.GetSubgraphIndexFromSignature(function)
        self.wrapper.AllocateTensors(self.graph)

    def bind(self, feeds: Mapping[str, Array]) -> None:
        for name, value in feeds.items():
            self.wrapper.SetTensor(self.inputs[name], value, self.graph)

    def invoke(self) -> None:
        self.wrapper.Invoke(self.graph)

    def fetch(self) -> dict[str, Array]:
        return {name: self.wrapper.GetTensor(index, self.graph) for name, index in self.outputs.items()}


class HalfPrecision:
    """Run one signature as LiteRT's compiled model, with XNNPACK forced to fp16."""

    def __init__(self, file: str, function: str, outputs: list[str], threads: int) -> None:
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.cpu_options import CpuOptions
        from ai_edge_litert.hardware_accelerator import HardwareAccelerator
        from ai_edge_litert.options import Options

        cpu = CpuOptions(num_threads=threads, xnnpack_flags=FORCE_FP16)
        options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=cpu)
        self.model = CompiledModel.from_file(file, options=options)
        self.index = self.model.get_signature_index(function)
        listed = self.model.get_signature_list()[function]
        details = self.model.get_output_tensor_details(function)
        self.outputs = {
            name: (tuple(map(int, details[name]["shape"])), np.dtype(details[name]["dtype"])) for name in outputs
        }
        self.inputs = {name: self.model.create_input_buffer_by_name(function, name) for name in listed["inputs"]}
        self.results = {name: self.model.create_output_buffer_by_name(function, name) for name in listed["outputs"]}
        self.function = function

    def bind(self, feeds: Mapping[str, Array]) -> None:
        for name, value in feeds.items():
            self.inputs[name].write(np.ascontiguousarray(value))

    def invoke(self) -> None:
        self.model.run_by_name(self.function, self.inputs, self.results)

    def fetch(self) -> dict[str, Array]:
        return {
            name: np.asarray(self.results[name].read(int(np.prod(shape)), dtype)).reshape(shape)
            for name, (shape, dtype) in self.outputs.items()
        }


class OnnxRuntime:
    """Run a model in ONNX Runtime's CPU execution provider, with its default graph optimizations."""

    def __init__(self, file: str, function: str, outputs: list[str], threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.names = outputs
        self.feeds: dict[str, Array] = {}
        self.results: list[Array] = []

    def bind(self, feeds: Mapping[str, Array]) -> None:
        self.feeds = dict(feeds)

    def invoke(self) -> None:
        self.results = self.session.run(self.names, self.feeds)

    def fetch(self) -> dict[str, Array]:
        return dict(zip(self.names, self.results, strict=True))


ENGINES: dict[str, type[Any]] = {"litert": Interpreter, "litert-fp16": HalfPrecision, "ort": OnnxRuntime}


class Guest:
    """The open engines by number, and the actions of requests."""

    def __init__(self) -> None:
        self.engines: dict[int, Engine] = {}
        self.made = 0

    def hello(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Describe the processor as the libraries see it: machine, Python version, features of /proc/cpuinfo."""
        with open("/proc/cpuinfo", encoding="utf-8") as stream:  # noqa: PTH123  # one import less to emulate
            features = next((line.split(":")[1].split() for line in stream if line.startswith("Features")), [])
        return {"machine": platform.machine(), "python": platform.python_version(), "features": features}

    def open(self, request: Mapping[str, Any]) -> dict[str, Any]:
        kind = ENGINES[request["engine"]]
        self.made += 1
        self.engines[self.made] = kind(request["file"], request["function"], request["outputs"], request["threads"])
        return {"session": self.made}

    def bind(self, request: Mapping[str, Any], payload: bytes) -> dict[str, Any]:
        self.engines[request["session"]].bind(unpack(request["tensors"], payload))
        return {}

    def invoke(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.engines[request["session"]].invoke()
        return {}

    def count(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Run between two markers of the plugin (insn.c): getppid is its marker."""
        engine, runs = self.engines[request["session"]], range(request["runs"])
        os.getppid()
        for _ in runs:
            engine.invoke()
        os.getppid()
        return {}

    def fetch(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        outputs = self.engines[request["session"]].fetch()
        tensors = [
            {"name": name, "shape": list(value.shape), "dtype": str(value.dtype)} for name, value in outputs.items()
        ]
        return {"tensors": tensors}, b"".join(np.ascontiguousarray(value).tobytes() for value in outputs.values())

    def close(self, request: Mapping[str, Any]) -> dict[str, Any]:
        del self.engines[request["session"]]
        return {}

    def machine_code(self, request: Mapping[str, Any], payload: bytes) -> dict[str, Any]:
        """Run `payload`, the machine code of a function without arguments, between two markers, to test the plugin."""
        import ctypes
        import mmap

        memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        memory.write(payload)
        function = ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
        os.getppid()
        for _ in range(request["runs"]):
            function()
        os.getppid()
        return {}


def unpack(tensors: list[dict[str, Any]], data: bytes) -> dict[str, Array]:
    """Return the arrays that lie in `data` one after the other, as `tensors` describes them."""
    arrays: dict[str, Array] = {}
    start = 0
    for tensor in tensors:
        count = int(np.prod(tensor["shape"], dtype=np.int64))
        arrays[tensor["name"]] = np.frombuffer(data, tensor["dtype"], count, start).reshape(tensor["shape"])
        start += arrays[tensor["name"]].nbytes
    return arrays


def main() -> None:
    """Serve until standard input ends. Standard output becomes standard error for what libraries print."""
    source = os.fdopen(0, "rb")
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    guest = Guest()
    while head := source.read(8):
        sizes = struct.unpack("<II", head)
        request, payload = json.loads(source.read(sizes[0])), source.read(sizes[1])
        try:
            action = getattr(guest, request["do"])
            answer = action(request, payload) if payload else action(request)
            answer, data = answer if isinstance(answer, tuple) else (answer, b"")
            answer["ok"] = True
        except Exception as error:  # noqa: BLE001  a library's error is an answer; the next request may be sound
            answer, data = {"ok": False, "error": f"{type(error).__name__}: {error}"}, b""
        text = json.dumps(answer).encode()
        sink.write(struct.pack("<II", len(text), len(data)) + text + data)
        sink.flush()


if __name__ == "__main__":
    main()
