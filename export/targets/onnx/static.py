"""Static integers (QDQ): calibrated activations, per-channel int8 weights, by ONNX Runtime's quantizer.

Ranges come from the reference's own tensors on the calibration samples, so a module file and the fused file see
the same ranges at their common features, and encoder then head agrees with the fused entry.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export.program import Program
from export.quantize.observers import Ranges, cached, leading_allowed, raw_inputs, require_samples
from hydramobile.files import sha256_bytes
from hydramobile.recipes import Recipe
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import onnx

# Operators that carry weights; what follows the last of them on the way to an output stays in float: eight bits
# of a dense map's own value are 256 depth planes, and every one of them shows.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# x86 kernels without VNNI add two products of 8-bit factors in 16 bits, which full weights overflow, for signed
# activations too: on such a CPU the portrait's worst matte IoU is .933 with 8-bit weights and .986 with 7-bit ones.
NOTE = "weights use 7 of their 8 bits, so that no CPU's kernels overflow on them (x86 without VNNI would)"
WIDE_NOTE = "for NPUs with 16-bit activations, such as Qualcomm's; ONNX Runtime's CPU kernels compute it in float"


def note(recipe: Recipe) -> str:
    """What an app's author should know of the recipe's files."""
    return WIDE_NOTE if recipe.activation_bits == 16 else NOTE


def quantize_static(program: Program, entry: EntrySpec, model: onnx.ModelProto, recipe: Recipe) -> onnx.ModelProto:
    """A QDQ copy of the entry's float32 `model`: uint8 or uint16 activations (int8 when the recipe is signed), int8
    weights.

    Inputs and outputs stay float32; so do the first layers of the net and the last one of a dense output, which
    uint16 would hold well enough: what costs there are the weights. Raises StageError("quantize") when there is
    nothing to calibrate with.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as vendor
    from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

    require_samples(program, recipe)
    wide = recipe.activation_bits == 16
    narrow = QuantType.QInt8 if recipe.signed else QuantType.QUInt8
    about = f"{entry.name} {sha256_bytes(model.SerializeToString(deterministic=True))}"
    measured = cached(program, recipe, about, lambda ranges: measure(program, entry, model, ranges))
    ranges = {name: tuple(map(np.float32, pair)) for name, pair in measured.found.items()}
    with tempfile.TemporaryDirectory(prefix="hydra-onnx-") as scratch, quiet():
        source, table, made = (Path(scratch) / name for name in ("float.onnx", "ranges.json", "static.onnx"))
        onnx.save(model, source)
        save_tensors_data(TensorsData(CalibrationMethod.MinMax, ranges), table)
        vendor(
            source,
            made,
            calibration_cache_path=table,
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt16 if wide else narrow,
            weight_type=QuantType.QInt8,
            per_channel=True,
            # No kernel multiplies 16-bit activations in 16 bits.
            reduce_range=not wide,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=excluded(program, entry, model),
            extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
        )
        return onnx.load(made)


def measure(program: Program, entry: EntrySpec, model: onnx.ModelProto, ranges: Ranges) -> None:
    """Add the ranges of every float tensor of the graph over the calibration samples; one thread, nothing fused."""
    import onnx
    import onnxruntime

    floats = {
        value.name: value
        for value in (*model.graph.value_info, *model.graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    made = [name for node in model.graph.node for name in node.output if name in floats]
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    del opened.graph.output[:]
    opened.graph.output.extend(floats[name] for name in made)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(opened.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for feed in program.feeds(entry):
        for name, value in {**feed, **dict(zip(made, session.run(made, feed), strict=True))}.items():
            if np.issubdtype(value.dtype, np.floating):
                ranges.add(name, value)


def excluded(program: Program, entry: EntrySpec, model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that stay float."""
    return [*lead(program, entry, model), *tail(model, program.final())]


def lead(program: Program, entry: EntrySpec, model: onnx.ModelProto) -> list[str]:
    """Names of the first nodes of the net, up to the layer that would exceed the share of weights kept in float."""
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    known, left, names = set(raw_inputs(program, entry.inputs)), leading_allowed(program), []
    for node in model.graph.node:
        moving = [name for name in node.input if name and name not in sizes]
        if not moving or not known.issuperset(moving):
            continue
        left -= sum(sizes.get(name, 0) for name in node.input if node.op_type in WEIGHTED and len(node.input) > 1)
        if left < 0:
            break
        names.append(node.name)
        known.update(node.output)
    return names


def tail(model: onnx.ModelProto, final: Collection[str]) -> list[str]:
    """Names of the last weighted node before each dense final output (a map, not class scores) and of all after it."""
    maker = {name: node for node in model.graph.node for name in node.output}
    names: list[str] = []
    for value in model.graph.output:
        if value.name not in final or len(value.type.tensor_type.shape.dim) != 4:
            continue
        waiting: list[str] = [value.name]
        seen: set[str] = set()
        while waiting:
            node = maker.get(waiting.pop())
            if node is None or node.name in seen:
                continue
            seen.add(node.name)
            names.append(node.name)
            if node.op_type not in WEIGHTED:
                waiting.extend(node.input)
    return list(dict.fromkeys(names))


@contextmanager
def quiet() -> Iterator[None]:
    """The quantizer advises on the root logger to fold batch norms first, which the exporter has done."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
