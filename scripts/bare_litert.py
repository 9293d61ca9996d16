"""Compare the speed of our LiteRT artifact with a bare litert-torch conversion: interleaved runs, one thread.

Run from the repository root: .venv/bin/python scripts/bare_litert.py BUILD_FOLDER [--rounds 30]
BUILD_FOLDER is build/<model> with a litert/float32 artifact, exported by `make export-android`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import identity, load
from benchmarks.runtimes.litert import load as interpreter
from export.program import capture
from hydramobile.artifact import read_artifact
from hydramobile.spec import load_spec

RUNS = 10


def convert_bare(model: Path, entry_name: str, folder: Path) -> Path:
    """Convert as a user would: the vendor's converter with channels-last inputs and outputs, without any pass."""
    import litert_torch

    program = capture(load_spec(model))
    entry = program.spec.entries[entry_name]
    example = program.example(entry)
    count = len(entry.outputs)
    net = litert_torch.to_channel_last_io(
        program.callable(entry), args=list(range(len(example))), outputs=list(range(count))
    )
    inputs = tuple(value.permute(0, 2, 3, 1).contiguous() if value.ndim == 4 else value for value in example)
    path = folder / "bare.tflite"
    litert_torch.convert(net.eval(), inputs).export(str(path))
    return path


def runner(path: Path, signature: str):  # type: ignore[no-untyped-def]  # the interpreter has no types
    from time import perf_counter

    loaded = interpreter(path, 1)
    name = signature if signature in loaded.get_signature_list() else next(iter(loaded.get_signature_list()))
    wrapper = loaded._interpreter
    graph = wrapper.GetSubgraphIndexFromSignature(name)
    wrapper.AllocateTensors(graph)

    def block() -> float:
        times = []
        for _ in range(RUNS):
            started = perf_counter()
            wrapper.Invoke(graph)
            times.append(perf_counter() - started)
        return statistics.median(times) * 1e3

    return loaded, block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=Path)
    parser.add_argument("--model", type=Path, default=Path("models/portrait"))
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    folder = arguments.build / "litert" / "float32"
    entry = read_artifact(folder).entries[-1]
    with tempfile.TemporaryDirectory() as scratch:
        bare = convert_bare(arguments.model, entry.name, Path(scratch))
        ours_model, ours = runner(folder / entry.file, entry.function or entry.name)
        bare_model, plain = runner(bare, "")
        for block in (ours, plain):
            block()
        before = load()
        pairs = [(ours(), plain()) for _ in range(arguments.rounds)]
    ratios = sorted(a / b for a, b in pairs)
    sys.stdout.write(
        f"entry {entry.id}: ours {statistics.median(a for a, _ in pairs):.2f} ms, "
        f"bare {statistics.median(b for _, b in pairs):.2f} ms, ratio {statistics.median(ratios):.3f} "
        f"(quartiles {ratios[len(ratios) // 4]:.3f} to {ratios[3 * len(ratios) // 4]:.3f}), {arguments.rounds} rounds, "
        f"load {before}, {identity().processor} {' '.join(identity().flags)}\n"
    )
    del ours_model, bare_model


if __name__ == "__main__":
    main()
