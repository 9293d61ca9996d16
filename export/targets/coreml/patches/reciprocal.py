"""Patch the conversion of `aten.reciprocal`.

Symptom: `1 / x` silently converts to 1 / (x + 1e-4): 4e-4 off at x = 0.5, and worse for smaller x.
Cause: coremltools 9.0 converts `aten.reciprocal` to MIL's `inverse`, whose epsilon is 1e-4 by default.
Retired by: the first release after 9.0 with https://github.com/apple/coremltools/pull/2773, which is merged
(tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from export.targets.coreml.patches.registry import conversion


@contextmanager
def exact_reciprocal() -> Iterator[None]:
    """Convert `aten.reciprocal` to a division while the context lasts."""
    mb = import_module("coremltools.converters.mil").Builder
    get_inputs = import_module("coremltools.converters.mil.frontend.torch.ops")._get_inputs

    def reciprocal(context: Any, node: Any) -> None:
        (x,) = get_inputs(context, node, expected=1)
        context.add(mb.real_div(x=1.0, y=x, name=node.name))

    with conversion("reciprocal", reciprocal):
        yield
