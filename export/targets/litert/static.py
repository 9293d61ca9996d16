"""Static integers on the float32 flatbuffer: calibrated activations, int8 weights a channel, by ai-edge-quantizer.

Inputs and outputs stay float32 by default, so features pass between modules as float32 that lies on the grid of their
int8; with `[options.litert] int8_io = true` they are int8 with a scale and a zero point.
"""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from export.quantize.observers import Ranges, cached, leading_allowed, raw_inputs, require_samples
from export.targets.litert import flatbuffer
from export.targets.litert.biases import widen_scales
from export.targets.litert.convert import file_ports
from export.targets.litert.int8_io import with_int8_ports
from hydramobile.errors import StageError
from hydramobile.files import sha256_bytes
from hydramobile.recipes import Recipe
from hydramobile.spec import EntrySpec

# Operators whose second input is a weight. What follows the last of them on the way to a dense output stays float.
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL", "CONV_3D")
FLOAT32 = 0
# int16 and int8.
INTEGERS = (7, 9)
STAGE = "quantize"


def quantize_static(program: Program, data: bytes, recipe: Recipe) -> bytes:
    """The .tflite `data` (a signature a module, tensor names unique in the file) in integers, int8 ports where asked.

    The first layers of the net and the last one of a dense output stay float32.
    Raises StageError("quantize") without calibration samples, or when the quantizer refuses.
    """
    from ai_edge_quantizer import quantizer

    require_samples(program, recipe)
    int8_ports = bool(program.spec.options.get("litert", {}).get("int8_io"))
    if int8_ports and recipe.activation_bits != 8:
        raise StageError(STAGE, f"[options.litert] int8_io needs 8-bit activations; {recipe.name} has others")
    model = flatbuffer.parse(data)

    def measure_modules(ranges: Ranges) -> None:
        for name in program.spec.modules:
            measure(program, program.spec.entries[name], data, model, ranges)

    ranges = cached(program, recipe, sha256_bytes(data), measure_modules)
    kept = lead_and_tail(program, model)
    share_boundaries(program, model, ranges)
    table = ranges_table(model, ranges)
    try:
        # It casts biases that do not fit; `widen_scales` makes them fit.
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(invalid="ignore"):
            made = quantizer.Quantizer(data, rules(kept, recipe)).quantize(table)
    except Exception as error:  # a library of many layers: whatever it raises means this recipe does not apply
        raise StageError(STAGE, f"recipe {recipe.name}: {type(error).__name__}: {error}") from error
    result = restored(bytes(made.quantized_model))
    if recipe.activation_bits == 8:  # with 16-bit activations biases have 64 bits: all of them fit
        widen_scales(result, model)
    if int8_ports:
        result = with_int8_ports(program, result, ranges)
    return flatbuffer.serialize(result)


def ranges_table(model: Any, ranges: Ranges) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Ranges as the quantizer's calibrator gives them: of the tensor's rank, or constants that are to have the scale of
    a result (a class token that is joined to a photo's) are refused."""
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors if tensor.shape is not None]
    axes = {flatbuffer.text(tensor.name): (1,) * len(tensor.shape) for tensor in tensors}
    return {
        name: {
            "min": np.full(axes.get(name, (1,)), low, np.float32),
            "max": np.full(axes.get(name, (1,)), high, np.float32),
        }
        for name, (low, high) in ranges.found.items()
    }


def lead_and_tail(program: Program, model: Any) -> list[str]:
    """Names of the tensors whose operators stay float in the modules' graphs: the first, the last, and quotients."""
    names: list[str] = []
    left = leading_allowed(program)
    for name in program.spec.modules:
        entry = program.spec.entries[name]
        leading, left = lead(program, entry, model, left)
        names += [*leading, *tail(program, entry, model), *quotients(entry, model)]
    return names


def restored(data: bytes) -> Any:
    """The file with every graph returning what its signature names, and integer operators reading integers.

    ai-edge-quantizer 0.10 hands a tensor that a float operator makes, and that is both returned and read by an integer
    operator, back as the copy it quantized for that operator; the signature still names the float tensor. Of a tensor
    that an integer operator makes, and that is both returned and read by another, it gives the reader the float copy
    it made to return. To be dropped when a release of the quantizer does neither.
    """
    model = flatbuffer.parse(data)
    for graph in model.subgraphs:
        read_integers(model, graph)
    for item in model.signatureDefs:
        model.subgraphs[item.subgraphIndex].outputs = [int(port.tensorIndex) for port in item.outputs]
    return model


def read_integers(model: Any, graph: Any) -> None:
    """Operators with integer results read what was dequantized as the integers it was, in place."""
    named = [(flatbuffer.opcode(model, operator), operator) for operator in graph.operators]
    integers = {int(each.outputs[0]): int(each.inputs[0]) for name, each in named if name == "DEQUANTIZE"}
    for name, operator in named:
        if name != "QUANTIZE" and all(graph.tensors[number].type in INTEGERS for number in operator.outputs):
            operator.inputs = [integers.get(int(number), int(number)) for number in operator.inputs]


def rules(kept: list[str], recipe: Recipe) -> list[dict[str, Any]]:
    """Integers everywhere but at inputs, outputs and the operators that make the tensors `kept`.

    Activations of 16 bits are symmetric: LiteRT's kernels know no zero point there.
    """
    bits = recipe.activation_bits
    weights = {"num_bits": 8, "symmetric": True, "granularity": "CHANNELWISE", "dtype": "INT"}
    activations = {"num_bits": bits, "symmetric": bits == 16, "granularity": "TENSORWISE", "dtype": "INT"}
    config = {
        "activation_tensor_config": activations,
        "weight_tensor_config": weights,
        "compute_precision": "INTEGER",
        "explicit_dequantize": False,
    }
    made = [{"regex": ".*", "operation": "*", "algorithm_key": "min_max_uniform_quantize", "op_config": config}]
    float_rule = {"algorithm_key": "no_quantize", "op_config": {}}
    made += [{"regex": ".*", "operation": name, **float_rule} for name in ("INPUT", "OUTPUT")]
    # An operator's scope is the names of its outputs, each followed by ";".
    made += [{"regex": f"(^|;){re.escape(name)}(;|$)", "operation": "*", **float_rule} for name in kept]
    return made


def measure(program: Program, entry: EntrySpec, data: bytes, model: Any, ranges: Ranges) -> None:
    """Add the ranges of the float tensors of one module's graph; one thread, every tensor kept, no delegate."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    index = flatbuffer.signature(model, entry.name).subgraphIndex
    tensors = model.subgraphs[index].tensors
    interpreter = Interpreter(
        model_content=data,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    runner = interpreter.get_signature_runner(entry.name)
    moving = {int(number) for operator in model.subgraphs[index].operators for number in operator.outputs}
    moving |= {int(number) for number in model.subgraphs[index].inputs}
    ports = file_ports(program, entry.inputs)
    for feed in program.feeds(entry):
        nhwc = {port.name: port.layout == "NHWC" for port in ports}
        runner(
            **{
                name: np.ascontiguousarray(value.transpose(0, 2, 3, 1)) if nhwc[name] else value
                for name, value in feed.items()
            }
        )
        for number in sorted(moving):
            if tensors[number].type == FLOAT32:
                ranges.add(flatbuffer.text(tensors[number].name), interpreter.get_tensor(number, index))


def share_boundaries(program: Program, model: Any, ranges: Ranges) -> None:
    """One range for a feature in all modules, its maker's: so a fused entry passes the integers on."""
    maker = {name: module.name for module in program.spec.modules.values() for name in module.outputs}
    tensors = {name: flatbuffer.signature_tensors(model, name) for name in program.spec.modules}
    for module in program.spec.modules.values():
        for name in module.inputs:
            if name in maker and (source := tensors[maker[name]][name]) in ranges.found:
                ranges.found[tensors[module.name][name]] = ranges.found[source]


def lead(program: Program, entry: EntrySpec, model: Any, left: int) -> tuple[list[str], int]:
    """Outputs of the first operators of the net, up to the layer that would exceed `left` weights, and what is left."""
    module = flatbuffer.signature(model, entry.name)
    graph = model.subgraphs[module.subgraphIndex]
    raw = set(raw_inputs(program, entry.inputs))
    known = {int(item.tensorIndex) for item in module.inputs if flatbuffer.text(item.name) in raw}
    made = {int(number) for operator in graph.operators for number in operator.outputs} | set(map(int, graph.inputs))
    names: list[str] = []
    for operator in graph.operators:
        moving = {int(number) for number in operator.inputs} & made
        if not moving or not known.issuperset(moving):
            continue
        if flatbuffer.opcode(model, operator) in WEIGHTED:
            cost = sum(
                int(np.prod(graph.tensors[int(n)].shape)) for n in list(operator.inputs)[:2] if int(n) not in made
            )
            if cost > left:
                return names, 0
            left -= cost
        outputs = [int(number) for number in operator.outputs]
        names += [flatbuffer.text(graph.tensors[number].name) for number in outputs]
        known.update(outputs)
    return names, left


def tail(program: Program, entry: EntrySpec, model: Any) -> list[str]:
    """Outputs of the last weighted operator before each dense final output (a map), and of all after it."""
    module = flatbuffer.signature(model, entry.name)
    graph = model.subgraphs[module.subgraphIndex]
    maker = {int(number): operator for operator in graph.operators for number in operator.outputs}
    final = set(program.final())
    names: list[str] = []
    for item in module.outputs:
        if flatbuffer.text(item.name) not in final or len(graph.tensors[item.tensorIndex].shape) != 4:
            continue
        waiting, seen = [int(item.tensorIndex)], set()
        while waiting:
            number = waiting.pop()
            operator = maker.get(number)
            if operator is None or number in seen:
                continue
            seen.add(number)
            names += [flatbuffer.text(graph.tensors[int(made)].name) for made in operator.outputs]
            if flatbuffer.opcode(model, operator) not in WEIGHTED:
                waiting += map(int, operator.inputs)
    return list(dict.fromkeys(names))


def quotients(entry: EntrySpec, model: Any) -> list[str]:
    """Outputs of divisions, and of what only makes a divisor of one tensor, such as the length of a vector.

    The integer quotient ends the run with "data[i] != zero_point was not true" where a divisor is rounded to nothing,
    and a floor under it, an epsilon, always is.
    """
    graph = model.subgraphs[flatbuffer.signature(model, entry.name).subgraphIndex]
    maker = {int(number): operator for operator in graph.operators for number in operator.outputs}
    names: list[str] = []
    for division in graph.operators:
        if flatbuffer.opcode(model, division) != "DIV":
            continue
        names.append(flatbuffer.text(graph.tensors[int(division.outputs[0])].name))
        number = int(division.inputs[1])
        while (operator := maker.get(number)) is not None and flatbuffer.opcode(model, operator) not in WEIGHTED:
            moving = {int(source) for source in operator.inputs if int(source) in maker}
            if len(moving) != 1:
                break
            names.append(flatbuffer.text(graph.tensors[number].name))
            (number,) = moving
    return list(dict.fromkeys(names))
