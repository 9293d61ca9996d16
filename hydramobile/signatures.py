"""Sign artifact.json and parity.json with Ed25519, and check the signatures where a public key is given.

artifact.json seals its files by hash, so a signature of it covers the whole artifact. parity.json names the artifacts
that it judged by their seals. A signature lies beside its file as NAME.sig. The environment variable HYDRA_MOBILE_KEY
names a public key: packages for apps, the demo and the report then take only what the owner of the key signed.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydramobile.artifact import FILE, find_artifacts, read_in_place, verify
from hydramobile.errors import NothingJudged, StageError, UsageError
from hydramobile.files import dump_json, read_json, refuse_special, sha256_bytes, write_bytes, write_text
from hydramobile.toml_table import Table

STAGE = "signature"
SCHEMA, ALGORITHM = 1, "ed25519"
KEY = "HYDRA_MOBILE_KEY"
PARITY = "parity.json"


@dataclass(frozen=True, slots=True)
class Signed:
    """One signed or checked file, and the first letters of its key's hash."""

    path: Path
    key: str


def make_keys(path: Path) -> Path:
    """Write a new private key to `path` (PKCS #8, readable by its owner alone) and return `path`.pub, its public key.

    Raises UsageError where either exists: a replaced key makes every signature worthless.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    public = path.with_name(path.name + ".pub")
    for file in (path, public):
        if file.exists():
            raise UsageError(f"{file} exists; keys are never replaced: name another file")
    private = Ed25519PrivateKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_bytes(public, private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return public


def sign_model(root: Path, key: Path) -> list[Signed]:
    """Sign every artifact below `root` (build/<model>), whose files are checked against their seals, and parity.json.

    Raises NothingJudged where there is no artifact, UsageError for a file that is no private key.
    """
    private = load_private(key)
    name = key_name(private.public_key())
    signed = []
    for path in signable(root):
        data = path.read_bytes()
        signature = base64.b64encode(private.sign(data)).decode()
        row = {"schema": SCHEMA, "algorithm": ALGORITHM, "key": name, "signature": signature}
        write_text(beside(path), dump_json(row))
        signed.append(Signed(path, name))
    return signed


def verify_model(root: Path, key: Path) -> list[Signed]:
    """Check the signature and the seal of everything that `sign_model` signs.

    Raises StageError("signature") for the first file without a signature, with a signature of another key, or changed
    since it was signed; StageError("seal") for a changed file of an artifact.
    """
    public = load_public(key)
    for path in (paths := list(signable(root))):
        check_signature(path, public)
    return [Signed(path, key_name(public)) for path in paths]


def signable(root: Path) -> Iterator[Path]:
    """Yield artifact.json of each artifact, after its seal was checked, and parity.json where there is one."""
    folders = find_artifacts(root)
    if not folders:
        raise NothingJudged(f"no artifacts in {root}; make them with: make export")
    for folder in folders:
        verify(folder, read_in_place(folder))
        yield folder / FILE
    if (root / PARITY).is_file():
        yield root / PARITY


def check(path: Path) -> None:
    """Check the signature of `path` where HYDRA_MOBILE_KEY names a public key; do nothing where it is not set."""
    key = os.environ.get(KEY, "")
    if key:
        check_signature(path, load_public(Path(key)))


def check_signature(path: Path, public: Any) -> None:
    """Raise StageError("signature") unless `path`.sig is a signature of `path` by the key."""
    from cryptography.exceptions import InvalidSignature

    file = beside(path)
    if not file.is_file():
        raise StageError(STAGE, f"{path} is not signed (no {file.name}): python -m export sign signs it")
    table = Table(read_json(file, STAGE), str(file), STAGE)
    if table.whole("schema") != SCHEMA or table.string("algorithm") != ALGORITHM:
        raise table.error(f"is no signature of schema {SCHEMA} by {ALGORITHM}")
    named, text = table.string("key"), table.string("signature")
    if named != key_name(public):
        raise StageError(STAGE, f"{path} was signed by the key {named}, not by {key_name(public)}")
    try:
        public.verify(base64.b64decode(text, validate=True), path.read_bytes())
    except (InvalidSignature, ValueError) as error:
        raise StageError(STAGE, f"{path} was changed after it was signed, or its signature was") from error


def beside(path: Path) -> Path:
    return path.with_name(path.name + ".sig")


def key_name(public: Any) -> str:
    """Return the first 16 digits of the sha256 of the key's 32 bytes."""
    return sha256_bytes(public.public_bytes_raw())[:16]


def load_private(path: Path) -> Any:
    """Read an Ed25519 private key in PEM. Raises UsageError for any other file."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_key(path, lambda data: load_pem_private_key(data, None), Ed25519PrivateKey, "private")


def load_public(path: Path) -> Any:
    """Read an Ed25519 public key in PEM. Raises UsageError for any other file."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    return load_key(path, load_pem_public_key, Ed25519PublicKey, "public")


def load_key(path: Path, parse: Any, kind: type, word: str) -> Any:
    """Read a key by `parse`. Raises UsageError where there is none of that kind."""
    from cryptography.exceptions import UnsupportedAlgorithm

    if not path.exists():
        raise UsageError(f"no key at {path}: python -m export keygen {path.with_suffix('')} makes a pair")
    refuse_special(path, STAGE)
    try:
        key = parse(path.read_bytes())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is not a {word} key in PEM") from error
    if not isinstance(key, kind):
        raise UsageError(f"{path} is a {type(key).__name__}, not an Ed25519 {word} key")
    return key
