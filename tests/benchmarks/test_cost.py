"""Static cost: multiply-accumulates that agree over five readers, and memory peaks worked out by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cost.run import conclude_cost, run_cost
from benchmarks.evidence.cost import CostEvidence, Peak
from benchmarks.evidence.envelope import read
from benchmarks.graph import Graph, Step, Value, peak_activations
from benchmarks.optional import GraphReader
from benchmarks.request import Request
from benchmarks.runtime import load_runtime
from hydramobile.artifact import read_artifact
from hydramobile.errors import NothingJudged, StageError
from hydramobile.spec import load_spec

Artifacts = Callable[[str, str, str], Path]
TARGETS = ("onnx", "coreml", "litert", "tfjs")


def value(size: int) -> Value:
    return Value((size,), 8)


def test_a_tensor_lives_from_its_maker_to_its_last_reader() -> None:
    """a(10) -> b(40) -> c(5); a is read again at the end; w is decoded from a constant and is no activation."""
    steps = (
        Step("Decode", "w", ("stored",), ("w",)),
        Step("Up", "b", ("a", "w"), ("b",)),
        Step("Down", "c", ("b",), ("c",)),
        Step("Join", "d", ("a", "c"), ("d",)),
    )
    values = {"a": value(10), "w": value(1000), "b": value(40), "c": value(5), "d": value(20)}
    assert peak_activations(Graph(steps, ("a",), ("d",), values)) == Peak(55, "c", "Down")
    # Without the last reader of `a` it is gone once `b` stands.
    assert peak_activations(Graph(steps[:3], ("a",), ("c",), values)) == Peak(50, "b", "Up")
    # An output stays, though nothing reads it any more; a tensor nobody reads lives for its own operator only.
    assert peak_activations(Graph(steps[:3], ("a",), ("b", "c"), values)) == Peak(50, "b", "Up")
    unread = (Step("Split", "s", ("a",), ("b", "c")), Step("Next", "n", ("c",), ("d",)))
    assert peak_activations(Graph(unread, ("a",), ("d",), values)) == Peak(55, "s", "Split")
    assert peak_activations(Graph((), ("a",), ("a",), values)) == Peak(10, "", "inputs")


def test_bits_make_whole_bytes() -> None:
    assert Value((3,), 4).bytes == 2
    assert Value((2, 3), 16).bytes == 12
    assert Value((), 32).bytes == 4


@pytest.fixture(scope="session")
def request_of(
    artifact: Artifacts, build_once: Callable[..., Path], model_dir: Callable[[str], Path]
) -> Callable[[str], Request]:
    def make(model: str) -> Request:
        def fill(folder: Path) -> None:
            for target in TARGETS:
                source = artifact(model, target, "float32")
                shutil.copytree(source, folder / model / target / "float32")

        return Request(load_spec(model_dir(model)), build_once(f"cost-{model}", fill))

    return make


@pytest.mark.parametrize("model", ["mixed", "classifier"])
def test_all_formats_multiply_what_the_reference_does(request_of: Callable[[str], Request], model: str) -> None:
    """PyTorch's own counter, against our count of each file: every entry, every format, to the last product."""
    evidence = run_cost(request_of(model))
    assert "4 artifacts counted" in conclude_cost(evidence)
    macs = {module.module: module.macs for module in evidence.modules}
    assert sum(macs.values()) > 0
    for row in evidence.results:
        assert row.evidence == "static"
        for entry in row.entries:
            wanted = sum(macs[name] for name in entry.modules)
            assert entry.macs == wanted, (row.target, entry.entry)
            assert sum(kind.macs for kind in entry.kinds) == entry.macs
            assert sum(kind.operators for kind in entry.kinds) == entry.operators == len(entry.ops)
            assert entry.peak.bytes >= max(entry.inputs, entry.outputs)
            assert sum(entry.weights.values()) > 0


def test_the_evidence_stands_on_disk_and_keeps_what_was_not_redone(request_of: Callable[[str], Request]) -> None:
    request = request_of("mixed")
    whole = run_cost(request)
    part = run_cost(Request(request.spec, request.out, only=(("litert", ""),)))
    assert read(CostEvidence, request.root / "cost.json") == part == whole


def test_litert_peak_against_its_own_buffers(artifact: Artifacts) -> None:
    """The interpreter's builtin kernels, all tensors kept, hold at least what we say is alive at the peak."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    folder = artifact("classifier", "litert", "float32")
    entry = read_artifact(folder).entries[0]
    reader = load_runtime("litert")
    assert isinstance(reader, GraphReader)
    graph = reader.graph(folder, entry)
    interpreter = Interpreter(
        str(folder / entry.file),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    sizes = {
        str(detail["index"]): int(np.prod(detail["shape"])) * np.dtype(detail["dtype"]).itemsize
        for detail in interpreter.get_tensor_details()
    }
    for name, found in graph.values.items():
        assert sizes[name] == found.bytes
    assert 0 < peak_activations(graph).bytes <= sum(found.bytes for found in graph.values.values())


def test_a_broken_file_is_told(request_of: Callable[[str], Request], tmp_path: Path) -> None:
    request = request_of("classifier")
    shutil.copytree(request.root, tmp_path / "classifier")
    (tmp_path / "classifier/onnx/float32/classifier.onnx").write_bytes(b"no net")
    evidence = run_cost(Request(request.spec, tmp_path))
    with pytest.raises(StageError, match="onnx float32"):
        conclude_cost(evidence)


def test_nothing_to_count(tmp_path: Path, model_dir: Callable[[str], Path]) -> None:
    with pytest.raises(NothingJudged, match="no artifacts"):
        run_cost(Request(load_spec(model_dir("classifier")), tmp_path))
