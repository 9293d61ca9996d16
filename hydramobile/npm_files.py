"""The files of node_modules that the pages load: the engines' bundles and WebAssembly, and nothing beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from hydramobile.http_server import file_below

SUFFIXES = frozenset({".js", ".mjs", ".wasm"})
# Package -> the folders from which the engines of export/bundle/web load.
ENGINES: dict[str, tuple[str, ...]] = {
    "@litertjs/core": ("dist", "wasm"),
    "@litertjs/wasm-utils": ("dist",),
    "@tensorflow/tfjs-backend-wasm": ("dist",),
    "@tensorflow/tfjs-backend-webgl": ("dist",),
    "@tensorflow/tfjs-backend-webgpu": ("dist",),
    "@tensorflow/tfjs-converter": ("dist",),
    "@tensorflow/tfjs-core": ("dist",),
    "onnxruntime-web": ("dist",),
}
# LiteRT.js imports a package by its bare name. An import map would resolve it in the page, but not in a worker.
BARE = {b'"@litertjs/wasm-utils"': "/npm/@litertjs/wasm-utils/dist/index.js"}


def find_npm(node_modules: Path, packages: Mapping[str, Sequence[str]], path: str) -> Path | None:
    """Return the file of a path such as `three/build/three.core.js`; None where `packages` does not list it."""
    listed = any(path.startswith(f"{name}/{folder}/") for name, folders in packages.items() for folder in folders)
    if not listed or PurePosixPath(path).suffix not in SUFFIXES:
        return None
    return file_below(node_modules, path)


def with_full_names(content: bytes, prefix: str = "") -> bytes:
    """Return a script whose bare imports are URLs below `prefix`."""
    for bare, full in BARE.items():
        content = content.replace(bare, f'"{prefix}{full}"'.encode())
    return content
