"""Patch onnxscript's rewriter: constants that are nearly zero or one count as zero and one.

Symptom: `log(x + 1e-8)` becomes `log(x)` in the ONNX file, so it is -inf where x is 0; `x * 1.000009` becomes `x`.
Cause: the rewrite rules that remove additions of 0 and products with 1 compare constants with a relative tolerance of
1e-5 and an absolute one of 1e-8 (https://github.com/microsoft/onnxscript/issues/2673).
Retired by: an onnxscript whose rules compare constants exactly (the net is in tests/export/test_half_range.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


@contextmanager
def exact_constants() -> Iterator[None]:
    """Let the constant of a pattern match the same number alone."""
    matcher: Any = import_module("onnxscript.rewriter._matcher").SimplePatternMatcher
    original = matcher._match_constant

    def match_constant(self: Any, pattern_constant: Any, value: Any) -> Any:
        tolerances = pattern_constant._rel_tol, pattern_constant._abs_tol
        pattern_constant._rel_tol = pattern_constant._abs_tol = 0.0
        try:
            return original(self, pattern_constant, value)
        finally:
            pattern_constant._rel_tol, pattern_constant._abs_tol = tolerances

    matcher._match_constant = match_constant
    try:
        yield
    finally:
        matcher._match_constant = original
