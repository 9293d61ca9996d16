"""Converter fix: GELU with the tanh approximation.

Symptom: `F.gelu(x, approximate="tanh")` comes out as the exact GELU, wrong by up to 2e-4, without a word.
Cause: coremltools 9.0 reads the mode of `gelu` from the positional arguments alone; torch.export passes it by keyword.
Retired by: a coremltools whose export path reads `approximate` (tests/export/test_coreml.py keeps the net).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from export.targets.coreml.patches.registry import conversion

MODES = {"none": "EXACT", "tanh": "TANH_APPROXIMATION"}


@contextmanager
def gelu_mode() -> Iterator[None]:
    """Convert `aten.gelu` by its `approximate` argument, positional or by keyword, while the context lasts."""
    mb = import_module("coremltools.converters.mil").Builder
    inputs_of = import_module("coremltools.converters.mil.frontend.torch.ops")._get_inputs

    def gelu(context: Any, node: Any) -> None:
        inputs = inputs_of(context, node)
        # A traced graph's node has no keyword inputs.
        named = (getattr(node, "kwinputs", None) or {}).get("approximate", ["none"])
        mode = inputs[1].val if len(inputs) > 1 else named[0] if isinstance(named, list | tuple) else named
        context.add(mb.gelu(x=inputs[0], mode=MODES[str(mode)], name=node.name))

    with conversion("gelu", gelu):
        yield
