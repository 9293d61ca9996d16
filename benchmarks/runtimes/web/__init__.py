"""Web runtimes in a real browser: TF.js, ONNX Runtime Web and LiteRT.js on the files as they ship.

A GPU backend runs on Chromium's software renderer where there is no GPU: it proves the numbers, never a speed.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.graph_model import read_graph_model, weight_dtypes
from benchmarks.runtime import load_runtime
from benchmarks.runtimes.web.browser import blank_page, chromium, page
from benchmarks.runtimes.web.link import Engine, Link, WebSession
from benchmarks.runtimes.web.server import NODE_MODULES
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.files import inside

# library -> (the target it runs, its npm packages without the backend's, a runtime of this computer that reads
# the storage types of the same files)
FEATURES = "wasm-feature-detect"
LIBRARIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "tfjs": ("tfjs", ("@tensorflow/tfjs-core", "@tensorflow/tfjs-converter")),
    "ort": ("onnx", ("onnxruntime-web",)),
    "litert": ("litert", ("@litertjs/core", "@litertjs/wasm-utils")),
}
TITLES = {"tfjs": "TF.js", "ort": "ONNX Runtime Web", "litert": "LiteRT.js"}


class WebRuntime:
    """`library` on `backend`. Named after both, but for WebAssembly, which every browser has."""

    evidence = "browser-host"
    library = ""
    backend = "wasm"

    def __init__(self, link: Link | None = None) -> None:
        """With `link`: in that page, such as one on a phone; else in a headless Chromium."""
        self.link = link
        self.name = f"{self.library}-web" + ("" if self.backend == "wasm" else f"-{self.backend}")
        self.target, self.packages = LIBRARIES[self.library]
        if self.library == "tfjs":
            self.packages = (*self.packages, f"@tensorflow/tfjs-backend-{self.backend}")
        self.targets: tuple[str, ...] = (self.target,)
        self.timed = self.backend == "wasm"
        self.about = f"{TITLES[self.library]}, {self.backend}, in headless Chromium on this computer" + (
            "" if self.timed else ": a software renderer, whose time says nothing about a GPU"
        )

    def lacks(self, facts: Mapping[str, Any]) -> str:
        """What a browser that offers `facts` lacks for this backend; "" where it has it."""
        if self.backend == "webgpu" and not facts.get("adapter"):
            where = "" if facts.get("secure") else ": its page is in no secure context"
            return f"the browser offers no WebGPU adapter{where}"
        if self.backend == "webgl" and not facts.get("webgl"):
            return "the browser offers no WebGL 2"
        return ""

    def unavailable(self) -> str | None:
        if self.link is not None:
            return self.packages_missing()
        if importlib.util.find_spec("playwright") is None:
            return "playwright is not installed; run: make setup"
        if chromium() is None:
            return "Chromium is not installed; run: make setup"
        return self.packages_missing()

    def packages_missing(self) -> str | None:
        missing = [name for name in (*self.packages, FEATURES) if not (NODE_MODULES / name / "package.json").is_file()]
        return f"{', '.join(missing)} not in node_modules; run: make setup" if missing else None

    def version(self) -> dict[str, str]:
        text = (NODE_MODULES / self.packages[0] / "package.json").read_text(encoding="utf-8")
        return {self.packages[0]: str(json.loads(text)["version"]), "backend": self.backend}

    def prepare(self, threads: int = 1) -> None:
        """Start the browser, which a visitor of a page has running already; a cold start begins after it."""
        missing = self.unavailable()
        if missing:
            raise StageError("open", missing)
        if self.link is None:
            blank_page(Engine(self.library, self.backend, threads))

    def where(self, threads: int) -> Link:
        engine = Engine(self.library, self.backend, threads)
        if self.link is None:
            return page(engine)
        if self.link.engine is None:
            self.link.start(engine)
        if self.link.engine != engine:
            raise StageError("open", f"the page runs {self.link.engine}: one engine a page")
        return self.link

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> WebSession:
        self.prepare(threads)
        return WebSession(self.where(threads), folder, entry, self.paths(folder, entry))

    def paths(self, folder: Path, entry: Entry) -> list[str]:
        """What a browser downloads for `entry`: its file, and the shards a graph model lists."""
        files = [inside(folder, entry.file, "open")]
        if self.target == "tfjs":
            files += read_graph_model(folder, entry).shards
        return [str(file.relative_to(folder.resolve())) for file in (path.resolve() for path in files)]

    def environment(self, threads: int = 1) -> dict[str, Any]:
        """What the browser offers, what the library made of it, and what was downloaded, with its bytes after gzip:
        `runtime` (the library and its WebAssembly), `model` by entry."""
        where = self.where(threads)
        served = where.server.served
        model = {name: served.weigh([f"/files/{path}" for path in paths]) for name, paths in where.paths.items()}
        runtime = [
            path for path in served.seen if path.startswith("/npm/") and not path.startswith(f"/npm/{FEATURES}/")
        ]
        binaries = sorted(path.rpartition("/")[2] for path in runtime if path.endswith(".wasm"))
        facts = {**where.facts, "software": where.software(self.backend), "wasm_files": binaries}
        return {**facts, "runtime": served.weigh(runtime), "model": model}

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        if self.target == "tfjs":
            return weight_dtypes(read_graph_model(folder, entry))
        return load_runtime({"onnx": "onnxruntime", "litert": "litert"}[self.target]).read_dtypes(folder, entry)


def combined(library: str, backend: str) -> Callable[[], WebRuntime]:
    return type(f"{library}_{backend}", (WebRuntime,), {"library": library, "backend": backend})


tfjs_wasm, tfjs_webgl, tfjs_webgpu = (combined("tfjs", backend) for backend in ("wasm", "webgl", "webgpu"))
ort_wasm, ort_webgpu = (combined("ort", backend) for backend in ("wasm", "webgpu"))
litert_wasm, litert_webgpu = (combined("litert", backend) for backend in ("wasm", "webgpu"))
