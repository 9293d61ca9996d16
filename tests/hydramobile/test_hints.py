"""Commands are named as the reader has them: by make in a checkout, by the console script beside a wheel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hydramobile.hints import COMMANDS, hints


@pytest.mark.parametrize(
    ("text", "installed"),
    [
        ("export it again with: make export", "export it again with: hydra-mobile export all"),
        ("Run: make export-web parity", "Run: hydra-mobile ship web"),
        ("make parity MODEL=models/x; make bench", "hydra-mobile parity --model models/x; hydra-mobile latency"),
        ("<code>make bundle-ios MODEL=a/b</code>", "<code>hydra-mobile bundle ios --model a/b</code>"),
        ("make bench-android TOOL=path/to/benchmark_model", "hydra-mobile device --device adb"),
        ("make exports, make parity-check", "make exports, make parity-check"),
    ],
)
def test_make_is_named_in_a_checkout_alone(text: str, installed: str) -> None:
    assert hints(text, checkout=False) == installed
    assert hints(text, checkout=True) == text


def test_every_target_is_one_of_the_makefile_and_every_command_one_of_the_console(root: Path) -> None:
    from ship.console import COMMANDS as WORDS

    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for target, command in COMMANDS.items():
        for word in target.partition(" TOOL=")[0].split():
            assert re.search(rf"^{re.escape(word)}:", makefile, re.MULTILINE), word
        assert command.split()[0] in {*WORDS, "doctor"}
