"""Converter fix: GELU with the tanh approximation.

Symptom: `F.gelu(x, approximate="tanh")` comes out as the exact GELU, wrong by up to 2e-4, without a word.
Cause: coremltools 9.0 reads the mode of `gelu` from the positional arguments alone; torch.export passes it by keyword.
Retired by: a coremltools whose export path reads `approximate` (tests/export/test_coreml.py keeps the net).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

MODES = {"none": "EXACT", "tanh": "TANH_APPROXIMATION"}


def register_gelu() -> None:
    """Replace coremltools' conversion of `gelu` by one that reads the mode in either place."""
    torch_frontend = import_module("coremltools.converters.mil.frontend.torch")
    mb = import_module("coremltools.converters.mil").Builder
    inputs_of = import_module("coremltools.converters.mil.frontend.torch.ops")._get_inputs

    def gelu(context: Any, node: Any) -> None:
        inputs = inputs_of(context, node)
        named = (getattr(node, "kwinputs", None) or {}).get("approximate", ["none"])
        mode = inputs[1].val if len(inputs) > 1 else named[0] if isinstance(named, list | tuple) else named
        context.add(mb.gelu(x=inputs[0], mode=MODES[str(mode)], name=node.name))

    torch_frontend.register_torch_op(gelu, override=True)
