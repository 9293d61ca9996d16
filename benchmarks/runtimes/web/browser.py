"""A headless Chromium with one page a runtime and backend, driven through playwright; one page an engine a process."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import threading
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from benchmarks.runtimes.web.link import Engine, Link, Refused
from benchmarks.runtimes.web.server import Server
from hydramobile.errors import StageError

if TYPE_CHECKING:
    from playwright.sync_api import Playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# A browser without a network and a person: no updates, no look-ups. WebGPU is off by default in headless Linux.
FLAGS = (
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)
WEBGPU = ("--enable-unsafe-webgpu",)
START_LIMIT = 60_000


def chromium() -> str | None:
    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


class Page(Link):
    """A page of a Chromium of its own. One that crashed or hung is `dead`, and its browser ended."""

    def __init__(self, backend: str) -> None:
        from playwright.sync_api import Error

        path = chromium()
        if path is None:
            raise StageError("open", "Chromium is not installed; run: make setup")
        super().__init__(Server())
        self.error = Error
        self.processes: list[Any] = []
        launcher = driver().chromium
        before = set(children())
        try:
            flags = [*FLAGS, *(WEBGPU if backend == "webgpu" else ())]
            self.browser = launcher.launch(executable_path=path, args=flags, timeout=START_LIMIT)
            self.processes = [process for process in children() if process not in before]
            self.page = self.browser.new_page()
            self.page.on("crash", lambda _: self.bury("the page crashed"))
            self.page.goto(self.server.address, timeout=START_LIMIT)
            self.page.wait_for_selector("body[data-ready]", timeout=START_LIMIT, state="attached")
            self.facts = {"browser": self.browser.version, **self.call("offers", {}, "open")}
        except Error as failure:
            self.close()
            raise StageError("open", f"Chromium did not start: {failure.message}") from failure
        except StageError:
            self.close()
            raise

    def send(self, name: str, argument: Mapping[str, Any], limit: float) -> Any:
        # playwright waits for a page for ever, and its calls cannot be broken off: the browser can.
        watch = threading.Timer(limit, self.kill, [f"no answer within {limit:g} s; the browser was ended"])
        watch.daemon = True
        watch.start()
        try:
            return self.page.evaluate("([name, argument]) => hydra[name](argument)", [name, argument])
        except self.error as failure:
            said = failure.message.removeprefix("Page.evaluate: ").splitlines()[0]
            if "Target crashed" in said or self.page.is_closed() or not self.browser.is_connected():
                self.bury("the browser ended" if "Target crashed" not in said else "the page crashed")
            raise Refused(self.dead or said) from failure
        finally:
            watch.cancel()

    def bury(self, reason: str) -> None:
        self.dead = self.dead or reason

    def kill(self, reason: str) -> None:
        """End the browser's processes; called from the watch's thread, while playwright waits in the other."""
        self.bury(reason)
        for process in self.processes:
            with contextlib.suppress(Exception):
                process.kill()

    def close(self) -> None:
        self.bury("the page was closed")
        if hasattr(self, "browser"):
            with contextlib.suppress(self.error):
                self.browser.close()
        self.server.close()


def children() -> list[Any]:
    import psutil

    return list(psutil.Process().children(recursive=True))


@cache
def driver() -> Playwright:
    """playwright's own process: it allows one a thread."""
    from playwright.sync_api import sync_playwright

    made = sync_playwright().start()
    atexit.register(made.stop)
    return made


# By library and backend; a page serves one number of threads, for engines take theirs when they start.
PAGES: dict[tuple[str, str, int], Page] = {}


def blank_page(engine: Engine) -> Page:
    """The page of `engine`, in which nothing may be started yet: one a process, closed at its end. A dead one is
    replaced."""
    key = (engine.library, engine.backend, engine.threads)
    made = PAGES.get(key)
    if made is not None and made.dead:
        PAGES.pop(key).close()
        made = None
    if made is None:
        made = PAGES[key] = Page(engine.backend)
        # After playwright's own process was registered, so before it at the end.
        atexit.register(made.close)
    return made


def page(engine: Engine) -> Page:
    """The page of `engine`, started."""
    made = blank_page(engine)
    if made.engine is None:
        made.start(engine)
    return made
