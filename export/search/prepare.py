"""Prepare a search: capture, calibrate, measure every layer, and weigh the target's files beside their layers."""

from __future__ import annotations

from export.driver import plan_export, run_plan
from export.program import calibrate, capture
from export.quantize.gram import gram_matrices
from export.quantize.layers import find_layers
from export.search.decoder import Decoder
from export.search.exports import check_exported, quiet, shipped_bytes
from export.search.losses import Bench
from export.search.sensitivity import Progress, measure, option_table
from export.search.state import Request, State
from export.search.store import Store, depends_on
from hydramobile.artifact import artifact_folder, read_artifact
from hydramobile.errors import StageError
from hydramobile.files import write_text
from hydramobile.samples import load_samples

# A recipe that stores every layer by itself, as float16. Its files show which layers a target stores as one weight, and
# how many bytes they hold beside the layers.
PROBE = "probe"


def prepare(request: Request, progress: Progress) -> State:
    """Capture and calibrate the net, and measure every layer.

    Raises StageError("search") for a net without layers, or where a calibration photo is judged by too.
    """
    progress("capture", 0, 1)
    spec = request.spec
    photos = load_samples(spec, "calibrate", request.photos)
    samples = load_samples(spec, "judge")
    if {sample.sha256 for sample in photos} & {sample.sha256 for sample in samples}:
        raise StageError("search", "a calibration photo is judged by too; that proves nothing")
    program = calibrate(capture(spec), photos)
    layers = find_layers(program)
    if not layers:
        raise StageError("search", f"{spec.name} has no weights of two or more dimensions")
    bench = Bench(program, samples)
    decoder = Decoder(layers, gram_matrices(program, list(layers.values())))
    store = Store(request.folder, depends_on(program, samples, photos))
    measured = measure(bench, decoder, request.targets, store, progress)
    tables = {target: option_table(decoder, measured, target) for target in request.targets}
    return State(request, bench, decoder, store, tables)


def weigh(state: State, progress: Progress) -> None:
    """Export a probe to each target. Set the overheads, and keep in the tables the layers that the files have.

    Raises StageError("search") where a target's files have no layer as one weight.
    """
    progress("export a probe", 0, 1)
    spec, folder = state.request.spec, state.request.folder
    recipes = folder / f"{PROBE}.toml"
    write_text(recipes, f'[recipes.{PROBE}]\nbase = "float16"\n')
    plan = plan_export(spec, state.request.targets, [f"{recipes}:{PROBE}"], folder, True)
    check_exported(run_plan(plan, quiet))
    for target in state.request.targets:
        layers = read_artifact(artifact_folder(folder, spec.name, target, PROBE)).layers
        halves = sum(2 * row["values"] for row in layers.values())
        state.overhead[target] = shipped_bytes(spec, folder, target, PROBE) - halves
        state.tables[target] = {name: row for name, row in state.tables[target].items() if name in layers}
        if not state.tables[target]:
            raise StageError("search", f"no layer of {spec.name} is one weight in the files for {target}")
