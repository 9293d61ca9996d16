"""The demo in a real browser, served with judged artifacts. A page's errors and foreign requests fail its test."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser

from benchmarks.runtimes.web.browser import FLAGS, chromium, driver
from demo.server import bind
from demo.site import make_site
from hydramobile.artifact import artifact_folder
from hydramobile.spec import load_spec
from support.demo import Demo, opened_page
from support.fixtures import Artifacts, Command

ARTIFACTS = (("tfjs", "balanced"), ("tfjs", "float32"), ("onnx", "w8"), ("litert", "w8"))
RUNTIMES = ("tfjs-node", "onnxruntime", "litert")
PHOTO_SIDE = 240
RESET = """() => {
  document.querySelectorAll('dialog[open]').forEach((dialog) => dialog.close());
  document.getElementById('notice').hidden = true;
  demo.mode = demo.modes[0];
}"""


@pytest.fixture(scope="session")
def proven(
    artifact: Artifacts, build: Callable[[str], Path], build_once: Callable[..., Path], command: Command
) -> Path:
    """Return an OUT folder with web artifacts and their passing parity.json. Copy it to change it."""
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
    """`serve(out)` starts a demo and returns its address."""
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
    # The web runtimes' driver: playwright allows one per thread, and their tests may run in this process too.
    browser = driver().chromium.launch(executable_path=path, args=[*FLAGS, *camera])
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page_of_module(browser: Browser, address: str) -> Iterator[Demo]:
    with opened_page(browser, address) as page:
        yield page


@pytest.fixture
def demo(page_of_module: Demo) -> Demo:
    """Reset the page of this file's tests, because loading page and net again would take most of the time."""
    page_of_module.page.evaluate(RESET)
    page_of_module.page.click("#home")
    return page_of_module


@pytest.fixture
def fresh(browser: Browser, address: str) -> Iterator[Demo]:
    """Open a page without the caches or the service worker of an earlier visit."""
    with opened_page(browser, address) as page:
        yield page


@pytest.fixture(scope="session")
def photos(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return samples at 240 pixels, by name: software rendering is slow."""
    folder = tmp_path_factory.mktemp("photos")
    paths = {}
    for name in ("astronaut.png", "grace-hopper.jpg", "render-105.jpg"):
        with Image.open(root / "models/portrait/samples" / name) as image:
            small = image.convert("RGB")
        small.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
        path = folder / f"{Path(name).stem}.png"
        small.save(path)
        paths[path.stem] = path
    return paths
