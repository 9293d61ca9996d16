"""A headless Chromium with one page a runtime and backend, driven through playwright; one browser a process."""

from __future__ import annotations

import atexit
import base64
import shutil
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.runtime import Array, Tensors, from_file, to_file
from benchmarks.runtimes.web.server import Server
from models.artifact import Entry, Port
from models.errors import StageError

if TYPE_CHECKING:
    from playwright.sync_api import Playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# A browser without a network and a person: no updates, no look-ups. WebGPU is off by default in headless Linux.
FLAGS = (
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)
WEBGPU = ("--enable-unsafe-webgpu",)
START_LIMIT = 60_000


def chromium() -> str | None:
    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


@dataclass(frozen=True, slots=True)
class Engine:
    """`library` names a file of demo/engines, `backend` what it computes with."""

    library: str
    backend: str
    threads: int = 1


class Page:
    """A page with one engine started. `facts` holds what the browser offers and what the engine made of it."""

    def __init__(self, engine: Engine) -> None:
        from playwright.sync_api import Error

        path = chromium()
        if path is None:
            raise StageError("open", "Chromium is not installed; run: make setup")
        self.error = Error
        self.server = Server()
        try:
            flags = [*FLAGS, *(WEBGPU if engine.backend == "webgpu" else ())]
            self.browser = driver().chromium.launch(executable_path=path, args=flags, timeout=START_LIMIT)
            self.page = self.browser.new_page()
            self.page.goto(self.server.address, timeout=START_LIMIT)
            self.page.wait_for_selector("body[data-ready]", timeout=START_LIMIT, state="attached")
        except Error as failure:
            self.close()
            raise StageError("open", f"Chromium did not start: {failure.message}") from failure
        self.stale: list[int] = []
        # Arrays that were fetched, by identity: what lies on the device as well.
        self.handles: dict[int, tuple[int, Port]] = {}
        wanted = {"library": engine.library, "backend": engine.backend, "threads": engine.threads}
        self.facts: dict[str, Any] = {**self.call("start", wanted, "open"), "browser": self.browser.version}

    def call(self, name: str, argument: Mapping[str, Any], stage: str = "run") -> Any:
        """`hydra.<name>(argument)` in the page. Raises StageError(stage) with what the page threw."""
        try:
            return self.page.evaluate("([name, argument]) => hydra[name](argument)", [name, dict(argument)])
        except self.error as failure:
            said = failure.message.removeprefix("Page.evaluate: ").splitlines()[0]
            raise StageError(stage, f"{name}: {said}") from failure

    def publish(self, folder: Path) -> str:
        """Serve the files of one artifact, and count what is downloaded from now on as its own."""
        served = self.server.served
        if served.folders.get("files") != folder:
            served.folders["files"] = folder
            served.seen = {path: file for path, file in served.seen.items() if not path.startswith("/files/")}
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
        if self.stale:
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

    def close(self) -> None:
        if hasattr(self, "browser"):
            self.browser.close()
        self.server.close()


@cache
def driver() -> Playwright:
    """playwright's own process: it allows one a thread."""
    from playwright.sync_api import sync_playwright

    made = sync_playwright().start()
    atexit.register(made.stop)
    return made


@cache
def page(engine: Engine) -> Page:
    """The page of `engine`: one a process, closed at its end."""
    made = Page(engine)
    atexit.register(made.close)
    return made


class WebSession:
    """One entry of one artifact in the browser."""

    def __init__(self, where: Page, folder: Path, entry: Entry, paths: list[str]) -> None:
        self.page, self.entry = where, entry
        where.drop_stale()
        job = {
            "base": where.publish(folder),
            "file": entry.file,
            "paths": paths,
            "signature": entry.function or entry.name,
            "outputs": [port.file_name for port in entry.outputs],
        }
        self.id = int(where.call("open", job, "open")["id"])

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
        return float(self.page.call("invoke", {"id": self.id})["milliseconds"]) / 1e3

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
        self.page.call("close", {"id": self.id})
