"""`zoo --scheduler`: a real Dask scheduler and real workers, one of them killed in the middle of a net."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from hydramobile.errors import UsageError
from ship.zoo import cluster
from ship.zoo.request import read_zoo
from ship.zoo.run import Execution, read_results, run_zoo

NETS = """
import torch
from torch import nn


def good():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
"""
LIST = """
schema = 1
targets = ["onnx"]

[nets.first]
from = "nets:good"
input = ["x=1x8"]

[nets.second]
from = "nets:good"
input = ["x=2x8"]

[nets.absent]
from = "timm:resnet18"
"""
WAIT = 60.0


def say(text: str) -> None:
    print(text)


@contextmanager
def started(root: Path, *words: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of Dask while the context lasts."""
    line = [sys.executable, "-m", *map(str, words)]
    with subprocess.Popen(line, env={**os.environ, "PYTHONPATH": str(root)}) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def scheduler(root: Path, tmp_path: Path) -> Iterator[str]:
    note = tmp_path / "scheduler.json"
    words = ("--host", "127.0.0.1", "--port", 0, "--no-dashboard", "--scheduler-file", note)
    with started(root, "distributed.cli.dask_scheduler", *words):
        yield eventually(lambda: json.loads(note.read_text())["address"] if note.is_file() else "")


def eventually(ask: Callable[[], str]) -> str:
    """Ask until there is an answer."""
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        if found := ask():
            return found
        time.sleep(0.05)
    pytest.fail(f"nothing within {WAIT:.0f} s")


def worker(root: Path, scheduler: str, name: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    words = ("--name", name, "--nthreads", 1, "--no-nanny", "--no-dashboard", "--local-directory", "/tmp")
    return started(root, "distributed.cli.dask_worker", scheduler, *words)


@pytest.mark.slow
def test_a_killed_worker_costs_time_and_no_row(root: Path, tmp_path: Path, scheduler: str) -> None:
    from distributed import Client

    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    (tmp_path / "zoo.toml").write_text(LIST, encoding="utf-8")
    zoo, out = read_zoo(tmp_path / "zoo.toml"), tmp_path / "build"
    with (
        worker(root, scheduler, "one") as one,
        worker(root, scheduler, "two"),
        ThreadPoolExecutor(1) as pool,
        Client(scheduler) as client,  # type: ignore[no-untyped-call]  # distributed has few types
    ):
        client.wait_for_workers(2, timeout=WAIT)
        under_way = pool.submit(run_zoo, zoo, out, Execution(scheduler=scheduler), say)
        address = {row["name"]: key for key, row in client.scheduler_info()["workers"].items()}["one"]
        eventually(lambda: "busy" if client.processing().get(address) else "")
        one.kill()
        rows = {row.net: row for row in under_way.result()}
    assert rows["first"].verdict == rows["second"].verdict == "pass"
    assert rows["absent"].verdict == "not installed"
    assert rows["absent"].reason.startswith("timm is not installed on worker ")
    # Finished nets are kept as they are on one machine.
    heard: list[str] = []
    with pytest.raises(UsageError, match="has no worker"):
        run_zoo(zoo, out, Execution(scheduler=scheduler), heard.append)
    assert heard == ["first: kept", "second: kept"]
    assert set(read_results(out / "zoo.json")) == {"first", "second", "absent"}


def test_a_cluster_that_is_not_there_is_bad_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoo.toml").write_text(LIST, encoding="utf-8")
    monkeypatch.setattr(cluster, "PATIENCE", 1.0)
    for address, words in (
        ("tcp://127.0.0.1:9", "no Dask scheduler answers at tcp://127.0.0.1:9"),
        ("nonsense://x", "nonsense"),
    ):
        with pytest.raises(UsageError, match=words):
            run_zoo(read_zoo(tmp_path / "zoo.toml"), tmp_path / "build", Execution(scheduler=address), say)
