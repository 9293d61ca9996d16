"""Goldens: keyed by their inputs, equal bytes for equal content, and readable without torch."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hydramobile.errors import StageError
from hydramobile.goldens import (
    Golden,
    build_folder,
    committed_folder,
    golden_key,
    golden_path,
    halve,
    load_golden,
    load_goldens,
    make_golden,
    refresh,
    save_golden,
)
from hydramobile.loader import load_modules
from hydramobile.samples import Sample, load_samples
from hydramobile.spec import ModelSpec, load_spec


@pytest.fixture(scope="module")
def spec(root: Path) -> ModelSpec:
    return load_spec(root / "tests/nets/mixed")


@pytest.fixture(scope="module")
def sample(spec: ModelSpec) -> Sample:
    return load_samples(spec, "judge")[0]


@pytest.fixture(scope="module")
def golden(spec: ModelSpec, sample: Sample) -> Golden:
    return make_golden(spec, load_modules(spec), sample, spec.size)


def test_holds_every_tensor(golden: Golden) -> None:
    assert set(golden.inputs) == {"image"}
    assert set(golden.tensors) == {"local", "context", "front", "back"}
    assert golden.tensors["front"].shape == (1, 1, 64, 48)
    assert golden.boundary["paint"]["front"] is golden.tensors["front"]


def test_round_trip(spec: ModelSpec, sample: Sample, golden: Golden, tmp_path: Path) -> None:
    save_golden(tmp_path / "a.npz", golden, golden_key(spec, sample, spec.size))
    found = load_golden(tmp_path / "a.npz", spec, sample, spec.size)
    assert found.feature_dtype == "float32"
    for name, value in {**golden.inputs, **golden.tensors}.items():
        assert np.array_equal(found.value(name), value)
        assert found.value(name).dtype == value.dtype


def test_bytes_depend_on_content_alone(spec: ModelSpec, sample: Sample, golden: Golden, tmp_path: Path) -> None:
    key = golden_key(spec, sample, spec.size)
    copied = replace(golden, tensors={name: value.copy(order="F") for name, value in golden.tensors.items()})
    save_golden(tmp_path / "a.npz", golden, key)
    save_golden(tmp_path / "b.npz", copied, key)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_committed_features_are_float16_and_heads_are_judged_on_them(
    spec: ModelSpec, sample: Sample, golden: Golden, tmp_path: Path
) -> None:
    modules = load_modules(spec)
    half = halve(spec, modules, golden)
    save_golden(tmp_path / "a.npz", half, golden_key(spec, sample, spec.size))

    found = load_golden(tmp_path / "a.npz", spec, sample, spec.size)

    assert found.feature_dtype == "float16"
    assert found.tensors["local"].dtype == found.tensors["context"].dtype == np.float16
    assert found.tensors["front"].dtype == np.float32
    assert np.array_equal(found.tensors["front"], golden.tensors["front"])
    import torch

    with torch.no_grad():
        front, back = modules["paint"](
            *(torch.from_numpy(found.tensors[name].astype(np.float32)) for name in ("local", "context"))
        )
    assert np.array_equal(found.boundary["paint"]["front"], front.numpy())
    assert np.array_equal(found.boundary["paint"]["back"], back.numpy())
    assert 0 < np.abs(front.numpy() - golden.tensors["front"]).max() < 1e-2


def test_stale(spec: ModelSpec, sample: Sample, golden: Golden, tmp_path: Path) -> None:
    save_golden(tmp_path / "a.npz", golden, golden_key(spec, sample, spec.size))
    others = [
        (replace(spec, sha256="0" * 64), sample, spec.size),
        (replace(spec, weights_sha256="0" * 64), sample, spec.size),
        (spec, replace(sample, sha256="0" * 64), spec.size),
        (spec, sample, (48, 64)),
    ]
    for case in others:
        with pytest.raises(StageError, match=r"is stale: .*; refresh it with: make goldens MODEL="):
            load_golden(tmp_path / "a.npz", *case)


@pytest.mark.parametrize("keep", [0, 10, 2000])
def test_damaged(spec: ModelSpec, sample: Sample, golden: Golden, tmp_path: Path, keep: int) -> None:
    save_golden(tmp_path / "a.npz", golden, golden_key(spec, sample, spec.size))
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:keep])
    with pytest.raises(StageError, match=r"is not readable: .*make goldens"):
        load_golden(tmp_path / "a.npz", spec, sample, spec.size)


def test_flipped_bit(spec: ModelSpec, sample: Sample, golden: Golden, tmp_path: Path) -> None:
    save_golden(tmp_path / "a.npz", golden, golden_key(spec, sample, spec.size))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(StageError, match="is not readable"):
        load_golden(tmp_path / "a.npz", spec, sample, spec.size)


@pytest.mark.parametrize("dropped", ["tensor/front.npy", "input/image.npy", "tensor/local.npy"])
def test_a_golden_without_a_tensor(
    spec: ModelSpec, sample: Sample, golden: Golden, tmp_path: Path, dropped: str
) -> None:
    save_golden(tmp_path / "a.npz", golden, golden_key(spec, sample, spec.size))
    with zipfile.ZipFile(tmp_path / "a.npz") as old, zipfile.ZipFile(tmp_path / "b.npz", "w") as new:
        for name in old.namelist():
            if name != dropped:
                new.writestr(name, old.read(name))
    if dropped.startswith("input"):
        assert np.array_equal(
            load_golden(tmp_path / "b.npz", spec, sample, spec.size).inputs["image"], golden.value("image")
        )
    else:
        with pytest.raises(StageError, match="is not readable"):
            load_golden(tmp_path / "b.npz", spec, sample, spec.size)


def test_goldens_of_private_photos_hold_no_photo(spec: ModelSpec, tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    (tmp_path / "mine").mkdir()
    Image.fromarray(noise).save(tmp_path / "mine/me.png")
    (private,) = (sample for sample in load_samples(spec, "judge", tmp_path / "mine") if sample.private)

    assert refresh(spec, [private], spec.size, tmp_path / "goldens") == 1

    path = golden_path(tmp_path / "goldens", private)
    with zipfile.ZipFile(path) as archive:
        assert not [name for name in archive.namelist() if name.startswith("input/")]
    assert load_golden(path, spec, private, spec.size).inputs["image"].shape == (1, 3, 64, 48)
    assert str(tmp_path).encode() not in path.read_bytes()


def test_refresh_computes_what_is_missing_or_stale(spec: ModelSpec, tmp_path: Path) -> None:
    samples = load_samples(spec, "judge")
    folder = build_folder(tmp_path, spec)
    assert refresh(spec, samples, spec.size, folder) == len(samples)
    assert refresh(spec, samples, spec.size, folder) == 0
    golden_path(folder, samples[0]).unlink()
    golden_path(folder, samples[1]).write_bytes(b"damaged")
    assert refresh(spec, samples, spec.size, folder) == 2
    assert [golden.sample for golden in load_goldens(spec, samples, spec.size, tmp_path)] == [s.name for s in samples]


def test_missing_goldens_name_the_command(spec: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"no golden for sample 'seeded-judge-0' at .*; refresh it with: make goldens"):
        load_goldens(spec, load_samples(spec, "judge"), spec.size, tmp_path)


def test_a_net_that_makes_nan(spec: ModelSpec, sample: Sample) -> None:
    modules = dict(load_modules(spec))
    modules["stem"].get_parameter("layers.0.bias")[0] = float("inf")
    with pytest.raises(StageError, match=r"'local' holds NaN on sample 'seeded-judge-0'"):
        make_golden(spec, modules, sample, spec.size)


def test_the_portraits_committed_goldens(root: Path) -> None:
    spec = load_spec(root / "models/portrait")
    folder: Path = committed_folder(spec)
    own: dict[Path, Sample] = {golden_path(folder, sample): sample for sample in load_samples(spec, "judge")}
    files = sorted(folder.glob("*.npz"))
    assert len(files) == 2
    assert sum(path.stat().st_size for path in files) <= 4e6
    for path in files:
        found = load_golden(path, spec, own[path], spec.size)
        assert {value.dtype for name, value in found.tensors.items() if name in spec.edges()} == {np.dtype(np.float16)}
