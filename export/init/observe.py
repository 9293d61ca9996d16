"""Run a net and note its tensors: shapes, dtypes, and the range of indices that its tables take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from export.init.net import KnownInput, Origin, flatten
from export.init.request import INPUT_HELP, AskedInput
from hydramobile.errors import StageError, UsageError
from hydramobile.index_bounds import last_indices

if TYPE_CHECKING:
    import torch

# ids without a table or an example are drawn from this range.
GUESSED_IDS = (0.0, 1.0)
SMALLEST_PHOTO = 16


@dataclass(slots=True)
class Seen:
    """A tensor of the model as model.toml will declare it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str = "tensor"
    limits: tuple[float, float] | None = None
    sample: torch.Tensor | None = None
    guessed: str = ""


def input_of(known: KnownInput, asked: AskedInput | None, example: str) -> Seen:
    """Join the origin's and the user's description of an input. Raises UsageError where neither gives a shape."""
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


def example_of(seen: Seen, draw: int = 0) -> torch.Tensor:
    """Return a value of the input: its example, or seeded noise over its range, another one per `draw`."""
    import torch

    from hydramobile.samples import seeded_input
    from hydramobile.spec import TensorSpec

    if seen.sample is not None and not draw:
        return seen.sample
    limits = seen.limits or (GUESSED_IDS if "int" in seen.dtype else None)
    layout = "NCHW" if len(seen.shape) == 4 else "any"
    spec = TensorSpec(seen.name, seen.shape, layout, seen.dtype, limits, seen.kind, None, "")
    return torch.from_numpy(seeded_input(spec, (1, 1), f"init/{seen.name}" + (f"/{draw}" if draw else "")))


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
    import torch

    asked = [seen for seen in inputs if "int" in seen.dtype and seen.limits is None]
    if not asked:
        return
    # The tables are found by index 0, which every table has.
    known = {seen.name: value for seen, value in zip(inputs, values, strict=True)}
    known |= {seen.name: torch.zeros_like(known[seen.name]) for seen in asked}
    followed = {seen.name: known[seen.name] for seen in asked}
    bounds = last_indices(followed, lambda: run_module("net", module, list(known.values())))
    for seen in asked:
        last = bounds.get(seen.name, 0)
        if last > 0:
            seen.limits, seen.guessed = (0.0, float(last)), f"has the range [0, {last}] of the table that it indexes"
        else:
            sample = seen.sample
            low, high = (
                (float(sample.min()), float(sample.max())) if sample is not None and sample.numel() else GUESSED_IDS
            )
            seen.limits = (low, high if high > low else low + 1)
            why = "of the archive's example" if sample is not None else "as a guess: no table says more"
            seen.guessed = f"has the range [{seen.limits[0]:g}, {seen.limits[1]:g}], {why}"
