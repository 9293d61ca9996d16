"""Convert PyTorch modules to one float32 .tflite model, with one graph and one signature per module."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from export.program import Program
from export.targets.litert import flatbuffer
from export.targets.litert.metadata import RUNTIME, minimum_runtime, version_key
from export.targets.litert.patches.constant_lifetime import keep_constants_alive
from export.targets.litert.patches.operand_order import keep_operand_order
from export.targets.litert.pipeline import lower
from hydramobile.artifact import Port
from hydramobile.errors import StageError
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import torch

STAGE = "convert"
# The stage of an error that names its entry already.
CAPTURE = "capture"
LAST_NUMBER = re.compile(r"\d+$")


def convert_modules(program: Program) -> bytes:
    """Return the program's modules as one .tflite: float32, NHWC for every NCHW tensor, weights shared.

    Each module is converted by itself, so that a failure names it and no other module can change its bytes. Fused
    entries are built from these graphs later (fuse.py). Tensors of signatures have the reference's names.
    """
    entries = [program.spec.entries[name] for name in program.spec.modules]
    models = [convert_module(program, entry) for entry in entries]
    # Every operator of the merged file comes from one of them.
    runtime = max((minimum_runtime(model) for model in models), key=version_key)
    merged = flatbuffer.merge(models)
    flatbuffer.add_metadata(merged, RUNTIME, runtime.encode())
    return flatbuffer.serialize(flatbuffer.compact(merged))


def convert_module(program: Program, entry: EntrySpec) -> Any:
    """Return one module as a ModelT with one signature. Raises StageError("convert") naming the entry."""
    import litert_torch
    import torch

    inputs, outputs = file_ports(program, entry.inputs), file_ports(program, entry.outputs)
    sample = tuple(to_file_layout(value, port) for value, port in zip(program.example(entry), inputs, strict=True))
    try:
        module = lower(program, entry)
        wrapped = litert_torch.to_channel_last_io(module, nhwc_positions(inputs), nhwc_positions(outputs))
        # The wrapped module is in evaluation mode already, and an exported graph refuses eval().
        wrapped.training = False
        with torch.no_grad(), keep_operand_order(len(inputs)), keep_constants_alive():
            model = flatbuffer.parse(litert_torch.convert(wrapped, sample).model_content())
    except StageError as error:
        if error.stage == CAPTURE:
            raise
        raise StageError(STAGE, f"entry {entry.name!r}: {error.message}") from error
    except Exception as error:  # the converter raises any type: each means that this entry does not convert
        raise StageError(STAGE, f"entry {entry.name!r}: {reason(error)}") from error
    set_names(model, entry, inputs, outputs)
    return model


def file_ports(program: Program, names: tuple[str, ...]) -> list[Port]:
    """Return the ports of the named tensors as the file has them, NHWC where the reference has NCHW."""
    return [program.port(name, nhwc=True) for name in names]


def nhwc_positions(ports: list[Port]) -> list[int]:
    """Return the positions of the ports that change from NCHW to NHWC."""
    return [index for index, port in enumerate(ports) if port.layout == "NHWC"]


def to_file_layout(value: torch.Tensor, port: Port) -> torch.Tensor:
    """Permute a reference tensor to the layout of the port, contiguous."""
    return value.permute(0, 2, 3, 1).contiguous() if port.layout == "NHWC" else value.contiguous()


def reason(error: Exception) -> str:
    """Shorten the converter's message to one sentence, which names the op where the message does."""
    message = str(error).strip()
    if match := re.search(r"Lowering not found: (\S+)", message):
        return f"op {match[1]!r} is not supported by litert-torch; express it by common ATen ops"
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    informative = next(
        (line for line in lines if "error:" in line or "failed" in line), lines[0] if lines else "no message"
    )
    # A path of the exporting machine precedes "error: ".
    return f"litert-torch failed: {type(error).__name__}: {informative.rpartition('error: ')[2][:300]}"


def set_names(model: Any, entry: EntrySpec, inputs: list[Port], outputs: list[Port]) -> None:
    """Name the signature, graph and tensors. Raises StageError where they do not match the program's."""
    if len(model.signatureDefs) != 1:
        raise StageError(STAGE, f"entry {entry.name!r}: the converter wrote {len(model.signatureDefs)} signatures")
    signature = model.signatureDefs[0]
    signature.signatureKey = entry.name
    graph = model.subgraphs[signature.subgraphIndex]
    graph.name = entry.name
    port_names = name_ports(entry, graph, signature.outputs, outputs)
    # A tensor that is both keeps its name as an input.
    port_names |= name_ports(entry, graph, signature.inputs, inputs)
    taken: Counter[str] = Counter()
    for index, other in enumerate(model.subgraphs):
        flatbuffer.rename_tensors(other, entry.name, port_names if index == signature.subgraphIndex else {}, taken)


def name_ports(entry: EntrySpec, graph: Any, items: list[Any], ports: list[Port]) -> dict[int, str]:
    """Name one side of a signature after `ports`, and return the names of its tensors by index.

    Raises StageError where the number of tensors or a shape differs.
    """
    # The converter names them args_0, args_1, ... and output_0, ...: by position in the module.
    items.sort(key=position)
    if len(items) != len(ports):
        raise StageError(
            STAGE, f"entry {entry.name!r}: {[port.name for port in ports]} became {len(items)} tensors in the file"
        )
    names: dict[int, str] = {}
    for port, item in zip(ports, items, strict=True):
        shape = tuple(map(int, graph.tensors[item.tensorIndex].shape))
        if shape != port.shape:
            raise StageError(
                STAGE, f"entry {entry.name!r}: {port.name!r} is {list(shape)} in the file, not {list(port.shape)}"
            )
        item.name = port.name
        # The quantizer needs names that are unique in the file. `annotate` shortens them to the port's in the end.
        names[item.tensorIndex] = f"{entry.name}/{port.name}"
    return names


def position(item: Any) -> int:
    """Return the number at the end of a signature item's name, or 0."""
    match = LAST_NUMBER.search(flatbuffer.text(item.name))
    return int(match[0]) if match else 0
