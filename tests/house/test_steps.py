"""The driver of `make all`: every step runs, the first failure decides, its verdict is the last line."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ALL = ("export", "goldens", "parity", "size", "cost", "latency", "report")
Run = Callable[..., subprocess.CompletedProcess[str]]

# Stands in for the environment's Python: logs its arguments, ends as FAIL says ("parity=1 report=3").
FAKE_PYTHON = """#!/usr/bin/env bash
echo "$*" >>"$LOG"
words=" $* "
# Commands that wait for one another: they end only where all of them run.
for name in ${MEET:-}; do
  case "$words" in *" $name "*)
    touch "$LOG.$name"
    for other in $MEET; do while ! [ -e "$LOG.$other" ]; do sleep 0.02; done; done ;;
  esac
done
for rule in ${FAIL:-}; do
  case "$words" in *" ${rule%%=*} "*)
    code=${rule#*=}
    [ "$code" = kill ] && kill -9 $$
    echo "verdict: $code ${rule%%=*} failed"
    exit "$code" ;;
  esac
done
echo "verdict: 0 passed"
"""


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    (tmp_path / "scripts").mkdir()
    shutil.copy(root / "scripts/run.sh", tmp_path / "scripts")
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)

    def start(*steps: str, **settings: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "scratch").mkdir(exist_ok=True)
        places = {"LOG": str(tmp_path / "log"), "TMPDIR": str(tmp_path / "scratch")}
        environment = {"PATH": os.environ["PATH"], **places, **settings}
        command = ["bash", "scripts/run.sh", *steps]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    return start


def steps_run(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines()


def test_all_steps_pass(run: Run, tmp_path: Path) -> None:
    result = run(*ALL, RECIPES="float16 w8", SAMPLES="my photos", CALIBRATE="more")
    assert result.returncode == 0
    assert result.stdout.splitlines()[-1] == "verdict: 0 passed"
    assert steps_run(tmp_path) == [
        "-m export all --model models/portrait --out build --overwrite --recipe float16 --recipe w8 --calibrate more",
        "-m hydramobile goldens --model models/portrait --out build --samples my photos",
        "-m benchmarks parity --model models/portrait --out build --samples my photos",
        "-m benchmarks size --model models/portrait --out build",
        "-m benchmarks cost --model models/portrait --out build",
        "-m benchmarks latency --model models/portrait --out build",
        "-m benchmarks report --model models/portrait --out build --samples my photos",
    ]


def test_joined_steps_run_at_the_same_time_and_speak_in_order(run: Run, tmp_path: Path) -> None:
    result = run("parity+size+cost", "report", MEET="parity size cost")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == "verdict: 0 passed"
    order = [line for line in result.stdout.splitlines() if line.startswith("== ")]
    assert order == ["== parity", "== size", "== cost", "== report"]
    assert sorted(steps_run(tmp_path)[:3]) == [
        f"-m benchmarks {name} --model models/portrait --out build" for name in ("cost", "parity", "size")
    ]
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize(
    ("fail", "code", "last", "count"),
    [
        ("cost=3", 3, "verdict: 3 cost failed", 4),
        ("parity=1 size=3", 1, "verdict: 1 parity failed", 4),
        ("size=3 cost=1", 3, "verdict: 3 size failed", 4),
        ("size=kill", 3, "verdict: 3 size ended with exit code 137", 4),
        ("size=2", 2, "verdict: 2 size failed", 3),
        ("parity=2", 2, "verdict: 2 parity failed", 3),
        ("parity=1 report=2", 1, "verdict: 1 parity failed", 4),
    ],
)
def test_the_first_of_joined_steps_in_order_decides(
    run: Run, tmp_path: Path, fail: str, code: int, last: str, count: int
) -> None:
    result = run("parity+size+cost", "report", FAIL=fail)
    assert result.returncode == code
    assert result.stdout.splitlines()[-1] == last
    assert len(steps_run(tmp_path)) == count
    assert not list((tmp_path / "scratch").iterdir())


def test_an_attached_device_is_named_to_the_command(run: Run, tmp_path: Path) -> None:
    assert run("device-adb", DEVICE="A B", TOOL="my tool", SAMPLES="more").returncode == 0
    assert run("device-ios").returncode == run("device-mac", DEVICE="mac").returncode == 0
    rest = "--model models/portrait --out build"
    assert steps_run(tmp_path) == [
        f"-m benchmarks device --device adb:A B {rest} --tool my tool --samples more",
        f"-m benchmarks device --device ios {rest}",
        f"-m benchmarks device --device mac {rest}",
    ]


@pytest.mark.parametrize(
    ("fail", "code", "last"),
    [
        ("parity=1", 1, "verdict: 1 parity failed"),
        ("all=3 parity=1", 3, "verdict: 3 all failed"),
        ("parity=1 report=3", 1, "verdict: 1 parity failed"),
        ("latency=4", 4, "verdict: 4 latency failed"),
        ("goldens=kill", 3, "verdict: 3 goldens ended with exit code 137"),
    ],
)
def test_the_first_failure_decides_and_the_report_is_still_written(
    run: Run, tmp_path: Path, fail: str, code: int, last: str
) -> None:
    result = run(*ALL, FAIL=fail)
    assert result.returncode == code
    assert result.stdout.splitlines()[-1] == last
    assert len(steps_run(tmp_path)) == 7
    assert "report" in steps_run(tmp_path)[-1]


def test_arm_exports_what_is_missing_and_judges(run: Run, tmp_path: Path) -> None:
    result = run("parity-arm", ARM_SAMPLES="3", SAMPLES="my photos")
    assert result.returncode == 0
    where = "--model models/portrait --out build"
    judged = f"-m benchmarks parity {where} --runtime arm --lean --most 3 --samples my photos"
    *before, last = [line for line in steps_run(tmp_path) if line.startswith("-m")]
    made = {f"-m export android onnx {where} --overwrite", f"-m hydramobile goldens {where} --samples my photos"}
    assert set(before) == made and last == judged
    # Without its set-up script the userland is not made: the judging itself says what is missing.
    assert "the ARM userland could not be made" in result.stdout


def test_bad_usage_stops_at_once(run: Run, tmp_path: Path) -> None:
    result = run(*ALL, FAIL="all=2")
    assert result.returncode == 2
    assert result.stdout.splitlines()[-1] == "verdict: 2 all failed"
    assert len(steps_run(tmp_path)) == 1


def test_an_unknown_step_names_the_known_ones(run: Run) -> None:
    result = run("exprot")
    assert result.returncode == 2
    assert "no step 'exprot'" in result.stdout
    assert "parity" in result.stdout


def test_make_offers_every_command(root: Path) -> None:
    listing = subprocess.run(["make", "help"], cwd=root, capture_output=True, text=True, check=True, timeout=60).stdout
    offered = {line.split()[1] for line in listing.splitlines() if line.startswith("  make ")}
    assert offered >= {
        *(
            "setup",
            "doctor",
            "export",
            "export-ios",
            "export-android",
            "export-web",
            "goldens",
            "parity",
            "bench",
            "parity-arm",
        ),
        *("report", "all", "test", "test-all", "check", "clean"),
    }
