"""What a search prints: where it is, and what it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from export.search.builds import Build
from export.search.trial import Trial
from hydramobile.errors import BudgetBroken


@contextmanager
def progress_line() -> Iterator[Callable[[str, int, int], None]]:
    """A bar a stage; where the output is no terminal, a line whenever the stage changes."""
    console = Console(stderr=True)
    if not console.is_terminal:
        said: list[str] = []

        def say(stage: str, done: int, of: int) -> None:
            if said[-1:] != [stage]:
                said.append(stage)
                console.print(f"search: {stage}")

        yield say
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        tasks: dict[str, int] = {}

        def show(stage: str, done: int, of: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=of)
            bar.update(tasks[stage], completed=done, total=of)  # type: ignore[arg-type]  # rich's own alias of int

        yield show


def result_table(final: Sequence[Trial], builds: Sequence[Build]) -> None:
    table = Table("build", "target", "MB", "limit", "losses: mean, worst (sample)", "layers as", "within")
    known = {build.name: build for build in builds}
    for made in final:
        build = known[made.build]
        limit = build.sizes.get(made.target)
        lost = "\n".join(
            f"{name} {loss.mean:.2%}, {loss.worst:.2%} ({loss.sample})" for name, loss in made.losses.items()
        )
        if made.wrong is not None:
            lost += f"\nagainst labels {made.wrong:.3%}"
        kinds = ", ".join(f"{count} {name}" for name, count in Counter(made.choice.values()).most_common())
        good = "[green]yes[/]" if not why_not(made, build) else "[red]no[/]"
        size, most = f"{made.bytes / 1e6:.3f}", f"{limit / 1e6:g}" if limit else ""
        table.add_row(made.build, made.target, size, most, lost, kinds, good)
    Console().print(table)


def why_not(made: Trial, build: Build) -> str:
    """What a build breaks of what was asked of it; "" where it keeps everything."""
    limit = build.sizes.get(made.target)
    if limit and made.bytes > limit:
        return f"{made.bytes / 1e6:.3f} MB instead of {limit / 1e6:g}"
    for name, loss in made.losses.items():
        if loss.mean > build.mean:
            return f"{name} loses {loss.mean:.2%} on average instead of {build.mean:.2%}"
        if loss.worst > build.worst:
            return f"{name} loses {loss.worst:.2%} on {loss.sample} instead of {build.worst:.2%}"
    most = build.wrong.get(made.target)
    if most is not None and made.wrong is not None and made.wrong > most:
        return f"{made.wrong:.2%} more of the labels' pairs are wrong instead of {most:.2%}"
    return ""


def conclude(final: Sequence[Trial], builds: Sequence[Build], folder: Path) -> str:
    """The reason line of a pass. Raises BudgetBroken naming the first build that breaks what was asked of it."""
    known = {build.name: build for build in builds}
    broken = [(made, why) for made in final if (why := why_not(made, known[made.build]))]
    if broken:
        made, why = broken[0]
        raise BudgetBroken(f"{made.build} for {made.target}: {why} ({len(broken)} of {len(final)} builds; {folder})")
    return f"{len(final)} builds written; everything tried: {folder}/search.json, {folder}/pareto.png"
