"""Parity on an attached device's GPU, on a simulated phone whose GPU is right, wrong or absent.

It was never run on a real device.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.device.run import Measured, Run, conclude_device, run_device
from benchmarks.evidence.environment import Environment
from benchmarks.evidence.parity import ParityRow
from benchmarks.request import Request
from benchmarks.runtimes.android import tool
from hydramobile.errors import StageError
from hydramobile.spec import load_spec

Artifacts = Callable[[str, str, str], Path]
PhoneWith = Callable[..., AbstractContextManager[Any]]
CPU, GPU = "litert-android", "litert-android-gpu"


@pytest.fixture
def judged(
    artifact: Artifacts,
    build: Callable[[str], Path],
    model_dir: Callable[[str], Path],
    tmp_path: Path,
    phone_with: PhoneWith,
) -> Callable[..., Measured]:
    """`judged("completely", "float16")`: the measurements of a device run on a phone with such a GPU."""

    def run(gpu: str, recipe: str) -> Measured:
        shutil.copytree(build("classifier"), tmp_path / "out")
        shutil.copytree(artifact("classifier", "litert", recipe), tmp_path / "out/classifier/litert" / recipe)
        request = Request(load_spec(model_dir("classifier")), tmp_path / "out", only=(("litert", recipe),))
        with phone_with(GPU=gpu) as phone:
            measured = run_device(request, Run("adb", seconds=0.1, cool=0))
            assert phone.left() == []
        return measured

    return run


def rows(measured: Measured, runtime: str) -> list[ParityRow]:
    return [row for row in measured.parity if row.runtime == runtime and row.mode == "direct"]


def error(row: ParityRow) -> float:
    return next(measure.value for measure in row.measures if measure.metric == "mean_abs")


def test_the_gpu_is_judged_beside_the_cpu(judged: Callable[..., Measured]) -> None:
    """A float16 file runs in half precision: its error differs from the CPU's, within the same limits."""
    measured = judged("completely", "float16")
    assert "comparisons hold on the device" in conclude_device(measured)
    (cpu,), (gpu,) = rows(measured, CPU), rows(measured, GPU)
    assert (cpu.verdict, gpu.verdict) == ("pass", "pass") and gpu.samples == cpu.samples > 1
    assert error(gpu) != error(cpu)
    (environment,) = [row.facts.environment for row in measured.parity if row.mode == "environment"]
    assert environment == Environment(delegate={"classifier": "GPU, completely, 1 kernels"})


def test_a_gpu_that_computes_wrongly_is_a_mismatch(judged: Callable[..., Measured]) -> None:
    measured = judged("wrong", "float32")
    (cpu,), (gpu,) = rows(measured, CPU), rows(measured, GPU)
    assert (cpu.verdict, gpu.verdict) == ("pass", "mismatch")
    with pytest.raises(StageError, match=f"litert float32 {GPU} classifier direct: scores "):
        conclude_device(measured)


def test_a_gpu_that_takes_nothing_is_no_evidence(judged: Callable[..., Measured]) -> None:
    """The CPU computed the outputs then, and they are right."""
    measured = judged("none", "float32")
    assert "comparisons hold on the device" in conclude_device(measured)
    absent = [row for row in measured.parity if row.runtime == GPU and row.mode == "run"]
    assert {row.verdict for row in absent} == {"unavailable"}
    assert absent[0].reason == "classifier: the GPU delegate took no part of the graph"
    assert not any(row.measures for row in measured.parity if row.runtime == GPU)


def test_a_float32_file_runs_in_full_precision() -> None:
    flags = tool.parity_flags([("/in0.bin", (1, 2))], "/out.bin", tool.EXACT_GPU)
    assert {"--use_gpu=true", "--gpu_precision_loss_allowed=false", "--use_xnnpack=false"} <= set(flags)
    assert "--gpu_precision_loss_allowed=true" in tool.parity_flags([], "/out.bin", tool.FLAGS["gpu"])
