"""3D: from where the camera stood it is the photo; the GLB and PLY files hold the same surfaces."""

from __future__ import annotations

import base64
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from support.demo import Demo, Mask, Pixels

FIELD = 40.0
RELIEF = 0.5
FARTHEST = 1 + RELIEF * 3


@pytest.fixture
def opened(demo: Demo, photos: dict[str, Path]) -> Demo:
    demo.upload(photos["grace-hopper"])
    demo.mode("scene3d")
    settled(demo)
    return demo


def settled(demo: Demo) -> None:
    """Wait until a frame is drawn and no other is asked for."""
    demo.page.wait_for_function("() => document.body.dataset.space && Number(document.body.dataset.spaceFrames) > 0")
    demo.page.wait_for_function("() => demo.mode.space.asked === null")


def picture(demo: Demo, size: tuple[int, ...]) -> Pixels:
    """Return the view at the size (height, width)."""
    script = "(() => { const {space} = demo.mode; space.paint(); return space.renderer.domElement.toDataURL(); })()"
    text = demo.page.evaluate(script)
    with Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB").resize((size[1], size[0]), Image.Resampling.BILINEAR))


def choose(demo: Demo, key: str, value: str) -> None:
    demo.page.check(f"input[name=choice-{key}][value={value}]")
    settled(demo)


def test_from_the_camera_it_is_the_photo_and_its_depth(opened: Demo) -> None:
    source = opened.source()[..., :3]
    seen = picture(opened, source.shape[:2])
    difference = np.abs(seen.astype(int) - source)
    inner = difference[8:-8, 8:-8]
    assert inner.mean() < 6, inner.mean()
    assert opened.page.locator("#canvas").is_hidden()

    # The depth map has the colours of its scale.
    assert opened.page.locator(".mount-scale").is_hidden()
    choose(opened, "look", "depth")
    assert opened.page.locator(".mount-scale").is_visible()
    alpha = opened.maps("alpha")
    seen = picture(opened, alpha.shape).astype(float)
    quantiles = opened.page.evaluate("demo.scene.quantiles")
    for name, where in (("people", alpha > 0.999), ("behind", alpha < 0.001)):
        position = np.clip((opened.maps(name) - quantiles[0]) / (quantiles[-1] - quantiles[0]), 0, 1)
        stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]
        wanted = np.stack(
            [np.interp(position, np.linspace(0, 1, 5), [stop[c] for stop in stops]) for c in range(3)], -1
        )
        where[:8] = where[-8:] = where[:, :8] = where[:, -8:] = False
        assert np.median(np.abs(seen - wanted).max(-1)[where]) < 12

    # As points it is still the photo.
    choose(opened, "look", "photo")
    surface = int(opened.page.evaluate("document.body.dataset.space").split()[-1])
    choose(opened, "shape", "points")
    points = int(opened.page.evaluate("document.body.dataset.space").split()[-1])
    assert 0.8 * surface < points <= surface
    assert np.abs(picture(opened, source.shape[:2]).astype(int) - source).mean() < 30

    # Another mode shows the picture again.
    opened.mode("refocus")
    assert opened.page.locator("#canvas").is_visible() and opened.page.locator("#mount").is_hidden()
    assert opened.page.evaluate("document.body.dataset.space ?? null") is None
    opened.mode("scene3d")
    settled(opened)


def shift(before: Pixels, after: Pixels, where: Mask) -> int:
    """Return by how many pixels the content of `where` moved to the right: the shift of the least difference."""
    grey = [image.astype(float).mean(-1) for image in (before, after)]
    errors = {s: np.abs(np.roll(grey[1], -s, 1) - grey[0])[where].mean() for s in range(-16, 17)}
    return min(errors, key=lambda s: errors[s])


def test_parallax_and_orbit_and_back(opened: Demo) -> None:
    """When the eye moves right, near things move left against far ones."""
    alpha = opened.maps("alpha")
    rest = picture(opened, alpha.shape)
    left, top, width, height = opened.box("#space")
    opened.page.mouse.move(left + width - 2, top + height / 2)
    settled(opened)
    aside = picture(opened, alpha.shape)
    people, behind = alpha > 0.999, alpha < 0.001
    people[:, :20] = people[:, -20:] = behind[:, :20] = behind[:, -20:] = False
    assert shift(rest, aside, behind) - shift(rest, aside, people) >= 2
    opened.page.mouse.move(left + 5, top - 60)
    opened.page.evaluate("demo.mode.space.goHome()")
    assert np.abs(picture(opened, alpha.shape).astype(int) - rest).mean() < 1

    # The orbit turns it.
    size = opened.maps("alpha").shape
    choose(opened, "motion", "orbit")
    before = picture(opened, size)
    left, top, width, height = opened.box("#space")
    x, y = left + width / 2, top + height / 2
    opened.page.mouse.move(x, y)
    opened.page.mouse.down()
    opened.page.mouse.move(x + 60, y, steps=4)
    opened.page.mouse.up()
    settled(opened)
    assert np.abs(picture(opened, size).astype(int) - before).mean() > 5
    opened.page.get_by_role("button", name="Back to the camera").click()
    settled(opened)
    assert np.abs(picture(opened, size).astype(int) - before).mean() < 1


def downloaded(demo: Demo, file_format: str) -> bytes:
    name, content = demo.download(file_format)
    assert name == f"grace-hopper-scene3d.{file_format}"
    return content


def check_rays(positions: NDArray[np.float32], width: int, height: int) -> None:
    """Assert that vertices fill the camera's field to its edges, between the nearest and the farthest distance."""
    tall = np.tan(np.radians(FIELD / 2))
    distance = -positions[:, 2]
    assert distance.min() >= 0.999 and distance.max() <= FARTHEST * 1.001
    assert distance.max() - distance.min() > 0.5
    up, across = positions[:, 1] / distance / tall, positions[:, 0] / distance / tall
    assert np.abs(up).max() == pytest.approx(1, abs=1e-3)
    assert np.abs(across).max() == pytest.approx(width / height, rel=1e-3)


def test_files_hold_the_surfaces(opened: Demo) -> None:
    check_glb(opened)
    check_ply(opened)


def check_glb(opened: Demo) -> None:
    content = downloaded(opened, "glb")
    magic, version, length = struct.unpack_from("<4sII", content)
    assert (magic, version, length) == (b"glTF", 2, len(content))
    size, chunk_type = struct.unpack_from("<I4s", content, 12)
    assert chunk_type == b"JSON"
    document = json.loads(content[20 : 20 + size])
    binary = content[20 + size + 8 :]

    names = {node.get("name"): node for node in document["nodes"]}
    assert {"people", "behind"} <= set(names)
    assert all("extras" not in primitive for mesh in document["meshes"] for primitive in mesh["primitives"])
    surfaces = []
    for name in ("people", "behind"):
        (primitive,) = document["meshes"][names[name]["mesh"]]["primitives"]
        position = read(document, binary, primitive["attributes"]["POSITION"]).reshape(-1, 3)
        index = read(document, binary, primitive["indices"])
        uv = read(document, binary, primitive["attributes"]["TEXCOORD_0"])
        accessor = document["accessors"][primitive["attributes"]["POSITION"]]
        assert np.allclose(accessor["min"], position.min(0)) and np.allclose(accessor["max"], position.max(0))
        assert index.size % 3 == 0 and index.size and index.max() < len(position)
        assert uv.size == 2 * len(position) and uv.min() >= 0 and uv.max() <= 1
        surfaces.append(position)
    # The background's grid covers the whole photo, the people's the part where the matte is.
    columns, rows = (
        round(side * 220 / max(opened.maps("alpha").shape)) for side in reversed(opened.maps("alpha").shape)
    )
    share = (opened.maps("alpha") > 0.02).mean()
    people, behind = surfaces
    assert len(behind) == columns * rows
    assert share * columns * rows <= len(people) < (share + 0.1) * columns * rows
    assert np.median(-people[:, 2]) < np.median(-behind[:, 2])
    check_rays(behind, *reversed(opened.maps("alpha").shape))
    assert len(document["images"]) == 2
    for image in document["images"]:
        view = document["bufferViews"][image["bufferView"]]
        start = view.get("byteOffset", 0)
        with Image.open(io.BytesIO(binary[start : start + view["byteLength"]])) as texture:
            assert texture.size == tuple(reversed(opened.maps("alpha").shape))


def read(document: dict[str, Any], binary: bytes, number: int) -> NDArray[Any]:
    """Return the elements of a glTF accessor."""
    accessor = document["accessors"][number]
    view = document["bufferViews"][accessor["bufferView"]]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    dtype = {5126: np.float32, 5125: np.uint32, 5123: np.uint16}[accessor["componentType"]]
    count = accessor["count"] * {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[accessor["type"]]
    return np.frombuffer(binary, dtype, count, start)


def check_ply(opened: Demo) -> None:
    content = downloaded(opened, "ply")
    head, _, body = content.partition(b"end_header\n")
    lines = head.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    count = next(int(line.split()[-1]) for line in lines if line.startswith("element vertex"))
    assert [line.split()[-1] for line in lines if line.startswith("property")] == [
        "x",
        "y",
        "z",
        "red",
        "green",
        "blue",
    ]
    vertices = np.frombuffer(body, np.dtype([("position", "<f4", 3), ("color", "u1", 3)]))
    assert len(vertices) == count > 10_000
    check_rays(vertices["position"], *reversed(opened.maps("alpha").shape))
    # Half of the vertices are background behind the person; their colours are the photo's all the same.
    mean = vertices["color"].astype(float).mean(0)
    assert np.abs(mean - opened.source()[..., :3].reshape(-1, 3).mean(0)).max() < 30
    assert vertices["color"].std() > 20
