"""Ship the nets of a zoo on a Dask cluster: one task per net, whose rows come back.

Dask gives the net of a lost worker to another one. The workers have this program installed and see the folder of
ZOO.toml and OUT at the same paths, as on one machine or on a shared file system.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydramobile import interrupts
from hydramobile.errors import UsageError
from ship.version import program_version
from ship.zoo.request import Net, Zoo
from ship.zoo.rows import ABSENT, ZooRow, failure
from ship.zoo.work import ship_net

if TYPE_CHECKING:
    from distributed import Client, Future

# Seconds to wait for the scheduler, and for its first worker.
PATIENCE = 20.0
# Seconds between two checks for an interrupt.
POLL = 1.0


def ship_on_cluster(scheduler: str, zoo: Zoo, nets: Sequence[Net], out: Path) -> Iterator[tuple[Net, list[ZooRow]]]:
    """Yield each net with its rows, in the order in which they are done.

    Raises UsageError where Dask is not installed, no scheduler answers at `scheduler` or it has no worker.
    """
    with connected(scheduler) as client:
        waiting = {
            client.submit(on_worker, zoo, net, out.resolve(), program_version(), pure=False): net for net in nets
        }
        try:
            while waiting:
                interrupts.check()
                for future in ended(list(waiting)):
                    net = waiting.pop(future)
                    yield net, rows_of(future, zoo, net)
        finally:
            client.cancel(list(waiting))  # type: ignore[no-untyped-call]  # distributed has few types


@contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """Connect to a scheduler that has a worker while the context lasts."""
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError("--scheduler needs Dask: pip install '.[cluster]'") from error
    try:
        client = Client(scheduler, timeout=PATIENCE)  # type: ignore[no-untyped-call]  # the same
    except (OSError, ValueError) as error:
        raise UsageError(f"no Dask scheduler answers at {scheduler} ({error}); start one: dask scheduler") from error
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
        yield client
    except TimeoutError as error:
        raise UsageError(f"the scheduler at {scheduler} has no worker; start one: dask worker {scheduler}") from error
    finally:
        client.close()  # type: ignore[no-untyped-call]  # the same


def ended(futures: Sequence[Future[Any]]) -> list[Future[Any]]:
    """Return the futures that have ended within POLL seconds."""
    from distributed import wait

    try:
        done = wait(futures, timeout=POLL, return_when="FIRST_COMPLETED")  # type: ignore[no-untyped-call]  # the same
        return list(done.done)
    except TimeoutError:
        return []


def on_worker(zoo: Zoo, net: Net, out: Path, version: str) -> list[dict[str, Any]]:
    """Ship one net in a worker; return its rows as JSON objects."""
    from distributed import get_worker

    where = f"worker {get_worker().name}"
    if (own := program_version()) != version:
        reason = f"{where} has hydra-mobile {own}, and {version} asked: install the same there"
        return [failure(net, zoo, reason).as_json()]
    if not zoo.base.is_dir():
        reason = f"{where} does not see {zoo.base}: all workers need ZOO.toml's folder at one path"
        return [failure(net, zoo, reason).as_json()]
    if missing := net.missing():
        reason = f"{missing} is not installed on {where} (pip install '.[zoo]')"
        return [failure(net, zoo, reason, ABSENT).as_json()]
    return [row.as_json() for row in ship_net(net, zoo, out, quiet)]


def quiet(text: str) -> None:
    """Drop progress: a worker's terminal is not the user's."""


def rows_of(future: Future[Any], zoo: Zoo, net: Net) -> list[ZooRow]:
    """Return the rows of an ended task; the row of a failure where it raised or its workers died."""
    try:
        return [ZooRow(**row) for row in future.result()]
    except Exception as error:  # noqa: BLE001  # a worker may raise anything: one net must not end the others
        return [failure(net, zoo, f"on the cluster: {type(error).__name__}: {error}")]
