"""Web runtimes in a real browser: TF.js, ONNX Runtime Web and LiteRT.js on the files as they ship.

A GPU backend runs on Chromium's software renderer where there is no GPU: it proves the numbers, never a speed.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.graph_model import read_graph_model, weight_dtypes
from benchmarks.runtime import load_runtime
from benchmarks.runtimes.web.browser import Engine, WebSession, chromium, page
from benchmarks.runtimes.web.server import NODE_MODULES
from models.artifact import Entry
from models.errors import StageError
from models.files import inside

# library -> (the target it runs, its npm packages without the backend's, a runtime of this computer that reads
# the storage types of the same files)
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

    def __init__(self) -> None:
        self.name = f"{self.library}-web" + ("" if self.backend == "wasm" else f"-{self.backend}")
        self.target, self.packages = LIBRARIES[self.library]
        if self.library == "tfjs":
            self.packages = (*self.packages, f"@tensorflow/tfjs-backend-{self.backend}")
        self.targets = (self.target,)
        self.timed = self.backend == "wasm"
        self.about = f"{TITLES[self.library]}, {self.backend}, in headless Chromium on this computer" + (
            "" if self.timed else ": a software renderer, whose time says nothing about a GPU"
        )

    def unavailable(self) -> str | None:
        if importlib.util.find_spec("playwright") is None:
            return "playwright is not installed; run: make setup"
        if chromium() is None:
            return "Chromium is not installed; run: make setup"
        missing = [name for name in self.packages if not (NODE_MODULES / name / "package.json").is_file()]
        return f"{', '.join(missing)} not in node_modules; run: make setup" if missing else None

    def version(self) -> dict[str, str]:
        text = (NODE_MODULES / self.packages[0] / "package.json").read_text(encoding="utf-8")
        return {self.packages[0]: str(json.loads(text)["version"]), "backend": self.backend}

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> WebSession:
        missing = self.unavailable()
        if missing:
            raise StageError("open", missing)
        where = page(Engine(self.library, self.backend, threads))
        return WebSession(where, folder, entry, self.paths(folder, entry))

    def paths(self, folder: Path, entry: Entry) -> list[str]:
        """What a browser downloads for `entry`: its file, and the shards a graph model lists."""
        files = [inside(folder, entry.file, "open")]
        if self.target == "tfjs":
            files += read_graph_model(folder, entry).shards
        return [str(file.relative_to(folder.resolve())) for file in (path.resolve() for path in files)]

    def environment(self, threads: int = 1) -> dict[str, Any]:
        """What the browser offers, what the library made of it, and bytes downloaded so far (gzip beside them)."""
        where = page(Engine(self.library, self.backend, threads))
        downloads = where.server.served.downloads()
        empty = {"files": 0, "bytes": 0, "gzip": 0}
        return {**where.facts, "runtime": downloads.get("npm", empty), "model": downloads.get("files", empty)}

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        if self.target == "tfjs":
            return weight_dtypes(read_graph_model(folder, entry))
        return load_runtime({"onnx": "onnxruntime", "litert": "litert"}[self.target]).read_dtypes(folder, entry)


def combined(library: str, backend: str) -> Callable[[], WebRuntime]:
    return type(f"{library}_{backend}", (WebRuntime,), {"library": library, "backend": backend})


tfjs_wasm, tfjs_webgl, tfjs_webgpu = (combined("tfjs", backend) for backend in ("wasm", "webgl", "webgpu"))
ort_wasm, ort_webgpu = (combined("ort", backend) for backend in ("wasm", "webgpu"))
litert_wasm, litert_webgpu = (combined("litert", backend) for backend in ("wasm", "webgpu"))
