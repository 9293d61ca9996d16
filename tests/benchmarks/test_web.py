"""The files as they ship, in a real browser: TF.js, ONNX Runtime Web and LiteRT.js in headless Chromium."""

from __future__ import annotations

import contextlib
import gc
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from benchmarks.runtime import GROUPS, Runtime, load_runtime, on_request, resolve_runtimes, run
from benchmarks.runtimes import web
from benchmarks.runtimes.web import browser, link
from benchmarks.runtimes.web.server import Served, Server
from hydramobile.artifact import Artifact, read_artifact
from hydramobile.errors import StageError, UsageError
from hydramobile.goldens import Golden, load_goldens
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec

Artifacts = Callable[[str, str, str], Path]
Command = Callable[..., Any]
TARGETS = {"tfjs-web": "tfjs", "ort-web": "onnx", "litert-web": "litert"}
QUANTIZED = [("tfjs", "w8"), ("onnx", "w8"), ("litert", "w8"), ("litert", "w8a8")]
LEAST_PACKAGE = 50_000
GPU = GROUPS["browser-gpu"]


@pytest.fixture(scope="session")
def mixed_golden(build: Callable[[str], Path], model_dir: Callable[[str], Path]) -> Golden:
    spec = load_spec(model_dir("mixed"))
    return load_goldens(spec, load_samples(spec, "judge")[:1], spec.size, build("mixed"))[0]


@pytest.fixture(params=GROUPS["browser"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return load_runtime(request.param)


@pytest.fixture
def folder(runtime: Runtime, artifact: Artifacts, tmp_path: Path) -> Path:
    """A copy of the float32 artifact of the net with several modules."""
    target = TARGETS[runtime.name]
    return Path(shutil.copytree(artifact("mixed", target, "float32"), tmp_path / "mixed" / target / "float32"))


def rows_of(out: Path, model: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((out / model / "parity.json").read_text())["results"]
    return rows


def test_all_three_on_the_portrait(artifact: Artifacts, out_with: Callable[..., Path], command: Command) -> None:
    """One float32 and one quantized file each: at the seams too, and with what the browser offered beside them."""
    pairs = [(target, "float32") for target in TARGETS.values()] + QUANTIZED[:3]
    out = out_with("portrait", *(artifact("portrait", *pair) for pair in pairs))
    done = command("benchmarks", "parity", "--out", out, "--runtime", "browser")
    assert done.code == 0, done.err

    rows = rows_of(out, "portrait")
    assert {row["evidence"] for row in rows} == {"browser-host"}
    for name, target in TARGETS.items():
        own = [row for row in rows if row["runtime"] == name]
        assert {row["target"] for row in own} == {target}
        judged = {(row["recipe"], row["entry"], row["mode"]) for row in own if row["measures"]}
        modes = {("encoder", "direct"), ("depth", "boundary"), ("depth", "chain"), ("portrait", "direct")}
        assert judged >= {(recipe, *mode) for recipe in ("float32", "w8") for mode in modes}
        assert all(row["runtime_version"]["backend"] == "wasm" for row in own)
        for facts in [row["facts"]["environment"]["browser"] for row in own if row["mode"] == "environment"]:
            assert facts["isolated"] and facts["secure"] and facts["wasm"]["simd"] and facts["threads"] == 1
            assert facts["software"] is False and len(facts["wasm_files"]) == 1
            assert "Chrome" in facts["user_agent"] and facts["cores"] >= 1
            assert facts["runtime"]["bytes"] > facts["runtime"]["gzip"] > LEAST_PACKAGE
            assert set(facts["model"]) == {"encoder", "depth", "segmentation", "portrait"}
            assert all(one["bytes"] > one["gzip"] > LEAST_PACKAGE for one in facts["model"].values())


@pytest.mark.parametrize("names", [GPU[:1], pytest.param(GPU, marks=pytest.mark.slow)], ids=["one", "all"])
def test_gpu_backends_prove_numbers_never_a_speed(
    artifact: Artifacts,
    out_with: Callable[..., Path],
    command: Command,
    model_dir: Callable[[str], Path],
    names: tuple[str, ...],
) -> None:
    targets = {target for name in names for target in load_runtime(name).targets}
    out = out_with("classifier", *(artifact("classifier", target, "float32") for target in sorted(targets)))
    where = ("--model", model_dir("classifier"), "--out", out)
    chosen = [word for name in names for word in ("--runtime", name)]
    done = command("benchmarks", "parity", *where, *chosen)
    assert done.code == 0, done.err
    rows = rows_of(out, "classifier")
    assert {row["runtime"] for row in rows if row["measures"]} == set(names)
    # A later run of what runs by itself keeps what was judged on request.
    assert command("benchmarks", "parity", *where).code == 0
    assert {row["runtime"] for row in rows_of(out, "classifier")} > set(names)

    facts = {row["runtime"]: row["facts"]["environment"]["browser"] for row in rows if row["mode"] == "environment"}
    assert all(facts[name]["adapter"] for name in names if name.endswith("webgpu"))
    assert all(facts[name]["software"] for name in names)
    assert "SwiftShader" in facts["tfjs-web-webgl"]["webgl"]
    done = command("benchmarks", "latency", *where, "--runtime", "tfjs-web-webgl")
    assert done.code == 4 and "no artifact was timed" in done.verdict
    timed = json.loads((out / "classifier/latency.json").read_text())["results"]
    assert {row["verdict"] for row in timed if row["runtime"] in GPU} == {"untimed"}


@pytest.mark.slow
@pytest.mark.parametrize("name", GPU)
def test_gpu_backends_on_the_portrait(
    artifact: Artifacts, out_with: Callable[..., Path], command: Command, name: str
) -> None:
    target = load_runtime(name).targets[0]
    out = out_with("portrait", artifact("portrait", target, "float32"))
    done = command("benchmarks", "parity", "--out", out, "--runtime", name)
    assert done.code == 0, done.err


def test_times_tell_first_from_later_and_heads_apart(
    artifact: Artifacts, out_with: Callable[..., Path], command: Command
) -> None:
    out = out_with("portrait", artifact("portrait", "tfjs", "float32"))
    done = command("benchmarks", "latency", "--out", out, "--runtime", "tfjs-web", "--seconds", "0.3")
    assert done.code == 0, done.err
    (row,) = json.loads((out / "portrait/latency.json").read_text())["results"]
    assert (row["evidence"], row["verdict"]) == ("browser-host", "measured")
    assert row["cold"]["load_s"] > 0 and {entry["entry"] for entry in row["entries"]} >= {"encoder", "depth"}
    reruns = {ratio["entry"]: ratio["value"] for ratio in row["ratios"] if ratio["kind"] == "rerun"}
    assert set(reruns) == {"depth", "segmentation"} and all(0 < value < 1 for value in reruns.values())
    browser = row["environment"]["browser"]
    assert browser["isolated"] and browser["runtime"]["gzip"] > LEAST_PACKAGE
    # A cold start is the page's, not the browser's: the engine's own start is in it.
    main = next(entry for entry in row["entries"] if entry["entry"] == row["primary"])
    assert row["cold"]["load_s"] > browser["start_ms"] / 1e3 > 0 and row["cold"]["load_s"] > main["load_s"]


def chain(runtime: Runtime, folder: Path, golden: Golden) -> dict[str, NDArray[Any]]:
    """All modules in turn on what the ones before them made; features that have a place on the device stay there."""
    known = {name: np.asarray(value, np.float32) for name, value in golden.inputs.items()}
    kept = 0
    for entry in [entry for entry in read_artifact(folder).entries if len(entry.modules) == 1]:
        session: Any = runtime.open(folder, entry)
        packed = [session.pack(port, known[port.name]) for port in entry.inputs if port.name not in golden.inputs]
        kept += len(packed)
        assert all("handle" in tensor for tensor in packed)
        known |= run(session, {port.name: known[port.name] for port in entry.inputs})
        session.close()
    assert kept >= 2
    return known


def test_features_stay_on_the_device(runtime: Runtime, folder: Path, mixed_golden: Golden) -> None:
    made = chain(runtime, folder, mixed_golden)
    for name in mixed_golden.tensors:
        wanted = np.asarray(mixed_golden.value(name), np.float32)
        assert np.abs(made[name] - wanted).max() <= 1e-3 * max(1.0, np.abs(wanted).max()), name


def test_the_device_is_freed_with_the_arrays(runtime: Runtime, folder: Path, mixed_golden: Golden) -> None:
    entry = read_artifact(folder).entries[0]
    session: Any = runtime.open(folder, entry)
    page = session.page
    inputs = {port.name: np.asarray(mixed_golden.value(port.name), np.float32) for port in entry.inputs}
    gc.collect()
    page.drop_stale()
    before = page.page.evaluate("hydra.held()")
    made = run(session, inputs)
    assert page.page.evaluate("hydra.held()") == {**before, "tensors": before["tensors"] + len(made)}
    session.close()
    assert page.page.evaluate("hydra.held()")["sessions"] == before["sessions"], "its tensors still live"
    made.clear()
    gc.collect()
    page.drop_stale()
    assert page.page.evaluate("hydra.held()") == {"sessions": before["sessions"] - 1, "tensors": before["tensors"]}


def test_a_file_is_not_taken_for_another(artifact: Artifacts, mixed_golden: Golden) -> None:
    """LiteRT.js keeps a file for all its signatures: another artifact's file of the same name is another file, even
    while the first one's tensors still live."""
    runtime = load_runtime("litert-web")
    made = []
    for recipe in ("float32", "w8"):
        folder = artifact("mixed", "litert", recipe)
        entry = read_artifact(folder).entries[0]
        session = runtime.open(folder, entry)
        made.append(
            run(session, {port.name: np.asarray(mixed_golden.value(port.name), np.float32) for port in entry.inputs})
        )
        session.close()
    assert any(not np.array_equal(made[0][name], made[1][name]) for name in made[0])


@pytest.fixture
def own_pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages that end with the test: it breaks them."""
    pages: dict[Any, Any] = {}
    monkeypatch.setattr(browser, "PAGES", pages)
    yield
    for page in pages.values():
        page.close()


def test_a_page_that_crashes_costs_one_call(own_pages: None, artifact: Artifacts, mixed_golden: Golden) -> None:
    runtime, folder = load_runtime("tfjs-web"), artifact("mixed", "tfjs", "float32")
    entry = read_artifact(folder).entries[0]
    inputs = {port.name: np.asarray(mixed_golden.value(port.name), np.float32) for port in entry.inputs}
    session: Any = runtime.open(folder, entry)
    session.bind(inputs)
    with contextlib.suppress(session.page.error):
        session.page.page.goto("chrome://crash")
    with pytest.raises(StageError, match="run: sample: the page crashed"):
        session.invoke()
    session.close()
    # The next one gets a new page.
    assert run(runtime.open(folder, entry), inputs)


def test_a_page_that_hangs_is_ended(
    own_pages: None, artifact: Artifacts, mixed_golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, folder = load_runtime("tfjs-web"), artifact("mixed", "tfjs", "float32")
    entry = read_artifact(folder).entries[0]
    inputs = {port.name: np.asarray(mixed_golden.value(port.name), np.float32) for port in entry.inputs}
    session: Any = runtime.open(folder, entry)
    session.page.page.evaluate("void (hydra.sample = () => { for (;;); })")
    session.bind(inputs)
    monkeypatch.setattr(link, "CALL_LIMIT", 2.0)
    with pytest.raises(StageError, match="run: sample: no answer within 2 s; the browser was ended"):
        session.invoke()
    session.close()
    monkeypatch.undo()
    # A killed process is gone when the kernel gets to it, not when the signal is sent.
    until = time.monotonic() + 10
    while (left := alive(session.page.processes)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left


def alive(processes: list[Any]) -> list[Any]:
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def test_a_missing_wasm_file_is_named(
    own_pages: None, runtime: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = Served.find
    monkeypatch.setattr(Served, "find", lambda self, path: None if path.endswith(".wasm") else find(self, path))
    monkeypatch.setattr(link, "CALL_LIMIT", 20.0)
    with pytest.raises(StageError, match=r"^open: (start|open): .*(\.wasm\)|no answer)") as failed:
        runtime.open(folder, read_artifact(folder).entries[0])
    assert "not found: /npm/" in str(failed.value)


def test_a_broken_file_fails_with_its_name(runtime: Runtime, folder: Path, reseal: Callable[..., Artifact]) -> None:
    entry = read_artifact(folder).entries[0]
    (folder / entry.file).write_bytes(b"no model at all")
    reseal(folder)
    with pytest.raises(StageError, match=r"^open: "):
        runtime.open(folder, entry)


def test_a_missing_file(runtime: Runtime, folder: Path) -> None:
    entry = read_artifact(folder).entries[0]
    (folder / entry.file).unlink()
    with pytest.raises(StageError, match=r"^open: "):
        runtime.open(folder, entry)


def test_nothing_to_run_it_with(
    monkeypatch: pytest.MonkeyPatch, folder: Path, runtime: Runtime, tmp_path: Path
) -> None:
    entry = read_artifact(folder).entries[0]
    monkeypatch.setattr(web, "NODE_MODULES", tmp_path)
    assert (runtime.unavailable() or "").endswith("not in node_modules; run: make setup")
    monkeypatch.setenv("PATH", "")
    assert runtime.unavailable() == "Chromium is not installed; run: make setup"
    with pytest.raises(StageError, match="open: Chromium is not installed"):
        runtime.open(folder, entry)


def test_groups() -> None:
    assert resolve_runtimes(["browser"]) == ("tfjs-web", "ort-web", "litert-web")
    assert not any(on_request(name) for name in resolve_runtimes([]))
    with pytest.raises(UsageError, match=r"no runtime 'brwser'; did you mean 'browser'\?"):
        resolve_runtimes(["brwser"])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/a.bin").write_bytes(b"\0" * 1000)
    (tmp_path / "secret").write_text("no")
    made = Server({"files": tmp_path / "files"})
    yield made
    made.close()


@pytest.mark.parametrize("path", ["files/../secret", "files/%2e%2e/secret", "files//etc/passwd", "nothing/x", "files/"])
def test_the_server_gives_nothing_else_away(server: Server, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(server.address + path, timeout=10)
    assert refused.value.code == 404
    refused.value.close()
    # A path that can name no file is no file that an engine misses.
    assert not server.served.seen and bool(server.served.missing) == ("secret" not in path)


def test_the_server_isolates_and_counts(server: Server) -> None:
    with urllib.request.urlopen(server.address + "files/a.bin", timeout=10) as answer:
        assert len(answer.read()) == 1000
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    found = server.served.weigh(["/files/a.bin", "/files/never asked for"])
    assert (found.files, found.bytes) == (1, 1000) and found.gzip < 100
    with urllib.request.urlopen(server.address + "npm/@litertjs/core/dist/index.js", timeout=10) as answer:
        text = answer.read().decode()
    assert '"/npm/@litertjs/wasm-utils/dist/index.js"' in text and 'from "@litertjs/wasm-utils"' not in text
