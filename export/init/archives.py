"""Nets of .pt2 archives: one module per file, joined by the names of their tensors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from export.init.net import KnownInput, Origin
from hydramobile.errors import UsageError
from hydramobile.pt2.archive import read_archive
from hydramobile.spec import NAME


def archive_origin(paths: Sequence[Path]) -> Origin:
    """Read archives in the given order. A module reads the outputs of earlier ones that have its inputs' names."""
    from hydramobile.pt2.net import graph_of, net_of

    origin = Origin({}, {})
    for path in paths:
        name = re.sub(r"\W", "_", path.stem) if len(paths) > 1 else "net"
        if not NAME.fullmatch(name) or name in origin.modules:
            raise UsageError(f"{path}: the module's name {name!r} is taken or no name; rename the file")
        archive = read_archive(path)
        net = net_of(archive)
        graph = graph_of(net)
        origin.modules[name] = net.eval()
        origin.inputs[name] = tuple(KnownInput(i.name, i.shape, i.dtype, i.sample) for i in graph.inputs)
        outputs = graph.output_names
        if len(paths) > 1 and outputs == ("output",):
            outputs = (name,)
        origin.outputs[name] = outputs
        origin.files[f"{name}.pt2"] = path
        origin.programs[name] = f"{name}.pt2"
        if archive.samples_refused and "holds objects" in archive.samples_refused:
            origin.notes.append(f"example inputs are not used: {archive.samples_refused}")
    return origin
