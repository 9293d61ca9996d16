"""The demo in a real browser. The site has judged artifacts; a page's errors and foreign requests fail its test."""

from __future__ import annotations

import base64
import io
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, ViewportSize

from benchmarks.runtimes.web.browser import FLAGS, chromium, driver
from demo.server import bind
from demo.site import make_site
from hydramobile.artifact import artifact_folder
from hydramobile.spec import load_spec

ARTIFACTS = (("tfjs", "balanced"), ("tfjs", "float32"), ("onnx", "w8"), ("litert", "w8"))
RUNTIMES = ("tfjs-node", "onnxruntime", "litert")
Pixels = NDArray[np.uint8]
RESET = """() => {
  document.querySelectorAll('dialog[open]').forEach((dialog) => dialog.close());
  document.getElementById('notice').hidden = true;
  demo.mode = demo.modes[0];
}"""


@pytest.fixture(scope="session")
def proven(
    artifact: Callable[[str, str, str], Path],
    build: Callable[[str], Path],
    build_once: Callable[..., Path],
    command: Callable[..., Any],
) -> Path:
    """An OUT folder with web artifacts and their passing parity.json. Copy it to change it."""
    folders = [artifact("portrait", *pair) for pair in ARTIFACTS]

    def make(out: Path) -> None:
        shutil.copytree(build("portrait"), out, dirs_exist_ok=True)
        for folder in folders:
            shutil.copytree(folder, artifact_folder(out, "portrait", folder.parent.name, folder.name))
        flags = [word for name in RUNTIMES for word in ("--runtime", name)]
        done = command("benchmarks", "parity", "--out", out, *flags)
        assert done.code == 0, done.out + done.err

    return build_once("demo", make)


@pytest.fixture(scope="session")
def serve(root: Path) -> Iterator[Callable[[Path], str]]:
    """`serve(out)`: the address of a running demo."""
    running = []

    def start(out: Path) -> str:
        server = bind(make_site(load_spec(root / "models/portrait"), out))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return f"http://localhost:{server.server_port}/"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def address(serve: Callable[[Path], str], proven: Path) -> str:
    return serve(proven)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    assert path, "Chromium is not installed; run: make setup"
    camera = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    # The web runtimes' driver: playwright allows one a thread, and their tests may run in this process too.
    made = driver().chromium.launch(executable_path=path, args=[*FLAGS, *camera])
    yield made
    made.close()


@dataclass
class Demo:
    """One page of the demo."""

    page: Page
    address: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.judge(request.url))

    def judge(self, url: str) -> None:
        if not url.startswith((self.address, f"blob:{self.address}", "data:")):
            self.foreign.append(url)

    def start(self) -> None:
        self.page.goto(self.address)
        self.page.wait_for_selector("body[data-ready]", state="attached")

    def scenes(self) -> int:
        return int(self.page.evaluate("Number(document.body.dataset.scene ?? 0)"))

    def await_scene(self, act: Callable[[], None]) -> None:
        """Do `act` and wait until the photo it brought has been seen."""
        before = self.scenes()
        act()
        self.page.wait_for_function("before => Number(document.body.dataset.scene ?? 0) > before", arg=before)

    def upload(self, photo: Path | FilePayload) -> None:
        self.await_scene(lambda: self.page.set_input_files("#file", photo))

    def mode(self, name: str) -> None:
        self.page.click(f"#tab-{name}")

    def pixels(self) -> Pixels:
        """What is shown, [H, W, 4], alpha not multiplied in."""
        return self.array("(() => demo.painter.pixels())()")

    def source(self) -> Pixels:
        """The preview of the photo, [H, W, 4]."""
        return self.array("(c => c.getContext('2d').getImageData(0, 0, c.width, c.height))(demo.photo.preview)")

    def array(self, script: str) -> Pixels:
        packed = "({width, height, data}) => [height, width, new Uint8Array(data.buffer).toBase64()]"
        height, width, text = self.page.evaluate(f"({packed})({script})")
        return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)

    def maps(self, name: str) -> NDArray[np.float32]:
        """alpha, depth, people or behind of the scene, [H, W]."""
        script = f"[demo.scene.height, demo.scene.width, new Uint8Array(demo.scene.pixels.{name}.buffer).toBase64()]"
        height, width, text = self.page.evaluate(script)
        return np.frombuffer(base64.b64decode(text), np.float32).reshape(height, width)

    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = self.page.evaluate("demo.settings.get(demo.mode.id)")
        return found

    def change(self, patch: dict[str, Any]) -> None:
        self.page.evaluate("patch => demo.change(patch, {glide: false})", patch)

    def notice(self) -> str:
        self.page.wait_for_selector("#notice:not([hidden])")
        return self.page.inner_text("#notice span")

    def saved(self, kind: str) -> Image.Image:
        """The picture that the save dialog gives."""
        self.page.click("#save")
        with self.page.expect_download() as download:
            self.page.click(f"#saver [data-format={kind}]")
        self.page.click("#saver [aria-label=Close]")
        image = Image.open(io.BytesIO(Path(download.value.path()).read_bytes()))
        image.load()
        return image


@contextmanager
def opened_page(browser: Browser, address: str) -> Iterator[Demo]:
    """A page on a phone's screen, its net loading. Its errors and foreign requests are raised at the end."""
    screen: ViewportSize = {"width": 390, "height": 844}
    context = browser.new_context(viewport=screen, reduced_motion="reduce", has_touch=True)
    context.set_default_timeout(120_000)
    made = Demo(context.new_page(), address)
    made.watch()
    made.start()
    yield made
    context.close()
    assert not made.errors, made.errors
    assert not made.foreign, f"requests that left the origin: {made.foreign}"


@pytest.fixture(scope="module")
def page_of_module(browser: Browser, address: str) -> Iterator[Demo]:
    with opened_page(browser, address) as made:
        yield made


@pytest.fixture
def demo(page_of_module: Demo) -> Demo:
    """The page of this file's tests, back at its start: loading page and net anew is what costs."""
    page_of_module.page.evaluate(RESET)
    page_of_module.page.click("#home")
    return page_of_module


@pytest.fixture
def fresh(browser: Browser, address: str) -> Iterator[Demo]:
    """A page without caches or a service worker of an earlier visit."""
    with opened_page(browser, address) as made:
        yield made


@pytest.fixture(scope="session")
def photos(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Samples at 240 pixels: software rendering is slow."""
    folder = tmp_path_factory.mktemp("photos")
    found = {}
    for name in ("astronaut.png", "grace-hopper.jpg", "render-105.jpg"):
        with Image.open(root / "models/portrait/samples" / name) as image:
            small = image.convert("RGB")
        small.thumbnail((240, 240))
        found[name.partition(".")[0]] = folder / f"{name.partition('.')[0]}.png"
        small.save(found[name.partition(".")[0]])
    return found
