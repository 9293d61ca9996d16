"""From an entry to its ONNX graph: the ONNX target saves it, the TF.js target is written from it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from export.onnx_export.patches import distinct_initializers
from export.passes.decompose import uncommon_ops
from export.passes.decompose.attention import float_bounds, odd_attention
from export.passes.decompose.spell_out import (
    Table,
    adaptive_max_pools,
    divided_pools,
    plain_arithmetic,
    rewritten,
    writes,
)
from export.passes.reduce_rank import of_fewer_axes
from export.program import Program
from hydramobile.errors import StageError
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import onnx
    from torch import fx
    from torch.export import ExportedProgram

STAGE = "convert"
OPSET = 20
# The oldest IR that can carry opset 20; newer ones only shut out older runtimes.
IR_VERSION = 9


def onnx_program(
    program: Program, entry: EntrySpec, dynamic: bool = False, more: Table | None = None, axes: int | None = None
) -> onnx.ModelProto:
    """The entry as an ONNX model at float32, weights embedded, constants and batch norms folded.

    Inputs and outputs carry the reference's names, layouts and dtypes; `value_info` holds the shape of every
    tensor. `dynamic` leaves height and width of NCHW inputs open (named dimensions); ops of `more` are spelled out as
    it says, and tensors have `axes` axes at most. The same program gives the same bytes: the exporter's stack traces,
    source paths and timings are removed.
    Raises StageError("convert") naming the entry when PyTorch cannot express it.
    """
    import onnx
    import torch

    try:
        with quiet(), distinct_initializers(), torch.no_grad():
            plain = spelled(open_program(program, entry) if dynamic else program.exported(entry), more or {}, dynamic)
            exported = torch.onnx.export(
                of_fewer_axes(plain, axes) if axes else plain,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(entry.inputs),
                output_names=list(entry.outputs),
                external_data=False,
                optimize=True,
                verbose=False,
            )
    except Exception as error:  # the net is foreign code and the exporter wraps whatever it raises
        reason = str(error.__cause__ or error).strip().splitlines()
        raise StageError(
            STAGE, f"entry {entry.name!r}: PyTorch's ONNX exporter failed: {reason[0] if reason else type(error)}"
        ) from error
    if exported is None:
        raise StageError(STAGE, f"entry {entry.name!r}: PyTorch's ONNX exporter returned nothing")
    model = exported.model_proto
    strip(model)
    check_names(model, entry)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    del inferred.metadata_props[:]
    return inferred


def spelled(exported: ExportedProgram, more: Table, dynamic: bool = False) -> ExportedProgram:
    """The program without ops that PyTorch's ONNX exporter refuses or writes as what runtimes have not.

    Refused: hypot, adaptive max pools, clamps between a whole number and a fraction, and others that are uncommon.
    Silently dropped: an average pool's divisor_override. Assignments to parts of a tensor would be scatters, masked
    ones of a size that is known at run time alone.
    """
    table = plain_arithmetic() | writes() | divided_pools() | adaptive_max_pools(exported)
    # These are spelled out for sizes that are known; of others the exporter takes what it can.
    table |= {} if dynamic else uncommon_ops(exported)
    table |= odd_attention(exported) | more
    # The exporter takes bounds that are all whole numbers, in fewer nodes.
    if any(mixed_bounds(node) for node in exported.graph_module.graph.nodes):
        table |= float_bounds(exported)
    return rewritten(exported, table)


def mixed_bounds(node: fx.Node) -> bool:
    """Whether one bound of a clamp is a whole number and another a fraction."""
    import torch

    kinds = {type(bound) for bound in node.args[1:] if bound is not None}
    return node.target is torch.ops.aten.clamp.default and len(kinds) > 1


def open_program(program: Program, entry: EntrySpec) -> ExportedProgram:
    """The entry with height and width of its image-like inputs left open; PyTorch relates them to each other."""
    import torch

    example = program.example(entry)
    auto = torch.export.Dim.AUTO
    open_sides = tuple({2: auto, 3: auto} if value.ndim == 4 else None for value in example)
    # One level more: the wired module takes its tensors as *inputs.
    return torch.export.export(program.callable(entry), example, dynamic_shapes=(open_sides,), strict=False)


def strip(model: onnx.ModelProto) -> None:
    """Remove what depends on the machine and not on the net: stack traces, source paths, doc strings."""
    del model.metadata_props[:]
    model.ClearField("doc_string")
    model.graph.ClearField("doc_string")
    model.ir_version = IR_VERSION
    del model.graph.metadata_props[:]
    holders = (model.graph.node, model.graph.input, model.graph.output, model.graph.value_info, model.graph.initializer)
    for holder in holders:
        for item in holder:
            item.ClearField("doc_string")
            del item.metadata_props[:]


def check_names(model: onnx.ModelProto, entry: EntrySpec) -> None:
    """The exporter drops or renames nothing silently: apps address tensors by these names."""
    found = [value.name for value in model.graph.input], [value.name for value in model.graph.output]
    if found != (list(entry.inputs), list(entry.outputs)):
        raise StageError(STAGE, f"entry {entry.name!r}: the ONNX graph has inputs and outputs {found}")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's progress and advice out of our output; its errors arrive as exceptions."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
