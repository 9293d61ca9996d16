"""Float regions: the operators that stay in float under static integers, by hand and on all targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from export.program import capture
from export.quantize.float_regions import (
    GraphView,
    ViewNode,
    float_region,
    float_regions,
    leading_allowance,
    leading_region,
    trailing_region,
)
from export.target import load_target
from export.targets.coreml import static as coreml
from export.targets.litert import flatbuffer
from export.targets.litert import static as litert
from export.targets.onnx import static as onnx
from hydramobile.spec import EntrySpec, load_spec


def chain(*nodes: ViewNode) -> GraphView:
    return GraphView(nodes, {"image": "image", "feature": "feature"}, {"map": nodes[-1].outputs[0]})


def op(name: str, *inputs: str, weights: int | None = None) -> ViewNode:
    """Return an operator whose output has its name; `weights` makes it a weighted one."""
    return ViewNode(name, inputs, (name,), weights is not None, weights or 0)


def names(nodes: list[ViewNode]) -> list[str]:
    return [node.name for node in nodes]


NET = chain(
    op("constant"),
    op("stem", "image", weights=10),
    op("relu", "stem"),
    op("depthwise", "relu", weights=5),
    op("other", "feature", weights=1),
    op("sum", "depthwise", "other"),
    op("project", "depthwise", weights=100),
    op("late", "relu", weights=1),
    op("head", "project", weights=7),
    op("scale", "head"),
    op("map", "scale", "constant"),
)


def test_the_leading_region_ends_where_its_allowance_ends() -> None:
    region, left = leading_region(NET, ["image"], 20)
    assert (names(region), left) == (["stem", "relu", "depthwise"], 0)
    region, left = leading_region(NET, ["image"], 15)
    assert names(region) == ["stem", "relu", "depthwise"], "an allowance may be used up"
    assert leading_region(NET, ["image"], 9) == ([], 0)


def test_the_leading_region_depends_on_raw_inputs_alone() -> None:
    region, left = leading_region(NET, ["image"], 1000)
    assert "other" not in names(region) and "sum" not in names(region) and "constant" not in names(region)
    assert left == 1000 - 10 - 5 - 100 - 1 - 7
    assert leading_region(NET, [], 1000) == ([], 1000)
    assert names(leading_region(NET, ["image", "feature"], 1000)[0])[3:5] == ["other", "sum"]
    assert leading_region(NET, ["an input that nothing reads"], 1000) == ([], 1000)


def test_the_trailing_region_starts_with_the_last_weighted_operator() -> None:
    assert set(names(trailing_region(NET, ["map"]))) == {"head", "scale", "map", "constant"}
    assert trailing_region(NET, []) == []
    both = chain(op("a", "image", weights=1), op("b", "a", weights=1), op("c", "a"), op("map", "b", "c"))
    assert set(names(trailing_region(both, ["map"]))) == {"a", "b", "c", "map"}, "each path has a last one"


def test_modules_share_an_allowance_and_files_have_their_own(model_dir: Callable[[str], Path]) -> None:
    program = capture(load_spec(model_dir("mixed")))
    nodes = [op("first", "image", weights=leading_allowance(program)), op("second", "first", weights=1)]
    stem = GraphView(nodes, {"image": "image"}, {"local": "second"})
    whole = replace(stem, outputs={"front": "second", "back": "second"})
    regions = float_regions(program, {"stem": stem, "whole": whole})
    assert names(regions["stem"]) == ["first"], "a feature is no dense output of the model"
    assert names(regions["whole"]) == ["second"], "nothing is left of the allowance"
    assert names(float_region(program, program.spec.entries["whole"], whole)) == ["first", "second"]


@pytest.mark.parametrize("model", ["classifier", "mixed"])
def test_targets_agree_on_the_leading_region(model_dir: Callable[[str], Path], model: str, tmp_path: Path) -> None:
    """It holds as many weighted operators on every target, whatever the targets' graphs call them."""
    program = capture(load_spec(model_dir(model)))
    counts = {}
    for target in ("onnx", "litert", "coreml"):
        (tmp_path / target).mkdir()
        converted = load_target(target).convert(program, tmp_path / target)
        entry = program.spec.entries[next(iter(program.spec.modules))]
        region, _ = leading_region(view_of(target, converted, entry), entry.inputs, leading_allowance(program))
        counts[target] = sum(node.weighted for node in region)
    assert len(set(counts.values())) == 1, counts


def view_of(target: str, converted: Any, entry: EntrySpec) -> GraphView:
    """Return the view of a module's graph as a target converted it."""
    match target:
        case "onnx":
            return onnx.view_of(entry, converted[entry.name])
        case "litert":
            return litert.view_of(flatbuffer.parse(converted), entry)
    return coreml.view_of(coreml.graph_of(converted, entry), entry)
