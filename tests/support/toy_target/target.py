"""The exporter of the toy target: the ATen graph of an entry as JSON, its weights as safetensors.

An entry is a folder `<entry>.toy`:

- `graph.json`: {"inputs", "outputs": names of tensors, "steps": [{"op", "name", "args"}]}, in execution order;
  an argument {"tensor": name} is a value of the graph, any other is a number or a list of numbers.
- `weights.safetensors`: the parameters by name, in the layout of PyTorch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from export.target import Emitted
from export.verify.expected import Expected, expect, expect_unchanged
from export.verify.readback import Saved
from hydramobile.artifact import Entry
from hydramobile.files import dump_json, read_json, write_bytes, write_text
from hydramobile.recipes import Recipe

if TYPE_CHECKING:
    from torch.export import ExportedProgram

Weights = dict[str, NDArray[Any]]
RECIPES = ("float32", "float16")


class ToyTarget:
    name = "toy"
    static_bits = 8
    toolchain = ("safetensors",)
    storage = None

    def refuses(self, recipe: Recipe) -> str | None:
        return None if recipe.name in RECIPES else f"toy has {', '.join(RECIPES)}"

    def unavailable(self) -> str | None:
        missing = [name for name in ("torch", "safetensors") if importlib.util.find_spec(name) is None]
        return f"{', '.join(missing)} not installed; run: make setup" if missing else None

    def convert(self, program: Program, scratch: Path) -> dict[str, ExportedProgram]:
        return {entry.name: program.exported(entry).program.run_decompositions({}) for entry in program.entries}

    def emit(self, program: Program, converted: dict[str, ExportedProgram], recipe: Recipe, folder: Path) -> Emitted:
        from safetensors.numpy import save

        entries = []
        for spec in program.entries:
            file = f"{spec.name}.toy"
            write_text(folder / file / "graph.json", dump_json(graph_of(converted[spec.name])))
            stored = {name: as_stored(value, recipe) for name, value in weights_of(converted[spec.name]).items()}
            write_bytes(folder / file / "weights.safetensors", save(stored))
            inputs = tuple(program.port(name) for name in spec.inputs)
            outputs = tuple(program.port(name) for name in spec.outputs)
            entries.append(Entry(spec.name, spec.name, spec.modules, file, inputs, outputs))
        return Emitted(tuple(entries), {"toy": "1"})

    def read_weights(self, folder: Path, emitted: Emitted) -> Iterator[Saved]:
        for entry in emitted.entries:
            for name, value in read_weights(folder / entry.file).items():
                yield Saved(f"{entry.name}.{name}", value, str(value.dtype))

    def originals(
        self, program: Program, converted: dict[str, ExportedProgram], recipe: Recipe
    ) -> Mapping[str, Expected]:
        return {
            f"{entry}.{name}": expect(value, recipe) if value.ndim > 1 else expect_unchanged(value, "float32")
            for entry, exported in converted.items()
            for name, value in weights_of(exported).items()
        }

    def describe(self, path: Path) -> dict[str, Any]:
        graph, weights = read_json(path / "graph.json", "inspect"), read_weights(path)
        stored: dict[str, int] = {}
        for value in weights.values():
            stored[str(value.dtype)] = stored.get(str(value.dtype), 0) + value.nbytes
        return {"format": "toy 1", "entries": [{"steps": len(graph["steps"])}], "weight_bytes": stored}

    def usage(self, emitted: Emitted) -> str:
        return "Run `graph.json` step by step with `weights.safetensors`."


def as_stored(value: NDArray[Any], recipe: Recipe) -> NDArray[Any]:
    """Return a weight in the dtype of the recipe. Biases stay float32, as in the other targets."""
    return value.astype(np.float16) if recipe.name == "float16" and value.ndim > 1 else value


def graph_of(exported: ExportedProgram) -> dict[str, Any]:
    """Return the content of graph.json. Inputs and outputs are listed in the order of the entry's ports."""
    from torch.fx import Node

    def argument(value: Any) -> Any:
        if isinstance(value, Node):
            return {"tensor": value.name}
        return [argument(item) for item in value] if isinstance(value, list | tuple) else value

    signature = exported.graph_signature
    steps = [
        {"op": str(node.target), "name": node.name, "args": argument(node.args)}
        for node in exported.graph.nodes
        if node.op == "call_function"
    ]
    return {"inputs": list(signature.user_inputs), "outputs": list(signature.user_outputs), "steps": steps}


def weights_of(exported: ExportedProgram) -> Weights:
    """Return the parameters that the graph reads, by the name of their placeholder."""
    signature = exported.graph_signature
    named = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    return {name: exported.state_dict[key].detach().numpy().copy() for name, key in named.items()}


def read_weights(folder: Path) -> Weights:
    from safetensors.numpy import load_file

    weights: Weights = load_file(folder / "weights.safetensors")
    return weights
