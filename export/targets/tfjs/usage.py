"""USAGE.md of a TF.js artifact."""

from __future__ import annotations

from export.target import Emitted


def usage_text(emitted: Emitted) -> str:
    return ""
