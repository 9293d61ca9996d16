"""python -m benchmarks parity|size|cost|latency|grid|compare|profile|support|calibration|device|report|doctor|..."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hydramobile.cli import run
from hydramobile.errors import UsageError

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Run artifacts and report what they compute and cost."
)

Model = Annotated[Path, typer.Option(help="Folder with a model.toml.")]
Out = Annotated[Path, typer.Option(help="Build folder; evidence goes to OUT/<model>.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Only = Annotated[list[str] | None, typer.Option(help="Only this TARGET, PLATFORM or TARGET/RECIPE. Repeatable.")]
Runtimes = Annotated[
    list[str] | None,
    typer.Option("--runtime", help="Only this runtime or group (browser, browser-gpu, arm). Repeatable."),
]
Again = Annotated[bool, typer.Option("--again", help="Measure anew what has not changed since an earlier run.")]
MODEL, OUT = Path("models/portrait"), Path("build")


@app.command()
def parity(  # noqa: PLR0913 - one parameter per flag; --bisect is a question about the same comparison
    model: Model = MODEL,
    out: Out = OUT,
    samples: Annotated[Path | None, typer.Option(help="A folder of further judging photos.")] = None,
    only: Only = None,
    runtime: Runtimes = None,
    bisect: Annotated[bool, typer.Option("--bisect", help="Also name the first tensor that diverges.")] = False,
    most: Annotated[int, typer.Option(min=0, help="Judge by at most this many samples, evenly spread; 0: all.")] = 0,
    lean: Annotated[bool, typer.Option("--lean", help="Skip comparisons that other rows cover.")] = False,
    again: Again = False,
    as_json: Json = False,
) -> str:
    """Compare every artifact with the reference in every runtime that runs it."""
    from benchmarks.evidence.envelope import to_json
    from benchmarks.kept import noted
    from benchmarks.parity.run import run_parity
    from benchmarks.parity.standings import conclude
    from benchmarks.request import Request
    from benchmarks.show.parity import parity_table
    from benchmarks.show.terminal import say
    from hydramobile.recipe_files import resolve_only
    from hydramobile.spec import load_spec

    spec = load_spec(model)
    chosen = resolve_only(spec, only or []), tuple(runtime or [])
    request = Request(spec, out, samples, *chosen, bisect, most, lean, again)
    evidence = run_parity(request, say(quiet=as_json))
    if as_json:
        typer.echo(to_json(evidence))
    else:
        parity_table(spec, evidence)
    return noted(conclude(spec, evidence, request), evidence.results)


@app.command()
def size(model: Model = MODEL, out: Out = OUT, only: Only = None, again: Again = False, as_json: Json = False) -> str:
    """Measure each artifact in bytes by file, module and storage dtype, and the bytes that an app ships."""
    from benchmarks.evidence.envelope import to_json
    from benchmarks.kept import noted
    from benchmarks.request import Request
    from benchmarks.show.size import size_table
    from benchmarks.show.terminal import say
    from benchmarks.size import conclude_size, run_size
    from hydramobile.recipe_files import resolve_only
    from hydramobile.spec import load_spec

    spec = load_spec(model)
    request = Request(spec, out, only=resolve_only(spec, only or []), again=again)
    evidence = run_size(request, say(quiet=as_json))
    if as_json:
        typer.echo(to_json(evidence))
    else:
        size_table(evidence)
    return noted(conclude_size(evidence), evidence.results)


@app.command()
def cost(model: Model = MODEL, out: Out = OUT, only: Only = None, again: Again = False, as_json: Json = False) -> str:
    """Count the MACs of each module and the peak activation memory of each artifact's graph, without running them."""
    from benchmarks.cost.run import conclude_cost, run_cost
    from benchmarks.evidence.envelope import to_json
    from benchmarks.kept import noted
    from benchmarks.request import Request
    from benchmarks.show.cost import cost_table
    from benchmarks.show.terminal import say
    from hydramobile.recipe_files import resolve_only
    from hydramobile.spec import load_spec

    spec = load_spec(model)
    request = Request(spec, out, only=resolve_only(spec, only or []), again=again)
    evidence = run_cost(request, say(quiet=as_json))
    if as_json:
        typer.echo(to_json(evidence))
    else:
        cost_table(evidence)
    return noted(conclude_cost(evidence), evidence.results)


@app.command()
def latency(  # noqa: PLR0913 - one parameter per flag; --serve measures the same on another device
    model: Model = MODEL,
    out: Out = OUT,
    only: Only = None,
    runtime: Runtimes = None,
    seconds: Annotated[float, typer.Option(help="About how long each entry's steady state is sampled.")] = 1.5,
    threads: Annotated[int, typer.Option(help="Threads a runtime may use.")] = 1,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve a page to open on a phone, which runs the web runtimes there.")
    ] = False,
    host: Annotated[
        str, typer.Option(help="With --serve: the address to listen on; 0.0.0.0 for the network.")
    ] = "127.0.0.1",
    again: Again = False,
) -> str:
    """Time the recipes that must ship (or the selection of --only) on this machine: load, first run, steady state."""
    from benchmarks.kept import noted
    from benchmarks.latency.run import Timing, conclude_latency, run_latency
    from benchmarks.request import Request
    from benchmarks.show.latency import latency_table
    from benchmarks.show.terminal import say
    from hydramobile.recipe_files import resolve_only
    from hydramobile.spec import load_spec

    spec = load_spec(model)
    request = Request(spec, out, None, resolve_only(spec, only or []), tuple(runtime or []), again=again)
    timing = Timing(seconds, threads)
    if serve:
        from benchmarks.latency.serve import conclude_serve, run_serve

        served = run_serve(request, timing, host, say(quiet=False))
        latency_table(served.evidence)
        return conclude_serve(served)
    evidence = run_latency(request, timing, say(quiet=False))
    latency_table(evidence)
    return noted(conclude_latency(evidence), evidence.results)


Count = Annotated[int, typer.Option("--rounds", help="Fresh processes an artifact.")]
Seconds = Annotated[float, typer.Option(help="About how long each entry's steady state is sampled in a process.")]
Threads = Annotated[int, typer.Option(help="Threads a runtime may use.")]


@app.command()
def grid(  # noqa: PLR0913 - one parameter per flag
    model: Model = MODEL,
    out: Out = OUT,
    only: Only = None,
    runtime: Runtimes = None,
    rounds: Count = 5,
    seconds: Seconds = 0.5,
    threads: Threads = 1,
) -> str:
    """Time every artifact in interleaved rounds of fresh processes; `compare` compares two stored grids."""
    from benchmarks.grid.run import Rounds, conclude_grid, run_grid
    from benchmarks.request import Request
    from benchmarks.show.latency import grid_table
    from benchmarks.show.terminal import say
    from hydramobile.recipe_files import resolve_only
    from hydramobile.spec import load_spec

    spec = load_spec(model)
    request = Request(spec, out, None, resolve_only(spec, only or []), tuple(runtime or []))
    evidence = run_grid(request, Rounds(rounds, seconds, threads), say(quiet=False))
    grid_table(evidence)
    return conclude_grid(evidence)


@app.command()
def support(
    model: Model = MODEL,
    out: Out = OUT,
    only: Only = None,
    rounds: Annotated[int, typer.Option(min=0, help="Interleaved rounds of timing; 0: do not time.")] = 5,
    most: Annotated[int, typer.Option(min=0, help="Judge by at most this many samples, evenly spread; 0: all.")] = 0,
    readme: Annotated[Path | None, typer.Option(help="Renew the table of supported recipes of this file.")] = None,
) -> str:
    """Judge, measure and time artifacts that were not yet, and record the supported recipes in support.json."""
    from benchmarks.grid.run import Rounds
    from benchmarks.request import Request
    from benchmarks.show.terminal import say
    from benchmarks.support import conclude_support, renew_table, run_support
    from hydramobile.recipe_files import resolve_only
    from hydramobile.spec import load_spec

    spec = load_spec(model)
    request = Request(spec, out, None, resolve_only(spec, only or []), most=most)
    document = run_support(request, Rounds(rounds) if rounds else None, say(quiet=False))
    if readme:
        renew_table(spec, readme)
    return conclude_support(document)


@app.command()
def calibration(model: Model = MODEL, out: Out = OUT, as_json: Json = False) -> str:
    """Show how the loss of static integers depends on the calibration method, its samples, and equalization."""
    from benchmarks.evidence.envelope import to_json
    from benchmarks.report.calibration import calibration_lines, calibration_table
    from benchmarks.report.gather import gather
    from hydramobile.spec import load_spec

    lines = calibration_lines(gather(load_spec(model), out, None))
    table = calibration_table(lines)
    typer.echo(to_json(lines) if as_json else table)
    return f"{len(lines)} ways to calibrate were judged"


@app.command()
def compare(  # noqa: PLR0913 - one parameter per flag
    old: Annotated[Path, typer.Argument(help="A stored grid.json or the build folder that holds one.")],
    new: Annotated[Path, typer.Argument(help="The grid to compare with OLD.")],
    model: Model = MODEL,
    interleaved: Annotated[
        bool, typer.Option("--interleaved", help="Time both build folders now, in alternating processes.")
    ] = False,
    gate: Annotated[
        float | None, typer.Option(min=0, help="Fail when an entry is significantly slower by more than this percent.")
    ] = None,
    only: Only = None,
    runtime: Runtimes = None,
    rounds: Count = 5,
    seconds: Seconds = 0.5,
    threads: Threads = 1,
    as_json: Json = False,
) -> str:
    """Test whether NEW is significantly faster or slower than OLD."""
    from benchmarks.evidence.envelope import to_json
    from benchmarks.grid import compare as comparing
    from benchmarks.grid.run import Rounds
    from benchmarks.request import Request
    from benchmarks.show.latency import compare_table
    from benchmarks.show.terminal import say
    from hydramobile.recipe_files import resolve_only
    from hydramobile.spec import load_spec

    spec = load_spec(model)
    if interleaved:
        before, after = (
            Request(spec, side, None, resolve_only(spec, only or []), tuple(runtime or [])) for side in (old, new)
        )
        chosen = Rounds(rounds, seconds, threads)
        grids = comparing.run_interleaved(before, after, chosen, say(quiet=as_json))
        comparison = comparing.compare(*grids)
        comparing.write_comparison(after, grids, comparison)
    elif only or runtime:
        raise UsageError("--only and --runtime choose what to time: they need --interleaved")
    else:
        comparison = comparing.compare(*(comparing.read_grid(side, spec.name) for side in (old, new)))
    if as_json:
        typer.echo(to_json(comparison))
    else:
        compare_table(comparison)
    return comparing.conclude_compare(comparison, gate)


@app.command()
def profile(
    model: Model = MODEL, out: Out = OUT, only: Only = None, runtime: Runtimes = None, again: Again = False
) -> str:
    """Profile the recipes that must ship (or the selection of --only) by operator."""
    from benchmarks.kept import noted
    from benchmarks.profile.run import conclude_profile, run_profile
    from benchmarks.request import Request
    from benchmarks.show.latency import profile_table
    from benchmarks.show.terminal import say
    from hydramobile.recipe_files import resolve_only
    from hydramobile.spec import load_spec

    spec = load_spec(model)
    request = Request(spec, out, None, resolve_only(spec, only or []), tuple(runtime or []), again=again)
    evidence = run_profile(request, say(quiet=False))
    profile_table(evidence)
    return noted(conclude_profile(evidence), evidence.results)


@app.command()
def instructions(  # noqa: PLR0913 - one parameter per flag
    model: Model = MODEL,
    out: Out = OUT,
    only: Only = None,
    runtime: Runtimes = None,
    gate: Annotated[float, typer.Option(min=0, help="Fail when an entry takes more than this percent more.")] = 1.0,
    update: Annotated[bool, typer.Option("--update", help="Store the counts as the model's baseline.")] = False,
    as_json: Json = False,
) -> str:
    """Count ARM instructions per inference (work, not time), and compare them with the model's baseline."""
    from benchmarks.evidence.envelope import to_json
    from benchmarks.instructions import baseline
    from benchmarks.instructions import run as counting
    from benchmarks.request import Request
    from benchmarks.show.instructions import instructions_table
    from benchmarks.show.terminal import say
    from hydramobile.recipe_files import resolve_only
    from hydramobile.spec import load_spec

    spec = load_spec(model)
    request = Request(spec, out, None, resolve_only(spec, only or []), tuple(runtime or []))
    evidence = counting.run_instructions(request, say(quiet=as_json))
    if update:
        path = baseline.write_baseline(spec, evidence)
        say(quiet=as_json)(f"wrote {path}: review it before you commit it")
    if as_json:
        typer.echo(to_json(evidence))
    else:
        instructions_table(evidence, baseline.compare(spec, evidence))
    return baseline.conclude_instructions(spec, evidence, gate)


@app.command()
def device(  # noqa: PLR0913 - one parameter per flag
    which: Annotated[str, typer.Option("--device", help="adb, adb:SERIAL, ios, ios:NAME or mac.")],
    model: Model = MODEL,
    out: Out = OUT,
    samples: Annotated[Path | None, typer.Option(help="A folder of further judging photos.")] = None,
    only: Only = None,
    tool: Annotated[
        Path | None, typer.Option(help="Android: LiteRT's benchmark_model, built for arm64 Android.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="About how long each entry and configuration is timed.")] = 2.0,
    cool: Annotated[float, typer.Option(help="Least seconds of rest between two configurations.")] = 10.0,
) -> str:
    """Judge and time the recipes that must ship (or the selection of --only) on an attached phone, or on this Mac."""
    from benchmarks.device.run import Run, choose, conclude_device, run_device
    from benchmarks.request import Request
    from benchmarks.show.device import device_table
    from benchmarks.show.terminal import say
    from hydramobile.recipe_files import resolve_only
    from hydramobile.spec import load_spec

    run_as = Run(choose(which, tool), seconds, cool)
    spec = load_spec(model)
    request = Request(spec, out, samples, resolve_only(spec, only or []))
    measured = run_device(request, run_as, say(quiet=False))
    device_table(measured)
    return conclude_device(measured)


@app.command()
def report(
    model: Model = MODEL,
    out: Out = OUT,
    samples: Annotated[
        Path | None, typer.Option(help="The folder of further photos that `parity` was run with.")
    ] = None,
    include_photos: Annotated[
        bool, typer.Option("--include-photos", help="Show pictures of private photos too.")
    ] = False,
    readme: Annotated[
        Path | None, typer.Option(help="Renew the result table of this file, and docs/results.json beside it.")
    ] = None,
) -> str:
    """Write report.html and report.md from all evidence gathered so far."""
    from benchmarks.parity.standings import headline
    from benchmarks.report.write import ReportRequest, write_report
    from benchmarks.show.terminal import say
    from hydramobile.spec import load_spec

    spec = load_spec(model)
    written = write_report(ReportRequest(spec, out, samples, include_photos, readme), say(quiet=False))
    return f"{headline(spec, out / spec.name)}report: {written.removeprefix('wrote ')}"


@app.command()
def doctor(as_json: Json = False) -> str:
    """List the runtimes: which can run here, and why the others cannot."""
    from benchmarks.evidence.envelope import to_json
    from benchmarks.show.doctor import doctor_rows, doctor_table

    rows = doctor_rows()
    if as_json:
        typer.echo(to_json(rows))
    else:
        doctor_table(rows)
    ready = sum(not row.unavailable for row in rows)
    return f"{ready} of {len(rows)} runtimes can run here"


@app.command()
def schema(
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("docs/evidence.schema.json"),
) -> str:
    """Write the JSON schema of all evidence files, generated from their types."""
    from benchmarks.evidence.envelope import schema_text
    from benchmarks.evidence.kinds import KINDS
    from hydramobile.files import write_text

    write_text(file, schema_text(KINDS))
    return f"wrote {file}: {len(KINDS)} kinds of evidence"


if __name__ == "__main__":
    run(app)
