"""python -m ship.zoo ZOO.toml: ship every net of a list and write one table. hydra-mobile zoo is the same."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hydramobile.cli import run

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def zoo(  # noqa: PLR0913 - one parameter per flag
    nets: Annotated[Path, typer.Argument(help="ZOO.toml: the nets, as `init` takes them, or model folders.")],
    out: Annotated[Path, typer.Option(help="Files go to OUT/zoo/<net>, results to OUT/zoo.json.")] = Path("build"),
    page: Annotated[Path | None, typer.Option(help="Also write the table to this Markdown page.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Nets at a time; each takes two processes and 2 to 4 GB.")] = 1,
    scheduler: Annotated[str, typer.Option(help="A Dask cluster's scheduler, tcp://HOST:8786, instead of JOBS.")] = "",
    again: Annotated[bool, typer.Option("--again", help="Ship every net anew; kept results are replaced.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> str:
    """Ship each net of a list to every target; finished nets are kept, so that an interrupted run continues."""
    from hydramobile.files import write_text
    from ship.zoo.page import page_text, zoo_table
    from ship.zoo.request import check_folders, read_zoo
    from ship.zoo.run import Execution, conclude_zoo, run_zoo

    asked = read_zoo(nets)
    check_folders(asked)
    rows = run_zoo(asked, out, Execution(jobs, again, scheduler), lambda text: typer.echo(text, err=True))
    if page:
        write_text(page, page_text(rows, str(nets), str(page)))
    if as_json:
        typer.echo(json.dumps({"rows": [asdict(row) for row in rows]}, indent=2))
    else:
        zoo_table(rows)
    return conclude_zoo(rows)


if __name__ == "__main__":
    run(app)
