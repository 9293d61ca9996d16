"""The tables of the export commands print each reason once."""

from __future__ import annotations

import pytest

from export.driver import Outcome
from export.show import outcome_table, where


def test_one_reason_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    targets, recipes = ("onnx", "coreml", "litert", "tfjs"), ("float32", "float16", "w8", "p4")
    failed = [Outcome(target, own, "failed", "capture", "if x:") for target in targets for own in recipes]
    outcome_table([*failed, Outcome("coreai", "float32", "exported", seconds=1.0)])
    told = capsys.readouterr().out
    assert told.count("if x:") == 1 and told.count("failed") == 1
    assert all(name in told for name in (*targets, *recipes, "coreai", "exported"))


def test_targets_with_other_recipes_have_a_line_each() -> None:
    assert where([("onnx", "w8"), ("onnx", "p4"), ("tfjs", "w8"), ("tfjs", "p4")]) == ("onnx, tfjs", "w8, p4")
    assert where([("onnx", "w8"), ("onnx", "p4"), ("tfjs", "w8")]) == ("onnx\ntfjs", "w8, p4\nw8")
