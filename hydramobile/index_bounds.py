"""Find the range of integer inputs that index tables, such as token ids, where model.toml declares none.

The model runs once with zeros for these inputs. Every tensor that holds such an input moved, cast or shifted by a
constant is followed to the tables that it indexes: the smallest table bounds the input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hydramobile.errors import StageError
from hydramobile.loader import as_tuple, load_modules
from hydramobile.spec import ModelSpec

if TYPE_CHECKING:
    import torch

# Ops whose result holds the elements of their tensor operands, and ops that shift them by a constant.
MOVING = frozenset((
    "view", "_unsafe_view", "reshape", "_to_copy", "clone", "detach", "alias", "unsqueeze", "squeeze", "expand",
    "slice", "select", "permute", "transpose", "t", "cat", "stack", "repeat", "unbind", "split", "flip", "roll",
    "unfold", "as_strided", "lift_fresh", "split_with_sizes",
))  # fmt: skip
SHIFTING = frozenset({"add", "sub"})

Range = tuple[float, float]


def index_bounds(spec: ModelSpec, inputs: Mapping[str, NDArray[Any]], asked: set[str]) -> dict[str, Range]:
    """Return (0, largest index) of each input in `asked` that indexes a table. `inputs` holds zeros for them."""
    import torch

    known = {name: torch.from_numpy(value) for name, value in inputs.items()}
    modules = load_modules(spec)

    def run() -> None:
        for module in spec.modules.values():
            outputs = as_tuple(modules[module.name](*(known[name] for name in module.inputs)))
            known.update(zip(module.outputs, outputs, strict=False))

    try:
        last = last_indices({name: known[name] for name in asked}, run)
    except StageError:
        raise
    except Exception:  # noqa: BLE001 - foreign code; the capture runs it again and reports the error
        return {}
    return {name: (0.0, float(index)) for name, index in last.items() if index > 0}


def last_indices(followed: Mapping[str, torch.Tensor], run: Callable[[], object]) -> dict[str, int]:
    """Return the largest index that the tables allow, of each input in `followed` that indexes one.

    `run` runs the net on these tensors, which hold zeros: a constant that is added to them then shifts the index.
    """
    import torch

    observer = observed()
    for name, value in followed.items():
        observer.follow(value, name)
    with torch.no_grad(), observer:
        run()
    last: dict[str, int] = observer.last
    return last


def observed() -> Any:
    """Return a dispatch mode that follows tensors, and collects in `last` the largest index by input."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Observer(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]  # torch has no annotations there
            self.last: dict[str, int] = {}
            self.names: dict[int, str] = {}
            # Tensors that are followed stay alive: an id must not be given to another tensor.
            self.alive: list[torch.Tensor] = []

        def follow(self, value: torch.Tensor, name: str) -> None:
            self.names[id(value)] = name
            self.alive.append(value)

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            op = func._schema.name.removeprefix("aten::")
            for size, index in indexed(op, args):
                if id(index) in self.names and index.numel():
                    name = self.names[id(index)]
                    self.last[name] = min(self.last.get(name, size), size - 1 - int(index.max()))
            operands = args[0] if op in ("cat", "stack") else args[: 2 if op in SHIFTING else 1]
            sources = [self.names[id(value)] for value in operands if id(value) in self.names]
            if sources and (op in MOVING or op in SHIFTING):
                results = result if isinstance(result, tuple | list) else [result]
                for value in results:
                    if isinstance(value, torch.Tensor) and not value.is_floating_point():
                        self.follow(value, sources[0])
            return result

    return Observer()


def indexed(op: str, args: Any) -> list[tuple[int, torch.Tensor]]:
    """Return the sizes of the axes that an op indexes, each with the tensor of indices."""
    if op in ("embedding", "embedding_bag", "_embedding_bag"):
        return [(int(args[0].shape[0]), args[1])]
    if op in ("index", "index_put", "index_put_"):
        return [(int(args[0].shape[axis]), index) for axis, index in enumerate(args[1]) if index is not None]
    if op in ("index_select", "gather", "scatter", "scatter_", "scatter_add", "index_add", "index_copy"):
        return [(int(args[0].shape[args[1]]), args[2])] if args[0].ndim else []
    return [(int(args[0].numel()), args[1])] if op == "take" else []
