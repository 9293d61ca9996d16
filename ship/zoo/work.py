"""Ship one net of a zoo, in processes of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from hydramobile import interrupts
from ship.commands import Ended, run_command
from ship.zoo.request import Net, Zoo
from ship.zoo.rows import ZooRow, failure, zoo_row

# A net whose process was killed is done once more: the system may have needed its memory for another.
ATTEMPTS = 2


def ship_net(net: Net, zoo: Zoo, out: Path, progress: Callable[[str], None]) -> tuple[ZooRow, ...]:
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
