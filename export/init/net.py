"""The net of an `init`: its modules, their origin, the inputs that their code names, and the guesses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class KnownInput:
    """An input as the origin describes it; `sample` is an example of its values."""

    name: str
    shape: tuple[int, ...] | None = None
    dtype: str = ""
    sample: torch.Tensor | None = None


@dataclass(slots=True)
class Origin:
    """Modules by name, in the order they run.

    `inputs` lists the inputs of each module by name; `outputs` the names of a module's outputs where the origin knows
    them. `factory` and `code` go into model.toml; `files` are written or copied into the folder; `programs` maps
    modules to archives among them. `submodules` maps modules to paths in the factory's net, and `arguments` holds the
    nested arguments of their forwards (hydramobile/submodules.py). `seeded`: the weights are drawn. `mean`, `std`: the
    normalization that the library states. `notes` are for the user.
    """

    modules: dict[str, torch.nn.Module]
    inputs: dict[str, tuple[KnownInput, ...]]
    outputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    factory: str = ""
    code: str = ""
    files: dict[str, Path | str] = field(default_factory=dict)
    programs: dict[str, str] = field(default_factory=dict)
    submodules: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, list[Any]] = field(default_factory=dict)
    seeded: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    notes: list[str] = field(default_factory=list)


def flatten(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Return (path, leaf) of nested mappings, tuples, lists and dataclasses; None is left out."""
    from dataclasses import fields, is_dataclass

    if value is None:
        return []
    if isinstance(value, Mapping):
        return [leaf for key, item in value.items() for leaf in flatten(item, (*path, str(key)))]
    if is_dataclass(value) and not isinstance(value, type):
        named = [(item.name, getattr(value, item.name)) for item in fields(value)]
        return [leaf for key, item in named for leaf in flatten(item, (*path, key))]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [leaf for key in value._fields for leaf in flatten(getattr(value, key), (*path, key))]
    if isinstance(value, tuple | list):
        return [leaf for index, item in enumerate(value) for leaf in flatten(item, (*path, str(index)))]
    return [(path, value)]
