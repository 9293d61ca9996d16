"""An export reads its weights back from the saved bytes, and a broken file does not pass."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from export import worker
from export.program import capture
from export.targets.coreml.package import body, read_model
from export.targets.litert import flatbuffer
from export.verify.expected import Expected, expect, floor_db
from export.verify.readback import Compared, Saved, compare, snr_db, stored_layers, summary
from hydramobile.errors import StageError
from hydramobile.recipes import recipe
from hydramobile.spec import load_spec
from support.emit import Converted, convert

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
NORMAL = np.random.default_rng(0).normal(size=(64, 32, 3, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def made(model_dir: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Converted]:
    """`made(target)`: the classifier, converted once."""
    known: dict[str, Converted] = {}

    def convert_once(name: str) -> Converted:
        if name not in known:
            known[name] = convert(capture(load_spec(model_dir("classifier"))), name, tmp_path_factory.mktemp(name))
        return known[name]

    return convert_once


def test_a_weight_left_in_float_is_named(made: Callable[[str], Converted], tmp_path: Path) -> None:
    built = made("onnx").emit("w8", tmp_path)
    found = built.read_back()
    assert {row.storage for row in found} == {"int8"} and found[0].snr_db > 35

    file = tmp_path / "classifier.onnx"
    model = onnx.load(file)
    node = next(node for node in model.graph.node if node.op_type == "DequantizeLinear")
    name = node.output[0]
    truth = built.converted.originals(built.recipe)[f"classifier/{name}"].values
    model.graph.node.remove(node)
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name in node.input]:
        model.graph.initializer.remove(tensor)
    model.graph.initializer.append(onnx.numpy_helper.from_array(truth, name))
    onnx.save(model, file)
    with pytest.raises(StageError, match=f"'classifier/{name}' is stored as float32, not as int8 or uint8"):
        built.read_back()


def test_a_wrong_scale_is_named(made: Callable[[str], Converted], tmp_path: Path) -> None:
    built = made("tfjs").emit("w8g1", tmp_path)
    assert {row.storage for row in built.read_back()} >= {"uint8"}
    file = tmp_path / "classifier/model.json"
    content = json.loads(file.read_text())
    rows = [row for row in content["weightsManifest"][0]["weights"] if row["name"].endswith("/codes")]
    rows[0]["quantization"]["scale"] *= 2
    file.write_text(json.dumps(content))
    with pytest.raises(
        StageError, match=rf"{rows[0]['name'].removesuffix('/codes')}' decodes to .* dB of the original"
    ):
        built.read_back()


def test_a_lost_channel_scale_is_named(made: Callable[[str], Converted], tmp_path: Path) -> None:
    built = made("litert").emit("w8", tmp_path)
    assert {row.storage for row in built.read_back()} == {"int8"}
    file = tmp_path / built.entry.file
    model = flatbuffer.load(file, "test")
    tensor = max(
        (t for t in model.subgraphs[0].tensors if t.type == 9 and t.quantization is not None),
        key=lambda t: int(np.prod(t.shape)),
    )
    tensor.quantization.scale = np.roll(tensor.quantization.scale, 1)
    file.write_bytes(flatbuffer.serialize(model))
    with pytest.raises(StageError, match=f"{flatbuffer.text(tensor.name)!r} decodes to"):
        built.read_back()


def test_a_wrong_palette_is_named(made: Callable[[str], Converted], tmp_path: Path) -> None:
    built = made("coreml").emit("p4", tmp_path)
    assert {row.storage for row in built.read_back()} == {"palette4"}
    package = tmp_path / "classifier.mlpackage"
    (function,) = read_model(package).mlProgram.functions.values()
    op = next(op for op in body(function).operations if op.type == "constexpr_lut_to_dense")
    blob = package / "Data/com.apple.CoreML/weights/weight.bin"
    data = bytearray(blob.read_bytes())
    start = op.attributes["lut"].blobFileValue.offset + 64
    data[start : start + 32] = data[start : start + 32][::-1]
    blob.write_bytes(data)
    with pytest.raises(StageError, match=r"(?s)p4: the saved file is not what its recipe says: .*decodes to"):
        built.read_back()
    blob.write_bytes(data[: len(data) // 2])
    with pytest.raises(StageError, match=r"cannot be read back|decodes to"):
        built.read_back()


@pytest.mark.parametrize(("name", "storage"), [("s50p4", "palette4"), ("s50", "float16")])
def test_zeros_are_counted(made: Callable[[str], Converted], tmp_path: Path, name: str, storage: str) -> None:
    built = made("coreml").emit(name, tmp_path)
    found = built.read_back()
    assert {row.storage for row in found} == {storage} and all(0.49 < row.zeros < 0.6 for row in found)
    # The file is less sparse than another recipe asks for.
    asked = name.replace("50", "75")
    originals = built.converted.originals(recipe(asked))
    with pytest.raises(StageError, match=r"has 5\d\.\d% zeros, not 75 %"):
        compare("coreml", recipe(asked), built.converted.target.read_weights(tmp_path, built.emitted), originals)


def test_an_export_that_leaves_its_weights_in_float_fails(
    model_dir: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.targets.onnx.target.weights_quantized", lambda model, chosen, least: model)
    stream = io.StringIO()
    job = worker.Job(str(model_dir("classifier")), "onnx", ("w8",), str(tmp_path))
    worker.work(job, worker.Events(stream))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (events[-1]["event"], events[-1]["stage"]) == ("failed", "readback")
    assert "is stored as float32" in events[-1]["error"] and "more)" in events[-1]["error"]
    assert not (tmp_path / "classifier/onnx/w8").exists()


def test_a_missing_weight_and_a_wrong_shape_are_faults() -> None:
    chosen, originals = recipe("w8"), {"a": expect(NORMAL, recipe("w8")), "b": expect(NORMAL, recipe("w8"))}
    more = originals | {"c": expect(NORMAL * 2, chosen)}
    with pytest.raises(StageError, match="'c' is not in the file"):
        compare("onnx", chosen, [Saved(key, NORMAL, "int8") for key in "ab"], more)
    with pytest.raises(StageError, match=r"'a' has shape \[32, 64, 3, 3\], not \[64, 32, 3, 3\]"):
        compare("onnx", chosen, [Saved(key, NORMAL.reshape(32, 64, 3, 3), "int8") for key in "ab"], originals)
    broken = NORMAL.copy()
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(StageError, match="'a' decodes to -inf dB"):
        compare("onnx", chosen, [Saved(key, broken, "int8") for key in "ab"], originals)


def test_equal_weights_may_be_stored_once() -> None:
    """Core ML and LiteRT store one of two equal constants."""
    other = NORMAL + np.float32(1)
    originals = {"a": expect(NORMAL, recipe("w8")), "b": expect(NORMAL.copy(), recipe("w8"))}
    assert len(compare("coreml", recipe("w8"), [Saved("a", NORMAL, "int8")], originals)) == 1
    originals["b"] = expect(other, recipe("w8"))
    with pytest.raises(StageError, match="'b' is not in the file"):
        compare("coreml", recipe("w8"), [Saved("a", NORMAL, "int8")], originals)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_floor_lies_below_an_even_grid_and_above_a_coarser_one(bits: int) -> None:
    def rounded(levels: int) -> Any:
        step = 2 * np.abs(NORMAL).max() / levels
        return np.round(NORMAL / step) * step

    least = floor_db(Expected(NORMAL, (f"int{bits}",), bits))
    assert snr_db(rounded(2**bits - 2), NORMAL) > least
    assert bits == 2 or snr_db(rounded(2 ** (bits - 1) - 2), NORMAL) < least


def test_the_noise_of_pruning_is_allowed() -> None:
    cut = np.where(np.abs(NORMAL) < np.median(np.abs(NORMAL)), 0, NORMAL)
    (row,) = compare("coreml", recipe("s50"), [Saved("a", cut, "float16")], {"a": expect(NORMAL, recipe("s50"))})
    assert 0.49 < row.zeros < 0.51 and 8 < row.snr_db < 14
    assert summary([row]) == (
        f"read back from the saved bytes: 1 weights, 100.0% float16, 50.0% zeros; worst: a, {row.snr_db:.1f} dB",
    )
    wrong = np.where(np.abs(NORMAL) > np.median(np.abs(NORMAL)), 0, NORMAL)
    with pytest.raises(StageError, match="decodes to"):
        compare("coreml", recipe("s50"), [Saved("a", wrong, "float16")], {"a": expect(NORMAL, recipe("s50"))})


def test_infinite_elements_must_be_equal() -> None:
    mask = np.triu(np.full((6, 6), -np.inf, np.float32), 1)
    assert snr_db(mask, mask) == 999
    assert snr_db(np.where(np.isinf(mask), -65504, 0), mask) == float("-inf")
    assert snr_db(np.abs(mask), mask) == float("-inf")
    weights = np.where(np.isinf(mask), mask, 1.0)
    assert 35 < snr_db(np.where(np.isinf(mask), mask, 1.01), weights) < 45


def test_a_net_whose_weights_mostly_keep_another_type_says_so() -> None:
    rows = [
        Compared("net/table", "uint16", 96, 0.0, 90.0),
        Compared("net/head", "uint8", 64, 0.0, 40.0),
        Compared("fused/head", "uint8", 64, 0.0, 40.0),
    ]
    assert stored_layers(rows, recipe("w8"), ["net"]) == {
        "net/table": {"recipe": "w16", "values": 96},
        "net/head": {"recipe": "w8", "values": 64},
    }
    assert stored_layers(rows[1:], recipe("w8"), ["net"]) == {}
