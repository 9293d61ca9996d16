"""Write a model folder: model.toml, weights.safetensors, budget.toml and the files of the net's origin."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from export.init.net import Origin
from export.init.observe import Seen
from hydramobile.files import sha256_file, write_text
from hydramobile.targets import TARGETS

if TYPE_CHECKING:
    import torch

WEIGHTS = "weights.safetensors"
BUDGET = """\
# Which recipes ship, and the limits that each file must keep. Reviewed data: a change needs a reason.
# Without further rows every output is judged by the defaults: err_sens <= 0.001 at float32 (the largest error, as a
# share of how far the output moves between inputs), 30 dB of signal to noise at float16, 10 dB for other recipes.

[ship]            # must pass: `ship` ends with exit code 1 when one of them breaks a limit
{ship}

[candidates]      # exported and judged as well; one over a limit is refused and listed with its number
# coreml = ["w8"]         8-bit weights: a quarter of the size
# litert = ["w8", "w8a8"] w8a8: 8-bit weights and activations, calibrated on samples/ (half of the time on many phones)
# onnx = ["w8", "w8a8"]
# tfjs = ["w8"]

# A limit of your own, tighter than the default:
# [[limit]]
# recipe = "float16"
# output = "{output}"
# metric = "snr_db"
# limit = 40.0
# reason = "why this is the least that the app needs"
#
# The most that an app may ship:
# [[size]]
# recipe = "float16"
# target = "coreml"
# megabytes = 10.0
# reason = "the app's download limit"
"""


@dataclass(frozen=True, slots=True)
class Wiring:
    """The tensors of a model by name, and the inputs and outputs of each module in order."""

    tensors: Mapping[str, Seen]
    inputs: Mapping[str, tuple[str, ...]]
    outputs: Mapping[str, tuple[str, ...]]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    normalized: str = ""


def write_folder(folder: Path, name: str, origin: Origin, wiring: Wiring) -> None:
    """Write all files of the model into `folder`."""
    for file, content in origin.files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, path)
        else:
            write_text(path, content)
    write_weights(folder / WEIGHTS, origin.modules)
    write_text(folder / "model.toml", model_toml(folder, name, origin, wiring))
    final = [tensor for tensor in wiring.tensors if all(tensor not in names for names in wiring.inputs.values())]
    ship = "\n".join(f'{target} = ["float32", "float16"]' for target in TARGETS)
    write_text(folder / "budget.toml", BUDGET.format(ship=ship, output=final[0] if final else "output"))


def write_weights(path: Path, modules: Mapping[str, torch.nn.Module]) -> None:
    from safetensors.torch import save_file

    tensors = {
        f"{name}.{key}": value.detach().contiguous().clone()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    save_file(tensors, path)


def model_toml(folder: Path, name: str, origin: Origin, wiring: Wiring) -> str:
    """Return the text of model.toml."""
    sizes = {seen.shape[2:] for seen in wiring.tensors.values() if seen.kind == "rgb-photo"}
    size = next(iter(sizes)) if len(sizes) == 1 else None
    lines = [
        "# Written by init. Every key: docs/bring-your-net.md",
        "schema = 1",
        f"name = {quoted(name)}",
        'version = "1.0.0"',
        'license = "unknown"',
        'description = ""',
    ]
    if origin.factory:
        lines.append(f"factory = {quoted(origin.factory)}   # Python code that is run: treat this folder like code")
    if origin.code:
        lines.append(f"code = {quoted(origin.code)}   # the folder from which the factory is imported")
    lines.append(f'weights = {{ path = "{WEIGHTS}", sha256 = "{sha256_file(folder / WEIGHTS)}" }}')
    if size:
        lines.append(f"sizes = [{list(size)}]   # [height, width]")
    for seen in wiring.tensors.values():
        lines += ["", *tensor_lines(seen, size if seen.kind == "rgb-photo" else None, wiring)]
    for module in wiring.inputs:
        lines += ["", f"[modules.{quoted(module)}]", f"inputs = {names(wiring.inputs[module])}"]
        lines.append(f"outputs = {names(wiring.outputs[module])}")
        if module in origin.submodules:
            lines.append(f"submodule = {quoted(origin.submodules[module])}   # of the net that the factory returns")
            if origin.arguments[module] != list(wiring.inputs[module]):
                lines.append(f"arguments = {toml_value(origin.arguments[module])}   # of its forward")
        if module in origin.programs:
            program = origin.programs[module]
            lines.append(f"program = {quoted(program)}")
            lines.append(f'program_sha256 = "{sha256_file(folder / program)}"')
    if len(wiring.inputs) > 1:
        read = {tensor for names_ in wiring.inputs.values() for tensor in names_}
        final = [tensor for names_ in wiring.outputs.values() for tensor in names_ if tensor not in read]
        whole = "whole" if "whole" not in wiring.inputs else "whole_net"
        lines += ["", f"[entries.{whole}]", f"modules = {names(list(wiring.inputs))}", f"outputs = {names(final)}"]
    return "\n".join(lines) + "\n"


def tensor_lines(seen: Seen, size: tuple[int, ...] | None, wiring: Wiring) -> list[str]:
    shape = [*map(str, seen.shape[:2]), '"H"', '"W"'] if size else list(map(str, seen.shape))
    lines = [f"[tensors.{seen.name}]", f"shape = [{', '.join(shape)}]", f"dtype = {quoted(seen.dtype)}"]
    if seen.kind != "tensor":
        lines.append(f"kind = {quoted(seen.kind)}")
    if seen.limits is not None:
        lines.append(f"range = [{seen.limits[0]:g}, {seen.limits[1]:g}]")
    if seen.name == wiring.normalized:
        lines += [f"mean = {list(wiring.mean)}   # inside every file, per channel", f"std = {list(wiring.std)}"]
    return lines


def quoted(text: str) -> str:
    """Return a basic string of TOML."""
    return json.dumps(text, ensure_ascii=False)


def toml_value(value: object) -> str:
    """Return nested lists, dicts, names and numbers as TOML."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{quoted(key)} = {toml_value(item)}' for key, item in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def names(items: Sequence[str]) -> str:
    return f"[{', '.join(map(quoted, items))}]"
