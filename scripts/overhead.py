"""Compare the time of `python -m export` with that of the vendors' own calls, in fresh processes that take turns.

Run from the repository root: .venv/bin/python scripts/overhead.py [onnx coreml litert tfjs] [--rounds 2]

The bare side imports the vendor, converts every entry, applies every recipe and saves the files: no checks, no
metadata, no seal, no goldens. The ratio should be 1.25 at most. Use the processor time if other work runs on the
machine. No vendor converts PyTorch nets to TF.js any more. The bare side of TF.js only writes the ONNX graphs that our
writer starts from, so its ratio is the cost of writing them as TF.js.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

RECIPES = ("float32", "float16", "w8")
TARGETS = ("onnx", "coreml", "litert", "tfjs")


def net(model: Path) -> tuple[Any, list[tuple[Any, Any, tuple[Any, ...]]]]:
    """Return (spec, [(entry, module, example inputs)]), using only the wiring of the export package."""
    import torch

    from export.program import entry_module
    from hydramobile.loader import as_tuple, load_modules
    from hydramobile.spec import load_spec

    spec = load_spec(model)
    modules = load_modules(spec)
    height, width = spec.size
    tensors = {
        name: torch.rand(1, 3, height, width) for name, tensor in spec.tensors.items() if tensor.kind == "rgb-photo"
    }
    with torch.no_grad():
        for module in spec.modules.values():
            outputs = as_tuple(modules[module.name](*(tensors[name] for name in module.inputs)))
            tensors |= dict(zip(module.outputs, outputs, strict=True))
    entries = spec.entries.values()
    return spec, [
        (e, entry_module(modules, e, spec, tensors), tuple(tensors[name] for name in e.inputs)) for e in entries
    ]


def bare_onnx(model: Path, folder: Path, save: bool = True) -> None:
    import onnx
    import torch

    _, entries = net(model)
    for entry, module, example in entries:
        with torch.no_grad():
            program = torch.onnx.export(
                torch.export.export(module, example, strict=False),
                dynamo=True,
                opset_version=20,
                input_names=list(entry.inputs),
                output_names=list(entry.outputs),
                verbose=False,
            )
        assert program is not None
        if not save:
            continue
        from onnxruntime.transformers.float16 import convert_float_to_float16

        # No vendor call writes weight-only int8, so that recipe costs the bare side nothing.
        path = folder / f"{entry.name}.onnx"
        onnx.save(program.model_proto, path)
        onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), folder / f"{entry.name}.half.onnx")


def bare_tfjs(model: Path, folder: Path) -> None:
    bare_onnx(model, folder, save=False)


def bare_coreml(model: Path, folder: Path) -> None:
    sys.modules["tensorflow"] = None  # type: ignore[assignment]  # coremltools would spend 12 s on importing it
    import coremltools as ct
    import coremltools.optimize.coreml as cto
    import torch

    spec, entries = net(model)
    saved: dict[str, list[tuple[str, Path]]] = {recipe: [] for recipe in RECIPES}
    config = cto.OptimizationConfig(
        global_config=cto.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", granularity="per_channel")
    )
    for entry, module, example in entries:
        with torch.no_grad():
            exported = torch.export.export(module, example, strict=False).run_decompositions({})
        for recipe, precision in (("float32", ct.precision.FLOAT32), ("float16", ct.precision.FLOAT16)):
            package = ct.convert(
                exported,
                inputs=[ct.TensorType(name=n, shape=v.shape) for n, v in zip(entry.inputs, example, strict=True)],
                outputs=[ct.TensorType(name=name) for name in entry.outputs],
                convert_to="mlprogram",
                compute_precision=precision,
                minimum_deployment_target=ct.target.iOS16,
                skip_model_load=True,
            )
            path = folder / f"{recipe}-{entry.name}.mlpackage"
            package.save(str(path))
            saved[recipe].append((entry.name, path))
        half = ct.models.MLModel(str(saved["float16"][-1][1]), skip_model_load=True)
        path = folder / f"w8-{entry.name}.mlpackage"
        cto.linear_quantize_weights(half, config).save(str(path))
        saved["w8"].append((entry.name, path))
    for recipe, packages in saved.items():
        descriptor = ct.utils.MultiFunctionDescriptor()
        for name, path in packages:
            descriptor.add_function(str(path), src_function_name="main", target_function_name=name)
        descriptor.default_function_name = packages[-1][0]
        ct.utils.save_multifunction(descriptor, str(folder / f"{spec.name}-{recipe}.mlpackage"))


def bare_litert(model: Path, folder: Path) -> None:
    import litert_torch
    from ai_edge_quantizer import quantizer

    from export.targets.litert.recipes import rules
    from hydramobile.recipes import recipe

    spec, entries = net(model)
    converter: Any = litert_torch
    for entry, module, example in entries:
        wrapped = litert_torch.to_channel_last_io(module, list(range(len(example))), list(range(len(entry.outputs))))
        inputs = tuple(value.permute(0, 2, 3, 1).contiguous() for value in example)
        converter = converter.signature(entry.name, wrapped.eval(), inputs)
    path = folder / f"{spec.name}.tflite"
    converter.convert().export(str(path))
    for name in ("float16", "w8"):
        result = quantizer.Quantizer(str(path), rules(recipe(name), 0)).quantize()
        (folder / f"{name}.tflite").write_bytes(bytes(result.quantized_model))


@dataclass(frozen=True)
class Spent:
    """Seconds of one command: wall time, and processor time (user and system) of it and all its children."""

    wall: float
    processor: float


def run(command: list[str], log: Path) -> Spent:
    """Run a command that must succeed and return the time it takes."""
    from hydramobile.process import environment

    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("ab") as noise:
        done = subprocess.run(command, cwd=ROOT, stdout=noise, stderr=noise, env=environment(), check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {log.read_text()[-2000:]}")
    return Spent(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def compare(target: str, model: Path, rounds: int) -> str:
    """Return a line with the times of both sides and their ratios. The sides take turns at going first."""
    from benchmarks.machine import load

    spent: dict[str, list[Spent]] = {"ours": [], "bare": []}
    before = load()
    for turn in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            home = Path(scratch)
            (home / "bare").mkdir()
            ours = ["-m", "export", "make", target, "--model", str(model), "--out", str(home / "ours")]
            ours += [word for name in RECIPES for word in ("--recipe", name)]
            commands = {"ours": ours, "bare": [__file__, target, "--model", str(model), "--bare", str(home / "bare")]}
            for side in list(commands)[:: -1 if turn % 2 else 1]:
                spent[side].append(run([sys.executable, *commands[side]], home / "log"))
    words = []
    for unit in ("processor", "wall"):
        sides = [[getattr(times, unit) for times in spent[side]] for side in ("ours", "bare")]
        ratios = [a / b for a, b in zip(*sides, strict=True)]
        ours_s, bare_s = map(statistics.median, sides)
        words.append(
            f"{unit} {ours_s:.1f} s against {bare_s:.1f} s, ratio {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )
    return f"{target}: {'; '.join(words)}; load {before} to {load()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=TARGETS)
    parser.add_argument("--model", type=Path, default=Path("models/portrait"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--bare", type=Path, help="Only write the bare files of one target into this folder.")
    arguments = parser.parse_args()
    if arguments.bare:
        warnings.simplefilter("ignore")
        globals()[f"bare_{arguments.targets[0]}"](arguments.model, arguments.bare)
        return
    from benchmarks.machine import identity

    sys.stdout.write(f"{identity().processor}, {' '.join(identity().flags)}; {arguments.rounds} rounds\n")
    for target in arguments.targets:
        sys.stdout.write(compare(target, arguments.model, arguments.rounds) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
