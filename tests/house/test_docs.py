"""Links between Markdown files lead somewhere, paths in the docs exist, and the index of decisions is complete."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
# A path in backticks that begins with a folder of the repository: `export/seal.py`, `docs/`.
PATH = re.compile(
    r"`((?:benchmarks|demo|docs|examples|export|hydramobile|models|reference|scripts|ship|tests)/[\w./-]*)`"
)
# The changelog names files as they were called on the day; it is a record, not a guide.
RECORDS = {"CHANGELOG.md"}


def pages(root: Path) -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md"]
    listing = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60).stdout
    return [name for name in listing.split("\0") if name and (root / name).is_file()]


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def broken_links(root: Path, name: str) -> Iterator[str]:
    text = FENCE.sub("", (root / name).read_text(encoding="utf-8"))
    for groups in LINK.findall(text):
        target = groups[0] or groups[1]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        page = (root / name).parent / path if path else root / name
        if not page.exists():
            yield f"{name}: {target}: no such file"
        elif anchor and anchor not in anchors(page):
            yield f"{name}: {target}: no such heading"


def test_links_lead_somewhere(root: Path) -> None:
    names = pages(root)
    assert names
    broken = [line for name in names for line in broken_links(root, name)]
    assert not broken, "\n".join(broken)


def test_paths_in_the_docs_exist(root: Path) -> None:
    missing = []
    for name in pages(root):
        if name in RECORDS:
            continue
        paths = PATH.findall(FENCE.sub("", (root / name).read_text(encoding="utf-8")))
        missing += [f"{name}: {path}" for path in paths if not (root / path).exists()]
    assert not missing, "\n".join(missing)


def test_every_decision_is_in_the_index(root: Path) -> None:
    folder = root / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    parts = ["**Context.**", "**Decision.**", "**Consequences.**", "**Revisit when**"]
    decisions = 0
    for page in sorted(folder.glob("*.md")):
        if page.name == "README.md":
            continue
        for section in page.read_text(encoding="utf-8").split("\n## ")[1:]:
            title, date = section.splitlines()[:2]
            row = rf"\[{re.escape(title)}\]\({page.name}#{re.escape(slug(title))}\) \| {date} \|"
            assert re.search(row, index), f"{page.name}: the index lacks {title!r} of {date}"
            assert re.findall(r"\*\*(?:Context\.|Decision\.|Consequences\.|Revisit when)\*\*", section) == parts, title
            decisions += 1
    assert decisions == index.count(".md#"), "the index lists a decision that does not exist"
