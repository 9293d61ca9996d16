"""Validate a MIL program once per pipeline of passes, not after each of its 92 passes.

Symptom: a third of the time of a conversion goes into `Program.validate`.
Cause: coremltools 9.0 compares every variable with all of its readers after each pass, a debugging aid for its authors.
Retired by: a coremltools that validates on request (tests/export/test_coreml_passes.py shows the same bytes).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


@contextmanager
def validate_once() -> Iterator[None]:
    """Have coremltools validate a program before and after each pipeline while the context lasts."""
    program = import_module("coremltools.converters.mil.mil.program").Program
    manager = import_module("coremltools.converters.mil.mil.passes.pass_pipeline").PassPipelineManager
    apply, validate = vars(manager)["apply_pipeline"], program.validate

    def apply_pipeline(prog: Any, pipeline: Any) -> None:
        prog.validate()
        program.validate = lambda *_, **__: None
        try:
            apply.__func__(prog, pipeline)
        finally:
            program.validate = validate
        prog.validate(check_essential_scope=True)

    manager.apply_pipeline = staticmethod(apply_pipeline)
    try:
        yield
    finally:
        manager.apply_pipeline = apply
