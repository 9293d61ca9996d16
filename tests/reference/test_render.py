"""The renderer of the sample portraits: MakeHuman's formats on hand-made files, rooms, and drawing."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hydramobile.errors import StageError, UsageError
from reference.render.assets import Skeleton, load_clothing, load_obj, load_target, rotation
from reference.render.rooms import random_garden, random_room
from reference.render.samples import SHOTS, write_samples

SQUARE = "g body\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n"
CLOTHING = """# a comment
obj_file square.obj
x_scale 0 1 1.0
verts 0
material some.mhmat
0
0 1 2 0.5 0.5 0.0 0.0 0.0 0.25
2
3 1 2 1 0 0 0.5 0 0
delete_verts
0 2 - 3
"""


def test_polygons_become_triangles(tmp_path: Path) -> None:
    (tmp_path / "square.obj").write_text(SQUARE)
    mesh = load_obj(tmp_path / "square.obj")
    assert mesh.faces.tolist() == mesh.uv_faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.vertices.shape == (4, 3) and mesh.uv.shape == (4, 2) and set(mesh.groups) == {"body"}


def test_targets_skip_comments_and_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "a.target.gz").write_bytes(gzip.compress(b"# 1 2 3\n7 .5 0 -1\n"))
    rows, moves = load_target(tmp_path / "a.target.gz")
    assert rows.tolist() == [7] and moves.tolist() == [[0.5, 0, -1]]
    (tmp_path / "b.target.gz").write_bytes(gzip.compress(b""))
    assert load_target(tmp_path / "b.target.gz")[1].shape == (0, 3)


def test_clothes_follow_the_body(tmp_path: Path) -> None:
    (tmp_path / "square.obj").write_text(SQUARE)
    (tmp_path / "shirt.mhclo").write_text(CLOTHING)
    clothing = load_clothing(tmp_path / "shirt.mhclo")
    assert clothing.hides.tolist() == [0, 2, 3]
    body = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]], np.float32)
    # Vertex 1 lies between two body vertices with an offset; vertex 3's offset is scaled by the doubled width.
    assert clothing.fit(body).tolist() == [[0, 0, 0], [1, 0, 0.25], [2, 2, 0], [1, 2, 0]]


def test_clothes_that_do_not_fit_their_mesh_are_refused(tmp_path: Path) -> None:
    (tmp_path / "square.obj").write_text(SQUARE)
    (tmp_path / "bad.mhclo").write_text("obj_file square.obj\nverts 0\n0\n")
    with pytest.raises(StageError, match=r"bad\.mhclo does not fit"):
        load_clothing(tmp_path / "bad.mhclo")


def test_bones_rotate_their_vertices_and_children() -> None:
    body = np.array([[0, 0, 0], [0, 1, 0], [0, 2, 0]], np.float32)
    bones: dict[str, dict[str, str | None]] = {
        "root": {"head": "a", "tail": "b", "parent": None},
        "tip": {"head": "b", "tail": "c", "parent": "root"},
    }
    weights = {"root": (np.array([0, 1]), np.ones(2)), "tip": (np.array([2]), np.ones(1))}
    skeleton = Skeleton(bones, {"a": [0], "b": [1], "c": [2]}, weights)
    posed = skeleton.pose(body, {"tip": rotation((0, 0, 1), 90)})
    np.testing.assert_allclose(posed, [[0, 0, 0], [0, 1, 0], [-1, 1, 0]], atol=1e-6)
    posed = skeleton.pose(body, {"root": rotation((0, 0, 1), 90), "tip": rotation((0, 0, 1), 90)})
    np.testing.assert_allclose(posed, [[0, 0, 0], [-1, 0, 0], [-1, -1, 0]], atol=1e-6)


@pytest.mark.parametrize("scene", [random_room, random_garden])
def test_scenes_are_seeded_and_whole(scene: object) -> None:
    assert callable(scene)
    once, twice = scene(np.random.default_rng(5)), scene(np.random.default_rng(5))
    assert len(once) == len(twice) > 4
    for first, second in zip(once, twice, strict=True):
        np.testing.assert_array_equal(first.vertices, second.vertices)
        np.testing.assert_array_equal(first.material.texture, second.material.texture)
        np.testing.assert_allclose(np.linalg.norm(first.normals, axis=2), 1, atol=1e-5)


def test_shots_are_split_and_never_repeat_a_seed() -> None:
    assert len({shot.seed for shot in SHOTS}) == len(SHOTS) == 21
    assert sum(shot.split == "judge" for shot in SHOTS) == 10
    assert sum(shot.people == 2 for shot in SHOTS if shot.split == "judge") == 1


# In a process of its own: Mesa's software renderer and the converters each bring an LLVM, and the two crash in one.
DRAW_A_SQUARE = """
import sys
import numpy as np
from hydramobile.errors import StageError
from reference.render.people import Material, Part
from reference.render.raster import Camera, Light, Rasterizer

red = np.full((4, 4, 4), 255, np.uint8)
red[..., 1:3] = 0
vertices = np.array([[[-1, -1, 0], [0, -1, 0], [0, 1, 0]], [[-1, -1, 0], [0, 1, 0], [-1, 1, 0]]], np.float32)
normals = np.broadcast_to(np.array([0, 0, 1], np.float32), vertices.shape)
part = Part(vertices, normals, np.zeros((2, 3, 2), np.float32), Material(red, gloss=0.0))
camera = Camera(np.array([0.0, 0, 10]), np.zeros(3), float(np.rad2deg(2 * np.arctan(0.1))))
light = Light(np.tile([0.0, 0, 1], (3, 1)), np.ones((3, 3)), np.ones(3), np.ones(3))
try:
    rasterizer = Rasterizer()
except StageError as error:
    sys.exit(f"no renderer: {error}")
np.save(sys.argv[1], np.asarray(rasterizer.draw([part], [], camera, light, (32, 32))))
"""


def test_a_square_is_drawn_where_the_camera_sees_it(root: Path, tmp_path: Path) -> None:
    """A red square in the left half, lit from the front: coverage, color and no mirror image."""
    path = tmp_path / "square.npy"
    run = subprocess.run(
        [sys.executable, "-c", DRAW_A_SQUARE, str(path)], cwd=root, capture_output=True, text=True, check=False
    )
    if "no renderer:" in run.stderr:
        pytest.skip(run.stderr.strip())
    assert run.returncode == 0, run.stderr
    image = np.load(path)
    assert image.shape == (32, 32, 4)
    assert np.all(image[2:-2, 2:14, 3] == 255) and np.all(image[:, 18:, 3] == 0)
    assert image[16, 8, 0] > 200 and image[16, 8, 1:3].max() == 0


def test_a_folder_that_is_no_wardrobe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a MakeHuman wardrobe"):
        write_samples(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
