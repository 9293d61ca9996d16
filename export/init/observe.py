"""Run a net and note its tensors: shapes, dtypes, and the range of indices that its tables take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from export.init.net import KnownInput, Origin, flatten
from export.init.request import INPUT_HELP, AskedInput
from hydramobile.errors import StageError, UsageError

if TYPE_CHECKING:
    import torch

# ids without a table or an example are drawn from this range.
GUESSED_IDS = (0.0, 1.0)
SMALLEST_PHOTO = 16


@dataclass(slots=True)
class Seen:
    """A tensor of the model as it will stand in model.toml."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str = "tensor"
    limits: tuple[float, float] | None = None
    sample: torch.Tensor | None = None
    guessed: str = ""


def input_of(known: KnownInput, asked: AskedInput | None, example: str) -> Seen:
    """Join what the origin says and what the user typed. Raises UsageError where neither gives a shape."""
    shape = asked.shape if asked and asked.shape is not None else known.shape
    if shape is None:
        raise UsageError(f"the shape of the input {known.name!r} is not known: say --input {example}; {INPUT_HELP}")
    name = asked.name if asked else known.name
    if known.shape is not None and shape != known.shape and known.sample is not None:
        raise UsageError(f"the archive's input {known.name!r} has shape {list(known.shape)}, not {list(shape)}")
    dtype = (asked.dtype if asked else "") or known.dtype or "float32"
    seen = Seen(name, shape, dtype, sample=known.sample if known.sample is not None and shape == known.shape else None)
    like_photo = len(shape) == 4 and shape[:2] == (1, 3) and min(shape[2:]) >= SMALLEST_PHOTO and dtype == "float32"
    if asked and asked.kind:
        seen.kind = asked.kind
    elif like_photo:
        seen.kind = "rgb-photo"
        seen.guessed = f"is taken for a photo (--input {name}={'x'.join(map(str, shape))}:tensor if it is none)"
    seen.limits = asked.limits if asked else None
    if seen.limits is None and seen.kind == "rgb-photo":
        seen.limits = (0.0, 1.0)
    return seen


def match_inputs(origin: Origin, asked: Sequence[AskedInput]) -> dict[str, tuple[Seen, ...]]:
    """Return the inputs of the first module by name. Asked inputs are matched by name, or else by position."""
    (first, *_), known = origin.modules, origin.inputs
    needed = known[first]
    names = {item.name for item in needed}
    by_name = {item.name: item for item in asked}
    if len(asked) > len(needed) and not set(by_name) <= names:
        extra = [KnownInput(item.name) for item in asked[len(needed) :]]
        needed = (*needed, *extra)
    if set(by_name) <= names:
        pairs = [(item, by_name.get(item.name)) for item in needed]
    elif len(asked) == len(needed):
        pairs = list(zip(needed, asked, strict=True))
    else:
        raise UsageError(
            f"the net takes {', '.join(item.name for item in needed)}; "
            f"--input names {', '.join(by_name) or 'none of them'}"
        )
    return {first: tuple(input_of(item, given, f"{item.name}=1x3x224x224:rgb-photo") for item, given in pairs)}


def example_of(seen: Seen) -> torch.Tensor:
    """Return a value of the input: its example, or seeded noise over its range."""
    import torch

    from hydramobile.samples import seeded_input
    from hydramobile.spec import TensorSpec

    if seen.sample is not None:
        return seen.sample
    limits = seen.limits or (GUESSED_IDS if "int" in seen.dtype else None)
    layout = "NCHW" if len(seen.shape) == 4 else "any"
    spec = TensorSpec(seen.name, seen.shape, layout, seen.dtype, limits, seen.kind, None, "")
    return torch.from_numpy(seeded_input(spec, (1, 1), f"init/{seen.name}"))


def run_module(name: str, module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> list[tuple[tuple[str, ...], Any]]:
    """Run a module once and return (path, tensor) of its outputs. Raises StageError("capture") where it fails."""
    import torch

    try:
        with torch.no_grad():
            outputs = flatten(module(*inputs))
    except Exception as error:  # the module is foreign code and may raise any type
        shapes = ", ".join(f"{list(value.shape)} {str(value.dtype).removeprefix('torch.')}" for value in inputs)
        raise StageError(
            "capture", f"the net failed on inputs of {shapes}: {type(error).__name__}: {error}; --input {INPUT_HELP}"
        ) from error
    others = {type(value).__name__ for _, value in outputs if not isinstance(value, torch.Tensor)}
    if others or not outputs:
        raise StageError("capture", f"module {name!r} returned {', '.join(others) or 'nothing'}; outputs are tensors")
    return outputs


def infer_ranges(module: torch.nn.Module, inputs: Sequence[Seen], values: Sequence[torch.Tensor]) -> None:
    """Find the range of integer inputs: the rows of the tables that they index, else the range of their example."""
    if not any("int" in seen.dtype and seen.limits is None for seen in inputs):
        return
    bounds = table_rows(module, values)
    for index, seen in enumerate(inputs):
        if "int" not in seen.dtype or seen.limits is not None:
            continue
        rows = bounds.get(index)
        if rows:
            seen.limits, seen.guessed = (0.0, rows - 1.0), f"has the range [0, {rows - 1}] of the table that it indexes"
        else:
            sample = seen.sample
            low, high = (
                (float(sample.min()), float(sample.max())) if sample is not None and sample.numel() else GUESSED_IDS
            )
            seen.limits = (low, high if high > low else low + 1)
            why = "of the archive's example" if sample is not None else "as a guess: no table says more"
            seen.guessed = f"has the range [{seen.limits[0]:g}, {seen.limits[1]:g}], {why}"


def table_rows(module: torch.nn.Module, values: Sequence[torch.Tensor]) -> Mapping[int, int]:
    """Return, for each integer input that indexes a table, the table's number of rows (the smallest of several)."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    origins = {id(value): frozenset([index]) for index, value in enumerate(values) if not value.is_floating_point()}
    alive: list[Any] = list(values)
    rows: dict[int, int] = {}
    tables = {"embedding": (0, 1, 0), "index_select": (0, 2, None), "gather": (0, 2, None)}

    class Follow(TorchDispatchMode):
        def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = call(*args, **(kwargs or {}))
            sources = [value for value in tree_leaves(args) if isinstance(value, torch.Tensor)]
            found = frozenset().union(*(origins.get(id(value), frozenset()) for value in sources))
            name = call._schema.name.partition("::")[2]
            if name in tables and len(args) > 2 - (name == "embedding"):
                table, index, fixed = tables[name]
                axis = args[1] if fixed is None else fixed
                for source in origins.get(id(args[index]), ()):
                    rows[source] = min(rows.get(source, args[table].shape[axis]), args[table].shape[axis])
            for value in tree_leaves(result):
                if isinstance(value, torch.Tensor) and not value.is_floating_point() and found:
                    origins[id(value)] = found
                    alive.append(value)
            return result

    with torch.no_grad(), Follow():  # type: ignore[no-untyped-call]  # torch's class carries no types
        run_module("net", module, values)
    return rows
