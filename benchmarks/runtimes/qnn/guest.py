"""Runs in the extra's own environment: one session of ONNX Runtime on Qualcomm's simulator of its NPU.

`guest.py MODEL ARCHITECTURE SOC`, then a line of JSON a run on stdin ({"inputs", "outputs": .npz files}) and a line of
JSON an answer on stdout; the first answer says how the graph was placed. Knows nothing of this repository.
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
    """Pieces of the graph on the NPU, and operators on it and beside it."""
    pieces = [(piece.ep_name, len(piece.get_nodes())) for piece in session.get_provider_graph_assignment_info()]
    inside = [count for name, count in pieces if name == PROVIDER]
    return {
        "partitions": len(inside),
        "npu_operators": sum(inside),
        "cpu_operators": sum(count for name, count in pieces if name != PROVIDER),
    }


def main() -> None:
    # The simulator writes on stdout: answers go to the stream that was there before, everything else to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    session = open_session(*sys.argv[1:4])
    names = [value.name for value in session.get_outputs()]
    print(json.dumps(placement(session)), file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        with np.load(job["inputs"]) as stored:
            made = session.run(names, {name: stored[name] for name in stored.files})
        np.savez(job["outputs"], **dict(zip(names, made, strict=True)))
        print(json.dumps({"done": True}), file=answers, flush=True)


if __name__ == "__main__":
    main()
