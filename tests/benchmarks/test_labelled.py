"""What a file loses against labels: by hand, on a real file that is right and one whose depth is mixed up."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from benchmarks.evidence.parity import ParityRow
from benchmarks.parity import lean
from benchmarks.parity.artifact import Subject, judge_labels
from benchmarks.parity.bench import Bench
from benchmarks.parity.labels import Labelled, entries_for, load_labelled, loss_measures, skip_reason
from benchmarks.parity.rows import blank
from benchmarks.parity.run import run_parity
from benchmarks.parity.verdict import judge, used
from benchmarks.request import Request
from benchmarks.runtime import load_runtime
from hydramobile.artifact import Artifact, read_artifact
from hydramobile.budget import load_budget
from hydramobile.errors import StageError
from hydramobile.measures import Measure
from hydramobile.samples import record_calibration
from hydramobile.spec import ModelSpec, load_spec

Artifacts = Callable[[str, str, str], Path]
Reseal = Callable[..., Artifact]


@pytest.fixture(scope="module")
def spec(root: Path) -> ModelSpec:
    return load_spec(root / "models/portrait")


@pytest.fixture(scope="module")
def labelled(spec: ModelSpec, build: Callable[[str], Path]) -> Labelled:
    found = load_labelled(spec, build("portrait"))
    assert found is not None
    return found


@pytest.fixture
def against_labels(spec: ModelSpec, labelled: Labelled) -> Callable[..., ParityRow]:
    """`against_labels(folder, most, runtime)`: the row against labels of an artifact of the portrait."""

    def run(folder: Path, most: int = 0, name: str = "onnxruntime") -> ParityRow:
        runtime, sealed = load_runtime(name), read_artifact(folder)
        subject = Subject(folder, sealed, runtime, blank(sealed, runtime))
        return judge_labels(Bench(spec, load_budget(spec), []), replace(labelled, most=most), subject)

    return run


def test_a_loss_by_hand(spec: ModelSpec, labelled: Labelled) -> None:
    """Two views lose 10 points and gain 2: 4 on the mean, 10 on the worst."""
    own = replace(labelled, reference={"a": 0.20, "b": 0.12})
    measures, score = loss_measures(own, {"a": 0.30, "b": 0.10}, {"mean whdr_loss": 0.05})
    worst, mean = measures
    assert (worst.metric, worst.worst, worst.limit) == ("whdr_loss", "a", None)
    assert worst.value == pytest.approx(0.10) and worst.mean == mean.value == pytest.approx(0.04)
    assert (mean.metric, mean.limit, mean.passed) == ("mean whdr_loss", 0.05, True)
    assert score.whdr == pytest.approx(0.20) and score.reference == pytest.approx(0.16)
    measures, _ = loss_measures(own, {"a": 0.30, "b": 0.10}, {"mean whdr_loss": 0.03})
    told = "depth mean whdr_loss 0.04 against a limit of 0.03 on a (0.04 would have passed)"
    assert judge(measures) == ("mismatch", told)


def test_a_gain_uses_nothing_of_a_limit_up() -> None:
    assert used(Measure("depth", "mean whdr_loss", -0.01, -0.01, 0.005, "a")) == 0


def test_a_sound_file_loses_nothing(against_labels: Callable[..., ParityRow], artifact: Artifacts) -> None:
    row = against_labels(artifact("portrait", "onnx", "float32"))
    assert (row.mode, row.entry, row.verdict, row.samples, row.facts.score and row.facts.score.labels) == (
        "labels",
        "portrait",
        "pass",
        64,
        64,
    )
    mean = next(measure for measure in row.measures if measure.metric == "mean whdr_loss")
    assert abs(mean.value) < 1e-4 and mean.limit == 0.05
    assert row.facts.score and row.facts.score.whdr == pytest.approx(row.facts.score.reference, abs=1e-4)


def test_a_file_whose_depth_is_mixed_up_breaks_the_limit(
    against_labels: Callable[..., ParityRow], artifact: Artifacts, tmp_path: Path, reseal: Reseal
) -> None:
    """Left and right of the depth exchanged: the same values, so nothing but their places is wrong."""
    folder = shutil.copytree(artifact("portrait", "onnx", "float32"), tmp_path / "mirrored")
    model = onnx.load(folder / "portrait.onnx")
    for node in model.graph.node:
        node.output[:] = ["straight" if name == "depth" else name for name in node.output]
        node.input[:] = ["straight" if name == "depth" else name for name in node.input]
    values = {"first": -1, "last": np.iinfo(np.int64).min, "axis": 3, "step": -1}
    for name, value in values.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), name))
    model.graph.node.append(helper.make_node("Slice", ["straight", *values], ["depth"]))
    onnx.save(model, folder / "portrait.onnx")
    reseal(folder)
    row = against_labels(folder)
    assert row.verdict == "mismatch" and row.reason.startswith("depth mean whdr_loss ")
    assert row.facts.score and row.facts.score.whdr > row.facts.score.reference + 0.05


def test_some_labels_say_nothing_of_the_mean(against_labels: Callable[..., ParityRow], artifact: Artifacts) -> None:
    row = against_labels(artifact("portrait", "onnx", "float32"), 3)
    assert (row.verdict, row.reason, row.samples) == ("pass", "3 of 64 labels: their mean is not judged", 3)
    assert [measure.limit for measure in row.measures] == [None]


def test_which_runtimes_are_asked(labelled: Labelled) -> None:
    assert len(labelled.chosen()) == 64
    assert skip_reason("onnxruntime", False) == skip_reason("coreml-mil", True) == ""
    assert "budget.toml does not limit the loss" in skip_reason("coreml-mil", False)
    assert "in the runtime that the files are for" in skip_reason("tfjs-web", True)


def test_a_runtime_that_is_not_asked_says_so(against_labels: Callable[..., ParityRow], artifact: Artifacts) -> None:
    row = against_labels(artifact("portrait", "onnx", "float32"), 0, "ort-web")
    assert (row.mode, row.verdict, row.stage) == ("labels", "unavailable", "left out")
    assert row.reason == "labels are evaluated in the runtime that the files are for on this computer"
    assert lean.summary([row]) == [f"labels in ort-web: {row.reason}"]


def test_the_way_to_the_output(spec: ModelSpec, artifact: Artifacts) -> None:
    sealed = read_artifact(artifact("portrait", "onnx", "float32"))
    assert [entry.id for entry in entries_for(spec, sealed, "depth")] == ["portrait"]
    apart = replace(sealed, entries=tuple(entry for entry in sealed.entries if entry.id != "portrait"))
    assert [entry.id for entry in entries_for(spec, apart, "depth")] == ["encoder", "depth"]
    headless = replace(apart, entries=tuple(entry for entry in apart.entries if entry.id != "depth"))
    with pytest.raises(StageError, match="no entry of the artifact computes 'depth' from the model's inputs"):
        entries_for(spec, headless, "depth")


def test_a_label_that_was_calibrated_with_judges_nothing(
    spec: ModelSpec, labelled: Labelled, artifact: Artifacts, out_with: Callable[..., Path]
) -> None:
    out = out_with("portrait", artifact("portrait", "onnx", "float32"))
    record_calibration(out / "portrait", "onnx/float32", [labelled.labels.all[5].photo])
    name = labelled.labels.all[5].photo.name
    with pytest.raises(StageError, match=f"{name} calibrated onnx/float32 and is asked to judge it"):
        run_parity(Request(spec, out, runtimes=("onnxruntime",)))


def test_a_models_labels_are_not_lost_unsaid(own_model: Callable[..., Path], tmp_path: Path) -> None:
    """A list of labels, and nothing that the reference's own figures were written to."""
    folder: Any = own_model("portrait", {})
    shutil.rmtree(folder / "goldens")
    with pytest.raises(StageError, match=r"no WHDR of the reference in .*; refresh it with"):
        load_labelled(load_spec(folder), tmp_path)
