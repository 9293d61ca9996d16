"""Patch the conversion of `aten.gelu` with the tanh approximation.

Symptom: `F.gelu(x, approximate="tanh")` silently converts to the exact GELU, wrong by up to 2e-4.
Cause: coremltools 9.0 reads `approximate` only where it is a positional argument. torch.export passes it by keyword.
Retired by: a coremltools with https://github.com/apple/coremltools/pull/2863 (tests/export/test_coreml_passes.py).
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
    get_inputs = import_module("coremltools.converters.mil.frontend.torch.ops")._get_inputs

    def gelu(context: Any, node: Any) -> None:
        inputs = get_inputs(context, node)
        # A traced graph passes every argument by position: its nodes have no keyword inputs.
        (keyword,) = (node.kwinputs or {}).get("approximate", ["none"])
        mode = inputs[1].val if len(inputs) > 1 else keyword
        context.add(mb.gelu(x=inputs[0], mode=MODES[str(mode)], name=node.name))

    with conversion("gelu", gelu):
        yield
