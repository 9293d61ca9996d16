"""Packages for Android, compiled by kotlinc against stubs and run on the JVM: against Python, and on LiteRT itself.

The stubs of Android keep pixels in arrays; the stub of LiteRT passes tensors to LiteRT's Python package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from export.bundle.android.generator import GradleModule
from export.bundle.build import BundleRequest, build_bundle, write_package
from export.target import Emitted, load_target
from hydramobile.artifact import Port, read_artifact
from hydramobile.ports import from_file, to_file
from hydramobile.preprocess import load_photo, to_range, to_tensor
from support.fixtures import Artifacts, ModelDir
from support.kotlin import STUBS, Compiled, compile_packages, run_probe, run_tests, unavailable
from support.odd_net import ENTRIES, PLAIN, odd_plan

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "everything is here"),
]
# Sources of 20 photos: odd sizes, extreme aspects, larger and smaller than the net's input on either side.
SIZES = (
    (1, 1), (1, 700), (900, 1), (2, 3), (3, 2), (7, 5), (48, 64), (191, 255), (192, 256), (193, 257), (192, 1000),
    (1000, 256), (640, 480), (480, 640), (1023, 767), (1777, 31), (31, 1777), (2048, 1536), (97, 1301), (4032, 3024),
)  # fmt: skip
TARGET = (192, 256)
PACKAGES = {"portrait": "PortraitHydra", "mixed": "MixedHydra", "odd": "OdDNameHydra", "plain": "PlainNet"}


@pytest.fixture(scope="module")
def packages(artifact: Artifacts, model_dir: ModelDir, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folders of packages: the portrait, a net with a chain of three steps, and two that nobody exported."""
    home = tmp_path_factory.mktemp("packages")
    for model, recipe in (("portrait", "float16"), ("mixed", "float32")):
        out = artifact(model, "litert", recipe).parents[2]
        build_bundle(BundleRequest("android", model_dir(model), recipe, out, home / model, unproven=True))
    sealed = read_artifact(artifact("portrait", "litert", "float16"))
    for name, entries in (("odd", ENTRIES), ("plain", PLAIN)):
        files = GradleModule().render([odd_plan(sealed, home / f"{name}-source", entries)])
        contents = {path: item.encode() if isinstance(item, str) else item for path, item in files.items()}
        write_package(home / name, contents)
    return {name: home / name for name in PACKAGES}


@pytest.fixture(scope="module")
def compiled(packages: dict[str, Path], artifact: Artifacts, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Compile all of them, their tests and samples, and the code of USAGE.md. A warning of the compiler is an error."""
    home = tmp_path_factory.mktemp("kotlin")
    entries = read_artifact(artifact("portrait", "litert", "float16")).entries
    text = load_target("litert").usage(Emitted(entries, {"litert": "2.10.0"}))
    (code,) = re.findall(r"```kotlin\n(.*?)```", text, re.DOTALL)
    (home / "Usage.kt").write_text(code)
    extra = [home / "Usage.kt", STUBS / "kotlin/UsageTest.kt", STUBS / "kotlin/PortraitScenario.kt"]
    return compile_packages(list(packages.values()), home / "classes", extra)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a picture of 3 x 2 pixels."""
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 14).save(path)
    return path


def classes(name: str, *more: str) -> list[str]:
    package = f"hydramobile.{PACKAGES[name].lower()}"
    return [f"{package}.{item}" for item in ("GoldenTest", *more)]


def test_the_portrait_runs_in_litert_and_keeps_its_promises(
    compiled: Compiled, packages: dict[str, Path], photo: Path
) -> None:
    tests = classes("portrait", "PortraitHydraTest", "PortraitScenario")
    passed = run_tests(compiled, packages["portrait"], tests, f"-Dstub.photo={photo}")
    assert {"everySignatureGivesItsGolden", "pixelsGiveTheGolden", "aDelegateWithoutMemoryFallsBackInTheCall"} <= {
        *passed
    }
    assert len(passed) == 21


def test_a_chain_of_steps_runs_in_litert(compiled: Compiled, packages: dict[str, Path]) -> None:
    passed = run_tests(compiled, packages["mixed"], classes("mixed", "MixedHydraTest"))
    assert {"everySignatureGivesItsGolden", "pixelsGiveTheGolden", "thePhotoIsPackedAsTheNetWasJudged"} <= {*passed}


def test_the_golden_reader_reads_every_dtype(compiled: Compiled, packages: dict[str, Path]) -> None:
    assert "everyGoldenFileFitsItsPort" in run_tests(compiled, packages["odd"], classes("odd"))


def test_the_code_of_usage_checks_its_golden(compiled: Compiled, artifact: Artifacts) -> None:
    folder = artifact("portrait", "litert", "float16")
    assert len(run_tests(compiled, folder, ["UsageTest"])) == 2


def words_of(image: Image.Image) -> NDArray[Any]:
    """Return the pixels as Android's ARGB words."""
    bgra = np.asarray(image.convert("RGBA"))[..., [2, 1, 0, 3]]
    return np.ascontiguousarray(bgra).view("<u4")


def pictures(folder: Path) -> Iterator[tuple[str, Image.Image, int]]:
    """Yield photos with their EXIF orientation: all sizes upright, one turned in all ways, and one with alpha."""
    rng = np.random.default_rng(7)
    for width, height in SIZES:
        coarse = Image.fromarray(rng.integers(0, 256, (height // 9 + 1, width // 9 + 1, 3), np.uint8))
        noise = rng.integers(-20, 21, (height, width, 3))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int64)
        yield f"{width}x{height}", Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8)), 1
    for exif in range(1, 9):
        for size in ((301, 203), (90, 61)):
            yield f"exif{exif}-{size[0]}", Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8)), exif
    yield "alpha", Image.fromarray(rng.integers(0, 256, (300, 231, 4), np.uint8)), 1


def test_photos_are_resized_to_the_contract(compiled: Compiled, packages: dict[str, Path], tmp_path: Path) -> None:
    """Bytes differ by 1 at most: Pillow 13 resizes the columns of some tall photos first. Wide ones are the same."""
    expected, commands = {}, []
    for name, image, orientation in pictures(tmp_path):
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(tmp_path / f"{name}.png", exif=exif)
        tensor = to_tensor(load_photo(tmp_path / f"{name}.png"), TARGET[::-1])
        same = orientation == 1 and image.width * TARGET[1] >= image.height * TARGET[0]
        expected[name] = (np.round(tensor[0].transpose(1, 2, 0) * 255).astype(int), same)
        words_of(image).tofile(tmp_path / f"{name}.in")
        transparent = str(image.mode == "RGBA").lower()
        size = f"{image.width} {image.height} {transparent} {orientation} {TARGET[0]} {TARGET[1]}"
        commands.append(f"resize {tmp_path}/{name}.in {size} {tmp_path}/{name}.out")
    run_probe(compiled, packages["portrait"], commands)
    assert len(expected) == len(SIZES) + 17
    for name, (right, same) in expected.items():
        actual = np.fromfile(tmp_path / f"{name}.out", np.uint8).reshape(right.shape)
        assert np.abs(actual - right).max() <= (0 if same else 1), name


def spelled(port: Port) -> str:
    low, high = port.range or ("NaN", "NaN")
    shape = "x".join(map(str, port.shape))
    order = "last" if port.layout == "NHWC" else "first"
    return f"{port.dtype}:{order}:{shape}:{port.scale}:{port.zero_point}:{low}:{high}"


PHOTO = Port("x", "x", (1, 5, 4, 3), "NHWC", "float32", "NCHW", (0.0, 1.0), "rgb-photo")
PHOTOS = (
    PHOTO,
    replace(PHOTO, range=None),
    replace(PHOTO, range=(-1.0, 1.0)),
    replace(PHOTO, range=(0.0, 255.0)),
    replace(PHOTO, range=(-2.1, 2.64), layout="NCHW", shape=(1, 3, 5, 4)),
    replace(PHOTO, dtype="uint8", scale=255.0),
    replace(PHOTO, dtype="int8", scale=255.0, zero_point=-128),
    replace(PHOTO, dtype="int8", scale=60.0, zero_point=3, range=(-1.0, 1.0), layout="NCHW", shape=(1, 3, 5, 4)),
)


def test_photos_are_packed_as_in_python(compiled: Compiled, packages: dict[str, Path], tmp_path: Path) -> None:
    photo = np.random.default_rng(3).integers(0, 256, (5, 4, 3), np.uint8)
    photo.tofile(tmp_path / "photo")
    commands = [f"pack {spelled(port)} {tmp_path}/photo {tmp_path}/{index}" for index, port in enumerate(PHOTOS)]
    run_probe(compiled, packages["portrait"], commands)
    reference = (photo.astype(np.float32) / np.float32(255)).transpose(2, 0, 1)[None]
    for index, port in enumerate(PHOTOS):
        expected = to_file(port, to_range(reference, port.range))
        actual = np.fromfile(tmp_path / str(index), port.dtype).reshape(port.shape)
        np.testing.assert_allclose(
            actual, expected, rtol=0, atol=1e-6 * float(np.abs(expected).max()), err_msg=str(port)
        )


TENSOR = Port("x", "x", (2, 3), "any", "float32")
TENSORS = (
    TENSOR,
    replace(TENSOR, dtype="int8", scale=20.0, zero_point=-3),
    replace(TENSOR, dtype="uint8", scale=255.0),
    replace(TENSOR, dtype="float32", scale=0.5, zero_point=2.0),
    replace(TENSOR, dtype="int32"),
    replace(TENSOR, dtype="int64"),
    replace(TENSOR, dtype="bool"),
    replace(TENSOR, shape=()),
)


def test_tensors_are_unpacked_and_packed_as_in_python(
    compiled: Compiled, packages: dict[str, Path], tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    commands, stored = [], []
    for index, port in enumerate(TENSORS):
        whole = rng.integers(0, 100, port.shape)
        values = np.asarray(whole % 2 if port.dtype == "bool" else whole - (50 if port.dtype != "uint8" else 0))
        stored.append(values.astype(port.dtype))
        stored[-1].tofile(tmp_path / f"{index}.in")
        commands.append(f"unpack {spelled(port)} {tmp_path}/{index}.in {tmp_path}/{index}.out {tmp_path}/{index}.again")
    run_probe(compiled, packages["portrait"], commands)
    for index, port in enumerate(TENSORS):
        actual = np.fromfile(tmp_path / f"{index}.out", "<f4").reshape(port.shape)
        np.testing.assert_array_equal(actual, from_file(port, stored[index]).astype(np.float32))
        again = np.fromfile(tmp_path / f"{index}.again", port.dtype).reshape(port.shape)
        np.testing.assert_array_equal(again, stored[index])


def test_a_map_becomes_a_picture(compiled: Compiled, packages: dict[str, Path], tmp_path: Path) -> None:
    """The picture is the bilinear interpolation of PyTorch with align_corners=False, by the range or the extremes."""
    cases = [(5, 4, 50, 33, (0.0, 1.0)), (5, 4, 3, 2, None), (1, 1, 7, 9, (0.0, 1.0)), (6, 8, 6, 8, (-1.0, 2.0))]
    commands, expected = [], []
    for index, (width, height, to_width, to_height, limits) in enumerate(cases):
        values = torch.randn(1, 1, height, width, generator=torch.Generator().manual_seed(index))
        values.numpy().tofile(tmp_path / f"{index}.in")
        low, high = limits or (float(values.min()), float(values.max()))
        sized = torch.nn.functional.interpolate(values, (to_height, to_width), mode="bilinear", align_corners=False)
        expected.append(((sized[0, 0] - low) / max(high - low, 1e-9) * 255).clamp(0, 255).numpy())
        words = f"{limits[0]} {limits[1]}" if limits else "NaN NaN"
        commands.append(
            f"plane {tmp_path}/{index}.in {width} {height} {words} {to_width} {to_height} {tmp_path}/{index}.out"
        )
    run_probe(compiled, packages["portrait"], commands)
    for index, right in enumerate(expected):
        pixels = np.fromfile(tmp_path / f"{index}.out", "<u4").reshape(right.shape)
        assert np.all(pixels >> 24 == 255)
        assert np.all(pixels & 255 == pixels >> 8 & 255) and np.all(pixels & 255 == pixels >> 16 & 255)
        assert np.abs((pixels & 255).astype(float) - right).max() <= 0.501, index
