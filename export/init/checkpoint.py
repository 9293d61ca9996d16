"""Read a checkpoint and match its keys with the net's; report the wrappers and prefixes that are removed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.init.net import Origin
from hydramobile.errors import UsageError
from hydramobile.loader import read_weights

if TYPE_CHECKING:
    import torch

# Keys under which training scripts store the state of the net.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "module", "ema", "model_ema", "params", "weights")
SHOWN = 8


def load_checkpoint(origin: Origin, path: Path) -> None:
    """Fill the origin's modules from a checkpoint. Raises UsageError that lists the keys which do not match."""
    values, unwrapped = read_checkpoint(path)
    wanted = {f"{name}.{key}": (name, key) for name, module in origin.modules.items() for key in module.state_dict()}
    alone = len(origin.modules) == 1
    names = {key if alone else full: place for full, (_, key) in wanted.items() for place in [wanted[full]]}
    prefix, found = strip_prefix(values, set(names))
    check_match(origin, path, names, found)
    for name, module in origin.modules.items():
        module.load_state_dict(
            {
                key: found[text].to(module.state_dict()[key].dtype)
                for text, (owner, key) in names.items()
                if owner == name and text in found
            },
            strict=False,
        )
    extra = [key for key in found if key not in names]
    note = f"weights: {len(names)} tensors of {path}"
    note += f", under {unwrapped!r}" if unwrapped else ""
    note += f", without the prefix {prefix!r}" if prefix else ""
    origin.notes.append(note)
    if extra:
        more = " ..." if len(extra) > SHOWN else ""
        origin.notes.append(f"not used of {path.name}: {', '.join(extra[:SHOWN])}{more}")


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], str]:
    """Return (tensors by key, the wrapper that held them). Raises UsageError for a file of anything but tensors."""
    import torch

    if path.suffix == ".safetensors":
        return read_weights(path), ""
    try:
        content: Any = torch.load(path, weights_only=True, map_location="cpu")
    except MemoryError:
        raise
    except Exception as error:  # the unpickler raises any type for a damaged file; each means that it is not readable
        lines = [line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line]
        if lines:
            fault = f"holds Python objects beside its tensors, which are not loaded ({lines[0][:160]})"
        else:
            fault = f"is no checkpoint, or is damaged ({type(error).__name__})"
        raise UsageError(f"{path} {fault}; where it was made: torch.save(net.state_dict(), 'weights.pth')") from error
    wrapper = ""
    while isinstance(content, Mapping) and not tensors_of(content):
        inner = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            raise UsageError(f"{path} holds no tensors; its keys are {', '.join(map(str, list(content)[:SHOWN]))}")
        wrapper, content = inner, content[inner]
    if not isinstance(content, Mapping):
        raise UsageError(f"{path} holds a {type(content).__name__}, not a dict of tensors")
    return tensors_of(content), wrapper


def tensors_of(content: Mapping[Any, Any]) -> dict[str, torch.Tensor]:
    import torch

    return {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}


def strip_prefix(values: Mapping[str, torch.Tensor], wanted: set[str]) -> tuple[str, dict[str, torch.Tensor]]:
    """Return (prefix, tensors without it), by the prefix of the file's keys with which most names of the net match."""
    prefixes = {""}
    for key in values:
        parts = key.split(".")
        prefixes |= {".".join(parts[:count]) + "." for count in range(1, min(len(parts), 4))}

    def matches(prefix: str) -> int:
        return sum(prefix + name in values for name in wanted)

    best = max(sorted(prefixes, key=len), key=matches)
    return best, {key.removeprefix(best): value for key, value in values.items() if key.startswith(best)}


def check_match(
    origin: Origin, path: Path, names: Mapping[str, tuple[str, str]], found: Mapping[str, torch.Tensor]
) -> None:
    """Raise UsageError, with the nearest keys, for names that the file lacks or has in another shape."""
    lines = []
    for text, (module, key) in names.items():
        value = origin.modules[module].state_dict()[key]
        if text in found and found[text].shape != value.shape:
            lines.append(f"{text} is {list(found[text].shape)} in the file and {list(value.shape)} in the net")
        elif text not in found and not text.endswith("num_batches_tracked"):
            near = difflib.get_close_matches(text, found, n=1, cutoff=0.5)
            lines.append(f"{text} is missing" + (f" (nearest: {near[0]})" if near else ""))
    if lines:
        more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        raise UsageError(f"{path} does not fit the net: {'; '.join(lines[:SHOWN])}{more}")
