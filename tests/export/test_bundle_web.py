"""The npm package of a net: its files, names and methods, and what it computes in Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.bundle.names import camel
from export.bundle.plan import Plan, Source, Step, make_plan
from export.bundle.web.contract import port_row
from export.bundle.web.generator import ENTRIES, VERSIONS, NpmPackage
from export.bundle.web.names import make_names
from hydramobile.artifact import read_artifact
from hydramobile.errors import StageError
from support.fixtures import Artifacts, Golden, ModelDir
from support.web_package import bundle_web, run_node

TARGETS = {"ort": "onnx", "tfjs": "tfjs"}


@pytest.fixture(scope="session")
def package(artifact: Artifacts, model_dir: ModelDir, build_once: Callable[..., Path]) -> Path:
    """The package of the net with a head that reads two modules. Copy it to change it."""
    folders = [artifact("mixed", target, "float32") for target in TARGETS.values()]

    def make(folder: Path) -> None:
        bundle_web(model_dir("mixed"), folders, folder / "pkg", folder / "out")

    return build_once("web-package-mixed", make) / "pkg"


@pytest.fixture
def home(package: Path, root: Path, tmp_path: Path) -> Path:
    """A copy of the package below node_modules-like neighbours, to run scripts beside it."""
    shutil.copytree(package, tmp_path / "pkg")
    (tmp_path / "node_modules").symlink_to(root / "node_modules")
    return tmp_path


def plan_of(folder: Path) -> Plan:
    return make_plan(folder, read_artifact(folder), [], "unjudged")


def test_two_runs_give_equal_trees(package: Path, artifact: Artifacts, model_dir: ModelDir, tmp_path: Path) -> None:
    folders = [artifact("mixed", target, "float32") for target in TARGETS.values()]
    again = bundle_web(model_dir("mixed"), folders, tmp_path / "again", tmp_path / "out")
    names = sorted(path.relative_to(package) for path in package.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for name in names:
        assert (package / name).read_bytes() == (again / name).read_bytes(), name


def test_what_package_json_says(package: Path) -> None:
    content = json.loads((package / "package.json").read_text())
    assert content["name"] == "mixed-hydra" and content["type"] == "module" and content["sideEffects"] is False
    assert set(content["peerDependencies"]) == set(content["peerDependenciesMeta"])
    assert all(meta["optional"] for meta in content["peerDependenciesMeta"].values())
    assert "@litertjs/core" not in content["peerDependencies"]
    for conditions in content["exports"].values():
        for path in [conditions] if isinstance(conditions, str) else conditions.values():
            assert "*" in path or (package / path).is_file(), path
    assert not list(package.rglob("litert.js")) or not (package / "runtime/workers/litert.js").exists()


def test_every_script_parses(package: Path) -> None:
    """The generated scripts too, whose names and literals vary, and the sample app."""
    scripts = [path for path in package.rglob("*.js") if "runtime" not in path.parts]
    assert any("samples" in path.parts for path in scripts)
    for script in scripts:
        done = subprocess.run(["node", "--check", script], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr


def test_an_unproven_package_says_so(package: Path) -> None:
    assert "UNPROVEN" in (package / "README.md").read_text()
    assert not any(row["proven"] for row in json.loads((package / "proof.json").read_text())["artifacts"])
    assert '"unproven": "' in (package / "contract/onnx.js").read_text()


def test_the_versions_are_those_that_parity_runs_on(root: Path) -> None:
    pins = json.loads((root / "package.json").read_text())["dependencies"]
    assert {name: pins[name] for name in VERSIONS} == VERSIONS
    assert {name for points in ENTRIES.values() for point in points for name in point.packages} == set(VERSIONS)


CHAIN = """
const {load} = await import(`./pkg/${given.engine}.node.js`);
const {check} = await import(`./pkg/${given.engine}-check.js`);
const net = await load();
const photo = {data: new Uint8ClampedArray(given.pixels), width: given.width, height: given.height};
const [local, whole] = await Promise.all([net.stem(photo), net.whole(photo)]);
const context = await net.context(local);
const painted = await net.paint(local, context);
local.dispose();
const rows = await check(net);
const image = painted.front.image(30, 20);
say({
  front: Array.from(painted.front.data), back: Array.from(painted.back.data), shape: painted.front.shape,
  same: painted.front.data.every((value, index) => value === whole.front.data[index]),
  rows, image: [image.width, image.height, image.data.length], backend: net.backend, fallback: net.fallback,
});
net.dispose();
"""


@pytest.mark.parametrize("engine", TARGETS)
def test_it_computes_in_node_what_the_reference_computes(engine: str, home: Path, golden: Golden) -> None:
    tensors = golden("mixed")
    _, _, height, width = tensors["image"].shape
    rgba = np.full((height, width, 4), 255, np.uint8)
    rgba[..., :3] = np.round(tensors["image"][0].transpose(1, 2, 0) * 255)
    given = {"engine": engine, "pixels": rgba.ravel().tolist(), "width": width, "height": height}
    said = run_node(home, CHAIN, given)
    for name in ("front", "back"):
        expected = np.asarray(tensors[name], np.float64)
        assert np.abs(np.array(said[name]).reshape(expected.shape) - expected).max() < 1e-3
    assert said["same"] and said["backend"] == "wasm" and said["fallback"] == ""
    assert said["shape"] == list(tensors["front"].shape) and said["image"] == [30, 20, 2400]
    assert {row["output"] for row in said["rows"]} == {"front", "back"}
    assert all(row["error"] <= row["allowed"] for row in said["rows"])


FAULTS = """
import {HydraError} from './pkg/index.js';
const {load} = await import('./pkg/ort.node.js');
const code = async (work) => {
  try { await work(); } catch (error) { return [error instanceof HydraError, error.code, error.message]; }
  return [];
};
const photo = {data: new Uint8ClampedArray(4).fill(9), width: 1, height: 1};
const [net, other] = [await load(), await load()];
const [local, foreign] = [await net.stem(photo), await other.stem(photo)];
const context = await net.context(local);
const big = {data: new Uint8ClampedArray(4), width: 20000, height: 20000};
const stop = new AbortController();
const loading = code(() => load({signal: stop.signal}));
stop.abort();
const under = code(() => net.whole(photo));
const said = {
  twice: (await Promise.all([net.whole(photo), net.whole(photo)])).length,
  under: await under,
  big: await code(() => net.stem(big)),
  length: await code(() => net.stem({...photo, width: 2})),
  none: await code(() => net.stem(undefined)),
  blob: await code(() => net.stem(new Blob(['x']))),
  foreign: await code(() => net.context(foreign)),
  swapped: await code(() => net.paint(context, local)),
  wrong: await code(() => net.context({})),
  backend: await code(() => load({backend: 'webgpu'})),
  aborted: await loading,
  before: await code(() => load({signal: AbortSignal.abort()})),
  elsewhere: await code(() => load({baseUrl: new URL('nowhere/', import.meta.url)})),
};
local.dispose();
local.dispose();
said.freed = await code(() => net.context(local));
const late = code(() => net.whole(photo));
net.dispose();
net.dispose();
said.late = await late;
said.disposed = await code(() => net.stem(photo));
say(said);
"""


def test_every_fault_has_its_code(home: Path) -> None:
    said = run_node(home, FAULTS)
    assert said.pop("twice") == 2 and said.pop("under") == []
    codes = {name: row[1] for name, row in said.items()}
    assert all(row[0] for row in said.values()), said
    assert codes == {
        "big": "photo",
        "length": "photo",
        "none": "photo",
        "blob": "photo",
        "foreign": "features",
        "swapped": "features",
        "wrong": "features",
        "backend": "backend",
        "aborted": "aborted",
        "before": "aborted",
        "elsewhere": "missing",
        "freed": "features",
        "late": "disposed",
        "disposed": "disposed",
    }
    assert "100 megapixels" in said["big"][2] and "another net" in said["foreign"][2]
    assert "stem, not of" not in said["wrong"][2] and "has: wasm" in said["backend"][2]


LOAD = """
const {load} = await import('./pkg/ort.node.js');
const {check} = await import('./pkg/ort-check.js');
try { const net = await load(); await check(net); say([]); } catch (error) { say([error.code, error.message]); }
"""


def test_a_damaged_model_file_is_refused(home: Path) -> None:
    (file,) = (home / "pkg/models").rglob("stem*.onnx")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    code, message = run_node(home, LOAD)
    assert code == "corrupt" and "stem" in message
    file.unlink()
    code, message = run_node(home, LOAD)
    assert code == "missing" and "stem" in message


def test_another_net_s_outputs_fail_the_golden(home: Path) -> None:
    contract = home / "pkg/contract/onnx.golden.js"
    text = contract.read_text()
    before = text[text.index('"front": {allowed: ') :].split(",")[0]
    contract.write_text(text.replace(before, '"front": {allowed: 0'))
    code, message = run_node(home, LOAD)
    assert code == "golden" and "paint.front is off by" in message


def test_a_large_file_comes_in_parts(
    artifact: Artifacts, model_dir: ModelDir, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.bundle.web.contract.PART", 5000)
    bundle_web(model_dir("mixed"), [artifact("mixed", "onnx", "float32")], tmp_path / "pkg", tmp_path / "out")
    parts = list((tmp_path / "pkg/models").rglob("*.part*"))
    assert len(parts) > 3 and max(part.stat().st_size for part in parts) == 5000
    assert run_node(tmp_path, LOAD, modules=root / "node_modules") == []
    parts[0].write_bytes(parts[0].read_bytes()[:-1] + b"\0\0")
    assert run_node(tmp_path, LOAD)[0] == "corrupt"


FALLBACK = """
import {Host} from './pkg/runtime/host.js';
import {CONTRACT, URLS} from './pkg/contract/onnx.js';
import {readFile} from './pkg/runtime/node/read_file.js';
const started = [];
const start = async ({backend}) => {
  started.push(backend);
  if (backend === given.refuses) throw new Error('no adapter');
  const fails = backend === 'webgpu';
  return {
    facts: {backend, threads: 1},
    open: async () => ({
      run: async () => {
        if (fails) throw new Error('out of memory');
        return new Proxy({}, {get: () => ({})});
      },
      close: () => {},
    }),
    upload: () => ({}), download: async () => new Float32Array(64 * 48), synchronize: async () => {}, release: () => {},
  };
};
const host = new Host({start, readFile});
const facts = await host.call('load', {
  contract: CONTRACT, urls: URLS, engine: 'ort', backends: given.backends, threads: 1,
}).catch((error) => error.code + ': ' + error.message);
const step = {name: 'stem', given: {image: {rgb: new Uint8Array(64 * 48 * 3)}}, features: {}};
const answer = facts.backend ? await host.call('step', step) : {};
say({started, facts, later: answer.facts, kept: answer.kept});
"""


def test_where_a_gpu_fails_webassembly_takes_over_and_says_so(home: Path) -> None:
    said = run_node(home, FALLBACK, {"refuses": "", "backends": ["webgpu", "wasm"]})
    assert said["started"] == ["webgpu", "wasm"] and said["facts"]["backend"] == "webgpu"
    assert said["later"] == {"backend": "wasm", "threads": 1, "fallback": "webgpu: out of memory"} and said["kept"]
    said = run_node(home, FALLBACK, {"refuses": "webgpu", "backends": ["webgpu", "wasm"]})
    assert said["facts"] == {"backend": "wasm", "threads": 1, "fallback": "webgpu: no adapter"}
    said = run_node(home, FALLBACK, {"refuses": "wasm", "backends": ["wasm"]})
    assert said["facts"] == "backend: wasm: no adapter"


def renamed(plan: Plan, step: str, tensor: str) -> Plan:
    """Return the plan with the first step and its output under other names."""
    first = plan.steps[0]
    old, output = first.name, first.entry.outputs[0].name

    def port(one: Any) -> Any:
        return replace(one, name=tensor) if one.name == output else one

    def change(one: Step) -> Step:
        entry = replace(
            one.entry, inputs=tuple(map(port, one.entry.inputs)), outputs=tuple(map(port, one.entry.outputs))
        )
        sources = tuple(Source(port(row.port), step if row.step == old else row.step) for row in one.sources)
        features = tuple(tensor if name == output else name for name in one.features)
        verb = camel(step) if one.name == old else one.verb
        name = step if one.name == old else one.name
        return replace(one, name=name, verb=verb, entry=entry, sources=sources, features=features)

    return replace(plan, steps=tuple(map(change, plan.steps)), wholes=())


@pytest.mark.parametrize(
    ("step", "method"), [("dispose", "dispose2"), ("then", "then2"), ("delete", "delete2"), ("\u7a4d", "u7a4d")]
)
def test_names_are_safe(step: str, method: str, artifact: Artifacts) -> None:
    plan = renamed(plan_of(artifact("mixed", "onnx", "float32")), step, "new")
    names = make_names(plan)
    assert names.methods[0].name == method
    assert [argument.name for argument in names.methods[-1].features] != ["new", "new"]
    assert len({one.name for one in names.methods}) == len(plan.steps)
    assert names.keys["new"] == "new2"


def test_a_dtype_without_an_array_is_refused_by_name(artifact: Artifacts) -> None:
    port = replace(plan_of(artifact("mixed", "onnx", "float32")).steps[0].asked[0], dtype="float16")
    with pytest.raises(StageError, match=r"bundle: 'image' is float16; packages for the web take float32, int64"):
        port_row(port)


def test_artifacts_of_other_modules_share_no_package(artifact: Artifacts) -> None:
    plan = plan_of(artifact("mixed", "onnx", "float32"))
    other = replace(plan, steps=plan.steps[:1])
    with pytest.raises(StageError, match="have other modules"):
        NpmPackage().render([plan, other])
