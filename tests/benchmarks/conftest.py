"""Fixtures of the tests that run ARM code, of those that drive a pretend phone, and of the MIL evaluator's ops."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.latency.run import Timing, run_latency
from benchmarks.parity.run import run_parity
from benchmarks.report.write import ReportRequest, write_report
from benchmarks.request import Request
from benchmarks.runtimes.arm import sysroot
from benchmarks.runtimes.arm.cpus import CPUS
from benchmarks.runtimes.arm.emulator import command as emulated
from benchmarks.runtimes.coreml_mil.evaluate import evaluate, prepare
from benchmarks.runtimes.coreml_mil.program import load_function
from benchmarks.size import run_size
from export.targets.coreml.vendor import load_coremltools
from hydramobile.files import locked
from hydramobile.spec import load_spec

PROPERTIES = {
    "ro.product.model": "Pretend",
    "ro.product.cpu.abi": "x86_64",
    "ro.build.version.release": "16",
    "ro.kernel.qemu": "1",
}
THERMAL = "Thermal Status: 0\\n\\tTemperature{mValue=34.5, mType=3, mName=skin, mStatus=0}"


@pytest.fixture(scope="session")
def evidence(
    build_once: Callable[[str, Callable[[Path], None]], Path],
    artifact: Callable[[str, str, str], Path],
    build: Callable[[str], Path],
    model_dir: Callable[[str], Path],
) -> Path:
    """OUT of the portrait in ONNX float32 and w8 (a candidate), judged, weighed, timed and reported."""

    def make(folder: Path) -> None:
        shutil.copytree(build("portrait"), folder, dirs_exist_ok=True)
        for recipe in ("float32", "w8"):
            shutil.copytree(artifact("portrait", "onnx", recipe), folder / "portrait/onnx" / recipe)
        spec = load_spec(model_dir("portrait"))
        request = Request(spec, folder, runtimes=("onnxruntime",))
        run_parity(request)
        run_size(request)
        run_latency(request, Timing(seconds=0.1))
        write_report(ReportRequest(spec, folder))

    return build_once("evidence-report", make)


@pytest.fixture(scope="session")
def arm(root: Path) -> Path:
    """The ARM userland, assembled where it is not there yet (85 MB are downloaded, once a machine)."""
    if sys.platform != "linux" or shutil.which("apt-get") is None:
        pytest.skip("the ARM userland is made from Debian's packages")
    if shutil.which(sysroot.QEMU) is None and os.geteuid() != 0 and shutil.which("sudo") is None:
        pytest.skip(f"{sysroot.QEMU} is not installed, and only root can install it")
    set_up(root, "arm")
    return sysroot.verified()


@pytest.fixture(scope="session")
def adb_client(root: Path) -> None:
    """The system's adb client, installed where it is missing and may be."""
    if shutil.which("adb") is None and (
        shutil.which("apt-get") is None or (os.geteuid() != 0 and shutil.which("sudo") is None)
    ):
        pytest.skip("adb is not installed, and nothing here may install it; run: bash scripts/setup.sh android")
    set_up(root, "android")
    assert shutil.which("adb"), "scripts/setup.sh android installed no adb"


def set_up(root: Path, what: str) -> None:
    """`scripts/setup.sh what`, one at a time: two of the system's package managers refuse to run beside each other."""
    with locked(sysroot.sysroot().with_suffix(".setup.lock")):
        done = subprocess.run(
            ["bash", "scripts/setup.sh", what], cwd=root, capture_output=True, text=True, check=False, timeout=500
        )
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True, slots=True)
class Pretend:
    """The phone's folder, and what breaks it."""

    root: Path

    def breaks(self, how: str) -> None:
        (self.root / "fault").write_text(how)

    def left(self) -> list[str]:
        return sorted(path.name for path in (self.root / "storage/data/local/tmp").iterdir())


@contextmanager
def attached(root: Path, folder: Path, properties: Mapping[str, str], tool: str) -> Iterator[Pretend]:
    """A phone that says `properties` of itself and on which benchmark_model is the shell command `tool`."""
    answers = " ".join(f"{key}) echo {value};;" for key, value in properties.items())
    programs = {
        "getprop": f"case $1 in {answers} esac",
        "dumpsys": f"case $1 in battery) echo temperature: 312; echo level: 80;; *) printf '{THERMAL}\\n';; esac",
    }
    (folder / "bin").mkdir(parents=True)
    for name, text in programs.items():
        path = folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    binary = folder.parent / "benchmark_model"
    binary.write_text(f'#!/bin/sh\nexec {tool} {root / "tests/phones/benchmark_model.py"} "$@"\n')
    serve = [sys.executable, str(root / "tests/phones/server.py"), str(folder)]
    with pytest.MonkeyPatch.context() as patch, subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            patch.setenv("ANDROID_ADB_SERVER_PORT", server.stdout.readline().strip())
            patch.setenv("HYDRA_BENCHMARK_MODEL", str(binary))
            patch.delenv("HYDRA_ADB_SERIAL", raising=False)
            yield Pretend(folder)
        finally:
            server.kill()


@pytest.fixture
def pretend(root: Path, tmp_path: Path) -> Iterator[Pretend]:
    with attached(root, tmp_path / "phone", PROPERTIES, sys.executable) as phone:
        yield phone


@pytest.fixture
def arm_phone(root: Path, tmp_path: Path, arm: Path) -> Iterator[Pretend]:
    """A phone whose benchmark runs LiteRT's ARM code, emulated."""
    interpreter = shlex.join(emulated(arm, CPUS["a76"]))
    properties = {**PROPERTIES, "ro.product.cpu.abi": "arm64-v8a"}
    with attached(root, tmp_path / "phone", properties, interpreter) as phone:
        yield phone


@pytest.fixture
def phone_with(root: Path, tmp_path: Path) -> Callable[..., AbstractContextManager[Pretend]]:
    """`with phone_with(GPU="none"): ...`: the pretend phone, its benchmark_model with this in its environment."""

    def attach(**environment: str) -> AbstractContextManager[Pretend]:
        words = shlex.join(["env", *(f"{key}={value}" for key, value in environment.items()), sys.executable])
        return attached(root, tmp_path / "phone", PROPERTIES, words)

    return attach


@pytest.fixture
def evaluated(tmp_path: Path) -> Callable[..., tuple[set[str], np.ndarray]]:
    """`evaluated(build, inputs, ios)` makes a program with coremltools' builder, saves it and evaluates what was saved.

    `build(mb, *inputs)` returns its one output; integer inputs are int32, the others float32. Returns (ops, output).
    """
    ct: Any = load_coremltools()
    mil: Any = import_module("coremltools.converters.mil")
    mb, types = mil.Builder, mil.mil.types

    def run(build: Callable[..., Any], inputs: Sequence[np.ndarray], ios: int) -> tuple[set[str], np.ndarray]:
        kinds = {"f": types.fp32, "i": types.int32}
        specs = [mb.TensorSpec(shape=value.shape, dtype=kinds[value.dtype.kind]) for value in inputs]
        target = getattr(ct.target, f"iOS{ios}")
        names = ", ".join(f"in{i}" for i in range(len(inputs)))
        # The builder names a program's inputs after the parameters of the function it is given.
        scope: dict[str, Any] = {"build": lambda *values: build(mb, *values)}
        exec(f"def program({names}):\n    return build({names})", scope)
        program = mb.program(input_specs=specs, opset_version=target)(scope["program"])
        program.functions["main"].outputs[0].name = "out0"
        model = ct.convert(
            program,
            convert_to="mlprogram",
            compute_precision=ct.precision.FLOAT32,
            minimum_deployment_target=target,
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
        )
        model.save(str(tmp_path / "net.mlpackage"))
        function = load_function(tmp_path / "net.mlpackage", None)
        made = evaluate(prepare(function), {f"in{i}": value for i, value in enumerate(inputs)})
        return {op.type for op in function.operations}, made["out0"]

    return run
