"""Read the graph of a .pt2 archive as steps.

Only ops of torch's own dispatcher and arithmetic on sizes are called; any other target is refused by name.
Convolutions, linear layers, embeddings and batch norms become layers of torch.nn under their names in the original net
(hydramobile/pt2/layers.py), so that recipes and quantization find them as in the net itself. Sizes that were symbolic
in the archive follow from the inputs.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from hydramobile.pt2.archive import DTYPES, Archive, ArchiveError, safe_path, whole
from hydramobile.pt2.layers import Layer, layer_of
from hydramobile.pt2.steps import Graph, GraphInput, Ref, Step, refs

if TYPE_CHECKING:
    from pathlib import Path

ARITHMETIC = (
    *("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow", "getitem", "abs", "pos"),
    *("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_"),
)
SYMBOLIC = ("sym_float", "sym_int", "sym_max", "sym_min", "sym_not", "sym_ite", "sym_sqrt")
# Ops of the dispatcher that read or write files.
FILES = ("from_file",)
# Checks of sizes, which a fixed shape has passed.
CHECKS = (
    "_assert_tensor_metadata",
    "_assert_scalar",
    "_assert_async",
    "sym_constrain_range",
    "sym_constrain_range_for_size",
)
MEMORY = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format}


class GraphReader:
    """Reads the JSON of one program."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.path: Path = archive.path
        program = archive.program["graph_module"]
        self.body, self.signature = program["graph"], program["signature"]
        self.modules = program["module_call_graph"]
        self.places: dict[str, str] = {}
        self.readers: dict[str, int] = {}

    def graph(self) -> Graph:
        inputs = self.inputs()
        for step in self.walk(self.body):
            for name in refs((step.args, step.kwargs)):
                self.readers[name] = self.readers.get(name, 0) + 1
        steps = [self.with_layer(step) for step in self.walk(self.body)]
        outputs: list[Ref] = []
        names, kept, mutated = self.output_names(), list[str](), list[tuple[str, Ref]]()
        position = 0
        for spec in self.signature["output_specs"]:
            (kind, content), *_ = spec.items()
            ref = content["arg"].get("as_tensor") if kind == "user_output" else content.get("arg")
            if kind == "user_output":
                if ref is not None:
                    outputs.append(Ref(ref["name"]))
                    kept.append(names[position] if position < len(names) else "")
                position += 1
            elif kind == "buffer_mutation":
                mutated.append((safe_path(content["buffer_name"]), Ref(content["arg"]["name"])))
            else:
                raise ArchiveError(self.path, f"its output of kind {kind!r} is not read: a net returns tensors")
        if not outputs:
            raise ArchiveError(self.path, "its net returns no tensor")
        return Graph(inputs, tuple(steps), self.places, tuple(outputs), unique(kept), tuple(mutated))

    def inputs(self) -> tuple[GraphInput, ...]:
        """Return the inputs, and note where the other names of the graph's signature lie in the state."""
        found: list[str] = []
        for spec in self.signature["input_specs"]:
            (kind, content), *_ = spec.items()
            if kind == "user_input":
                if "as_tensor" not in content["arg"]:
                    continue  # a number or None: the graph holds it
                found.append(content["arg"]["as_tensor"]["name"])
            elif kind in ("parameter", "buffer", "tensor_constant"):
                self.places[content["arg"]["name"]] = safe_path(content[f"{kind}_name"])
            elif kind != "constant_input":
                raise ArchiveError(self.path, f"its input of kind {kind!r} is not read: inputs are tensors")
        tensors = [item for item in self.archive.samples if isinstance(item, torch.Tensor)]
        samples = tensors if len(tensors) == len(found) else [None] * len(found)
        facts = self.body["tensor_values"]
        return tuple(
            GraphInput(name, tuple(map(whole, facts[name]["sizes"])), DTYPES[facts[name]["dtype"]], sample)
            for name, sample in zip(found, samples, strict=True)
        )

    def output_names(self) -> list[str]:
        """Return a name for each output from the structure that the net returns: keys joined by "_"."""
        signature = next((item["signature"] for item in self.modules if item["fqn"] == ""), None)
        if not signature:
            return []
        return [re.sub(r"\W", "_", "_".join(path)) for path in tree_paths(json.loads(signature["out_spec"])[1])]

    def walk(self, body: Mapping[str, Any], names: Mapping[str, str] | None = None) -> Iterator[Step]:
        """Yield the steps of a graph. `names` maps the names of an inlined graph to names of the outer one."""
        renamed = dict(names or {})
        for node in body["nodes"]:
            target = node["target"]
            if target.startswith("torch.ops.higher_order."):
                yield from self.inline(node, renamed)
                continue
            call = self.callable(target)
            if call is None:
                continue
            args, kwargs = self.arguments(call, node["inputs"], renamed)
            self.refuse_training(target, node["inputs"])
            yield Step(call, args, kwargs, *results_of(node["outputs"]))

    def inline(self, node: Mapping[str, Any], renamed: dict[str, str]) -> Iterator[Step]:
        """Yield the steps of the graph inside a no_grad or autocast region. Other operators with graphs are refused."""
        name = node["target"].rpartition(".")[2]
        values = [item["arg"] for item in node["inputs"]]
        first = next((index for index, item in enumerate(values) if "as_graph" in item), None)
        autocast = name == "wrap_with_autocast" and values[2].get("as_bool") is False
        if first is None or (name != "wrap_with_set_grad_enabled" and not autocast):
            raise ArchiveError(
                self.path,
                f"the operator torch.ops.higher_order.{name} is not read; export the net without control flow, "
                "autocast and custom kernels",
            )
        inner = values[first]["as_graph"]["graph"]
        given = [renamed.get(item["as_tensor"]["name"], item["as_tensor"]["name"]) for item in values[first + 1 :]]
        inside = {item["as_tensor"]["name"]: outer for item, outer in zip(inner["inputs"], given, strict=True)}
        yield from self.walk(inner, inside)
        returned = [item["as_tensor"]["name"] for item in inner["outputs"]]
        named, _ = results_of(node["outputs"])
        for outer, value in zip(named, returned, strict=False):
            if outer:
                yield Step(same, (Ref(inside.get(value, value)),), {}, (outer,), unpack=False)

    def callable(self, target: str) -> Callable[..., Any] | None:
        """Return the op of a node, or None for a check. Raises ArchiveError for a target that is not an op of torch."""
        space, _, name = target.rpartition(".")
        if space == "_operator" and name in ARITHMETIC:
            found: Callable[..., Any] = getattr(operator, name)
            return found
        if space == "torch" and name in SYMBOLIC:
            return getattr(torch, name)  # type: ignore[no-any-return]  # typed by name only
        if space == "math" and name in ("ceil", "floor", "trunc", "sqrt"):
            return getattr(math, name)  # type: ignore[no-any-return]  # the same
        parts = target.split(".")
        if len(parts) == 5 and parts[:2] == ["torch", "ops"] and all(re.fullmatch(r"\w+", part) for part in parts):
            qualified = f"{parts[2]}::{parts[3]}" + ("" if parts[4] == "default" else f".{parts[4]}")
            if parts[3] in CHECKS:
                return None
            known = parts[2] in ("aten", "prims", "torchvision") and parts[3] not in FILES
            if known and "__" not in (parts[3][:2], parts[4][:2]) and torch._C._dispatch_has_kernel(qualified):
                # mypy: torch.ops resolves its attributes at run time.
                return getattr(getattr(getattr(torch.ops, parts[2]), parts[3]), parts[4])  # type: ignore[no-any-return]
        raise ArchiveError(
            self.path,
            f"the operator {target!r} is not one of torch's own (aten); it is not called. Replace it in the net",
        )

    def arguments(
        self, call: Callable[..., Any], inputs: Sequence[Mapping[str, Any]], renamed: Mapping[str, str]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return (positional, keyword) arguments; skipped positional ones take the schema's defaults."""
        if not isinstance(call, torch._ops.OpOverload):
            return tuple(self.argument(item["arg"], renamed) for item in inputs), {}
        named = {item["name"]: self.argument(item["arg"], renamed) for item in inputs}
        schema = {item.name: item for item in call._schema.arguments}
        unknown = set(named) - set(schema)
        if unknown:
            raise ArchiveError(self.path, f"the operator {call} has no argument {sorted(unknown)[0]!r}")
        places = [name for name, item in schema.items() if not item.kwarg_only]
        given = [name for name in places if name in named]
        leading = places[: places.index(given[-1]) + 1] if given else []
        positional = [named[name] if name in named else schema[name].default_value for name in leading]
        return tuple(positional), {name: value for name, value in named.items() if schema[name].kwarg_only}

    def argument(self, item: Mapping[str, Any], renamed: Mapping[str, str]) -> Any:
        """Return a constant, a Ref, or a list of them."""
        (kind, value), *_ = item.items()
        if kind in ("as_tensor", "as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"):
            if "as_none" in value:
                return None
            if "as_tensor" in value:
                value = value["as_tensor"]
            name = value.get("name", value.get("as_name"))
            return Ref(renamed.get(name, name)) if name is not None else next(iter(value.values()))
        if kind in ("as_tensors", "as_sym_ints", "as_sym_floats", "as_sym_bools", "as_optional_tensors"):
            single = {"as_optional_tensors": "as_optional_tensor"}.get(kind, kind.removesuffix("s"))
            return [self.argument({single: one}, renamed) for one in value]
        if kind in ("as_int", "as_float", "as_bool", "as_string"):
            return value
        if kind in ("as_ints", "as_floats", "as_bools", "as_strings"):
            return list(value)
        if kind == "as_none":
            return None
        if kind == "as_scalar_type":
            return getattr(torch, DTYPES[value])
        if kind == "as_memory_format":
            return MEMORY[value]
        if kind == "as_layout" and value == 7:
            return torch.strided
        if kind == "as_device":
            return torch.device("cpu")
        raise ArchiveError(self.path, f"an argument of kind {kind!r} is not read")

    def refuse_training(self, target: str, inputs: Sequence[Mapping[str, Any]]) -> None:
        flags = {item["name"]: item["arg"].get("as_bool") for item in inputs}
        if re.search(r"\.(batch_norm|dropout|_native_batch_norm_legit|native_dropout)\.", target) and (
            flags.get("training") or flags.get("train")
        ):
            raise ArchiveError(
                self.path, f"was exported in training mode ({target}): call net.eval() before torch.export.export"
            )

    def with_layer(self, step: Step) -> Step:
        """Return the step with a layer of torch.nn where all tensors of the layer are read by this step alone."""
        tensors = [item.name for item in step.args if isinstance(item, Ref) and item.name in self.places]
        if any(self.readers[name] > 1 for name in tensors):
            return step
        paths = [self.places.get(item.name) if isinstance(item, Ref) else item for item in step.args]
        facts = (
            self.body["tensor_values"].get(step.args[0].name) if step.args and isinstance(step.args[0], Ref) else None
        )
        assert not isinstance(step.call, Layer)
        layer = layer_of(step.call, paths, self.archive, len(facts["sizes"]) if facts else 0)
        if layer is None:
            return step
        rest = 1 if layer.data == 1 else 0
        return Step(layer, (step.args[rest],), {}, step.results, step.unpack)


def same(value: Any) -> Any:
    return value


def results_of(outputs: Sequence[Mapping[str, Any]]) -> tuple[tuple[str | None, ...], bool]:
    """Return the names of a node's results, and whether the op returns them as a tuple or list."""
    names: list[str | None] = []
    unpack = len(outputs) > 1
    for output in outputs:
        (kind, value), *_ = output.items()
        if kind in ("as_tensors", "as_optional_tensors"):
            unpack = True
            names += [(item.get("as_tensor") or item).get("name") for item in value]
        elif kind == "as_none":
            names.append(None)
        else:
            value = value.get("as_tensor", value) if isinstance(value, Mapping) else {}
            names.append(value.get("name", value.get("as_name")))
    return tuple(names), unpack


def tree_paths(spec: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of each leaf of a pytree's JSON: keys of dicts, indices of tuples and lists."""
    if spec["type"] is None:
        yield path
        return
    children = spec["children_spec"]
    try:
        keys = json.loads(spec["context"])
    except (TypeError, ValueError):
        keys = None
    named = isinstance(keys, list) and len(keys) == len(children) and all(isinstance(key, str | int) for key in keys)
    for index, child in enumerate(children):
        yield from tree_paths(child, (*path, str(keys[index]) if named and keys else str(index)))


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """Return valid, distinct tensor names: "output" for one without a name, "output_1" where it begins with a digit."""
    fixed = [name if re.match(r"[A-Za-z]", name) else "_".join(filter(None, ("output", name))) for name in names]
    if len(fixed) == 1 and fixed[0] in ("output_0", "output"):
        fixed = ["output"]
    return tuple(name if fixed.count(name) == 1 else f"{name}_{index}" for index, name in enumerate(fixed))
