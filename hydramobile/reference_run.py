"""Run a model's PyTorch modules on one input, and check that the result can be the reference of a file.

Capture and goldens use it: the tensors that a file is made from and the tensors that it is judged by are of one run.
torch is imported when a function is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hydramobile.errors import StageError
from hydramobile.loader import as_tuple
from hydramobile.samples import assumed_ranges, open_integers
from hydramobile.spec import ModelSpec

if TYPE_CHECKING:
    import torch

STAGE = "capture"
# The largest difference between two runs on one input, relative to the largest magnitude: threads add in any order.
REPEAT_TOLERANCE = 1e-4


def run_modules(
    spec: ModelSpec, modules: Mapping[str, torch.nn.Module], inputs: Mapping[str, NDArray[Any]]
) -> dict[str, torch.Tensor]:
    """Run the modules in order on one input and return every tensor of the model by name.

    Raises StageError("capture") that names the module that failed or returned something else than its outputs.
    """
    import torch

    tensors = {name: torch.from_numpy(np.asarray(value, order="C")) for name, value in inputs.items()}
    for module in spec.modules.values():
        try:
            with torch.no_grad():
                # Copies: a module may write into its inputs.
                returned = as_tuple(modules[module.name](*(tensors[name].clone() for name in module.inputs)))
        except (Exception, SystemExit) as error:  # the module is foreign code and may raise any type
            reason = f"module {module.name!r} failed: {type(error).__name__}: {error}{range_advice(spec)}"
            raise StageError(STAGE, reason) from error
        if len(returned) != len(module.outputs):
            raise StageError(
                STAGE, f"module {module.name!r} returned {len(returned)} tensors, the spec names {list(module.outputs)}"
            )
        others = {type(value).__name__ for value in returned if not isinstance(value, torch.Tensor)}
        if others:
            raise StageError(STAGE, f"module {module.name!r} returned {', '.join(others)}; outputs are tensors")
        tensors.update(zip(module.outputs, returned, strict=True))
    return tensors


def check_tensor(spec: ModelSpec, name: str, value: torch.Tensor, size: tuple[int, int]) -> None:
    """Check a tensor against its declaration. Raises StageError("capture") for another shape, dtype or NaN."""
    import torch

    declared = spec.tensors.get(name)
    shape, dtype = tuple(value.shape), str(value.dtype).removeprefix("torch.")
    if declared is not None and declared.at(size) != shape:
        raise StageError(STAGE, f"tensor {name!r} has shape {list(shape)}, the spec says {list(declared.at(size))}")
    # Modules compute in float32 where float16 is declared (hydramobile/float32.py).
    if declared is not None and dtype not in (declared.dtype, "float32" if declared.dtype == "float16" else ""):
        raise StageError(STAGE, f"tensor {name!r} has dtype {dtype}, the spec says {declared.dtype}")
    if value.is_floating_point() and bool(torch.isnan(value).any()):
        raise StageError(STAGE, f"tensor {name!r} holds NaN")
    if value.is_floating_point() and value.numel() and bool(torch.isinf(value).all()):
        raise StageError(STAGE, f"tensor {name!r} holds infinite values alone")


def range_advice(spec: ModelSpec) -> str:
    """Return which integer inputs need a range for their samples; "" where all have one."""
    unknown = sorted(open_integers(spec) - set(assumed_ranges(spec, spec.size)))
    if not unknown:
        return ""
    tables = ", ".join(f"[tensors.{name}]" for name in unknown)
    return f"; where an input is an index, declare its range in model.toml: range = [0, rows - 1] in {tables}"


def check_repeats(spec: ModelSpec, first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> None:
    """Compare the tensors of two runs on one input.

    Raises StageError("capture"), which names the module and its first output that differs: a net that does not repeat
    its outputs is no reference for a file.
    """
    for module in spec.modules.values():
        for name in module.outputs:
            before, after = (run[name].double().nan_to_num(posinf=0.0, neginf=0.0) for run in (first, second))
            if not before.numel():
                continue
            limit = REPEAT_TOLERANCE * max(1.0, float(before.abs().max()))
            if float((before - after).abs().max()) > limit:
                raise StageError(
                    STAGE,
                    f"module {module.name!r} returns another {name!r} for the same input the second time: it draws "
                    "random numbers or changes its own buffers, and exported files are feed-forward",
                )
