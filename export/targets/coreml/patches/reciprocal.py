"""Converter fix: reciprocals.

Symptom: `1 / x` comes out as 1 / (x + 1e-4): 4e-4 off at x = 0.5, worse the smaller x, without a word.
Cause: coremltools 9.0 converts `aten.reciprocal` to MIL's `inverse` and leaves its epsilon at the default of 1e-4.
Retired by: a coremltools that passes a smaller epsilon or divides (tests/export/test_coreml.py keeps the net).
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
    inputs_of = import_module("coremltools.converters.mil.frontend.torch.ops")._get_inputs

    def reciprocal(context: Any, node: Any) -> None:
        (x,) = inputs_of(context, node, expected=1)
        context.add(mb.real_div(x=1.0, y=x, name=node.name))

    with conversion("reciprocal", reciprocal):
        yield
