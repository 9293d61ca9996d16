"""Make a model folder from the user's files, run it once as `export` will, and report the guesses."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.init.archives import archive_origin
from export.init.checkpoint import load_checkpoint
from export.init.factories import factory_origin, library_origin
from export.init.net import KnownInput, Origin
from export.init.observe import Seen, example_of, infer_ranges, match_inputs, run_module
from export.init.request import LIBRARIES, InitRequest, read_request
from export.init.seeded import enliven
from export.init.split import split_net
from export.init.write import Wiring, write_folder
from hydramobile.errors import UsageError
from hydramobile.files import staging_folder
from hydramobile.spec import load_spec

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Written:
    """A written model folder, its tensors, and the notes for the user."""

    folder: Path
    name: str
    inputs: tuple[Seen, ...]
    outputs: tuple[Seen, ...]
    notes: tuple[str, ...]
    parameters: int


def run_init(request: InitRequest, progress: Callable[[str], None]) -> Written:
    """Write the folder. Nothing is left behind where a step fails.

    Raises UsageError for a wrong request, StageError("factory"), ("weights") or ("capture") where the net fails.
    """
    read_request(request)
    with tempfile.TemporaryDirectory(prefix="hydra-init-") as scratch:
        progress(f"reading {', '.join(request.origins)}")
        origin = origin_of(request, Path(scratch))
        if request.weights:
            load_checkpoint(origin, request.weights)
        progress("running the net")
        if origin.seeded:
            enliven(origin, request.inputs)
        if request.split:
            split_net(origin, request)
        wiring = wire(origin, request)
        with staging_folder(request.destination) as staging:
            write_folder(staging, request.model_name, origin, wiring)
            progress("capturing it as export does")
            check(staging, request.destination)
    read = {name for names in wiring.inputs.values() for name in names}
    made = {name for names in wiring.outputs.values() for name in names}
    guesses = [f"{seen.name} {seen.guessed}" for seen in wiring.tensors.values() if seen.guessed]
    return Written(
        folder=request.destination,
        name=request.model_name,
        inputs=tuple(seen for name, seen in wiring.tensors.items() if name not in made),
        outputs=tuple(seen for name, seen in wiring.tensors.items() if name in made and name not in read),
        notes=(*origin.notes, *guesses),
        parameters=sum(value.numel() for module in origin.modules.values() for value in module.parameters()),
    )


def origin_of(request: InitRequest, scratch: Path) -> Origin:
    first = request.origins[0]
    if first.endswith(".pt2"):
        return archive_origin(list(map(Path, request.origins)))
    if first.partition(":")[0] in LIBRARIES:
        return library_origin(request, scratch)
    return factory_origin(request)


def check(folder: Path, destination: Path) -> None:
    """Load the written folder and capture it, so that a net which cannot be exported fails here."""
    from dataclasses import replace

    from export.program import capture

    spec = load_spec(folder)
    if spec.code:  # relative to the place where the folder will stand
        spec = replace(spec, code=str((destination.resolve() / spec.code).resolve()))
    program = capture(spec)
    for entry in program.entries:
        program.exported(entry)


def wire(origin: Origin, request: InitRequest) -> Wiring:
    """Run the modules in order and name all tensors.

    A module after the first reads the tensors of its inputs' names; where there are none, the outputs of the module
    before it, in order.
    """
    tensors: dict[str, Seen] = {}
    values: dict[str, torch.Tensor] = {}
    inputs, outputs = dict[str, tuple[str, ...]](), dict[str, tuple[str, ...]]()
    given = match_inputs(origin, request.inputs)
    previous: tuple[str, ...] = ()
    for name, module in origin.modules.items():
        if name in given:
            for seen in given[name]:
                tensors[seen.name], values[seen.name] = seen, example_of(seen)
            inputs[name] = tuple(seen.name for seen in given[name])
            infer_ranges(module, given[name], [values[item] for item in inputs[name]])
            if any(seen.guessed and "int" in seen.dtype for seen in given[name]):
                values.update({seen.name: example_of(seen) for seen in given[name]})
        else:
            inputs[name] = reads(name, origin.inputs[name], values, previous)
        found = run_module(name, module, [values[item] for item in inputs[name]])
        outputs[name] = output_names(name, origin, [path for path, _ in found], set(tensors))
        for output, (_, value) in zip(outputs[name], found, strict=True):
            tensors[output] = Seen(output, tuple(value.shape), str(value.dtype).removeprefix("torch."))
            values[output] = value
        previous = previous or outputs[name]
    return normalized(Wiring(tensors, inputs, outputs), origin, request)


def reads(
    name: str, wanted: Sequence[KnownInput], values: dict[str, Any], previous: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the tensors that a later module reads. Raises UsageError where the names do not identify them."""
    names = tuple(item.name for item in wanted)
    if all(item in values for item in names):
        return names
    if len(names) == len(previous):
        return previous
    raise UsageError(
        f"module {name!r} takes {', '.join(names)}, and none of the tensors so far has these names "
        f"({', '.join(values)}); name its parameters like the tensors that it reads"
    )


def output_names(name: str, origin: Origin, paths: Sequence[tuple[str, ...]], taken: set[str]) -> tuple[str, ...]:
    """Return names for a module's outputs: the archive's, the keys of a dict, or the module's own name."""
    known = origin.outputs.get(name)
    if known is None:
        alone = name if len(origin.modules) > 1 else "output"
        known = tuple(
            re.sub(r"\W", "_", "_".join(path)) if path and path[0][:1].isalpha() else "_".join((alone, *path))
            for path in paths
        )
    result: list[str] = []
    for text in known:
        unique = text if text not in taken and text not in result else f"{name}_{text}"
        result.append(unique)
    return tuple(result)


def normalized(wiring: Wiring, origin: Origin, request: InitRequest) -> Wiring:
    """Choose the input that mean and std belong to: the first photo, else the first with that many channels."""
    from dataclasses import replace

    mean, std = (request.mean, request.std) if request.mean else (origin.mean, origin.std)
    if not mean:
        return wiring
    made = {name for names in wiring.outputs.values() for name in names}
    fits = [
        seen
        for name, seen in wiring.tensors.items()
        if name not in made and seen.dtype == "float32" and len(seen.shape) > 1 and seen.shape[1] == len(mean)
    ]
    chosen = next((seen for seen in fits if seen.kind == "rgb-photo"), fits[0] if fits else None)
    if chosen is None:
        raise UsageError(f"--mean has {len(mean)} channels, and no input has that many along axis 1")
    return replace(wiring, mean=mean, std=std, normalized=chosen.name)
