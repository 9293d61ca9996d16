"""Samples that are arrays or sound become the model's inputs; arrays that do not fit are named."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from hydramobile.errors import StageError
from hydramobile.samples import folder_samples, load_samples, sample_inputs
from hydramobile.spec import ModelSpec, load_spec

TOML = """
schema = 1
name = "sound"
version = "1"
factory = "net:build"
weights = {{ path = "w.safetensors", sha256 = "{sha}" }}
[tensors.sound]
shape = [1, 1, 8]
range = [-1, 1]
[tensors.ids]
shape = [2]
dtype = "int64"
range = [0, 9]
[modules.net]
inputs = ["sound", "ids"]
outputs = ["y"]
"""


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    (tmp_path / "model.toml").write_text(TOML.format(sha="0" * 64), encoding="utf-8")
    return load_spec(tmp_path)


def read(spec: ModelSpec, path: Path) -> dict[str, np.ndarray]:
    (sample,) = [sample for sample in folder_samples(path.parent, "judge") if sample.path == path]
    return sample_inputs(spec, sample, spec.size)


def sound(path: Path, channels: int, width: int, frames: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(16000)
        file.writeframes(frames)
    return path


def test_a_model_without_photos_has_the_size_1x1_and_seeded_samples(spec: ModelSpec) -> None:
    assert spec.size == (1, 1)
    first, *_ = load_samples(spec, "judge")
    assert sample_inputs(spec, first, spec.size)["sound"].shape == (1, 1, 8)


@pytest.mark.parametrize(
    ("width", "frames", "expected"),
    [
        (2, np.array([0, 16384, -32768, 32767], "<i2").tobytes(), [0, 0.5, -1, 32767 / 32768]),
        (1, bytes([128, 192, 0, 255]), [0, 0.5, -1, 127 / 128]),
        (3, bytes([0, 0, 0, 0, 0, 0x40, 0, 0, 0x80, 0xFF, 0xFF, 0x7F]), [0, 0.5, -1, 1 - 2**-23]),
        (4, np.array([0, 2**30, -(2**31), 2**31 - 1], "<i4").tobytes(), [0, 0.5, -1, 1]),
    ],
)
def test_sound_of_all_widths(spec: ModelSpec, tmp_path: Path, width: int, frames: bytes, expected: list[float]) -> None:
    inputs = read(spec, sound(tmp_path / "samples" / "a.wav", 1, width, frames))
    np.testing.assert_allclose(inputs["sound"][0, 0], [*expected, 0, 0, 0, 0], atol=1e-7)
    assert inputs["sound"].dtype == np.float32 and inputs["ids"].shape == (2,), "the other input is seeded"


def test_two_channels_become_one_and_a_long_sound_is_cut(spec: ModelSpec, tmp_path: Path) -> None:
    frames = np.tile(np.array([16384, 0], "<i2"), 20).tobytes()
    assert (read(spec, sound(tmp_path / "samples" / "a.wav", 2, 2, frames))["sound"] == 0.25).all()


def test_arrays_by_name(spec: ModelSpec, tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    folder.mkdir()
    np.savez(folder / "a.npz", sound=np.full(8, 0.5), ids=np.array([3, 9], np.int32))
    np.save(folder / "b.npy", np.full((1, 8), -0.5, np.float32))
    both = read(spec, folder / "a.npz")
    assert (both["sound"] == 0.5).all() and both["ids"].tolist() == [3, 9] and both["ids"].dtype == np.int64
    assert (read(spec, folder / "b.npy")["sound"] == -0.5).all()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"sound": np.zeros(9)}, r"has shape \[9\], the model takes \[1, 1, 8\]"),
        ({"sound": np.full(8, 2.0)}, r"lies in \[2, 2\], its range is \[-1, 1\]"),
        ({"sound": np.full(8, np.nan)}, "NaN"),
        ({"ids": np.zeros(2)}, "has dtype float64, the model takes int64"),
        ({"other": np.zeros(2)}, "'other', which is no input"),
        ({"sound": np.array([Path()] * 8, object)}, "is no readable .npz file of numbers"),
    ],
)
def test_what_does_not_fit_is_named(
    spec: ModelSpec, tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    (tmp_path / "samples").mkdir()
    np.savez(tmp_path / "samples" / "a.npz", **arrays)  # type: ignore[arg-type]  # arrays by name
    with pytest.raises(StageError, match=message):
        read(spec, tmp_path / "samples" / "a.npz")


def test_a_damaged_sound_is_named(spec: ModelSpec, tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "a.wav").write_bytes(b"RIFFxxxx")
    with pytest.raises(StageError, match=r"a\.wav is no readable \.wav file"):
        read(spec, tmp_path / "samples" / "a.wav")
