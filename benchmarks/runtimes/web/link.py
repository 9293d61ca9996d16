"""What the benchmarks say to a page, whichever way it reaches the page, and what lies on that page's device."""

from __future__ import annotations

import base64
import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runtime import Array, Tensors, from_file, to_file
from benchmarks.runtimes.web.server import Server
from hydramobile.artifact import Entry, Port
from hydramobile.errors import StageError

# Seconds without an answer after which a page counts as hung. Far above any run seen, software GPUs included.
CALL_LIMIT = 120.0
SOFTWARE = ("swiftshader", "llvmpipe", "softpipe", "software", "basic render", "lavapipe")


@dataclass(frozen=True, slots=True)
class Engine:
    """`library` names a file of demo/engines, `backend` what it computes with."""

    library: str
    backend: str
    threads: int = 1


class Link:
    """A page with at most one engine started. `facts` holds what the browser offers and what the engine made of it;
    `dead` says why the page is of no more use."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.engine: Engine | None = None
        self.dead = ""
        self.facts: dict[str, Any] = {}
        self.stale: list[int] = []
        # Arrays that were fetched, by identity: what lies on the device as well.
        self.handles: dict[int, tuple[int, Port]] = {}
        # What was asked for, by entry of the artifact that is served.
        self.paths: dict[str, Sequence[str]] = {}

    def send(self, name: str, argument: Mapping[str, Any], limit: float) -> Any:
        """`hydra.<name>(argument)` in the page. Raises Refused with what the page threw, and sets `dead` where the
        page itself is gone."""
        raise NotImplementedError

    def call(self, name: str, argument: Mapping[str, Any], stage: str = "run") -> Any:
        """As `send`. Raises StageError(stage), which names files that were not found meanwhile."""
        if self.dead:
            raise StageError(stage, f"{name}: {self.dead}")
        self.server.served.missing.clear()
        try:
            return self.send(name, dict(argument), CALL_LIMIT)
        except Refused as error:
            missing = ", ".join(dict.fromkeys(self.server.served.missing))
            raise StageError(stage, f"{name}: {error}" + (f" (not found: {missing})" if missing else "")) from error

    def start(self, engine: Engine) -> None:
        wanted = {"library": engine.library, "backend": engine.backend, "threads": engine.threads}
        try:
            self.facts = {**self.facts, **self.call("start", wanted, "open")}
        except StageError:
            # An engine that stopped half way would be in the way of the next try.
            self.dead = self.dead or "its engine did not start"
            raise
        self.engine = engine

    def software(self, backend: str) -> bool:
        """Whether `backend` computes on a GPU that is none: its times say nothing."""
        if backend == "wasm":
            return False
        gpu = self.facts["adapter"] if backend == "webgpu" else {"name": self.facts["webgl"], "fallback": False}
        if not gpu or not gpu["name"]:
            return True
        return bool(gpu["fallback"]) or any(word in gpu["name"].lower() for word in SOFTWARE)

    def publish(self, folder: Path) -> str:
        """Serve the files of one artifact, and count what is downloaded from now on as its own."""
        served = self.server.served
        if served.folders.get("files") != folder:
            served.folders["files"] = folder
            served.seen = {path: file for path, file in served.seen.items() if not path.startswith("/files/")}
            self.paths = {}
        return "/files/"

    def keep(self, array: Array, handle: int, port: Port) -> None:
        """Remember that `array` lies on the device too, until it is collected."""
        key = id(array)
        self.handles[key] = (handle, port)
        weakref.finalize(array, self.forget, key, handle).atexit = False

    def forget(self, key: int, handle: int) -> None:
        # Collection may happen inside a call to the browser; the page hears of it with the next one of ours.
        self.handles.pop(key, None)
        self.stale.append(handle)

    def drop_stale(self) -> None:
        if self.stale and not self.dead:
            gone, self.stale = self.stale, []
            self.call("release", {"handles": gone})

    def on_device(self, array: Array, port: Port) -> int | None:
        """The number of `array` on the device, where the module that made it stores it as `port` wants it."""
        handle, made = self.handles.get(id(array), (None, None))
        fits = made and (made.shape, made.dtype, made.layout, made.scale, made.zero_point) == (
            port.shape,
            port.dtype,
            port.layout,
            port.scale,
            port.zero_point,
        )
        return handle if fits else None


class Refused(Exception):
    """What a page threw, or why it gave no answer."""


class WebSession:
    """One entry of one artifact in the browser."""

    def __init__(self, link: Link, folder: Path, entry: Entry, paths: Sequence[str]) -> None:
        self.page, self.entry = link, entry
        link.drop_stale()
        base = link.publish(folder)
        link.paths[entry.id] = paths
        job = {
            "base": base,
            # Engines that keep a file for all its signatures must not take another artifact's for it.
            "key": identity(folder / entry.file),
            "file": entry.file,
            "paths": list(paths),
            "signature": entry.function or entry.name,
            "outputs": [port.file_name for port in entry.outputs],
        }
        self.id = int(link.call("open", job, "open")["id"])

    def bind(self, inputs: Tensors) -> None:
        """Arrays that another session of this page has fetched are taken where they lie, on the device."""
        self.page.drop_stale()
        self.page.call("bind", {"id": self.id, "tensors": [self.pack(p, inputs[p.name]) for p in self.entry.inputs]})

    def pack(self, port: Port, value: Array) -> dict[str, Any]:
        handle = self.page.on_device(value, port)
        if handle is not None:
            return {"name": port.file_name, "handle": handle}
        raw = to_file(port, value)
        data = base64.b64encode(raw.tobytes()).decode()
        return {"name": port.file_name, "data": data, "shape": list(port.shape), "dtype": port.dtype}

    def invoke(self) -> float:
        """Seconds in the page, from the call until the results are there, on its device."""
        return self.sample(0.0, 1)[0]

    def sample(self, seconds: float, least: int) -> list[float]:
        """Seconds of each run, one after the other for about `seconds`, at least `least` of them: without the way
        to the page between two runs, in which a processor would cool down."""
        found = self.page.call("sample", {"id": self.id, "seconds": seconds, "least": least})
        times = [float(value) / 1e3 for value in found]
        if len(times) < least or not all(math.isfinite(value) and value >= 0 for value in times):
            raise StageError("run", f"the page answered with times that are none: {str(found)[:100]}")
        return times

    def fetch(self) -> dict[str, Array]:
        answers = {answer["name"]: answer for answer in self.page.call("fetch", {"id": self.id})}
        made: dict[str, Array] = {}
        for port in self.entry.outputs:
            answer = answers[port.file_name]
            raw = np.frombuffer(base64.b64decode(answer["data"]), port.dtype).reshape(port.shape)
            made[port.name] = from_file(port, raw)
            self.page.keep(made[port.name], answer["handle"], port)
        return made

    def close(self) -> None:
        if not self.page.dead:
            self.page.call("close", {"id": self.id})


def identity(file: Path) -> str:
    """Tells one state of one file from all others; a missing file gets an identity too, and fails when it is loaded."""
    known = file.stat() if file.exists() else None
    return f"{file.resolve()} {known.st_mtime_ns if known else 0} {known.st_size if known else 0}"
