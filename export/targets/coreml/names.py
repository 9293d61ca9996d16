"""Map the names of tensors and entries to names that a Core ML file can hold.

A MIL program is compiled from text, in which the names of its types are reserved. coremltools renames a tensor called
"any" to "any_workaround" by itself. Here a reserved name gets "_", and a port's `file_name` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from export.program import Program
from hydramobile.spec import EntrySpec

# The names that coremltools 9.0 refuses (mil/passes/defs/preprocess.py, NameSanitizer).
RESERVED = frozenset((
    "any", "bool", "program", "func", "tensor", "list", "dict", "tuple", "true", "false", "string", "bf16", "fp16",
    "fp32", "fp64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "state",
))  # fmt: skip


def file_name(program: Program, name: str) -> str:
    """Return a tensor's name in the file: `name`, with "_" behind it where it is reserved. No two names become one."""
    return unreserved(name, program.tensors)


def function_name(entry: str) -> str:
    """Return the name of an entry as a MIL function: an identifier, so "-" becomes "_"."""
    return unreserved(entry.replace("-", "_"), ())


def unreserved(name: str, taken: Any) -> str:
    if name not in RESERVED:
        return name
    changed = f"{name}_"
    while changed in taken:
        changed += "_"
    return changed


def restore_outputs(block: Any, features: Any, wanted: Sequence[str]) -> None:
    """Give each output of a function its own name, in place: an identity op copies a tensor that is returned twice.

    Symptom: an entry that returns one tensor twice, or two tensors that the same ops compute, has outputs "y, b, b"
    instead of "y, a, b". Cause: coremltools 9.0 removes the second computation, and renames the first to the name of
    its last output. `features` are the outputs in the description, in the order of the block's.
    """
    written = [feature.name for feature in features]
    if sorted(written) == sorted(wanted) or len(written) != len(wanted) or list(block.outputs) != written:
        return
    for index, (name, feature) in enumerate(zip(wanted, features, strict=True)):
        if name != written[index] and written.count(written[index]) > 1 and name not in written:
            copy_tensor(block, written[index], name)
            block.outputs[index] = feature.name = name


def copy_tensor(block: Any, source: str, name: str) -> None:
    """Append `name = identity(x=source)` to the block."""
    producer, tensor = next((op, out) for op in block.operations for out in op.outputs if out.name == source)
    copy = block.operations.add()
    copy.type = "identity"
    copy.inputs["x"].arguments.add().name = source
    copy.outputs.add().CopyFrom(tensor)
    copy.outputs[0].name = name
    copy.attributes["name"].CopyFrom(producer.attributes["name"])
    copy.attributes["name"].immediateValue.tensor.strings.values[0] = name


def port_names(program: Program, entry: EntrySpec) -> dict[str, str]:
    """Return the reference's name of each tensor of an entry by its name in the file."""
    return {file_name(program, name): name for name in (*entry.inputs, *entry.outputs)}
