"""Take the modules of a model out of one net: `submodule` and `arguments` of [modules.NAME] in model.toml.

`submodule` is the path of a submodule of the net that the factory returns, as `nn.Module.get_submodule` takes it.
`arguments` lists the positional arguments of the submodule's forward, where they are not the module's inputs one by
one: a string is the input of that name; a list, or a table with string keys, holds further arguments; a number or a
boolean is a constant. `arguments = [["p3", "p4"]]` calls `head([p3, p4])`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydramobile.errors import StageError

if TYPE_CHECKING:
    import torch
    from torch.utils.hooks import RemovableHandle


def leaves(arguments: Any) -> Iterable[str]:
    """Yield the tensor names among nested arguments, in order. Raises TypeError for anything that TOML has beside."""
    if isinstance(arguments, str):
        yield arguments
    elif isinstance(arguments, Mapping):
        for item in arguments.values():
            yield from leaves(item)
    elif isinstance(arguments, list | tuple):
        for item in arguments:
            yield from leaves(item)
    elif not isinstance(arguments, bool | int | float):
        raise TypeError(f"a {type(arguments).__name__} is no argument")


def argument_fault(arguments: Sequence[Any], inputs: Sequence[str]) -> str:
    """Say why `arguments` of model.toml do not hold every input and nothing else, "" where they do."""
    try:
        names = set(leaves(arguments))
    except TypeError as error:
        return f"'arguments': {error}; they hold names of inputs, numbers, lists and tables"
    if arguments and names != set(inputs):
        return f"'arguments' names {sorted(names)}, and 'inputs' {sorted(inputs)}"
    return ""


def submodules(net: Any, paths: Mapping[str, str], factory: str) -> dict[str, torch.nn.Module]:
    """Return the submodules of `net` by module name. Raises StageError("factory") for an unknown path."""
    import torch

    if not isinstance(net, torch.nn.Module):
        raise StageError("factory", f"{factory} returned a {type(net).__name__}; 'submodule' needs one torch module")
    known = dict(net.named_modules(remove_duplicate=False))
    for name, path in paths.items():
        if not path or path not in known:
            raise StageError(
                "factory", f"module {name!r}: {factory} returned a net without {unknown_path(path, known)}"
            )
    return {name: known[path] for name, path in paths.items()}


def unknown_path(path: str, known: Iterable[str]) -> str:
    """Return "a submodule X (did you mean ...; it has ...)" for an error."""
    names = [name for name in known if name]
    near = difflib.get_close_matches(path, names, n=1, cutoff=0.4)
    children = [name for name in names if "." not in name]
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"a submodule {path!r} ({hint}it has {', '.join(children) or 'none'})"


def pack(module: torch.nn.Module, inputs: Sequence[str], arguments: Sequence[Any]) -> RemovableHandle | None:
    """Let the module take the tensors `inputs` by position, and call its forward with the nested `arguments`.

    It is a hook, so that the names of the module's layers stay as they are. Returns its handle, or None where the
    arguments are the inputs one by one.
    """
    if not arguments or list(arguments) == list(inputs):
        return None

    def nest(item: Any, values: Mapping[str, torch.Tensor]) -> Any:
        if isinstance(item, str):
            return values[item]
        if isinstance(item, Mapping):
            return {key: nest(value, values) for key, value in item.items()}
        return [nest(value, values) for value in item] if isinstance(item, list | tuple) else item

    def prepare(_: torch.nn.Module, tensors: tuple[torch.Tensor, ...]) -> tuple[Any, ...]:
        values = dict(zip(inputs, tensors, strict=True))
        return tuple(nest(item, values) for item in arguments)

    return module.register_forward_pre_hook(prepare)
