"""Run one session of ONNX Runtime on Qualcomm's simulator of its NPU, in the environment of the extra.

    guest.py MODEL ARCHITECTURE SOC

Each line of stdin is one run: a JSON object with the .npz files "inputs" and "outputs". Each line of stdout is one
answer in JSON; the first says how the graph was placed. This file imports nothing of this repository.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any

import numpy as np

PROVIDER = "QNNExecutionProvider"


def open_session(model: str, architecture: str, soc: str) -> Any:
    """Return an InferenceSession on the simulated NPU. Operators that it does not have run on the CPU."""
    ort, qnn = import_module("onnxruntime"), import_module("onnxruntime_qnn")
    ort.register_execution_provider_library(PROVIDER, qnn.get_library_path())
    devices = [device for device in ort.get_ep_devices() if device.ep_name == PROVIDER]
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    where = {"backend_path": qnn.get_qnn_htp_path(), "htp_arch": architecture, "soc_model": soc}
    options.add_provider_for_devices(devices[:1], where)
    return ort.InferenceSession(model, options)


def placement(session: Any) -> dict[str, int]:
    """Return the number of subgraphs on the NPU, and of operators on the NPU and on the CPU."""
    subgraphs = [(part.ep_name, len(part.get_nodes())) for part in session.get_provider_graph_assignment_info()]
    on_npu = [count for name, count in subgraphs if name == PROVIDER]
    return {
        "partitions": len(on_npu),
        "npu_operators": sum(on_npu),
        "cpu_operators": sum(count for name, count in subgraphs if name != PROVIDER),
    }


def main() -> None:
    # The simulator prints to stdout, so answers go to a copy of stdout and everything else to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    session = open_session(*sys.argv[1:4])
    names = [value.name for value in session.get_outputs()]
    print(json.dumps(placement(session)), file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        with np.load(job["inputs"]) as stored:
            outputs = session.run(names, {name: stored[name] for name in stored.files})
        np.savez(job["outputs"], **dict(zip(names, outputs, strict=True)))
        print(json.dumps({"done": True}), file=answers, flush=True)


if __name__ == "__main__":
    main()
