"""Serve the page, the engines, the npm packages of the runtimes and the files of an artifact.

Answers are cross-origin isolated (COOP and COEP): otherwise browsers give WebAssembly no threads. Every answer has its
MIME type: otherwise browsers refuse modules and do not compile .wasm while it loads. Requests are recorded.

A server that takes posts has a token. Without it a request gets the page's own script and nothing else: no artifact, no
engine, no record. hydramobile/http_server.py refuses other strangers.
"""

from __future__ import annotations

import gzip
import hmac
import json
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.evidence.environment import Download
from hydramobile.http_server import LocalHandler, LocalServer, file_below, path_of
from hydramobile.npm_files import ENGINES as ENGINE_PACKAGES
from hydramobile.npm_files import find_npm, with_full_names

ROOT = Path(__file__).resolve().parents[3]
PAGE = Path(__file__).with_name("page")
# The runtime of packages for the web, by its path: its engines run here as in an app.
RUNTIME = ROOT / "export/bundle/web/sources"
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
PACKAGES = {**ENGINE_PACKAGES, "wasm-feature-detect": ("dist/esm",)}
# Paths in vain that are kept for the next message.
MISSING = 20
# More digits than any length has; int() of thousands of digits takes long.
LENGTH_DIGITS = 12


@dataclass
class Served:
    """The files that the server offers, and the requests so far.

    `folders` maps the first part of a URL path to a folder. `seen` maps the paths that were sent to their files,
    `missing` lists the last paths that do not exist.
    """

    folders: dict[str, Path]
    seen: dict[str, Path] = field(default_factory=dict)
    missing: deque[str] = field(default_factory=lambda: deque(maxlen=MISSING))

    def find(self, path: str) -> Path | None:
        """Return the file of a URL path without its first slash; None for a path outside the folders."""
        first, _, rest = path.partition("/")
        folder = self.folders.get(first if rest else "page")
        if folder is None:
            return None
        if first == "npm":
            return find_npm(folder, PACKAGES, rest)
        return file_below(folder, rest or first or "index.html")

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
    `limit(path)` is the number of bytes that a body may have now.
    """

    token: str
    take: Callable[[str, dict[str, Any], str], Mapping[str, Any]]
    limit: Callable[[str], int]

    def knows(self, token: str) -> bool:
        """Return whether `token` is the right one, in a time that does not depend on it."""
        return hmac.compare_digest(token.encode(), self.token.encode())


class Handler(LocalHandler):
    headers_of_all = HEADERS
    served: Served
    posts: Posts | None

    def do_GET(self) -> None:  # noqa: N802  # http.server looks this name up
        path = path_of(self.path)
        prefix, path, trusted = self.split(path) if path is not None else ("", None, False)
        # A stranger reads the page's own script, which asks for the token, and leaves no trace in the evidence.
        open_to_all = path is not None and (path.startswith("page/") or "/" not in path)
        file = self.served.find(path) if path is not None and (trusted or open_to_all) else None
        if file is None:
            if trusted:
                self.served.missing.append(f"/{path}")
            self.answer(HTTPStatus.NOT_FOUND, b"not found", {"Content-Type": "text/plain"})
            return
        if trusted:
            self.served.seen[f"/{path}"] = file
        script = file.suffix in (".js", ".mjs")
        content = with_full_names(file.read_bytes(), prefix) if script else file
        self.answer(HTTPStatus.OK, content, {"Content-Type": TYPES.get(file.suffix, "application/octet-stream")})

    def split(self, path: str) -> tuple[str, str, bool]:
        """Return the prefix `/~<token>` of a path, the rest, and whether the request is trusted."""
        if self.posts is None:
            return "", path, True
        first, _, rest = path.partition("/")
        if first.startswith("~") and self.posts.knows(first[1:]):
            return f"/{first}", rest, True
        return "", path, False

    def do_POST(self) -> None:  # noqa: N802  # http.server looks this name up
        try:
            content = dict(self.handle_post())
            status = HTTPStatus.OK
        except Rejected as error:
            # The unread rest of the body would be parsed as the next request.
            self.close_connection = True
            status, content = error.status, {"error": str(error)}
        self.answer(status, json.dumps(content).encode(), {"Content-Type": TYPES[".json"]})

    def handle_post(self) -> Mapping[str, Any]:
        """Check the request and pass its JSON to `posts.take`. Raises Rejected."""
        if self.posts is None:
            raise Rejected(HTTPStatus.METHOD_NOT_ALLOWED, "nothing is taken here")
        path, origin = urlsplit(self.path).path, self.headers.get("Origin", "")
        if origin != f"http://{self.headers.get('Host')}":
            raise Rejected(HTTPStatus.FORBIDDEN, "posts come from the page served here and nowhere else")
        if not self.posts.knows(self.headers.get("X-Hydra-Token", "")):
            raise Rejected(HTTPStatus.FORBIDDEN, "wrong token: open the address that the command printed")
        length, limit = self.headers.get("Content-Length", ""), self.posts.limit(path)
        if not (length.isascii() and length.isdigit()):
            raise Rejected(HTTPStatus.LENGTH_REQUIRED, "a post says how long it is")
        if len(length) > LENGTH_DIGITS or int(length) > limit:
            raise Rejected(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {limit} bytes")
        try:
            body = json.loads(self.read_body(int(length)), parse_float=finite, parse_constant=finite)
        except (ValueError, RecursionError) as error:
            raise Rejected(HTTPStatus.BAD_REQUEST, "not JSON") from error
        if not isinstance(body, dict):
            raise Rejected(HTTPStatus.BAD_REQUEST, "not an object")
        return self.posts.take(path, body, self.client_address[0])


def finite(text: str) -> float:
    """Return a number of JSON. Raises ValueError for NaN and infinity, which evidence cannot hold."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number of JSON")
    return number


class Server:
    """A server in a thread of its own, until `close`. POST requests are refused without `posts`.

    `names` are the addresses of `host` besides localhost.
    """

    def __init__(
        self,
        folders: Mapping[str, Path] | None = None,
        host: str = "127.0.0.1",
        posts: Posts | None = None,
        names: Iterable[str] = (),
    ) -> None:
        base = {"page": PAGE, "runtime": RUNTIME, "npm": NODE_MODULES}
        self.served = Served({**base, **(folders or {})})
        handler = type("Bound", (Handler,), {"served": self.served, "posts": posts})
        self.http = LocalServer((host, 0), handler, names)
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
