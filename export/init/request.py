"""Parse the command line of `init`: the net's origin, its inputs, its normalization."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydramobile.errors import UsageError, unknown
from hydramobile.spec import DTYPES, FACTORY, KINDS, NAME, TENSOR_NAME

LIBRARIES = ("timm", "torchvision", "transformers")
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
INPUT_HELP = "NAME=SHAPE[:WORD...], for instance image=1x3x224x224:rgb-photo or ids=1x64:int64:0..999"
SPLIT = re.compile(r"(encoder|heads\.([^=]+))=([\w.]+)")
SPLIT_HELP = "encoder=PATH heads.NAME=PATH ..., for instance encoder=backbone heads.depth=head1 (paths of submodules)"


@dataclass(frozen=True, slots=True)
class AskedInput:
    """An input as typed. Empty fields are inferred; a `shape` of None is not known."""

    name: str
    shape: tuple[int, ...] | None = None
    kind: str = ""
    dtype: str = ""
    limits: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One word of --split: the module `name` is the submodule `path` of the net. The first part is the encoder."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class InitRequest:
    """The options of `init`. `origins` are .pt2 files, or one factory, class or LIBRARY:NAME."""

    destination: Path
    origins: tuple[str, ...]
    inputs: tuple[AskedInput, ...] = ()
    weights: Path | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    name: str = ""
    overwrite: bool = False
    split: tuple[Part, ...] = ()

    @property
    def model_name(self) -> str:
        return self.name or re.sub(r"[^A-Za-z0-9_-]", "-", self.destination.resolve().name)


def read_request(request: InitRequest) -> InitRequest:
    """Check a request before torch is imported. Raises UsageError that names the fault and the right form."""
    destination = request.destination
    if not NAME.fullmatch(request.model_name):
        raise UsageError(f"{request.model_name!r} is no name of a model (letters, digits, - and _); say --name NAME")
    if destination.exists() and any(destination.iterdir()) and not request.overwrite:
        raise UsageError(f"{destination} is not empty; --overwrite replaces it")
    if request.overwrite and destination.exists() and not (destination / "model.toml").is_file():
        raise UsageError(f"{destination} holds no model.toml, so it is not overwritten; choose an empty folder")
    archives = [origin for origin in request.origins if origin.endswith(".pt2")]
    if archives and len(archives) != len(request.origins):
        raise UsageError("give .pt2 files alone, or one factory, class or library name alone")
    for origin in archives:
        if not Path(origin).is_file():
            raise UsageError(f"there is no file {origin}")
    if not archives:
        if len(request.origins) != 1:
            raise UsageError("a net comes from .pt2 files, or from one factory, class or LIBRARY:NAME")
        check_origin(request.origins[0])
    if request.weights and not request.weights.is_file():
        raise UsageError(f"there is no file {request.weights}")
    if archives and request.weights:
        raise UsageError("a .pt2 file holds its weights; --weights belongs to a factory")
    if archives and request.split:
        raise UsageError(
            "--split needs the net's code: an archive is one graph. Name a factory, or save an archive per part and "
            "name them all: init DEST encoder.pt2 depth.pt2"
        )
    if len(request.mean) != len(request.std):
        raise UsageError("--mean and --std need one number per channel each, or 'imagenet'")
    return request


def check_origin(origin: str) -> None:
    """Raise UsageError for an origin that is neither FILE.pt2 nor PACKAGE.MODULE:NAME nor LIBRARY:NAME."""
    library = origin.partition(":")[0]
    if library in LIBRARIES:
        return
    path = Path(origin)
    if path.suffix in (".pth", ".pt", ".ckpt", ".bin", ".safetensors"):
        raise UsageError(
            f"{origin} holds weights, not a net: name the code that builds the net, and give the file as --weights "
            f"{origin}: init DEST PACKAGE.MODULE:build --input {INPUT_HELP.partition(',')[0]} --weights {origin}"
        )
    if not FACTORY.fullmatch(origin):
        raise UsageError(
            f"{origin!r} is none of: FILE.pt2 (torch.export.save writes it), PACKAGE.MODULE:NAME (a function that "
            f"returns the net, or its class), {', '.join(f'{name}:NAME' for name in LIBRARIES)}"
        )


def read_split(words: Sequence[str]) -> tuple[Part, ...]:
    """Read the words of --split; the encoder comes first. Raises UsageError for malformed and missing ones."""
    parts = []
    for word in words:
        match = SPLIT.fullmatch(word)
        if not match or not NAME.fullmatch(match[2] or match[1]):
            raise UsageError(f"--split {word!r} is not {SPLIT_HELP}")
        parts.append(Part(match[2] or match[1], match[3]))
    names = [part.name for part in parts]
    if parts and (len(set(names)) != len(names) or "encoder" not in names or len(names) < 2):
        raise UsageError(f"--split needs one encoder and one or more heads of different names: {SPLIT_HELP}")
    return tuple(sorted(parts, key=lambda part: part.name != "encoder"))


def read_inputs(texts: Sequence[str]) -> tuple[AskedInput, ...]:
    """Read the values of --input. Raises UsageError for a malformed one."""
    inputs = tuple(map(read_input, texts))
    names = [item.name for item in inputs]
    if len(set(names)) != len(names):
        raise UsageError(f"--input names a tensor twice: {', '.join(names)}")
    return inputs


def read_input(text: str) -> AskedInput:
    name, _, rest = text.partition("=")
    first, *words = rest.split(":")
    if not TENSOR_NAME.fullmatch(name) or not first:
        raise UsageError(f"--input {text!r} is not {INPUT_HELP}")
    shape = None if first == "?" else () if first == "scalar" else read_shape(text, first)
    kind, dtype, limits = "", "", None
    for word in words:
        if word in KINDS:
            kind = word
        elif word in DTYPES:
            dtype = word
        elif match := re.fullmatch(r"(-?[\d.]+(?:e-?\d+)?)\.\.(-?[\d.]+(?:e-?\d+)?)", word):
            limits = (float(match[1]), float(match[2]))
            if limits[0] >= limits[1]:
                raise UsageError(f"--input {text!r}: the range {word} is empty; write LOW..HIGH")
        else:
            raise unknown(f"word in --input {text!r}:", word, [*KINDS, *DTYPES, "LOW..HIGH"])
    if kind == "rgb-photo" and shape is not None and (len(shape) != 4 or shape[:2] != (1, 3)):
        raise UsageError(f"--input {text!r}: an rgb-photo has shape 1x3xHEIGHTxWIDTH")
    return AskedInput(name, shape, kind, dtype, limits)


def read_shape(text: str, shape: str) -> tuple[int, ...]:
    parts = shape.split("x")
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"--input {text!r}: {shape!r} is no shape such as 1x3x224x224")
    return tuple(map(int, parts))


def read_channels(option: str, text: str) -> tuple[float, ...]:
    """Read --mean or --std: "imagenet", or numbers with commas."""
    if not text:
        return ()
    if text == "imagenet":
        return IMAGENET[option]
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--{option} {text!r} is neither 'imagenet' nor numbers such as 0.5,0.5,0.5") from error
