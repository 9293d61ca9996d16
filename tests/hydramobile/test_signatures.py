"""Signatures: what was signed passes; a forged verdict, a changed artifact, another key and no signature do not."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.report.gather import read_artifacts, read_documents
from demo.published import sort_artifacts
from export.bundle.choose import choose_plans
from hydramobile.artifact import FILE, SIGNATURE, Artifact, artifact_folder, list_files
from hydramobile.errors import NothingJudged, StageError, UsageError
from hydramobile.signatures import KEY, make_keys, sign_model, verify_model
from hydramobile.spec import load_spec
from support.fixtures import Artifacts, Command, OutWith


@pytest.fixture
def judged(out_with: OutWith, artifact: Artifacts) -> Path:
    """Return build/classifier with one artifact and a parity.json that says that it passed."""
    folder = artifact("classifier", "onnx", "float32")
    out = out_with("classifier", folder)
    sealed = json.loads((folder / FILE).read_text())["sha256"]
    measure = {"output": "scores", "metric": "err_sens", "value": 1e-6, "mean": 1e-6, "limit": 1e-3, "worst": "a"}
    row = {"artifact": sealed, "verdict": "pass", "runtime": "onnxruntime", "stage": "", "reason": "", "mode": "direct"}
    row |= {"evidence": "host", "entry": "classifier", "samples": 1, "measures": [measure]}
    (out / "classifier/parity.json").write_text(json.dumps({"results": [row]}))
    return out / "classifier"


def test_a_key_is_the_owners_and_is_never_replaced(tmp_path: Path) -> None:
    public = make_keys(tmp_path / "keys/release")
    assert stat.S_IMODE((tmp_path / "keys/release").stat().st_mode) == 0o600
    assert public.name == "release.pub" and b"PUBLIC KEY" in public.read_bytes()
    with pytest.raises(UsageError, match="keys are never replaced"):
        make_keys(tmp_path / "keys/release")
    for key, message in (
        (public, "is not a private key in PEM"),
        (tmp_path / "nothing", "no key at"),
        (tmp_path / FILE, "is not a private key in PEM"),
    ):
        (tmp_path / FILE).write_text("{}")
        with pytest.raises(UsageError, match=message):
            sign_model(tmp_path, key)


def test_what_was_signed_passes_and_nothing_else(judged: Path, tmp_path: Path, reseal: Callable[..., Artifact]) -> None:
    key, other = make_keys(tmp_path / "a"), make_keys(tmp_path / "b")
    with pytest.raises(StageError, match=r"is not signed \(no artifact\.json\.sig\)"):
        verify_model(judged, key)
    folder = artifact_folder(judged.parent, "classifier", "onnx", "float32")
    before = list_files(folder)
    assert [row.path.name for row in sign_model(judged, tmp_path / "a")] == [FILE, "parity.json"]
    assert list_files(folder) == before and (folder / SIGNATURE).is_file(), "a signature is no file of the artifact"
    assert len(verify_model(judged, key)) == 2
    with pytest.raises(StageError, match="was signed by the key"):
        verify_model(judged, other)

    parity = judged / "parity.json"
    text = parity.read_text()
    parity.write_text(text.replace('"samples": 1', '"samples": 2'))
    with pytest.raises(StageError, match="was changed after it was signed"):
        verify_model(judged, key)
    parity.write_text(text)

    # A careful forger hashes the changed file again and writes a matching artifact.json.
    (model,) = folder.glob("*.onnx")
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    with pytest.raises(StageError, match="does not match its seal"):
        verify_model(judged, key)
    reseal(folder)
    with pytest.raises(StageError, match=r"artifact\.json was changed after it was signed"):
        verify_model(judged, key)


def test_bundles_demo_and_report_take_only_what_the_key_signed(
    judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_dir: Callable[[str], Path]
) -> None:
    spec = load_spec(model_dir("classifier"))
    public = make_keys(tmp_path / "a")
    assert len(choose_plans(spec, "web", "", judged.parent, unproven=False)) == 1, "no key is asked for"
    assert len(sort_artifacts(judged)[0]) == 1
    monkeypatch.setenv(KEY, str(public))
    with pytest.raises(StageError, match=r"parity\.json is not signed"):
        choose_plans(spec, "web", "", judged.parent, unproven=False)
    with pytest.raises(StageError, match=r"parity\.json is not signed"):
        sort_artifacts(judged)
    assert read_artifacts(judged)[0] == {}
    assert any("is not signed" in lacking.what for lacking in read_documents(judged)[1])
    sign_model(judged, tmp_path / "a")
    assert len(choose_plans(spec, "web", "", judged.parent, unproven=False)) == 1
    assert len(sort_artifacts(judged)[0]) == 1
    assert len(read_artifacts(judged)[0]) == 1


def test_the_commands(judged: Path, tmp_path: Path, command: Command) -> None:
    flags = ("--model", "tests/nets/classifier", "--out", judged.parent)
    key = tmp_path / "release"
    assert command("export", "keygen", key).code == 0
    assert command("export", "sign", "--key", key, *flags).verdict.startswith("2 files signed by the key ")
    done = command("export", "verify", "--key", f"{key}.pub", *flags)
    assert done.code == 0 and done.verdict.startswith("2 files are as the owner of the key ")
    (judged / "parity.json").write_text("{}")
    assert command("export", "verify", "--key", f"{key}.pub", *flags).code == 3
    with pytest.raises(NothingJudged, match="no artifacts in"):
        verify_model(tmp_path / "nothing", Path(f"{key}.pub"))
