"""Run the samples of `op_db` through a target and its runtime, and judge every result by PyTorch's."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from export.program import Program
from hydramobile.errors import StageError
from support.emit import emit
from support.op_db import Calls, Sample
from support.op_support import LIMIT, ops_of, raw, stages
from support.programs import Part, wired_program

# Passes that tidy a graph after each run of decompositions, and PyTorch's own decompositions.
TIDYING = re.compile(r"remove_|copy_|decompose_to_core_aten")


# The longest that all samples of an op may take on one target.
SECONDS = 600


@contextmanager
def cached_registries() -> Iterator[None]:
    """Build PyTorch's lists of ONNX functions and of composite ops once per process: they are most of a small export.

    Nothing that is swept registers an op, so that the lists do not change.
    """
    from torch._export import utils
    from torch.export import exported_program
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    build, collect = ONNXRegistry.from_torchlib, lru_cache(maxsize=1)(utils._collect_all_valid_cia_ops)
    built = lru_cache(maxsize=2)(build)

    def copied(*arguments: Any, **more: Any) -> Any:
        registry, made = built(*arguments, **more), ONNXRegistry()
        made._opset_version = registry._opset_version
        made.functions.update({target: list(found) for target, found in registry.functions.items()})
        return made

    with (
        patch.object(ONNXRegistry, "from_torchlib", copied),
        patch.object(utils, "_collect_all_valid_cia_ops", collect),
        patch.object(exported_program, "_collect_all_valid_cia_ops", collect),
    ):
        yield


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one sample: `state` is "passed", "decomposed", "refused", "wrong" or "crashed"."""

    state: str
    detail: str = ""


def sweep(name: str, samples: Sequence[Sample], target: str) -> list[Outcome]:
    """Return the outcome of every sample of an op.

    All samples are exported in one file. Where that fails or one is wrong, each is exported on its own.
    """
    outcomes = together(name, samples, target)
    if len(samples) > 1 and any(outcome.state != "passed" for outcome in outcomes):
        outcomes = [together(name, [sample], target)[0] for sample in samples]
    passed = [sample for sample, outcome in zip(samples, outcomes, strict=True) if outcome.state == "passed"]
    names = passes_that_change(program_of(passed), target) if passed else []
    if names:
        done = Outcome("decomposed", ", ".join(names))
        outcomes = [done if outcome.state == "passed" else outcome for outcome in outcomes]
    return outcomes


def program_of(samples: Sequence[Sample]) -> Program:
    """Return the Program of one module that calls every sample: inputs `given_0`, ..., outputs `result_0`, ..."""
    tensors = [tensor for sample in samples for tensor in sample.tensors]
    results = [value for sample in samples for value in sample.call(sample.tensors)]
    inputs = {f"given_{number}": tensor if tensor.ndim else tensor.reshape(1) for number, tensor in enumerate(tensors)}
    outputs = tuple(f"result_{number}" for number in range(len(results)))
    return wired_program({"net": Part(Calls(samples), tuple(inputs), outputs)}, inputs)


def together(name: str, samples: Sequence[Sample], target: str) -> list[Outcome]:
    """Export all samples in one file, run it, and return an outcome per sample. A failure is the outcome of all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = program_of(samples)
            with tempfile.TemporaryDirectory() as folder:
                outputs = emit(program, target, Path(folder)).run()
        except Exception as error:  # noqa: BLE001  # vendors raise any type, and each is a reason
            return [Outcome("refused", named(reason(error), name, samples))] * len(samples)
        return judged(program, samples, outputs)


def judged(program: Program, samples: Sequence[Sample], outputs: Mapping[str, NDArray[Any]]) -> list[Outcome]:
    """Compare the outputs of each sample with PyTorch's."""
    outcomes, first = [], 0
    for sample in samples:
        names = [f"result_{first + number}" for number in range(len(sample.call(sample.tensors)))]
        first += len(names)
        faults = [fault for name in names if (fault := difference(outputs[name], program.tensors[name].numpy()))]
        outcomes.append(Outcome("wrong", faults[0]) if faults else Outcome("passed"))
    return outcomes


def difference(output: NDArray[Any], reference: NDArray[Any]) -> str:
    """Return in which way an output differs from the reference, or "".

    The limit is `LIMIT` of the largest magnitude, at least 1. Infinities must be equal. NaN must be NaN.
    """
    if output.shape != reference.shape:
        return f"shape {list(output.shape)}, not {list(reference.shape)}"
    ours, theirs = output.astype(np.float64), reference.astype(np.float64)
    special = ~np.isfinite(theirs)
    if not np.array_equal(ours[special], theirs[special], equal_nan=True) or not np.isfinite(ours[~special]).all():
        return "other NaN or infinities"
    if special.all():
        return ""
    peak = max(1.0, float(np.abs(theirs[~special]).max()))
    error = float(np.abs(ours - theirs, where=~special, out=np.zeros_like(ours)).max()) / peak
    return "" if error <= LIMIT else f"error {error:.1e}"


def reason(error: Exception) -> str:
    """Return one line of at most 240 characters, without paths and addresses."""
    text = error.message if isinstance(error, StageError) else f"{type(error).__name__}: {error}"
    line = " ".join(" ".join(text.strip().splitlines()[:4]).split())
    return re.sub(r"/\S+/|0x[0-9a-f]+", "", line).replace("|", "/")[:240]


def named(text: str, name: str, samples: Sequence[Sample]) -> str:
    """Mark a reason that names neither the op nor an op of its captured graph."""
    return text if any(word in text.lower() for word in words(name, samples)) else f"(unnamed) {text}"


def words(name: str, samples: Sequence[Sample]) -> set[str]:
    """Return the names by which a user knows an op: PyTorch's, and those of the ops of its captured graph."""
    own = {name.lower(), name.rpartition(".")[2].lower()}
    try:
        ops = ops_of(raw(program_of(samples)).graph)
    except Exception:  # noqa: BLE001  # capture itself is the failure
        return own
    return own | {op.split(".")[1].lower() for op in ops}


def passes_that_change(program: Program, target: str) -> list[str]:
    """Return the names of this project's passes that change the ops of a program on its way to `target`."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        graph: Any = raw(program)
        names = []
        for step in stages(target):
            if step is None:
                graph = graph.module(check_guards=False)
                continue
            before = ops_of(graph.graph)
            result = step(graph)
            graph = result.program
            if result.modified and before != ops_of(graph.graph) and not TIDYING.match(step.__name__):
                names.append(step.__name__)
        return list(dict.fromkeys(names))
