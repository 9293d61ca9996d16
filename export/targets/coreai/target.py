"""Core AI, Apple's successor of Core ML: one .aimodel, a function an entry, weights shared. An optional extra, in beta.

Its packages run on Linux too, so that what is written here can be executed here (benchmarks/runtimes/coreai.py).
"""

from __future__ import annotations

import copy
import importlib.util
import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.program import Program, entry_module
from export.target import Emitted
from export.verify.readback import Saved, Wanted
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.files import dump_json, write_text
from hydramobile.recipes import Recipe
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import torch

SUPPORTED = ("float32", "float16")
PACKAGES = ("coreai", "coreai_torch")
NOTE = "Core AI is in beta: its format may change, and an app needs iOS or macOS 27."
USAGE = """\
`{file}` is a Core AI asset with a function for each of {functions}. It needs iOS or macOS 27; the packages that made it
are in beta, and no one has run it on a device of Apple's yet.

Run it anywhere with Python (`pip install coreai-core=={version}`):

```python
import asyncio
from pathlib import Path

import numpy as np
from coreai.authoring.asset import AIModelAsset
from coreai.runtime import NDArray


async def run(function, inputs):
    async with AIModelAsset.load(Path("{file}")).executable() as model:
        return await model.load_function(function)({{name: NDArray(value) for name, value in inputs.items()}})


outputs = asyncio.run(run("{first}", {{{inputs}}}))
```

Tensors are as in the reference: {tensors}.
"""


class CoreAITarget:
    name = "coreai"
    static_bits = 8
    toolchain = ("coreai-torch", "coreai-core")

    def refuses(self, recipe: Recipe) -> str | None:
        return None if recipe.name in SUPPORTED else f"coreai has {', '.join(SUPPORTED)}"

    def unavailable(self) -> str | None:
        missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
        return f"{', '.join(missing)} not installed; run: scripts/setup.sh coreai" if missing else None

    def convert(self, program: Program, scratch: Path) -> None:
        """Nothing is shared between recipes: each is lowered from modules of its own precision."""

    def emit(self, program: Program, converted: None, recipe: Recipe, folder: Path) -> Emitted:
        file = f"{program.spec.name}.aimodel"
        modules = halved(program.modules) if recipe.name == "float16" else program.modules
        asset = lower(program, modules, recipe.name == "float16")
        save(asset, folder / file, program)
        entries = tuple(self.entry(program, spec, file) for spec in program.entries)
        return Emitted(entries, {"ios": "27.0", "macos": "27.0"}, (NOTE,))

    def entry(self, program: Program, spec: EntrySpec, file: str) -> Entry:
        return Entry(
            id=spec.name,
            name=spec.name,
            modules=spec.modules,
            file=file,
            inputs=tuple(program.port(name) for name in spec.inputs),
            outputs=tuple(program.port(name) for name in spec.outputs),
            function=spec.name,
        )

    def read_weights(self, folder: Path, emitted: Emitted) -> Iterator[Saved]:
        """None: an .aimodel's weights are read by Apple's runtime alone, and no recipe here quantizes them."""
        return iter(())

    def originals(self, program: Program, converted: None, recipe: Recipe) -> Mapping[str, Wanted]:
        return {}

    def describe(self, path: Path) -> dict[str, Any]:
        from coreai.authoring.asset import AIModelAsset

        try:
            found = AIModelAsset.load(path).summary()
        except RuntimeError as error:
            raise StageError("inspect", f"{path} is not a Core AI asset: {error}") from error
        if found is None:
            raise StageError("inspect", f"{path} holds no program")
        return {
            "format": f"Core AI, program {found._compatibility_version}",
            "metadata": json.loads((path / "metadata.json").read_text(encoding="utf-8")),
            "entries": [entry_facts(found, name) for name in found.function_names],
            "weight_values": {str(kind): int(count) for kind, count in found.storage_types},
            "ops": dict(sorted((str(kind), int(count)) for kind, count in found.operation_distribution)),
        }

    def usage(self, emitted: Emitted) -> str:
        from importlib.metadata import version

        first = emitted.entries[0]
        ports = [port for entry in emitted.entries for port in (*entry.inputs, *entry.outputs)]
        shapes = [f"`{port.name}` {port.dtype} {list(port.shape)}" for port in ports]
        return USAGE.format(
            file=first.file,
            functions=", ".join(f"`{entry.function}`" for entry in emitted.entries),
            version=version("coreai-core"),
            first=first.function,
            inputs=", ".join(f'"{p.file_name}": np.zeros({list(p.shape)}, np.{p.dtype})' for p in first.inputs),
            tensors=", ".join(dict.fromkeys(shapes)),
        )


def entry_facts(found: Any, name: str) -> dict[str, Any]:
    sides = (("inputs", found.function_inputs(name)), ("outputs", found.function_outputs(name)))
    return {"name": name} | {side: [{"name": key, "type": kind} for key, kind in rows] for side, rows in sides}


def halved(modules: Mapping[str, torch.nn.Module]) -> dict[str, torch.nn.Module]:
    """Copies that compute in float16 between float32 tensors: what travels between modules keeps its type."""
    import torch

    class Half(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = copy.deepcopy(inner).half()

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            made = self.inner(*(value.half() if value.is_floating_point() else value for value in inputs))
            several = made if isinstance(made, tuple | list) else (made,)
            return tuple(value.float() if value.is_floating_point() else value for value in several)

    return {name: Half(module).eval() for name, module in modules.items()}


def lower(program: Program, modules: Mapping[str, torch.nn.Module], half: bool) -> Any:
    """An AIProgram with a function an entry; equal weights are stored once. Raises StageError("convert")."""
    import torch

    with warnings.catch_warnings():
        # The converter names the newest torch it was tried with, and its build (+cpu) is another name.
        warnings.simplefilter("ignore", UserWarning)
        from coreai_torch import TorchConverter, get_decomp_table

        converter = TorchConverter()
        for entry in program.entries:
            try:
                with torch.no_grad():
                    wired = entry_module(modules, entry, program.spec)
                    exported = torch.export.export(wired, program.example(entry), strict=False)
                converter.add_exported_program(
                    exported.run_decompositions(get_decomp_table()),
                    input_names=list(entry.inputs),
                    output_names=list(entry.outputs),
                    entrypoint_name=entry.name,
                )
            except Exception as error:  # the converter raises types of its own, and MLIR's
                raise StageError("convert", f"entry {entry.name!r}: {type(error).__name__}: {error}") from error
        try:
            return converter.to_coreai()
        except Exception as error:  # as above
            raise StageError("convert", f"{type(error).__name__}: {error}") from error


def save(asset: Any, path: Path, program: Program) -> None:
    """Write the asset with the model's metadata and without the date of today."""
    from coreai.runtime import AIModelAssetMetadata

    about = AIModelAssetMetadata()
    about.author, about.license = ", ".join(program.spec.authors), program.spec.license
    about.model_description = program.spec.description
    asset.save_asset(path, metadata=about)
    content = json.loads((path / "metadata.json").read_text(encoding="utf-8"))
    content.pop("creationDate", None)
    write_text(path / "metadata.json", dump_json(content))
