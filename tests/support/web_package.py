"""Build packages for the web, run their JavaScript in Node, and serve them to a browser."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from export.bundle.build import BundleRequest, build_bundle
from hydramobile.artifact import artifact_folder

ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
TYPES = {
    **SimpleHTTPRequestHandler.extensions_map,
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
}


def bundle_web(model: Path, folders: list[Path], to: Path, out: Path) -> Path:
    """Bundle copies of artifacts, proven or not. Return the package's folder."""
    for folder in folders:
        copy = artifact_folder(out, folder.parents[1].name, folder.parent.name, folder.name)
        if not copy.exists():
            shutil.copytree(folder, copy)
    return build_bundle(BundleRequest("web", model, "", out, to, unproven=True)).folder


def run_node(folder: Path, script: str, given: Any = None, modules: Path | None = None) -> Any:
    """Run a module in `folder`, which reads `given` and calls `say(value)`; return the value.

    `modules` is a node_modules for it. Raises AssertionError with the output where the script fails.
    """
    if modules and not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(modules)
    (folder / "given.json").write_text(json.dumps(given))
    head = (
        "import {readFileSync, writeFileSync} from 'node:fs';\n"
        "const given = JSON.parse(readFileSync('given.json', 'utf8'));\n"
        "const say = (value) => writeFileSync('said.json', JSON.stringify(value));\n"
    )
    (folder / "script.mjs").write_text(head + script)
    done = subprocess.run(["node", "script.mjs"], cwd=folder, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "said.json").read_text())


class Handler(SimpleHTTPRequestHandler):
    """A folder on a cross-origin isolated page. `replaced` maps a path to other content, None to a 404."""

    extensions_map = TYPES
    replaced: Mapping[str, bytes | None]

    def do_GET(self) -> None:  # http.server looks this name up
        path = self.path.partition("?")[0]
        if path not in self.replaced:
            super().do_GET()
            return
        content = self.replaced[path]
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def copyfile(self, source: Any, outputfile: Any) -> None:
        with contextlib.suppress(ConnectionError):  # a page that aborts a download
            super().copyfile(source, outputfile)

    def end_headers(self) -> None:
        for name, value in ISOLATION.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path, replaced: dict[str, bytes | None] | None = None) -> Iterator[str]:
    """Serve `folder` on localhost; yield the address. `replaced` may change meanwhile."""
    handler = type("Bound", (Handler,), {"replaced": {} if replaced is None else replaced})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
