"""Serve HTTP to one person's browsers: the base of the demo's server and of `latency --serve`.

Another origin's page, another program or a slow client must not read files, fill memory or delay other clients:

- A request whose Host is not an address of the server is refused (421), and one without Host too (400): a page of
  another origin whose name was bound to this computer (DNS rebinding) reads nothing.
- Heads and bodies have limits in bytes and in seconds. A connection beyond `CONNECTIONS` is answered 503 at once.
- A dropped connection prints nothing, and any other failure prints one line.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from http.client import HTTPException, LineTooLong
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote_to_bytes, urlsplit

# Seconds for the head of a request and for each wait on the network. A keep-alive connection may idle as long.
PATIENCE = 10.0
# Bytes per second that a body or an answer must reach on average, after `PATIENCE`.
SLOWEST = 50_000
# Connections at the same time. A browser opens six per server.
CONNECTIONS = 64
# Bytes of the head of a request: the request line and all headers.
HEAD_LIMIT = 16_384
# Characters of a path and bytes of one of its segments. File systems take 255 bytes.
PATH_LIMIT, SEGMENT_LIMIT = 1024, 255
CHUNK = 65_536
LOCAL = ("localhost", "127.0.0.1", "[::1]")
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 21\r\n"
    b"Retry-After: 1\r\nConnection: close\r\n\r\ntoo many connections\n"
)


class LocalServer(ThreadingHTTPServer):
    """A server with a thread per connection, for at most `CONNECTIONS` of them.

    `names` are the hosts, without a port, under which the server may be reached besides localhost.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[LocalHandler], names: Iterable[str] = ()) -> None:
        self.hosts = frozenset(LOCAL) | {bracketed(name).lower() for name in names}
        # Open connections, and the time after which each is shut down; None while it may take its time.
        self.deadlines: dict[socket.socket, float | None] = {}
        self.lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.lock:
            full = len(self.deadlines) >= CONNECTIONS
            if not full:
                self.deadlines[request] = time.monotonic() + PATIENCE
        if not full:
            super().process_request(request, client_address)
            return
        with contextlib.suppress(OSError):
            request.setblocking(False)
            request.sendall(BUSY)
        self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        with self.lock:
            self.deadlines.pop(request, None)
        with contextlib.suppress(OSError):
            request.setblocking(False)
            request.shutdown(socket.SHUT_WR)
            # A close with unread bytes resets the connection, and the client may lose the answer.
            request.recv(CHUNK)
        super().shutdown_request(request)

    def limit(self, connection: socket.socket, seconds: float | None) -> None:
        """Shut `connection` down unless its next step ends within `seconds`; None lifts the limit."""
        with self.lock:
            if connection in self.deadlines:
                self.deadlines[connection] = None if seconds is None else time.monotonic() + seconds

    def service_actions(self) -> None:
        """Shut overdue connections down. `serve_forever` calls it at least twice per second."""
        now = time.monotonic()
        with self.lock:
            overdue = [one for one, deadline in self.deadlines.items() if deadline is not None and deadline < now]
        shut_down(overdue)

    def server_close(self) -> None:
        super().server_close()
        with self.lock:
            left = list(self.deadlines)
        shut_down(left)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            sys.stderr.write(f"a request failed: {type(error).__name__}: {str(error)[:200]!a}\n")


def shut_down(connections: Iterable[socket.socket]) -> None:
    """End connections whose threads wait on them."""
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


class HeadReader:
    """Read lines from `stream`, `limit` bytes in all; a head that ends early is an error, not a shorter head."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self.stream, self.left = stream, limit

    def readline(self, size: int = -1) -> bytes:
        """Return one line. Raises LineTooLong beyond the limit, ConnectionError where the client left."""
        line = self.stream.readline(self.left + 1)
        self.left -= len(line)
        if self.left < 0:
            raise LineTooLong("head")
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the head of a request ended early")
        return line


class LocalHandler(BaseHTTPRequestHandler):
    """One connection. Subclasses have `do_GET` and others, and answer by `answer`.

    `headers_of_all` is sent with every answer, refusals included.
    """

    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    server: LocalServer
    headers_of_all: Mapping[str, str] = {}

    def handle_one_request(self) -> None:
        """Read and answer one request. A client that leaves or stalls ends the connection and nothing else."""
        self.close_connection = True
        self.requestline, self.request_version, self.command = "", "", ""
        self.server.limit(self.connection, PATIENCE)
        stream = self.rfile
        try:
            self.rfile = cast(Any, HeadReader(cast(BinaryIO, stream), HEAD_LIMIT))
            try:
                self.raw_requestline = self.rfile.readline()
                whole = self.parse_request()
            except HTTPException:
                self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return
            finally:
                self.rfile = stream
            self.server.limit(self.connection, None)
            if whole and self.welcome():
                getattr(self, f"do_{self.command}", self.unknown)()
        except OSError:
            self.close_connection = True

    def welcome(self) -> bool:
        """Return whether the request is for this server; a foreign one is answered with its refusal."""
        hosts = self.headers.get_all("Host", [])
        lengths = self.headers.get_all("Content-Length", [])
        if len(hosts) != 1:
            self.refuse(HTTPStatus.BAD_REQUEST, "a request names one host")
        elif host_of(hosts[0]) not in self.server.hosts:
            self.refuse(HTTPStatus.MISDIRECTED_REQUEST, "this server has other addresses: open the one it printed")
        elif not self.path.startswith("/"):
            self.refuse(HTTPStatus.BAD_REQUEST, "a target is a path")
        elif self.headers.get("Transfer-Encoding") or len(lengths) > 1:
            self.refuse(HTTPStatus.LENGTH_REQUIRED, "a body says how long it is, once")
        else:
            # The unread body of a GET would be parsed as the next request.
            unread = self.command != "POST" and lengths and lengths[0] != "0"
            self.close_connection = self.close_connection or bool(unread)
            return True
        return False

    def unknown(self) -> None:
        self.refuse(HTTPStatus.NOT_IMPLEMENTED, "no such method here")

    def refuse(self, status: HTTPStatus, reason: str) -> None:
        """Answer with one line and close the connection."""
        self.close_connection = True
        self.request_version = "HTTP/1.1"  # http.server takes nonsense for HTTP/0.9, whose answers have no status
        self.answer(status, f"{reason}\n".encode(), {"Content-Type": "text/plain", "Connection": "close"})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what the base class cannot parse, without quoting the request."""
        status = HTTPStatus(code)
        self.refuse(status, status.phrase.lower())

    def answer(self, status: HTTPStatus, content: bytes | Path, headers: Mapping[str, str]) -> None:
        """Send an answer: bytes, or a file that is read piece by piece. Raises OSError where the client left."""
        with contextlib.ExitStack() as stack:
            stream = None if isinstance(content, bytes) else stack.enter_context(content.open("rb"))
            size = len(content) if isinstance(content, bytes) else content.stat().st_size
            self.send_response(status)
            for name, value in {**self.headers_of_all, **headers, "Content-Length": str(size)}.items():
                self.send_header(name, value)
            self.server.limit(self.connection, PATIENCE + size / SLOWEST)
            self.end_headers()
            if self.command == "HEAD":
                return
            for start in range(0, size, CHUNK):
                piece = stream.read(CHUNK) if stream else cast(bytes, content)[start : start + CHUNK]
                if not piece:  # the file has become shorter than the answer says
                    self.close_connection = True
                    return
                self.wfile.write(piece)

    def read_body(self, length: int) -> bytes:
        """Return the body of a request. Raises OSError where it is not whole in time."""
        self.server.limit(self.connection, PATIENCE + length / SLOWEST)
        content = self.rfile.read(length)
        self.server.limit(self.connection, None)
        if len(content) < length:
            raise ConnectionResetError("the body of a request ended early")
        return content

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        """Log nothing: a stranger's request must not reach the terminal."""


def bracketed(name: str) -> str:
    """Return a host as a URL holds it: an IPv6 address in brackets, without its zone."""
    return f"[{name.partition('%')[0]}]" if ":" in name else name


def host_of(header: str) -> str:
    """Return the host of a Host header in lower case, without its port; "" where there is none."""
    host, _, port = header.strip().lower().rpartition(":")
    return host if host and not port.endswith("]") else header.strip().lower()


def path_of(target: str) -> str | None:
    """Return the decoded path of a request's target, without the first slash.

    None for a path that names no file here: too long, not UTF-8, with control characters, a backslash, an encoded
    separator or a segment `..`.
    """
    try:
        raw = urlsplit(target).path
        path = unquote_to_bytes(raw).decode()
    except ValueError:
        return None
    segments = path.split("/")
    bad = len(path) > PATH_LIMIT or any(len(segment.encode()) > SEGMENT_LIMIT for segment in segments)
    bad = bad or not path.isprintable() or "\\" in path or "%2f" in raw.lower() or ".." in segments
    return None if bad else path.lstrip("/")


def file_below(folder: Path, path: str) -> Path | None:
    """Return the regular file at `path` below `folder`, links resolved; None where there is none."""
    try:
        file = (folder / path).resolve()
        return file if file.is_relative_to(folder.resolve()) and file.is_file() else None
    except (OSError, ValueError):
        return None
