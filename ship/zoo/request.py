"""Read ZOO.toml, the list of nets.

schema = 1
targets = ["ios", "android", "web"]     # the default is all
recipes = ["float32"]                   # the default

[nets.mobilenet]
from = "timm:mobilenetv3_small_050"     # what `init` takes; a list for several archives
input = ["image=1x3x64x64:rgb-photo"]   # as its --input; so are weights, mean, std and split

[nets.mine]
folder = "my-net"                       # a model folder, relative to ZOO.toml
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from hydramobile.errors import StageError, UsageError
from hydramobile.files import canonical_json, sha256_bytes, sha256_file
from hydramobile.model_code import code_files
from hydramobile.recipes import recipe
from hydramobile.spec import NAME, ModelSpec
from hydramobile.targets import resolve
from hydramobile.toml_table import Table, read_toml

# A damaged ZOO.toml is bad usage, as a damaged model.toml is.
STAGE = "spec"
LIBRARIES = ("timm", "torchvision", "transformers")


@dataclass(frozen=True, slots=True)
class Net:
    """One net: `origins` and `options` are words of `init`; or `folder` is a model folder."""

    name: str
    origins: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def source(self) -> str:
        return " ".join(self.origins) if self.origins else str(self.folder)

    def missing(self) -> str:
        """Return which library is not installed, "" where the net needs none that is missing."""
        library, colon, _ = self.origins[0].partition(":") if self.origins else ("", "", "")
        if colon and library in LIBRARIES:
            try:
                metadata.version(library)
            except metadata.PackageNotFoundError:
                return library
        return ""


@dataclass(frozen=True, slots=True)
class Zoo:
    """A parsed ZOO.toml. Paths and factories of its nets are relative to `base`."""

    base: Path
    targets: tuple[str, ...]
    recipes: tuple[str, ...]
    nets: tuple[Net, ...]

    def key(self, net: Net) -> str:
        """Return the hash of everything that the rows of a net depend on, but for this program and the libraries."""
        files = {name: sha256_file(path) for name, path in self.files(net) if path.is_file()}
        words = [net.name, *net.origins, *net.options, str(net.folder), *self.targets, *self.recipes]
        return sha256_bytes(canonical_json([words, files]).encode())

    def files(self, net: Net) -> Iterator[tuple[str, Path]]:
        if net.folder:
            home = self.base / net.folder
            yield from ((str(path.relative_to(home)), path) for path in sorted(home.rglob("*")))
            return
        for origin in (*net.origins, *net.options):
            yield origin, self.base / origin.removeprefix("transformers:")
        if net.origins[0].partition(":")[0] not in LIBRARIES and not net.origins[0].endswith(".pt2"):
            spec = cast(ModelSpec, SimpleNamespace(factory=net.origins[0], folder=self.base, code="."))
            yield from code_files(spec).items()


def read_zoo(path: Path) -> Zoo:
    """Read the list. Raises UsageError where there is none, StageError("spec") and UsageError for errors in it."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}; its form is described in docs/commands.md#a-zoo-of-nets")
    top = read_toml(path, STAGE)
    if top.whole("schema") != 1:
        raise top.error(f"schema {top.data['schema']} is not known (known: 1)")
    targets, recipes = resolve(top.strings("targets", ("all",))), top.strings("recipes", ("float32",))
    for name in recipes:
        recipe(name)  # raises UsageError, which lists the recipes
    nets = tuple(read_net(name, table) for name, table in top.tables("nets"))
    if not nets:
        raise top.error("[nets] is empty")
    top.done()
    return Zoo(path.parent.resolve(), targets, recipes, nets)


def read_net(name: str, table: Table) -> Net:
    if not NAME.fullmatch(name):
        raise table.error(f"{name!r} is no name (letters, digits, - and _)")
    if "folder" in table.data:
        net = Net(name, folder=Path(table.string("folder")))
    else:
        origin: Any = table.value("from")
        options: list[str] = []
        for text in table.strings("input", ()):
            options += ["--input", text]
        for key in ("weights", "mean", "std"):
            if text := table.string(key, ""):
                options += [f"--{key}", text]
        if split := table.strings("split", ()):
            options += ["--split", *split]
        net = Net(name, (origin,) if isinstance(origin, str) else table.strings("from"), tuple(options))
    table.done()
    return net


def check_folders(zoo: Zoo) -> None:
    """Raise StageError("spec") for a folder that is not there: a typing error must not become a row."""
    for net in zoo.nets:
        if net.folder and not (zoo.base / net.folder / "model.toml").is_file():
            raise StageError(STAGE, f"[nets.{net.name}]: {zoo.base / net.folder} holds no model.toml")
