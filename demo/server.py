"""The demo's web server on localhost: the page, the runtimes' packages, published artifacts and samples.

The page is cross-origin isolated, without which a browser gives WebAssembly no threads. A content security policy keeps
every request on this origin. Only listed file types in listed folders are served; hydramobile/http_server.py refuses
strangers.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from hydramobile.http_server import LocalHandler, LocalServer, file_below, path_of
from hydramobile.npm_files import ENGINES, find_npm, with_full_names

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path(__file__).resolve().parent
# Engines, downloads and preprocessing: what packages for the web hold too. The page gets them below /runtime/.
RUNTIME = ROOT / "export/bundle/web/sources"
NODE_MODULES = ROOT / "node_modules"
PACKAGES = {**ENGINES, "three": ("build", "examples/jsm")}
# The files of the runtime that the page imports.
SHARED = (
    "engines/import_url.js",
    "engines/litert.js",
    "engines/ort.js",
    "engines/tfjs.js",
    "errors.js",
    "model.js",
    "resize.js",
    "store.js",
    "tensors.js",
)
# Loaded when the 3D mode is opened. The page fetches them after its first picture, for use without a network.
LATER = (
    "three/build/three.core.js",
    "three/build/three.module.js",
    "three/examples/jsm/controls/OrbitControls.js",
    "three/examples/jsm/exporters/GLTFExporter.js",
    "three/examples/jsm/exporters/PLYExporter.js",
)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".png": "image/png",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
    ".onnx": "application/octet-stream",
    ".tflite": "application/octet-stream",
    ".bin": "application/octet-stream",
}
# File types that are compressed when they are asked for. packed.py compresses weights, which take longer, at the start.
COMPRESSED = frozenset({".html", ".css", ".js", ".mjs", ".json", ".svg", ".wasm"})
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # The browser asks again each time; the page's own caches (service worker, verified models) make it fast.
    "Cache-Control": "no-cache",
}
# blob: in script-src and worker-src: TF.js and ONNX Runtime start their threads from blobs of their own code.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' blob: {hashes}; worker-src 'self' blob:; "
    "connect-src 'self' blob: data:; img-src 'self' blob: data:; style-src 'self'; "
    "media-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The place in sw.js where the server writes the site's hash.
BUILD = b"'BUILD'"
INLINE = re.compile(rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)


class Site:
    """The served content: `catalog` as JSON, `files` by the path of their URL, the runtimes and the page itself.

    `packed` is the compressed file of a file, where it was compressed before; `made` are type and content of files that
    exist in memory only, by path.

    `build` is the hash of the page and the catalog. Every answer has it (X-Hydra-Build), so that the service worker
    keeps no page of another program, and none of another build.
    """

    def __init__(
        self,
        catalog: Mapping[str, Any],
        files: Mapping[str, Path],
        packed: Mapping[Path, Path] | None = None,
        made: Mapping[str, tuple[str, bytes]] | None = None,
    ) -> None:
        self.files = dict(files)
        self.packed = dict(packed or {})
        listing, urls = json.dumps(catalog).encode(), shell()
        later = [*(f"/npm/{path}" for path in LATER), *(row["url"] for row in catalog.get("samples", ()))]
        self.build = hash_of(listing, (self.find(url[1:]) for url in [*urls, *later, "/sw.js"]))
        files_of_page = {"build": self.build, "files": urls, "later": later}
        script = (PAGE / "sw.js").read_bytes().replace(BUILD, f"'{self.build}'".encode())
        self.generated = {
            **(made or {}),
            "catalog.json": ("application/json", listing),
            "shell.json": ("application/json", json.dumps(files_of_page).encode()),
            "sw.js": (TYPES[".js"], script),
        }
        hashes = [hashlib.sha256(text).digest() for text in INLINE.findall((PAGE / "index.html").read_bytes())]
        allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in hashes)
        self.headers = {
            **HEADERS,
            "Content-Security-Policy": POLICY.format(hashes=allowed),
            "X-Hydra-Build": self.build,
        }

    def find(self, path: str) -> Path | None:
        """Return the file behind the path of a URL, without its first slash; None where it is not served."""
        if f"/{path}" in self.files:
            return self.files[f"/{path}"]
        first, _, rest = path.partition("/")
        if first == "npm":
            return find_npm(NODE_MODULES, PACKAGES, rest)
        if first == "runtime":
            return file_below(RUNTIME, rest) if rest in SHARED else None
        file = file_below(PAGE, path or "index.html")
        return file if file and file.suffix in TYPES else None


def hash_of(listing: bytes, files: Iterable[Path | None]) -> str:
    """Return 16 hexadecimal digits that change with the catalog and with every file of the page."""
    digest = hashlib.sha256(listing)
    for file in files:
        if file:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def page_hash() -> str:
    """Return a hash that changes with every file of the page, and with nothing else."""
    return hash_of(b"", (PAGE / (url[1:] or "index.html") for url in shell() if not url.startswith("/runtime/")))


def shell() -> list[str]:
    """Return the URLs of the page's own files, which the service worker caches when it is installed."""
    files = (path.relative_to(PAGE) for path in sorted(PAGE.rglob("*")) if path.suffix in TYPES)
    urls = (f"/{path.as_posix()}" for path in files if path.name not in ("index.html", "sw.js"))
    return ["/", *urls, *(f"/runtime/{path}" for path in SHARED)]


@lru_cache(maxsize=256)
def body(file: Path, changed: int, packed: bool) -> bytes:
    """Return the content of `file`. `changed` (its modification time) is part of the cache's key."""
    content = file.read_bytes()
    if file.suffix in (".js", ".mjs"):
        content = with_full_names(content)
    return gzip.compress(content, 6) if packed else content


class Handler(LocalHandler):
    site: Site

    def do_HEAD(self) -> None:  # noqa: N802  # http.server looks this name up
        self.do_GET()

    def do_GET(self) -> None:  # noqa: N802  # http.server looks this name up
        path = path_of(self.path)
        if path in self.site.generated:
            mime, content = self.site.generated[path]
            self.answer(HTTPStatus.OK, content, {"Content-Type": mime})
            return
        file = self.site.find(path) if path is not None else None
        if file is None:
            self.answer(HTTPStatus.NOT_FOUND, b"not found", {"Content-Type": "text/plain"})
            return
        compressed = "gzip" in self.headers.get("Accept-Encoding", "")
        ready = self.site.packed.get(file) if compressed else None
        compressed = compressed and (ready is not None or file.suffix in COMPRESSED)
        headers = {"Content-Type": TYPES[file.suffix], **({"Content-Encoding": "gzip"} if compressed else {})}
        answer: Path | bytes = ready or file
        if ready is None and (compressed or file.suffix in (".js", ".mjs")):
            answer = body(file, file.stat().st_mtime_ns, compressed)
        self.answer(HTTPStatus.OK, answer, headers)


def bind(site: Site, port: int = 0) -> LocalServer:
    """Return a server on localhost that is not running yet. Port 0 takes a free one.

    Raises OSError where the port is taken.
    """
    return LocalServer(("127.0.0.1", port), type("Bound", (Handler,), {"site": site, "headers_of_all": site.headers}))
