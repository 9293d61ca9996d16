"""Hash the code that a measurement depends on: every module that it reaches by imports; vendors' packages by version.

Measurements take minutes. An edit of a page's template must keep them, and an edit of the rounding that they measured
must discard them. Imports are read from the source, not executed. Imports inside functions count; imports
for type checkers alone do not.
"""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from hydramobile.errors import StageError
from hydramobile.files import sha256_bytes

ROOT = Path(__file__).resolve().parent.parent.parent


def reach(modules: Iterable[str], folders: Sequence[Path] = (ROOT,)) -> dict[str, str]:
    """Return module -> hash of its code and package -> version, for all that `modules` (dotted names) reach by imports.

    Modules are looked for in `folders`, in their order. Comments, docstrings and layout do not count as code. Raises
    StageError("search") for one of `modules` that is in no folder and in no installed package.
    """
    waiting, hashes, versions = list(dict.fromkeys(modules)), dict[str, str](), dict[str, str]()
    for name in waiting:
        if find_module(name, folders) is None and not version_of(name):
            raise StageError("search", f"the code of {name} was not found (looked in {', '.join(map(str, folders))})")
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if name in hashes or top in versions or top in sys.stdlib_module_names:
            continue
        path = find_module(name, folders)
        if path is None:
            # A vendor's package: its version stands for its code.
            versions[top] = version_of(name) or "not installed"
            continue
        hashes[name], imported = read_module(path, path.stat().st_mtime_ns, name)
        waiting += [target for options in imported if (target := first_module(options, folders))]
    return dict(sorted((hashes | versions).items()))


def find_module(name: str, folders: Sequence[Path]) -> Path | None:
    """Return the file of a module; of a package, its __init__.py."""
    for folder in folders:
        base = folder.joinpath(*name.split("."))
        for path in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


def first_module(options: Sequence[str], folders: Sequence[Path]) -> str | None:
    """Return, for `from a.b import c`, a.b.c where that is a module, else a.b.

    A package's __init__ counts where it is imported itself, not on the way to one of its modules: the result of a
    function depends on the modules that are named.
    """
    return next((name for name in options if find_module(name, folders)), options[-1] if options else None)


@cache
def read_module(path: Path, changed: int, name: str) -> tuple[str, tuple[tuple[str, ...], ...]]:
    """Return the hash of a module's code, and the names that each of its imports may mean.

    `changed` is the file's time of change, so that the cache forgets an edited file.
    """
    tree = ast.parse(path.read_bytes(), str(path))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imported = tuple(imports(tree, package))
    return sha256_bytes(ast.dump(DocstringRemover().visit(tree)).encode()), imported


class DocstringRemover(ast.NodeTransformer):
    """Remove docstrings and other strings that stand alone."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else node


def imports(tree: ast.AST, package: str) -> Iterator[tuple[str, ...]]:
    """Yield the names that each import may mean, the most exact first."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for other in node.orelse:
                yield from imports(other, package)
        elif isinstance(node, ast.Import):
            yield from ((alias.name,) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            base = ".".join(filter(None, (parent if node.level else "", node.module)))
            yield from ((f"{base}.{alias.name}", base) for alias in node.names)
        else:
            yield from imports(node, package)


def version_of(name: str) -> str:
    """Return the names and versions of the installed packages that have a module, "" where none has."""
    owners: Mapping[str, list[str]] = distributions()
    return ", ".join(
        f"{owner} {importlib.metadata.version(owner)}" for owner in sorted(set(owners.get(name.partition(".")[0], ())))
    )


@cache
def distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()
