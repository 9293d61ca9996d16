"""Drive a headless Chromium through playwright, with one page per library, backend and number of threads."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import threading
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from benchmarks.evidence.envelope import typed
from benchmarks.evidence.environment import Offer
from benchmarks.runtime import Absent
from benchmarks.runtimes.web.link import Engine, Link, Refused
from benchmarks.runtimes.web.server import Server
from hydramobile.errors import StageError

if TYPE_CHECKING:
    from playwright.sync_api import Playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# Nobody uses this browser, and it needs no network: no updates, no look-ups.
FLAGS = (
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)
# WebGPU is off by default in headless Chromium on Linux.
WEBGPU = ("--enable-unsafe-webgpu",)
# Chromium's errors where the machine has no loopback interface. A refused connection is a fault of the server's own.
NO_NETWORK = ("net::ERR_INTERNET_DISCONNECTED", "net::ERR_ADDRESS_UNREACHABLE", "net::ERR_NETWORK_CHANGED")
# Milliseconds.
START_LIMIT = 60_000


def chromium() -> str | None:
    """Return the path of the first Chromium on the PATH."""
    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


class Page(Link):
    """A page of a Chromium of its own. A page that crashed or hung is `dead`, and its browser has ended."""

    def __init__(self, backend: str) -> None:
        from playwright.sync_api import Error

        path = chromium()
        if path is None:
            raise StageError("open", "Chromium is not installed; run: make setup")
        super().__init__(Server())
        self.error = Error
        self.processes: list[Any] = []
        launcher = driver().chromium
        before = set(child_processes())
        try:
            flags = [*FLAGS, *(WEBGPU if backend == "webgpu" else ())]
            self.browser = launcher.launch(executable_path=path, args=flags, timeout=START_LIMIT)
            self.processes = [process for process in child_processes() if process not in before]
            self.page = self.browser.new_page()
            self.page.on("crash", lambda _: self.mark_dead("the page crashed"))
            self.page.goto(self.server.address, timeout=START_LIMIT)
            self.page.wait_for_selector("body[data-ready]", timeout=START_LIMIT, state="attached")
            self.offer = typed(Offer, {"version": self.browser.version, **self.call("offers", {}, "open")})
        except Error as failure:
            self.close()
            if any(error in failure.message for error in NO_NETWORK):
                reason = f"Chromium does not reach {self.server.address}: is the loopback interface down?"
                raise Absent("open", reason) from failure
            raise StageError("open", f"Chromium did not start: {failure.message}") from failure
        except StageError:
            self.close()
            raise

    def send(self, name: str, argument: Mapping[str, Any], limit: float) -> Any:
        # playwright waits for a page forever and its calls cannot be cancelled, but the browser can be ended.
        watchdog = threading.Timer(limit, self.kill, [f"no answer within {limit:g} s; the browser was ended"])
        watchdog.daemon = True
        watchdog.start()
        try:
            return self.page.evaluate("([name, argument]) => hydra[name](argument)", [name, argument])
        except self.error as failure:
            message = failure.message.removeprefix("Page.evaluate: ").splitlines()[0]
            crashed = "Target crashed" in message
            if crashed or self.page.is_closed() or not self.browser.is_connected():
                self.mark_dead("the page crashed" if crashed else "the browser ended")
            raise Refused(self.dead or message) from failure
        finally:
            watchdog.cancel()

    def mark_dead(self, reason: str) -> None:
        """Record why the page cannot be used any more; the first reason is kept."""
        self.dead = self.dead or reason

    def kill(self, reason: str) -> None:
        """End the browser's processes. Called from the watchdog's thread while playwright waits in the other."""
        self.mark_dead(reason)
        for process in self.processes:
            with contextlib.suppress(Exception):
                process.kill()

    def close(self) -> None:
        self.mark_dead("the page was closed")
        if hasattr(self, "browser"):
            with contextlib.suppress(self.error):
                self.browser.close()
        self.server.close()


def child_processes() -> list[Any]:
    """Return the psutil processes below this one."""
    import psutil

    return list(psutil.Process().children(recursive=True))


@cache
def driver() -> Playwright:
    """Return playwright's driver. playwright allows one per thread."""
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    atexit.register(playwright.stop)
    return playwright


# By library, backend and number of threads: an engine sets its threads when it starts.
PAGES: dict[tuple[str, str, int], Page] = {}


def blank_page(engine: Engine) -> Page:
    """Return the page of `engine`, which may not be started yet. A dead page is replaced.

    This process has one page per engine, and closes it at its end.
    """
    key = (engine.library, engine.backend, engine.threads)
    existing = PAGES.get(key)
    if existing is not None and existing.dead:
        PAGES.pop(key).close()
        existing = None
    if existing is None:
        existing = PAGES[key] = Page(engine.backend)
        # Registered after playwright's driver, so it runs before the driver stops.
        atexit.register(existing.close)
    return existing


def page(engine: Engine) -> Page:
    """Return the page of `engine`, with the engine started."""
    started = blank_page(engine)
    if started.engine is None:
        started.start(engine)
    return started
