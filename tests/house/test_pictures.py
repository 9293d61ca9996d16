"""The pictures of the demo in the docs show the page as it is."""

from __future__ import annotations

import json
from pathlib import Path

from demo.screenshots import RECORD, SHOTS
from demo.server import page_hash
from hydramobile.files import sha256_file


def test_the_pictures_are_of_this_page(root: Path) -> None:
    record = json.loads((root / "docs/images" / RECORD).read_text())
    assert record["page"] == page_hash(), "the page changed: make all, then python -m demo screenshots"
    for name in SHOTS:
        assert sha256_file(root / f"docs/images/{name}.jpg") == record["pictures"][f"{name}.jpg"]
