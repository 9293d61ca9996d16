"""Serve the page, the engines, the npm packages of the runtimes and the files of an artifact.

Answers are cross-origin isolated (COOP and COEP): otherwise browsers give WebAssembly no threads. Every answer has its
MIME type: otherwise browsers refuse modules and do not compile .wasm while it loads. Requests are recorded.
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

from benchmarks.evidence.environment import Download

# Bytes of a posted answer. The largest, a feature map, is a few megabytes.
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
    # Every download is counted and timed, so none may come from the cache.
    "Cache-Control": "no-store",
}
# LiteRT.js imports a package by its bare name. An import map would resolve it in the page, but not in a worker.
BARE = {b'"@litertjs/wasm-utils"': b'"/npm/@litertjs/wasm-utils/dist/index.js"'}


@dataclass
class Served:
    """The files that the server offers, and the requests so far.

    `folders` maps the first part of a URL path to a folder. `seen` maps the paths that were sent to their files,
    `missing` lists the paths that do not exist.
    """

    folders: dict[str, Path]
    seen: dict[str, Path] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def find(self, path: str) -> Path | None:
        """Return the file of a URL path; None for a path outside the folders."""
        first, _, rest = unquote(urlsplit(path).path).lstrip("/").partition("/")
        folder = self.folders.get(first if rest else "page")
        if folder is None:
            return None
        file = (folder / (rest or first or "index.html")).resolve()
        return file if file.is_relative_to(folder.resolve()) and file.is_file() else None

    def weigh(self, paths: Iterable[str]) -> Download:
        """Return the number of files, their bytes and their bytes after gzip, of the `paths` that were sent."""
        sent = [self.seen[path] for path in paths if path in self.seen]
        sizes = [(file, file.stat()) for file in sent]
        return Download(
            files=len(sent),
            bytes=sum(stat.st_size for _, stat in sizes),
            gzip=sum(gzip_size(file, stat.st_mtime_ns) for file, stat in sizes),
        )


@cache
def gzip_size(file: Path, modified_ns: int) -> int:
    """Return the bytes that a web host would send (gzip, level 6). `modified_ns` is part of the cache key."""
    return len(gzip.compress(file.read_bytes(), 6))


class Rejected(Exception):
    """Raised for a POST that is not accepted, with its HTTP status."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Posts:
    """The handler of POST requests: `take(path, body, peer)` returns the answer to the page.

    `token` is part of the address of the page, so that other pages and other users of this computer do not know it.
    """

    token: str
    take: Callable[[str, dict[str, Any], str], Mapping[str, Any]]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Seconds after which a half-sent request is dropped.
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
            content = dict(self.handle_post())
            status = HTTPStatus.OK
        except Rejected as error:
            # The unread rest of the body would be parsed as the next request.
            self.close_connection = True
            status, content = error.status, {"error": str(error)}
        try:
            self.answer(status, json.dumps(content).encode(), TYPES[".json"])
        except OSError:
            self.close_connection = True  # the page is gone

    def handle_post(self) -> Mapping[str, Any]:
        """Check the request and pass its JSON to `posts.take`. Raises Rejected."""
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

    def answer(self, status: HTTPStatus, content: bytes, mime_type: str) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": mime_type, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        """Log nothing: the log of a worker is for failures."""


class Server:
    """A server in a thread of its own, until `close`. POST requests are refused without `posts`."""

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
