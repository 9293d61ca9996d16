"""Rename parameters whose names hold a keyword of Python, such as "head.class.weight" and "blocks.in.weight".

Before: parameter "head.class.weight"     After: parameter "head.class_.weight"

Symptom: "invalid syntax (<eval_with_key>.7, line 6)".
Cause: torch.fx writes a graph as Python code, with `self.head.class.weight` in it. It quotes names that are no
identifiers, and takes a keyword for an identifier.
Retired by: a torch.fx that quotes keywords (tests/export/test_names.py).
"""

from __future__ import annotations

import keyword
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def rename_keywords(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Append "_" to each part of a parameter's, buffer's or constant's name that is a keyword."""
    names = {spec.target for spec in program.graph_signature.input_specs if spec.target}
    renamed = rename(names)
    if not renamed:
        return PassResult(program, False)
    for spec in (*program.graph_signature.input_specs, *program.graph_signature.output_specs):
        if spec.target in renamed:
            spec.target = renamed[spec.target]
    for table in (program.state_dict, program.constants):
        replace_keys(table, lambda name: renamed.get(name, name))
    return PassResult(program, True)


def rename(names: set[str]) -> dict[str, str]:
    """Return the new name of each name with a keyword in it. No two names become one."""
    renamed: dict[str, str] = {}
    for name in sorted(names):
        changed = ".".join(f"{part}_" if keyword.iskeyword(part) else part for part in name.split("."))
        if changed == name:
            continue
        while changed in names or changed in renamed.values():
            changed += "_"
        renamed[name] = changed
    return renamed


def replace_keys(table: dict[str, Any], rename_key: Callable[[str], str]) -> None:
    """Rename the keys of a dict in place, in their order."""
    items = [(rename_key(key), value) for key, value in table.items()]
    table.clear()
    table.update(items)
