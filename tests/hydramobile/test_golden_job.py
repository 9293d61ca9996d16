"""Goldens from the command line: a reference whose code ends its process, fails or does not repeat gives no goldens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FAULTS = {
    "raise SystemExit(0)": "module 'classifier' failed: SystemExit: 0",
    "import os; os._exit(0)": "without a result",
    "import ctypes; ctypes.string_at(0)": "was killed by SIGSEGV",
    "raise RuntimeError('no disk')": "module 'classifier' failed: RuntimeError: no disk",
    "image = image + torch.rand_like(image)": "returns another 'scores' for the same input the second time",
    "self.runs = getattr(self, 'runs', 0) + 1; image = image + (self.runs > 2)": "the second time",
    "image = image / 0": "'scores' holds NaN on sample",
    "return torch.zeros(1, 11)": "has shape [1, 11], the spec says [1, 10]",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_reference_that_is_none(
    own_model: Callable[..., Path], tmp_path: Path, command: Callable[..., Any], fault: str
) -> None:
    folder = own_model("classifier")
    net = (folder / "net.py").read_text()
    at = net.rindex("    def forward(")
    head, body = net[at:].split("\n", 1)
    (folder / "net.py").write_text(f"{net[:at]}{head}\n        {fault}\n{body}")
    out = tmp_path / "out"
    done = command("hydramobile", "goldens", "--model", folder, "--out", out)
    assert done.code == 3, done.verdict
    assert FAULTS[fault] in done.verdict
    assert "Traceback" not in done.out + done.err
    assert not list(out.rglob("*.npz")), "a golden of a net that is no reference would pass the next time"
