"""Static integers on the float32 flatbuffer: calibrated activations, int8 weights per channel, by ai-edge-quantizer.

Inputs and outputs stay float32 by default. Features then pass between modules as float32 elements that lie on the grid
of their int8. With `[options.litert] int8_io = true` inputs and outputs are int8 with a scale and a zero point.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from export.quantize.calibration import Ranges, calibrated_ranges, require_samples
from export.quantize.float_regions import GraphView, ViewNode, float_regions, unbounded_region
from export.quantize.observers import RangeObserver
from export.targets.litert import flatbuffer
from export.targets.litert.biases import widen_scales
from export.targets.litert.convert import file_ports
from export.targets.litert.describe import DTYPES
from export.targets.litert.int8_io import with_int8_ports
from export.targets.litert.recipes import float_rules
from hydramobile.errors import StageError
from hydramobile.files import sha256_bytes
from hydramobile.recipes import Recipe
from hydramobile.spec import EntrySpec

# Operators whose second input is a weight. A product of two activations (BATCH_MATMUL in attention) counts as one: it
# ends a float region too.
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL", "CONV_3D")
FLOAT32 = 0
# int16 and int8.
INTEGERS = (7, 9)
STAGE = "quantize"


def quantize_static(program: Program, data: bytes, recipe: Recipe) -> bytes:
    """Return the float32 .tflite `data` in integers, with int8 inputs and outputs where the model's options ask for it.

    `data` has one signature per module, and tensor names that are unique in the file. The float regions
    (quantize/float_regions.py) and divisions stay float32.
    Raises StageError("quantize") without calibration samples, or when the quantizer refuses.
    """
    from ai_edge_quantizer import quantizer

    require_samples(program, recipe)
    int8_ports = bool(program.spec.options.get("litert", {}).get("int8_io"))
    if int8_ports and recipe.activation_bits != 8:
        raise StageError(STAGE, f"[options.litert] int8_io needs 8-bit activations; {recipe.name} has others")
    model = flatbuffer.parse(data)
    ranges = ranges_of(program, data, model, recipe)
    floats = float_tensors(program, model, ranges)
    try:
        # The quantizer casts biases that do not fit; `widen_scales` makes them fit.
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(invalid="ignore"):
            quantized = quantizer.Quantizer(data, rules(floats, recipe)).quantize(ranges_table(model, ranges))
    except Exception as error:  # the library may raise any type; each means that this recipe does not apply
        raise StageError(STAGE, f"recipe {recipe.name}: {type(error).__name__}: {error}") from error
    result = restore_boundaries(bytes(quantized.quantized_model))
    if recipe.activation_bits == 8:  # with 16-bit activations biases have 64 bits: all of them fit
        widen_scales(result, model)
    if int8_ports:
        result = with_int8_ports(program, result, ranges)
    return flatbuffer.serialize(result)


def ranges_of(program: Program, data: bytes, model: Any, recipe: Recipe) -> Ranges:
    """Return the calibrated range of every float tensor that integers can hold; `model` is `data`, parsed."""

    def observe_modules(observer: RangeObserver) -> None:
        for name in program.spec.modules:
            observe(program, program.spec.entries[name], data, model, observer)

    return share_boundaries(program, model, calibrated_ranges(program, recipe, sha256_bytes(data), observe_modules))


def ranges_table(model: Any, ranges: Ranges) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Return ranges in the form of the quantizer's own calibrator: arrays of the tensor's rank.

    With other ranks the quantizer refuses constants that take the scale of a result (a class token that is concatenated
    with the tokens of a photo).
    """
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors if tensor.shape is not None]
    axes = {flatbuffer.text(tensor.name): (1,) * len(tensor.shape) for tensor in tensors}
    return {
        name: {
            "min": np.full(axes.get(name, (1,)), low, np.float32),
            "max": np.full(axes.get(name, (1,)), high, np.float32),
        }
        for name, (low, high) in ranges.items()
    }


def float_tensors(program: Program, model: Any, ranges: Ranges) -> list[str]:
    """Return the outputs of the operators that stay float in the modules' graphs: float regions and quotients."""
    entries = [program.spec.entries[name] for name in program.spec.modules]
    views = {entry.name: view_of(model, entry) for entry in entries}
    regions = float_regions(program, views)
    floats = {
        flatbuffer.text(tensor.name) for graph in model.subgraphs for tensor in graph.tensors if tensor.type == FLOAT32
    }
    names: list[str] = []
    for entry in entries:
        region = [*regions[entry.name], *unbounded_region(views[entry.name], ranges, floats)]
        names += [name for node in region for name in node.outputs]
        names += quotients(entry, model)
    return list(dict.fromkeys(names))


def view_of(model: Any, entry: EntrySpec) -> GraphView:
    """Return the view of a module's graph that `float_regions` reads.

    A layer's weights are the constants among its first two operands: its bias does not count.
    """
    module = flatbuffer.signature(model, entry.name)
    graph = model.subgraphs[module.subgraphIndex]

    def names(indices: Any) -> tuple[str, ...]:
        return tuple(flatbuffer.text(graph.tensors[int(index)].name) for index in indices)

    computed = {int(index) for operator in graph.operators for index in operator.outputs} | set(map(int, graph.inputs))
    nodes = []
    for number, operator in enumerate(graph.operators):
        weighted = flatbuffer.opcode(model, operator) in WEIGHTED
        constants = [int(index) for index in list(operator.inputs)[:2] if int(index) not in computed]
        nodes.append(
            ViewNode(
                str(number),
                names(index for index in operator.inputs if int(index) in computed),
                names(operator.outputs),
                weighted,
                sum(int(np.prod(graph.tensors[index].shape)) for index in constants) if weighted else 0,
            )
        )
    inputs, outputs = (
        {flatbuffer.text(port.name): names([port.tensorIndex])[0] for port in ports}
        for ports in (module.inputs, module.outputs)
    )
    return GraphView(nodes, inputs, outputs)


def restore_boundaries(data: bytes) -> Any:
    """Return the file with every graph returning the tensors of its signature, and integer operators reading integers.

    ai-edge-quantizer 0.10 confuses the copies of a tensor that is both returned and read by another operator:

    - A tensor that a float operator computes and an integer operator reads: the graph returns the copy that was
      quantized for the reader; the signature still names the float tensor.
    - A tensor that an integer operator computes: the reader gets the float copy that was meant to be returned.

    Retired by a release of the quantizer that does neither.
    """
    model = flatbuffer.parse(data)
    for graph in model.subgraphs:
        read_integers(model, graph)
    for item in model.signatureDefs:
        model.subgraphs[item.subgraphIndex].outputs = [int(port.tensorIndex) for port in item.outputs]
    return model


def read_integers(model: Any, graph: Any) -> None:
    """Let operators with integer results read a dequantized tensor as the integers that it was, in place."""
    named = [(flatbuffer.opcode(model, operator), operator) for operator in graph.operators]
    integers = {int(operator.outputs[0]): int(operator.inputs[0]) for name, operator in named if name == "DEQUANTIZE"}
    for name, operator in named:
        if name != "QUANTIZE" and all(graph.tensors[index].type in INTEGERS for index in operator.outputs):
            operator.inputs = [integers.get(int(index), int(index)) for index in operator.inputs]


def rules(floats: list[str], recipe: Recipe) -> list[dict[str, Any]]:
    """Return the quantizer's rules: integers except for inputs, outputs and the operators that compute `floats`.

    Activations of 16 bits are symmetric: LiteRT's kernels have no zero point there.
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
    result = [{"regex": ".*", "operation": "*", "algorithm_key": "min_max_uniform_quantize", "op_config": config}]
    float_rule = {"algorithm_key": "no_quantize", "op_config": {}}
    result += [{"regex": ".*", "operation": name, **float_rule} for name in ("INPUT", "OUTPUT")]
    return result + float_rules(floats)


def observe(program: Program, entry: EntrySpec, data: bytes, model: Any, observer: RangeObserver) -> None:
    """Observe the float tensors of one module's graph, with one thread, every tensor kept and no delegate."""
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
    computed = {int(number) for operator in model.subgraphs[index].operators for number in operator.outputs}
    computed |= {int(number) for number in model.subgraphs[index].inputs}
    ports = file_ports(program, entry.inputs)
    signature = flatbuffer.signature_tensors(model, entry.name)
    by_name = {flatbuffer.text(tensor.name): tensor for tensor in tensors}
    # PyTorch's int64 may be int32 in the file.
    dtypes = {port.name: DTYPES[by_name[signature[port.name]].type] for port in ports}
    for feed in program.feeds(entry):
        nhwc = {port.name: port.layout == "NHWC" for port in ports}
        runner(
            **{
                name: np.ascontiguousarray(value.transpose(0, 2, 3, 1) if nhwc[name] else value, dtypes[name])
                for name, value in feed.items()
            }
        )
        for number in sorted(computed):
            if tensors[number].type == FLOAT32:
                observer.observe(flatbuffer.text(tensors[number].name), interpreter.get_tensor(number, index))


def share_boundaries(program: Program, model: Any, ranges: Ranges) -> Ranges:
    """Return the ranges with one range per feature: all modules use the range of the module that computes it.

    A fused entry can then pass the integers on.
    """
    shared = dict(ranges)
    makers = {name: module.name for module in program.spec.modules.values() for name in module.outputs}
    tensors = {name: flatbuffer.signature_tensors(model, name) for name in program.spec.modules}
    for module in program.spec.modules.values():
        for name in module.inputs:
            if name in makers and (source := tensors[makers[name]][name]) in shared:
                shared[tensors[module.name][name]] = shared[source]
    return shared


def quotients(entry: EntrySpec, model: Any) -> list[str]:
    """Return the outputs of divisions, and of the operators that only compute a divisor, such as a vector's length.

    The integer DIV kernel aborts with "data[i] != zero_point was not true" where a divisor rounds to zero, and a small
    epsilon that bounds the divisor always does. Operators count from the divisor back to the first weighted operator,
    or to one that reads several tensors.
    """
    graph = model.subgraphs[flatbuffer.signature(model, entry.name).subgraphIndex]
    producers = {int(number): operator for operator in graph.operators for number in operator.outputs}
    names: list[str] = []
    for division in graph.operators:
        if flatbuffer.opcode(model, division) != "DIV":
            continue
        names.append(flatbuffer.text(graph.tensors[int(division.outputs[0])].name))
        number = int(division.inputs[1])
        while (operator := producers.get(number)) is not None and flatbuffer.opcode(model, operator) not in WEIGHTED:
            computed = {int(source) for source in operator.inputs if int(source) in producers}
            if len(computed) != 1:
                break
            names.append(flatbuffer.text(graph.tensors[number].name))
            (number,) = computed
    return list(dict.fromkeys(names))
