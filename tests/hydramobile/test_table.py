"""The strict reader behind every hand-edited file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hydramobile.errors import StageError
from hydramobile.toml_table import Table, read_toml


@pytest.mark.parametrize(
    ("method", "value", "message"),
    [
        ("string", 1, "must be a string, found a whole number"),
        ("string", None, "must be a string, found NoneType"),
        ("flag", 1, "must be true or false, found a whole number"),
        ("whole", 1.5, "must be a whole number, found a number"),
        ("whole", True, "must be a whole number, found a boolean"),
        ("number", "1", "must be a finite number, found a string"),
        ("number", float("nan"), "must be a finite number"),
        ("number", float("inf"), "must be a finite number"),
        ("number", 10**400, "must be a finite number"),
        ("number", True, "must be a finite number, found a boolean"),
        ("strings", ["a", 1], "must be a list of strings"),
        ("strings", "a", "must be a list of strings"),
        ("items", {"a": 1}, "must be a list, found a table"),
        ("table", [], "must be a table, found a list"),
    ],
)
def test_refuses_another_type(method: str, value: Any, message: str) -> None:
    with pytest.raises(StageError) as caught:
        getattr(Table({"key": value}, "file [where]", "stage"), method)("key")
    assert message in str(caught.value)
    assert "file [where]" in str(caught.value)


def test_names_what_is_present() -> None:
    with pytest.raises(StageError, match=r"'colour' is missing \(present: size, shape\)"):
        Table({"size": 1, "shape": 2}, "file", "stage").value("colour")


def test_leftover_key_suggests_the_nearest() -> None:
    table = Table({"colour": 1}, "file", "stage")
    table.value("color", None)
    with pytest.raises(StageError, match=r"unknown key 'colour'; did you mean 'color'\? \(known: color\)"):
        table.done()


def test_one_of_suggests_the_nearest() -> None:
    with pytest.raises(StageError, match="did you mean 'NCHW'"):
        Table({"layout": "NCWH"}, "file", "stage").one_of("layout", ("NCHW", "NHWC"))


def test_rows_and_tables_say_where_they_are() -> None:
    top = Table({"row": [{"a": 1}, {}], "part": {"x": {}}}, "file", "stage")
    first, second = top.rows("row")
    assert first.whole("a") == 1
    with pytest.raises(StageError, match=r"file \[\[row\]\] #2: 'a' is missing \(present: nothing\)"):
        second.whole("a")
    (name, inner), *_ = top.tables("part")
    assert (name, inner.where) == ("x", "file [part.x]")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"nothing\.toml does not exist"):
        read_toml(tmp_path / "nothing.toml", "stage")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="is no regular file"):
        read_toml(tmp_path, "stage")
