"""Static integers (QDQ): calibrated activations, int8 weights per channel, by ONNX Runtime's quantizer.

Ranges come from the reference's own tensors on the calibration samples. So a module's file and the fused file have the
same ranges at their common features, and encoder then head agrees with the fused entry.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export.program import Program
from export.quantize.calibration import Ranges, calibrated_ranges, require_samples
from export.quantize.float_regions import GraphView, ViewNode, float_region, unbounded_region
from export.quantize.observers import RangeObserver
from export.targets.onnx.observe import each_tensor
from hydramobile.files import sha256_bytes
from hydramobile.recipes import Recipe
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import onnx

# Operators with weights. A product of two activations (MatMul in attention) counts as one: it ends a float region too.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# x86 kernels without VNNI add two products of 8-bit factors in 16 bits. Full 8-bit weights overflow that, with signed
# activations too: on a CPU without VNNI the portrait's worst matte IoU is .933 with 8-bit and .986 with 7-bit weights.
NOTE = "weights use 7 of their 8 bits, so that no CPU's kernels overflow on them (x86 without VNNI would)"
WIDE_NOTE = "for NPUs with 16-bit activations, such as Qualcomm's; ONNX Runtime's CPU kernels compute it in float"


def note(recipe: Recipe) -> str:
    """Return the note on the recipe's files for artifact.json."""
    return WIDE_NOTE if recipe.activation_bits == 16 else NOTE


def insert_qdq(program: Program, entry: EntrySpec, model: onnx.ModelProto, recipe: Recipe) -> onnx.ModelProto:
    """Return a copy of the entry's float32 `model` with QuantizeLinear/DequantizeLinear pairs and int8 weights.

    Activations are uint8, int8 where the recipe is signed, or uint16. Inputs, outputs and the float regions
    (quantize/float_regions.py) stay float32, under uint16 too: there the weights lose most, not the activations.
    Raises StageError("quantize") without calibration samples.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

    require_samples(program, recipe)
    wide = recipe.activation_bits == 16
    narrow = QuantType.QInt8 if recipe.signed else QuantType.QUInt8
    ranges = {name: tuple(map(np.float32, pair)) for name, pair in ranges_of(program, entry, model, recipe).items()}
    with tempfile.TemporaryDirectory(prefix="hydra-onnx-") as scratch, quiet():
        source, table, result = (Path(scratch) / name for name in ("float.onnx", "ranges.json", "static.onnx"))
        onnx.save(model, source)
        save_tensors_data(TensorsData(CalibrationMethod.MinMax, ranges), table)
        quantize_static(
            source,
            result,
            calibration_cache_path=table,
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt16 if wide else narrow,
            weight_type=QuantType.QInt8,
            per_channel=True,
            # No kernel multiplies 16-bit activations in 16 bits.
            reduce_range=not wide,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=float_nodes(program, entry, model, recipe),
            extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
        )
        return onnx.load(result)


def observe(program: Program, entry: EntrySpec, model: onnx.ModelProto, observer: RangeObserver) -> None:
    """Observe every float tensor of the graph on the calibration samples, with one thread and nothing fused."""
    for name, value in each_tensor(model, program.feeds(entry)):
        observer.observe(name, value)


def ranges_of(program: Program, entry: EntrySpec, model: onnx.ModelProto, recipe: Recipe) -> Ranges:
    """Return the calibrated range of every float tensor that integers can hold."""
    graph = f"{entry.name} {sha256_bytes(model.SerializeToString(deterministic=True))}"
    return calibrated_ranges(program, recipe, graph, lambda observer: observe(program, entry, model, observer))


def float_nodes(program: Program, entry: EntrySpec, model: onnx.ModelProto, recipe: Recipe) -> list[str]:
    """Return the names of the nodes that stay float: the float regions, and grouped transposed convolutions.

    ONNX Runtime's quantizer gives the latter one scale per channel of a group and a bias of all channels ("operands
    could not be broadcast together").
    """
    import onnx

    floats = {
        value.name
        for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    view = view_of(entry, model)
    region = float_region(program, entry, view)
    region += unbounded_region(view, ranges_of(program, entry, model, recipe), floats)
    grouped = [node.name for node in model.graph.node if node.op_type == "ConvTranspose" and groups_of(node) > 1]
    return list(dict.fromkeys((*(node.name for node in region), *grouped)))


def groups_of(node: onnx.NodeProto) -> int:
    """Return the number of groups of a convolution."""
    return next((int(item.i) for item in node.attribute if item.name == "group"), 1)


def view_of(entry: EntrySpec, model: onnx.ModelProto) -> GraphView:
    """Return the view of the graph that `float_regions` reads. The bias of a layer counts as weights."""
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    nodes = [
        ViewNode(
            node.name,
            tuple(name for name in node.input if name and name not in sizes),
            tuple(node.output),
            weighted=node.op_type in WEIGHTED,
            weights=sum(sizes.get(name, 0) for name in node.input),
        )
        for node in model.graph.node
    ]
    ports = ({name: name for name in names} for names in (entry.inputs, entry.outputs))
    return GraphView(nodes, *ports)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the quantizer's advice to fold batch norms first, on the root logger: the exporter has folded them."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
