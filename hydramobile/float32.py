"""Run a model's modules in float32, whatever floating dtype narrower than float32 their code asks for.

Phones and browsers have no bfloat16, and each runtime rounds float16 in its own places. A file is therefore exported
from the float32 upcast of a module, and judged against it. The upcast of weights is exact. Casts to a narrow dtype and
autocast have no effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# The attribute of an upcast module's class that holds the narrow dtypes that were met, such as "bfloat16 weights".
NARROWED = "hydramobile_narrowed"


def narrow_dtypes() -> tuple[torch.dtype, ...]:
    """Return the floating dtypes of fewer than 32 bits."""
    import torch

    known = (value for value in vars(torch).values() if isinstance(value, torch.dtype))
    return tuple(dtype for dtype in dict.fromkeys(known) if dtype.is_floating_point and dtype.itemsize < 4)


def compute_in_float32(module: torch.nn.Module) -> None:
    """Upcast the weights of `module` to float32, in place, and have every later call compute in float32.

    float64 and integers stay. A module that is compiled by TorchScript keeps its dtypes.
    """
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        return
    narrow, own, met = narrow_dtypes(), type(module), set[str]()

    def widen(value: torch.Tensor) -> torch.Tensor:
        if value.dtype not in narrow:
            return value
        met.add(f"{dtype_name(value.dtype)} weights")
        return value.float()

    module._apply(widen)

    @wraps(own.forward)
    def forward(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        with float32_arithmetic(met):
            return own.forward(self, *args, **kwargs)

    fields = {"forward": forward, "__module__": own.__module__, "__qualname__": own.__qualname__, NARROWED: met}
    module.__class__ = type(own.__name__, (own,), fields)


def upcasts(modules: Mapping[str, torch.nn.Module]) -> dict[str, tuple[str, ...]]:
    """Return the upcasts by module: ("bfloat16 weights", "casts to float16", "autocast"). Call it after a run."""
    met = {name: tuple(sorted(getattr(type(module), NARROWED, ()))) for name, module in modules.items()}
    return {name: words for name, words in met.items() if words}


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@contextmanager
def float32_arithmetic(met: set[str]) -> Iterator[None]:
    """Compute in float32 while the context lasts. `met` collects the names of the narrower casts.

    Functions that are called with a narrow dtype get float32, and narrow tensors are upcast before they are read.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    narrow = narrow_dtypes()
    methods = {torch.Tensor.half: "float16", torch.Tensor.bfloat16: "bfloat16"}

    def widen(value: Any) -> Any:
        if isinstance(value, torch.dtype) and value in narrow:
            met.add(f"casts to {dtype_name(value)}")
            return torch.float32
        if isinstance(value, torch.Tensor) and value.dtype in narrow:
            return torch.Tensor.float(value)
        if type(value) in (tuple, list):
            return type(value)(map(widen, value))
        return value

    class Float32(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in methods:
                met.add(f"casts to {methods[func]}")
                func = torch.Tensor.float
            result = func(*map(widen, args), **{key: widen(value) for key, value in (kwargs or {}).items()})
            # A dtype that no argument names, such as a default dtype of half.
            return widen(result) if isinstance(result, torch.Tensor) else result

    with without_autocast(met), Float32():
        yield


@contextmanager
def without_autocast(met: set[str]) -> Iterator[None]:
    """Have `torch.autocast` do nothing while the context lasts, and name it in `met` where it is entered enabled."""
    import torch

    enter, leave = torch.autocast.__enter__, torch.autocast.__exit__

    def no_enter(self: torch.autocast) -> torch.autocast:
        if self._enabled:
            met.add("autocast")
        return self

    def no_exit(self: torch.autocast, *reason: object) -> None:
        return None

    # mypy: methods are replaced on purpose, while the context lasts.
    torch.autocast.__enter__, torch.autocast.__exit__ = no_enter, no_exit  # type: ignore[method-assign]
    try:
        yield
    finally:
        # mypy: the original methods come back.
        torch.autocast.__enter__, torch.autocast.__exit__ = enter, leave  # type: ignore[method-assign]
