"""Export a module to an ATen graph, and refuse code that no file can hold by its line.

A file has no Python: a branch, a loop or a shape that depends on the value of a tensor would be fixed to the branch of
the example. `torch.export` refuses it, because it traces with tensors that have no values. The error is turned into one
that names the line of the user's code and the way out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from export.passes.base import PassResult, first_line
from export.passes.user_code import error_line
from hydramobile.errors import StageError

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

STAGE = "capture"
ADVICE = (
    "a file has no branches on data: compute both sides and select by torch.where(condition, a, b) or torch.cond, and "
    "keep numbers read from tensors as tensors (no .item(), float(), int(), bool(), tolist() or numpy())"
)
# Errors of torch.export that mean a value of a tensor was asked for.
DATA_DEPENDENT = (
    "GuardOnDataDependentSymNode",
    "UserError",
    "DataDependentOutputException",
    "DynamicOutputShapeException",
    "PendingUnbackedSymbolNotFound",
)


def export_graph(
    module: torch.nn.Module, example: tuple[torch.Tensor, ...], **options: Any
) -> PassResult[ExportedProgram]:
    """Return `torch.export.export` of `module`, with `.item()` taken as the tensor itself; modified where it is called.

    Raises StageError("capture"), which names the line of the module's code that cannot be exported.
    """
    import torch

    try:
        with torch.no_grad(), items_as_tensors() as items:
            program = torch.export.export(module, example, strict=False, **options)
    except StageError:
        raise
    except Exception as error:  # the net is foreign code, and torch.export raises many types
        raise refusal(error) from error
    return PassResult(program, bool(items))


def refusal(error: Exception) -> StageError:
    """Return the refusal of a module that torch.export did not take."""
    where = error_line(error.__traceback__) or "the module"
    kind = type(error).__name__
    if kind in DATA_DEPENDENT or "data-dependent" in str(error) or "fake tensor" in str(error).lower():
        return StageError(STAGE, f"{where}, depends on the values of a tensor; {ADVICE}")
    return StageError(STAGE, f"torch.export failed at {where}: {kind}: {first_line(error)}")


@contextmanager
def items_as_tensors() -> Iterator[list[str]]:
    """Have `Tensor.item` return the tensor as a scalar tensor while the context lasts. Yield the list of its calls.

    `x / (peak.item() + 1e-6)` computes the same with a scalar tensor: it takes part in type promotion as a number does.
    A number that Python itself needs, such as the bound of a loop, is refused by torch.export as before.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    calls: list[str] = []

    class Items(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.Tensor.item:
                calls.append("item")
                # Not reshape(()): coremltools refuses it.
                return functools.reduce(lambda value, _: value[0], range(args[0].ndim), args[0])
            return func(*args, **(kwargs or {}))

    with Items():
        yield calls
