"""Import a model's own Python code: its folder comes first, and every model of a process has modules of its own.

Many projects have packages called `models`, `utils` or `core`, and one process may load several such projects. A
project's code is imported as if its folder stood first in `sys.path`. `sys.path` itself stays as it is, so that nothing
else in the process finds the project's modules. Import statements that the project's code runs later, for instance
inside `forward`, are resolved in the same way.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import machinery
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from hydramobile.errors import StageError, UsageError, unknown
from hydramobile.spec import ModelSpec

REPOSITORY = Path(__file__).resolve().parent.parent
# The top-level names of this repository. They mean our packages, whatever a model's folder holds.
OURS = ("benchmarks", "demo", "export", "hydramobile", "reference", "ship", "tests")
LOCK = threading.RLock()
# The imports of every model that this process has loaded.
EVERY: list[ModelImports] = []


def import_factory(spec: ModelSpec) -> Any:
    """Import the factory that model.toml names and return the function.

    Raises StageError("factory") where its top package has one of our names, or where another module of the same name
    was imported before. An exception of the imported code passes through.
    """
    dotted, _, function = spec.factory.partition(":")
    root, top = import_root(spec), top_of(dotted)
    if root is not None and top in OURS:
        raise StageError(
            "factory",
            f"{spec.factory} is in {root / top}, and {top!r} is the name of a package of this repository; rename "
            f"yours, or put the factory into a package of another name (taken: {', '.join(OURS)})",
        )
    imports = imports_of(root, top)
    with imports.active():
        module = importlib.import_module(dotted)
    if root is not None and imports.modules.get(dotted) is not module:
        other = getattr(module, "__file__", None)
        raise StageError("factory", f"{root / top} is hidden by {other}, a module of the same name; rename yours")
    return getattr(module, function)


def import_folders(spec: ModelSpec) -> tuple[Path, ...]:
    """Return the folders in which a factory is looked for, the first one first.

    A `code` of model.toml is the only one. Without it these are the model's folder (for `models.net:build` beside
    model.toml) and the one above it (for `portrait.net:build` in the folder `portrait`). The one above comes first
    where the factory is in a package of the folder's own name.
    """
    folder = spec.folder.resolve()
    if spec.code:
        return ((folder / spec.code).resolve(),)
    return (folder.parent, folder) if factory_package(spec) == folder.name else (folder, folder.parent)


def import_root(spec: ModelSpec) -> Path | None:
    """Return the folder from which the factory is imported, or None for a factory of ours or of an installed package.

    Nothing is imported.
    """
    dotted = spec.factory.partition(":")[0]
    for folder in import_folders(spec):
        origin = find_module(dotted, folder)
        if origin is not None and not is_ours(origin):
            return folder
    return None


def check_factory(spec: ModelSpec) -> None:
    """Raise UsageError where the factory's module or function does not exist, with the nearest name.

    Nothing is imported: the module's source is parsed. A name that code makes passes where the source holds it.
    """
    dotted, _, name = spec.factory.partition(":")
    if not dotted:
        return
    origin = next(filter(None, (find_module(dotted, folder) for folder in import_folders(spec))), None)
    if origin is None:
        if not installed(dotted):
            looked = ", ".join(map(str, import_folders(spec)))
            raise UsageError(
                f"factory {spec.factory!r}: there is no module {dotted} in {looked}, nor among the installed packages"
            )
        return
    if origin.suffix != ".py":
        return
    text = origin.read_text(encoding="utf-8", errors="replace")
    try:
        body = ast.parse(text).body
    except SyntaxError as error:
        raise UsageError(f"factory {spec.factory!r}: {origin}, line {error.lineno}: {error.msg}") from error
    if not re.search(rf"\b{name}\b|__getattr__|import \*", text):
        defined = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        raise unknown(f"function or class in {origin}:", name, defined)


def installed(dotted: str) -> bool:
    """Return whether the top package of a module is installed. A folder without __init__.py must hold the module."""
    # Not importlib.util.find_spec: it takes the package of another model that this process has imported.
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
    found = next(filter(None, (finder.find_spec(top_of(dotted), None) for finder in finders)), None)
    if found is None or found.origin is not None:
        return found is not None
    folders = [Path(location).parent for location in found.submodule_search_locations or ()]
    return any(find_module(dotted, folder) for folder in folders)


def find_module(dotted: str, folder: Path) -> Path | None:
    """Return the file of a module in the packages of a folder, without importing it."""
    path: Sequence[str] | None = [str(folder)]
    name, origin = "", None
    for part in dotted.split("."):
        name = f"{name}.{part}" if name else part
        found = PathFinder.find_spec(name, path) if path else None
        if found is None:
            return None
        path, origin = found.submodule_search_locations, found.origin
    return Path(origin) if origin else None


def is_ours(path: Path) -> bool:
    return any(path.is_relative_to(REPOSITORY / name) for name in OURS if name != "tests")


def factory_package(spec: ModelSpec) -> str:
    """Return the top package, or the module, of the factory."""
    return top_of(spec.factory.partition(":")[0])


def top_of(dotted: str) -> str:
    return dotted.partition(".")[0]


def code_files(spec: ModelSpec) -> dict[str, Path]:
    """Return the Python files that the factory's code is in, by names that do not change when the folder moves.

    They are the files of the factory's top package or, where the factory is a single module, the files beside it.
    Nothing is imported. A model whose modules are archives has none.
    """
    if not spec.factory:
        return {}
    top, root = factory_package(spec), import_root(spec)
    found = importlib.util.find_spec(top) if root is None else PathFinder.find_spec(top, [str(root)])
    if found is None:
        return {}
    if found.submodule_search_locations:
        folders = [Path(location) for location in found.submodule_search_locations]
        return {f"{f.name}/{path.relative_to(f).as_posix()}": path for f in folders for path in f.rglob("*.py")}
    return {path.name: path for path in Path(found.origin or "").parent.glob("*.py")} if found.has_location else {}


def explain_import_error(spec: ModelSpec, error: ImportError) -> str:
    """Return what to do about an import that failed in a model's code, or "" where its message says enough."""
    top = top_of(error.name or "")
    if top in OURS:
        return f" ({top!r} is a package of this repository; rename yours)"
    if top == factory_package(spec):
        return f" (looked in {', '.join(map(str, import_folders(spec)))}, and among the installed packages)"
    return ""


@cache
def imports_of(root: Path | None, top: str) -> ModelImports:
    """Return the imports of the code in `root` (None: of an installed factory), the same object for equal arguments."""
    imports = ModelImports(root, top)
    EVERY.append(imports)
    return imports


class ModelImports(MetaPathFinder):
    """The modules of one model's code.

    While it is active, it is the first finder, and the modules of other models are not in `sys.modules`. Afterwards
    `sys.modules` holds the modules of all models, for `inspect` and `pickle`. Where two models have a module of the
    same name, it holds the module of the model that was active last.
    """

    def __init__(self, root: Path | None, top: str) -> None:
        """Prepare the imports. Package `top` in `root` is the model's even where an installed one has the same name."""
        self.path = [str(root)] if root else []
        self.top = top
        self.tops: set[str] = set()
        self.modules: dict[str, ModuleType] = {}
        self.depth = 0
        self.path_before: list[str] = []
        # An import statement calls `__import__` of its module's builtins: the later ones of a model come here, too.
        self.builtins: Mapping[str, Any] = {**vars(builtins), "__import__": self.import_name}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let imports find the model's modules first. May be nested."""
        with LOCK:
            if self.depth == 0:
                hidden = self.enter()
            self.depth += 1
            try:
                yield
            finally:
                if self.depth == 1:
                    self.leave(hidden)
                self.depth -= 1

    def enter(self) -> dict[str, ModuleType]:
        """Replace the modules of other models in `sys.modules` by this model's, and return the replaced modules."""
        hidden: dict[str, ModuleType] = {}
        for other in EVERY:
            if other is not self:
                hidden |= other.present()
                other.modules.update(other.present())
        for name in hidden:
            del sys.modules[name]
        sys.modules.update(self.modules)
        self.path_before = list(sys.path)
        sys.meta_path.insert(0, self)
        return hidden

    def leave(self, hidden: Mapping[str, ModuleType]) -> None:
        """Put the `hidden` modules of `enter` back, but not over a module of a package that this model has."""
        sys.meta_path.remove(self)
        # Folders that the code has put into sys.path are the model's, and so are modules that are found in them later.
        self.path = self.folders()
        sys.path[:] = [entry for entry in sys.path if entry in self.path_before or entry not in self.path]
        self.modules = {name: module for name, module in sys.modules.items() if top_of(name) in self.tops}
        sys.modules.update({name: module for name, module in hidden.items() if top_of(name) not in self.tops})

    def present(self) -> dict[str, ModuleType]:
        """Return the modules in `sys.modules` that are this model's, and not another's of the same name."""
        tops = {top for top in self.tops if sys.modules.get(top) is self.modules.get(top)}
        return {name: module for name, module in sys.modules.items() if top_of(name) in tops}

    def folders(self) -> list[str]:
        """Return the folders of the model's code, and the folders that it has put into `sys.path` while active."""
        if self.depth == 0:
            return self.path
        known = {*self.path, *self.path_before}
        added = [entry for entry in sys.path if entry not in known and not Path(entry).is_relative_to(sys.prefix)]
        return [*self.path, *added]

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> machinery.ModuleSpec | None:
        """Find a module of the model; None for any other."""
        top, _, rest = name.partition(".")
        if rest and top not in self.tops:
            return None
        found = PathFinder.find_spec(name, path) if rest else self.find_top(name)
        if found is not None:
            self.tops.add(top)
            if isinstance(found.loader, SourceFileLoader) and found.origin:
                found.loader = ModelLoader(name, found.origin, self.builtins)
        return found

    def find_top(self, name: str) -> machinery.ModuleSpec | None:
        """Find a top-level module in the model's folders.

        As in sys.path, a folder without __init__.py gives way to an installed package. The factory's own package does
        not give way.
        """
        found = None if name in OURS else PathFinder.find_spec(name, self.folders())
        if found is None or found.origin is not None:
            return found
        installed = PathFinder.find_spec(name, sys.path)
        if name != self.top and installed is not None and installed.origin is not None:
            return None
        # A plain list: Python's own would be looked up anew in sys.path when that changes.
        found.submodule_search_locations = list(found.submodule_search_locations or ())
        return found

    def import_name(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 - the signature of builtins.__import__
        locals: Mapping[str, object] | None = None,  # noqa: A002 - the same
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        """Run an import statement of the model's code."""
        with self.active():
            return builtins.__import__(name, globals, locals, fromlist, level)


class ModelLoader(SourceFileLoader):
    """Runs a module with builtins whose `__import__` knows the model."""

    def __init__(self, name: str, path: str, namespace: Mapping[str, Any]) -> None:
        super().__init__(name, path)
        self.namespace = namespace

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self.namespace
        super().exec_module(module)
