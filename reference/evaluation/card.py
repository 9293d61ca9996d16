"""Generate the model card's tables from the evaluation that is committed beside the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydramobile.errors import StageError
from hydramobile.files import dump_json, read_json, write_text
from hydramobile.spec import ModelSpec
from reference.evaluation.tables import replace_block

STAGE = "card"
EVALUATION, RECORD, CARD = "evaluation.json", "training.json", "MODEL_CARD.md"


def publish(spec: ModelSpec, evaluation: Path, record: Path | None) -> list[Path]:
    """Write the evaluation (and the training record) beside the model's weights and regenerate the card's tables.

    Returns the files written. Raises StageError("card") if either was made with other weights or the card lacks the
    markers.
    """
    report: dict[str, Any] = read_json(evaluation, STAGE)
    if report.get("weights") != spec.weights_sha256:
        raise StageError(
            STAGE, f"{evaluation} is of weights {report.get('weights')}, {spec.name} has {spec.weights_sha256}"
        )
    files = {EVALUATION: dump_json(report), CARD: renewed(spec.folder / CARD, report)}
    if record is not None:
        training: dict[str, Any] = read_json(record, STAGE)
        if training["weights"]["sha256"] != spec.weights_sha256:
            raise StageError(STAGE, f"{record} is of weights {training['weights']['sha256']}, not of the model's")
        files[RECORD] = dump_json(training)
    for name, text in files.items():
        write_text(spec.folder / name, text)
    return [spec.folder / name for name in files]


def renewed(card: Path, report: dict[str, Any]) -> str:
    """Return the card's text with its tables generated from `report`."""
    if not card.is_file():
        raise StageError(STAGE, f"{card} does not exist")
    try:
        return replace_block(card.read_text(encoding="utf-8"), report)
    except ValueError as error:
        raise StageError(STAGE, f"{card}: {error}") from error
