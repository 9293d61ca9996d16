"""Ship every net of a list. Results are kept after each net, so that an interrupted run continues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from hydramobile import interrupts
from hydramobile.errors import BudgetBroken, NothingJudged, StageError
from hydramobile.files import dump_json, read_json, set_aside, write_text
from ship.zoo.cluster import ship_on_cluster
from ship.zoo.request import Net, Zoo
from ship.zoo.rows import ABSENT, PASS, ZooRow, failure
from ship.zoo.work import ship_net

RESULTS = "zoo.json"


@dataclass(frozen=True, slots=True)
class Kept:
    """The rows of a net, and the key of everything that they depend on."""

    key: str
    rows: tuple[ZooRow, ...]


@dataclass(frozen=True, slots=True)
class Execution:
    """How nets run: `jobs` at a time on this machine, or on the Dask cluster at `scheduler`.

    With `again`, nets with kept rows run too.
    """

    jobs: int = 1
    again: bool = False
    scheduler: str = ""


def run_zoo(zoo: Zoo, out: Path, execution: Execution, progress: Callable[[str], None]) -> list[ZooRow]:
    """Ship the nets that have no kept rows, each in a process of its own. Return all rows.

    Raises UsageError where the cluster cannot be used.
    """
    path = out / RESULTS
    kept = {} if execution.again else read_results(path)
    keys = {net.name: zoo.key(net) for net in zoo.nets}
    waiting = []
    for net in zoo.nets:
        if net.name in kept and kept[net.name].key == keys[net.name]:
            progress(f"{net.name}: kept")
        else:
            waiting.append(net)
    if not waiting:
        done: Iterator[tuple[Net, Sequence[ZooRow]]] = iter(())
    elif execution.scheduler:
        done = ship_on_cluster(execution.scheduler, zoo, waiting, out)
    else:
        done = ship_locally(zoo, waiting, out, execution.jobs, progress)
    for net, rows in done:
        # Of a net whose library is missing nothing is kept: it may be installed later.
        absent = any(row.verdict == ABSENT for row in rows)
        kept[net.name] = Kept("" if absent else keys[net.name], tuple(rows))
        write_results(path, kept)
        for row in rows:
            progress(f"{row.net} {row.target} {row.recipe}: {row.verdict} {row.reason}".rstrip())
    return [row for net in zoo.nets for row in kept[net.name].rows]


def ship_locally(
    zoo: Zoo, nets: Sequence[Net], out: Path, jobs: int, progress: Callable[[str], None]
) -> Iterator[tuple[Net, Sequence[ZooRow]]]:
    """Yield each net with its rows, in the order in which they are done on this machine."""

    def work(net: Net) -> tuple[Net, Sequence[ZooRow]]:
        interrupts.check()
        if missing := net.missing():
            return net, [failure(net, zoo, f"{missing} is not installed here (pip install '.[zoo]')", ABSENT)]
        return net, ship_net(net, zoo, out, progress)

    with ThreadPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(work, net) for net in nets]):
            yield future.result()


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
    nets = {name: {"key": net.key, "rows": [row.as_json() for row in net.rows]} for name, net in sorted(kept.items())}
    write_text(path, dump_json({"schema": 1, "nets": nets}))


def conclude_zoo(rows: list[ZooRow]) -> str:
    """Return the reason of a pass.

    Raises BudgetBroken where a file does not pass, NothingJudged where none was made.
    """
    passed = [row for row in rows if row.verdict == PASS]
    absent = [row for row in rows if row.verdict == ABSENT]
    bad = [row for row in rows if row not in passed and row not in absent]
    text = f"{len(passed)} of {len(passed) + len(bad)} files of {len({row.net for row in rows})} nets pass"
    text += f", {len(absent)} nets need a library that is not installed" if absent else ""
    if bad:
        raise BudgetBroken(f"{text}; first: {bad[0].net} {bad[0].target} {bad[0].recipe}: {bad[0].reason}")
    if not passed:
        raise NothingJudged(text)
    return text
