"""Read model.toml, the description of a model from which every other package works.

A model is one or more modules that pass named tensors to each other. An *entry* is a function that an app can call:
every module is one, and `[entries.*]` fuses several modules into one. Shapes are fixed at export.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from hydramobile.model_folder import checkpoint_fault, find_folder
from hydramobile.submodules import argument_fault
from hydramobile.targets import KNOWN
from hydramobile.toml_table import Table, content_hash, is_number, read_toml

STAGE = "spec"
# Of one tensor. A photo of 4096x4096 has 50 million.
MOST_ELEMENTS = 2**26
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
# Tensor names become identifiers in Core ML, TFLite and GraphDef files. This is the intersection of their rules.
TENSOR_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
LAYOUTS = ("NCHW", "any")
DTYPES = ("float32", "int32", "int64", "bool", "uint8", "int8", "int16", "float16", "float64")
KINDS = ("rgb-photo", "tensor")
JUDGES = ("relative-depth", "alpha-matte", "surface-normals", "class-scores")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A named tensor.

    `shape` may hold "H" and "W". With `layout` NCHW a target may store the tensor as NHWC; "any" keeps the axes. `kind`
    "rgb-photo" is a tensor [1, 3, H, W] that hydramobile/preprocess.py makes from a photo, scaled to `range`.
    `mean` and `std` hold one number per channel (axis 1): the files compute (x - mean) / std before the net.
    """

    name: str
    shape: tuple[int | str, ...]
    layout: str
    dtype: str
    range: tuple[float, float] | None
    kind: str
    judge: str | None
    description: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def at(self, size: tuple[int, int]) -> tuple[int, ...]:
        """Return the shape for `size` = (H, W)."""
        sides = {"H": size[0], "W": size[1]}
        return tuple(sides[dim] if isinstance(dim, str) else dim for dim in self.shape)


@dataclass(frozen=True, slots=True)
class ModuleSpec:
    """One PyTorch module, with the names of the tensors that it reads and returns.

    `program` is the module's torch.export archive (.pt2) in the model's folder, "" for a module that the factory makes.
    `submodule` and `arguments`: hydramobile/submodules.py.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    description: str
    program: str = ""
    program_sha256: str = ""
    submodule: str = ""
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class EntrySpec:
    """A function that an app can call: `modules` in the order they run, with the tensors that it takes and returns."""

    name: str
    modules: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    description: str

    @property
    def fused(self) -> bool:
        return len(self.modules) > 1


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A parsed model.toml in `folder`. `sha256` covers its parsed content, not its comments.

    `factory` is "" where every module has a `program`. `options` holds the tables [options.<target>], which each target
    checks itself. `samples_of` names a model in the folder beside this one whose samples are used, or is "" where the
    model has its own. `code` is the folder, relative to `folder`, from which the factory is imported; "" stands for the
    model's own folder and the one above it.
    """

    folder: Path
    name: str
    version: str
    license: str
    authors: tuple[str, ...]
    description: str
    factory: str
    weights_path: str
    weights_sha256: str
    sizes: tuple[tuple[int, int], ...]
    tensors: Mapping[str, TensorSpec]
    modules: Mapping[str, ModuleSpec]
    entries: Mapping[str, EntrySpec]
    options: Mapping[str, Mapping[str, Any]]
    sha256: str
    samples_of: str = ""
    code: str = ""

    @property
    def samples_folder(self) -> Path:
        """Return the folder of the samples with which this model is judged and calibrated. It need not exist."""
        return (self.folder.resolve().parent / self.samples_of if self.samples_of else self.folder) / "samples"

    @property
    def size(self) -> tuple[int, int]:
        """Return the default input size, (H, W)."""
        return self.sizes[0]

    def inputs(self) -> tuple[str, ...]:
        """Return the inputs of the whole model: the tensors that no module returns."""
        returned = {name for module in self.modules.values() for name in module.outputs}
        inputs = [name for module in self.modules.values() for name in module.inputs if name not in returned]
        return tuple(dict.fromkeys(inputs))

    def edges(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Return the tensors between modules as name -> (producer, consumers)."""
        result: dict[str, tuple[str, tuple[str, ...]]] = {}
        for module in self.modules.values():
            for name in module.outputs:
                readers = tuple(other.name for other in self.modules.values() if name in other.inputs)
                if readers:
                    result[name] = (module.name, readers)
        return result

    def judged(self) -> tuple[TensorSpec, ...]:
        """Return the tensors that have a judge."""
        return tuple(tensor for tensor in self.tensors.values() if tensor.judge)


def load_spec(folder: Path) -> ModelSpec:
    """Read and check `folder`/model.toml. Raises UsageError where there is none, and StageError("spec") for errors.

    `folder` may be any path that `find_folder` takes.
    """
    folder = find_folder(folder)
    top = read_toml(folder / "model.toml", STAGE)
    if top.whole("schema") != 1:
        raise top.error(f"schema {top.data['schema']} is not known (known: 1)")
    tensors = {name: read_tensor(name, table) for name, table in top.tables("tensors", {})}
    modules = order_modules(top, [read_module(name, table) for name, table in top.tables("modules")])
    tensors = complete_tensors(top, tensors, modules)
    check_photos(top, tensors)
    sizes = read_sizes(top)
    check_elements(top, tensors.values(), sizes)
    weights = top.table("weights")
    if fault := checkpoint_fault(weights.string("path")):
        raise weights.error(fault)
    spec = ModelSpec(
        folder=folder,
        name=named(top, top.string("name"), NAME),
        version=top.string("version"),
        license=top.string("license", "unknown"),
        authors=top.strings("authors", ()),
        description=top.string("description", ""),
        factory=read_factory(top, modules),
        weights_path=weights.string("path"),
        weights_sha256=named(weights, weights.string("sha256"), re.compile(r"[0-9a-f]{64}")),
        sizes=sizes,
        tensors=tensors,
        modules=modules,
        entries=read_entries(top, modules),
        options=read_options(top),
        sha256=content_hash(top),
        samples_of=named(top, lender, NAME) if (lender := top.string("samples_of", "")) else "",
        code=top.string("code", ""),
    )
    weights.done()
    top.done()
    return spec


def named(table: Table, text: str, pattern: re.Pattern[str]) -> str:
    """Return `text` if it matches `pattern`. Raises StageError("spec") otherwise."""
    if not pattern.fullmatch(text):
        raise table.error(f"{text!r} does not match {pattern.pattern}")
    return text


def check_photos(top: Table, tensors: Mapping[str, TensorSpec]) -> None:
    """Raise StageError("spec") for photos of different ranges: an artifact describes one preprocessing."""
    ranges = {tensor.range or (0.0, 1.0) for tensor in tensors.values() if tensor.kind == "rgb-photo"}
    if len(ranges) > 1:
        raise top.error(f"photos of one model have one range, found {sorted(ranges)}")


def check_elements(top: Table, tensors: Iterable[TensorSpec], sizes: Iterable[tuple[int, int]]) -> None:
    """Raise StageError("spec") for a tensor of more than MOST_ELEMENTS, before anything computes with it."""
    for size in sizes:
        for tensor in tensors:
            count = prod(tensor.at(size))
            if count > MOST_ELEMENTS:
                at = f" at size {size[0]}x{size[1]}" if {"H", "W"} & set(tensor.shape) else ""
                raise top.error(
                    f"tensor {tensor.name!r} has {count:,} elements{at}; the most is {MOST_ELEMENTS:,} (256 MiB of "
                    "float32), since no phone or page holds a larger one"
                )


def read_factory(top: Table, modules: Mapping[str, ModuleSpec]) -> str:
    """Return the factory, or "" where every module has a program. Raises StageError("spec") for both and neither."""
    made = [module.name for module in modules.values() if not module.program]
    if made and "factory" not in top.data:
        raise top.error(f"has no 'factory', and module {made[0]!r} has no 'program' (a .pt2 file) either")
    cut = [module.submodule for module in modules.values() if module.submodule]
    if cut and len(cut) != len(modules):
        raise top.error(f"'submodule' is said for some modules only ({', '.join(cut)}); say it for each, or for none")
    if not made and "factory" in top.data:
        raise top.error("every module has a 'program': 'factory' would not be called; remove one of them")
    if made and not FACTORY.fullmatch(top.string("factory")):
        raise top.error(f"'factory' is {top.string('factory')!r}; write PACKAGE.MODULE:NAME, for instance net:build")
    return top.string("factory") if made else ""


def read_options(top: Table) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = {}
    for name, table in top.tables("options", {}):
        if name not in KNOWN:
            raise table.error(f"no target {name!r} (available: {', '.join(KNOWN)})")
        options[name] = dict(table.data)
    return options


def read_sizes(top: Table) -> tuple[tuple[int, int], ...]:
    sizes: list[tuple[int, int]] = []
    # A model whose tensors have neither H nor W has no size.
    for item in top.items("sizes", [[1, 1]]):
        good = (
            isinstance(item, list) and len(item) == 2 and all(type(side) is int and 0 < side <= 8192 for side in item)
        )
        if not good:
            raise top.error(f"'sizes' must list [height, width] pairs from 1 to 8192, found {item!r}")
        sizes.append((item[0], item[1]))
    if not sizes:
        raise top.error("'sizes' is empty; the first one is the default input size")
    return tuple(sizes)


def read_tensor(name: str, table: Table) -> TensorSpec:
    named(table, name, TENSOR_NAME)
    shape = tuple(table.items("shape"))
    if not all(dim in ("H", "W") or (type(dim) is int and dim > 0) for dim in shape):
        raise table.error(f'\'shape\' must list positive whole numbers, "H" or "W", found {list(shape)}')
    tensor = TensorSpec(
        name=name,
        shape=shape,
        layout=table.one_of("layout", LAYOUTS, "NCHW" if len(shape) == 4 else "any"),
        dtype=table.one_of("dtype", DTYPES, "float32"),
        range=table.limits("range", None),
        kind=table.one_of("kind", KINDS, "tensor"),
        judge=table.one_of("judge", JUDGES) if "judge" in table.data else None,
        description=table.string("description", ""),
        mean=read_channels(table, "mean"),
        std=read_channels(table, "std"),
    )
    if tensor.layout == "NCHW" and len(shape) != 4:
        raise table.error(f"layout NCHW needs four dimensions, 'shape' has {len(shape)}")
    if tensor.kind == "rgb-photo" and (len(shape) != 4 or shape[:2] != (1, 3)):
        raise table.error(f"kind rgb-photo needs shape [1, 3, H, W], found {list(shape)}")
    if len(tensor.mean) != len(tensor.std) or 0.0 in tensor.std:
        raise table.error("'mean' and 'std' need one number per channel each, and no 'std' of 0")
    if tensor.mean and (len(shape) < 2 or shape[1] not in (len(tensor.mean), "H", "W")):
        raise table.error(
            f"'mean' and 'std' are per channel (axis 1), shape {list(shape)} has no axis of {len(tensor.mean)}"
        )
    if tensor.kind == "rgb-photo" and tensor.dtype != "float32":
        raise table.error(f"kind rgb-photo is float32 in [0, 1]; leave 'kind' out for a frame of {tensor.dtype}")
    table.done()
    return tensor


def read_channels(table: Table, key: str) -> tuple[float, ...]:
    """Return a list of numbers, () where it is missing."""
    values = table.items(key, [])
    if not all(map(is_number, values)):
        raise table.error(f"{key!r} must list finite numbers, found {values}")
    return tuple(map(float, values))


def read_module(name: str, table: Table) -> ModuleSpec:
    module = ModuleSpec(
        name=named(table, name, NAME),
        inputs=table.strings("inputs"),
        outputs=table.strings("outputs"),
        description=table.string("description", ""),
        program=table.string("program", ""),
        program_sha256=table.string("program_sha256") if "program" in table.data else "",
        submodule=table.string("submodule", ""),
        arguments=tuple(table.items("arguments", [])),
    )
    if fault := argument_fault(module.arguments, module.inputs):
        raise table.error(fault)
    for side, names in (("inputs", module.inputs), ("outputs", module.outputs)):
        if not names:
            raise table.error(f"{side!r} is empty")
        if len(set(names)) != len(names):
            raise table.error(f"{side!r} names a tensor twice: {list(names)}")
        for tensor in names:
            named(table, tensor, TENSOR_NAME)
    table.done()
    return module


def order_modules(top: Table, modules: Sequence[ModuleSpec]) -> dict[str, ModuleSpec]:
    """Return the modules in an order in which each module runs after the modules whose outputs it reads.

    Raises StageError("spec") for a cycle, and for a tensor that two modules return.
    """
    if not modules:
        raise top.error("[modules] is empty")
    maker: dict[str, str] = {}
    for module in modules:
        for tensor in module.outputs:
            if tensor in maker:
                raise top.error(f"tensor {tensor!r} is returned by both {maker[tensor]!r} and {module.name!r}")
            maker[tensor] = module.name
    ordered: dict[str, ModuleSpec] = {}
    waiting = list(modules)
    while waiting:
        ready = [m for m in waiting if all(maker.get(t, m.name) in ordered or t not in maker for t in m.inputs)]
        if not ready:
            cycle = ", ".join(module.name for module in waiting)
            raise top.error(f"the module graph has a cycle among: {cycle}")
        ordered[ready[0].name] = ready[0]
        waiting.remove(ready[0])
    return ordered


def complete_tensors(
    top: Table, tensors: dict[str, TensorSpec], modules: Mapping[str, ModuleSpec]
) -> dict[str, TensorSpec]:
    """Check that the modules and [tensors.*] name the same tensors.

    Inputs of the model must be declared, because their shape cannot be inferred. Other tensors may be declared. An
    undeclared tensor is missing in the result, and its shape is taken from the network itself.
    """
    returned = {tensor for module in modules.values() for tensor in module.outputs}
    used = returned | {tensor for module in modules.values() for tensor in module.inputs}
    for name in tensors:
        if name not in used:
            raise top.error(f"[tensors.{name}] belongs to no module (known: {', '.join(sorted(used))})")
    for module in modules.values():
        for name in module.inputs:
            if name not in returned and name not in tensors:
                raise top.error(
                    f"module {module.name!r} reads {name!r}, which no module returns and [tensors.*] does not declare"
                )
    return tensors


def read_entries(top: Table, modules: Mapping[str, ModuleSpec]) -> dict[str, EntrySpec]:
    """Return one entry per module, then the fused entries of [entries.*]."""
    entries = {m.name: EntrySpec(m.name, (m.name,), m.inputs, m.outputs, m.description) for m in modules.values()}
    for name, table in top.tables("entries", {}):
        if named(table, name, NAME) in entries:
            raise table.error("has the name of a module; every module already is an entry")
        asked = table.strings("modules")
        for module in asked:
            if module not in modules:
                raise table.error(f"no module {module!r} (available: {', '.join(modules)})")
        if len(asked) < 2 or len(set(asked)) != len(asked):
            raise table.error(f"'modules' must list two or more different modules, found {list(asked)}")
        chosen = [module for module in modules.values() if module.name in asked]
        returned = {tensor for module in chosen for tensor in module.outputs}
        needed = tuple(dict.fromkeys(t for module in chosen for t in module.inputs if t not in returned))
        outputs = table.strings("outputs")
        for tensor in outputs:
            if tensor not in returned:
                raise table.error(
                    f"output {tensor!r} is returned by none of its modules (available: {sorted(returned)})"
                )
        if not outputs:
            raise table.error("'outputs' is empty")
        entries[name] = EntrySpec(
            name, tuple(module.name for module in chosen), needed, outputs, table.string("description", "")
        )
        table.done()
    return entries
