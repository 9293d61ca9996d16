"""`python -m hydramobile goldens`: compute the reference's inputs, features and outputs for the judging samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hydramobile.cli import run

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Work on model folders.")


@app.callback()
def main() -> None:
    """Work on model folders."""  # a callback keeps `goldens` a named command while it is the only one


@app.command()
def goldens(
    model: Annotated[Path, typer.Option(help="Folder with a model.toml.")] = Path("models/portrait"),
    out: Annotated[Path, typer.Option(help="Build folder; goldens go to OUT/<model>/goldens.")] = Path("build"),
    samples: Annotated[Path | None, typer.Option(help="A folder of further judging photos; never copied.")] = None,
    commit: Annotated[int, typer.Option(help="Also refresh the first N samples in MODEL/goldens (float16).")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON summary.")] = False,
) -> str:
    """Compute missing and stale goldens."""
    from hydramobile.golden_job import compute_goldens
    from hydramobile.samples import load_samples
    from hydramobile.spec import load_spec

    spec = load_spec(model)
    chosen = load_samples(spec, "judge", samples)
    computed = compute_goldens(spec, out, samples, commit)
    if as_json:
        typer.echo(json.dumps({"model": spec.name, "samples": len(chosen), "computed": computed}))
    return f"goldens of {len(chosen)} samples of {spec.name} ({computed} computed)"


if __name__ == "__main__":
    run(app)
