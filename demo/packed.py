"""Compress the files of artifacts as a web host sends them (gzip, level 6), once per content."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from demo.published import Published
from hydramobile.files import write_bytes

FOLDER = ".gzip"
LEVEL = 6


def pack(published: Sequence[Published], root: Path) -> dict[str, Path]:
    """Compress the downloads of `published` into `root`/.gzip; return the compressed file per sha256 of the content.

    A file of a former start is used again: its name is the hash of what it holds.
    """
    sources = {record.sha256: item.folder / record.path for item in published for record in item.files}
    packed = {digest: root / FOLDER / f"{digest}.gz" for digest in sources}
    missing = [digest for digest, path in packed.items() if not path.is_file()]

    def compress(digest: str) -> None:
        # mtime 0: the same content gives the same file.
        write_bytes(packed[digest], gzip.compress(sources[digest].read_bytes(), LEVEL, mtime=0))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(compress, missing))
    return packed


def by_source(published: Sequence[Published], packed: Mapping[str, Path]) -> dict[Path, Path]:
    """Return the compressed file per file of the artifacts."""
    return {item.folder / record.path: packed[record.sha256] for item in published for record in item.files}
