"""Nets as other people write them, on every target: float32 is never refused and always right.

An output is right where its error in the target's runtime is within a thousandth of its variation between inputs, the
default limit of a model without a budget. Sound conversions stay below a tenth of that.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hydramobile.files import sha256_file
from hydramobile.samples import load_samples, sample_inputs
from hydramobile.spec import load_spec
from hydramobile.targets import TARGETS, target_info

Command = Callable[..., Any]
FOREIGN = ("queries", "windows", "style", "larger", "written", "rotary", "decoded")
# The fast tests take one net all the way. The passes of each target have tests of their own.
FAST = {("tfjs", "written")}
PAIRS = [
    pytest.param(target, name, marks=() if (target, name) in FAST else pytest.mark.slow)
    for target in TARGETS
    for name in FOREIGN
]


@pytest.fixture(scope="session")
def nets(root: Path) -> ModuleType:
    path = root / "tests/nets/foreign/net.py"
    spec = importlib.util.spec_from_file_location("foreign_nets", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def lines(values: list[str]) -> str:
    return json.dumps(values)


def write_model(nets: ModuleType, name: str, folder: Path, root: Path) -> Path:
    """Write a model folder of a net, with seeded weights, and batch norm statistics of its calibration inputs."""
    net, home = nets.NETS[name], folder / f"foreign_{name}"
    home.mkdir(parents=True)
    source = (root / "tests/nets/foreign/net.py").read_text(encoding="utf-8")
    source += "\n\ndef build() -> dict[str, nn.Module]:\n"
    source += f"    return {{key: made() for key, (made, _, _) in NETS[{name!r}].modules.items()}}\n"
    (home / "net.py").write_text(source, encoding="utf-8")
    torch.manual_seed(7)
    modules = {key: made().eval() for key, (made, _, _) in net.modules.items()}

    def describe(sha256: str) -> None:
        text = f'schema = 1\nname = "foreign-{name}"\nversion = "1"\nfactory = "foreign_{name}.net:build"\n'
        text += f'weights = {{ path = "w.safetensors", sha256 = "{sha256}" }}\nsizes = [{list(net.size)}]\n'
        text += "".join(f"[tensors.{key}]\n{table}\n" for key, table in net.inputs.items())
        for key, (_, inputs, outputs) in net.modules.items():
            text += f"[modules.{key}]\ninputs = {lines(inputs)}\noutputs = {lines(outputs)}\n"
        if len(net.modules) > 1:
            last = list(net.modules.values())[-1][2]
            text += f"[entries.whole]\nmodules = {lines(list(net.modules))}\noutputs = {lines(last)}\n"
        (home / "model.toml").write_text(text, encoding="utf-8")

    describe("0" * 64)
    spec = load_spec(home)
    for module in modules.values():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None
                layer.train()
    with torch.no_grad():
        for sample in load_samples(spec, "calibrate"):
            known = {key: torch.from_numpy(value) for key, value in sample_inputs(spec, sample, spec.size).items()}
            for module in spec.modules.values():
                made = modules[module.name](*(known[tensor] for tensor in module.inputs))
                known |= dict(zip(module.outputs, made if isinstance(made, tuple) else (made,), strict=True))
    tensors = {f"{key}.{n}": v.contiguous() for key, module in modules.items() for n, v in module.state_dict().items()}
    save_file(tensors, home / "w.safetensors")
    describe(sha256_file(home / "w.safetensors"))
    return home


@pytest.mark.parametrize(("target", "name"), PAIRS)
def test_a_foreign_net(nets: ModuleType, command: Command, root: Path, tmp_path: Path, target: str, name: str) -> None:
    model = ("--model", write_model(nets, name, tmp_path, root), "--out", tmp_path / "out")
    made = command("export", target, *model, "--recipe", "float32", "--json")
    assert made.code == 0, made.out + made.err[-2000:]
    assert command("hydramobile", "goldens", *model).code == 0
    judged = command("benchmarks", "parity", *model, "--runtime", target_info(target).test_runtime, "--json")
    assert judged.code == 0, judged.verdict
    rows = [row for row in json.loads(judged.out)["results"] if row["measures"]]
    found = [m for row in rows for m in row["measures"] if m["metric"] == "err_sens"]
    assert found and all(m["value"] < 1e-4 for m in found), found
