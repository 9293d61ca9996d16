"""Carry the weights of the two-head training sketch over to the portrait Hydra.

The sketch's checkpoint is a plain state dict whose modules are `enc`, `depth` and `alpha` and whose layers are
numbered. Nothing is computed: tensors are renamed, and a key that is left over or missing is an error.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

from models.errors import StageError
from models.files import write_bytes
from reference.portrait import build

# Sketch prefix -> portrait prefix; then the layers inside, in order.
_MODULES = (("enc.", "encoder."), ("depth.", "depth.decoder."), ("alpha.", "segmentation.decoder."))
_LAYERS = (
    (".exp.", ".expand."),
    (".dw.", ".depthwise."),
    (".pw.", ".project."),
    (".lat.", ".lateral."),
    (".ctx.", ".context."),
    (".ref.", ".refine."),
    (".pre.", ".smooth."),
    (".out.", ".predict."),
)
# A convolution block was a numbered sequence there: 0 the convolution, 1 the batch norm.
_PARTS = {"0": "conv", "1": "norm"}


def rename(key: str) -> str:
    """The portrait's key of a sketch's key, e.g. `enc.stem.0.weight` -> `encoder.stem.conv.weight`."""
    for old, new in _MODULES:
        if key.startswith(old):
            key = new + key.removeprefix(old)
            break
    else:
        raise StageError("weights", f"{key!r} belongs to none of {', '.join(old for old, _ in _MODULES)}")
    for old, new in _LAYERS:
        key = key.replace(old, new)
    stem, part, leaf = key.rsplit(".", 2)
    # The lateral convolutions are numbered too, but plain.
    return key if part not in _PARTS or stem.endswith(".lateral") else f"{stem}.{_PARTS[part]}.{leaf}"


def port(checkpoint: Path, destination: Path) -> int:
    """Write `destination` (safetensors, keys `<module>.<state_dict key>`) from the sketch's `checkpoint`.

    Returns the number of tensors. Raises StageError when the checkpoint is unreadable or does not hold exactly
    the portrait's tensors in the portrait's shapes.
    """
    from safetensors.torch import save

    try:
        old = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        # torch's own message advises loading unsafely.
        raise StageError("weights", f"{checkpoint} is not a checkpoint of plain tensors") from error
    if not isinstance(old, dict):
        raise StageError("weights", f"{checkpoint} holds a {type(old).__name__}, not a state dict")
    tensors: dict[str, Tensor] = {rename(key): value.contiguous() for key, value in old.items()}
    _check(tensors)
    write_bytes(destination, save(tensors))
    return len(tensors)


def _check(tensors: dict[str, Tensor]) -> None:
    expected = {
        f"{name}.{key}": value for name, module in build().items() for key, value in module.state_dict().items()
    }
    if missing := sorted(expected.keys() - tensors.keys()):
        raise StageError("weights", f"the checkpoint lacks {len(missing)} tensors, the first {missing[0]}")
    if extra := sorted(tensors.keys() - expected.keys()):
        raise StageError("weights", f"the checkpoint has {len(extra)} unknown tensors, the first {extra[0]}")
    for key, value in tensors.items():
        if value.shape != expected[key].shape:
            raise StageError("weights", f"{key} is {tuple(value.shape)}, expected {tuple(expected[key].shape)}")
