"""Screenshots of the running demo for the README, taken in a headless browser."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image

from demo.server import bind
from demo.site import make_site
from hydramobile.errors import StageError
from hydramobile.files import write_bytes
from hydramobile.spec import ModelSpec

if TYPE_CHECKING:
    from playwright.sync_api import Page

STAGE = "screenshots"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
QUALITY = 82


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
    """Write the screenshots of SHOTS as JPEGs into `target`. Raise StageError where no browser is installed."""
    paths = []
    with served(spec, out) as address, browsed() as page:
        for name, shot in SHOTS.items():
            path = target / f"{name}.jpg"
            write_bytes(path, shoot(page, address, shot))
            paths.append(path)
    return paths


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
    page.goto(address)
    page.wait_for_selector("body[data-net]", state="attached")
    page.wait_for_function("() => [...document.querySelectorAll('.thumb img')].slice(0, 4).every((i) => i.complete)")
    if shot.sample:
        page.click(f"[data-name='{shot.sample}']")
        page.wait_for_selector("body[data-scene]", state="attached")
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
