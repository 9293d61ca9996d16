"""`python -m reference`: run the PyTorch reference on a photo, and create the contents of the model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hydramobile.cli import run
from hydramobile.errors import UsageError

# torch is imported inside the commands, so that --help does not wait for it.
app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Run and train the PyTorch reference of the portrait model."""


@app.command()
def infer(
    photo: Annotated[Path, typer.Argument(help="JPEG, PNG, WebP or HEIC.")],
    out: Annotated[Path, typer.Option(help="Folder for depth.png, matte.png and side-by-side.png.")],
    model: Annotated[Path, typer.Option(help="Folder with a model.toml.")] = Path("models/portrait"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace pictures already in the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print paths and figures as JSON.")] = False,
) -> str:
    """Write the depth (16-bit, larger is nearer) and the matte (8-bit) of a photo, at its own size."""
    from hydramobile.files import dump_json
    from hydramobile.spec import load_spec
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
def samples(
    assets: Annotated[Path, typer.Option(help="MakeHuman wardrobe: clothes/, hair/, skins/, eyes/, rigs/ ...")],
    out: Annotated[Path, typer.Option(help="The folder to replace.")] = Path("models/portrait/samples"),
) -> str:
    """Render the portrait model's sample photos again and write samples.toml."""
    from reference.render.samples import write_samples

    names = write_samples(assets, out)
    return f"{len(names)} samples in {out}"


@app.command()
def labels(
    views: Annotated[Path, typer.Argument(help="A set of the split `test`: python -m reference synthesize.")],
    out: Annotated[Path, typer.Option(help="The folder to replace.")] = Path("models/portrait/labels"),
    count: Annotated[int, typer.Option(min=1, help="How many views, from the first one on.")] = 64,
) -> str:
    """Write synthesized views as the labels that files are judged by: photo, truth and matte, with their hashes."""
    from reference.synthesize.labels import write_labels

    return f"{write_labels(views, out, count)} labels in {out}"


@app.command()
def photos(
    folders: Annotated[list[Path], typer.Argument(help="Folders of photos.")],
    out: Annotated[Path, typer.Option(help="The set of views to write; never commit one.")],
    depth: Annotated[
        list[Path] | None, typer.Option(help="Repeatable: weights of portraits whose mean labels the depth.")
    ] = None,
    empty: Annotated[bool, typer.Option("--empty", help="Nobody is in the photos: their matte is 0.")] = False,
    exclude: Annotated[Path | None, typer.Option(help="A people.toml: its photos are left out.")] = None,
    teachers: Annotated[Path, typer.Option(help="Where scripts/setup.sh teachers put mediapipe's networks.")] = Path(
        "build/teachers"
    ),
) -> str:
    """Turn photos into a training set: teacher mattes where the teacher is sure, face relief, depth by an ensemble."""
    from reference.evaluation.people import listed_hashes
    from reference.teacher.photos import Labelling, make_set

    excluded = listed_hashes(exclude) if exclude else frozenset()
    kept, seen = make_set(folders, out, Labelling(teachers, tuple(depth or ()), empty, excluded))
    return f"{kept} of {seen} photos kept in {out}"


@app.command()
def composites(
    people: Annotated[Path, typer.Argument(help="A set of people: python -m reference photos.")],
    backgrounds: Annotated[Path, typer.Argument(help="A set of photos without people: photos --empty.")],
    out: Annotated[Path, typer.Option(help="The set of views to write; never commit one.")],
    count: Annotated[int, typer.Option(min=1, help="How many composites.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same composites.")] = 1,
) -> str:
    """Place people of photos in front of other photos, with their mattes and their depth."""
    from reference.teacher.composites import make_composites

    return f"{make_composites(people, backgrounds, out, count, seed)} composites in {out}"


@app.command()
def mattes(
    folders: Annotated[list[Path], typer.Argument(help="Folders of photos.")],
    out: Annotated[Path, typer.Option(help="The folder of mattes to write; never commit one.")] = Path("build/mattes"),
    names: Annotated[
        Path | None, typer.Option(help="A people.toml: only the photos that it lists under [[matte]].")
    ] = None,
    teachers: Annotated[Path, typer.Option(help="Where scripts/setup.sh teachers put the networks.")] = Path(
        "build/teachers"
    ),
) -> str:
    """Write a matte per photo by two teachers, and how far they agree; about 7 s per photo."""
    from reference.evaluation.people import matte_names
    from reference.teacher.mattes import label_folder

    count = label_folder(folders, out, teachers, matte_names(names) if names else ())
    return f"{count} mattes in {out}"


@app.command()
def train(  # noqa: PLR0913 - one parameter per flag
    data: Annotated[list[Path], typer.Argument(help="Sets of views: synthetic ones, and photos.")],
    out: Annotated[Path, typer.Option(help="The run's folder.")] = Path("build/train/run"),
    validation: Annotated[list[Path] | None, typer.Option(help="Synthetic set(s) to choose the weights on.")] = None,
    init: Annotated[Path, typer.Option(help="Weights to start from.")] = Path("models/portrait/weights.safetensors"),
    teacher: Annotated[Path | None, typer.Option(help="Weights of a larger net to learn from as well.")] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="An option, such as minutes=50 or weights.relief=0.2.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder, on the same data.")] = None,
) -> str:
    """Train the portrait Hydra: checkpoints, EMA weights chosen on the validation set, curve.png, record.json."""
    from reference.training import run as runs
    from reference.training.loop import Job
    from reference.training.options import Options, set_options

    checked = tuple(validation or ())
    if resume is not None:
        if assign or teacher:
            raise UsageError("a resumed run keeps its options: leave out --set and --teacher")
        record = runs.resume(resume, tuple(data), checked)
    else:
        options = set_options(Options(), assign or ())
        record = runs.start(Job(out, tuple(data), checked, init, options, teacher=teacher))
    chosen = record["weights"]["chosen"]
    return f"{record['images']} images in {record['seconds'] / 60:.1f} min, weights of step {chosen['step']}"


@app.command()
def qat(
    data: Annotated[list[Path], typer.Argument(help="Sets of views: synthetic ones, and photos.")],
    out: Annotated[Path, typer.Option(help="Folder for weights.safetensors and record.json.")] = Path("build/qat"),
    recipe: Annotated[str, typer.Option(help="The recipe to train for: w2 to w8, or NAME@TARGET of recipes.toml.")] = (
        "w4"
    ),
    validation: Annotated[list[Path] | None, typer.Option(help="Synthetic set(s) to choose the weights on.")] = None,
    model: Annotated[Path, typer.Option(help="Folder with a model.toml, whose weights are fine-tuned.")] = Path(
        "models/portrait"
    ),
    steps: Annotated[int, typer.Option(help="Steps of six photos, about a second each on one core.")] = 300,
) -> str:
    """Fine-tune the weights so that rounding them costs little; a recipe names the file with `weights = "..."`."""
    from hydramobile.recipe_files import find_recipe
    from hydramobile.spec import load_spec
    from reference.training.qat import Job, tune

    spec = load_spec(model)
    name, _, target = recipe.partition("@")
    chosen = find_recipe(spec, target or "onnx", name)
    job = Job(out, tuple(data), spec.folder / spec.weights_path, chosen, tuple(validation or ()), steps)
    record = tune(job)
    first, last = record["checks"][0], next(c for c in record["checks"] if c["step"] == record["weights"]["step"])
    moves = [f"{name} {first[name]:.4f} to {last[name]:.4f}" for name in first if name not in ("step", "score")]
    return f"{out}/weights.safetensors, of step {last['step']}; {', '.join(moves) or 'chosen without --validation'}"


@app.command()
def init(
    out: Annotated[Path, typer.Option(help="The safetensors file to write.")],
    imagenet: Annotated[Path | None, typer.Option(help="The .pth that scripts/setup.sh encoder fetches.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the untrained decoders.")] = 1,
) -> str:
    """Write the untrained portrait: ImageNet's encoder and fresh decoders; train it with --init."""
    from reference.imagenet import FILE, start_file

    start_file(imagenet or FILE, out, seed)
    return f"{out}; it predicts neither depth nor matte yet: train it with --init {out}"


@app.command()
def prune(
    data: Annotated[list[Path], typer.Argument(help="Sets of views to measure the channels' importance on.")],
    out: Annotated[Path, typer.Option(help="The safetensors file to write.")],
    weights: Annotated[Path, typer.Option(help="The net to prune.")] = Path("models/portrait/weights.safetensors"),
    width: Annotated[int, typer.Option(help="Channels of the decoders.")] = 32,
    mmac: Annotated[float, typer.Option(help="At most this many million multiply-adds at 256x192.")] = 260.0,
    parameters: Annotated[float, typer.Option(help="At most this many million parameters.")] = 1.6,
) -> str:
    """Cut the least important channels out of the portrait; train the rest with --init and --teacher."""
    from reference.pruning.run import Target, prune_file

    kept = prune_file(weights, tuple(data), out, Target(width, mmac * 1e6, parameters * 1e6))
    print(f"channels of the blocks: {', '.join(map(str, kept.shape[0]))}; width of the decoders: {kept.shape[1]}")
    return f"{out}; it predicts nothing useful yet: train it with --init {out} --teacher {weights}"


@app.command()
def evaluate(  # noqa: PLR0913 - one parameter per flag
    sets: Annotated[list[Path] | None, typer.Argument(help="Synthetic sets with truth; default: photos alone.")] = None,
    real: Annotated[Path | None, typer.Option(help="Folder of phone portraits that carry depth and matte.")] = None,
    model: Annotated[Path, typer.Option(help="Folder with a model.toml.")] = Path("models/portrait"),
    weights: Annotated[Path | None, typer.Option(help="Weights other than the model's, such as a run's.")] = None,
    views: Annotated[int, typer.Option(help="At most this many views of each set.")] = 100_000,
    people: Annotated[
        Path | None, typer.Option(help="Folder with rgbd/, people/ and backgrounds/, whose photos people.toml lists.")
    ] = None,
    mattes: Annotated[Path, typer.Option(help="Mattes of those people: python -m reference mattes.")] = Path(
        "build/mattes"
    ),
    out: Annotated[Path, typer.Option(help="Folder for evaluation.json, evaluation.md, sheet.jpg.")] = Path(
        "build/eval"
    ),
) -> str:
    """Measure the reference against truth: each real photo by itself, synthetic views by bins, beside baselines."""
    from hydramobile.spec import load_spec
    from reference.evaluation.run import Question
    from reference.evaluation.run import evaluate as answer

    report = answer(Question(load_spec(model), weights, tuple(sets or ()), real, views, people, mattes), out)
    print((out / "evaluation.md").read_text(encoding="utf-8"))
    return str(report["verdict"])


@app.command()
def compare(
    evaluations: Annotated[list[Path], typer.Argument(help="evaluation.json files; the first is the baseline.")],
) -> str:
    """Compare weights on the same photos: paired differences with their intervals, and which weights to choose."""
    from reference.evaluation.compare import compare as compared
    from reference.evaluation.compare import lines

    candidates = compared(evaluations)
    print("\n".join(lines(candidates)))
    return f"best by the mean of ranks: {candidates[0].name}"


@app.command()
def card(
    evaluation: Annotated[Path, typer.Argument(help="evaluation.json of the model's own weights.")],
    record: Annotated[Path | None, typer.Option(help="record.json of the run that trained them.")] = None,
    model: Annotated[Path, typer.Option(help="Folder with a model.toml.")] = Path("models/portrait"),
) -> str:
    """Copy an evaluation and a training record beside the weights and regenerate the model card's tables."""
    from hydramobile.spec import load_spec
    from reference.evaluation.card import publish

    written = publish(load_spec(model), evaluation, record)
    print("\n".join(str(path) for path in written))
    return f"{len(written)} files"


@app.command()
def synthesize(  # noqa: PLR0913 - one parameter per flag
    assets: Annotated[Path, typer.Option(help="MakeHuman wardrobe: clothes/, hair/, skins/, eyes/, rigs/ ...")],
    views: Annotated[int, typer.Option(help="How many views.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same views.")],
    out: Annotated[Path, typer.Option(help="The dataset's folder; an unfinished one of the same order is completed.")],
    split: Annotated[str, typer.Option(help="train, validation or test; no identity is in two of them.")] = "train",
    bin: Annotated[str, typer.Option(help="A kind of view for evaluation; a wrong name lists them.")] = "",  # noqa: A002  # the option's name
    normals: Annotated[bool, typer.Option("--normals", help="Also the people's surface normals.")] = False,
) -> str:
    """Render people with exact disparity, coverage and face points for training and evaluation."""
    import sys

    from reference.synthesize.dataset import BACKDROPS, Order
    from reference.synthesize.dataset import synthesize as make
    from reference.synthesize.sheet import write_sheet

    order = Order(assets, views, seed, split, bin, BACKDROPS if BACKDROPS.is_dir() else None, normals)  # type: ignore[arg-type]  # checked by make()
    index = make(order, out, lambda line: print(f"synthesize: {line}", file=sys.stderr, flush=True))
    write_sheet(out)
    return f"{index['views']} views in {out}, content {index['content_hash'][:16]}"


if __name__ == "__main__":
    run(app)
