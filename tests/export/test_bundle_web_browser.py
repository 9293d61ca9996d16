"""The portrait's npm package in Chromium: from a JPEG to depth and matte, in every engine, in a worker and without."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page

from benchmarks.runtimes.web.browser import FLAGS, chromium, driver
from hydramobile.loader import load_modules
from hydramobile.measures import judge_depth, judge_matte
from hydramobile.preprocess import load_photo, to_tensor
from hydramobile.spec import load_spec
from support.fixtures import Artifacts, ModelDir
from support.web_package import bundle_web, served

ENGINES = {"ort": "onnx", "litert": "litert", "tfjs": "tfjs"}
# Limits of models/portrait/budget.toml on one photo. The JPEG is decoded by Chromium here, by Pillow there.
IOU, FLIPS = 0.98, 0.005
Replaced = dict[str, bytes | None]

RUN = """async ([entry, options, url, kind]) => {
  const {load} = await import(`/pkg/${entry}.js`);
  const {check} = await import(`/pkg/${entry}-check.js`);
  const seen = [];
  const net = await load({npm: '/node_modules/', ...options, progress: (progress) => seen.push(progress)});
  const blob = await (await fetch(url)).blob();
  const photo = kind === 'blob' ? blob : kind === 'bitmap' ? await createImageBitmap(blob) : new Image();
  if (kind === 'img') photo.src = url;
  const features = await net.encode(photo);
  const [{depth}, {alpha}] = await Promise.all([net.depth(features), net.segmentation(features)]);
  features.dispose();
  const both = await net.portrait(photo);
  const rows = await check(net);
  const image = alpha.image(301, 203);
  const text = ({data}) => new Uint8Array(data.buffer).toBase64();
  const said = {
    depth: text(depth), alpha: text(alpha), image: [image instanceof ImageData, image.width, image.height],
    same: depth.data.every((value, index) => value === both.depth.data[index]),
    ok: rows.every(({error, allowed}) => error <= allowed), checked: rows.length,
    backend: net.backend, threads: net.threads, last: seen.at(-1), steps: seen.length,
  };
  net.dispose();
  return said;
}"""
CODE = """async ([entry, options, abort]) => {
  const {load} = await import(`/pkg/${entry}.js`);
  const stop = new AbortController();
  if (abort) setTimeout(() => stop.abort(), 5);
  try {
    const net = await load({npm: '/node_modules/', ...options, signal: stop.signal});
    net.dispose();
    return [net.backend, net.fallback];
  } catch (error) {
    return [error.code, error.message];
  }
}"""


@pytest.fixture(scope="session")
def site(artifact: Artifacts, model_dir: ModelDir, build_once: Callable[..., Path], root: Path) -> Path:
    """A folder with the portrait's package, node_modules and a blank page. Copy it to change it."""
    folders = [artifact("portrait", target, "float16") for target in ENGINES.values()]

    def make(folder: Path) -> None:
        bundle_web(model_dir("portrait"), folders, folder / "pkg", folder / "out")
        (folder / "node_modules").symlink_to(root / "node_modules")
        (folder / "index.html").write_text("<!doctype html><title>A page</title>")

    return build_once("web-package-portrait", make)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        pytest.skip("Chromium is not installed; run: make setup")
    started = driver().chromium.launch(executable_path=path, args=list(FLAGS))
    yield started
    started.close()


@pytest.fixture
def replaced() -> Replaced:
    """Content of the server's that a test changes, by path."""
    return {}


@pytest.fixture
def page(browser: Browser, site: Path, replaced: Replaced) -> Iterator[Page]:
    with served(site, replaced) as address:
        context = browser.new_context()
        context.set_default_timeout(120_000)
        page = context.new_page()
        page.goto(address)
        yield page
        context.close()


@pytest.fixture(scope="session")
def photo(model_dir: ModelDir, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG that lies on its side by its EXIF orientation."""
    path = tmp_path_factory.mktemp("photo") / "side.jpg"
    with Image.open(model_dir("portrait") / "samples/grace-hopper.jpg") as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.convert("RGB").transpose(Image.Transpose.ROTATE_90).save(path, quality=95, exif=exif)
    return path


@pytest.fixture(scope="session")
def reference(photo: Path, model_dir: ModelDir) -> dict[str, NDArray[Any]]:
    """The PyTorch reference's outputs for the JPEG, through the preprocessing contract."""
    spec = load_spec(model_dir("portrait"))
    modules = load_modules(spec)
    with torch.no_grad():
        features = modules["encoder"](torch.from_numpy(to_tensor(load_photo(photo), spec.size)))
        outputs = {name: modules[name](*features) for name in ("depth", "segmentation")}
    return {name: np.asarray(value)[0, 0] for name, value in outputs.items()}


def array(text: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text), np.float32).reshape(shape)


@pytest.mark.parametrize(("options", "kind"), [({}, "blob"), ({"worker": False}, "img"), ({"threads": 2}, "bitmap")])
@pytest.mark.parametrize("engine", ENGINES)
def test_from_a_jpeg_to_the_reference_s_outputs(
    engine: str,
    options: dict[str, Any],
    kind: str,
    page: Page,
    replaced: Replaced,
    photo: Path,
    reference: dict[str, NDArray[Any]],
) -> None:
    replaced["/photo.jpg"] = photo.read_bytes()
    said = page.evaluate(RUN, [engine, options, "/photo.jpg", kind])
    depth, alpha = reference["depth"], reference["segmentation"]
    matte = judge_matte(array(said["alpha"], alpha.shape), alpha, None)
    order = judge_depth(array(said["depth"], depth.shape), depth, alpha > 0.9)
    assert matte["iou"] >= IOU and order["order_flips"] <= FLIPS, (matte, order)
    assert said["same"] and said["ok"] and said["checked"] == 2 and said["image"] == [True, 301, 203]
    assert said["backend"] == "wasm" and said["threads"] >= 1
    assert said["last"]["done"] == said["last"]["total"] == said["last"]["fetched"] and said["steps"] > 1


def test_files_are_kept_and_a_damaged_copy_is_fetched_again(page: Page, replaced: Replaced, photo: Path) -> None:
    replaced["/photo.jpg"] = photo.read_bytes()
    run = ["tfjs", {}, "/photo.jpg", "blob"]
    page.evaluate(RUN, run)
    assert page.evaluate(RUN, run)["last"]["fetched"] == 0
    page.evaluate(
        """async () => {
          const cache = await caches.open('hydra-models-1');
          const [first] = await cache.keys();
          await cache.put(first, new Response('damaged'));
        }"""
    )
    last = page.evaluate(RUN, run)["last"]
    assert 0 < last["fetched"] < last["total"] == last["done"]


def test_faults_of_a_download(page: Page, replaced: Replaced, site: Path) -> None:
    file = next((site / "pkg/models/tfjs").rglob("*.bin"))
    path = f"/{file.relative_to(site).as_posix()}"
    replaced[path] = None
    code, message = page.evaluate(CODE, ["tfjs", {}, False])
    assert code == "missing" and "HTTP 404" in message
    replaced[path] = file.read_bytes()[:-1] + b"?"
    for options in ({}, {"worker": False}):
        code, message = page.evaluate(CODE, ["tfjs", options, False])
        assert code == "corrupt" and file.name in message
        assert page.evaluate(CODE, ["tfjs", options, True])[0] == "aborted"
    del replaced[path]
    assert page.evaluate(CODE, ["tfjs", {}, False]) == ["wasm", ""]
    assert page.evaluate(CODE, ["ort", {"baseUrl": "http://localhost:9/"}, False])[0] == "unreachable"


def test_without_a_gpu_webassembly_runs_and_says_why(page: Page) -> None:
    backend, reason = page.evaluate(CODE, ["ort-webgpu", {}, False])
    assert backend == "wasm" and reason == "webgpu: the browser has no WebGPU adapter"


def test_a_photo_is_resized_as_by_pillow(page: Page, replaced: Replaced, tmp_path: Path) -> None:
    """Turned, over white, in strips, from 1x1 to 50 megapixels, within 1/255 of the contract."""
    generator = np.random.default_rng(3)
    sizes = [(1, 1), (3, 5000), (5000, 3), (640, 480), (1999, 3001), (8165, 6124)]
    script = """async () => {
      const {photoBytes} = await import('/pkg/runtime/photo.js');
      const blob = await (await fetch('/photo.png')).blob();
      const started = performance.now();
      const bytes = await photoBytes(blob, 192, 256);
      return [bytes.toBase64(), performance.now() - started];
    }"""
    for width, height in sizes:
        small = generator.integers(0, 256, (max(height // 16, 1), max(width // 16, 1), 4), dtype=np.uint8)
        image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        if width * height > 10_000_000:
            image = image.convert("RGB")
        path = tmp_path / "photo.png"
        image.save(path, compress_level=1)
        replaced["/photo.png"] = path.read_bytes()
        text, _ = page.evaluate(script)
        got = np.frombuffer(base64.b64decode(text), np.uint8).reshape(256, 192, 3).astype(int)
        expected = np.round(to_tensor(load_photo(path), (256, 192))[0].transpose(1, 2, 0) * 255).astype(int)
        assert np.abs(got - expected).max() <= 1, (width, height)


def test_no_photo_is_a_typed_error(page: Page, replaced: Replaced) -> None:
    replaced["/photo.jpg"] = b"no photo at all"
    script = """async (options) => {
      const {load} = await import('/pkg/tfjs.js');
      const net = await load({npm: '/node_modules/', ...options});
      const blob = await (await fetch('/photo.jpg')).blob();
      const code = await net.encode(blob).catch((error) => error.code);
      net.dispose();
      return code;
    }"""
    assert [page.evaluate(script, options) for options in ({}, {"worker": False})] == ["photo", "photo"]


def test_the_package_is_served_as_it_is_sealed(site: Path) -> None:
    contract = (site / "pkg/contract/tfjs.js").read_text()
    for file in (site / "pkg/models/tfjs").rglob("*.bin"):
        assert hashlib.sha256(file.read_bytes()).hexdigest() in contract
