"""model.toml: the meaning of a valid file, and the errors for an invalid one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hydramobile.errors import ExitCode, StageError, UsageError
from hydramobile.spec import load_spec

WriteModel = Callable[..., Path]


def test_reads_the_module_graph(write_model: WriteModel) -> None:
    spec = load_spec(write_model())

    assert spec.inputs() == ("image",)
    assert spec.edges() == {"feature": ("body", ("head",))}
    assert list(spec.entries) == ["body", "head", "whole"]
    assert spec.entries["whole"].inputs == ("image",)
    assert spec.entries["whole"].fused
    assert not spec.entries["head"].fused
    assert spec.size == (8, 6)
    assert spec.tensors["image"].at((6, 8)) == (1, 3, 6, 8)
    assert [tensor.name for tensor in spec.judged()] == ["alpha"]


def test_modules_run_after_the_modules_they_read(write_model: WriteModel) -> None:
    body, head = '[modules.body]\ninputs = ["image"]\noutputs = ["feature"]\n', "[modules.head]"
    spec = load_spec(write_model((body, ""), ("[entries.whole]", body + "[entries.whole]")))

    assert list(spec.modules) == ["body", "head"]
    assert head in (spec.folder / "model.toml").read_text()
    assert spec.entries["whole"].modules == ("body", "head")


def test_hash_covers_content_not_comments(write_model: WriteModel) -> None:
    first = load_spec(write_model()).sha256
    commented = load_spec(write_model(("schema = 1", "# a comment\nschema   =   1"))).sha256
    changed = load_spec(write_model(('version = "1.0.0"', 'version = "1.0.1"'))).sha256

    assert first == commented
    assert first != changed


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema = 1", "schema = 2", "schema 2 is not known"),
        ("schema = 1", "schema = true", "'schema' must be a whole number, found a boolean"),
        ('name = "small"', "", "'name' is missing"),
        ('name = "small"', 'name = "../small"', "does not match"),
        ('name = "small"', "name = 3", "'name' must be a string, found a whole number"),
        ('version = "1.0.0"', 'verison = "1.0.0"', "'version' is missing"),
        ('version = "1.0.0"', 'version = "1.0.0"\nlicence = "MIT"', "did you mean 'license'"),
        ("small.net:build", "small.net.build", "write PACKAGE.MODULE:NAME"),
        ("small.net:build", "os;rm:build", "write PACKAGE.MODULE:NAME"),
        ('sha256 = "0', 'sha256 = "x', "does not match"),
        (
            "weights.safetensors",
            "best.ckpt",
            "this converts it: hydra-mobile init NEW_FOLDER FACTORY --weights best.ckpt",
        ),
        ('sha256 = "0', 'sha = "0', "'sha256' is missing"),
        ("sizes = [[8, 6], [6, 8]]", "sizes = []", "'sizes' is empty"),
        ("sizes = [[8, 6], [6, 8]]", "sizes = [[8, 0]]", "from 1 to 8192"),
        ("sizes = [[8, 6], [6, 8]]", "sizes = [[8, 6, 3]]", "from 1 to 8192"),
        ("sizes = [[8, 6], [6, 8]]", "sizes = [[true, 6]]", "from 1 to 8192"),
        ("sizes = [[8, 6], [6, 8]]", "sizes = [[8, 6], [8192, 8192]]", "201,326,592 elements at size 8192x8192"),
        ('shape = [1, 1, "H", "W"]', "shape = [1, 1000000000]", "has 1,000,000,000 elements; the most is 67,108,864"),
        ('shape = [1, 3, "H", "W"]', "shape = [1, 3, -1, 4]", "'shape' must list positive"),
        ('shape = [1, 3, "H", "W"]', 'shape = [1, 3, "X", "W"]', "'shape' must list positive"),
        ('shape = [1, 3, "H", "W"]', 'shape = [1, "H", "W", 3]', "rgb-photo needs shape [1, 3, H, W]"),
        ('shape = [1, 1, "H", "W"]', "shape = [0]", "'shape' must list positive"),
        ('shape = [1, 1, "H", "W"]', 'shape = [1, "H"]\nlayout = "NCHW"', "layout NCHW needs four dimensions"),
        ("range = [0, 1]\nkind", "range = [1, 0]\nkind", "low < high"),
        ("range = [0, 1]\nkind", "range = [0, inf]\nkind", "low < high"),
        ('judge = "alpha-matte"', 'judge = "alpha-mat"', "did you mean 'alpha-matte'"),
        ('kind = "rgb-photo"', 'kind = "rgb"\ndtype = "float80"', "'dtype' is 'float80'"),
        ('kind = "rgb-photo"', 'kind = "rgb-phto"', "did you mean 'rgb-photo'"),
        ("[tensors.alpha]", "[tensors.alfa]", "[tensors.alfa] belongs to no module"),
        ("[tensors.alpha]", '[tensors."al pha"]', "does not match"),
        ('inputs = ["image"]', 'inputs = ["picture"]', "belongs to no module"),
        ('inputs = ["image"]', 'inputs = ["image", "extra"]', "reads 'extra', which no module returns"),
        ('inputs = ["image"]', 'inputs = ["image", "image"]', "names a tensor twice"),
        ('inputs = ["image"]', "inputs = []", "'inputs' is empty"),
        ('inputs = ["image"]', 'inputs = ["image", "alpha"]', "cycle among: body, head"),
        ('outputs = ["feature"]', 'outputs = ["feature", "alpha"]', "returned by both 'body' and 'head'"),
        ('outputs = ["feature"]', 'outputs = ["image"]', "cycle"),
        ("[entries.whole]", "[entries.body]", "has the name of a module"),
        ('modules = ["body", "head"]', 'modules = ["body", "haed"]', "no module 'haed'"),
        ('modules = ["body", "head"]', 'modules = ["body"]', "two or more different modules"),
        (
            '["body", "head"]\noutputs = ["alpha"]',
            '["body", "head"]\noutputs = ["beta"]',
            "returned by none of its modules",
        ),
        ('["body", "head"]\noutputs = ["alpha"]', '["body", "head"]\noutputs = []', "'outputs' is empty"),
        ("[entries.whole]", "[options.onxn]\nx = 1\n[entries.whole]", "no target 'onxn'"),
        ("[entries.whole]", "[options.onnx]\nx = nan\n[entries.whole]", "not finite"),
        ("schema = 1", "schema = 1 1", "is not readable TOML"),
    ],
)
def test_refuses(write_model: WriteModel, old: str, new: str, message: str) -> None:
    with pytest.raises(StageError) as caught:
        load_spec(write_model((old, new)))

    assert message in str(caught.value)
    assert caught.value.stage == "spec"
    assert caught.value.exit_code == ExitCode.USAGE


def test_no_modules(write_model: WriteModel) -> None:
    folder = write_model()
    text = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(text.partition("[modules.body]")[0] + "[modules]\n")
    with pytest.raises(StageError, match=r"\[modules\] is empty"):
        load_spec(folder)


def test_no_model_toml(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no model\.toml"):
        load_spec(tmp_path)


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StageError, match="not readable TOML"):
        load_spec(tmp_path)


def test_modules_of_archives_need_no_factory(write_model: WriteModel) -> None:
    """`small.toml` has two modules; a program of one alone leaves the other without an origin."""
    program = f'program = "a.pt2"\nprogram_sha256 = "{"0" * 64}"\n'
    whole = write_model(
        ("[modules.body]\n", f"[modules.body]\n{program}"), ("[modules.head]\n", f"[modules.head]\n{program}")
    )
    with pytest.raises(StageError, match="'factory' would not be called"):
        load_spec(whole)
    text = (whole / "model.toml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("factory"))
    (whole / "model.toml").write_text(text.replace(f"{line}\n", ""))
    spec = load_spec(whole / "model.toml")
    assert spec.factory == "" and spec.modules["head"].program == "a.pt2"
    (whole / "model.toml").write_text(text.replace(f"{line}\n", "").replace(program, "", 1))
    with pytest.raises(StageError, match="has no 'factory', and module 'body' has no 'program'"):
        load_spec(whole)
