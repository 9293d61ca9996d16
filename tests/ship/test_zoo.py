"""`zoo`: a list of nets becomes one table; a broken net costs its own row, and finished nets are kept."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from hydramobile.errors import BudgetBroken, NothingJudged, StageError, UsageError
from ship import commands
from ship.commands import Ended, run_command
from ship.zoo import work
from ship.zoo.page import page_text
from ship.zoo.request import Net, Zoo, read_zoo
from ship.zoo.rows import ZooRow
from ship.zoo.run import Execution, conclude_zoo, read_results, run_zoo
from support.fixtures import Command

NETS = """
import torch
from torch import nn


def good():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))


def broken():
    raise ValueError("no | weights")
"""
LIST = """
schema = 1
targets = ["onnx"]

[nets.good]
from = "nets:good"
input = ["x=1x8"]

[nets.broken]
from = "nets:broken"
input = ["x=1x8"]

[nets.absent]
from = "timm:resnet18"
"""


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    (tmp_path / "zoo.toml").write_text(LIST, encoding="utf-8")
    return tmp_path / "zoo.toml"


def say(text: str) -> None:
    print(text)


def test_a_good_and_a_broken_net(command: Command, listed: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = listed.parent
    words = ("ship.zoo", "zoo.toml", "--page", "models.md", "--json")
    done = command(*words, cwd=home, env={"PYTHONPATH": str(root)})
    assert done.code == 1, done.out + done.err
    rows = {row["net"]: row for row in json.loads(done.out)["rows"]}
    good, broken, absent = rows["good"], rows["broken"], rows["absent"]
    assert good["verdict"] == "pass" and 0 <= good["figures"]["err_sens"] < 1e-4 and good["megabytes"] > 0
    assert good["seconds"] > 0 and (good["target"], good["recipe"]) == ("onnx", "float32")
    assert broken["verdict"] == "failed" and "ValueError: no | weights" in broken["reason"]
    assert absent["verdict"] == "not installed" and "timm is not installed here" in absent["reason"]
    assert done.verdict.startswith("1 of 2 files of 3 nets pass, 1 nets need a library that is not installed; first: ")
    page = (home / "models.md").read_text(encoding="utf-8")
    assert "| good | nets:good | onnx | float32 | pass | " in page and "no \\| weights" in page

    # A second run keeps both nets, and asks again for the library.
    zoo, asked = read_zoo(listed), list[str]()
    monkeypatch.setattr(work, "run_command", lambda *words, **options: asked.append(str(words)))
    again = run_zoo(zoo, home / "build", Execution(), say)
    assert not asked and [row.verdict for row in again] == ["pass", "failed", "not installed"]
    assert "absent" in read_results(home / "build/zoo.json")
    # Other code is another net.
    (home / "nets.py").write_text(NETS + "\n", encoding="utf-8")
    assert read_results(home / "build/zoo.json")["good"].key != zoo.key(zoo.nets[0])


def test_a_killed_process_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = Ended(3, "ship was killed by SIGKILL", None, killed=True)
    row: dict[str, Any] = {"target": "onnx", "recipes": ["float32"], "verdict": "pass", "figures": {"err_sens": 1e-6}}
    row |= {"megabytes": 1.0, "seconds": 2.0, "stage": "", "limit": ""}
    answers: list[Any] = [killed, Ended(0, "1 files may ship", {"rows": [row]}), killed, killed]
    monkeypatch.setattr(work, "run_command", lambda *words, **options: answers.pop(0))
    zoo = Zoo(tmp_path, ("onnx",), ("float32",), (Net("one", folder=Path("one")), Net("two", folder=Path("two"))))
    rows = run_zoo(zoo, tmp_path, Execution(), say)
    assert [(row.net, row.verdict) for row in rows] == [("one", "pass"), ("two", "failed")]
    assert rows[1].reason == "ship was killed by SIGKILL" and not answers


def test_a_command_that_a_signal_ends_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"import os; print('verdict: 0 well'); os.kill(os.getpid(), {int(signal.SIGKILL)})"
    monkeypatch.setattr(commands, "command_line", lambda package, words: [sys.executable, "-uc", code])
    found = run_command("ship", group=True)
    assert found.killed and found.code == 3 and found.reason == "ship was killed by SIGKILL"
    code = "print('verdict: 2 not so')\nraise SystemExit(2)"
    assert run_command("ship") == Ended(2, "not so", None)


def test_a_command_in_a_group_takes_its_children_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from subprocess import *; print(Popen(['sleep', '600'], stdout=DEVNULL, stderr=DEVNULL).pid)"
    monkeypatch.setattr(commands, "command_line", lambda package, words: [sys.executable, "-c", code])
    child = run_command("ship", group=True).content
    for _ in range(200):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if "Z" in Path(f"/proc/{child}/stat").read_text(encoding="utf-8").split()[2]:
            return
    pytest.fail("the child outlived its group")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema = 1\n[nets]\n", "is empty"),
        ('schema = 1\ntargets = ["onx"]\n[nets.a]\nfrom = "a:b"\n', "did you mean 'onnx'"),
        ('schema = 1\nrecipes = ["w9"]\n[nets.a]\nfrom = "a:b"\n', "w9"),
        ('schema = 1\n[nets.a]\nform = "a:b"\n', "'from' is missing"),
        ('schema = 1\n[nets.a]\nfrom = "a:b"\nimput = ["x=1"]\n', "imput"),
        ('schema = 1\n[nets."a/b"]\nfrom = "a:b"\n', "is no name"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "zoo.toml").write_text(text, encoding="utf-8")
    with pytest.raises((StageError, UsageError), match=message) as error:
        read_zoo(tmp_path / "zoo.toml")
    assert error.value.exit_code == 2


def test_nothing_judged_is_not_a_pass() -> None:
    with pytest.raises(NothingJudged):
        conclude_zoo([ZooRow("a", "timm:a", "onnx", "float32", "not installed")])
    with pytest.raises(BudgetBroken, match="0 of 1 files"):
        conclude_zoo([ZooRow("a", "b:c", "onnx", "float32", "broken", reason="off")])


def test_the_page_of_this_repository_is_a_table_of_its_list(root: Path) -> None:
    zoo = read_zoo(root / "examples/zoo.toml")
    page = (root / "docs/supported-models.md").read_text(encoding="utf-8")
    lines = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    empty = page_text([], "examples/zoo.toml", "docs/supported-models.md")
    assert page.startswith(empty)
    assert {line[0].removeprefix("| ") for line in lines} - {"net", "---"} == {net.name for net in zoo.nets}
