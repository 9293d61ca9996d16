"""The plan of a net that no exporter made: awkward names, all dtypes, scalars, two photos, a chain of four steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from export.bundle.plan import Plan, make_plan
from hydramobile.artifact import Artifact, Edge, Entry, Port, list_files
from hydramobile.files import dump_json

PHOTO = Port(
    "in", "in_0", (1, 4, 6, 3), "NHWC", "float32", "NCHW", (-1.0, 1.0), "rgb-photo", description="ends */ here"
)
BYTES = Port("photo 2", "b", (1, 3, 5, 4), "any", "uint8", "NCHW", (0.0, 1.0), "rgb-photo", scale=255.0)
FEATURE = Port("Größe", "g", (1, 2, 2, 4), "NHWC", "float32", "NCHW")
SMALL = Port("class", "c", (1, 8), "any", "int8", scale=20.0, zero_point=-3)
MAP = Port("fun", "f", (1, 1, 5, 4), "any", "float32", "NCHW", description="a map [with brackets] /* and $dollars")
INPUTS = (
    Port("token_ids", "ids", (1, 3), "any", "int64", range=(5.0, 9.0)),
    Port("token ids", "ids2", (1, 3), "any", "int32"),
    Port("scale", "s", (), "any", "float32"),
    Port("count", "n", (), "any", "int32"),
    Port("on", "o", (2,), "any", "bool"),
    Port("level", "l", (4,), "any", "int8", scale=10.0, zero_point=1),
)
OUTPUTS = (
    MAP,
    Port("map", "m", (1, 5, 4, 1), "NHWC", "int8", "NCHW", (0.0, 1.0), scale=200.0, zero_point=-100),
    Port("label", "lab", (1,), "any", "int64"),
    Port("close", "cl", (), "any", "float32"),
    Port("is it", "ok", (2,), "any", "bool"),
)
ENTRIES = (
    Entry("val", "val", ("val",), "odd $.tflite", (PHOTO,), (FEATURE,), "val"),
    Entry("Engine", "Engine", ("Engine",), "two.tflite", (FEATURE, BYTES), (SMALL,), "sig nature"),
    Entry("close", "close", ("close",), "odd $.tflite", (SMALL, FEATURE, *INPUTS), OUTPUTS, "close"),
    Entry("Photo", "Photo", ("Photo",), "odd $.tflite", (SMALL,), (Port("sum", "sum", (1,), "any", "float32"),), "p"),
)
# A net without photos and maps.
PLAIN = (Entry("plain", "plain", ("plain",), "p.tflite", INPUTS, (OUTPUTS[2], OUTPUTS[4]), "plain"),)
EDGES = (Edge("Größe", "val", ("Engine", "close")), Edge("class", "Engine", ("close", "Photo")))


def odd_plan(sealed: Artifact, folder: Path, entries: Sequence[Entry] = ENTRIES) -> Plan:
    """Write the files of the net into `folder`, all zeros, and return its plan. `sealed` is any artifact."""
    golden = folder / "golden"
    golden.mkdir(parents=True)
    described = {
        entry.id: {side: ports(getattr(entry, side), golden) for side in ("inputs", "outputs")} for entry in entries
    }
    (golden / "golden.json").write_text(dump_json({"sample": "zeros", "entries": described}))
    for entry in entries:
        (folder / entry.file).write_bytes(b"no model")
    artifact = replace(
        sealed,
        model='od"d\n$name' if len(entries) > 1 else entries[0].name,
        target="litert",
        description="An odd net */ val broken = 1 /*",
        entries=tuple(entries),
        edges=EDGES,
        files=list_files(folder),
    )
    return make_plan(folder, artifact, (), "")


def ports(found: Sequence[Port], golden: Path) -> Mapping[str, Any]:
    rows = {}
    for port in found:
        name = f"{port.name.replace(' ', '-')}.{port.dtype}.bin"
        np.zeros(port.shape, port.dtype).tofile(golden / name)
        rows[port.file_name] = {"file": name, "shape": port.shape, "dtype": port.dtype, "mean_abs": 1e-05}
    return rows
