"""Command line of the demo: python -m demo serve|screenshots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hydramobile.cli import run
from hydramobile.errors import UsageError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The web demo of the exported artifacts.")

Model = Annotated[Path, typer.Option(help="Folder with a model.toml.")]
Out = Annotated[Path, typer.Option(help="Build folder: artifacts and their parity.json lie in OUT/<model>.")]
MODEL, OUT = Path("models/portrait"), Path("build")


@app.command()
def serve(
    model: Model = MODEL, out: Out = OUT, port: Annotated[int, typer.Option(help="Port on localhost.")] = 8123
) -> str:
    """Serve the demo on localhost, with the artifacts that passed parity and no others."""
    from demo.server import bind
    from demo.site import make_site
    from hydramobile.spec import load_spec

    site = make_site(load_spec(model), out)
    try:
        server = bind(site, port)
    except OSError as error:
        raise UsageError(f"port {port} cannot be used ({error.strerror}); another one: --port 8124") from error
    typer.echo(f"http://localhost:{server.server_port}/  (stop: Ctrl-C)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
    return "stopped"


@app.command()
def screenshots(
    model: Model = MODEL,
    out: Out = OUT,
    to: Annotated[Path, typer.Option(help="Folder for the JPEGs.")] = Path("docs/images"),
) -> str:
    """Take the README's pictures of the demo in a headless browser."""
    from demo.screenshots import take
    from hydramobile.spec import load_spec

    paths = take(load_spec(model), out, to)
    typer.echo("\n".join(map(str, paths)))
    return f"{len(paths)} pictures"


if __name__ == "__main__":
    run(app)
