"""Define a graph pass, and run passes in order.

A pass is a callable that takes a program and returns a `PassResult`. The program is one of the representations that an
export goes through:

    EagerModel       the PyTorch modules with a function that runs them   (export/passes/eager.py)
    ExportedProgram  the ATen graph of torch.export, with its signature
    fx.GraphModule   the same graph as a module, for the LiteRT converter
    onnx.ModelProto  the ONNX graph that the TF.js graph is written from
    ModelT           the parsed FlatBuffer of a .tflite file

A pass may mutate the program that it is given and return it, or return another one: callers use the returned program
alone. A pass is named after what it does to an op: `decompose_…`, `replace_…`, `fold_…`, `fuse_…`, `remove_…`, and for
the few that add or move nodes `insert_…`, `keep_…`, `sink_…`, `tile_…`. A pipeline is a tuple of passes in one
`pipeline.py` per target; the stages that targets share are in export/passes/pipelines.py.

The design follows ExecuTorch's Arm passes and onnx-ir's pass infrastructure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from hydramobile.errors import StageError

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class PassResult(Generic[P]):
    """Hold the program after a pass. `modified` is False where the pass did not apply."""

    program: P
    modified: bool


class Pass(Protocol[P]):
    """Rewrite a program. `__name__` is the name in error messages; a function brings its own."""

    @property
    def __name__(self) -> str: ...

    def __call__(self, program: P, /) -> PassResult[P]: ...


class PassError(StageError):
    """Report a pass that failed: `failed` is its name, `succeeded` the name of the last pass that ran before it."""

    def __init__(self, failed: str, succeeded: str, error: Exception) -> None:
        reason = error.message if isinstance(error, StageError) else f"{type(error).__name__}: {first_line(error)}"
        after = f"after {succeeded!r} had succeeded" if succeeded else "the first of its pipeline"
        stage = error.stage if isinstance(error, StageError) else "convert"
        super().__init__(stage, f"pass {failed!r} ({after}): {reason}")
        self.failed = failed
        self.succeeded = succeeded


def run_passes(program: P, passes: Sequence[Pass[P]]) -> PassResult[P]:
    """Run `passes` in order. The result is modified where any pass modified the program.

    Raises PassError, which names the pass that failed and the last one that succeeded.
    """
    modified, succeeded = False, ""
    for each in passes:
        try:
            result = each(program)
        except Exception as error:  # vendors raise any type
            raise PassError(each.__name__, succeeded, error) from error
        program, modified, succeeded = result.program, modified or result.modified, each.__name__
    return PassResult(program, modified)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, at most 300 characters."""
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else ""
