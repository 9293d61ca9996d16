"""Tracked files name nothing that exists on one machine only, and every ignored rule has its reason beside it."""

from __future__ import annotations

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

# pattern -> the files that may say it
FORBIDDEN: dict[str, tuple[str, ...]] = {
    r"/work/": (),
    r"/root/": (),
    r"/home/\w": (),
    r"/Users/\w": (),
    r"/opt/(pypi|wheels)": (),
    r"\.\./shared": ("reference/",),  # the default place of the training data
    r"pypi\.org|pythonhosted\.org|registry\.npmjs|deb\.debian\.org|jsdelivr|unpkg\.com|//pypi": (),
    r"download\.pytorch\.org": ("Makefile", "README.md", "docs/ci.yml"),  # where the CPU build of torch comes from
}
THIS = "tests/house/test_tracked_files.py"
DIRECTIVE = re.compile(r"type:\s*ignore(\[[^\]]*\])?|noqa(:\s*[A-Z]+\d+(\s*,\s*[A-Z]+\d+)*)?")


def tracked(root: Path, *patterns: str) -> list[str]:
    command = ["git", "ls-files", "-z", "--", *patterns]
    listing = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60).stdout
    return [name for name in listing.split("\0") if name and (root / name).is_file()]


def text_of(path: Path) -> str | None:
    """The text of a file, or None where it is binary."""
    data = path.read_bytes()
    return None if b"\0" in data[:8192] else data.decode("utf-8", errors="replace")


def test_no_machine_paths_or_registry_hosts(root: Path) -> None:
    found = []
    files = tracked(root)
    assert files
    for name in files:
        text = text_of(root / name)
        if text is None or name == THIS:
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            for pattern, allowed in FORBIDDEN.items():
                if re.search(pattern, line) and not name.startswith(allowed or ("\0",)):
                    found.append(f"{name}:{number}: {pattern}: {line.strip()[:120]}")
    assert not found, "\n".join(found)


def comments(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def test_every_ignore_has_its_reason_beside_it(root: Path) -> None:
    bare = []
    for name in tracked(root, "*.py"):
        found = dict(comments((root / name).read_text(encoding="utf-8")))
        for number, comment in found.items():
            if DIRECTIVE.search(comment):
                said = DIRECTIVE.sub("", comment) + found.get(number - 1, "")
                if len(re.findall(r"[A-Za-z]{2,}", said)) < 2:
                    bare.append(f"{name}:{number}: {comment}")
    assert not bare, "an ignore without a reason:\n" + "\n".join(bare)


def test_every_configured_ignore_has_its_reason(root: Path) -> None:
    lines = (root / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    start = lines.index("ignore = [")
    for line in lines[start + 1 : lines.index("]", start)]:
        assert re.search(r'"[A-Z]+\d+",\s+# \w+', line), line
    overrides = [number for number, line in enumerate(lines) if line == "[[tool.mypy.overrides]]"]
    assert overrides
    for number in overrides:
        assert lines[number + 1].startswith("# "), f"pyproject.toml:{number + 1}: an override without its reason"
