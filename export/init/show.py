"""Print the result of `init`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from export.init.observe import Seen
from export.init.run import Written


def written_json(written: Written) -> dict[str, Any]:
    """Return the result as JSON data."""
    return {
        "folder": str(written.folder),
        "model": written.name,
        "inputs": [described(seen) for seen in written.inputs],
        "outputs": [described(seen) for seen in written.outputs],
        "parameters": written.parameters,
        "notes": list(written.notes),
        "next": next_command(written),
    }


def described(seen: Seen) -> dict[str, Any]:
    return {"name": seen.name, "shape": list(seen.shape), "dtype": seen.dtype, "kind": seen.kind, "range": seen.limits}


def written_lines(written: Written) -> Iterable[str]:
    """Yield the lines for a terminal."""
    yield f"{written.folder}: model.toml, weights.safetensors ({written.parameters:,} parameters), budget.toml"
    for side, tensors in (("in ", written.inputs), ("out", written.outputs)):
        for seen in tensors:
            limits = f" in [{seen.limits[0]:g}, {seen.limits[1]:g}]" if seen.limits else ""
            kind = f", {seen.kind}" if seen.kind != "tensor" else ""
            yield f"  {side} {seen.name}: {'x'.join(map(str, seen.shape)) or 'scalar'} {seen.dtype}{limits}{kind}"
    for text in written.notes:
        yield f"note: {text}"
    yield f"next: {next_command(written)}"


def next_command(written: Written) -> str:
    return f"hydra-mobile ship ios android web --model {written.folder}"
