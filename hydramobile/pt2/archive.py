"""Read the parts of a .pt2 archive: the graph as JSON, weights and constants as tensors.

`torch.export.load` unpickles tensors with `weights_only=False`, evaluates the text of symbolic sizes (`sympy.sympify`),
imports modules that the archive names, and loads compiled libraries. An archive that somebody sends must not do this,
so it is read here without torch's deserializer. A part that holds anything but tensors is refused by its name.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydramobile.errors import UsageError

if TYPE_CHECKING:
    import torch

MODELS, WEIGHTS, CONSTANTS, SAMPLES = "models/", "data/weights/", "data/constants/", "data/sample_inputs/"
# The format of torch 2.7 and older: one member for each part, without a common folder.
OLD = {
    "graph": "serialized_exported_program.json",
    "state": "serialized_state_dict.pt",
    "constants": "serialized_constants.pt",
    "samples": "serialized_example_inputs.pt",
}
# torch._export.serde.schema.ScalarType; its numbers are part of the file format.
DTYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
}


@dataclass(frozen=True, slots=True)
class Archive:
    """The content of an archive: the JSON of its graph, and its tensors by their paths in the net (`safe_path`).

    `samples` holds the example inputs where they are plain tensors, in the order of the graph's inputs; otherwise it is
    empty and `samples_refused` says what they hold.
    """

    path: Path
    program: Mapping[str, Any]
    state: Mapping[str, torch.Tensor]
    constants: Mapping[str, torch.Tensor]
    samples: tuple[Any, ...] = ()
    samples_refused: str = ""


class ArchiveError(UsageError):
    """A file that is no archive of torch.export, or holds a part that is not read."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}")


def read_archive(path: Path) -> Archive:
    """Read an archive of torch.export.save. Raises ArchiveError that names the part which is missing or refused."""
    if not path.is_file():
        raise ArchiveError(path, "there is no such file")
    try:
        with zipfile.ZipFile(path) as file:
            return Reader(path, file).archive()
    except zipfile.BadZipFile as error:
        raise ArchiveError(
            path, "is no .pt2 archive (not a zip file); torch.export.save(program, path) writes one"
        ) from error
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError, RecursionError) as error:
        raise ArchiveError(path, f"is damaged or of an unknown version: {type(error).__name__}: {error}") from error


class Reader:
    """Reads one open archive."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path = path
        self.file = file
        names = [info.filename for info in file.infolist()]
        tops = {name.partition("/")[0] for name in names}
        self.root = f"{tops.pop()}/" if len(tops) == 1 and names and "/" in names[0] else ""
        self.names = {name.removeprefix(self.root) for name in names}

    def archive(self) -> Archive:
        self.refuse_code()
        if OLD["graph"] in self.names:
            state, constants = self.tensors(OLD["state"]), self.tensors(OLD["constants"])
            return self.complete(OLD["graph"], state, constants, OLD["samples"])
        models = sorted(name for name in self.names if name.startswith(MODELS) and name.endswith(".json"))
        if len(models) != 1:
            held = ", ".join(models) or "none"
            raise ArchiveError(self.path, f"holds {held} of 'models/*.json'; one program is read from one archive")
        model = models[0].removeprefix(MODELS).removesuffix(".json")
        if "byteorder" in self.names and self.bytes("byteorder").strip() != b"little":
            raise ArchiveError(self.path, "has big-endian weights; save it on a little-endian machine")
        state = self.payload(WEIGHTS, model, "weights")
        return self.complete(models[0], state, self.payload(CONSTANTS, model, "constants"), f"{SAMPLES}{model}.pt")

    def refuse_code(self) -> None:
        for name in sorted(self.names):
            if name.startswith(("data/aotinductor/", "data/executorch/", "data/mtia/")) or name.endswith(
                (".so", ".dll")
            ):
                raise ArchiveError(self.path, f"{name} is compiled code, which is not loaded; use torch.export.save")

    def complete(
        self, graph: str, state: Mapping[str, torch.Tensor], constants: Mapping[str, torch.Tensor], samples: str
    ) -> Archive:
        program = json.loads(self.bytes(graph))
        inputs, refused = self.example_inputs(samples)
        weights, fixed = ({safe_path(name): value for name, value in side.items()} for side in (state, constants))
        return Archive(self.path, program, weights, fixed, inputs, refused)

    def bytes(self, name: str) -> bytes:
        return self.file.read(self.root + name)

    def payload(self, folder: str, model: str, kind: str) -> dict[str, torch.Tensor]:
        """Read the tensors of a folder by its list, MODEL_weights_config.json."""
        legacy = f"{folder}{model}.pt"
        if legacy in self.names:
            return self.tensors(legacy)
        listing = json.loads(self.bytes(f"{folder}{model}_{kind}_config.json"))
        return {str(key): self.tensor(folder, str(key), meta) for key, meta in listing["config"].items()}

    def tensor(self, folder: str, key: str, meta: Mapping[str, Any]) -> torch.Tensor:
        import torch

        name = folder + str(meta["path_name"])
        facts = meta["tensor_meta"]
        if meta["use_pickle"] or facts is None:
            value = self.unpickle(name)
            if not isinstance(value, torch.Tensor):
                raise ArchiveError(self.path, f"{name} ({key}) is a {type(value).__name__}, not a tensor")
            return value.detach().cpu()
        dtype = getattr(torch, DTYPES[facts["dtype"]])
        sizes, strides = ([whole(item) for item in facts[side]] for side in ("sizes", "strides"))
        if not math.prod(sizes):
            return torch.zeros(sizes, dtype=dtype)
        flat = torch.frombuffer(bytearray(self.bytes(name)), dtype=dtype)
        return flat.as_strided(sizes, strides, whole(facts["storage_offset"])).clone()

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """Read a member that is one pickled dict of tensors."""
        import torch

        if name not in self.names or not self.bytes(name):
            return {}
        values = self.unpickle(name)
        if not isinstance(values, Mapping):
            raise ArchiveError(self.path, f"{name} holds a {type(values).__name__}, not tensors by name")
        others = [key for key, value in values.items() if not isinstance(value, torch.Tensor)]
        if others:
            raise ArchiveError(self.path, f"{name}: {others[0]} is no tensor")
        return {str(key): value.detach().cpu() for key, value in values.items()}

    def unpickle(self, name: str) -> Any:
        """Read a member that holds pickled tensors, and refuse one that holds anything else."""
        import torch

        try:
            return torch.load(io.BytesIO(self.bytes(name)), weights_only=True, map_location="cpu")
        except MemoryError:
            raise
        except Exception as error:  # the unpickler raises any type for a damaged member
            raise ArchiveError(
                self.path, f"{name} holds objects that are not tensors; they are not loaded ({refused_object(error)})"
            ) from error

    def example_inputs(self, name: str) -> tuple[tuple[Any, ...], str]:
        """Return (example inputs, reason why there are none)."""
        if name not in self.names or not self.bytes(name):
            return (), "the archive has no example inputs"
        try:
            content = self.unpickle(name)
        except ArchiveError as error:
            return (), str(error)
        if not isinstance(content, tuple | list) or len(content) != 2:
            return (), f"{name} holds no pair of arguments"
        args, kwargs = content
        return tuple(leaves([args, kwargs])), ""


def whole(item: Any) -> int:
    """Return a size of the archive; a symbolic one counts as its example."""
    if "as_int" in item:
        return int(item["as_int"])
    return int(item["as_expr"]["hint"]["as_int"])


def leaves(value: Any) -> list[Any]:
    """Return the leaves of nested tuples, lists and dicts, without None."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in leaves(item)]
    return [] if value is None else [value]


def refused_object(error: Exception) -> str:
    """Return the line of torch's message that names the object."""
    lines = [line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line]
    return lines[0][:200] if lines else type(error).__name__


def safe_path(path: str) -> str:
    """Return a dotted path whose parts are plain words."""
    return ".".join(re.sub(r"\W", "_", part) for part in path.split("."))
