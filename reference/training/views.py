"""Sets of training views on disk: index.json and shards of uncompressed arrays that are memory-mapped, not read.

A set is a folder with `index.json` {schema, kind, seed, views, height, width, content_hash, shards: [{file, views,
sha256}]} and its shards `shards/NNNN.npz` (see `ARRAYS`) with one JSON line per view in `shards/NNNN.jsonl`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hydramobile.errors import StageError, UsageError
from hydramobile.files import inside, read_json, sha256_file

STAGE = "data"
SCHEMA = 1
Array = NDArray[Any]

FACES, POINTS = 2, 12
POINT_NAMES = (
    "nose tip",
    "nose bridge",
    "left cheek",
    "right cheek",
    "left eye corner",
    "right eye corner",
    "chin",
    "forehead",
    "left ear",
    "right ear",
    "left temple",
    "right temple",
)
"""The points of `face`, in order."""

MIRRORED = (0, 1, 3, 2, 5, 4, 6, 7, 9, 8, 11, 10)
"""The index of each point's mirror image."""

OPTIONAL = {"normal": "int8"}
"""Arrays that a shard may lack. normal [n, H, W, 3]: 127 times the unit surface normal of people in camera space (x
right, y up, z to the camera), 0 where it is unknown."""

ARRAYS = {"rgb": "uint8", "disparity": "float16", "alpha": "uint8", "known": "uint8", "face": "float16"}
"""The arrays of a shard, first axis its views.

rgb [n, H, W, 3] sRGB. disparity [n, H, W], 1/metres along the optical axis, 0 where infinitely far or unknown.
alpha [n, H, W], 0..255 coverage by people. known [n]: 2 disparity is metric everywhere; 1 only the person's is, the
background is known to be farther; 0 only that order is known. face [n, 2, 12, 4]: x px, y px, disparity (for known 0
without a unit: only its order and proportions mean something), visible 0/1.
"""


@dataclass(frozen=True, slots=True)
class View:
    """One view: the arrays of `ARRAYS` without their first axis, and its JSON line. `normal` may be missing."""

    rgb: Array
    disparity: Array
    alpha: Array
    known: int
    face: Array
    about: dict[str, Any]
    normal: Array | None = None


class ViewSet:
    """A set of views, addressed by number. Shards are memory-mapped when first used."""

    def __init__(self, folder: Path) -> None:
        """Open the set at `folder`; raise UsageError if there is none, StageError("data") for a bad one."""
        index = folder / "index.json"
        if not index.is_file():
            raise UsageError(f"no set of views at {folder}: {index} does not exist (make one: python -m reference)")
        self.folder = folder
        self.index: dict[str, Any] = read_json(index, STAGE)
        if self.index.get("schema") != SCHEMA:
            raise StageError(STAGE, f"{index} has schema {self.index.get('schema')!r}, this code reads {SCHEMA}")
        self.height, self.width = int(self.index["height"]), int(self.index["width"])
        self.kind = str(self.index.get("kind", "synthetic"))
        self.content_hash = str(self.index["content_hash"])
        counts = [int(shard["views"]) for shard in self.index["shards"]]
        if not counts or min(counts) < 1:
            raise StageError(STAGE, f"{index} lists no shards, or an empty one")
        self._ends = np.cumsum(counts)
        self._arrays: dict[int, dict[str, Array]] = {}
        self._about: dict[int, list[dict[str, Any]]] = {}

    def __len__(self) -> int:
        return int(self._ends[-1])

    def view(self, number: int) -> View:
        """Return view `number`, counted through the shards in their order."""
        if not 0 <= number < len(self):
            raise IndexError(f"view {number} of {len(self)}")
        shard = int(np.searchsorted(self._ends, number, side="right"))
        row = number - (int(self._ends[shard - 1]) if shard else 0)
        arrays = self._shard(shard)
        values = {name: arrays[name][row] for name in ARRAYS if name != "known"}
        normal = arrays["normal"][row] if "normal" in arrays else None
        return View(**values, known=int(arrays["known"][row]), about=self._lines(shard)[row], normal=normal)

    def verify(self) -> None:
        """Compare every shard with its hash; raise StageError("data") for the first that differs."""
        for shard in self.index["shards"]:
            path = self._path(shard["file"])
            if not path.is_file() or sha256_file(path) != shard["sha256"]:
                raise StageError(STAGE, f"{path} is missing or does not match its sha256")

    def _path(self, file: str) -> Path:
        return inside(self.folder, file if file.startswith("shards/") else f"shards/{file}", STAGE)

    def _shard(self, shard: int) -> dict[str, Array]:
        if shard not in self._arrays:
            path = self._path(self.index["shards"][shard]["file"])
            arrays = map_arrays(path)
            views = int(self.index["shards"][shard]["views"])
            _check(path, arrays, views, self.height, self.width)
            self._arrays[shard] = arrays
        return self._arrays[shard]

    def _lines(self, shard: int) -> list[dict[str, Any]]:
        if shard not in self._about:
            path = self._path(self.index["shards"][shard]["file"]).with_suffix(".jsonl")
            try:
                self._about[shard] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            except (OSError, ValueError) as error:
                raise StageError(STAGE, f"{path} is not readable: {error}") from error
            if len(self._about[shard]) != int(self.index["shards"][shard]["views"]):
                raise StageError(STAGE, f"{path} has {len(self._about[shard])} lines, not one per view")
        return self._about[shard]


def open_sets(folders: Sequence[Path]) -> tuple[list[ViewSet], list[ViewSet]]:
    """Open the sets at `folders`; return synthetic sets and photo sets. Raises UsageError without a synthetic one."""
    sets = [ViewSet(folder) for folder in folders]
    synthetic = [s for s in sets if s.kind == "synthetic"]
    if not synthetic:
        raise UsageError("training needs at least one set of synthetic views: only they carry depth")
    return synthetic, [s for s in sets if s.kind == "photos"]


def map_arrays(path: Path) -> dict[str, Array]:
    """Memory-map the arrays of an uncompressed .npz, read-only. Raises StageError("data") for any other file."""
    arrays: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as stream:
            for member in archive.infolist():
                if member.compress_type != zipfile.ZIP_STORED:
                    raise StageError(STAGE, f"{path}: {member.filename} is compressed; shards are not")
                # The local header repeats the name, and its extra field may differ from the directory's.
                stream.seek(member.header_offset)
                local = stream.read(30)
                lengths = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
                stream.seek(member.header_offset + 30 + lengths)
                shape, fortran, dtype = _header(stream)
                if fortran or dtype.hasobject:
                    raise StageError(STAGE, f"{path}: {member.filename} is not a plain array in C order")
                name = member.filename.removesuffix(".npy")
                arrays[name] = np.memmap(path, dtype, "r", stream.tell(), shape)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise StageError(STAGE, f"{path} is not a readable shard: {error}") from error
    return arrays


def _header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read (shape, Fortran order, dtype) of the .npy that starts here; the stream is then at its first element."""
    header: Any = np.lib.format  # numpy leaves these functions bare
    version = header.read_magic(stream)
    read = header.read_array_header_1_0 if version == (1, 0) else header.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    return shape, fortran, dtype


def _check(path: Path, arrays: dict[str, Array], views: int, height: int, width: int) -> None:
    shapes: dict[str, tuple[int, ...]] = {
        "rgb": (views, height, width, 3),
        "disparity": (views, height, width),
        "alpha": (views, height, width),
        "known": (views,),
        "face": (views, FACES, POINTS, 4),
        "normal": (views, height, width, 3),
    }
    present = {name: dtype for name, dtype in OPTIONAL.items() if name in arrays}
    for name, dtype in (ARRAYS | present).items():
        if name not in arrays:
            raise StageError(STAGE, f"{path} lacks {name!r} (it holds {', '.join(sorted(arrays))})")
        if arrays[name].dtype != dtype or arrays[name].shape != shapes[name]:
            expected = f"{dtype} {shapes[name]}"
            raise StageError(STAGE, f"{path}: {name} is {arrays[name].dtype} {arrays[name].shape}, not {expected}")
