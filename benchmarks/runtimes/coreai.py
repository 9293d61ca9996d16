"""Run Core AI assets in Core AI's own interpreter. An optional extra, in beta.

The interpreter is Apple's reference execution of the program on this computer's CPU. It runs the weights, graph and
arithmetic of the file, but no kernels of a phone, and is far too slow to be timed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import time
from contextlib import AsyncExitStack
from math import prod
from pathlib import Path
from typing import Any

from benchmarks.adapters.coroutines import wait
from benchmarks.evidence.row import Label
from benchmarks.runtime import Array, Runtime, Tensors, from_file, to_file
from hydramobile.artifact import Entry
from hydramobile.errors import StageError

PROGRAM, MAGIC = "main.mlirb", b"ML\xefR"
# The type of a constant as MLIR writes it; its dtype here and the bytes of an element.
CONSTANT = re.compile(r"tensor<(?P<shape>(?:\d+x)*)(?P<type>[a-z]+\d+)>")
TYPES = {"f32": ("float32", 4), "f16": ("float16", 2), "si32": ("int32", 4), "ui32": ("uint32", 4), "si8": ("int8", 1)}
# Constants of at most this many elements are shapes, axes or scales, not weights.
SMALL = 16


def check_asset(path: Path) -> None:
    """Raise StageError("open") where `path` is no asset: the runtime would abort the whole process."""
    try:
        with (path / PROGRAM).open("rb") as stream:
            head = stream.read(len(MAGIC))
    except OSError as error:
        raise StageError("open", f"{path} is not a Core AI asset: {error}") from error
    if head != MAGIC:
        raise StageError("open", f"{path} is not a Core AI asset: {PROGRAM} holds no MLIR bytecode")


class CoreAISession:
    """One function of an asset, loaded."""

    def __init__(self, path: Path, entry: Entry) -> None:
        from coreai.authoring.asset import AIModelAsset

        check_asset(path)
        self.entry = entry
        self.stack = AsyncExitStack()
        self.feeds: dict[str, Any] = {}
        self.outputs: Any = {}
        try:
            context = AIModelAsset.load(path).executable()
            self.model = wait(self.stack.enter_async_context(context), "open", f"Core AI cannot load {path}")
            self.function = self.model.load_function(entry.function or entry.name)
        except StageError:
            self.close()
            raise
        except Exception as error:  # the runtime raises RuntimeError, MLIR's own, and more
            self.close()
            raise StageError("open", f"Core AI cannot load {path}: {type(error).__name__}: {error}") from error

    def bind(self, inputs: Tensors) -> None:
        from coreai.runtime import NDArray

        values = {port.file_name: to_file(port, inputs[port.name]) for port in self.entry.inputs}
        self.feeds = {name: NDArray(value) for name, value in values.items()}

    def invoke(self) -> float:
        started = time.perf_counter()
        self.outputs = wait(self.call(), "run", self.entry.id)
        return time.perf_counter() - started

    async def call(self) -> Any:
        return await self.function(self.feeds)

    def fetch(self) -> dict[str, Array]:
        return {port.name: from_file(port, self.outputs[port.file_name].numpy().copy()) for port in self.entry.outputs}

    def close(self) -> None:
        self.feeds, self.outputs, self.function, self.model = {}, {}, None, None
        wait(self.stack.aclose(), "run", f"{self.entry.id}: closing")


class CoreAIRuntime(Runtime):
    name = "coreai"
    evidence: Label = "interpreted"
    targets = ("coreai",)
    timed = False
    about = "Core AI's own interpreter on this computer: the file's arithmetic, not a phone's kernels or speed"

    def unavailable(self) -> str | None:
        return None if importlib.util.find_spec("coreai") else "coreai is not installed; run: scripts/setup.sh coreai"

    def version(self) -> dict[str, str]:
        return {"coreai-core": importlib.metadata.version("coreai-core")}

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> CoreAISession:
        return CoreAISession(folder / entry.file, entry)

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        """Return the bytes per dtype of the constants in the entry's function. Functions may share constants."""
        from coreai.authoring.asset import AIModelAsset

        path, sizes = folder / entry.file, dict[str, int]()
        check_asset(path)
        try:
            # The program owns the memory of its graphs: it must outlive them.
            program = AIModelAsset.load(path).program
            graph = program._get_graph(entry.function or entry.name)
        except Exception as error:  # MLIR raises types of its own
            raise StageError("open", f"{path} is not a Core AI asset: {error}") from error
        if graph is None:
            raise StageError("open", f"{path} has no function {entry.function or entry.name!r}")
        for operation in graph.entry_block.operations:
            match = CONSTANT.match(str(operation.operation.results[0].type)) if is_constant(operation) else None
            if match and (count := prod(int(side) for side in match["shape"].split("x") if side)) > SMALL:
                dtype, size = TYPES.get(match["type"], (match["type"], 1))
                sizes[dtype] = sizes.get(dtype, 0) + count * size
        return dict(sorted(sizes.items()))


def is_constant(operation: Any) -> bool:
    return str(operation.operation.name) == "coreai.constant"
