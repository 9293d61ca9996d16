"""The model card's tables are made from the evaluation that is committed beside the weights."""

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
    """Put the evaluation (and the training record) of the model's own weights beside them, renew the card's tables.

    Returns the files written. Raises StageError("card") when either is of other weights or the card has no block.
    """
    report: dict[str, Any] = read_json(evaluation, STAGE)
    if report.get("weights") != spec.weights_sha256:
        raise StageError(
            STAGE, f"{evaluation} is of weights {report.get('weights')}, {spec.name} has {spec.weights_sha256}"
        )
    files = {EVALUATION: dump_json(report), CARD: renewed(spec.folder / CARD, report)}
    if record is not None:
        told: dict[str, Any] = read_json(record, STAGE)
        if told["weights"]["sha256"] != spec.weights_sha256:
            raise StageError(STAGE, f"{record} is of weights {told['weights']['sha256']}, not of the model's")
        files[RECORD] = dump_json(told)
    for name, text in files.items():
        write_text(spec.folder / name, text)
    return [spec.folder / name for name in files]


def renewed(card: Path, report: dict[str, Any]) -> str:
    """The card's text with its tables made from `report`."""
    if not card.is_file():
        raise StageError(STAGE, f"{card} does not exist")
    try:
        return replace_block(card.read_text(encoding="utf-8"), report)
    except ValueError as error:
        raise StageError(STAGE, f"{card}: {error}") from error
