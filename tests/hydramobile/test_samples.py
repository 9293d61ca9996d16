"""Sample sets: which photos may judge and calibrate, and the errors for a bad folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hydramobile.errors import HydraError, StageError, UsageError
from hydramobile.samples import load_samples, record_calibration, refuse_calibrated, sample_inputs, seeded_input
from hydramobile.spec import load_spec

WriteModel = Callable[..., Path]


def photo(path: Path, shade: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 16), (shade, 80, 160)).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def listing(*rows: tuple[str, str, str]) -> str:
    row = '[[sample]]\nfile = "{}"\nsplit = "{}"\nsha256 = "{}"\nsource = "drawn"\nlicense = "CC0-1.0"\n'
    return "\n".join(row.format(*fields) for fields in rows)


@pytest.fixture
def with_samples(write_model: WriteModel) -> Path:
    """Write the minimal model with one photo per split."""
    folder = write_model()
    rows = [(f"{split}.png", split, photo(folder / f"samples/{split}.png", 40 * i)) for i, split in enumerate(SPLITS)]
    (folder / "samples/samples.toml").write_text(listing(*rows))
    return folder


SPLITS = ("judge", "calibrate")


def test_splits(with_samples: Path) -> None:
    spec = load_spec(with_samples)
    assert [sample.name for sample in load_samples(spec, "judge")] == ["judge"]
    assert [sample.name for sample in load_samples(spec, "calibrate")] == ["calibrate"]
    (image,) = sample_inputs(spec, load_samples(spec, "judge")[0], (8, 6)).values()
    assert image.shape == (1, 3, 8, 6)
    assert image[0, :, 0, 0] == pytest.approx(np.array([0, 80, 160]) / 255, abs=1e-6)


def test_the_samples_of_a_neighbour(with_samples: Path) -> None:
    """A smaller variant is judged and calibrated with the photos of the model beside it."""
    other = with_samples.parent / "variant"
    other.mkdir()
    text = (with_samples / "model.toml").read_text()
    (other / "model.toml").write_text(f'samples_of = "{with_samples.name}"\n{text}')
    spec = load_spec(other)
    for split in SPLITS:
        assert load_samples(spec, split) == load_samples(load_spec(with_samples), split)
    (other / "model.toml").write_text(f'samples_of = "nobody"\n{text}')
    with pytest.raises(StageError, match=r"takes the samples of 'nobody', but .* does not exist"):
        load_samples(load_spec(other), "judge")
    (other / "model.toml").write_text(f'samples_of = "../elsewhere"\n{text}')
    with pytest.raises(StageError, match="elsewhere"):
        load_spec(other)


def test_a_photo_in_both_splits(with_samples: Path) -> None:
    digest = photo(with_samples / "samples/again.png", 0)
    path = with_samples / "samples/samples.toml"
    path.write_text(path.read_text() + listing(("again.png", "calibrate", digest)))
    with pytest.raises(StageError, match="judge is in both splits"):
        load_samples(load_spec(with_samples), "judge")


@pytest.mark.parametrize(("split", "name"), [("judge", "calibrate.png"), ("calibrate", "judge.png")])
def test_a_folder_with_a_photo_of_the_other_split(with_samples: Path, tmp_path: Path, split: str, name: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/renamed.png").write_bytes((with_samples / "samples" / name).read_bytes())
    with pytest.raises(StageError, match="has it in the other split"):
        load_samples(load_spec(with_samples), split, tmp_path / "mine")


def test_photos_of_a_folder_are_private(with_samples: Path, tmp_path: Path) -> None:
    photo(tmp_path / "mine/b.png", 200)
    photo(tmp_path / "mine/a.png", 210)
    (tmp_path / "mine/notes.txt").write_text("not a photo")
    found = load_samples(load_spec(with_samples), "judge", tmp_path / "mine")
    assert [(sample.name, sample.private) for sample in found] == [("judge", False), ("a", True), ("b", True)]


@pytest.mark.parametrize("content", [{}, {"notes.txt": "x", "table.csv": "1,2"}])
def test_a_folder_without_photos(with_samples: Path, tmp_path: Path, content: dict[str, str]) -> None:
    (tmp_path / "mine").mkdir()
    for name, text in content.items():
        (tmp_path / "mine" / name).write_text(text)
    with pytest.raises(UsageError, match=r"holds no photos \(looked for: \.heic"):
        load_samples(load_spec(with_samples), "judge", tmp_path / "mine")


def test_no_such_folder(with_samples: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder of samples at"):
        load_samples(load_spec(with_samples), "judge", tmp_path / "none")


def test_a_text_file_named_like_a_photo(with_samples: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.jpg").write_text("not a photo")
    spec = load_spec(with_samples)
    sample = load_samples(spec, "judge", tmp_path / "mine")[-1]
    with pytest.raises(HydraError, match=r"a\.jpg"):
        sample_inputs(spec, sample, spec.size)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("gone.png", "judge", "0" * 64)], "does not exist"),
        ([("judge.png", "judge", "0" * 64)], "does not match its sha256"),
        ([("../model.toml", "judge", "0" * 64)], "must be relative and stay inside"),
        ([("judge.png", "jugde", "0" * 64)], "did you mean 'judge'"),
        ([], "'sample' is missing"),
    ],
)
def test_a_bad_list(with_samples: Path, rows: list[tuple[str, str, str]], message: str) -> None:
    (with_samples / "samples/samples.toml").write_text(listing(*rows))
    with pytest.raises(StageError) as caught:
        load_samples(load_spec(with_samples), "judge")
    assert message in str(caught.value)


def test_a_model_without_samples_gets_seeded_inputs(write_model: WriteModel) -> None:
    spec = load_spec(write_model())
    samples = load_samples(spec, "judge")
    first, again, other = (
        sample_inputs(spec, sample, spec.size)["image"].astype(np.float32)
        for sample in (samples[0], samples[0], samples[1])
    )
    assert (first == again).all()
    assert np.abs(first - other).max() > 0.3, "inputs must differ, or nothing is proved"
    assert (np.round(first * 255) == first * np.float32(255)).all(), "photos are 8-bit"
    assert {s.sha256 for s in samples}.isdisjoint(s.sha256 for s in load_samples(spec, "calibrate"))


def test_seeded_inputs_fit_their_tensor(write_model: WriteModel) -> None:
    text = ('kind = "rgb-photo"', 'dtype = "int64"\nkind = "tensor"')
    tensor = load_spec(write_model(text, ("range = [0, 1]\ndtype", "range = [0, 9]\ndtype"))).tensors["image"]
    value = seeded_input(tensor, (8, 6), "seed")
    assert value.dtype == np.int64
    assert value.min() >= 0
    assert value.max() <= 9


def test_a_photo_that_calibrated_an_artifact_does_not_judge_it(write_model: WriteModel, tmp_path: Path) -> None:
    samples = load_samples(load_spec(write_model()), "judge")
    record_calibration(tmp_path, "litert/w8a8", samples[:1])
    record_calibration(tmp_path, "onnx/w8a8", samples[2:3])
    refuse_calibrated(tmp_path, {"litert/w8a8": ()}, samples[1:])
    refuse_calibrated(tmp_path, {"litert/w8": ()}, samples)
    with pytest.raises(StageError, match=r"seeded-judge-0 calibrated litert/w8a8 .* proves nothing"):
        refuse_calibrated(tmp_path, {"litert/w8": (), "litert/w8a8": ()}, samples)
    record_calibration(tmp_path, "litert/w8a8", ())
    refuse_calibrated(tmp_path, {"litert/w8a8": ()}, samples)


def test_the_portraits_samples(root: Path) -> None:
    spec = load_spec(root / "models/portrait")
    judge, calibrate = load_samples(spec, "judge"), load_samples(spec, "calibrate")
    assert len(judge) >= 12
    assert len(calibrate) >= 12
    assert {s.sha256 for s in judge}.isdisjoint(s.sha256 for s in calibrate)
    assert all(sample.license and sample.source for sample in (*judge, *calibrate))


@pytest.mark.parametrize("special", ["pipe", "device", "folder"])
def test_photos_are_regular_files(tmp_path: Path, special: str) -> None:
    """A pipe without a writer, or a link to an endless device, would never be read to its end."""
    from hydramobile.preprocess import load_photo
    from hydramobile.samples import folder_samples

    path = tmp_path / "x.jpg"
    if special == "pipe":
        os.mkfifo(path)
    elif special == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(UsageError, match=r"x\.jpg is no regular file"):
        folder_samples(tmp_path, "judge")
    with pytest.raises(StageError, match=r"x\.jpg is no regular file"):
        load_photo(path)


def test_only_formats_of_photos_are_opened(tmp_path: Path) -> None:
    """Pillow opens EPS by running a PostScript interpreter."""
    from hydramobile.preprocess import load_photo

    (tmp_path / "x.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(StageError, match="is not an image that can be read"):
        load_photo(tmp_path / "x.jpg")


@pytest.mark.parametrize("content", ["", "[]", '{"a": 3}', '{"a": [1]}'])
def test_a_damaged_record_of_calibration(tmp_path: Path, write_model: WriteModel, content: str) -> None:
    """It is set aside; the hashes that the artifact itself names keep the guard."""
    samples = load_samples(load_spec(write_model()), "judge")
    (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(StageError, match="proves nothing"):
        refuse_calibrated(tmp_path, {"litert/w8a8": [samples[0].sha256]}, samples)
    assert (tmp_path / "calibration.json.broken").read_text() == content
    (tmp_path / "calibration.json").write_text(content)
    record_calibration(tmp_path, "litert/w8a8", samples[:1])
    with pytest.raises(StageError, match="proves nothing"):
        refuse_calibrated(tmp_path, {"litert/w8a8": ()}, samples)
