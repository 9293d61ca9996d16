"""Drawn inputs find the file that is right on its samples and wrong elsewhere; integer recipes are measured alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.evidence.parity import ParityRow
from benchmarks.parity.artifact import judge_artifact
from benchmarks.parity.bench import Bench, load_bench
from benchmarks.parity.standings import standings
from benchmarks.runtime import load_runtime
from hydramobile.spec import load_spec

Artifacts = Callable[[str, str, str], Path]


@pytest.fixture(scope="module")
def benches(build: Callable[[str], Path], model_dir: Callable[[str], Path]) -> Callable[[str], Bench]:
    return lambda model: load_bench(load_spec(model_dir(model)), build(model), None)


class Zeros:
    """ONNX Runtime with a file that is wrong on an input of zeros alone, as after a branch fixed by the exporter."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.wrong = inner, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def open(self, *arguments: Any) -> Zeros:
        return Zeros(self.inner.open(*arguments))

    def bind(self, inputs: Any) -> None:
        self.wrong = all(not value.any() for value in inputs.values())
        self.inner.bind(inputs)

    def fetch(self) -> dict[str, np.ndarray]:
        outputs: dict[str, np.ndarray] = self.inner.fetch()
        return {name: value + np.float32(0.2 * self.wrong) for name, value in outputs.items()}


def drawn(rows: list[ParityRow]) -> ParityRow:
    (row,) = [row for row in rows if row.mode == "drawn"]
    return row


@pytest.mark.parametrize("model", ["classifier", "mixed"])
def test_a_sound_file(artifact: Artifacts, benches: Callable[[str], Bench], model: str) -> None:
    rows = list(judge_artifact(benches(model), load_runtime("onnxruntime"), artifact(model, "onnx", "float32")))
    row = drawn(rows)
    assert (row.verdict, row.reason) == ("pass", "")
    assert row.samples >= 6
    assert {m.output for m in row.measures} == ({"scores"} if model == "classifier" else {"front", "back"})
    assert row.entry == ("classifier" if model == "classifier" else "whole"), "one call from inputs to outputs"
    assert {m.metric for m in row.measures if m.limit is not None} == {"err_sens"}


def test_wrong_on_zeros(artifact: Artifacts, benches: Callable[[str], Bench]) -> None:
    bench = benches("classifier")
    runtime: Any = Zeros(load_runtime("onnxruntime"))
    for recipe in ("float32", "float16"):
        rows = list(judge_artifact(bench, runtime, artifact("classifier", "onnx", recipe)))
        assert [row.mode for row in rows if row.verdict == "mismatch"] == ["drawn"], "its samples agree"
        assert "on drawn-zeros" in drawn(rows).reason
        (standing,) = standings(bench.budget, rows)
        assert standing.state == ("broken" if standing.ship else "refused")


def test_integer_recipes_are_measured(artifact: Artifacts, benches: Callable[[str], Bench]) -> None:
    bench = benches("classifier")
    runtime: Any = Zeros(load_runtime("onnxruntime"))
    rows = list(judge_artifact(bench, runtime, artifact("classifier", "onnx", "w8")))
    row = drawn(rows)
    assert row.verdict == "pass" and row.reason.startswith("measured, not judged")
    assert row.measures and all(measure.limit is None for measure in row.measures)
    # Measures without a limit judge nothing: without its other rows, the artifact is unjudged.
    assert standings(bench.budget, [row])[0].state == "unjudged"


def test_few_samples_and_a_refused_input(artifact: Artifacts, benches: Callable[[str], Bench]) -> None:
    bench = benches("classifier")
    folder, runtime = artifact("classifier", "onnx", "float32"), load_runtime("onnxruntime")
    assert drawn(list(judge_artifact(replace(bench, most=2), runtime, folder))).samples == 2
    refused = replace(bench.drawn[0], refused="module 'a' failed", tensors={})
    row = drawn(list(judge_artifact(replace(bench, drawn=(refused, *bench.drawn[1:])), runtime, folder)))
    assert row.verdict == "pass" and "without drawn-zeros: the reference itself fails there" in row.reason
    row = drawn(list(judge_artifact(replace(bench, drawn=(refused,)), runtime, folder)))
    assert row.verdict == "unavailable" and "fails on every drawn input" in row.reason


def test_a_limit_is_eased_where_the_reference_itself_moves(
    artifact: Artifacts, benches: Callable[[str], Bench]
) -> None:
    """At float16, a sample on which the net in float16 gives another result has a looser limit; the others keep it."""
    bench = benches("classifier")
    runtime: Any = Zeros(load_runtime("onnxruntime"))
    first = bench.drawn[0]
    far = replace(first, half={"scores": np.full_like(first.tensors["scores"], 0.2, dtype=np.float16)})
    eased = replace(bench, drawn=(far, *bench.drawn[1:]))
    folder = artifact("classifier", "onnx", "float16")
    assert drawn(list(judge_artifact(bench, runtime, folder))).verdict == "mismatch"
    assert drawn(list(judge_artifact(eased, runtime, folder))).verdict == "pass"
