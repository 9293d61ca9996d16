"""One page of the demo in a browser, as tests drive it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, ViewportSize

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
PHONE: ViewportSize = {"width": 390, "height": 844}
TIMEOUT = 120_000  # ms: software rendering is slow


@dataclass
class Demo:
    """A page of the demo, with the errors it threw and the requests that left its origin."""

    page: Page
    address: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.note_request(request.url))

    def note_request(self, url: str) -> None:
        if not url.startswith((self.address, f"blob:{self.address}", "data:")):
            self.foreign.append(url)

    def start(self) -> None:
        self.page.goto(self.address)
        self.page.wait_for_selector("body[data-ready]", state="attached")

    def await_scene(self, act: Callable[[], object]) -> None:
        """Call `act` and wait until the photo that it opened is analyzed."""
        before = self.page.evaluate("Number(document.body.dataset.scene ?? 0)")
        act()
        self.page.wait_for_function("before => Number(document.body.dataset.scene ?? 0) > before", arg=before)

    def upload(self, photo: Path | FilePayload) -> None:
        self.await_scene(lambda: self.page.set_input_files("#file", photo))

    def mode(self, name: str) -> None:
        self.page.click(f"#tab-{name}")

    def pixels(self) -> Pixels:
        """Return the picture that is shown, [H, W, 4], colour not multiplied by alpha."""
        return self.array("(() => demo.painter.pixels())()")

    def source(self) -> Pixels:
        """Return the preview of the photo, [H, W, 4]."""
        return self.array("(c => c.getContext('2d').getImageData(0, 0, c.width, c.height))(demo.photo.preview)")

    def array(self, script: str) -> Pixels:
        """Return {width, height, data} of a script, [H, W, 4]."""
        packed = "({width, height, data}) => [height, width, new Uint8Array(data.buffer).toBase64()]"
        height, width, text = self.page.evaluate(f"({packed})({script})")
        return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)

    def maps(self, name: str) -> NDArray[np.float32]:
        """Return alpha, depth, people or behind of the scene, [H, W]."""
        script = f"[demo.scene.height, demo.scene.width, new Uint8Array(demo.scene.pixels.{name}.buffer).toBase64()]"
        height, width, text = self.page.evaluate(script)
        return np.frombuffer(base64.b64decode(text), np.float32).reshape(height, width)

    def settings(self) -> dict[str, Any]:
        """Return the settings of the current mode."""
        settings: dict[str, Any] = self.page.evaluate("demo.settings.get(demo.mode.id)")
        return settings

    def change(self, patch: dict[str, Any]) -> None:
        """Change settings of the current mode at once."""
        self.page.evaluate("patch => demo.change(patch, {glide: false})", patch)

    def notice(self) -> str:
        """Wait for an error and return its text."""
        self.page.wait_for_selector("#notice:not([hidden])")
        return self.page.inner_text("#notice span")

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Return x, y, width and height of an element on the screen."""
        box = self.page.locator(selector).bounding_box()
        assert box is not None, f"{selector} is not shown"
        return box["x"], box["y"], box["width"], box["height"]

    def download(self, file_format: str) -> tuple[str, bytes]:
        """Save by the dialog; return the file's name and content."""
        self.page.click("#save")
        with self.page.expect_download() as download:
            self.page.click(f"#saver [data-format={file_format}]")
        self.page.click("#saver [aria-label=Close]")
        return download.value.suggested_filename, Path(download.value.path()).read_bytes()

    def saved(self, file_format: str) -> Image.Image:
        """Return the picture that the save dialog writes."""
        image = Image.open(io.BytesIO(self.download(file_format)[1]))
        image.load()
        return image


@contextmanager
def opened_page(browser: Browser, address: str) -> Iterator[Demo]:
    """Open a page on a phone's screen, its net loading. Raise its errors and foreign requests at the end."""
    context = browser.new_context(viewport=PHONE, reduced_motion="reduce", has_touch=True)
    context.set_default_timeout(TIMEOUT)
    demo = Demo(context.new_page(), address)
    demo.watch()
    demo.start()
    yield demo
    context.close()
    assert not demo.errors, demo.errors
    assert not demo.foreign, f"requests that left the origin: {demo.foreign}"
