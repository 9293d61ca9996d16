"""The interface that a platform's generator implements: plans in, the files of one package out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from export.bundle.plan import STAGE, Plan
from hydramobile.errors import StageError

# Path in the package -> content: text, bytes, or the file of an artifact to copy.
Content = str | bytes | Path
Files = Mapping[str, Content]


class ModelPart(bytes):
    """A part of a model file that a package splits: it counts among the model's bytes."""


class Generator(Protocol):
    """Write the package of one platform. `ran` says which of its lines the project's tests run, and where."""

    ran: str

    def render(self, plans: Sequence[Plan]) -> Files:
        """Return the files of the package of `plans`: one plan per target, in the platform's order.

        Equal plans give equal files. LICENSE and proof.json are added by the caller. Raises StageError("bundle") where
        the platform cannot hold the net, by name.
        """
        ...


def model_files(plan: Plan, prefix: str, paths: Sequence[str]) -> dict[str, Content]:
    """Return files of the artifact by their path below `prefix` in the package."""
    known = {record.path for record in plan.artifact.files}
    missing = [path for path in paths if path not in known]
    if missing:
        raise StageError(STAGE, f"{plan.folder} has no file {missing[0]}")
    return {f"{prefix}/{path}" if prefix else path: plan.folder / path for path in paths}
