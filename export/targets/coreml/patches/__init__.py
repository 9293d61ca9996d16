"""Patch coremltools 9.0 where it converts wrongly: context managers, one file per fault.

Nothing is patched at import or for good: after a context, coremltools is as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from export.targets.coreml.patches.gelu import gelu_mode
from export.targets.coreml.patches.reciprocal import exact_reciprocal
from export.targets.coreml.patches.reduce_transposes import transposes_around_binary_ops

CONVERTER_PATCHES = (gelu_mode, exact_reciprocal, transposes_around_binary_ops)


@contextmanager
def patched_converter() -> Iterator[None]:
    """Apply CONVERTER_PATCHES to coremltools while the context lasts. coremltools must be imported."""
    with ExitStack() as stack:
        for patch in CONVERTER_PATCHES:
            stack.enter_context(patch())
        yield
