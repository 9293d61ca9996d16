"""Damaged files of the product's own: set aside and made again, with a note; text of strangers prints as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.evidence.envelope import read_earlier
from benchmarks.evidence.kinds import KINDS
from benchmarks.evidence.parity import ParityEvidence, ParityRow
from benchmarks.show.parity import parity_table
from export.program import DRAWN_MARK
from export.show import facts_tree, outcome_table
from hydramobile.artifact import read_artifact
from hydramobile.errors import StageError
from hydramobile.spec import load_spec
from hydramobile.support import read_support
from hydramobile.verdicts import read_verdicts

Command = Callable[..., Any]
CONTENTS = (
    "",
    "{",
    "[]",
    "[{}]",
    "{}",
    "null",
    '{"schema": 2, "results": [{}]}',
    '{"schema": 2, "results": 3}',
    "\xff",
)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_evidence_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, content: str) -> None:
    path = tmp_path / KINDS[kind].FILE
    path.write_bytes(content.encode("latin-1"))
    assert read_earlier(KINDS[kind], tmp_path) is None
    assert not path.exists()
    assert path.with_name(path.name + ".broken").read_bytes() == content.encode("latin-1")
    told = capsys.readouterr().err
    assert told.startswith("note: ") and str(path) in told and "made again" in told


def test_commands_make_it_again(
    artifact: Callable[..., Path], out_with: Callable[..., Path], command: Command, model_dir: Callable[[str], Path]
) -> None:
    out = out_with("classifier", artifact("classifier", "onnx", "float32"), artifact("classifier", "onnx", "w8a8"))
    model = ("--model", model_dir("classifier"), "--out", out)
    root = out / "classifier"
    for name in ("parity", "size", "calibration"):
        (root / f"{name}.json").write_text("[{}]")
    for verb, more in (("size", ("--only", "onnx")), ("parity", ("--only", "onnx", "--runtime", "onnxruntime"))):
        done = command("benchmarks", verb, *model, *more)
        assert done.code == 0, done.verdict
        assert "made again" in done.err and "Traceback" not in done.err
        assert json.loads((root / f"{verb}.json").read_text())["results"]
    for name in ("parity", "size", "latency"):
        (root / f"{name}.json").write_text("[{}]")
    done = command("benchmarks", "report", *model)
    assert done.code == 0, done.verdict
    assert "Traceback" not in done.err


def test_an_artifact_names_the_photos_that_calibrated_it(artifact: Callable[..., Path]) -> None:
    """The guard between judging and calibration holds without calibration.json. Drawn inputs are marked."""
    hashes = read_artifact(artifact("classifier", "onnx", "w8a8")).calibration
    assert len([digest for digest in hashes if not digest.startswith(DRAWN_MARK)]) == 4
    assert len(hashes) > 4
    assert read_artifact(artifact("classifier", "onnx", "float32")).calibration == ()


@pytest.mark.parametrize("content", CONTENTS)
def test_verdicts_and_support(tmp_path: Path, model_dir: Callable[[str], Path], content: str) -> None:
    for name in ("parity.json", "support.json"):
        (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(StageError, match=r"parity\.json"):
        read_verdicts(tmp_path / "parity.json")
    with pytest.raises(StageError, match=r"support\.json"):
        read_support(replace(load_spec(model_dir("classifier")), folder=tmp_path))


STRANGE = "[/x] [bold]a [link=http://x]b[/link] [red]"


def test_text_of_strangers_is_no_markup(model_dir: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    from export.driver import Outcome

    spec = load_spec(model_dir("classifier"))
    row = ParityRow(
        target="onnx", recipe="float32", artifact="a", runtime="onnxruntime", verdict="failed", reason=STRANGE
    )
    evidence = ParityEvidence(
        model="m", spec_sha256="", weights_sha256="", samples=(), samples_asked=0, results=(row,), machine=None
    )
    shows: tuple[Callable[[], object], ...] = (
        lambda: parity_table(spec, evidence),
        lambda: outcome_table([Outcome("onnx", "float32", "failed", "convert", STRANGE)]),
        lambda: facts_tree({"path": STRANGE, "description": STRANGE, "entries": [{"[/x]": 1}]}),
    )
    for show in shows:
        show()
        assert "[/x]" in capsys.readouterr().out
