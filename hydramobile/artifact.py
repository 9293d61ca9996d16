"""Read and write artifact.json, which describes an exported folder and seals its files by hash, and manifest.json.

`export` writes these files, `benchmarks` and apps read them; the two packages meet nowhere else. All paths are
relative and use "/". There are no dates and no absolute paths: equal inputs give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hydramobile.errors import StageError
from hydramobile.files import (
    canonical_json,
    dump_json,
    inside,
    locked,
    read_json,
    sha256_bytes,
    sha256_file,
    write_text,
)
from hydramobile.toml_table import Table

STAGE = "artifact"
SCHEMA = 2
FILE = "artifact.json"
# Written later by hydramobile/signatures.py; no file of the artifact's own.
SIGNATURE = f"{FILE}.sig"


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output of an entry, as the reference has it and as the file has it.

    `name` is the reference's name, `file_name` the file's. `shape`, `layout` and `dtype` are the file's. A value in
    the file is `value_in_reference * scale + zero_point`, rounded and clipped where `dtype` is an integer: `scale` is
    255 for an image input that takes bytes, and the inverse of a TFLite scale for an int8 tensor. Where
    `reference_layout` is NCHW and `layout` is NHWC, the axes are moved.
    """

    name: str
    file_name: str
    shape: tuple[int, ...]
    layout: str
    dtype: str
    reference_layout: str = "any"
    range: tuple[float, float] | None = None
    kind: str = "tensor"
    judge: str | None = None
    scale: float = 1.0
    description: str = ""
    zero_point: float = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One function of an artifact that an app can call.

    `id` is unique in the artifact. It is the entry's name, or "<name>@<variant>" for a further copy of it, such as a
    separate package beside a multifunction one, or a file with dynamic shapes. `file` is the file or .mlpackage
    folder. `function` is the signature or function inside it, for formats that have them.
    """

    id: str
    name: str
    modules: tuple[str, ...]
    file: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    function: str | None = None
    variant: str = ""


@dataclass(frozen=True, slots=True)
class FileRecord:
    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Edge:
    """A tensor that an app passes from the module `source` to the modules `targets`."""

    tensor: str
    source: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A sealed artifact folder.

    `sha256` covers all other fields, `files` included. Evidence (parity, latency, ...) refers to an artifact by it.
    `calibration` holds the hashes of the photos that calibrated it, which must not judge it. `layers` belongs to a
    named recipe, and to any recipe that leaves a tenth of the weights in another dtype than its own: layer ->
    {"recipe": a recipe of the grammar, "values": number of elements}; the file must hold the layers so.
    """

    model: str
    version: str
    target: str
    recipe: str
    license: str
    authors: tuple[str, ...]
    description: str
    size: tuple[int, int]
    input_hash: str
    spec_sha256: str
    weights_sha256: str
    entries: tuple[Entry, ...]
    edges: tuple[Edge, ...]
    preprocessing: Mapping[str, Any]
    requires: Mapping[str, str]
    toolchain: Mapping[str, str]
    golden: Mapping[str, Any]
    notes: tuple[str, ...]
    files: tuple[FileRecord, ...]
    sha256: str = field(default="")
    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    calibration: tuple[str, ...] = ()

    def entry(self, ident: str) -> Entry:
        """Return the entry whose `id` is `ident`."""
        return next(entry for entry in self.entries if entry.id == ident)


def plain(artifact: Artifact) -> dict[str, Any]:
    """Return the artifact as JSON data, without an empty `layers` and `calibration`."""
    content = asdict(artifact)
    for key in ("layers", "calibration"):
        if not content[key]:
            del content[key]
    return content


def digest(artifact: Artifact) -> str:
    """Return the hash of all fields but `sha256`."""
    content = plain(artifact)
    del content["sha256"]
    return sha256_bytes(canonical_json(content).encode())


def list_files(folder: Path) -> tuple[FileRecord, ...]:
    """List the regular files below `folder`, without artifact.json and its signature, sorted by path.

    Raises StageError("seal") for a symbolic link.
    """
    records = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise StageError("seal", f"{relative} is a symbolic link; artifacts hold plain files")
        if path.is_file() and relative not in (FILE, SIGNATURE):
            records.append(FileRecord(relative, path.stat().st_size, sha256_file(path)))
    return tuple(records)


def write_artifact(folder: Path, artifact: Artifact) -> None:
    write_text(folder / FILE, dump_json({"schema": SCHEMA, **plain(artifact)}))


def read_artifact(folder: Path) -> Artifact:
    """Read and check artifact.json. `verify` hashes the files that it lists.

    Raises StageError("artifact") when it is missing or malformed, when it was edited by hand (its own sha256 does not
    match), or when it names a file outside the folder.
    """
    table = Table(read_json(folder / FILE, STAGE), f"{folder}/{FILE}", STAGE)
    if table.whole("schema") != SCHEMA:
        raise table.error(f"schema {table.data['schema']} is not known (known: {SCHEMA})")
    texts = ("model", "version", "target", "recipe", "license", "description")
    hashes = ("input_hash", "spec_sha256", "weights_sha256", "sha256")
    content: dict[str, Any] = {key: table.string(key) for key in (*texts, *hashes)}
    content |= {key: dict(table.table(key).data) for key in ("preprocessing", "requires", "toolchain", "golden")}
    artifact = Artifact(
        **content,
        authors=table.strings("authors"),
        size=read_pair(table, "size"),
        entries=tuple(read_entry(row) for row in table.rows("entries")),
        edges=tuple(read_edge(row) for row in table.rows("edges")),
        notes=table.strings("notes"),
        files=tuple(read_file(row) for row in table.rows("files")),
        layers={name: read_layer(row) for name, row in table.tables("layers", {})},
        calibration=table.strings("calibration", ()),
    )
    table.done()
    try:
        untouched = digest(artifact) == artifact.sha256
    except ValueError as error:
        raise table.error("holds a number that is not finite (NaN or Infinity)") from error
    if not untouched:
        raise table.error("was changed after it was sealed: its sha256 does not match its content; export it again")
    if not artifact.entries:
        raise table.error("'entries' is empty: an artifact without a function to call is none; export it again")
    for path in [record.path for record in artifact.files] + [entry.file for entry in artifact.entries]:
        inside(folder, path, STAGE)
    return artifact


def read_in_place(folder: Path) -> Artifact:
    """Read the artifact of the folder <target>/<recipe>, as `read_artifact`.

    Also raises StageError("artifact") when it is the artifact of another target or recipe, for instance after one
    folder was copied over another.
    """
    artifact = read_artifact(folder)
    if (artifact.target, artifact.recipe) != (folder.parent.name, folder.name):
        raise StageError(
            STAGE,
            f"{folder} holds the artifact {artifact.target}/{artifact.recipe}, not {folder.parent.name}/{folder.name}; "
            "export it again",
        )
    return artifact


def read_pair(table: Table, key: str) -> tuple[int, int]:
    pair = table.items(key)
    if len(pair) != 2 or not all(type(item) is int and item > 0 for item in pair):
        raise table.error(f"{key!r} must be [height, width], found {pair}")
    return pair[0], pair[1]


def read_entry(table: Table) -> Entry:
    entry = Entry(
        id=table.string("id"),
        name=table.string("name"),
        modules=table.strings("modules"),
        file=table.string("file"),
        inputs=tuple(read_port(row) for row in table.rows("inputs")),
        outputs=tuple(read_port(row) for row in table.rows("outputs")),
        function=None if table.value("function") is None else table.string("function"),
        variant=table.string("variant"),
    )
    table.done()
    return entry


def read_port(table: Table) -> Port:
    shape = table.items("shape")
    if not all(type(dim) is int and dim > 0 for dim in shape):
        raise table.error(f"'shape' must list positive whole numbers, found {shape}")
    port = Port(
        **{key: table.string(key) for key in ("name", "file_name", "layout", "dtype", "reference_layout", "kind")},
        shape=tuple(shape),
        range=table.limits("range"),
        judge=None if table.value("judge") is None else table.string("judge"),
        scale=table.number("scale"),
        zero_point=int(zero) if (zero := table.number("zero_point", 0)).is_integer() else zero,
        description=table.string("description"),
    )
    table.done()
    return port


def read_layer(table: Table) -> dict[str, Any]:
    row = {"recipe": table.string("recipe"), "values": table.whole("values")}
    table.done()
    return row


def read_edge(table: Table) -> Edge:
    edge = Edge(table.string("tensor"), table.string("source"), table.strings("targets"))
    table.done()
    return edge


def read_file(table: Table) -> FileRecord:
    record = FileRecord(table.string("path"), table.whole("bytes"), table.string("sha256"))
    table.done()
    return record


def verify(folder: Path, artifact: Artifact) -> None:
    """Hash every file of `folder`. Raises StageError("seal") that names the first missing, changed or unlisted file."""
    listed = {record.path: record for record in artifact.files}
    present = {record.path: record for record in list_files(folder)}
    for path, record in listed.items():
        if path not in present:
            raise StageError("seal", f"{folder / path} is missing; artifact.json lists it")
        if present[path].sha256 != record.sha256:
            raise StageError("seal", f"{folder / path} does not match its seal (sha256 {record.sha256[:12]}...)")
        if present[path].bytes != record.bytes:
            raise StageError(
                "seal", f"{folder / path} has {present[path].bytes} bytes, artifact.json says {record.bytes}"
            )
    extra = sorted(set(present) - set(listed))
    if extra:
        raise StageError("seal", f"{folder / extra[0]} is not in artifact.json")


def artifact_folder(out: Path, model: str, target: str, recipe: str) -> Path:
    """Return where an artifact lies in the build folder `out`."""
    return out / model / target / recipe


def files_of(artifact: Artifact, entry: Entry) -> tuple[FileRecord, ...]:
    """Return the files that are read when `entry` is loaded: its file, its package, or the folder its file lies in."""
    package = tuple(record for record in artifact.files if record.path.startswith(entry.file + "/"))
    if package:
        return package
    parent, _, _ = entry.file.rpartition("/")
    if parent:
        return tuple(record for record in artifact.files if record.path.startswith(parent + "/"))
    return tuple(record for record in artifact.files if record.path == entry.file)


def primary(artifact: Artifact) -> tuple[Entry, ...]:
    """Return the entries of the default variant. Separate packages and dynamic shapes are further copies of them."""
    return tuple(entry for entry in artifact.entries if not entry.variant)


def ships(artifact: Artifact) -> tuple[FileRecord, ...]:
    """Return the files that an app needs to call every module.

    That is one multifunction package or multi-signature file for targets that have these, and one file per module,
    without the fused copy, for the others.
    """
    needed = {record for entry in primary(artifact) if len(entry.modules) == 1 for record in files_of(artifact, entry)}
    return tuple(record for record in artifact.files if record in needed)


def find_artifacts(root: Path) -> list[Path]:
    """Return the folders <target>/<recipe> of `build/<model>` that hold an artifact.json, sorted."""
    return sorted(path.parent for path in root.glob(f"*/*/{FILE}"))


def write_manifest(root: Path) -> Path:
    """Rebuild `root`/manifest.json from the artifact folders below it, under a lock, and return its path.

    `root` is build/<model>. The manifest repeats every artifact.json with paths relative to itself. An unreadable
    artifact is listed with its error, so that it does not hide the others.
    """
    rows: list[dict[str, Any]] = []
    with locked(root / ".manifest.lock"):
        for folder in find_artifacts(root):
            prefix = folder.relative_to(root).as_posix()
            try:
                content = plain(read_in_place(folder))
            except StageError as error:
                rows.append({"folder": prefix, "error": str(error)})
                continue
            for record in content["files"]:
                record["path"] = f"{prefix}/{record['path']}"
            for entry in content["entries"]:
                entry["file"] = f"{prefix}/{entry['file']}"
            rows.append({"folder": prefix, **content})
        write_text(root / "manifest.json", dump_json({"schema": SCHEMA, "model": root.name, "artifacts": rows}))
    return root / "manifest.json"
