"""Write command lines for LiteRT's benchmark_model, and parse its output.

Traps, read from its source: inputs are matched by position in the graph (a wrong name is only a warning), outputs are
one file in the graph's order, an unknown flag is only a warning, a delegate that takes nothing leaves the graph to the
CPU, and a profiled run is slower than a plain one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from benchmarks.evidence.device import Timings
from benchmarks.evidence.profile import OpTime
from hydramobile.errors import StageError

FLAGS = {
    # The XNNPACK delegate with one thread, and with four: what an app's interpreter does by default.
    "cpu-1": ("--num_threads=1", "--use_xnnpack=true"),
    "cpu-4": ("--num_threads=4", "--use_xnnpack=true"),
    "cpu-4-fp16": ("--num_threads=4", "--use_xnnpack=true", "--xnnpack_force_fp16=true"),
    "cpu-4-builtin": ("--num_threads=4", "--use_xnnpack=false"),
    # Half precision is the delegate's default. The flag is explicit in case another version has another default.
    "gpu": ("--use_gpu=true", "--gpu_precision_loss_allowed=true", "--use_xnnpack=false"),
}
# One run on our inputs, whose outputs are written.
PARITY = ("--num_runs=1", "--min_secs=0", "--warmup_runs=1", "--warmup_min_secs=0")
# The limits of a float32 file are too tight for half precision, so the delegate computes it in full precision.
EXACT_GPU = ("--use_gpu=true", "--gpu_precision_loss_allowed=false", "--use_xnnpack=false")
NO_GPU = "Failed to apply GPU delegate"
TIMINGS = re.compile(
    r"Inference timings in us: Init: (?P<init>[\d.e+]+), First inference: (?P<first>[\d.e+]+), "
    r"Warmup \(avg\): (?P<warm>[-\w.+]+), Inference \(avg\): (?P<mean>[\d.e+]+)"
)
COUNTS = re.compile(r"count=(?P<count>\d+) (?P<rest>first=.*)")
FIELD = re.compile(r"(\w+)=([\d.e+]+)")
MEMORY = re.compile(r"Overall peak memory footprint \(MB\) via periodic monitoring: ([\d.e+]+)")
DELEGATE = re.compile(
    r"Explicitly applied (?P<name>\S+) delegate, and the model graph will be (?P<how>completely|partially) executed"
    r".*?(?:w/ (?P<kernels>\d+) delegate kernels)?\.?$",
    re.MULTILINE,
)
IGNORED = re.compile(r"Unconsumed cmdline flags:\s*(.*\S)")
REGULAR = "Operator-wise Profiling Info for Regular Benchmark Runs"
ROW = re.compile(r"^\s*(?P<kind>\S.*?)\s+(?P<numbers>(?:[\d.]+%?\s+){4,})(?P<name>\S.*)$")


def parity_flags(inputs: Sequence[tuple[str, Sequence[int]]], output: str, how: Sequence[str]) -> list[str]:
    """Return the flags of a run on `inputs` that writes `output`.

    `inputs` are (file on the device, shape) in the graph's order. `how` are the flags for the kernels or delegate.
    """
    names = [f"in{index}" for index in range(len(inputs))]
    shapes = ":".join(",".join(map(str, shape)) for _, shape in inputs)
    files = ",".join(f"{name}:{file}" for name, (file, _) in zip(names, inputs, strict=True))
    layers = [f"--input_layer={','.join(names)}", f"--input_layer_shape={shapes}", f"--input_layer_value_files={files}"]
    return [*PARITY, *how, *layers, f"--output_filepath={output}"]


def latency_flags(configuration: str, seconds: float) -> list[str]:
    """Return the flags of a timed run of `seconds` or more, and of 50 runs or more."""
    run = ["--warmup_runs=3", "--num_runs=50", f"--min_secs={seconds:g}", f"--max_secs={max(60.0, 4 * seconds):g}"]
    return [*FLAGS[configuration], *run, "--report_peak_memory_footprint=true"]


def profile_flags() -> list[str]:
    """Return the flags of a profiled run on one thread."""
    return [*FLAGS["cpu-1"], "--warmup_runs=3", "--num_runs=20", "--min_secs=0", "--enable_op_profiling=true"]


def check_flags(text: str) -> None:
    """Raise StageError("run") where the tool did not know a flag: it ran something else then."""
    match = IGNORED.search(text)
    if match:
        raise StageError("run", f"this benchmark_model is too old or another program: it does not know {match[1]}")


def read_timings(text: str) -> Timings:
    """Parse the times of a plain run, with what the tool says of their spread, of memory and of a delegate.

    Raises StageError("run") where the line of timings is missing: nothing else proves that the graph ran.
    """
    match = TIMINGS.search(text)
    if match is None:
        raise StageError("run", f"benchmark_model printed no timings: {last_lines(text)}")
    counts = list(COUNTS.finditer(text))
    spread = {key: float(value) for key, value in FIELD.findall(counts[-1]["rest"])} if counts else {}
    memory = MEMORY.search(text)
    return Timings(
        init_ms=milliseconds(float(match["init"])),
        first_ms=milliseconds(float(match["first"])),
        mean_ms=milliseconds(float(match["mean"])),
        p50_ms=milliseconds(spread.get("median")),
        p95_ms=milliseconds(spread.get("p95")),
        min_ms=milliseconds(spread.get("min")),
        max_ms=milliseconds(spread.get("max")),
        std_ms=milliseconds(spread.get("std")),
        runs=int(counts[-1]["count"]) if counts else 0,
        peak_memory=round(float(memory[1]) * 2**20) if memory else None,
        delegate=read_delegate(text),
    )


def milliseconds(microseconds: float | None) -> float | None:
    return None if microseconds is None else round(microseconds / 1e3, 4)


def read_delegate(text: str) -> str:
    """Return what a delegate took of the graph, such as "GPU, partially, 3 kernels". Empty where it took nothing."""
    match = DELEGATE.search(text)
    return f"{match['name']}, {match['how']}, {match['kernels'] or 1} kernels" if match else ""


def read_profile(text: str) -> list[OpTime]:
    """Parse the table "Run Order" of the regular runs. Its columns vary between versions, so their heads name them."""
    section = text.partition(REGULAR)[2] or text
    lines = section.splitlines()
    start = next((number for number, line in enumerate(lines) if " Run Order " in line), None)
    heads = re.findall(r"\[([^\]]+)\]", lines[start + 1])[1:-1] if start is not None and start + 1 < len(lines) else []
    if start is None or "avg ms" not in heads:
        raise StageError("profile", f"benchmark_model printed no table of operators: {last_lines(text)}")
    times: list[OpTime] = []
    for line in lines[start + 2 :]:
        match = ROW.match(line)
        if match is None:
            break
        numbers: Mapping[str, str] = dict(zip(heads, match["numbers"].split(), strict=False))
        calls = float(numbers.get("times called", "1"))
        total_ms = float(numbers["avg ms"]) * calls
        times.append(OpTime(match["kind"].removeprefix("Delegate/"), match["name"], total_ms, calls))
    if not times:
        raise StageError("profile", f"benchmark_model's table lists no operator: {last_lines(text)}")
    return times


def last_lines(text: str, most: int = 300) -> str:
    """Return the end of the tool's output on one line."""
    return " ".join(text.split())[-most:] or "it printed nothing"
