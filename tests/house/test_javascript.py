"""The JavaScript checks of `make check` (Biome, and tsc on JSDoc types) cover every file, and they fail on an error."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECTS = ("tsconfig.json", "tsconfig.worker.json", "tsconfig.node.json")
FOLDERS = ("demo", "benchmarks", "export")
PATTERNS = ("*.js", "*.mjs", "*.d.ts")
CONFIGURATION = (
    "package.json",
    "biome.json",
    "tsconfig.base.json",
    "export/bundle/web/sources/package.json",
    *PROJECTS,
)
# A suppression, and the reason that must follow it.
SUPPRESSION = re.compile(r"(?:biome-ignore\S*\s+[\w/]+:|@ts-expect-error)(.*)")
FORBIDDEN = re.compile(r"@ts-nocheck|@ts-ignore|biome-ignore-all|\{any\}|\{\*\}|<any>|\bany\[\]")
EXPORT = re.compile(r"^export (?:async )?(?:function\*? |const \w+ = (?:async )?\()")

# file, text in it, replacement, npm script that must fail, its message
ERRORS = {
    "type error in the page": ("demo/app/filters.js", "return t * t", "return '' + t * t", "types", "error TS2322"),
    "type error in the worker": (
        "demo/app/model.js",
        "this.upload(port,",
        "this.upload(port.name,",
        "types",
        "error TS2345",
    ),
    "type error in Node": (
        "benchmarks/runtimes/tfjs_node.mjs",
        "process.version",
        "process.edition",
        "types",
        "TS2339",
    ),
    "lint error": ("demo/ui/dom.js", "  const element = document", "  let element = document", "lint", "useConst"),
    "other format": ("demo/ui/dom.js", "  const element = document", "   const element = document", "lint", "format"),
    "import cycle": ("demo/ui/dom.js", "\n\n/**", "\n\nexport * from './notices.js';\n\n/**", "lint", "noImportCycles"),
}


def sources(root: Path) -> list[str]:
    files = [path for name in FOLDERS for pattern in PATTERNS for path in sorted((root / name).rglob(pattern))]
    assert files
    return [path.relative_to(root).as_posix() for path in files]


def npm_run(folder: Path, script: str) -> tuple[int, str]:
    """Return the exit code and the output of an npm script."""
    command = ["npm", "run", "--silent", script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def copied(root: Path, tmp_path: Path) -> Path:
    """A copy of the JavaScript and of the checks' configuration."""
    for name in (*sources(root), *CONFIGURATION):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, tmp_path / name)
    (tmp_path / "node_modules").symlink_to(root / "node_modules")
    return tmp_path


def test_the_checks_pass(copied: Path) -> None:
    code, output = npm_run(copied, "check")
    assert code == 0, output


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_fails(copied: Path, error: str) -> None:
    name, text, replacement, script, message = ERRORS[error]
    content = (copied / name).read_text(encoding="utf-8")
    assert text in content
    (copied / name).write_text(content.replace(text, replacement, 1), encoding="utf-8")
    code, output = npm_run(copied, script)
    assert code != 0
    assert message in output and Path(name).name in output, output


def test_every_file_is_type_checked(root: Path) -> None:
    checked: set[str] = set()
    for project in PROJECTS:
        command = ["node_modules/.bin/tsc", "-p", project, "--listFilesOnly"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=120)
        checked |= {Path(line).resolve().relative_to(root).as_posix() for line in inside(done.stdout, root)}
    assert set(sources(root)) <= checked


def inside(listing: str, root: Path) -> list[str]:
    return [line for line in listing.splitlines() if Path(line).resolve().is_relative_to(root)]


def test_a_suppression_has_its_reason(root: Path) -> None:
    for name in sources(root):
        for number, line in enumerate((root / name).read_text(encoding="utf-8").splitlines(), start=1):
            assert not FORBIDDEN.search(line), f"{name}:{number}: {line}"
            suppression = SUPPRESSION.search(line)
            assert suppression is None or len(re.findall(r"[A-Za-z]{2,}", suppression[1])) >= 2, f"{name}:{number}"


def test_every_exported_function_has_its_types(root: Path) -> None:
    """tsc infers a result, so only this asks for the words and types of an interface."""
    for name in sources(root):
        lines = (root / name).read_text(encoding="utf-8").splitlines()
        for index, line in enumerate(lines):
            if EXPORT.match(line):
                comment = "\n".join(lines[max(index - 30, 0) : index]).rpartition("/**")[2]
                assert lines[index - 1].strip().endswith("*/"), f"{name}: {line} has no JSDoc"
                missing = "(" in line and "()" not in line and "@param" not in comment
                assert not missing, f"{name}: {line} has no @param"


def test_the_elements_that_scripts_use_are_in_the_page(root: Path) -> None:
    page = (root / "demo/index.html").read_text(encoding="utf-8")
    ids = set(re.findall(r'\bid="([\w-]+)"', page))
    script = (root / "demo/ui/dom.js").read_text(encoding="utf-8")
    used = re.findall(r"@property \{HTML\w*Element\} ([\w-]+)$", script, re.MULTILINE)
    assert used
    assert set(used) <= ids
