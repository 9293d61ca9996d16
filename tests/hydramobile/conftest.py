"""Write models: a valid minimal model.toml, which each test changes in one place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

MINIMAL = """
schema = 1
name = "small"
version = "1.0.0"
factory = "small.net:build"
weights = { path = "weights.safetensors", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
sizes = [[8, 6], [6, 8]]
[tensors.image]
shape = [1, 3, "H", "W"]
range = [0, 1]
kind = "rgb-photo"
[tensors.alpha]
shape = [1, 1, "H", "W"]
range = [0, 1]
judge = "alpha-matte"
[modules.body]
inputs = ["image"]
outputs = ["feature"]
[modules.head]
inputs = ["feature"]
outputs = ["alpha"]
[entries.whole]
modules = ["body", "head"]
outputs = ["alpha"]
"""


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., Path]:
    """`write_model((old, new), ...)`: write the minimal model.toml with pieces replaced, and return its folder."""

    def write(*edits: tuple[str, str], files: dict[str, str | bytes] | None = None) -> Path:
        text = MINIMAL
        for old, new in edits:
            assert old in text, f"the minimal model.toml has no {old!r}"
            text = text.replace(old, new)
        folder = tmp_path / "small"
        folder.mkdir(exist_ok=True)
        (folder / "model.toml").write_text(text, encoding="utf-8")
        for name, content in (files or {}).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    return write
