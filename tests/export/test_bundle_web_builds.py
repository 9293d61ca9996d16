"""The portrait's npm package in an app's tools: tsc, Vite, webpack, and the built apps in Chromium."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from benchmarks.runtimes.web.browser import FLAGS, chromium, driver
from support.fixtures import Artifacts, ModelDir
from support.web_package import bundle_web, served

ENGINES = {"ort": "onnx", "litert": "litert", "tfjs": "tfjs"}
# Pinned: what a test builds with must not change by itself.
TOOLS = {"vite": "8.4.0", "webpack": "5.113.0", "webpack-cli": "7.3.1"}
OVERHEAD = 40_000
CONSUMER = """
import {HydraError, type DepthResult, type EncoderFeatures, type Progress} from 'portrait-hydra';
import {load, type PortraitHydra} from 'portrait-hydra/ort';
import {load as onGpu} from 'portrait-hydra/tfjs/webgl';
import {check} from 'portrait-hydra/ort/check';

export async function run(photo: File, signal: AbortSignal): Promise<ImageData> {
  const progress = ({done, total}: Progress): void => console.log(done / total);
  const net: PortraitHydra = await load({progress, signal, baseUrl: '/models/', threads: 2, backend: 'wasm'});
  const features: EncoderFeatures = await net.encode(photo);
  const {depth}: DepthResult = await net.depth(features);
  const {alpha} = await net.segmentation(features);
  features.dispose();
  const both = await net.portrait(document.createElement('canvas'));
  const elements: Float32Array = both.depth.data;
  const wrong = (await check(net)).filter(({error, allowed}) => error > allowed);
  console.log(elements.length, depth.shape[0], wrong.length, net.fallback satisfies string);
  // @ts-expect-error: a head takes features, not a photo
  await net.depth(photo);
  // @ts-expect-error: features are made by the net alone
  await net.depth({dispose() {}});
  // @ts-expect-error: this entry point has one backend
  await load({backend: 'webgpu'});
  await onGpu({backend: 'webgl'});
  try {
    net.dispose();
  } catch (error) {
    if (error instanceof HydraError && error.code === 'aborted') throw error;
    // @ts-expect-error: no such code
    if (error instanceof HydraError && error.code === 'nothing') throw error;
  }
  return alpha.image(photo.size, 3);
}
"""
APP = """
import {load} from 'portrait-hydra/%s';
import {check} from 'portrait-hydra/%s/check';
globalThis.run = async (options) => {
  try {
    const net = await load(options);
    const rows = await check(net);
    const photo = new ImageData(33, 21);
    const {depth} = await net.portrait(photo);
    net.dispose();
    return [net.backend, rows.length, depth.shape];
  } catch (error) {
    return [error.code, error.message];
  }
};
document.body.dataset.ready = 'true';
"""


@pytest.fixture(scope="module")
def package(artifact: Artifacts, model_dir: ModelDir, build_once: Callable[..., Path]) -> Path:
    folders = [artifact("portrait", target, "float16") for target in ENGINES.values()]

    def make(folder: Path) -> None:
        bundle_web(model_dir("portrait"), folders, folder / "pkg", folder / "out")

    return build_once("web-package-portrait-builds", make) / "pkg"


def link_modules(folder: Path, *installed: Path, package: Path) -> None:
    """Fill folder/node_modules with links to installed packages, and a copy of the package under test."""
    home = folder / "node_modules"
    home.mkdir(exist_ok=True)
    for entry in (entry for modules in installed for entry in modules.iterdir()):
        if not entry.name.startswith(".") and not (home / entry.name).exists():
            (home / entry.name).symlink_to(entry)
    shutil.copytree(package, home / "portrait-hydra")


@pytest.mark.parametrize("resolution", ["bundler", "nodenext"])
def test_a_strict_consumer_compiles(resolution: str, package: Path, root: Path, tmp_path: Path) -> None:
    link_modules(tmp_path, root / "node_modules", package=package)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "app.ts").write_text(CONSUMER)
    options = {
        "strict": True,
        "noEmit": True,
        "exactOptionalPropertyTypes": True,
        "noUncheckedIndexedAccess": True,
        "skipLibCheck": False,
        "target": "es2022",
        "lib": ["es2022", "dom"],
        "module": "nodenext" if resolution == "nodenext" else "esnext",
        "moduleResolution": resolution,
        "types": [],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["app.ts"]}))
    done = subprocess.run(
        [root / "node_modules/.bin/tsc"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout


def test_what_an_app_downloads_beyond_model_and_engine_is_small(package: Path) -> None:
    """Without a bundler, so comments included: the whole runtime, the contract and the entry point, after gzip."""
    for engine, target in ENGINES.items():
        files = [
            *(path for path in (package / "runtime").rglob("*.js") if path.parent.name != "node"),
            *(package / name for name in ("net.js", f"{engine}.js", f"contract/{target}.js")),
        ]
        assert sum(len(gzip.compress(path.read_bytes(), 6)) for path in files) <= OVERHEAD


@pytest.fixture(scope="module")
def tools(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the bundlers in node_modules."""
    folder = tmp_path_factory.mktemp("tools")
    shutil.copyfile(root / ".npmrc", folder / ".npmrc")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    words = ["npm", "install", "--silent", "--no-save", *(f"{name}@{version}" for name, version in TOOLS.items())]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        pytest.skip(f"npm could not install {', '.join(TOOLS)} (they need a registry): {done.stderr[-200:]}")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        pytest.skip("Chromium is not installed; run: make setup")
    started = driver().chromium.launch(executable_path=path, args=list(FLAGS))
    yield started
    started.close()


def build_app(tool: str, engine: str, app: Path) -> Path:
    """Build the app in `app` with its tool's own defaults. Return the folder to serve."""
    (app / "main.js").write_text(APP % (engine, engine))
    page = '<!doctype html><title>An app</title><body><script type="module" src="./main.js"></script></body>'
    if tool == "vite":
        (app / "index.html").write_text(page)
        words = ["node_modules/.bin/vite", "build", "--logLevel", "warn"]
    else:
        (app / "dist").mkdir()
        (app / "dist/index.html").write_text(page)
        words = ["node_modules/.bin/webpack", "--mode", "production", "--entry", "./main.js", "-o", "dist"]
    done = subprocess.run(words, cwd=app, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    warnings = [line for line in done.stdout.splitlines() if "WARNING" in line and "size" not in line.lower()]
    assert not [line for line in warnings if "portrait-hydra" in line], warnings
    return app / "dist"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("tool", ["vite", "webpack"])
def test_a_built_app_runs(
    tool: str, engine: str, tools: Path, package: Path, root: Path, browser: Browser, tmp_path: Path
) -> None:
    link_modules(tmp_path, tools / "node_modules", root / "node_modules", package=package)
    (tmp_path / "node_modules/.bin").symlink_to(tools / "node_modules/.bin")
    (tmp_path / "package.json").write_text('{"private": true, "type": "module"}')
    site = build_app(tool, engine, tmp_path)
    binaries = sorted(path.stat().st_size for path in site.rglob("*.wasm"))
    if engine == "ort":
        # One build of ONNX Runtime, not two: 14.2 MB instead of 28.3.
        assert len(binaries) == 1 and binaries[0] < 15e6
    with served(site) as address:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("body[data-ready]", state="attached")
        for options in ({}, {"worker": False}):
            assert page.evaluate("(options) => run(options)", options) == ["wasm", 2, [1, 1, 256, 192]], options
        page.close()
