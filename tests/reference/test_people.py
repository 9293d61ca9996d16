"""Real people: listed photos are judged by hash, one person counts once, and weights are compared photo by photo."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from hydramobile.errors import StageError, UsageError
from hydramobile.files import sha256_file
from hydramobile.spec import ModelSpec, load_spec
from reference.evaluation.compare import compare, lines, ranks
from reference.evaluation.people import (
    depth_case,
    false_person,
    judge_people,
    means_with_phones,
    person_box,
    read_people,
)
from reference.evaluation.tables import people_tables

HEIGHT, WIDTH = 160, 120


class Fixed(nn.Module):
    """Return one field [H, W] as [1, 1, H, W], resized to the photo."""

    def __init__(self, field: np.ndarray) -> None:
        super().__init__()
        self.field = torch.from_numpy(field.astype(np.float32))[None, None]

    def forward(self, *features: Tensor) -> Tensor:
        size = (features[0].shape[2] * 2, features[0].shape[3] * 2)
        return nn.functional.interpolate(self.field, size, mode="bilinear", align_corners=False)


class Features(nn.Module):
    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(nn.functional.avg_pool2d(image, stride) for stride in (2, 4, 8, 16, 32))


def net(depth: np.ndarray, alpha: np.ndarray) -> dict[str, nn.Module]:
    return {"encoder": Features(), "depth": Fixed(depth), "segmentation": Fixed(alpha)}


def slope() -> np.ndarray:
    """Return a disparity that grows to the right and, less, downwards."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.asarray(0.2 + 0.6 * columns / WIDTH + 0.1 * rows / HEIGHT)


def body() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH))
    mask[40:140, 30:90] = 1
    return mask


@pytest.fixture
def spec(own_model: Callable[..., Path], tmp_path: Path) -> ModelSpec:
    """Return a copy of the portrait whose people.toml lists three frames of one person, one scan, a matte, a room."""
    grey = Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 150))
    pack = tmp_path / "pack"
    for name in ("rgbd", "people", "backgrounds"):
        (pack / name).mkdir(parents=True)
    names = ("a_0", "a_1", "scan")
    for index, name in enumerate(names):
        shifted = grey.copy()
        shifted.putpixel((0, 0), (index, 0, 0))
        shifted.save(pack / "rgbd" / f"{name}.png")
        Image.fromarray((slope() * 65535).astype(np.uint16)).save(pack / "rgbd" / f"{name}.disparity.png")
        Image.fromarray((body() * 255).astype(np.uint8)).save(pack / "rgbd" / f"{name}.mask.png")
    grey.save(pack / "people/someone.png")
    grey.save(pack / "backgrounds/room.png")
    (tmp_path / "mattes").mkdir()
    Image.fromarray((body() * 255).astype(np.uint8)).save(tmp_path / "mattes/someone.png")
    rows = ['source = "made for this test"']
    for name in names:
        rows += [
            row("depth", pack / "rgbd" / f"{name}.png"),
            f'person = "{name[0]}"\nmatte = {str(name != "a_1").lower()}',
        ]
        rows.append(f"sensor = {str(name != 'scan').lower()}")
    rows += [row("matte", pack / "people/someone.png"), row("empty", pack / "backgrounds/room.png")]
    folder = own_model("portrait")
    (folder / "people.toml").write_text("\n".join(rows) + "\n")
    return load_spec(folder)


def row(kind: str, path: Path) -> str:
    return f'[[{kind}]]\nfile = "{path.name}"\nsha256 = "{sha256_file(path)}"'


def judged(spec: ModelSpec, tmp_path: Path, modules: dict[str, nn.Module]) -> dict[str, Any]:
    block, _ = judge_people(modules, spec, read_people(spec, tmp_path / "pack", tmp_path / "mattes"))
    return {**block, "means": means_with_phones(block, {})}


def test_the_truth_passes_and_its_opposite_fails(spec: ModelSpec, tmp_path: Path) -> None:
    people = read_people(spec, tmp_path / "pack", tmp_path / "mattes")
    case = depth_case(people.depth[0])
    assert person_box(body().astype(np.float32)) == (25, 21, 155, 99), "the mask's box and 15 % of it on every side"
    assert case.photo.size == (78, 130) and case.disparity.shape == (130, 78)
    right = judged(spec, tmp_path, net(case.disparity, case.alpha))
    assert right["means"]["people"] == 1, "two frames of one person count once, and a scan not at all"
    assert right["means"]["whdr_2"] < 0.02 and right["means"]["better than the ramp"] == 1
    assert "iou" in right["depth"]["a_0.png"] and "iou" not in right["depth"]["a_1.png"], "its mask judges no matte"
    assert right["depth"]["a_0.png"]["iou"] > 0.97
    wrong = judged(spec, tmp_path, net(1 - case.disparity, np.ones_like(case.alpha)))
    assert wrong["means"]["whdr_2"] > 0.98 and wrong["means"]["better than the ramp"] == 0
    assert wrong["mattes"]["someone.png"]["iou"] == pytest.approx(body().mean(), abs=0.01)
    assert (wrong["empty"]["room.png"], right["means"]["mattes"]) == (1.0, 1)
    room = tmp_path / "pack/backgrounds/room.png"
    assert false_person(net(case.disparity, np.zeros((4, 4))), spec, room) == 0.0
    text = "\n".join(people_tables(wrong))
    assert "scan.png (a scan, not in the mean)" in text and "| room.png | 1.000 |" in text


def test_other_photos_are_refused(spec: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--people names the folder that holds rgbd/"):
        read_people(spec, tmp_path / "nowhere", tmp_path / "mattes")
    with pytest.raises(UsageError, match=r"no matte .*someone\.png.*python -m reference mattes"):
        read_people(spec, tmp_path / "pack", tmp_path / "elsewhere")
    Image.new("RGB", (8, 8)).save(tmp_path / "pack/backgrounds/room.png")
    with pytest.raises(StageError, match=r"room\.png is not the listed photo"):
        read_people(spec, tmp_path / "pack", tmp_path / "mattes")


def evaluation(path: Path, whdr: list[float], iou: list[float], false: list[float], views: tuple[float, float]) -> Path:
    people = {
        "depth": {
            f"d{index}": {"person": f"p{index}", "sensor": True, "whdr_2": value, "ramp": 0.4}
            for index, value in enumerate(whdr)
        },
        "mattes": {f"m{index}": {"iou": value} for index, value in enumerate(iou)},
        "empty": {f"e{index}": value for index, value in enumerate(false)},
    }
    synthetic = {"all": {"whdr_2": views[0], "iou": views[1]}}
    path.write_text(json.dumps({"weights": path.stem * 8, "real": {}, "people": people, "synthetic": synthetic}))
    return path


def test_weights_are_chosen_by_people_and_by_renders(tmp_path: Path) -> None:
    first = evaluation(tmp_path / "first.json", [0.3, 0.4, 0.2], [0.9, 0.95], [0.1, 0.0], (0.14, 0.96))
    better = evaluation(tmp_path / "better.json", [0.2, 0.3, 0.1], [0.95, 0.99], [0.0, 0.0], (0.15, 0.96))
    mixed = evaluation(tmp_path / "mixed.json", [0.2, 0.5, 0.2], [0.9, 0.95], [0.2, 0.0], (0.13, 0.97))
    ordered = compare([first, better, mixed])
    # Real ranks 7/3, 1, 8/3; ranks of renders 2.25, 2.75, 1: `better` is at 1.875, `mixed` at 1.83, `first` at 2.29.
    assert [Path(candidate.name).stem for candidate in ordered] == ["mixed", "better", "first"]
    gain = next(c for c in ordered if "better" in c.name).differences[0]
    assert (gain.mean, gain.low, gain.high) == pytest.approx((-0.1, -0.1, -0.1)) and gain.certain and gain.photos == 3
    chance = next(c for c in ordered if "mixed" in c.name).differences[0]
    assert chance.mean == pytest.approx(0.0) and chance.low < 0 < chance.high and not chance.certain
    assert any("may be chance" in line for line in lines(ordered))
    assert list(ranks([0.5, 0.7, 0.5], larger=True)) == [2.5, 1, 2.5]


def test_evaluations_of_other_photos_are_not_compared(tmp_path: Path) -> None:
    first = evaluation(tmp_path / "first.json", [0.3], [0.9], [0.1], (0.1, 0.9))
    other = evaluation(tmp_path / "other.json", [0.3], [0.9, 0.8], [0.1], (0.1, 0.9))
    with pytest.raises(StageError, match=r"other\.json and .*first\.json measured matte IoU on other photos"):
        compare([first, other])
    with pytest.raises(UsageError, match="two evaluations"):
        compare([first])
    (tmp_path / "old.json").write_text(json.dumps({"weights": "1", "real": {}}))
    with pytest.raises(StageError, match=r"old\.json has no real people"):
        compare([first, tmp_path / "old.json"])
