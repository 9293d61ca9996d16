"""docs/supported-ops.md agrees with real exports of the op cases. Renew it with: make ops"""

from __future__ import annotations

import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support.op_cases import Case, op_cases
from support.op_support import captured_ops, main_ops, outcome, run_cases
from support.programs import ops_program

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:The tensor attributes:UserWarning"),
]
TARGETS = ("onnx", "coreml", "litert", "tfjs")
# (case, target): one as is, decomposed or refused, on two targets.
HANDFUL = [
    ("tfjs_ops/activations/relu", "onnx"),
    ("decompositions/sort/kth", "onnx"),
    ("extra/integers/gcd", "onnx"),
    ("tfjs_ops/activations/relu", "tfjs"),
    ("decompositions/sort/kth", "tfjs"),
    ("tfjs_ops/pools/divided", "tfjs"),
]


@lru_cache(maxsize=1)
def script(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("supported_ops", root / "scripts" / "supported_ops.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((root / "docs/supported-ops.json").read_text(encoding="utf-8"))
    return content


@lru_cache(maxsize=1)
def by_key() -> dict[str, Case]:
    return {case.key: case for case in op_cases()}


def stated(state: str, detail: str) -> str:
    """Return what must agree: the state, and the passes that decompose. Vendors' messages may change."""
    return f"{state}: {detail}" if state == "decomposed" else state


def test_the_page_is_rendered_from_the_results(root: Path, results: dict[str, Any]) -> None:
    page = (root / "docs/supported-ops.md").read_text(encoding="utf-8")
    assert page == script(root).render(results), "run: python scripts/supported_ops.py --render"


def test_the_results_have_every_case(results: dict[str, Any]) -> None:
    unlisted = set(by_key()) - set(results)
    # A case without an op, such as the identity, has no row.
    assert all(not captured_ops(ops_program({"y": by_key()[key].function}, by_key()[key].shape)) for key in unlisted)
    assert set(results) <= set(by_key())
    # The page counts the exports that were not run.
    assert all(set(row["targets"]) <= set(TARGETS) for row in results.values())


@pytest.mark.parametrize(("key", "target"), HANDFUL)
def test_a_handful_of_ops_agrees(key: str, target: str, results: dict[str, Any]) -> None:
    case, row = by_key()[key], results[key]
    found = outcome(case, row["op"], target, run_cases([case], target)[key])
    assert stated(found.state, found.detail) == stated(*row["targets"][target])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("target", TARGETS)
def test_every_op_agrees(target: str, results: dict[str, Any]) -> None:
    differing = []
    for table in dict.fromkeys(case.table for case in op_cases()):
        cases = [case for case in op_cases() if case.table == table and case.key in results]
        failures = run_cases(cases, target)
        for case in cases:
            row = results[case.key]
            found = outcome(case, row["op"], target, failures[case.key])
            # The page counts the exports that were not run.
            if target in row["targets"] and stated(found.state, found.detail) != stated(*row["targets"][target]):
                differing.append(f"{case.key}: {found}, the page says {row['targets'][target]}")
    assert not differing, "\n".join(differing)


@pytest.mark.slow
def test_ops_are_those_of_their_cases(results: dict[str, Any]) -> None:
    graphs = {case.key: captured_ops(ops_program({"y": case.function}, case.shape)) for case in op_cases()}
    assert {key: row["op"] for key, row in results.items()} == main_ops(graphs)
