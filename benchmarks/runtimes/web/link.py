"""Send commands to a page, in this computer's browser or on another device, and track the arrays on its device."""

from __future__ import annotations

import base64
import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence.envelope import plain, typed
from benchmarks.evidence.environment import Adapter, Browser, Offer
from benchmarks.runtime import Array, Tensors, from_file, to_file
from benchmarks.runtimes.web.server import Server
from hydramobile.artifact import Entry, Port
from hydramobile.errors import StageError

# Seconds without an answer after which a page counts as hung. Far above any run seen, even on a software GPU.
CALL_LIMIT = 120.0
# Words in the name of a GPU that is a software renderer.
SOFTWARE = ("swiftshader", "llvmpipe", "softpipe", "software", "basic render", "lavapipe")


@dataclass(frozen=True, slots=True)
class Engine:
    """An inference engine. `library` names a file in export/bundle/web/sources/engines.

    `backend` is wasm, webgl or webgpu.
    """

    library: str
    backend: str
    threads: int = 1


class Link:
    """A page with at most one engine.

    `offer` holds the features of the browser, `started` the features that the engine uses. `dead` says why the page
    cannot be used any more; "" while it works.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.engine: Engine | None = None
        self.dead = ""
        self.offer = Offer("")
        self.started: dict[str, Any] = {}
        # Handles of device tensors whose arrays were collected.
        self.stale: list[int] = []
        # Fetched arrays by `id`: the handle of the same tensor on the device, and its port.
        self.handles: dict[int, tuple[int, Port]] = {}
        # The paths of each entry of the artifact that is served.
        self.paths: dict[str, Sequence[str]] = {}

    def send(self, name: str, argument: Mapping[str, Any], limit: float) -> Any:
        """Call `hydra.<name>(argument)` in the page and return its result.

        Raises Refused with the error that the page threw. Sets `dead` where the page itself is gone.
        """
        raise NotImplementedError

    def call(self, name: str, argument: Mapping[str, Any], stage: str = "run") -> Any:
        """Call `send`. Raises StageError(stage), which also names the files that the page asked for in vain."""
        if self.dead:
            raise StageError(stage, f"{name}: {self.dead}")
        self.server.served.missing.clear()
        try:
            return self.send(name, dict(argument), CALL_LIMIT)
        except Refused as error:
            missing = ", ".join(dict.fromkeys(self.server.served.missing))
            raise StageError(stage, f"{name}: {error}" + (f" (not found: {missing})" if missing else "")) from error

    def start(self, engine: Engine) -> None:
        """Start the engine. Where it fails, the page is dead."""
        argument = {"library": engine.library, "backend": engine.backend, "threads": engine.threads}
        try:
            self.started = dict(self.call("start", argument, "open"))
        except StageError:
            # An engine that started half way would disturb the next try.
            self.dead = self.dead or "its engine did not start"
            raise
        self.engine = engine

    def software(self, backend: str) -> bool:
        """Return whether `backend` runs on a software renderer instead of a GPU: its times mean nothing."""
        if backend == "wasm":
            return False
        gpu = self.offer.adapter if backend == "webgpu" else Adapter(self.offer.webgl or "")
        if not gpu or not gpu.name:
            return True
        return gpu.fallback or any(word in gpu.name.lower() for word in SOFTWARE)

    def describe(self) -> Browser:
        """Return the browser with the engine that was started. Raises StageError("run") for a page's nonsense."""
        try:
            return typed(Browser, {**plain(self.offer), **self.started})
        except ValueError as error:
            raise StageError("run", f"the page says what no engine says of itself: {error}") from error

    def publish(self, folder: Path) -> str:
        """Serve the files of one artifact, and count only its downloads from now on. Return its URL path."""
        served = self.server.served
        if served.folders.get("files") != folder:
            served.folders["files"] = folder
            served.seen = {path: file for path, file in served.seen.items() if not path.startswith("/files/")}
            self.paths = {}
        return "/files/"

    def keep(self, array: Array, handle: int, port: Port) -> None:
        """Record that the device holds the tensor of `array` as well, until the array is collected."""
        key = id(array)
        self.handles[key] = (handle, port)
        weakref.finalize(array, self.forget, key, handle).atexit = False

    def forget(self, key: int, handle: int) -> None:
        # An array may be collected during a call to the page; `drop_stale` releases its tensor before the next one.
        self.handles.pop(key, None)
        self.stale.append(handle)

    def drop_stale(self) -> None:
        """Release the device tensors of collected arrays."""
        if self.stale and not self.dead:
            handles, self.stale = self.stale, []
            self.call("release", {"handles": handles})

    def on_device(self, array: Array, port: Port) -> int | None:
        """Return the handle of the array's device tensor; None without one, or where `port` stores it differently."""
        handle, source = self.handles.get(id(array), (None, None))
        fits = source and (source.shape, source.dtype, source.layout, source.scale, source.zero_point) == (
            port.shape,
            port.dtype,
            port.layout,
            port.scale,
            port.zero_point,
        )
        return handle if fits else None


class Refused(Exception):
    """Raised with the error that a page threw, or the reason why it gave no answer."""


class WebSession:
    """One entry of one artifact in the browser."""

    def __init__(self, link: Link, folder: Path, entry: Entry, paths: Sequence[str]) -> None:
        self.page, self.entry = link, entry
        link.drop_stale()
        base = link.publish(folder)
        link.paths[entry.id] = paths
        job = {
            "base": base,
            # Engines that keep a file open for all its signatures tell artifacts apart by it.
            "key": identity(folder / entry.file),
            "file": entry.file,
            "paths": list(paths),
            "signature": entry.function or entry.name,
            "outputs": [port.file_name for port in entry.outputs],
        }
        self.id = int(link.call("open", job, "open")["id"])

    def bind(self, inputs: Tensors) -> None:
        """Set the inputs. Arrays that another session of this page has fetched are taken from the device."""
        self.page.drop_stale()
        self.page.call("bind", {"id": self.id, "tensors": [self.pack(p, inputs[p.name]) for p in self.entry.inputs]})

    def pack(self, port: Port, value: Array) -> dict[str, Any]:
        """Return one input as the page takes it: the handle of a device tensor, or base64 data."""
        handle = self.page.on_device(value, port)
        if handle is not None:
            return {"name": port.file_name, "handle": handle}
        raw = to_file(port, value)
        data = base64.b64encode(raw.tobytes()).decode()
        return {"name": port.file_name, "data": data, "shape": list(port.shape), "dtype": port.dtype}

    def invoke(self) -> float:
        """Return the seconds in the page, from the call until the outputs are complete on its device."""
        return self.sample(0.0, 1)[0]

    def sample(self, seconds: float, least: int) -> list[float]:
        """Return the seconds of each run. The page runs for about `seconds`, and at least `least` times.

        One call to the page for all runs: between two calls the processor would cool down.
        """
        milliseconds = self.page.call("sample", {"id": self.id, "seconds": seconds, "least": least})
        times = [float(value) / 1e3 for value in milliseconds]
        if len(times) < least or not all(math.isfinite(value) and value >= 0 for value in times):
            raise StageError("run", f"the page answered with invalid times: {str(milliseconds)[:100]}")
        return times

    def fetch(self) -> dict[str, Array]:
        answers = {answer["name"]: answer for answer in self.page.call("fetch", {"id": self.id})}
        arrays: dict[str, Array] = {}
        for port in self.entry.outputs:
            answer = answers[port.file_name]
            raw = np.frombuffer(base64.b64decode(answer["data"]), port.dtype).reshape(port.shape)
            arrays[port.name] = from_file(port, raw)
            self.page.keep(arrays[port.name], answer["handle"], port)
        return arrays

    def close(self) -> None:
        if not self.page.dead:
            self.page.call("close", {"id": self.id})


def identity(file: Path) -> str:
    """Return path, modification time and size. A missing file has an identity too, and fails when it is loaded."""
    stat = file.stat() if file.exists() else None
    return f"{file.resolve()} {stat.st_mtime_ns if stat else 0} {stat.st_size if stat else 0}"
