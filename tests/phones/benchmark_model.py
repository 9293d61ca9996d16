"""Stands in for LiteRT's benchmark_model on the pretend phone: the same flags, by the same rules, on this computer.

As in the original, inputs are matched by their position in the graph and outputs are written in the graph's order.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter


def speak_of_the_gpu(kind: str) -> None:
    """GPU in the environment: nothing (there is none), "none" (it takes no operator), "completely", "wrong"."""
    if not kind:
        print("ERROR: Failed to apply GPU delegate.", file=sys.stderr)
        sys.exit(1)
    if kind == "none":
        said = "Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate."
    else:
        said = "Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate."
    print(f"INFO: {said}", flush=True)


def as_a_gpu(value: np.ndarray, half: bool) -> np.ndarray:
    """Rounded as half precision would be, where it is allowed; nonsense from a GPU that computes wrongly."""
    if os.environ["GPU"] == "wrong":
        return np.ascontiguousarray(value[..., ::-1])
    return value.astype(np.float16).astype(value.dtype) if half else value


def main() -> None:
    flags = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
    print("INFO: STARTING!", flush=True)
    if "HANG" in os.environ:
        time.sleep(600)
    if flags.get("use_gpu") == "true":
        speak_of_the_gpu(os.environ.get("GPU", ""))
    key, model = flags["signature_to_run_for"], Path(flags["graph"]).read_bytes()
    started = time.perf_counter()
    interpreter = Interpreter(model_content=model, num_threads=1)
    wrapper = interpreter._interpreter
    index = wrapper.GetSubgraphIndexFromSignature(key)
    wrapper.AllocateTensors(index)
    loaded = time.perf_counter() - started
    graph = schema.Model.GetRootAs(model, 0).Subgraphs(index)
    files = dict(item.split(":") for item in flags.get("input_layer_value_files", "").split(",") if item)
    names = flags["input_layer"].split(",") if "input_layer" in flags else []
    for place, name in enumerate(names):
        tensor = int(graph.Inputs(place))
        like = wrapper.GetTensor(tensor, index)
        data = Path(files[name]).read_bytes()
        assert len(data) == like.nbytes, f"The size of {files[name]} is {len(data)} bytes. It should be {like.nbytes}"
        wrapper.SetTensor(tensor, np.frombuffer(data, like.dtype).reshape(like.shape), index)
    times = []
    for _ in range(min(int(flags.get("num_runs", "50")), 5) + int(flags.get("warmup_runs", "1"))):
        started = time.perf_counter()
        wrapper.Invoke(index)
        times.append((time.perf_counter() - started) * 1e6)
    if "output_filepath" in flags:
        outputs = [wrapper.GetTensor(int(graph.Outputs(place)), index) for place in range(graph.OutputsLength())]
        if flags.get("use_gpu") == "true":
            outputs = [as_a_gpu(value, flags["gpu_precision_loss_allowed"] == "true") for value in outputs]
        Path(flags["output_filepath"]).write_bytes(b"".join(value.tobytes() for value in outputs))
    mean = sum(times) / len(times)
    low, high = min(times), max(times)
    spread = f"min={low:.0f} max={high:.0f} avg={mean:.1f} std=1 p5={low:.0f} median={mean:.0f} p95={high:.0f}"
    print(f"INFO: count={len(times)} first={times[0]:.0f} curr={times[-1]:.0f} {spread}")
    first = f"Init: {loaded * 1e6:.0f}, First inference: {times[0]:.0f}"
    print(f"INFO: Inference timings in us: {first}, Warmup (avg): {times[0]:.0f}, Inference (avg): {mean:.1f}")
    print("INFO: Overall peak memory footprint (MB) via periodic monitoring: 12.5")
    if flags.get("enable_op_profiling") == "true":
        print("INFO: Operator-wise Profiling Info for Regular Benchmark Runs:")
        print("============================== Run Order ==============================")
        heads = ("node type", "first", "avg ms", "%", "cdf%", "mem KB", "times called", "Name")
        print("\t" + "\t".join(f"[{head}]" for head in heads))
        share = mean / 1e3 / graph.OperatorsLength()
        for place in range(graph.OperatorsLength()):
            print(f"\t CONV_2D\t {share:.3f}\t {share:.3f}\t 1.0%\t 1.0%\t 0.000\t 1\t[node]:{place}")
        print()


if __name__ == "__main__":
    main()
