"""Judging one artifact: which modes there are, what each is compared with, and what is never a pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.evidence.parity import ParityRow
from benchmarks.parity.artifact import judge_artifact
from benchmarks.parity.bench import Bench
from benchmarks.parity.outputs import within_rounding
from benchmarks.parity.rows import blank
from benchmarks.parity.storage import judge_storage
from benchmarks.parity.verdict import judge, used
from benchmarks.runtime import load_runtime
from hydramobile.artifact import read_artifact
from hydramobile.budget import Budget, Limit, load_budget
from hydramobile.errors import StageError
from hydramobile.goldens import halve, load_goldens
from hydramobile.loader import count_parameters, load_modules
from hydramobile.measures import Measure
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec

Artifacts = Callable[[str, str, str], Path]
Tensor = NDArray[Any]


@pytest.fixture
def bench(build: Callable[[str], Path], model_dir: Callable[[str], Path]) -> Bench:
    spec = load_spec(model_dir("mixed"))
    return Bench(spec, load_budget(spec), load_goldens(spec, load_samples(spec, "judge"), spec.size, build("mixed")))


class Tampered:
    """ONNX Runtime with a change to what its sessions return."""

    def __init__(self, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
        self.inner: Any = load_runtime("onnxruntime")
        self.change = change

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def open(self, *arguments: Any) -> Tampered:
        made = Tampered(self.change)
        made.inner = self.inner.open(*arguments)
        return made

    def fetch(self) -> dict[str, Tensor]:
        return self.change(self.inner.fetch())


class Reading:
    """ONNX Runtime that reads weights of certain bytes by dtype from every file."""

    def __init__(self, stored: dict[str, int]) -> None:
        self.inner: Any = load_runtime("onnxruntime")
        self.stored = stored

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def read_dtypes(self, *_: Any) -> dict[str, int]:
        return self.stored


def by_mode(results: list[ParityRow]) -> Mapping[tuple[str, str], ParityRow]:
    return {(result.entry, result.mode): result for result in results}


def test_fewer_samples_are_evenly_spread(bench: Bench) -> None:
    names = [golden.sample for golden in bench.goldens]
    assert len(names) >= 3
    assert [golden.sample for golden in bench.judged] == names
    for most in (1, 2, len(names) - 1, len(names), len(names) + 5):
        found = [golden.sample for golden in replace(bench, most=most).judged]
        assert len(found) == min(most, len(names)) == len(set(found)) and found[0] == names[0]
        assert found == sorted(found, key=names.index)


def test_a_mean_is_judged_over_all_samples_or_not_at_all(artifact: Artifacts, bench: Bench) -> None:
    """With one sample, and it may be the hardest, the limit of a mean would be a limit of that sample."""
    limits = (Limit("float32", "features", "mean max_abs", -1.0, "nothing can hold it"),)
    strict = replace(bench, budget=replace(bench.budget, limits=limits))
    runtime, folder = load_runtime("onnxruntime"), artifact("mixed", "onnx", "float32")
    whole = by_mode(list(judge_artifact(strict, runtime, folder)))
    few = by_mode(list(judge_artifact(replace(strict, most=1), runtime, folder)))
    assert whole["stem", "direct"].verdict == "mismatch" and "mean max_abs" in whole["stem", "direct"].reason
    assert few["stem", "direct"].verdict == "pass", few["stem", "direct"].reason
    assert not any(m.metric == "mean max_abs" for m in few["stem", "direct"].measures)


def test_each_module_is_judged_alone_and_in_the_chain(artifact: Artifacts, bench: Bench) -> None:
    folder = artifact("mixed", "onnx", "float32")
    found = by_mode(list(judge_artifact(bench, load_runtime("onnxruntime"), folder)))
    assert set(found) == {
        ("", "dtypes"),
        ("stem", "direct"),
        ("context", "boundary"),
        ("context", "chain"),
        ("paint", "boundary"),
        ("paint", "chain"),
        ("whole", "direct"),
    }
    assert {result.verdict for result in found.values()} == {"pass"}
    assert found["paint", "chain"].samples == len(bench.goldens) == 4


def test_lean_judges_the_chain_and_says_what_it_left_out(artifact: Artifacts, bench: Bench) -> None:
    folder = artifact("mixed", "onnx", "float32")
    found = by_mode(list(judge_artifact(replace(bench, lean=True), load_runtime("onnxruntime"), folder)))
    left = {key: result for key, result in found.items() if result.verdict != "pass"}
    assert set(left) == {("context", "boundary"), ("paint", "boundary")}
    assert {(result.verdict, result.stage) for result in left.values()} == {("unavailable", "left out")}
    assert all("on the reference's, on this computer" in result.reason for result in left.values())
    whole = by_mode(list(judge_artifact(bench, load_runtime("onnxruntime"), folder)))
    assert {key: result.measures for key, result in found.items() if key not in left} == {
        key: result.measures for key, result in whole.items() if key not in left
    }


def test_lean_still_judges_a_module_whose_feeder_failed(artifact: Artifacts, bench: Bench) -> None:
    class Closed(Tampered):
        def open(self, folder: Path, entry: Any, *rest: Any) -> Any:
            if entry.name == "stem":
                raise StageError("open", "no")
            return self.inner.open(folder, entry, *rest)

    folder = artifact("mixed", "onnx", "float32")
    found = by_mode(list(judge_artifact(replace(bench, lean=True), Closed(lambda made: made), folder)))
    assert found["stem", "open"].verdict == "failed"
    assert found["context", "boundary"].verdict == found["paint", "boundary"].verdict == "pass"


def test_a_wrong_feature_shows_at_its_module_and_down_the_chain(artifact: Artifacts, bench: Bench) -> None:
    """`context` is off by a tenth: at its boundary, and in `paint` only when that is fed with it."""

    def spoil(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value * np.float32(1.1) if name == "context" else value for name, value in tensors.items()}

    folder = artifact("mixed", "onnx", "float32")
    found = by_mode(list(judge_artifact(bench, Tampered(spoil), folder)))
    wrong = {key for key, result in found.items() if result.verdict == "mismatch"}
    assert wrong == {("context", "boundary"), ("context", "chain"), ("paint", "chain")}


def test_nan_is_a_failure_not_a_number(artifact: Artifacts, bench: Bench) -> None:
    def spoil(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: np.full_like(value, np.nan) for name, value in tensors.items()}

    results = list(judge_artifact(bench, Tampered(spoil), artifact("mixed", "onnx", "float32")))
    judged = [result for result in results if result.mode != "dtypes"]
    assert judged
    assert all(result.verdict == "failed" and "not finite" in result.reason for result in judged)


def test_a_constant_output_is_no_match(artifact: Artifacts, bench: Bench) -> None:
    def spoil(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: np.full_like(value, value.mean()) for name, value in tensors.items()}

    results = list(judge_artifact(bench, Tampered(spoil), artifact("mixed", "onnx", "float32")))
    assert {result.verdict for result in results if result.measures} == {"mismatch"}


def test_a_file_of_another_type_than_its_name(
    artifact: Artifacts, bench: Bench, tmp_path: Path, reseal: Callable[..., Any]
) -> None:
    import shutil

    folder = shutil.copytree(artifact("mixed", "onnx", "float32"), tmp_path / "a")
    reseal(folder, lambda sealed: replace(sealed, recipe="float16"))
    (dtypes,) = (
        result for result in judge_artifact(bench, load_runtime("onnxruntime"), folder) if result.mode == "dtypes"
    )
    assert dtypes.verdict == "mismatch"
    assert dtypes.reason.startswith("0% of the weights are float16; found {'float32'")


def test_constants_beside_the_weights_of_a_tiny_net_do_not_count(artifact: Artifacts, bench: Bench) -> None:
    """A mean in the shape of a row is stored in float32 in every file. It does not hide weights of another dtype."""
    folder = artifact("mixed", "onnx", "float16")
    sealed = read_artifact(folder)
    parameters = count_parameters(bench.spec)
    assert parameters > 1000

    def judged(stored: dict[str, int]) -> str:
        runtime: Any = Reading(stored)
        return judge_storage(blank(sealed, runtime), sealed, (runtime, folder), sealed.entries[:1], parameters).verdict

    assert judged({"float16": 2 * parameters, "float32": 4 * parameters}) == "pass"
    assert judged({"float16": parameters, "float32": 4 * parameters}) == "mismatch"
    assert judged({"float32": 4 * parameters}) == "mismatch"


def test_no_goldens_is_a_failure(artifact: Artifacts, bench: Bench) -> None:
    empty = replace(bench, goldens=[])
    (result,) = judge_artifact(empty, load_runtime("onnxruntime"), artifact("mixed", "onnx", "float32"))
    assert result.verdict == "failed"
    assert "a comparison of nothing is not a pass" in result.reason


def test_without_a_limit_nothing_passes() -> None:
    assert judge([Measure("y", "max_abs", 0.0, 0.0, None, "a")]) == ("mismatch", "nothing was compared against a limit")
    assert judge([])[0] == "mismatch"


def test_the_reason_of_a_mismatch() -> None:
    measures = [Measure("y", "max_abs", 0.2, 0.1, 0.3, "a"), Measure("y", "iou", 0.8, 0.9, 0.95, "b")]
    assert judge(measures) == ("mismatch", "y iou 0.8 against a limit of 0.95 on b (0.8 would have passed)")
    near = judge([Measure("y", "iou", 0.98959, 0.99, 0.99, "b")])
    assert near == ("mismatch", "y iou 0.9896 against a limit of 0.99 on b (0.9895 would have passed)")


def test_rounded_goldens_judge_as_well(artifact: Artifacts, bench: Bench) -> None:
    """Goldens as they are committed, features in float16: a sound file passes, a wrong one does not."""
    modules = load_modules(bench.spec)
    half = replace(bench, goldens=[halve(bench.spec, modules, golden) for golden in bench.goldens])
    folder = artifact("mixed", "onnx", "float32")
    sound = list(judge_artifact(half, load_runtime("onnxruntime"), folder))
    assert [(result.entry, result.mode, result.reason) for result in sound if result.verdict != "pass"] == []

    def spoil(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value * np.float32(1.01) for name, value in tensors.items()}

    assert {r.verdict for r in judge_artifact(half, Tampered(spoil), folder) if r.measures} == {"mismatch"}


def test_within_rounding_by_hand() -> None:
    stored = np.array([1.0, 1.0, 1.0], np.float16)  # float16 steps by 2**-10 above 1
    found = np.array([1.0, 1.0 + 2**-12, 1.5], np.float32)
    assert within_rounding(found, stored).tolist() == [1.0, 1.0 + 2**-12, 1.0 + 2**-11]
    exact = np.array([1.0], np.float32)
    assert within_rounding(found[2:], exact) is exact


def test_a_budget_row_nobody_can_meet(artifact: Artifacts, bench: Bench) -> None:
    limits = tuple(replace(row, limit=0.0) for row in bench.budget.limits if row.metric == "err_sens")
    strict = replace(bench, budget=Budget(bench.budget.ship, bench.budget.candidates, limits))
    results = list(judge_artifact(strict, load_runtime("onnxruntime"), artifact("mixed", "onnx", "float32")))
    judged = [result for result in results if result.measures]
    assert {result.verdict for result in judged} == {"mismatch"}
    assert all(measure.worst.startswith("seeded-judge-") for result in judged for measure in result.measures)


@pytest.mark.parametrize(("more", "verdict"), [({"int64": 170_000}, "pass"), ({"int8": 41_000}, "mismatch")])
def test_index_tables_are_no_weights(artifact: Artifacts, bench: Bench, more: dict[str, int], verdict: str) -> None:
    """What a net gathers by (adaptive pools, windows) may outweigh its weights; what is of a weight's type counts."""
    runtime: Any = Tampered(lambda outputs: outputs)
    runtime.read_dtypes = lambda folder, entry: {"float32": 41_000, **more}
    results = judge_artifact(bench, runtime, artifact("mixed", "onnx", "float32"))
    assert next(result.verdict for result in results if result.mode == "dtypes") == verdict


def test_what_is_used_up_of_a_limit() -> None:
    rows = [("iou", 0.996, 0.99, 0.4), ("mean iou", 0.9995, 0.998, 0.25), ("snr_db", 40.0, 30.0, 0.75)]
    for metric, value, limit, wanted in [*rows, ("mean order_flips", 0.001, 0.005, 0.2), ("max_abs", 1e-5, 1e-4, 0.1)]:
        assert used(Measure("y", metric, value, value, limit, "a")) == pytest.approx(wanted), metric
