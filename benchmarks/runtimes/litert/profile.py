"""Profile operators with LiteRT's own profiler, through the C API of its wheel: the Python API has none.

The C API is not stable: the functions, option names and structure layouts here are those of VERSION. Any other version
is refused.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence.profile import OpTime
from benchmarks.runtime import Array
from hydramobile.errors import StageError

VERSION = "2.3."
WARMUP_RUNS = 3
# Values of the C API's enums: the hardware accelerator, and the lock mode of a tensor buffer.
CPU = 1
WRITE = 1
# [node type] [start] [first] [avg ms] [%] [cdf%] [mem KB] [times called] [Name]
ROW = re.compile(
    r"^\s*(?P<kind>\S.*?)\s+[\d.]+\s+[\d.]+\s+(?P<ms>[\d.]+)\s+[\d.]+%\s+[\d.]+%\s+[\d.]+\s+(?P<calls>\d+)\s+(?P<name>\S.*)$"
)
Pointer = ctypes.c_void_p


class Layout(ctypes.Structure):
    """LiteRtLayout."""

    _fields_ = (("rank", ctypes.c_uint), ("dims", ctypes.c_int32 * 8), ("strides", ctypes.c_uint32 * 8))


class TensorType(ctypes.Structure):
    """LiteRtRankedTensorType."""

    _fields_ = (("element", ctypes.c_int), ("layout", Layout))


def library() -> Path | None:
    """Return the shared library of the installed wheel, or None."""
    spec = importlib.util.find_spec("ai_edge_litert")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [Path(folder) / name for folder in folders for name in ("libLiteRt.so", "libLiteRt.dylib")]
    return next((file for file in files if file.is_file()), None)


def no_profile() -> str | None:
    """Return why this wheel cannot be profiled, or None where it can."""
    version = importlib.metadata.version("ai-edge-litert")
    if not version.startswith(VERSION):
        return f"the profiler is reached through the C API of ai-edge-litert {VERSION}x; this is {version}"
    return None if library() else "this wheel of ai-edge-litert holds no libLiteRt"


class Api:
    """Call the C functions by name. Raises StageError naming the function where its status is not 0."""

    def __init__(self) -> None:
        self.functions = ctypes.CDLL(str(library()))

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.functions, f"LiteRt{name}")

        def call(*arguments: Any) -> None:
            status = function(*arguments)
            if status:
                raise StageError("profile", f"LiteRt{name} ended with status {status}")

        return call

    def make(self, name: str, *arguments: Any, kind: type[Any] = Pointer) -> Any:
        """Call a function whose last argument is a pointer to its result, of type `kind`, and return the result."""
        result = kind()
        getattr(self, name)(*arguments, ctypes.byref(result))
        return result


class Compiled:
    """Compile one signature of a file with the profiler on.

    It lives as long as its process: the C API's objects are freed with the process, and the callback that would free
    the options must outlive them.
    """

    def __init__(self, path: Path, name: str) -> None:
        api = self.api = Api()
        self.environment = api.make("CreateEnvironment", 0, None)
        self.model = api.make("CreateModelFromFile", self.environment, str(path).encode())
        options = api.make("CreateOptions")
        api.SetOptionsHardwareAccelerators(options, CPU)
        self.keep: list[Any] = []
        self.add(options, b"runtime_options_string", b"enable_profiling = true\n")
        self.add(options, b"xnnpack", b"num_threads = 1\n")
        self.compiled = api.make("CreateCompiledModel", self.environment, self.model, options)
        self.index, self.signature = self.find(name)

    def add(self, options: Any, name: bytes, text: bytes) -> None:
        """Add the option group `name` with the TOML `text`."""
        free = ctypes.CFUNCTYPE(None, Pointer)(lambda pointer: None)
        content = ctypes.create_string_buffer(text)
        self.keep += [free, content]
        group = self.api.make("CreateOpaqueOptions", name, ctypes.cast(content, Pointer), free)
        self.api.AddOpaqueOptions(options, group)

    def find(self, name: str) -> tuple[ctypes.c_size_t, Any]:
        """Return the index and the handle of the signature `name`."""
        count = self.api.make("GetNumModelSignatures", self.model, kind=ctypes.c_size_t).value
        for index in map(ctypes.c_size_t, range(count)):
            signature = self.api.make("GetModelSignature", self.model, index)
            if self.api.make("GetSignatureKey", signature, kind=ctypes.c_char_p).value == name.encode():
                return index, signature
        raise StageError("profile", f"the file has no signature {name!r}")

    def buffers(self, side: str) -> tuple[dict[str, int], Any]:
        """Return the positions by name, and the array of buffers, of one `side`: "Input" or "Output"."""
        api, number = self.api, ctypes.c_size_t
        count = api.make(f"GetNumSignature{side}s", self.signature, kind=number).value
        names: dict[str, int] = {}
        buffers = (Pointer * count)()
        for index in range(count):
            required = api.make(f"GetCompiledModel{side}BufferRequirements", self.compiled, self.index, number(index))
            name = api.make(f"GetSignature{side}Name", self.signature, number(index), kind=ctypes.c_char_p)
            tensor = api.make(f"GetSignature{side}TensorByIndex", self.signature, number(index))
            ranked = api.make("GetRankedTensorType", tensor, kind=TensorType)
            buffer = api.make(
                "CreateManagedTensorBufferFromRequirements", self.environment, ctypes.byref(ranked), required
            )
            names[(name.value or b"").decode()], buffers[index] = index, buffer
        return names, buffers

    def fill(self, buffer: Any, value: Array) -> None:
        """Copy `value` into a buffer."""
        address = Pointer()
        self.api.LockTensorBuffer(buffer, ctypes.byref(address), WRITE)
        data = np.ascontiguousarray(value)
        ctypes.memmove(address, data.ctypes.data, data.nbytes)
        self.api.UnlockTensorBuffer(buffer)

    def run(self, inputs: Any, outputs: Any) -> None:
        """Run the signature once."""
        sizes = ctypes.c_size_t(len(inputs)), ctypes.c_size_t(len(outputs))
        self.api.RunCompiledModel(self.compiled, self.index, sizes[0], inputs, sizes[1], outputs)


def profile(path: Path, signature: str, feeds: Mapping[str, Array], runs: int) -> list[OpTime]:
    """Return the operators of one signature with their mean time over `runs` runs.

    `feeds` has the file's names and dtypes.
    """
    model = Compiled(path, signature)
    names, inputs = model.buffers("Input")
    if set(names) != set(feeds):
        raise StageError("profile", f"{path.name}: {signature!r} takes {sorted(names)}, not {sorted(feeds)}")
    _, outputs = model.buffers("Output")
    for name, value in feeds.items():
        model.fill(Pointer(inputs[names[name]]), value)
    for _ in range(WARMUP_RUNS):
        model.run(inputs, outputs)
    profiler = model.api.make("CompiledModelGetProfiler", model.compiled)
    model.api.StartProfiler(profiler)
    for _ in range(runs):
        model.run(inputs, outputs)
    model.api.StopProfiler(profiler)
    text = model.api.make("GetProfileSummary", profiler, model.compiled, kind=ctypes.c_char_p).value or b""
    return parse(text.decode(), runs)


def parse(summary: str, runs: int) -> list[OpTime]:
    """Parse the section "Run Order" of the profiler's summary.

    Operators of different partitions of a delegate share a number there, so one row may be several runs of one kernel.
    """
    lines: Sequence[str] = summary.splitlines()
    start = next((number for number, line in enumerate(lines) if " Run Order " in line), None)
    if start is None:
        raise StageError("profile", f"LiteRT's profile has no section 'Run Order': {summary[:200]!r}")
    times = []
    for line in lines[start + 2 :]:
        match = ROW.match(line)
        if match is None:
            break
        calls = int(match["calls"]) / runs
        times.append(OpTime(match["kind"].removeprefix("Delegate/"), match["name"], float(match["ms"]) * calls, calls))
    if not times:
        raise StageError("profile", "LiteRT's profile lists no operator")
    return times
