"""The grammar of recipe names."""

from __future__ import annotations

import pytest

from hydramobile.errors import ExitCode, UsageError
from hydramobile.recipes import Recipe, recipe


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("float32", Recipe("float32", "float", 32)),
        ("float16", Recipe("float16", "float", 16)),
        ("w8", Recipe("w8", "int", 8)),
        ("w16", Recipe("w16", "int", 16)),
        ("w8a8", Recipe("w8a8", "int", 8, 8)),
        ("w8a16", Recipe("w8a16", "int", 8, 16)),
        ("w4g32", Recipe("w4g32", "int", 4, block=32)),
        ("d8", Recipe("d8", "int", 8, dynamic=True)),
        ("p4", Recipe("p4", "palette", 4)),
        ("p6g16", Recipe("p6g16", "palette", 6, block=16)),
        ("w8g1", Recipe("w8g1", "int", 8, block=1)),
        ("w8a8s", Recipe("w8a8s", "int", 8, 8, signed=True)),
        ("s50", Recipe("s50", "sparse", 16, sparsity=50)),
        ("s50p4", Recipe("s50p4", "palette", 4, sparsity=50)),
        ("s75w8", Recipe("s75w8", "int", 8, sparsity=75)),
    ],
)
def test_parses(name: str, parsed: Recipe) -> None:
    assert recipe(name) == parsed


@pytest.mark.parametrize(
    "name",
    [
        "",
        "w1",
        "w9",
        "w8a4",
        "w4g0",
        "w4g",
        "d16",
        "d8a8",
        "p9",
        "p0",
        "p4g0",
        "w8 ",
        "W8",
        "float64",
        "w8\n",
        "w4g\u0663",
        "w4g32222",
        "s5",
        "s100",
        "s50a8",
        "s50p9",
        "s50w8a8",
    ],
)
def test_refuses(name: str) -> None:
    with pytest.raises(UsageError, match="no recipe") as caught:
        recipe(name)
    assert "grammar: float32, float16" in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(("typed", "meant"), [("flaot16", "float16"), ("FLOAT32", "float32"), ("w88", "w8")])
def test_suggests_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{meant}'"):
        recipe(typed)
