"""From an entry to its ONNX graph: the ONNX target saves it, the TF.js target is written from it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from export.onnx_export.patches.unique_initializers import distinct_initializers
from export.onnx_export.pipeline import STATIC_PASSES
from export.passes.base import Pass, run_passes
from export.program import Program
from hydramobile.errors import StageError
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import onnx
    from torch.export import ExportedProgram

STAGE = "convert"
OPSET = 20
# The oldest IR that can carry opset 20; newer ones only shut out older runtimes.
IR_VERSION = 9


def onnx_program(
    program: Program, entry: EntrySpec, passes: Sequence[Pass[ExportedProgram]] = STATIC_PASSES, dynamic: bool = False
) -> onnx.ModelProto:
    """The entry as an ONNX model at float32, weights embedded, constants and batch norms folded.

    Inputs and outputs carry the reference's names, layouts and dtypes; `value_info` holds the shape of every
    tensor. `passes` run on the ATen graph first. `dynamic` leaves height and width of NCHW inputs open (named
    dimensions) and goes with DYNAMIC_PASSES. The same program gives the same bytes: the exporter's stack traces, source
    paths and timings are removed.
    Raises StageError("convert") naming the entry when PyTorch cannot express it.
    """
    import onnx
    import torch

    try:
        with quiet(), distinct_initializers(), torch.no_grad():
            source = open_program(program, entry) if dynamic else program.exported(entry).program
            exported = torch.onnx.export(
                run_passes(source, passes).program,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(entry.inputs),
                output_names=list(entry.outputs),
                external_data=False,
                optimize=True,
                verbose=False,
            )
    except StageError as error:
        raise StageError(STAGE, f"entry {entry.name!r}: {error.message}") from error
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
