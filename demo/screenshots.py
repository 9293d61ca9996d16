"""Take pictures of the running demo in a headless browser: the screenshots of the docs, the start page's picture.

`RECORD` beside the screenshots holds the hash of the page that they show, by which a test finds out that they are old.
"""

from __future__ import annotations

import base64
import io
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image

from demo.server import bind, page_hash
from demo.showcase import Showcase, read_showcase
from demo.site import make_site
from hydramobile.errors import StageError
from hydramobile.files import dump_json, sha256_file, write_bytes, write_text
from hydramobile.spec import ModelSpec

if TYPE_CHECKING:
    from playwright.sync_api import Page

STAGE = "screenshots"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
QUALITY = 82
# Of the start page's picture.
HERO_QUALITY = 70
RECORD = "pictures.json"
PIXELS = """(() => {
  const {width, height, data} = demo.painter.pixels();
  return [height, width, new Uint8Array(data.buffer).toBase64()];
})()"""


@dataclass(frozen=True, slots=True)
class Shot:
    """One screenshot. A step is JavaScript to run, or "until" and a condition to wait for."""

    scheme: Literal["dark", "light"]
    sample: str = ""
    steps: tuple[str, ...] = ()
    width: int = 390
    height: int = 844


# by file name
SHOTS = {
    "demo-start": Shot("light"),
    "demo-refocus": Shot("dark", "grace-hopper.jpg", ("demo.change({aperture: .9})",)),
    "demo-behind": Shot("dark", "grace-hopper.jpg", ("demo.change({focus: [.1, .1], depth: .1, aperture: 1})",)),
    "demo-cutout": Shot("light", "astronaut.png", ("demo.choose(demo.modes[1])", "demo.change({background: 'coral'})")),
    "demo-place": Shot("dark", "grace-hopper.jpg", ("demo.choose(demo.modes[3])", "demo.change({text: 'GRACE'})")),
    "demo-space": Shot(
        "light",
        "grace-hopper.jpg",
        (
            "demo.choose(demo.modes[4])",
            "until Number(document.body.dataset.spaceFrames) > 0",
            "demo.change({motion: 'orbit', relief: .6})",
            "until demo.mode.space.asked === null",
            "demo.mode.space.camera.position.set(-.24, .06, -.05)",
            "demo.mode.space.orbit.update()",
            "until demo.mode.space.asked === null",
        ),
    ),
    "demo-desk": Shot(
        "dark",
        "astronaut.png",
        ("demo.choose(demo.modes[2])", "demo.change({'far.exposure': -.7, 'far.saturation': -.8})"),
        width=1280,
        height=800,
    ),
}


def take(spec: ModelSpec, out: Path, target: Path) -> list[Path]:
    """Write the start page's picture, then the screenshots of SHOTS as JPEGs into `target`, and their record.

    Raises StageError where no browser is installed.
    """
    shown = read_showcase(spec)
    paths = []
    with browsed() as page:
        if shown.hero:
            with served(spec, out) as address:
                paths += take_hero(page, address, shown)
        with served(spec, out) as address:
            for name, shot in SHOTS.items():
                path = target / f"{name}.jpg"
                write_bytes(path, shoot(page, address, shot))
                paths.append(path)
    taken = {path.name: sha256_file(path) for path in paths}
    write_text(target / RECORD, dump_json({"schema": 1, "page": page_hash(), "pictures": taken}))
    return paths


def take_hero(page: Page, address: str, shown: Showcase) -> list[Path]:
    """Write every state of the start page's picture at the size of the photo's preview."""
    open_sample(page, address, shown.hero_photo)
    paths = []
    for state in shown.hero:
        page.evaluate(f"demo.change({state.change}, {{glide: false}})")
        height, width, text = page.evaluate(PIXELS)
        pixels = Image.frombytes("RGBA", (width, height), base64.b64decode(text)).convert("RGB")
        packed = io.BytesIO()
        pixels.save(packed, "WEBP", quality=HERO_QUALITY)
        write_bytes(state.path, packed.getvalue())
        paths.append(state.path)
    return paths


def open_sample(page: Page, address: str, name: str) -> None:
    """Open the page, and a sample unless `name` is empty."""
    page.goto(address)
    page.wait_for_selector("body[data-net]", state="attached")
    page.wait_for_function("() => [...document.querySelectorAll('.thumb img')].slice(0, 4).every((i) => i.complete)")
    if name:
        page.click(f"[data-name='{name}']")
        page.wait_for_selector("body[data-scene]", state="attached")


@contextmanager
def served(spec: ModelSpec, out: Path) -> Iterator[str]:
    """Serve the demo while the context lasts; yield its address."""
    server = bind(make_site(spec, out))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def browsed() -> Iterator[Page]:
    """Open a page in a headless browser while the context lasts."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        raise StageError(STAGE, "Chromium is not installed; run: make setup")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-first-run"])
        context = browser.new_context(reduced_motion="reduce", device_scale_factor=1.5)
        context.set_default_timeout(120_000)
        try:
            yield context.new_page()
        finally:
            browser.close()


def shoot(page: Page, address: str, shot: Shot) -> bytes:
    """Return one screenshot as JPEG."""
    page.set_viewport_size({"width": shot.width, "height": shot.height})
    page.emulate_media(color_scheme=shot.scheme, reduced_motion="reduce")
    open_sample(page, address, shot.sample)
    for step in shot.steps:
        if step.startswith("until "):
            page.wait_for_function(f"() => {step.removeprefix('until ')}")
        else:
            page.evaluate(f"{{ {step}; }}")
    page.evaluate("document.getElementById('hint').hidden = true")
    page.evaluate("demo.painter.paint()")
    with Image.open(io.BytesIO(page.screenshot())) as image:
        packed = io.BytesIO()
        image.convert("RGB").save(packed, "JPEG", quality=QUALITY, optimize=True)
    return packed.getvalue()
