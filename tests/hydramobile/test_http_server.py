"""Strangers at a local server: foreign hosts, hostile paths, slow clients and floods, by raw sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from hydramobile import http_server
from hydramobile.http_server import LocalHandler, LocalServer, file_below, host_of, path_of
from hydramobile.npm_files import find_npm

SLOW_CLIENTS = 50


class Hello(LocalHandler):
    """Answers GET with the decoded path, POST with the number of bytes."""

    def do_GET(self) -> None:  # noqa: N802  # http.server looks this name up
        self.answer(HTTPStatus.OK, f"hello {path_of(self.path)}".encode(), {})

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
        self.answer(HTTPStatus.OK, str(len(self.read_body(int(self.headers["Content-Length"])))).encode(), {})


class Failing(Hello):
    def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
        raise KeyError("\x1b[2J")


Start = Callable[..., LocalServer]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[LocalServer] = []

    def begin(handler: type[LocalHandler] = Hello, names: tuple[str, ...] = ()) -> LocalServer:
        server = LocalServer(("127.0.0.1", 0), handler, names)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        running.append(server)
        return server

    yield begin
    for server in running:
        server.shutdown()
        server.server_close()


def connect(server: LocalServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_port), timeout=20)


def everything(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def say(server: LocalServer, request: bytes) -> tuple[int, str]:
    """Send bytes; return status and body of the answer."""
    with connect(server) as connection:
        connection.sendall(request)
        head, _, body = everything(connection).partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def get(server: LocalServer, path: str = "/", host: str = "localhost") -> tuple[int, str]:
    return say(server, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:80", "[::1]:80", "[::1]", "192.0.2.7:9"])
def test_its_own_addresses(start: Start, host: str) -> None:
    assert get(start(names=("192.0.2.7",)), "/a", host) == (200, "hello a")


@pytest.mark.parametrize(
    "host", ["elsewhere.example", "localhost.elsewhere.example:80", "192.0.2.8", "0.0.0.0", "[::2]:80", "", ":80"]
)
def test_a_foreign_host_reaches_nothing(start: Start, host: str) -> None:
    status, said = get(start(names=("192.0.2.7",)), "/a", host)
    assert status == 421 and said == "this server has other addresses: open the one it printed\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: elsewhere.example\r\n\r\n", 400),
        (b"GET http://elsewhere.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 505),
        (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 20_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(
    start: Start, capfd: pytest.CaptureFixture[str], request_: bytes, status: int
) -> None:
    server = start()
    found, said = say(server, request_)
    assert found == status and said.count("\n") == 1 and "<" not in said
    assert get(server)[0] == 200 and capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "path",
    [
        *("/a%00b", "/..", "/a/../b", "/%2e%2e/a", "/a%2fb", "/a%2Fb", "/a%5cb", "/a\\b", "/%0a", "/%ff", "/a%1b[2J"),
        *("/" + "a/" * 600, "/" + "a" * 256, "/" + "%c3%a4" * 128),
    ],
)
def test_a_path_that_names_no_file(start: Start, path: str) -> None:
    assert path_of(path) is None
    assert get(start(), path) == (200, "hello None")


def test_paths_and_files(tmp_path: Path) -> None:
    assert path_of("/a%20b/%C3%A4.js?x=/../y#z") == "a b/ä.js" and path_of("/") == ""
    assert host_of("[::1]") == "[::1]" and host_of(" A:1 ") == "a"
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.js").write_text("no")
    (tmp_path / "in/a.js").write_text("yes")
    (tmp_path / "in/link.js").symlink_to(tmp_path / "secret.js")
    assert file_below(tmp_path / "in", "a.js") == tmp_path / "in/a.js"
    for path in ("", "link.js", "../secret.js", "/etc/passwd", "a\0b", "a" * 5000, "nothing.js"):
        assert file_below(tmp_path / "in", path) is None


def test_of_node_modules_only_the_listed_files(tmp_path: Path) -> None:
    for path in ("p/dist/a.js", "p/dist/a.js.map", "p/package.json", "p/lib/a.js", "q/dist/a.js"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    listed = {"p": ("dist",)}
    assert find_npm(tmp_path, listed, "p/dist/a.js") == tmp_path / "p/dist/a.js"
    for path in ("p/dist/a.js.map", "p/package.json", "p/lib/a.js", "q/dist/a.js", "p/dist", "p/dist/../lib/a.js"):
        found = find_npm(tmp_path, listed, path)
        assert found is None or path_of(f"/{path}") is None


def test_slow_clients_leave_a_good_one_its_answer_and_are_dropped(
    start: Start, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    server = start()
    slow = [connect(server) for _ in range(SLOW_CLIENTS)]
    for number, connection in enumerate(slow):
        # Half of them stop within the head, half within the body.
        head = b"GET / HTTP/1.1\r\nHost: loc"
        body = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc"
        connection.sendall(body if number % 2 else head)
    began = time.monotonic()
    assert get(server, "/good") == (200, "hello good")
    assert time.monotonic() - began < 1
    # All are overdue: their threads end, although one of them still sends a byte now and then.
    with server.lock:
        server.deadlines = dict.fromkeys(server.deadlines, time.monotonic() - 1)
    for connection in slow:
        assert everything(connection) in (b"", b"HTTP/1.1 400 Bad Request\r\n")
        connection.close()
    until(lambda: not server.deadlines)
    assert capfd.readouterr().err == ""


def until(true: Callable[[], bool]) -> None:
    """Wait until a condition holds; fail after 20 s."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_time_of_a_head_is_counted_as_a_whole(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then never times out by itself."""
    monkeypatch.setattr(http_server, "PATIENCE", 0.3)
    with connect(start()) as connection, pytest.raises(OSError, match=r"Broken pipe|reset"):
        for _ in range(400):
            connection.sendall(b"G")
            time.sleep(0.05)


def test_connections_beyond_the_limit_are_told_so(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "CONNECTIONS", 3)
    server = start()
    held = [connect(server) for _ in range(3)]
    until(lambda: len(server.deadlines) == 3)
    for _ in range(5):
        with connect(server) as connection:
            assert everything(connection).startswith(b"HTTP/1.1 503 ")
    for connection in held:
        connection.close()
    until(lambda: not server.deadlines)
    assert get(server)[0] == 200


def test_dropped_connections_print_nothing(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    server = start()
    for request in (b"", b"GET", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20):
        for _ in range(5):
            connection = connect(server)
            connection.sendall(request)
            # A reset instead of a polite end.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
    until(lambda: not server.deadlines)
    assert capfd.readouterr().err == "" and get(server)[0] == 200


def test_a_failure_of_the_server_is_one_line(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    server = start(Failing)
    with connect(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert everything(connection) == b""
    assert capfd.readouterr().err == "a request failed: KeyError: \"'\\\\x1b[2J'\"\n"


def test_keep_alive_still_works_and_a_body_is_not_a_request(start: Start) -> None:
    server = start()
    with connect(server) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")
        connection.sendall(b"GET /2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nGET /3 HT")
        text = everything(connection).decode()
    assert text.count("HTTP/1.1 200") == 2 and text.endswith("hello 2") and "\r\n\r\n3HTTP" in text
