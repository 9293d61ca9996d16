"""Nets that remember, draw lots, or hand on what they were given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.runtime import load_runtime, run
from export.passes.decompose.spell_out import writes_in_place
from export.program import Program, capture
from export.targets.coreml import convert
from export.targets.coreml.passes.copy_passthrough_outputs import copy_passed
from export.targets.coreml.target import CoreMLTarget
from export.targets.onnx.target import OnnxTarget
from hydramobile.errors import StageError
from hydramobile.recipes import recipe
from hydramobile.spec import load_spec

HOOKED = """

plain = build


def build():
    import torch

    modules = plain()
    for module in modules.values():
        module.register_buffer("runs", torch.zeros(()), persistent=False)

        def after(module, inputs, made):
            module.runs += 1
            return {made}

        module.register_forward_hook(after)
    return modules
"""


@pytest.mark.parametrize("made", ["made + 0.1 * torch.rand_like(made)", "made * module.runs"])
def test_what_differs_the_second_time_is_refused(own_model: Callable[..., Path], made: str) -> None:
    folder = own_model("classifier")
    path = folder / "net.py"
    path.write_text(path.read_text(encoding="utf-8") + HOOKED.format(made=made), encoding="utf-8")
    with pytest.raises(StageError, match=r"makes another '\w+' of the same input the second time"):
        capture(load_spec(folder))


class Counting(nn.Module):
    runs: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.register_buffer("runs", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        made: Tensor = self.layer(x)
        return made


def computed(program: Program, target: Any, name: str, folder: Path) -> dict[str, np.ndarray]:
    made = target.emit(program, target.convert(program, folder), recipe(name), folder)
    runtime = load_runtime("coreml-mil" if target.name == "coreml" else "onnxruntime")
    session = runtime.open(folder, made.entries[0])
    found = run(session, {"x": program.tensors["x"].numpy()})
    session.close()
    return found


def test_a_counter_of_runs_is_left_out(ops_program: Callable[..., Program], tmp_path: Path) -> None:
    """Core ML would make it a state, which takes iOS 18 and is of no use."""
    program = ops_program({"y": Counting()}, (1, 3, 8, 8))
    exported = program.exported(program.spec.entries["net"])
    assert not any(writes_in_place(node.target) for node in exported.graph_module.graph.nodes)
    found = computed(program, CoreMLTarget(), "float32", tmp_path)
    np.testing.assert_allclose(found["y"], program.tensors["y"].numpy(), atol=1e-5)


class Drawing(nn.Module):
    """What is drawn on a copy of a buffer, and a buffer that is drawn on the input's copy, are no state."""

    paper: Tensor
    ink: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("paper", torch.ones(1, 3, 10, 10))
        self.register_buffer("ink", torch.full((8,), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        copy, sheet = x.clone(), self.paper.clone()
        copy[:, :, 0] = self.ink
        sheet[:, :, 1:-1, 1:-1] = copy
        sheet[:, 0].mul_(0.5)
        return sheet


@pytest.mark.parametrize("target", [CoreMLTarget, OnnxTarget])
def test_what_is_drawn_stays(target: Callable[[], Any], ops_program: Callable[..., Program], tmp_path: Path) -> None:
    program = ops_program({"y": Drawing()}, (1, 3, 8, 8))
    found = computed(program, target(), "float32", tmp_path)
    np.testing.assert_allclose(found["y"], program.tensors["y"].numpy(), atol=1e-5)


PASSED = {
    "y": nn.Conv2d(3, 4, 3),
    "same": lambda x: x,
    "rested": lambda x: F.alpha_dropout(F.dropout(x, training=False), 0.3, training=False),
    "anchors": lambda x: torch.arange(12.0).reshape(3, 4),
}


@pytest.mark.parametrize("name", ["float32", "float16"])
@pytest.mark.parametrize("target", [CoreMLTarget, OnnxTarget])
def test_inputs_and_constants_as_outputs(
    target: Callable[[], Any], name: str, ops_program: Callable[..., Program], tmp_path: Path
) -> None:
    """As encoders return the photo among their features, and detectors their anchors."""
    program = ops_program(PASSED, (1, 3, 8, 8))
    for key, value in computed(program, target(), name, tmp_path).items():
        np.testing.assert_allclose(value, program.tensors[key].numpy(), atol=1e-5 if name == "float32" else 2e-3)


def test_core_ml_refuses_inputs_as_outputs_otherwise(
    ops_program: Callable[..., Program], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tuple(fix for fix in convert.GRAPH_FIXES if fix is not copy_passed)
    monkeypatch.setattr(convert, "GRAPH_FIXES", kept)
    with pytest.raises(StageError, match="input name"):
        computed(ops_program(PASSED, (1, 3, 8, 8)), CoreMLTarget(), "float32", tmp_path)
