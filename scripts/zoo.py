"""Export nets of timm to every target and judge each artifact in its target's runtime.

Run from the repository root, after .venv/bin/pip install -c constraints.txt ".[zoo]":
.venv/bin/python scripts/zoo.py mobilevit_xxs levit_128s [--recipe float32] [--target onnx]

Weights are seeded and norms calibrated on noise. Parameters that are initialized to zero (the last norm of a block, a
layer scale) are set to other values: otherwise most of a net would not contribute to its output. Each artifact gets one
line: err_sens (the error divided by the variation of the output between inputs), or the reason of the refusal. The exit
code is 1 if an artifact was refused.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RUNTIMES = {"onnx": "onnxruntime", "coreml": "coreml-mil", "litert": "litert", "tfjs": "tfjs-tensorflow"}
SIZES = (64, 96, 128, 192, 224, 256)
MANIFEST = """schema = 1
name = "{name}"
version = "1"
factory = "{folder}.net:build"
weights = {{ path = "w.safetensors", sha256 = "{sha256}" }}
sizes = [[{size}, {size}]]

[tensors.image]
shape = [1, 3, "H", "W"]
range = [0, 1]

[modules.net]
inputs = ["image"]
outputs = ["scores"]
"""
FACTORY = """import timm


def build():
    return {{"net": timm.create_model({name!r}, pretrained=False, num_classes=10, **{options!r}).eval()}}
"""


def create(name: str) -> tuple[Any, int, dict[str, int]]:
    """Return (net, the smallest of SIZES that it accepts, its options for timm.create_model)."""
    import timm
    import torch

    for options in ({"img_size": SIZES[0]}, {}):
        try:
            net = timm.create_model(name, pretrained=False, num_classes=10, **options).eval()
        except TypeError:  # not every net has the option
            continue
        for size in SIZES[:1] if options else SIZES:
            try:
                with torch.no_grad():
                    net(torch.zeros(1, 3, size, size))
            except (RuntimeError, AssertionError, ValueError):  # too small for its strides or its windows
                continue
            return net, size, dict(options)
    raise SystemExit(f"{name} accepts none of the sizes {SIZES}")


def fill(net: Any, size: int) -> None:
    """Calibrate the norms and replace parameters that are zero."""
    import torch
    from torch import nn

    norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    for key, value in net.named_parameters():
        if ("gamma" in key and value.abs().max() < 0.01) or (key.endswith("weight") and not value.any()):
            # Equal weights of a matrix would return 0 after a norm, whose outputs sum to zero.
            nn.init.constant_(value, 0.4) if value.ndim < 2 else nn.init.normal_(value, std=0.05)
    for layer in norms:
        layer.momentum = None
        layer.train()
    with torch.no_grad():
        for seed in range(4):
            net(torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(seed)))
    net.eval()


def write_model(name: str, folder: Path) -> Path:
    """Write a model folder for the net and return it."""
    import torch
    from safetensors.torch import save_file

    from hydramobile.files import sha256_file

    torch.manual_seed(7)
    net, size, options = create(name)
    fill(net, size)
    home = folder / f"zoo_{name}"
    home.mkdir()
    save_file(
        {f"net.{key}": value.contiguous().clone() for key, value in net.state_dict().items()}, home / "w.safetensors"
    )
    (home / "net.py").write_text(FACTORY.format(name=name, options=options), encoding="utf-8")
    facts = {"name": f"zoo-{name.replace('_', '-')}", "folder": home.name, "size": size}
    text = MANIFEST.format(sha256=sha256_file(home / "w.safetensors"), **facts)
    (home / "model.toml").write_text(text, encoding="utf-8")
    return home


def run(*arguments: object) -> Any:
    """Run a command of the project; return its JSON output, or its last line of errors if it printed no JSON."""
    command = [sys.executable, "-m", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError:
        return (done.stderr or done.stdout).strip().splitlines()[-1:]


def judge(name: str, targets: list[str], recipes: list[str]) -> list[tuple[str, str, str, bool]]:
    """Return (target, recipe, err_sens or reason, whether it passed) of every artifact."""
    with tempfile.TemporaryDirectory(prefix="hydra-zoo-") as folder:
        paths = ("--model", write_model(name, Path(folder)), "--out", Path(folder) / "out")
        recipe_options = [word for recipe in recipes for word in ("--recipe", recipe)]
        outcomes = run("export", *targets, *paths, *recipe_options, "--json")
        run("hydramobile", "goldens", *paths)
        runtime_options = [word for target in targets for word in ("--runtime", RUNTIMES[target])]
        results = run("benchmarks", "parity", *paths, *runtime_options, "--json")
    rows = results["results"] if isinstance(results, dict) else []
    judged: dict[tuple[str, str], Any] = {}
    for row in rows:
        key = (row["target"], row["recipe"])
        # Of several rows, keep one that fails, or else the one with measures.
        if key not in judged or row["verdict"] != "pass" or (judged[key]["verdict"] == "pass" and row["measures"]):
            judged[key] = row
    lines = []
    for outcome in outcomes:
        if isinstance(outcome, str):
            return [(target, "", outcome, False) for target in targets]
        key = (outcome["target"], outcome["recipe"])
        row = judged.get(key)
        if outcome["state"] != "exported" or row is None:
            lines.append((*key, str(outcome.get("reason") or "not judged"), False))
            continue
        figures = {measure["metric"]: measure["value"] for measure in row["measures"]}
        passed = row["verdict"] == "pass"
        lines.append((*key, f"{figures['err_sens']:.1e}" if passed else row["reason"], passed))
    return lines


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("names", nargs="+")
    parser.add_argument("--target", action="append", choices=RUNTIMES)
    parser.add_argument("--recipe", action="append")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    refused = 0
    for name in arguments.names:
        began = time.monotonic()
        lines = judge(name, arguments.target or list(RUNTIMES), arguments.recipe or ["float32"])
        for target, recipe, text, passed in lines:
            refused += not passed
            say(f"{'ok     ' if passed else 'REFUSED'} {name} {target} {recipe} {text}")
        say(f"        {name}: {time.monotonic() - began:.0f} s")
    return int(bool(refused))


if __name__ == "__main__":
    sys.exit(main())
