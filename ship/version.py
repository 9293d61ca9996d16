"""The version of this program."""

from __future__ import annotations

from importlib import metadata


def program_version() -> str:
    """Return the version of the installed package, or "of a checkout"."""
    try:
        return metadata.version("hydra-mobile")
    except metadata.PackageNotFoundError:
        return "of a checkout"
