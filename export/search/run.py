"""Run a search: measure, solve, verify, export and weigh, until every build is in its files as it was chosen."""

from __future__ import annotations

from export.search.choose import ROUNDS, choose, solve
from export.search.exports import check_exported, drop_refused, export_builds, oversized, with_exported_size
from export.search.prepare import prepare, weigh
from export.search.recipes import write_recipes
from export.search.report import write_report
from export.search.sensitivity import Progress
from export.search.state import Pair, Request, State
from export.search.trial import Trial
from export.search.verify import with_label_loss


def run_search(request: Request, progress: Progress) -> list[Trial]:
    """Return the builds as they are in the exported files, and write the recipes and the report.

    Raises UsageError for a size that cannot be reached, and StageError where an export fails for another reason than
    the storage of a layer.
    """
    state = prepare(request, progress)
    weigh(state, progress)
    chosen = export_chosen(state, progress)
    progress("ask the labels", 0, 1)
    final = [with_label_loss(state, with_exported_size(state, trial)) for trial in chosen]
    write_report(state, final)
    return final


def export_chosen(state: State, progress: Progress) -> list[Trial]:
    """Solve every build, export it, and solve anew where a file is too large or a target refuses an option."""
    waiting: list[Pair] = state.request.pairs()
    chosen: dict[tuple[str, str], Trial] = {}
    for attempt in range(ROUNDS):
        for number, (target, build) in enumerate(waiting):
            progress(f"solve {build.name} for {target}", number, len(waiting))
            solve(state, target, build)
        best = {(target, build.name): choose(state, target, build) for target, build in state.request.pairs()}
        chosen = {pair: trial for pair, trial in best.items() if trial is not None}
        least = state.bench.program.least_quantized()
        write_recipes(state.request.spec, state.decoder.layers, least, chosen)
        progress(f"export the builds, round {attempt + 1}", 0, 1)
        failed = export_builds(state)
        refused = [pair for pair in chosen if pair in failed]
        if attempt == ROUNDS - 1 or not all(drop_refused(state, chosen[pair], failed[pair]) for pair in refused):
            check_exported(list(failed.values()))
        builds = {build.name: build for build in state.request.builds}
        waiting = [*oversized(state, chosen, failed), *((target, builds[name]) for target, name in refused)]
        if not waiting:
            break
    return list(chosen.values())
