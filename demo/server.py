"""The demo's web server on localhost: the page, the runtimes' packages, published artifacts and samples.

The page is cross-origin isolated, without which a browser gives WebAssembly no threads. A content security policy keeps
every request on this origin. Only listed file types in listed folders are served.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path(__file__).resolve().parent
NODE_MODULES = ROOT / "node_modules"
# The npm packages that are served; the others in node_modules are not.
PACKAGES = (
    "@litertjs/core",
    "@litertjs/wasm-utils",
    "@tensorflow/tfjs-backend-wasm",
    "@tensorflow/tfjs-backend-webgl",
    "@tensorflow/tfjs-backend-webgpu",
    "@tensorflow/tfjs-converter",
    "@tensorflow/tfjs-core",
    "onnxruntime-web",
    "three",
)
# Loaded when the 3D mode is opened. The service worker caches them from the start, for use without a network.
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
    ".jpg": "image/jpeg",
    ".onnx": "application/octet-stream",
    ".tflite": "application/octet-stream",
    ".bin": "application/octet-stream",
}
# File types worth compressing: photos and quantized weights gain too little for the time it takes.
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
# LiteRT.js imports a package by its bare name. An import map would resolve it in the page, but not in a worker.
BARE = {b'"@litertjs/wasm-utils"': b'"/npm/@litertjs/wasm-utils/dist/index.js"'}
INLINE = re.compile(rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)


class Site:
    """The served content: `catalog` as JSON, `files` by the path of their URL, the runtimes and the page itself."""

    def __init__(self, catalog: Mapping[str, Any], files: Mapping[str, Path]) -> None:
        self.files = dict(files)
        self.generated = {"/catalog.json": json.dumps(catalog).encode(), "/shell.json": json.dumps(shell()).encode()}
        hashes = [hashlib.sha256(text).digest() for text in INLINE.findall((PAGE / "index.html").read_bytes())]
        allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in hashes)
        self.policy = POLICY.format(hashes=allowed)

    def find(self, path: str) -> Path | None:
        """Return the file behind a URL's path; None where it is not served."""
        name = unquote(path).lstrip("/")
        if f"/{name}" in self.files:
            return self.files[f"/{name}"]
        first, _, rest = name.partition("/")
        if first != "npm":
            folder, rest = PAGE, name or "index.html"
        elif any(rest.startswith(f"{package}/") for package in PACKAGES):
            folder = NODE_MODULES
        else:
            return None
        file = (folder / rest).resolve()
        known = file.suffix in TYPES and file.is_relative_to(folder.resolve())
        return file if known and file.is_file() else None


def shell() -> list[str]:
    """Return the URLs of the page's own files, which the service worker caches for use without a network."""
    files = (path.relative_to(PAGE) for path in sorted(PAGE.rglob("*")) if path.suffix in TYPES)
    urls = (f"/{path.as_posix()}" for path in files if path.name not in ("index.html", "sw.js"))
    return ["/", *urls, *(f"/npm/{path}" for path in LATER)]


@cache
def body(file: Path, changed: int, packed: bool) -> bytes:
    """Return the content of `file`. `changed` (its modification time) is part of the cache's key."""
    content = file.read_bytes()
    if file.suffix in (".js", ".mjs"):
        for bare, full in BARE.items():
            content = content.replace(bare, full)
    return gzip.compress(content, 6) if packed else content


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        generated = self.site.generated.get(path)
        if generated is not None:
            self.answer(HTTPStatus.OK, generated, "application/json")
            return
        file = self.site.find(path)
        if file is None:
            self.answer(HTTPStatus.NOT_FOUND, b"not found", "text/plain")
            return
        packed = file.suffix in COMPRESSED and "gzip" in self.headers.get("Accept-Encoding", "")
        content = body(file, file.stat().st_mtime_ns, packed)
        self.answer(HTTPStatus.OK, content, TYPES[file.suffix], {"Content-Encoding": "gzip"} if packed else {})

    def answer(self, status: HTTPStatus, content: bytes, mime: str, more: Mapping[str, str] | None = None) -> None:
        headers = {"Content-Type": mime, "Content-Length": str(len(content))}
        headers |= {"Content-Security-Policy": self.site.policy, **(more or {})}
        self.send_response(status)
        for name, value in {**HEADERS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        """Log nothing: the terminal shows the address, not every file."""


def bind(site: Site, port: int = 0) -> ThreadingHTTPServer:
    """Return a server on localhost that is not running yet. Port 0 takes a free one.

    Raises OSError where the port is taken.
    """
    handler = type("Bound", (Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    return server
