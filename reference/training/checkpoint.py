"""Checkpoints of a run: safetensors and JSON, no pickles, written atomically.

A run's folder holds `latest.json`, which names the newest `step-NNNNNN.safetensors` and its hash, and the options.
The tensors are `net.*` and `ema.*` (keys as in the model's weights) and `adam.<index>.<name>` of the optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hydramobile.errors import StageError
from hydramobile.files import dump_json, read_json, sha256_bytes, sha256_file, write_bytes, write_text

STAGE = "checkpoint"
LATEST = "latest.json"
KEPT = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after `step` steps: everything on which the rest of the run depends."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def named(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return all weights and statistics of a model by `<module>.<state_dict key>`, the keys of the weights file."""
    return {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}


def load_named(modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Load `tensors` strictly. Raises StageError("checkpoint") for a tensor missing, unknown or of another shape."""
    for name, module in modules.items():
        state = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        try:
            module.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise StageError(STAGE, f"the weights do not fit module {name!r}: {error}") from error


def save_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a weights file in the form that model.toml names."""
    from safetensors.torch import save

    write_bytes(path, save({key: value.detach().contiguous().clone() for key, value in tensors.items()}))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    states = optimizer.state_dict()["state"]
    return {f"adam.{index}.{name}": value for index, state in states.items() for name, value in state.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load the state saved by `optimizer_tensors` into a fresh optimizer of the same parameters."""
    table = optimizer.state_dict()
    for key, value in tensors.items():
        if key.startswith("adam."):
            _, index, name = key.split(".")
            table["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(table)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the tensors, then `latest.json`, which commits them, then remove all but the newest `KEPT`."""
    from safetensors.torch import save

    data = save({key: value.detach().contiguous().clone() for key, value in checkpoint.tensors.items()})
    name = f"step-{checkpoint.step:06d}.safetensors"
    write_bytes(folder / name, data)
    latest = {"schema": 1, "step": checkpoint.step, "file": name, "sha256": sha256_bytes(data)} | checkpoint.state
    write_text(folder / LATEST, dump_json(latest))
    for old in sorted(folder.glob("step-*.safetensors"))[:-KEPT]:
        old.unlink()


def load_checkpoint(folder: Path) -> Checkpoint:
    """Return the newest checkpoint of a run. Raises StageError("checkpoint") if there is none or it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    latest = read_json(folder / LATEST, STAGE)
    try:
        path, expected, step = folder / str(latest["file"]), latest["sha256"], int(latest["step"])
    except (KeyError, TypeError, ValueError) as error:
        raise StageError(STAGE, f"{folder / LATEST} lacks {error}") from error
    if not path.is_file() or sha256_file(path) != expected:
        raise StageError(STAGE, f"{path} is missing or does not match its sha256 in {LATEST}")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise StageError(STAGE, f"{path} is not readable: {error}") from error
    return Checkpoint(step, tensors, {k: v for k, v in latest.items() if k not in ("schema", "step", "file", "sha256")})
