"""Convert an entry to a float32 ONNX graph with PyTorch's exporter.

Two targets use it: the ONNX target saves the graph, and the TF.js target lowers it op by op.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from export.onnx_export.patches.distinct_initializers import distinct_initializers
from export.onnx_export.patches.exact_constants import exact_constants
from export.onnx_export.patches.quiet_exporter import quiet_exporter
from export.onnx_export.port_names import has_duplicates, name_ports, neutral_names
from export.passes.base import Pass, run_passes
from export.passes.export_graph import export_graph
from export.program import Program
from hydramobile.errors import StageError
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import onnx
    from torch.export import ExportedProgram

STAGE = "convert"
# The stage of an error that names its entry already.
CAPTURE = "capture"
OPSET = 20
# The oldest IR version that may carry opset 20. A newer one would only exclude older runtimes.
IR_VERSION = 9


def onnx_program(
    program: Program, entry: EntrySpec, passes: Sequence[Pass[ExportedProgram]], dynamic: bool = False
) -> onnx.ModelProto:
    """Return the entry as a float32 ONNX model with embedded weights and folded constants.

    Graph inputs and outputs keep the reference's names, layouts and dtypes; `value_info` holds the shape of every
    tensor. `passes` run on the ATen graph before the exporter. `dynamic` exports height and width of NCHW inputs as
    named dimensions, so `passes` must not depend on these sizes. The result is deterministic: stack traces, source
    paths and timings are removed.

    Raises StageError("convert") that names the entry, and the failing pass or the exporter's reason.
    """
    ports = list(entry.inputs), list(entry.outputs)
    model = export_model(program, entry, passes, ports, dynamic)
    if has_duplicates(model):
        model = export_model(program, entry, passes, neutral_names(entry), dynamic)
        name_ports(model, entry)
    remove_provenance(model)
    check_port_names(model, entry)
    return infer_shapes(model)


def export_model(
    program: Program,
    entry: EntrySpec,
    passes: Sequence[Pass[ExportedProgram]],
    ports: tuple[list[str], list[str]],
    dynamic: bool,
) -> onnx.ModelProto:
    """Run `passes` on the entry's ATen graph and call `torch.onnx.export`. Raises StageError("convert").

    `ports` are the names of inputs and outputs.
    """
    import torch

    try:
        with quiet_exporter(), distinct_initializers(), exact_constants(), torch.no_grad():
            source = dynamic_graph(program, entry) if dynamic else program.exported(entry).program
            exported = torch.onnx.export(
                run_passes(source, passes).program,
                dynamo=True,
                opset_version=OPSET,
                input_names=ports[0],
                output_names=ports[1],
                external_data=False,
                optimize=True,
                verbose=False,
            )
    except StageError as error:
        if error.stage == CAPTURE:
            raise
        raise StageError(STAGE, f"entry {entry.name!r}: {error.message}") from error
    except Exception as error:  # the net is foreign code, and the exporter wraps any type that it raises
        reason = str(error.__cause__ or error).strip().splitlines()
        raise StageError(
            STAGE, f"entry {entry.name!r}: PyTorch's ONNX exporter failed: {reason[0] if reason else type(error)}"
        ) from error
    if exported is None:
        raise StageError(STAGE, f"entry {entry.name!r}: PyTorch's ONNX exporter returned nothing")
    return exported.model_proto


def dynamic_graph(program: Program, entry: EntrySpec) -> ExportedProgram:
    """Export the entry with symbolic height and width for its NCHW inputs; PyTorch derives how they are related."""
    import torch

    example = program.example(entry)
    auto = torch.export.Dim.AUTO
    dimensions = tuple({2: auto, 3: auto} if value.ndim == 4 else None for value in example)
    # Nested once more, because the module of an entry takes its tensors as *inputs.
    return export_graph(program.callable(entry), example, dynamic_shapes=(dimensions,)).program


def remove_provenance(model: onnx.ModelProto) -> None:
    """Remove stack traces, source paths and doc strings in place: they depend on the machine. Set the IR version."""
    del model.metadata_props[:]
    model.ClearField("doc_string")
    model.graph.ClearField("doc_string")
    model.ir_version = IR_VERSION
    del model.graph.metadata_props[:]
    graph = model.graph
    for items in (graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        for item in items:
            item.ClearField("doc_string")
            del item.metadata_props[:]


def check_port_names(model: onnx.ModelProto, entry: EntrySpec) -> None:
    """Raise StageError where the exporter dropped or renamed an input or output: apps address tensors by name."""
    names = [value.name for value in model.graph.input], [value.name for value in model.graph.output]
    if names != (list(entry.inputs), list(entry.outputs)):
        raise StageError(STAGE, f"entry {entry.name!r}: the ONNX graph has inputs and outputs {names}")


def infer_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with `value_info` for every tensor."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    del inferred.metadata_props[:]
    return inferred
