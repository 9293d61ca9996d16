"""`python -m reference`: run the PyTorch reference on a photo, and make what the model folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from models.cli import run

# torch is imported inside the commands, so that --help does not wait for it.
app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """The PyTorch reference of the portrait model."""


@app.command()
def port(
    checkpoint: Annotated[Path, typer.Argument(help="The training sketch's checkpoint (.pt).")],
    out: Annotated[Path, typer.Option(help="The safetensors file to write.")] = Path(
        "models/portrait/weights.safetensors"
    ),
) -> str:
    """Carry a training sketch's weights over to the portrait Hydra."""
    from models.files import sha256_file
    from reference.port import port as carry

    count = carry(checkpoint, out)
    print(f"{out}: {count} tensors, {out.stat().st_size} bytes")
    print(f"sha256 for model.toml: {sha256_file(out)}")
    return f"{count} tensors carried over"


if __name__ == "__main__":
    run(app)
