"""The local web server behind the page: the page itself, the engines, the runtimes' packages and an artifact's files.

Cross-origin isolated (COOP and COEP), without which a browser gives WebAssembly no threads; every answer names its
type, without which a browser refuses modules and compiles no .wasm while it loads. What was asked for is counted.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[3]
PAGE = Path(__file__).with_name("page")
ENGINES = ROOT / "demo/engines"
NODE_MODULES = ROOT / "node_modules"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Each load is counted and timed as a first one.
    "Cache-Control": "no-store",
}
# LiteRT.js imports a package by its bare name. An import map would resolve it on the page, but not in a worker.
BARE = {b'"@litertjs/wasm-utils"': b'"/npm/@litertjs/wasm-utils/dist/index.js"'}


@dataclass
class Served:
    """What the server gives away: `folders` maps the first part of a path to a folder; `seen` holds what was asked."""

    folders: dict[str, Path]
    seen: dict[str, Path] = field(default_factory=dict)

    def find(self, path: str) -> Path | None:
        """The file behind a URL's path; None for anything outside the folders."""
        first, _, rest = unquote(urlsplit(path).path).lstrip("/").partition("/")
        folder = self.folders.get(first if rest else "page")
        if folder is None:
            return None
        file = (folder / (rest or first or "index.html")).resolve()
        return file if file.is_relative_to(folder.resolve()) and file.is_file() else None

    def downloads(self) -> dict[str, dict[str, int]]:
        """Bytes and gzip bytes by first part of the path: "npm" is the runtime, "files" the model."""
        found: dict[str, dict[str, int]] = {}
        for path, file in sorted(self.seen.items()):
            group = found.setdefault(path.lstrip("/").partition("/")[0], {"files": 0, "bytes": 0, "gzip": 0})
            stat = file.stat()
            group["files"] += 1
            group["bytes"] += stat.st_size
            group["gzip"] += compressed(file, stat.st_mtime_ns)
        return found


@cache
def compressed(file: Path, changed: int) -> int:
    """Bytes as a web host would send them (gzip, level 6)."""
    return len(gzip.compress(file.read_bytes(), 6))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def do_GET(self) -> None:
        file = self.served.find(self.path)
        if file is None:
            self.answer(HTTPStatus.NOT_FOUND, b"not found", "text/plain")
            return
        content = file.read_bytes()
        if file.suffix in (".js", ".mjs"):
            for bare, full in BARE.items():
                content = content.replace(bare, full)
        self.served.seen[urlsplit(self.path).path] = file
        self.answer(HTTPStatus.OK, content, TYPES.get(file.suffix, "application/octet-stream"))

    def answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        """Nothing: a worker's log is for what went wrong."""


class Server:
    """Serves from a thread of its own until `close`. Localhost only: other devices come through `adb reverse`."""

    def __init__(self, folders: Mapping[str, Path] | None = None, port: int = 0) -> None:
        base = {"page": PAGE, "engines": ENGINES, "npm": NODE_MODULES}
        self.served = Served({**base, **(folders or {})})
        handler = type("Bound", (Handler,), {"served": self.served})
        self.http = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://localhost:{self.http.server_port}/"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
