"""Print the progress and the results of a search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from export.search import sensitivity
from export.search.builds import Build
from export.search.trial import Trial
from hydramobile.errors import BudgetBroken


@contextmanager
def progress_line() -> Iterator[sensitivity.Progress]:
    """Show one bar per stage; where the output is no terminal, print a line whenever the stage changes."""
    console = Console(stderr=True, markup=False)
    if not console.is_terminal:
        printed: list[str] = []

        def print_stage(stage: str, done: int, of: int) -> None:
            if printed[-1:] != [stage]:
                printed.append(stage)
                console.print(f"search: {stage}")

        yield print_stage
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        tasks: dict[str, int] = {}

        def show(stage: str, done: int, of: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=of)
            bar.update(tasks[stage], completed=done, total=of)  # type: ignore[arg-type]  # rich's own alias of int

        yield show


def result_table(final: Sequence[Trial], builds: Sequence[Build]) -> None:
    """Print one row per build and target."""
    table = Table("build", "target", "MB", "limit", "losses: mean, worst (sample)", "layers as", "within")
    known = {build.name: build for build in builds}
    for trial in final:
        build = known[trial.build]
        limit = build.sizes.get(trial.target)
        lost = "\n".join(
            f"{name} {loss.mean:.2%}, {loss.worst:.2%} ({loss.sample})" for name, loss in trial.losses.items()
        )
        if trial.wrong is not None:
            lost += f"\nagainst labels {trial.wrong:.3%}"
        options = ", ".join(f"{count} {name}" for name, count in Counter(trial.choice.values()).most_common())
        good = Text("yes", "green") if not broken_limit(trial, build) else Text("no", "red")
        size, most = f"{trial.bytes / 1e6:.3f}", f"{limit / 1e6:g}" if limit else ""
        table.add_row(trial.build, trial.target, size, most, lost, options, good)
    Console(markup=False).print(table)


def broken_limit(trial: Trial, build: Build) -> str:
    """Return the first limit of its build that a trial breaks, in words; "" where it keeps all of them."""
    limit = build.sizes.get(trial.target)
    if limit and trial.bytes > limit:
        return f"{trial.bytes / 1e6:.3f} MB instead of {limit / 1e6:g}"
    for name, loss in trial.losses.items():
        if loss.mean > build.mean:
            return f"{name} loses {loss.mean:.2%} on average instead of {build.mean:.2%}"
        if loss.worst > build.worst:
            return f"{name} loses {loss.worst:.2%} on {loss.sample} instead of {build.worst:.2%}"
    most = build.wrong.get(trial.target)
    if most is not None and trial.wrong is not None and trial.wrong > most:
        return f"{trial.wrong:.2%} more of the labels' pairs are wrong instead of {most:.2%}"
    return ""


def conclude(final: Sequence[Trial], builds: Sequence[Build], folder: Path) -> str:
    """Return the reason line of a pass. Raises BudgetBroken naming the first build that breaks a limit."""
    known = {build.name: build for build in builds}
    broken = [(trial, reason) for trial in final if (reason := broken_limit(trial, known[trial.build]))]
    if broken:
        trial, reason = broken[0]
        counts = f"{len(broken)} of {len(final)} builds; {folder}"
        raise BudgetBroken(f"{trial.build} for {trial.target}: {reason} ({counts})")
    return f"{len(final)} builds written; everything tried: {folder}/search.json, {folder}/pareto.png"
