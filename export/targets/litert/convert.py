"""From PyTorch modules to one float32 .tflite model: a graph and a signature a module, under the reference's names."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from export.program import Program
from export.targets.litert import flatbuffer
from export.targets.litert.metadata import RUNTIME, minimum_runtime, order
from export.targets.litert.patches.constant_lifetime import keep_constants_alive
from export.targets.litert.patches.operand_order import keep_operand_order
from export.targets.litert.pipeline import lower
from hydramobile.artifact import Port
from hydramobile.errors import StageError
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import torch

STAGE = "convert"
INDEX = re.compile(r"\d+$")


def convert_modules(program: Program) -> bytes:
    """The modules of the program as one .tflite, float32, NHWC at every NCHW tensor, weights shared.

    Each module is converted by itself, so that a failure names it and another module cannot change its bytes;
    fused entries are made of these graphs later (see fuse.py).
    """
    entries = [program.spec.entries[name] for name in program.spec.modules]
    parts = [convert_module(program, entry) for entry in entries]
    # Every operator of the merged file comes from one of them.
    runtime = max((minimum_runtime(part) for part in parts), key=order)
    merged = flatbuffer.merge(parts)
    flatbuffer.add_metadata(merged, RUNTIME, runtime.encode())
    return flatbuffer.serialize(flatbuffer.compact(merged))


def convert_module(program: Program, entry: EntrySpec) -> Any:
    """One module as a ModelT with one signature. Raises StageError("convert") naming the entry."""
    import litert_torch
    import torch

    inputs, outputs = file_ports(program, entry.inputs), file_ports(program, entry.outputs)
    sample = tuple(to_layout(program.tensors[port.name], port) for port in inputs)
    try:
        module = lower(program, entry)
        wrapped = litert_torch.to_channel_last_io(module, moved(inputs), moved(outputs))
        # Its content is in evaluation mode; an exported graph refuses to be told so.
        wrapped.training = False
        with torch.no_grad(), keep_operand_order(len(inputs)), keep_constants_alive():
            model = flatbuffer.parse(litert_torch.convert(wrapped, sample).model_content())
    except StageError as error:
        raise StageError(STAGE, f"entry {entry.name!r}: {error.message}") from error
    except Exception as error:  # a compiler of many layers: whatever it raises means this entry does not convert
        raise StageError(STAGE, f"entry {entry.name!r}: {reason(error)}") from error
    finish(model, entry, inputs, outputs)
    return model


def file_ports(program: Program, names: tuple[str, ...]) -> list[Port]:
    return [program.port(name, nhwc=True) for name in names]


def moved(ports: list[Port]) -> list[int]:
    return [index for index, port in enumerate(ports) if port.layout == "NHWC"]


def to_layout(value: torch.Tensor, port: Port) -> torch.Tensor:
    return value.permute(0, 2, 3, 1).contiguous() if port.layout == "NHWC" else value.contiguous()


def reason(error: Exception) -> str:
    """What the converter says, shortened to a sentence that names the op where it does."""
    message = str(error).strip()
    if match := re.search(r"Lowering not found: (\S+)", message):
        return f"op {match[1]!r} is not supported by litert-torch; express it by common ATen ops"
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    telling = next(
        (line for line in lines if "error:" in line or "failed" in line), lines[0] if lines else "no message"
    )
    # Before "error: " stands a path on this machine.
    return f"litert-torch failed: {type(error).__name__}: {telling.rpartition('error: ')[2][:300]}"


def finish(model: Any, entry: EntrySpec, inputs: list[Port], outputs: list[Port]) -> None:
    """Give the signature, graph and tensors their names, and check that they are what the program has."""
    if len(model.signatureDefs) != 1:
        raise StageError(STAGE, f"entry {entry.name!r}: the converter wrote {len(model.signatureDefs)} signatures")
    signature = model.signatureDefs[0]
    signature.signatureKey = entry.name
    graph = model.subgraphs[signature.subgraphIndex]
    graph.name = entry.name
    named: dict[int, str] = {}
    for ports, items in ((outputs, signature.outputs), (inputs, signature.inputs)):
        # The converter calls them args_0, args_1, ... and output_0, ...: positions, in the order of the module.
        items.sort(key=position)
        if len(items) != len(ports):
            raise StageError(
                STAGE, f"entry {entry.name!r}: {[port.name for port in ports]} became {len(items)} tensors in the file"
            )
        for port, item in zip(ports, items, strict=True):
            shape = tuple(map(int, graph.tensors[item.tensorIndex].shape))
            if shape != port.shape:
                raise StageError(
                    STAGE,
                    f"entry {entry.name!r}: {port.name!r} is {list(shape)} in the file, not {list(port.shape)}",
                )
            item.name = port.name
            # The quantizer wants names unique in the whole file; `annotate` shortens them to the port's in the end.
            named[item.tensorIndex] = f"{entry.name}/{port.name}"
    taken: Counter[str] = Counter()
    for index, other in enumerate(model.subgraphs):
        flatbuffer.rename_tensors(other, entry.name, named if index == signature.subgraphIndex else {}, taken)


def position(item: Any) -> int:
    match = INDEX.search(flatbuffer.text(item.name))
    return int(match[0]) if match else 0
