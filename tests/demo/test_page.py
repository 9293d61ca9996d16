"""Ways to open a photo, error messages, runtimes, saving, and the page without a network."""

from __future__ import annotations

import base64
import io
import struct
import threading
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from demo.server import Handler, bind
from demo.site import make_site
from hydramobile.goldens import build_folder, golden_path, load_golden
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec
from support.demo import Demo, opened_page

# Bytes of a first visit (docs/benchmarks.md): what is shown, and the service worker's copy of the page.
LOADED = 3_600_000


def is_open(demo: Demo, photo: Path) -> bool:
    with Image.open(photo) as image:
        return bool(demo.page.evaluate("[demo.photo.width, demo.photo.height]") == list(image.size))


def test_drop_and_paste(demo: Demo, photos: dict[str, Path]) -> None:
    script = """([text, kind]) => {
      const file = new File([Uint8Array.fromBase64(text)], 'one.png', {type: 'image/png'});
      const data = new DataTransfer();
      data.items.add(file);
      const event = kind === 'paste' ? new ClipboardEvent('paste', {clipboardData: data, bubbles: true})
        : new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true});
      document.body.dispatchEvent(event);
    }"""
    for kind, name in (("drop", "astronaut"), ("paste", "grace-hopper")):
        text = base64.b64encode(photos[name].read_bytes()).decode()
        demo.await_scene(partial(demo.page.evaluate, script, [text, kind]))
        assert is_open(demo, photos[name])


def test_a_sample_matches_the_reference(
    demo: Demo, model_dir: Callable[[str], Path], build: Callable[[str], Path]
) -> None:
    """Decoding, preview, resize and net in the browser give the reference's outputs."""
    spec = load_spec(model_dir("portrait"))
    sample = load_samples(spec, "judge")[0]
    assert sample.path is not None
    name = sample.path.name
    demo.await_scene(lambda: demo.page.click(f"[data-name='{name}']"))
    golden = load_golden(golden_path(build_folder(build("portrait"), spec), sample), spec, sample, spec.size)
    for output, limit in (("alpha", 0.02), ("depth", 0.02)):
        text = demo.page.evaluate(f"new Uint8Array(demo.scene.net.{output}.buffer).toBase64()")
        values = np.frombuffer(base64.b64decode(text), np.float32)
        assert np.abs(values - golden.value(output).ravel()).mean() < limit, output


def test_the_camera(demo: Demo) -> None:
    demo.page.click("#shoot")
    demo.page.wait_for_function("() => document.querySelector('#camera video')?.videoWidth > 0")
    demo.await_scene(lambda: demo.page.click("#camera .shutter"))
    assert demo.page.evaluate("demo.photo.name") == "camera.png"


def test_a_turned_photo_is_upright_by_its_exif(demo: Demo, photos: dict[str, Path], tmp_path: Path) -> None:
    with Image.open(photos["grace-hopper"]) as image:
        upright = image.convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn clockwise to show
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    demo.upload(tmp_path / "turned.jpg")
    assert demo.page.evaluate("[demo.photo.width, demo.photo.height]") == list(upright.size)
    assert np.abs(demo.source()[..., :3].astype(int) - np.asarray(upright)).mean() < 8
    demo.change({"aperture": 0})
    saved = demo.saved("jpeg")
    assert saved.size == upright.size
    assert np.abs(np.asarray(saved.convert("RGB")).astype(int) - np.asarray(upright)).mean() < 8


def test_a_file_that_is_no_photo_is_refused(demo: Demo) -> None:
    demo.page.set_input_files("#file", {"name": "words.txt", "mimeType": "text/plain", "buffer": b"no photo at all"})
    assert "words.txt is not a photo this browser can read" in demo.notice()
    demo.page.click("#dismiss")
    assert demo.page.is_hidden("#notice") and demo.page.is_visible("#pick")


def test_a_huge_photo_is_refused_before_it_is_decoded(demo: Demo) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 50_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    demo.page.set_input_files("#file", {"name": "huge.png", "mimeType": "image/png", "buffer": bomb})
    assert "huge.png is 60000 × 50000: more than 100 megapixels" in demo.notice()


def test_a_damaged_model_is_refused_and_downloaded_again(fresh: Demo, photos: dict[str, Path]) -> None:
    fresh.page.wait_for_selector("body[data-net]", state="attached")
    page = fresh.page
    page.evaluate("caches.delete('hydra-models-1')")
    broken = "**/model/tfjs/balanced/depth/*.bin"
    page.context.route(broken, lambda route: route.fulfill(status=200, body=b"\0" * 4000))
    page.reload()
    assert "group1-shard1of1.bin is damaged: its content does not match the sha256" in fresh.notice()
    page.context.unroute(broken)
    page.context.route(broken, lambda route: route.fulfill(status=404))
    page.click("#act")
    page.wait_for_function("() => document.querySelector('#notice span').textContent.includes('missing on the server')")
    page.context.unroute(broken)
    page.click("#act")
    page.wait_for_selector("body[data-net='tfjs/balanced wasm']", state="attached")
    fresh.upload(photos["astronaut"])


def test_the_page_works_offline_after_the_first_picture(fresh: Demo, photos: dict[str, Path]) -> None:
    fresh.upload(photos["astronaut"])
    fresh.page.wait_for_selector("body[data-kept]", state="attached")
    fresh.page.context.set_offline(True)
    try:
        fresh.page.reload()
        fresh.page.wait_for_selector("body[data-net]", state="attached")
        fresh.upload(photos["render-105"])
        fresh.page.click("#home")
        fresh.await_scene(lambda: fresh.page.click("[data-name='astronaut.png']"))
        fresh.mode("scene3d")
        fresh.page.wait_for_function("() => Number(document.body.dataset.spaceFrames) > 0")
    finally:
        fresh.page.context.set_offline(False)


def test_a_photo_of_nobody_stays_sharp_and_says_so(demo: Demo, tmp_path: Path) -> None:
    ramp = np.linspace(40, 200, 240, dtype=np.uint8)
    Image.fromarray(np.stack([np.tile(ramp, (180, 1))] * 3, -1)).save(tmp_path / "ramp.png")
    demo.upload(tmp_path / "ramp.png")
    assert demo.page.evaluate("demo.scene.people.length") == 0
    assert demo.notice().startswith("Nobody was found in this photo.")
    assert (demo.pixels() == demo.source()).all()
    demo.page.click("text=Refocus by depth")
    assert demo.settings()["aperture"] == 0.55 and demo.page.is_hidden("#notice")


def test_what_is_loaded_before_the_first_tap(
    browser: Browser, proven: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server counts: page, runtime, model, thumbnails and the service worker's copies."""
    sent: dict[str, int] = {}
    answer = Handler.answer

    def count(handler: Handler, status: HTTPStatus, content: bytes | Path, headers: Mapping[str, str]) -> None:
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        sent[handler.path] = sent.get(handler.path, 0) + size
        answer(handler, status, content, headers)

    monkeypatch.setattr(Handler, "answer", count)
    server = bind(make_site(load_spec(root / "models/portrait"), proven))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with opened_page(browser, f"http://localhost:{server.server_port}/") as page:
            page.page.wait_for_selector("body[data-net]", state="attached")
            page.page.wait_for_load_state("networkidle")
    finally:
        server.shutdown()
        server.server_close()
    photos = (".jpg", ".png")
    assert not [path for path in sent if path.startswith("/npm/three") or path.endswith(photos)], (
        "before they are asked for"
    )
    assert sum(sent.values()) <= LOADED, sorted(sent.items(), key=lambda row: -row[1])[:8]


def inspect(demo: Demo, field: str, value: str) -> None:
    """Select a value in the inspector and wait until it is loaded."""
    if not demo.page.evaluate("document.getElementById('inspector').open"):
        demo.page.click("#inspect")
    demo.page.select_option(f"#inspector select[name={field}]", value)
    demo.page.wait_for_function("() => !document.getElementById('inspector').inert")
    assert demo.page.is_hidden("#notice"), demo.page.inner_text("#notice")


@pytest.mark.parametrize(
    ("engine", "ident"), [("litert", "litert/w8"), pytest.param("ort", "onnx/w8", marks=pytest.mark.slow)]
)
def test_runtimes_agree_and_the_inspector_shows_their_cost(
    demo: Demo, photos: dict[str, Path], engine: str, ident: str
) -> None:
    demo.upload(photos["render-105"])
    reference = demo.maps("alpha")
    for name, artifact in ((engine, ident), ("tfjs", "tfjs/balanced")):
        inspect(demo, "engine", name)
        assert demo.page.evaluate("document.body.dataset.net") == f"{artifact} wasm"
        assert np.mean((demo.maps("alpha") > 0.5) != (reference > 0.5)) < 0.01
        cells = demo.page.locator("[data-run=encoder] td").all_inner_texts()
        assert float(cells[0]) > 0 and cells[1] == "–"
    demo.page.click("#run-again")
    demo.page.wait_for_function("() => !document.getElementById('inspector').inert")
    assert float(demo.page.locator("[data-run=depth] td").all_inner_texts()[1]) > 0
    assert demo.page.locator("[data-run=encoder] td").all_inner_texts()[1] == "–", "features were computed again"
    demo.page.wait_for_function("() => document.querySelector('#inspector dl').innerText.includes('Runtime\\n0.')")
    assert "MB gzip" in demo.page.inner_text("#inspector dl")


def test_float_beside_quantized(demo: Demo, photos: dict[str, Path]) -> None:
    demo.upload(photos["render-105"])
    inspect(demo, "compare", "tfjs/float32")
    demo.page.keyboard.press("Escape")
    demo.page.fill("#seam-position", "0.25")
    assert demo.page.inner_text("#seam .left") == "balanced" and demo.page.inner_text("#seam .right") == "float32"
    shown = demo.page.evaluate(
        "(async () => { await new Promise(requestAnimationFrame); await new Promise(requestAnimationFrame);"
        "const c = document.createElement('canvas'), {width, height} = demo.scene; Object.assign(c, {width, height});"
        "const k = c.getContext('2d'); k.drawImage(document.getElementById('canvas'), 0, 0);"
        "return new Uint8Array(k.getImageData(0, 0, c.width, c.height).data.buffer).toBase64(); })()"
    )
    height, width = demo.maps("alpha").shape
    canvas = np.frombuffer(base64.b64decode(shown), np.uint8).reshape(height, width, 4).astype(int)
    read = "demo.stage.read(demo.painter.output('%s'))"
    sides = [demo.array(f"({{...demo.painter.pixels(), data: {read % name}}})") for name in ("left", "right")]
    seam = round(0.25 * width)
    assert (sides[0] != sides[1]).any()
    assert np.abs(canvas[:, : seam - 1] - sides[0][:, : seam - 1]).max() <= 1
    assert np.abs(canvas[:, seam + 1 :] - sides[1][:, seam + 1 :]).max() <= 1
    inspect(demo, "compare", "")
    assert demo.page.is_hidden("#seam")


@pytest.mark.slow
def test_24_megapixels_are_saved_in_tiles(demo: Demo, root: Path, tmp_path: Path) -> None:
    """Edit has a short shader: a bokeh of this size takes software graphics half an hour on a busy machine."""
    with Image.open(root / "models/portrait/samples/grace-hopper.jpg") as image:
        image.resize((4096, 5888), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=90)
    demo.page.context.set_default_timeout(590_000)
    demo.upload(tmp_path / "large.jpg")
    demo.mode("edit")
    demo.change({"far.exposure": -0.5})
    shown = demo.pixels()
    demo.page.context.set_default_timeout(590_000)
    saved = demo.saved("jpeg")
    assert saved.size == (4096, 5888)
    small = np.asarray(saved.convert("RGB").resize(shown.shape[1::-1], Image.Resampling.BOX)).astype(int)
    assert np.abs(small - shown[..., :3]).mean() < 4


def test_tiles_meet_without_a_seam(demo: Demo, photos: dict[str, Path]) -> None:
    """Rendered in one piece and in small tiles, the picture is the same."""
    demo.upload(photos["astronaut"])
    demo.change({"aperture": 0.5})
    whole = demo.pixels()[..., :3].astype(int)
    script = """async () => {
      const {save} = await import('/app/save.js');
      const blob = await save({...demo, settings: demo.settings.get('refocus'), type: 'image/png', tile: 192});
      return new Uint8Array(await blob.arrayBuffer()).toBase64();
    }"""
    with Image.open(io.BytesIO(base64.b64decode(demo.page.evaluate(script)))) as image:
        tiled = np.asarray(image.convert("RGB")).astype(int)
    assert tiled.shape == whole.shape
    assert np.abs(tiled - whole).mean() < 0.5
    assert np.abs(tiled - whole).max() <= 24
