"""The evidence table: the strongest label wins, and what is named as stronger can be done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.evidence.row import LABELS
from benchmarks.report import words
from benchmarks.report.strongest import NUMBERS, TIMES, Strength, best, steps_above
from hydramobile.targets import TARGET_ROWS


def test_the_nearest_to_a_phone_is_the_strongest() -> None:
    found = [("host", "litert"), ("emulated-arm", "b"), ("emulated-arm", "a"), ("static", "size")]
    assert best(NUMBERS, found) == Strength("emulated-arm", ("a", "b"))
    # Emulated code has numbers and no times.
    assert best(TIMES, found) == Strength("host", ("litert",))
    assert best(TIMES, [("emulated-arm", "a")]) == Strength()
    assert set(NUMBERS) | set(TIMES) == set(LABELS) == set(words.EVIDENCE)


@pytest.mark.parametrize(
    ("target", "numbers", "times", "labels"),
    [
        ("litert", "host", "host", ["emulated-arm", "measured-on-device"]),
        ("litert", "emulated-arm", "host", ["measured-on-device"]),
        ("litert", "measured-on-device", "measured-on-device", []),
        # A pretend phone, or one that only judged: its times are still to be had.
        ("litert", "measured-on-device", "host", ["measured-on-device"]),
        ("coreml", "interpreted", "", ["host", "measured-on-device"]),
        ("coreml", "", "", ["interpreted", "host", "measured-on-device"]),
        ("tfjs", "browser-host", "host", ["measured-on-device"]),
    ],
)
def test_the_steps_above(target: str, numbers: str, times: str, labels: list[str]) -> None:
    assert [step.label for step in steps_above(target, numbers, times)] == labels


def test_every_target_has_a_way_up_and_every_command_exists(root: Path) -> None:
    made = set(re.findall(r"^([a-z][a-z-]*):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for row in TARGET_ROWS:
        assert row.steps
        for step in row.steps:
            words_of = step.command.split()
            if words_of[:3] == ["python", "-m", "benchmarks"]:
                from benchmarks.__main__ import app

                assert words_of[3] in {each.callback.__name__ for each in app.registered_commands if each.callback}
                continue
            assert words_of[0] == "make"
            assert {word for word in words_of[1:] if "=" not in word} <= made, step.command
        assert "measured-on-device" in {step.label for step in row.steps} or row.beyond
