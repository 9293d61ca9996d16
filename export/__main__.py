"""The command line: python -m export TARGET|PLATFORM|all, and verbs such as `list`, `inspect FILE` and `doctor`.

The first word is a target, a platform or a verb. Targets are arguments of the default verb, so that the common case
stays short.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from hydramobile.cli import run
from hydramobile.targets import KNOWN, PLATFORMS, complete_words

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Turn a model folder into Core ML, LiteRT, ONNX and TF.js artifacts. "
    f"`python -m export TARGET` is short for `export make TARGET`; targets: {', '.join(KNOWN)}; "
    f"platforms: {', '.join(PLATFORMS)}.",
)
VERBS = ("make", "bundle", "keygen", "sign", "verify", "init", "list", "layers", "search", "chart", "inspect", "doctor")


@app.command()
def make(  # noqa: PLR0913 - one parameter per flag; six flags are the limit, without the words
    what: Annotated[
        list[str],
        typer.Argument(help="Targets (coreml, ...) or platforms (ios, ..., all).", autocompletion=complete_words),
    ],
    model: Annotated[Path, typer.Option(help="Folder with a model.toml. It names code that is run: trust it.")] = Path(
        "models/portrait"
    ),
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="Repeatable: a recipe of the grammar, of recipes.toml, FILE.toml:NAME, or a set (grid, calibration). "
            "Default: the recipes of budget.toml."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Artifacts go to OUT/<model>/<target>/<recipe>.")] = Path("build"),
    calibrate: Annotated[
        Path | None, typer.Option(help="A folder of further calibration photos; never copied.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace artifacts that were made from other inputs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcomes as JSON.")] = False,
) -> str:
    """Export artifacts (the default verb)."""
    from dataclasses import asdict

    from export.driver import plan_export, run_plan, verdict
    from export.show import cautions, file_lines, outcome_table, progress_display
    from hydramobile.recipe_files import check_name
    from hydramobile.recipes import SETS
    from hydramobile.spec import load_spec
    from hydramobile.targets import resolve

    spec = load_spec(model)
    recipes = [check_name(spec, name) for asked in recipe or [] for name in SETS.get(asked, (asked,))]
    plan = plan_export(spec, resolve(what), recipes, out, overwrite, calibrate)
    started = time.monotonic()
    with progress_display(plan.jobs, quiet=as_json) as progress:
        outcomes = run_plan(plan, progress)
    if as_json:
        typer.echo(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
    else:
        outcome_table(outcomes)
        file_lines(spec, outcomes, out)
        cautions(spec, outcomes)
    return f"{verdict(outcomes)} in {time.monotonic() - started:.0f} s"


@app.command()
def init(  # noqa: PLR0913 - one parameter per flag
    destination: Annotated[Path, typer.Argument(help="The model folder to write.")],
    origins: Annotated[
        list[str],
        typer.Argument(
            help="FILE.pt2 (of torch.export.save; several are modules of one net), PACKAGE.MODULE:NAME (a factory), "
            "timm:NAME, torchvision:NAME or transformers:CONFIG."
        ),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="NAME=SHAPE[:rgb-photo][:DTYPE][:LOW..HIGH], as image=1x3x224x224:rgb-photo."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A checkpoint for the factory: .safetensors, .pth, .pt or .ckpt of tensors.")
    ] = None,
    mean: Annotated[str, typer.Option(help="Subtracted inside every file: imagenet, or numbers: .5,.5,.5.")] = "",
    std: Annotated[str, typer.Option(help="Divided by inside every file: imagenet, or numbers.")] = "",
    split: Annotated[
        list[str] | None,
        typer.Option(help="Make modules of a net's parts: --split encoder=backbone heads.depth=head1 heads.mask=head2"),
    ] = None,
    name: Annotated[str, typer.Option(help="The model's name. Default: the folder's.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> str:
    """Write a model folder for a net: from a .pt2 archive, a factory, or a library's net."""
    from export.init.request import InitRequest, read_channels, read_inputs, read_request, read_split

    # An option takes one word: further words of --split stand among the arguments. No other origin has a "=".
    words = [word for word in origins if split and "=" in word]
    request = InitRequest(
        destination,
        tuple(word for word in origins if word not in words),
        read_inputs(inputs or ()),
        weights,
        read_channels("mean", mean),
        read_channels("std", std),
        name,
        overwrite,
        read_split((*(split or ()), *words)),
    )
    read_request(request)  # before torch is imported: a typing error is answered at once
    from export.init.run import run_init
    from export.init.show import written_json, written_lines

    written = run_init(request, lambda text: typer.echo(text, err=True) if not as_json else None)
    typer.echo(json.dumps(written_json(written), indent=2) if as_json else "\n".join(written_lines(written)))
    return f"wrote {written.folder}"


@app.command()
def bundle(  # noqa: PLR0913 - one parameter per flag
    platform: Annotated[str, typer.Argument(help="ios, android or web.")],
    model: Annotated[Path, typer.Option(help="Folder with a model.toml.")] = Path("models/portrait"),
    recipe: Annotated[
        str, typer.Option(help="Default: the smallest that passed parity and that budget.toml ships.")
    ] = "",
    out: Annotated[Path, typer.Option(help="Where the artifacts and parity.json lie: OUT/<model>.")] = Path("build"),
    to: Annotated[
        Path | None, typer.Option(help="The package's folder. Default: OUT/<model>/bundles/PLATFORM/NAME.")
    ] = None,
    unproven: Annotated[
        bool, typer.Option("--unproven", help="Also take an artifact that failed parity or was not judged.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> str:
    """Make a package for apps from proven artifacts: a Swift package, a Gradle module, an npm package."""
    from export.bundle.build import BundleRequest, build_bundle
    from export.bundle.show import built_json, built_lines

    built = build_bundle(BundleRequest(platform, model, recipe, out, to, unproven))
    typer.echo(json.dumps(built_json(built), indent=2) if as_json else "\n".join(built_lines(built)))
    return f"wrote {built.folder}"


@app.command()
def keygen(key: Annotated[Path, typer.Argument(help="The private key to write; the public one is KEY.pub.")]) -> str:
    """Make a pair of keys to sign artifacts with (Ed25519)."""
    from hydramobile.signatures import make_keys

    return f"wrote {key} (keep it secret) and {make_keys(key)}"


@app.command()
def sign(
    key: Annotated[Path, typer.Option(help="The private key of keygen.")],
    model: Annotated[Path, typer.Option(help="Folder with a model.toml.")] = Path("models/portrait"),
    out: Annotated[Path, typer.Option(help="Where the artifacts and parity.json lie: OUT/<model>.")] = Path("build"),
) -> str:
    """Sign every artifact of a model, and its parity.json. Sign after parity: a later one changes the file."""
    from hydramobile.signatures import sign_model
    from hydramobile.spec import load_spec

    signed = sign_model(out / load_spec(model).name, key)
    typer.echo("\n".join(str(row.path) for row in signed))
    return f"{len(signed)} files signed by the key {signed[0].key}"


@app.command()
def verify(
    key: Annotated[Path, typer.Option(help="The public key, KEY.pub of keygen.")],
    model: Annotated[Path, typer.Option(help="Folder with a model.toml.")] = Path("models/portrait"),
    out: Annotated[Path, typer.Option(help="Where the artifacts and parity.json lie: OUT/<model>.")] = Path("build"),
) -> str:
    """Check the seals and the signatures of every artifact of a model, and of its parity.json."""
    from hydramobile.signatures import verify_model
    from hydramobile.spec import load_spec

    checked = verify_model(out / load_spec(model).name, key)
    return f"{len(checked)} files are as the owner of the key {checked[0].key} signed them"


@app.command("list")
def list_support(
    model: Annotated[Path, typer.Argument(help="Folder with a model.toml.")] = Path("models/portrait"),
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> str:
    """List the recipes of every target, and which of them the model's support.json calls supported."""
    from export.show import support_rows, support_table
    from hydramobile.spec import load_spec
    from hydramobile.support import GOOD

    rows = support_rows(load_spec(model))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        support_table(rows)
    good = sum(row["stands"] in GOOD for row in rows)
    return f"{good} of {len(rows)} combinations of target and recipe are supported"


@app.command()
def layers(
    model: Annotated[Path, typer.Argument(help="Folder with a model.toml.")] = Path("models/portrait"),
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> str:
    """List the layers of a model by the names that recipes.toml uses, with shapes and sizes."""
    from export.program import capture
    from export.quantize.layers import find_layers
    from export.show import layer_rows, layer_table
    from hydramobile.spec import load_spec

    rows = layer_rows(find_layers(capture(load_spec(model))).values())
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        layer_table(rows)
    return f"{len(rows)} layers of {sum(row['values'] for row in rows)} weights"


@app.command()
def search(
    model: Annotated[Path, typer.Argument(help="Folder with a model.toml; its recipes.toml is written.")] = Path(
        "models/portrait"
    ),
    budget_mb: Annotated[
        float | None,
        typer.Option(help="The size that one app may ship, in MB. Default: quality, balanced and compact."),
    ] = None,
    max_loss: Annotated[
        str | None,
        typer.Option(help='The loss of each judged output on average, such as "1%"; three times that on the worst.'),
    ] = None,
    target: Annotated[list[str] | None, typer.Option(help="Targets or platforms; repeatable. Default: all.")] = None,
    out: Annotated[Path, typer.Option(help="Artifacts and evidence: OUT/<model>/search/.")] = Path("build"),
    calibrate: Annotated[Path | None, typer.Option(help="A folder of further calibration photos.")] = None,
) -> str:
    """Choose the storage of each layer by the loss that it causes, and write the recipes for all targets."""
    from export.search.builds import requested_builds
    from export.search.run import run_search
    from export.search.show import conclude, progress_line, result_table
    from export.search.state import Request
    from hydramobile.spec import load_spec
    from hydramobile.targets import resolve

    spec, targets = load_spec(model), resolve(target or ["all"])
    request = Request(spec, out, targets, requested_builds(spec, targets, budget_mb, max_loss), calibrate)
    with progress_line() as progress:
        final = run_search(request, progress)
    result_table(final, request.builds)
    return conclude(final, request.builds, request.folder)


@app.command()
def chart(
    model: Annotated[Path, typer.Argument(help="Folder with a model.toml.")] = Path("models/portrait"),
    out: Annotated[Path, typer.Option(help="The folder of an earlier search: OUT/<model>/search/.")] = Path("build"),
) -> str:
    """Draw the chart of a search again, with builds coloured by the latencies measured since."""
    from export.search.report import redraw
    from hydramobile.spec import load_spec

    return f"drawn: {redraw(load_spec(model), out)}"


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="An artifact folder, .mlpackage, .tflite, .onnx or model.json.")],
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> str:
    """Show entries, tensors, dtypes, sizes and metadata, read from the file itself."""
    from export.inspect import inspect_path
    from export.show import facts_tree

    facts = inspect_path(file)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        facts_tree(facts)
    return f"read {file}"


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json")] = False) -> str:
    """Show the installed packages, and which targets can be exported on this machine."""
    from export.show import doctor_rows, doctor_table

    rows = doctor_rows()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        doctor_table(rows)
    ready = sum(not row["unavailable"] for row in rows)
    return f"{ready} of {len(rows)} targets can be exported here"


def insert_default_verb(arguments: list[str]) -> list[str]:
    """Turn `export onnx ...` into `export make onnx ...`; verbs and options stay as they are."""
    if arguments and not arguments[0].startswith("-") and arguments[0] not in VERBS:
        return ["make", *arguments]
    return arguments


if __name__ == "__main__":
    sys.argv[1:] = insert_default_verb(sys.argv[1:])
    run(app)
