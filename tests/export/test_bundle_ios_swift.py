"""The Swift package on Linux: its plain Swift against Python, the rest against stubs of Apple's modules."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from export.bundle.build import write_package
from export.bundle.ios.generator import SOURCES, SwiftPackage
from export.bundle.plan import make_plan
from hydramobile.artifact import Port, read_artifact
from hydramobile.ports import from_file, to_file
from hydramobile.preprocess import to_tensor
from support.fixtures import Artifacts
from support.swift.compiler import STRICT, Toolchain, run
from support.swift.package import (
    PROBES,
    build_package,
    build_stubs,
    check_sample,
    check_swift_6,
    check_tests,
    run_tests,
    swift_files,
)
from support.swift.userland import absent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(absent() is not None, reason=absent() or "the Swift compiler is here"),
]
Array = NDArray[np.uint8]
Probe = Callable[..., list[str]]
SIZES = (
    *((1, 1), (1, 7), (9, 1), (2, 3), (37, 21), (21, 37), (64, 48), (192, 256), (193, 257), (100, 1000), (1000, 100)),
    *((3, 900), (900, 3), (500, 333), (333, 500), (640, 480), (481, 641), (1023, 767), (1500, 40), (1920, 1080)),
)
# What each EXIF orientation does, as Pillow's exif_transpose does it.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@pytest.fixture(scope="module")
def toolchain(tmp_path_factory: pytest.TempPathFactory) -> Toolchain:
    return Toolchain.find(tmp_path_factory.mktemp("modules"))


@pytest.fixture(scope="module")
def stubs(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return build_stubs(toolchain, tmp_path_factory.mktemp("stubs"))


@pytest.fixture(scope="module")
def probe(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """`probe(line, ...)` runs commands of tests/support/swift/probes/CoreProbe.swift; returns the lines it prints."""
    folder = tmp_path_factory.mktemp("core")
    flags = (*STRICT, "-package-name", "hydra", "-O")
    core = toolchain.build("HydraCore", swift_files(SOURCES / "Core"), folder, (*flags, "-parse-as-library"))
    main = toolchain.build("main", [PROBES / "CoreProbe.swift"], folder, flags)
    program = toolchain.link([core, main], folder / "probe")

    def execute(*lines: str) -> list[str]:
        return run([str(program)], text="\n".join(lines)).splitlines()

    return execute


def photo(width: int, height: int, seed: int) -> Image.Image:
    """Return noise over a gradient with hard edges."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    base = np.stack([x * 255 / width, y * 255 / height, ((x // 5 + y // 3) % 2) * 255], axis=-1)
    return Image.fromarray(np.clip(base + random.normal(0, 40, base.shape), 0, 255).astype(np.uint8))


def resized(probe: Probe, folder: Path, image: Image.Image, size: tuple[int, int], orientation: int = 1) -> Array:
    """Return [3, H, W] bytes of the Swift resize. The rows of the source are padded."""
    width, height = size
    rgba = np.asarray(image.convert("RGBA"))
    row = rgba.shape[1] * 4 + 12
    padded = np.full((rgba.shape[0], row), 99, np.uint8)
    padded[:, : rgba.shape[1] * 4] = rgba.reshape(rgba.shape[0], -1)
    padded.tofile(folder / "in")
    line = f"resize {folder}/in {image.width} {image.height} {row} {orientation} {width} {height} {folder}/out"
    assert not probe(line)[0].startswith("error")
    return np.fromfile(folder / "out", np.uint8).reshape(height, width, 4)[..., :3].transpose(2, 0, 1)


@pytest.mark.parametrize("size", [(192, 256), (48, 64), (224, 224)])
def test_the_resize_is_the_contracts(probe: Probe, tmp_path: Path, size: tuple[int, int]) -> None:
    """20 photos: to 1/255 of to_tensor, and to the byte of Pillow's two passes, rows first.

    Pillow 13 resizes the height first where it shrinks much more than the width, which moves last bits.
    """
    for seed, (width, height) in enumerate(SIZES):
        image = photo(width, height, seed)
        actual = resized(probe, tmp_path, image, size)
        contract = to_tensor(image, (size[1], size[0]))[0]
        assert abs(actual / np.float32(255) - contract).max() <= 1.001 / 255, (width, height)
        rows_first = image.resize((size[0], height), Image.Resampling.BILINEAR).resize(size, Image.Resampling.BILINEAR)
        assert np.array_equal(actual, np.asarray(rows_first).transpose(2, 0, 1)), (width, height)


@pytest.mark.parametrize("orientation", TURNS)
def test_orientation_is_undone_before_the_resize(probe: Probe, tmp_path: Path, orientation: int) -> None:
    for seed, (width, height) in enumerate(SIZES[:12]):
        image = photo(width, height, seed)
        actual = resized(probe, tmp_path, image, (24, 32), orientation)
        upright = image.transpose(TURNS[orientation])
        first = upright.resize((24, upright.height), Image.Resampling.BILINEAR)
        expected = np.asarray(first.resize((24, 32), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        assert np.array_equal(actual, expected), (width, height)


def test_half_precision(probe: Probe, tmp_path: Path) -> None:
    bits = np.arange(65536, dtype=np.uint16)
    bits.tofile(tmp_path / "bits")
    expected = bits.view(np.float16).astype(np.float32)
    random = np.random.default_rng(0)
    spread = random.normal(0, 1, 200_000) * 10.0 ** random.integers(-9, 6, 200_000)
    edges = [0, -0.0, 65504, 65519.99, 65520, 1e30, np.inf, -np.inf, np.nan, 2**-24, 2**-25, 2**-14, 1 + 2**-11]
    values = np.concatenate([spread, edges, expected[np.isfinite(expected)] * np.float32(1 + 2**-12)]).astype(
        np.float32
    )
    values.tofile(tmp_path / "values")
    probe(f"floats {tmp_path}/bits {tmp_path}/floats", f"halves {tmp_path}/values {tmp_path}/halves")
    actual = np.fromfile(tmp_path / "floats", np.float32)
    assert np.array_equal(actual, expected, equal_nan=True)
    halves = np.fromfile(tmp_path / "halves", np.float16)
    with np.errstate(over="ignore"):
        wanted = values.astype(np.float16)
    assert np.array_equal(halves, wanted, equal_nan=True)
    assert np.array_equal(
        np.signbit(halves), np.signbit(wanted) & ~np.isnan(values) | np.signbit(halves) & np.isnan(values)
    )


def listed(values: Sequence[int]) -> str:
    return ",".join(map(str, values)) or "-"


PORTS = (
    Port("x", "x", (1, 3, 5, 4), "NCHW", "float16", "NCHW"),
    Port("x", "x", (1, 5, 4, 3), "NHWC", "float32", "NCHW"),
    Port("x", "x", (1, 5, 4, 3), "NHWC", "uint8", "NCHW", scale=255.0),
    Port("x", "x", (2, 7), "any", "int8", scale=12.5, zero_point=-3),
    Port("x", "x", (6,), "any", "int32"),
    Port("x", "x", (), "any", "float32"),
    Port("x", "x", (3, 2, 4), "any", "float64"),
)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("port", PORTS, ids=lambda port: f"{port.dtype}-{port.layout}-{len(port.shape)}")
def test_layouts_strides_and_scales(probe: Probe, tmp_path: Path, port: Port, padding: int) -> None:
    """A tensor of the reference goes to the file's bytes and back as hydramobile.ports has it, rows padded or not."""
    moves = (port.layout, port.reference_layout) == ("NHWC", "NCHW")
    axes = (0, 3, 1, 2) if moves else tuple(range(len(port.shape)))
    reference = np.random.default_rng(1).uniform(0, 1, tuple(port.shape[axis] for axis in axes)).astype(np.float32)
    if port.dtype == "int32":
        reference = (reference * 100).astype(np.int32)
    if port.dtype == "int8":
        reference = (reference * 20 - 10).astype(np.float32)
    stored = to_file(port, reference)
    strides = [1] * len(port.shape)
    for axis in range(len(port.shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * port.shape[axis + 1] + (padding if axis == len(port.shape) - 2 else 0)
    reach = 1 + sum((size - 1) * stride for size, stride in zip(port.shape, strides, strict=True))
    memory = np.zeros(reach, stored.dtype)
    places = np.zeros(port.shape, int)
    for axis, stride in enumerate(strides):
        places += (
            np.arange(port.shape[axis]).reshape([-1 if other == axis else 1 for other in range(len(strides))]) * stride
        )
    memory[places] = stored
    memory.tofile(tmp_path / "memory")
    reference.tofile(tmp_path / "reference")
    form = f"{port.dtype} {listed(port.shape)} {listed(strides)} {listed(axes)} {port.scale} {port.zero_point}"
    printed = probe(
        f"unpack {tmp_path}/memory {form} {tmp_path}/unpacked",
        f"pack {tmp_path}/reference {form} 0 0 {tmp_path}/packed",
    )
    assert printed == []
    unpacked = np.fromfile(tmp_path / "unpacked", np.float32).reshape(reference.shape)
    assert np.array_equal(unpacked, from_file(port, stored).astype(np.float32))
    assert np.array_equal(np.fromfile(tmp_path / "packed", stored.dtype), memory)


def test_bad_tensors_are_named(probe: Probe, tmp_path: Path) -> None:
    np.arange(4, dtype=np.int32).tofile(tmp_path / "ids")
    form = "int32 4 1 0 1 0"
    assert probe(f"pack {tmp_path}/ids int32 5 1 0 1 0 0 0 {tmp_path}/out") == [
        "error: The input x takes 5 elements, not 4."
    ]
    assert probe(f"pack {tmp_path}/ids {form} 0 2 {tmp_path}/out") == [
        "error: The input x takes values from 0 to 2, not 3."
    ]
    (message,) = probe(f"unpack {tmp_path}/ids int32 4 2 0 1 0 {tmp_path}/out")
    assert "has 16 bytes with strides [2] for shape [4]" in message
    (message,) = probe(f"resize {tmp_path}/ids 0 1 0 1 4 4 {tmp_path}/out")
    assert "A picture of 0 x 1 pixels cannot be made." in message


@pytest.mark.parametrize("size", [(64, 48), (7, 5), (300, 400), (1, 1)])
def test_maps_at_another_size(probe: Probe, tmp_path: Path, size: tuple[int, int]) -> None:
    """A map is resized as Pillow resizes floats, and becomes grey by its range or by its own limits."""
    width, height = size
    values = np.random.default_rng(2).normal(0.5, 0.4, (48, 64)).astype(np.float32)
    values.tofile(tmp_path / "map")
    probe(
        f"map {tmp_path}/map 64 48 {width} {height} {tmp_path}/resized",
        f"grey {tmp_path}/map 64 48 0 1 {width} {height} {tmp_path}/ranged",
        f"grey {tmp_path}/map 64 48 0 0 {width} {height} {tmp_path}/open",
    )
    expected = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))
    actual = np.fromfile(tmp_path / "resized", np.float32).reshape(height, width)
    assert abs(actual - expected).max() < 1e-5
    low, high = values.min(), values.max()
    for name, wanted in (("ranged", actual), ("open", (actual - low) / (high - low))):
        grey = np.fromfile(tmp_path / name, np.uint8).reshape(height, width)
        assert abs(grey - np.clip(wanted, 0, 1) * 255).max() <= 0.501


def test_a_photo_of_twelve_megapixels_takes_milliseconds(probe: Probe, tmp_path: Path) -> None:
    """Print milliseconds of 4000 x 3000 to 192 x 256, upright and turned. A test may not depend on them."""
    np.random.default_rng(3).integers(0, 256, (3000, 4000, 4), np.uint8).tofile(tmp_path / "in")
    for orientation in (1, 6):
        lines = probe(*[f"resize {tmp_path}/in 4000 3000 16000 {orientation} 192 256 {tmp_path}/out"] * 5)
        wall, processors = (min(times) for times in zip(*(map(float, line.split()) for line in lines), strict=True))
        print(f"orientation {orientation}: {wall:.1f} ms, of all processors {processors:.1f} ms")


def package_of(artifact: Path, folder: Path) -> Path:
    plan = make_plan(artifact, read_artifact(artifact), (), "never judged")
    files = SwiftPackage().render([plan])
    write_package(folder, {path: text.encode() if isinstance(text, str) else text for path, text in files.items()})
    return folder


@pytest.mark.parametrize(("model", "recipe"), [("mixed", "float16"), ("classifier", "float32")])
def test_the_package_runs(
    toolchain: Toolchain, stubs: tuple[Path, ...], artifact: Artifacts, tmp_path: Path, model: str, recipe: str
) -> None:
    """The whole package: complete checks of concurrency, its own tests, and its errors, against the stubs."""
    package = package_of(artifact(model, "coreml", recipe), tmp_path / "package")
    built = build_package(toolchain, package, tmp_path / "build", stubs[0].parent)
    check_tests(toolchain, package, built, stubs[0].parent)
    check_sample(toolchain, package, built, stubs[0].parent)
    check_swift_6(toolchain, package, built, stubs[0].parent)
    text = run_tests(toolchain, package, built, stubs)
    assert "Executed 28 tests, with 0 failures" in text


@pytest.mark.parametrize(("model", "recipe"), [("mixed", "float16"), ("classifier", "float32")])
def test_usage_is_swift(
    toolchain: Toolchain, stubs: tuple[Path, ...], artifact: Artifacts, tmp_path: Path, model: str, recipe: str
) -> None:
    usage = (artifact(model, "coreml", recipe) / "USAGE.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```swift\n(.*?)```", usage, re.DOTALL)
    (tmp_path / "Usage.swift").write_text(code, encoding="utf-8")
    flags = ["-I", str(stubs[0].parent), "-parse-as-library", *STRICT]
    toolchain.frontend(["-typecheck"], "Usage", [tmp_path / "Usage.swift"], flags)


def test_the_manifest_is_swift_5_9(toolchain: Toolchain, artifact: Artifacts, tmp_path: Path) -> None:
    package = package_of(artifact("classifier", "coreml", "float32"), tmp_path / "package")
    flags = ["-I", str(toolchain.swift / "pm/ManifestAPI"), "-package-description-version", "5.9.0", *STRICT[:2]]
    toolchain.frontend(["-typecheck"], "Manifest", [package / "Package.swift"], flags)
