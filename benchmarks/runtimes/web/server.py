"""The local web server behind the page: the page itself, the engines, the runtimes' packages and an artifact's files.

Cross-origin isolated (COOP and COEP), without which a browser gives WebAssembly no threads; every answer names its
type, without which a browser refuses modules and compiles no .wasm while it loads. What was asked for is counted.
"""

from __future__ import annotations

import gzip
import hmac
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

# The largest answer, a feature map, is a few megabytes.
BODY_LIMIT = 64_000_000
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
    """What the server gives away: `folders` maps the first part of a path to a folder; `seen` holds what was sent,
    `missing` what was asked for and is not there."""

    folders: dict[str, Path]
    seen: dict[str, Path] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def find(self, path: str) -> Path | None:
        """The file behind a URL's path; None for anything outside the folders."""
        first, _, rest = unquote(urlsplit(path).path).lstrip("/").partition("/")
        folder = self.folders.get(first if rest else "page")
        if folder is None:
            return None
        file = (folder / (rest or first or "index.html")).resolve()
        return file if file.is_relative_to(folder.resolve()) and file.is_file() else None

    def weigh(self, paths: Iterable[str]) -> dict[str, int]:
        """{"files", "bytes", "gzip"} of those of `paths` that were sent."""
        found = [self.seen[path] for path in paths if path in self.seen]
        sizes = [(file, file.stat()) for file in found]
        return {
            "files": len(found),
            "bytes": sum(stat.st_size for _, stat in sizes),
            "gzip": sum(compressed(file, stat.st_mtime_ns) for file, stat in sizes),
        }


@cache
def compressed(file: Path, changed: int) -> int:
    """Bytes as a web host would send them (gzip, level 6)."""
    return len(gzip.compress(file.read_bytes(), 6))


class Rejected(Exception):
    """A post that is not taken, with the HTTP status that says why."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Posts:
    """Who takes what pages post: `take(path, body, peer)` returns what the page gets. `token` is in the page's address:
    another page, or another user of this computer, does not know it."""

    token: str
    take: Callable[[str, dict[str, Any], str], Mapping[str, Any]]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Seconds a peer may leave a request half sent.
    timeout = 60
    served: Served
    posts: Posts | None

    def do_GET(self) -> None:
        file = self.served.find(self.path)
        if file is None:
            self.served.missing.append(urlsplit(self.path).path)
            self.answer(HTTPStatus.NOT_FOUND, b"not found", "text/plain")
            return
        content = file.read_bytes()
        if file.suffix in (".js", ".mjs"):
            for bare, full in BARE.items():
                content = content.replace(bare, full)
        self.served.seen[unquote(urlsplit(self.path).path)] = file
        self.answer(HTTPStatus.OK, content, TYPES.get(file.suffix, "application/octet-stream"))

    def do_POST(self) -> None:
        try:
            content = dict(self.taken())
            status = HTTPStatus.OK
        except Rejected as error:
            # What was not read would be taken for the next request.
            self.close_connection = True
            status, content = error.status, {"error": str(error)}
        try:
            self.answer(status, json.dumps(content).encode(), TYPES[".json"])
        except OSError:
            self.close_connection = True  # the page has gone meanwhile

    def taken(self) -> Mapping[str, Any]:
        if self.posts is None:
            raise Rejected(HTTPStatus.METHOD_NOT_ALLOWED, "nothing is taken here")
        if urlsplit(self.headers.get("Origin", "")).netloc != self.headers.get("Host"):
            raise Rejected(HTTPStatus.FORBIDDEN, "posts come from the page served here and nowhere else")
        if not hmac.compare_digest(self.headers.get("X-Hydra-Token", "").encode(), self.posts.token.encode()):
            raise Rejected(HTTPStatus.FORBIDDEN, "wrong token: open the address that the command printed")
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            raise Rejected(HTTPStatus.LENGTH_REQUIRED, "a post says how long it is")
        if int(length) > BODY_LIMIT:
            raise Rejected(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {BODY_LIMIT} bytes")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (OSError, ValueError, RecursionError) as error:
            raise Rejected(HTTPStatus.BAD_REQUEST, "not JSON") from error
        if not isinstance(body, dict):
            raise Rejected(HTTPStatus.BAD_REQUEST, "not an object")
        return self.posts.take(urlsplit(self.path).path, body, self.client_address[0])

    def answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        """Nothing: a worker's log is for what went wrong."""


class Server:
    """Serves from a thread of its own until `close`. Posts are taken where `posts` says by whom."""

    def __init__(
        self, folders: Mapping[str, Path] | None = None, host: str = "127.0.0.1", posts: Posts | None = None
    ) -> None:
        base = {"page": PAGE, "engines": ENGINES, "npm": NODE_MODULES}
        self.served = Served({**base, **(folders or {})})
        handler = type("Bound", (Handler,), {"served": self.served, "posts": posts})
        self.http = ThreadingHTTPServer((host, 0), handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        return int(self.http.server_port)

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}/"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
