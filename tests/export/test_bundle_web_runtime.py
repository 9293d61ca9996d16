"""The runtime of packages for the web, run in Node against goldens made by Python: resize, elements, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hydramobile.artifact import Port
from hydramobile.ports import from_file, to_file
from hydramobile.preprocess import to_range, to_tensor
from support.web_package import run_node

SIZE = (256, 192)
# Width and height of twenty photos: odd, tiny, extreme, smaller and larger than the net's size in one axis or both.
PHOTOS = (
    *((1, 1), (2, 3), (1, 4000), (4000, 1), (5, 900), (100, 2000), (17, 31), (191, 255), (192, 256), (193, 257)),
    *((192, 300), (300, 256), (333, 257), (640, 480), (480, 640), (3000, 7), (500, 3000), (1000, 777), (97, 96)),
    (1500, 2001),
)  # fmt: skip
RESIZE = """
import {resize} from '%s/resize.js';
const made = given.map(({name, width, height}) => {
  const data = new Uint8ClampedArray(readFileSync(name));
  const started = performance.now();
  writeFileSync(`${name}.out`, resize({data, width, height}, 192, 256));
  return performance.now() - started;
});
say(made);
"""


@pytest.fixture
def sources(root: Path) -> Path:
    return root / "export/bundle/web/sources"


def resized(
    folder: Path, sources: Path, photos: list[NDArray[np.uint8]]
) -> tuple[list[NDArray[np.uint8]], list[float]]:
    """Return photos [H, W, 4] as JavaScript resizes them, and the milliseconds."""
    given = []
    for index, photo in enumerate(photos):
        (folder / f"{index}.rgba").write_bytes(photo.tobytes())
        given.append({"name": f"{index}.rgba", "width": photo.shape[1], "height": photo.shape[0]})
    times = run_node(folder, RESIZE % sources.as_uri(), given)
    outputs = [np.fromfile(folder / f"{index}.rgba.out", np.uint8).reshape(*SIZE, 3) for index in range(len(photos))]
    return outputs, times


def test_the_resize_is_pillows_to_the_byte(sources: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    photos = [generator.integers(0, 256, (height, width, 4), dtype=np.uint8) for width, height in PHOTOS]
    photos[13:15] = [np.where(photo < 128, 0, 255).astype(np.uint8) for photo in photos[13:15]]
    outputs, _ = resized(tmp_path, sources, photos)
    for photo, output in zip(photos, outputs, strict=True):
        expected = to_tensor(Image.fromarray(photo[..., :3]), SIZE)[0].transpose(1, 2, 0)
        assert np.array_equal(np.round(expected * 255), output), photo.shape


def port(dtype: str, shape: tuple[int, ...], layout: str, scale: float, zero: float, limits: Any = None) -> Port:
    reference = "NCHW" if len(shape) == 4 else "any"
    return Port("x", "x", shape, layout, dtype, reference, limits, "tensor", None, scale, "", zero)


PORTS = (
    port("float32", (2, 3, 4, 5), "NCHW", 1.0, 0),
    port("float32", (2, 4, 5, 3), "NHWC", 1.0, 0),
    port("float32", (), "any", 1.0, 0),
    port("float32", (1, 4, 5, 3), "NHWC", 255.0, 0),
    port("int8", (2, 4, 5, 3), "NHWC", 31.7, -3),
    port("uint8", (1, 3, 4, 5), "NCHW", 255.0, 0),
    port("int32", (7,), "any", 1.0, 0),
    port("int64", (1, 7), "any", 1.0, 0),
    port("bool", (5,), "any", 1.0, 0),
)
ELEMENTS = """
import {fileData, photoData, referenceData, referenceShape} from '%s/tensors.js';
const plain = (data) => Array.from(data, Number);
say(given.map(({port, values, rgb}) => {
  if (rgb) return plain(photoData(port, Uint8Array.from(rgb)));
  const file = fileData(port, values);
  return {file: plain(file), back: plain(referenceData(port, file)), shape: referenceShape(port)};
}));
"""


def as_json(one: Port) -> dict[str, Any]:
    keys = ("name", "file_name", "shape", "dtype", "layout", "reference_layout", "range", "scale", "zero_point")
    return {key: getattr(one, key) for key in keys}


def test_elements_become_the_files_and_come_back(sources: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    values = []
    for one in PORTS:
        shape = tuple(np.transpose(np.empty(one.shape), (0, 3, 1, 2)).shape) if one.layout == "NHWC" else one.shape
        drawn = generator.uniform(-5, 5, shape).astype(np.float32)
        values.append(
            np.round(drawn) if one.dtype in ("int32", "int64") else (drawn > 0) if one.dtype == "bool" else drawn
        )
    given = [
        {"port": as_json(one), "values": np.asarray(value, np.float64).ravel().tolist()}
        for one, value in zip(PORTS, values, strict=True)
    ]
    said = run_node(tmp_path, ELEMENTS % sources.as_uri(), given)
    for one, value, row in zip(PORTS, values, said, strict=True):
        kept = value.astype(one.dtype) if one.dtype in ("int32", "int64", "bool") else value
        file = to_file(one, np.asarray(kept))
        assert np.allclose(file.ravel().astype(np.float64), row["file"], rtol=1e-6, atol=1e-6), one
        back = from_file(one, file)
        assert row["shape"] == list(back.shape)
        assert np.allclose(back.ravel().astype(np.float64), row["back"], rtol=1e-6, atol=1e-6), one


@pytest.mark.parametrize("limits", [None, (0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-2.0, 0.5)])
def test_a_photo_becomes_the_files_input(limits: Any, sources: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    rgb = generator.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    ports = [
        port("float32", (1, 3, 4, 5), "NCHW", 1.0, 0, limits),
        port("float32", (1, 4, 5, 3), "NHWC", 1.0, 0, limits),
        port("int8", (1, 4, 5, 3), "NHWC", 50.0, -7, limits),
        port("uint8", (1, 4, 5, 3), "NHWC", 255.0, 0, limits),
    ]
    given = [{"port": as_json(one), "rgb": rgb.ravel().tolist()} for one in ports]
    tensor = to_range(to_tensor(Image.fromarray(rgb), (4, 5)), limits)
    for one, row in zip(ports, run_node(tmp_path, ELEMENTS % sources.as_uri(), given), strict=True):
        expected = to_file(one, tensor).ravel().astype(np.float64)
        # A product that lies on a half rounds either way.
        assert np.abs(expected - row).max() <= (1 if one.dtype != "float32" else 1e-4), one
        assert np.mean(np.abs(expected - row) > 1e-4) < 0.1


FAULTS = """
import {fileData} from '%s/tensors.js';
say(given.map(({port, values, bigs}) => {
  try { return Array.from(fileData(port, bigs ? bigs.map(BigInt) : values), String); }
  catch (error) { return [error.code, error.message]; }
}));
"""


def test_wrong_elements_are_refused_by_name(sources: Path, tmp_path: Path) -> None:
    ids = as_json(port("int64", (1, 3), "any", 1.0, 0, (0.0, 999.0)))
    large = as_json(port("int64", (1,), "any", 1.0, 0))
    given = [
        {"port": ids, "values": [1, 2]},
        {"port": ids, "values": None},
        {"port": ids, "values": [0, 999, 1000]},
        {"port": ids, "values": [0, 1.5, 2]},
        {"port": ids, "values": [0, 5, 999]},
        {"port": large, "bigs": [str(2**60 + 1)]},
    ]
    said = run_node(tmp_path, FAULTS % sources.as_uri(), given)
    assert [row[0] for row in said[:4]] == ["input"] * 4
    assert "x has 2 elements instead of 3 elements, shape [1,3]" in said[0][1]
    assert said[2][1] == "x[2] is 1000, not an integer from 0 to 999" and "x[1] is 1.5" in said[3][1]
    assert said[4] == ["0", "5", "999"] and said[5] == [str(2**60 + 1)]


PICTURE = """
import {outputOf} from '%s/outputs.js';
say(given.map(({values, shape, range, size}) => {
  const port = {reference_layout: 'NCHW', range, key: 'x'};
  const output = outputOf(port, Float32Array.from(values, (value) => value ?? NaN), shape);
  return output.image ? Array.from(output.image(...size).data) : null;
}));
"""


@pytest.mark.parametrize("size", [(4, 3), (9, 17), (40, 31), (2, 2)])
@pytest.mark.parametrize("limits", [None, [-1.0, 1.0]])
def test_a_map_becomes_a_grey_picture(size: tuple[int, int], limits: Any, sources: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(4).uniform(-1, 1, (3, 4)).astype(np.float32)
    row = {"values": values.ravel().tolist(), "shape": [1, 1, 3, 4], "range": limits, "size": size}
    two = {**row, "shape": [1, 2, 3, 2]}
    said = run_node(tmp_path, PICTURE % sources.as_uri(), [row, two])
    low, high = limits or (values.min(), values.max())
    large = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR), np.float64)
    expected = (large - low) / (high - low) * 255
    picture = np.array(said[0]).reshape(size[1], size[0], 4)
    assert np.abs(picture[..., :3] - expected[..., None]).max() <= 0.51 and (picture[..., 3] == 255).all()
    assert said[1] is None


def test_a_constant_map_and_nan_have_a_picture(sources: Path, tmp_path: Path) -> None:
    rows = [
        {"values": [2.0] * 4, "shape": [1, 1, 2, 2], "range": None, "size": [2, 2]},
        {"values": [0.0, 1.0, None, 1.0], "shape": [1, 1, 2, 2], "range": None, "size": [2, 2]},
    ]
    constant, holed = run_node(tmp_path, PICTURE % sources.as_uri(), rows)
    assert constant[0] == 0 and holed[0] == 0 and holed[4] == 255
