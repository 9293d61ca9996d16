"""Decompose ATen ops by tables, as `ExportedProgram.run_decompositions` takes them.

A decomposition is a Python function of the op's arguments that computes the same with other ops. A *table* maps ops to
decompositions. A *table factory* makes the table for one program: it returns an empty table where the program does not
need it, so that programs without the op keep their graph as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from export.passes.aten import is_mutable
from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch.export import ExportedProgram

DecompositionTable = dict[Any, Callable[..., Any]]
TableFactory = Callable[["ExportedProgram"], DecompositionTable]

# Returned by a decomposition that leaves the op as it is; `run_decompositions` looks for this very value.
KEEP_OP: Any = NotImplemented


class DecomposeOps:
    """Decompose every op for which one of `factories` has a decomposition, in one run of `run_decompositions`.

    All tables are joined for one run, because the ops inside a decomposition are decomposed by the same table again.
    Where two factories have the same op, the later one wins.
    """

    def __init__(self, name: str, *factories: TableFactory) -> None:
        self.__name__ = name
        self.factories = factories

    def table(self, program: ExportedProgram) -> DecompositionTable:
        """Return the joint table of all factories for `program`."""
        return {op: how for factory in self.factories for op, how in factory(program).items()}

    def __call__(self, program: ExportedProgram) -> PassResult[ExportedProgram]:
        return apply_table(program, self.table(program))


def apply_table(program: ExportedProgram, table: DecompositionTable) -> PassResult[ExportedProgram]:
    """Decompose the ops of `table`. Return the program itself, unmodified, where it has none of these ops.

    In-place ops count as well: they become functional ops, which `table` may have, only when `run_decompositions`
    makes the program functional.
    """
    targets = [node.target for node in program.graph_module.graph.nodes if node.op == "call_function"]
    if not any(target in table or is_mutable(target) for target in targets):
        return PassResult(program, False)
    return PassResult(program.run_decompositions(table), True)


def only(factory: TableFactory, *overloads: str) -> TableFactory:
    """Return a factory of only some of the decompositions of `factory`, named by overload: "hypot.default"."""

    def selected(program: ExportedProgram) -> DecompositionTable:
        names = {f"aten.{overload}" for overload in overloads}
        return {op: how for op, how in factory(program).items() if str(op) in names}

    return selected
