"""python -m ship ios android web --model DIR|FILE.pt2: one command from a net to judged files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hydramobile.cli import run
from hydramobile.targets import complete_words

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def ship(  # noqa: PLR0913 - one parameter per flag
    what: Annotated[
        list[str],
        typer.Argument(
            help="Platforms (ios, android, web, all) or targets (coreml, ...).", autocompletion=complete_words
        ),
    ],
    model: Annotated[Path, typer.Option(help="A model folder, or a .pt2 file of torch.export.save.")],
    recipe: Annotated[list[str] | None, typer.Option(help="Repeatable. Default: the recipes of budget.toml.")] = None,
    out: Annotated[Path, typer.Option(help="Files, evidence and report go to OUT/<model>.")] = Path("build"),
    samples: Annotated[Path | None, typer.Option(help="A folder of further judging samples; never copied.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="One runtime per target, four samples, no report: a verdict in seconds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> str:
    """Export a net, judge every file against PyTorch, and say which files may ship."""
    from ship.rows import bundle_lines, conclude
    from ship.run import make_request, ordered_rows
    from ship.run import ship as run_ship
    from ship.show import ship_lines

    def progress(text: str) -> None:
        typer.echo(text, err=True)

    options = {"model": model, "out": out, "recipes": recipe or [], "samples": samples, "quick": quick}
    shipment = run_ship(make_request(what, options, progress), progress)
    rows = ordered_rows(shipment)
    if as_json:
        typer.echo(json.dumps({"rows": [asdict(row) for row in rows], "report": shipment.report}, indent=2))
    else:
        ship_lines(rows, shipment.report, bundle_lines(rows, shipment.request.short))
    return conclude(rows)


def main() -> None:
    run(app)


if __name__ == "__main__":
    main()
