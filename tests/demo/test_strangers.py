"""The demo's server and its service worker among strangers: foreign hosts, slow clients, another program."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Error, Page

from demo.server import Site, bind

TITLE = "Hydra: focus after the fact"
SLOW_CLIENTS = 50
Serve = Callable[..., int]


class Other(BaseHTTPRequestHandler):
    """Another program on the port: a page for every path but the service worker's."""

    def do_GET(self) -> None:
        known = self.path != "/sw.js"
        content = b"<!doctype html><title>another program</title>" if known else b""
        self.send_response(HTTPStatus.OK if known else HTTPStatus.NOT_FOUND)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


class Busy(Other):
    """A server that answers 503 to everything."""

    def do_GET(self) -> None:
        self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)


class Port:
    """One port, on which one server after the other listens."""

    def __init__(self) -> None:
        self.number = 0
        self.server: ThreadingHTTPServer | None = None

    def take(self, server: ThreadingHTTPServer | None) -> None:
        self.server, self.number = server, server.server_port if server else self.number
        if server:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def site(self, catalog: dict[str, object]) -> str:
        """Serve the demo's page with this catalog; return the hash of its build."""
        self.close()
        site = Site(catalog, {})
        self.take(bind(site, self.number))
        return site.build

    def other(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self.close()
        self.take(ThreadingHTTPServer(("127.0.0.1", self.number), handler))

    def close(self) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    @property
    def address(self) -> str:
        return f"http://localhost:{self.number}/"


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    made.close()


def get(port: Port, path: str = "/", host: str = "localhost") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port.number, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        answer.read()
    return answer


def test_only_its_own_addresses(port: Port) -> None:
    build = port.site({})
    for host in ("localhost", "127.0.0.1", f"localhost:{port.number}", "[::1]:80"):
        answer = get(port, host=host)
        assert answer.status == 200 and answer.headers["X-Hydra-Build"] == build
    for host in ("rebound.example", f"rebound.example:{port.number}", "0.0.0.0", ""):
        assert get(port, host=host).status == 421


@pytest.mark.parametrize("path", ["/a%00b", "/" + "a" * 5000, "/..%2fpyproject.toml", "/%2e%2e/pyproject.toml", "/%ff"])
def test_hostile_paths(port: Port, path: str, capfd: pytest.CaptureFixture[str]) -> None:
    port.site({})
    assert get(port, path).status == 404 and get(port).status == 200
    assert capfd.readouterr().err == ""


def test_fifty_slow_clients_leave_a_good_one_its_answer(port: Port, capfd: pytest.CaptureFixture[str]) -> None:
    port.site({})
    assert get(port).status == 200
    slow = [socket.create_connection(("127.0.0.1", port.number)) for _ in range(SLOW_CLIENTS)]
    for connection in slow:
        connection.sendall(b"GET / HTTP/1.1\r\nHo")
    began = time.monotonic()
    assert get(port, "/main.js").status == 200
    assert time.monotonic() - began < 1
    for connection in slow:
        connection.close()
    assert get(port).status == 200 and capfd.readouterr().err == ""


def test_a_build_is_its_catalog_and_its_page(port: Port) -> None:
    first = Site({}, {}).build
    assert Site({}, {}).build == first != Site({"artifacts": []}, {}).build
    assert len(first) == 16 and f"'{first}'".encode() in Site({}, {}).generated["sw.js"][1]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context() as context:
        made = context.new_page()
        made.set_default_timeout(30_000)
        yield made


def visit(page: Page, port: Port) -> str:
    """Open the page; return its title."""
    page.goto(port.address, wait_until="domcontentloaded")
    return page.title()


def installed(page: Page) -> list[str]:
    """Register the service worker, wait until it controls the page and return the names of the caches."""
    page.evaluate("""async () => {
      await navigator.serviceWorker.register('/sw.js');
      const controlled = () => navigator.serviceWorker.controller;
      while (!controlled()) await new Promise((resolve) => setTimeout(resolve, 20));
    }""")
    return caches(page)


def caches(page: Page) -> list[str]:
    names: list[str] = page.evaluate("caches.keys()")
    return names


GONE = """async () => !(await navigator.serviceWorker.getRegistrations()).length
  && !(await caches.keys()).some((name) => name.startsWith('hydra-page-'))"""


def test_another_program_on_the_port_gets_its_pages_shown(page: Page, port: Port) -> None:
    build = port.site({})
    assert visit(page, port) == TITLE
    page.evaluate("caches.open('hydra-page-1')")  # left by an earlier version
    page.evaluate("caches.open('of another program')")
    assert sorted(installed(page)) == [f"hydra-page-{build}", "of another program"]
    port.close()
    assert visit(page, port) == TITLE, "without a network the kept page"
    port.other(Busy)
    visit(page, port)
    assert f"hydra-page-{build}" in caches(page), "a server that is only busy may be the demo's"

    port.other(Other)
    assert visit(page, port) == "another program"
    page.wait_for_function(GONE)
    assert caches(page) == ["of another program"]
    port.close()
    with pytest.raises(Error, match="ERR_CONNECTION_REFUSED"):
        visit(page, port)


def test_a_new_build_replaces_the_kept_pages(page: Page, port: Port) -> None:
    first = port.site({})
    visit(page, port)
    assert installed(page) == [f"hydra-page-{first}"]
    second = port.site({"artifacts": []})
    assert second != first and visit(page, port) == TITLE
    page.evaluate("navigator.serviceWorker.register('/sw.js').then((registration) => registration.update())")
    page.wait_for_function(f"async () => String(await caches.keys()) === 'hydra-page-{second}'")
