"""`python -m reference`: run the PyTorch reference on a photo, and make what the model folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from models.cli import run
from models.errors import UsageError

# torch is imported inside the commands, so that --help does not wait for it.
app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """The PyTorch reference of the portrait model."""


@app.command()
def infer(
    photo: Annotated[Path, typer.Argument(help="JPEG, PNG, WebP or HEIC.")],
    out: Annotated[Path, typer.Option(help="Folder for depth.png, matte.png and side-by-side.png.")],
    model: Annotated[Path, typer.Option(help="Folder with a model.toml.")] = Path("models/portrait"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace pictures already in the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print paths and figures as JSON.")] = False,
) -> str:
    """Write the depth (16-bit, larger is nearer) and the matte (8-bit) of a photo, at its own size."""
    from models.files import dump_json
    from models.spec import load_spec
    from reference.infer import DEPTH, MATTE, SIDE_BY_SIDE, see, statistics, write_maps

    names = (DEPTH, MATTE, SIDE_BY_SIDE)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; --out names a folder")
    if not overwrite and (there := [name for name in names if (out / name).exists()]):
        raise UsageError(f"{out} already holds {', '.join(there)}; --overwrite replaces them")
    maps = see(load_spec(model), photo)
    paths = write_maps(maps, out)
    figures = statistics(maps)
    if as_json:
        print(dump_json({"photo": str(photo), "files": [str(path) for path in paths], **figures}), end="")
    else:
        print("\n".join(str(path) for path in paths))
    return f"{len(paths)} pictures, person on {100 * float((maps.alpha > 0.9).mean()):.1f} % of the photo"


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


@app.command()
def samples(
    assets: Annotated[Path, typer.Option(help="MakeHuman wardrobe: clothes/, hair/, skins/, eyes/, rigs/ ...")],
    out: Annotated[Path, typer.Option(help="The folder to replace.")] = Path("models/portrait/samples"),
) -> str:
    """Render the portrait model's sample photos again and write samples.toml."""
    from reference.render.samples import write_samples

    names = write_samples(assets, out)
    return f"{len(names)} samples in {out}"


if __name__ == "__main__":
    run(app)
