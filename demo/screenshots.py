"""Pictures of the running demo for the README, taken in a headless browser."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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
PHONE, DESK = (390, 844), (1280, 800)
QUALITY = 82
# file name -> (screen, dark or light, sample, what is done to it: JavaScript, or "until" and what is waited for)
SHOTS: dict[str, tuple[tuple[int, int], str, str, tuple[str, ...]]] = {
    "demo-start": (PHONE, "light", "", ()),
    "demo-refocus": (PHONE, "dark", "grace-hopper.jpg", ("demo.change({aperture: .9})",)),
    "demo-behind": (PHONE, "dark", "grace-hopper.jpg", ("demo.change({focus: [.1, .1], depth: .1, aperture: 1})",)),
    "demo-cutout": (
        PHONE,
        "light",
        "astronaut.png",
        ("demo.choose(demo.modes[1])", "demo.change({background: 'coral'})"),
    ),
    "demo-place": (PHONE, "dark", "grace-hopper.jpg", ("demo.choose(demo.modes[3])", "demo.change({text: 'GRACE'})")),
    "demo-space": (
        PHONE,
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
    "demo-desk": (
        DESK,
        "dark",
        "astronaut.png",
        (
            "demo.choose(demo.modes[2])",
            "demo.change({'far.exposure': -.7, 'far.saturation': -.8})",
        ),
    ),
}


def take(spec: ModelSpec, out: Path, target: Path) -> list[Path]:
    """Write the pictures of SHOTS as JPEGs into `target`. Raises StageError where no browser is installed."""
    made = []
    with served(spec, out) as address, browsed() as page:
        for name in SHOTS:
            path = target / f"{name}.jpg"
            write_bytes(path, shoot(page, address, name))
            made.append(path)
    return made


@contextmanager
def served(spec: ModelSpec, out: Path) -> Iterator[str]:
    server = bind(make_site(spec, out))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def browsed() -> Iterator[Page]:
    from playwright.sync_api import sync_playwright

    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
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


def shoot(page: Page, address: str, name: str) -> bytes:
    (width, height), scheme, sample, steps = SHOTS[name]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.goto(address)
    page.wait_for_selector("body[data-net]", state="attached")
    page.wait_for_function("() => [...document.querySelectorAll('.thumb img')].slice(0, 4).every((i) => i.complete)")
    if sample:
        page.click(f"[data-name='{sample}']")
        page.wait_for_selector("body[data-scene]", state="attached")
    for step in steps:
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
