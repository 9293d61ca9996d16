"""Run artifacts in a real browser with TF.js, ONNX Runtime Web and LiteRT.js, on the files as they ship.

Where there is no GPU, a GPU backend runs on Chromium's software renderer: that proves its numbers, never its speed.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.adapters.tfjs_files import read_graph_model, weight_dtypes
from benchmarks.evidence.environment import Environment, Offer
from benchmarks.evidence.row import Label
from benchmarks.runtime import Runtime, load_runtime
from benchmarks.runtimes.web.browser import blank_page, chromium, page
from benchmarks.runtimes.web.link import Engine, Link, WebSession
from benchmarks.runtimes.web.server import NODE_MODULES
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.files import inside

# The npm package that every page uses to detect WebAssembly features.
FEATURES = "wasm-feature-detect"
# Library -> its target, and its npm packages without those of a backend.
LIBRARIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "tfjs": ("tfjs", ("@tensorflow/tfjs-core", "@tensorflow/tfjs-converter")),
    "ort": ("onnx", ("onnxruntime-web",)),
    "litert": ("litert", ("@litertjs/core", "@litertjs/wasm-utils")),
}
TITLES = {"tfjs": "TF.js", "ort": "ONNX Runtime Web", "litert": "LiteRT.js"}


class WebRuntime(Runtime):
    """`library` on `backend`, and named after both; "wasm" is left out of the name, because every browser has it."""

    evidence: Label = "browser-host"
    library = ""
    backend = "wasm"

    def __init__(self, link: Link | None = None) -> None:
        """Run in the page of `link`, such as one on a phone; without it, in a headless Chromium."""
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

    def lacks(self, offer: Offer) -> str:
        """Return the feature that this backend needs and a browser with this `offer` lacks; "" if it lacks none."""
        if self.backend == "webgpu" and not offer.adapter:
            reason = "" if offer.secure else ": its page is in no secure context"
            return f"the browser offers no WebGPU adapter{reason}"
        if self.backend == "webgl" and not offer.webgl:
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
        """Start the browser. It is not part of a cold start: the visitor of a page has it running already."""
        missing = self.unavailable()
        if missing:
            raise StageError("open", missing)
        if self.link is None:
            blank_page(Engine(self.library, self.backend, threads))

    def where(self, threads: int) -> Link:
        """Return the page with this runtime's engine started. Raises StageError("open") where it runs another one."""
        engine = Engine(self.library, self.backend, threads)
        if self.link is None:
            return page(engine)
        if self.link.engine is None:
            self.link.start(engine)
        if self.link.engine != engine:
            raise StageError("open", f"the page runs {self.link.engine}: one engine per page")
        return self.link

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> WebSession:
        self.prepare(threads)
        return WebSession(self.where(threads), folder, entry, self.paths(folder, entry))

    def paths(self, folder: Path, entry: Entry) -> list[str]:
        """Return the files that a browser downloads for `entry`: its model file, and the shards of a graph model."""
        files = [inside(folder, entry.file, "open")]
        if self.target == "tfjs":
            files += read_graph_model(folder, entry).shards
        return [str(file.relative_to(folder.resolve())) for file in (path.resolve() for path in files)]

    def environment(self, threads: int = 1) -> Environment:
        """Return the features of the browser, the features that the engine uses, and the downloads with gzip sizes.

        `runtime` is the download of the library and its WebAssembly, `model` the download of each entry.
        """
        link = self.where(threads)
        served = link.server.served
        model = {name: served.weigh([f"/files/{path}" for path in paths]) for name, paths in link.paths.items()}
        runtime = [
            path for path in served.seen if path.startswith("/npm/") and not path.startswith(f"/npm/{FEATURES}/")
        ]
        binaries = sorted(path.rpartition("/")[2] for path in runtime if path.endswith(".wasm"))
        browser = replace(
            link.describe(),
            software=link.software(self.backend),
            wasm_files=tuple(binaries),
            runtime=served.weigh(runtime),
            model=model,
        )
        return Environment(browser=browser)

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        if self.target == "tfjs":
            return weight_dtypes(read_graph_model(folder, entry))
        return load_runtime({"onnx": "onnxruntime", "litert": "litert"}[self.target]).read_dtypes(folder, entry)


def runtime_class(library: str, backend: str) -> Callable[[], WebRuntime]:
    """Return the subclass of one library on one backend, as the registry of runtimes names it."""
    return type(f"{library}_{backend}", (WebRuntime,), {"library": library, "backend": backend})


tfjs_wasm, tfjs_webgl, tfjs_webgpu = (runtime_class("tfjs", backend) for backend in ("wasm", "webgl", "webgpu"))
ort_wasm, ort_webgpu = (runtime_class("ort", backend) for backend in ("wasm", "webgpu"))
litert_wasm, litert_webgpu = (runtime_class("litert", backend) for backend in ("wasm", "webgpu"))
