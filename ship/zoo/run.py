"""Ship every net of a list. Results are kept after each net, so that an interrupted run continues."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hydramobile import interrupts
from hydramobile.errors import BudgetBroken, NothingJudged, StageError
from hydramobile.files import dump_json, read_json, set_aside, write_text
from ship.commands import Ended, run_command
from ship.zoo.request import Net, Zoo

# A net whose process was killed is done once more: the system may have needed its memory for another.
ATTEMPTS = 2
RESULTS = "zoo.json"
PASS = "pass"


@dataclass(frozen=True, slots=True)
class ZooRow:
    """One file of one net. `reason` says why it does not pass; `figures` holds the worst value per metric."""

    net: str
    source: str
    target: str
    recipe: str
    verdict: str
    figures: dict[str, float] = field(default_factory=dict)
    megabytes: float = 0.0
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """The rows of a net, and the key of everything that they depend on."""

    key: str
    rows: tuple[ZooRow, ...]


def run_zoo(zoo: Zoo, out: Path, jobs: int, again: bool, progress: Callable[[str], None]) -> list[ZooRow]:
    """Ship the nets that have no kept rows, `jobs` at a time, each in a process of its own. Return all rows."""
    path = out / RESULTS
    kept = {} if again else read_results(path)
    lock = threading.Lock()

    def work(net: Net) -> None:
        interrupts.check()
        key, missing = zoo.key(net), net.missing()
        if net.name in kept and kept[net.name].key == key:
            progress(f"{net.name}: kept")
            return
        if missing:  # not kept: the library may be installed later
            rows: tuple[ZooRow, ...] = (
                failure(net, zoo, f"{missing} is not installed here (pip install '.[zoo]')", "not installed"),
            )
            key = ""
        else:
            rows = shipped(net, zoo, out, progress)
        with lock:
            kept[net.name] = Kept(key, rows)
            write_results(path, kept)
        for row in rows:
            progress(f"{row.net} {row.target} {row.recipe}: {row.verdict} {row.reason}".rstrip())

    with ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(work, net) for net in zoo.nets]:
            done.result()
    return [row for net in zoo.nets for row in kept[net.name].rows]


def shipped(net: Net, zoo: Zoo, out: Path, progress: Callable[[str], None]) -> tuple[ZooRow, ...]:
    """Write the net's model folder and ship it."""
    home, started = out / "zoo" / net.name, time.monotonic()
    folder = zoo.base / net.folder if net.folder else home / "model"
    if net.origins:
        words = ("init", folder.resolve(), *net.origins, *net.options, "--name", net.name, "--overwrite")
        ended = alone(net, progress, "export", *words, cwd=zoo.base)
        if ended.code:
            return (failure(net, zoo, ended.reason),)
    recipes = [word for name in zoo.recipes for word in ("--recipe", name)]
    ended = alone(net, progress, "ship", *zoo.targets, "--model", folder, "--out", home, *recipes, "--quick")
    if not isinstance(ended.content, dict):
        return (failure(net, zoo, ended.reason),)
    progress(f"{net.name}: {time.monotonic() - started:.0f} s")
    return tuple(zoo_row(net, row) for row in ended.content["rows"])


def alone(net: Net, progress: Callable[[str], None], package: str, *words: object, cwd: Path | None = None) -> Ended:
    """Run a command in a process group of its own; run it again where it was killed."""
    for attempt in range(ATTEMPTS):
        ended = run_command(package, *words, cwd=cwd, group=True)
        interrupts.check()
        if not ended.killed:
            return ended
        progress(f"{net.name}: {ended.reason}; {'again' if attempt + 1 < ATTEMPTS else 'given up'}")
    return ended


def zoo_row(net: Net, row: dict[str, Any]) -> ZooRow:
    passed = row["verdict"] == PASS
    reason = "" if passed else ": ".join(filter(None, (row["stage"], row["limit"])))
    recipes = ", ".join(row["recipes"])
    return ZooRow(
        *(net.name, net.source, row["target"], recipes, row["verdict"]),
        figures=row["figures"],
        megabytes=row["megabytes"],
        seconds=row["seconds"],
        reason=reason,
    )


def failure(net: Net, zoo: Zoo, reason: str, verdict: str = "failed") -> ZooRow:
    """Return the row of a net that has no file at all."""
    return ZooRow(net.name, net.source, ", ".join(zoo.targets), ", ".join(zoo.recipes), verdict, reason=reason)


def read_results(path: Path) -> dict[str, Kept]:
    """Read kept rows; a damaged file is set aside."""
    if not path.is_file():
        return {}
    try:
        nets = read_json(path, "zoo")["nets"]
        return {name: Kept(net["key"], tuple(ZooRow(**row) for row in net["rows"])) for name, net in nets.items()}
    except (StageError, KeyError, TypeError, AttributeError) as error:
        set_aside(path, f"no results of zoo: {error}")
        return {}


def write_results(path: Path, kept: dict[str, Kept]) -> None:
    nets = {name: {"key": net.key, "rows": [asdict(row) for row in net.rows]} for name, net in sorted(kept.items())}
    write_text(path, dump_json({"schema": 1, "nets": nets}))


def conclude_zoo(rows: list[ZooRow]) -> str:
    """Return the reason of a pass.

    Raises BudgetBroken where a file does not pass, NothingJudged where none was made.
    """
    passed = [row for row in rows if row.verdict == PASS]
    absent = [row for row in rows if row.verdict == "not installed"]
    bad = [row for row in rows if row not in passed and row not in absent]
    text = f"{len(passed)} of {len(passed) + len(bad)} files of {len({row.net for row in rows})} nets pass"
    text += f", {len(absent)} nets need a library that is not installed" if absent else ""
    if bad:
        raise BudgetBroken(f"{text}; first: {bad[0].net} {bad[0].target} {bad[0].recipe}: {bad[0].reason}")
    if not passed:
        raise NothingJudged(text)
    return text
