"""Labels: WHDR by hand, and the errors for a bad list, picture or record."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hydramobile.budget import load_budget
from hydramobile.errors import StageError
from hydramobile.files import dump_json, sha256_bytes
from hydramobile.goldens import committed_folder
from hydramobile.labels import (
    OrderTest,
    load_labels,
    modules_for,
    order_test,
    read_reference,
    reference_key,
    reference_path,
    refresh_reference,
)
from hydramobile.measures import PAIRS, Pairs, far_pairs
from hydramobile.spec import ModelSpec, load_spec

Files = dict[str, str | bytes]
WIDTH, HEIGHT = 512, 384
SAMPLE = '[[sample]]\nfile = "{}"\nsha256 = "{}"\nsplit = "{}"\nsource = "drawn"\nlicense = "CC0-1.0"\n'
LIMIT = '[[limit]]\nrecipe = "w8"\noutput = "{}"\nmetric = "{}"\nlimit = {}\nreason = "because"\n'


def picture(values: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def halves(left: float, right: float, kind: type[np.generic] = np.uint16) -> NDArray[Any]:
    """Return a field of the size at which depth is judged, so that nothing is interpolated."""
    field = np.full((HEIGHT, WIDTH), left)
    field[:, WIDTH // 2 :] = right
    return field.astype(kind)


def label_files(changed: Mapping[str, bytes | None] | None = None, head: str = 'tensor = "depth"') -> Files:
    """Return the files of one label. `changed` replaces pictures before they are hashed; None leaves one out."""
    rng = np.random.default_rng(0)
    pictures: dict[str, bytes | None] = {
        "photo": picture(rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)),
        "truth": picture(halves(10_000, 20_000)),
        "matte": picture(np.full((HEIGHT, WIDTH), 255, np.uint8)),
        **(changed or {}),
    }
    rows = [head, 'source = "drawn"', 'license = "CC0-1.0"', "[[label]]"]
    rows += [f'{n} = {{ file = "{n}.png", sha256 = "{sha256_bytes(d or b"")}" }}' for n, d in pictures.items()]
    files: Files = {f"labels/{name}.png": data for name, data in pictures.items() if data is not None}
    return {**files, "labels/labels.toml": "\n".join(rows) + "\n"}


@pytest.fixture
def model(write_model: Callable[..., Path]) -> Callable[[Files], ModelSpec]:
    def write(files: Files) -> ModelSpec:
        edits = (("alpha-matte", "relative-depth"), ("alpha", "depth"))
        return load_spec(write_model(*edits, files=files))

    return write


def test_whdr_by_hand() -> None:
    """Four pixels, four pairs: one right, one wrong, one tie, one right."""
    pairs = Pairs(np.array([0, 1, 2, 3]), np.array([1, 2, 3, 0]), np.array([-1.0, -1.0, -1.0, 3.0]))
    made = np.array([1, 2, 0, 2], np.float32).reshape(1, 1, 2, 2)
    # 1 < 2 agrees with the truth; 2 > 0 contradicts it; 0 < 2; 2 > 1.
    assert OrderTest((2, 2), pairs).whdr(made) == 0.25
    made[0, 0, 1, 1] = 0
    # 0 = 0 is a tie, and 0 < 1 contradicts the truth too.
    assert OrderTest((2, 2), pairs).whdr(made) == 0.75


def test_whdr_of_a_label(model: Callable[[Files], ModelSpec]) -> None:
    labels = load_labels(model(label_files()))
    assert labels is not None and [label.photo.name for label in labels.all] == ["photo"]
    question = order_test(labels.all[0])
    assert question.size == (WIDTH, HEIGHT)
    # Of random pairs half lie in different halves, the only ones whose order is known.
    assert 0.48 < question.pairs.first.size / PAIRS < 0.52

    def asked(field: NDArray[Any]) -> float:
        return question.whdr(field.astype(np.float32)[None, None])

    right = halves(0.1, 0.2, np.float32)
    assert (asked(right), asked(-right), asked(np.ones_like(right))) == (0.0, 1.0, 1.0)
    half = right.copy()
    half[HEIGHT // 2 :] = 0.15  # pairs of two lower pixels tie: a quarter of them all
    assert asked(half) == pytest.approx(0.25, abs=0.02)


def test_only_known_pixels_of_the_person_are_compared(model: Callable[[Files], ModelSpec]) -> None:
    matte, truth = np.zeros((HEIGHT, WIDTH), np.uint8), halves(10_000, 20_000)
    matte[100:300, 200:400], matte[:100] = 255, 200
    truth[100:120] = 0  # not known
    labels = load_labels(model(label_files({"truth": picture(truth), "matte": picture(matte)})))
    assert labels is not None
    question = order_test(labels.all[0])
    for index in (question.pairs.first, question.pairs.second):
        rows, columns = np.divmod(index, WIDTH)
        assert rows.min() >= 120 and rows.max() < 300 and columns.min() >= 200 and columns.max() < 400


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (np.zeros((1, 2, 4, 4), np.float32), r"depth must be \[1, 1, H, W\], found \[1, 2, 4, 4\]"),
        (np.full((1, 1, 4, 4), np.nan, np.float32), "16 of 16 values are not finite"),
    ],
)
def test_outputs_that_are_no_depth(made: NDArray[np.float32], message: str) -> None:
    with pytest.raises(StageError, match=message):
        OrderTest((4, 4), far_pairs(np.arange(16, dtype=np.float64), 0.02)).whdr(made)


def test_a_model_without_labels(model: Callable[[Files], ModelSpec]) -> None:
    spec = model({})
    assert load_labels(spec) is None
    spec = model({"budget.toml": LIMIT.format("depth", "mean whdr_loss", 0.01)})
    with pytest.raises(StageError, match="small has no labels, so mean whdr_loss would never be checked"):
        load_budget(spec)


def test_limits_against_labels_stand_apart(model: Callable[[Files], ModelSpec]) -> None:
    rows = LIMIT.format("depth", "mean whdr_loss", 0.01) + LIMIT.format("*", "mean whdr_loss", 0.02)
    budget = load_budget(model({**label_files(), "budget.toml": rows + LIMIT.format("depth", "order_flips", 0.012)}))
    assert budget.label_limits("onnx", "w8", "depth") == {"mean whdr_loss": 0.01}
    assert budget.label_limits("onnx", "p4", "depth") == {}
    assert budget.limits_for("onnx", "w8", "depth", False) == {"order_flips": 0.012}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (label_files({"truth": None}), "truth.png does not exist"),
        ({**label_files(), "labels/photo.png": b"another"}, "photo.png does not match its sha256"),
        (label_files(head='tensor = "dept"'), "did you mean 'depth'"),
        (label_files(head='tensor = "feature"'), "'tensor' is 'feature'"),
        ({"labels/labels.toml": 'tensor = "depth"\nsource = "x"\nlicense = "x"\nlabel = []\n'}, r"no \[\[label\]\]"),
        ({"labels/labels.toml": "[[label"}, "is not readable TOML"),
    ],
)
def test_bad_lists(model: Callable[[Files], ModelSpec], files: Files, message: str) -> None:
    with pytest.raises(StageError, match=message):
        load_labels(model(files))


@pytest.mark.parametrize("split", ["calibrate", "judge"])
def test_a_sample_is_no_label(model: Callable[[Files], ModelSpec], split: str) -> None:
    files = label_files()
    data = files["labels/photo.png"]
    assert isinstance(data, bytes)
    files |= {"samples/seen.png": data, "samples/samples.toml": SAMPLE.format("seen.png", sha256_bytes(data), split)}
    with pytest.raises(
        StageError, match=rf"photo is a {split} sample too \(seen\); what was seen before proves nothing"
    ):
        load_labels(model(files))


def test_a_photo_stands_once(model: Callable[[Files], ModelSpec]) -> None:
    files = label_files()
    listing = str(files["labels/labels.toml"])
    files["labels/labels.toml"] = listing + listing[listing.index("[[label]]") :]
    with pytest.raises(StageError, match="photo is the same photo as photo"):
        load_labels(model(files))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"truth": picture(halves(1, 2, np.uint8))}, "truth.png must be grey with 16 bits; Pillow reads it as L"),
        ({"truth": picture(halves(7, 7))}, "truth.png is flat: it has no order"),
        ({"truth": picture(halves(0, 0))}, "truth.png knows the depth of 0 pixels of the person, too few"),
        (
            {"truth": picture(halves(1, 2)[:, :300])},
            "truth.png is 300x384, which is not the shape of its photo, 512x384",
        ),
        ({"matte": b"no picture"}, "matte.png is not a picture that can be read"),
        ({"matte": picture(np.zeros((HEIGHT, WIDTH), np.uint8))}, "too few to judge"),
    ],
)
def test_bad_pictures(model: Callable[[Files], ModelSpec], changed: dict[str, bytes | None], message: str) -> None:
    labels = load_labels(model(label_files(changed)))
    assert labels is not None
    with pytest.raises(StageError, match=message):
        order_test(labels.all[0])


def test_the_references_own_figures_are_of_these_inputs(model: Callable[[Files], ModelSpec], tmp_path: Path) -> None:
    spec = model(label_files())
    labels = load_labels(spec)
    assert labels is not None
    with pytest.raises(StageError, match=r"no WHDR of the reference in .*; refresh it with: make goldens MODEL="):
        read_reference(spec, labels, spec.size, tmp_path)
    document = {"key": reference_key(spec, labels, spec.size), "whdr": {"photo": 0.125}}
    reference_path(tmp_path).write_text(dump_json(document))
    assert read_reference(spec, labels, spec.size, tmp_path / "none", tmp_path) == {"photo": 0.125}
    with pytest.raises(StageError, match="is stale: the spec, weights, labels or size changed"):
        read_reference(spec, labels, (6, 8), tmp_path)
    reference_path(tmp_path).write_text(dump_json({**document, "whdr": {"other": 0.125}}))
    with pytest.raises(StageError, match="is not of these 1 labels"):
        read_reference(spec, labels, spec.size, tmp_path)


def test_a_committed_reference_is_not_computed_again(model: Callable[[Files], ModelSpec], tmp_path: Path) -> None:
    spec = model(label_files())  # a net that nothing could run: its factory does not exist
    labels = load_labels(spec)
    assert labels is not None
    with pytest.raises(StageError, match="factory"):
        refresh_reference(spec, labels, spec.size, tmp_path / "new")
    committed_folder(spec).mkdir()
    document = {"key": reference_key(spec, labels, spec.size), "whdr": {"photo": 0.125}}
    reference_path(committed_folder(spec)).write_text(dump_json(document))
    assert refresh_reference(spec, labels, spec.size, tmp_path / "new")
    assert read_reference(spec, labels, spec.size, tmp_path / "new") == {"photo": 0.125}
    assert not refresh_reference(spec, labels, spec.size, tmp_path / "new")


def test_modules_for_an_output(root: Path) -> None:
    assert modules_for(load_spec(root / "models/portrait"), "depth") == ["encoder", "depth"]


def test_the_portraits_labels(root: Path) -> None:
    """64 views, each with pairs of known order. The committed WHDR was measured with the committed weights."""
    spec = load_spec(root / "models/portrait")
    labels = load_labels(spec)
    assert labels is not None and len(labels.all) == 64
    assert sum(path.stat().st_size for path in (spec.folder / "labels").iterdir()) < 4e6
    assert min(order_test(label).pairs.first.size for label in labels.all) > PAIRS / 2
    reference = read_reference(spec, labels, spec.size, committed_folder(spec))
    assert 0 < np.mean(list(reference.values())) < 0.3 and max(reference.values()) < 0.7
