"""Find the model folder that a path means."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from hydramobile.errors import UsageError

PORTRAIT = Path("models/portrait")
# Files of torch.save, which hold pickles.
CHECKPOINTS = (".pth", ".pt", ".ckpt", ".bin")
INSTALLED_PORTRAIT = Path(sys.prefix) / "share/hydra-mobile/portrait"


def find_folder(path: Path) -> Path:
    """Return the folder of a model. `path` is the folder, or its model.toml.

    "models/portrait" is the installed portrait where the current folder has none. Raises UsageError where there is no
    model, with the nearest name beside it.
    """
    if path.name == "model.toml" and path.is_file():
        return path.parent
    if path == PORTRAIT and not path.exists() and INSTALLED_PORTRAIT.exists():
        return INSTALLED_PORTRAIT
    if not path.exists():
        beside = [toml.parent.name for toml in path.parent.glob("*/model.toml")] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, beside, n=1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise UsageError(
            f"no model in {path}: there is no such folder{hint} (hydra-mobile init {path} NET.pt2 writes one)"
        )
    if not (path / "model.toml").is_file():
        raise UsageError(f"no model in {path}: it has no model.toml")
    return path


def checkpoint_fault(path: str) -> str:
    """Say what to do about weights that are a checkpoint of torch.save, "" for any other file."""
    if not path.endswith(CHECKPOINTS):
        return ""
    return (
        f"{path} is a checkpoint of torch.save, and model.toml takes safetensors; this converts it: "
        f"hydra-mobile init NEW_FOLDER FACTORY --weights {path}"
    )
