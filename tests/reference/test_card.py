"""The model card's tables are generated from the committed evaluation, which is of the committed weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hydramobile.errors import StageError
from hydramobile.spec import load_spec
from reference.evaluation.card import CARD, EVALUATION, RECORD, publish, renewed
from reference.evaluation.tables import BEGIN, END

MODEL = Path(__file__).parents[2] / "models/portrait"


@pytest.mark.parametrize("name", ["portrait", "portrait-slim"])
def test_the_cards_tables_are_up_to_date(name: str) -> None:
    folder = MODEL.parent / name
    report = json.loads((folder / EVALUATION).read_text())
    assert report["weights"] == load_spec(folder).weights_sha256, "evaluated before the weights changed: make eval"
    assert renewed(folder / CARD, report) == (folder / CARD).read_text(), "renew it: python -m reference card"


def test_other_weights_are_refused(own_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = own_model("portrait")
    spec, report = load_spec(folder), json.loads((MODEL / EVALUATION).read_text())
    foreign, matching = tmp_path / "foreign.json", tmp_path / "matching.json"
    foreign.write_text(json.dumps(report | {"weights": "0" * 64}))
    matching.write_text(json.dumps(report))
    with pytest.raises(StageError, match="000000"):
        publish(spec, foreign, None)
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"weights": {"sha256": "1" * 64}}))
    with pytest.raises(StageError, match="111111"):
        publish(spec, matching, record)
    record.write_text(json.dumps({"weights": {"sha256": spec.weights_sha256}}))
    assert [path.name for path in publish(spec, matching, record)] == [EVALUATION, CARD, RECORD]
    (folder / CARD).write_text(f"no block, only {BEGIN}")
    with pytest.raises(StageError, match=END):
        publish(spec, matching, None)
    shutil.rmtree(folder)
