"""Evaluation: a phone's own depth is read, right and wrong networks get different figures, tables show the figures."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from hydramobile.errors import NothingJudged, StageError, UsageError
from hydramobile.spec import load_spec
from reference.evaluation.bins import BINS
from reference.evaluation.measure import Case, judge
from reference.evaluation.run import Question, evaluate, real_cases, synthetic_cases
from reference.evaluation.tables import BEGIN, END, replace_block
from reference.evaluation.truedepth import read_truth
from reference.training.views import ViewSet

MakeSet = Callable[..., Path]
MODEL = Path(__file__).parents[2] / "models/portrait"


def jpeg(field: np.ndarray, size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(field.astype(np.uint8)).resize(size).save(stream, "JPEG", quality=95)
    return stream.getvalue()


@pytest.fixture
def phone_jpeg(tmp_path: Path) -> Path:
    """Write a portrait JPEG in the form of phones: the photo, then its depth and its matte as further JPEGs."""
    rows = np.repeat(np.linspace(0, 255, 128)[:, None], 96, axis=1)
    matte = np.zeros((128, 96))
    matte[32:, 24:72] = 255
    photo = np.repeat(rows[..., None], 3, axis=2)
    path = tmp_path / "phone" / "portrait.jpg"
    path.parent.mkdir()
    path.write_bytes(jpeg(photo, (480, 640)) + jpeg(rows, (576, 768)) + jpeg(matte, (1512, 2016)))
    return path


def test_a_phones_depth_and_matte_are_read(phone_jpeg: Path) -> None:
    truth = read_truth(phone_jpeg)
    assert (truth.disparity.shape, truth.alpha.shape) == ((768, 576), (2016, 1512))
    assert truth.disparity[700].mean() > 0.8 > 0.2 > truth.disparity[60].mean()
    assert truth.alpha[1200, 756] > 0.99 > 0.01 > truth.alpha[100, 100]


def test_a_photo_without_depth_is_named(tmp_path: Path) -> None:
    plain = tmp_path / "plain.jpg"
    plain.write_bytes(jpeg(np.zeros((64, 48, 3)), (48, 64)))
    with pytest.raises(StageError, match=r"plain\.jpg carries 0 depth"):
        read_truth(plain)
    with pytest.raises(UsageError, match="no folder"):
        list(real_cases(tmp_path / "nowhere"))


class Oracle(nn.Module):
    """Return a fixed field resized to the photo, [1, 1, H, W], whatever the photo shows."""

    def __init__(self, field: np.ndarray) -> None:
        super().__init__()
        self.field = torch.from_numpy(field.astype(np.float32))[None, None]

    def forward(self, *features: Tensor) -> Tensor:
        size = (features[0].shape[2] * 2, features[0].shape[3] * 2)
        return nn.functional.interpolate(self.field, size, mode="bilinear", align_corners=False)


def oracle(case: Case, disparity: np.ndarray) -> dict[str, nn.Module]:
    class Features(nn.Module):
        def forward(self, image: Tensor) -> tuple[Tensor, ...]:
            return tuple(nn.functional.avg_pool2d(image, stride) for stride in (2, 4, 8, 16, 32))

    return {"encoder": Features(), "depth": Oracle(disparity), "segmentation": Oracle(case.alpha)}


def test_the_truth_itself_passes_and_its_opposite_fails(make_set: MakeSet, tmp_path: Path) -> None:
    spec, views = load_spec(MODEL), ViewSet(make_set(tmp_path / "set"))
    case = next(iter(synthetic_cases(views, 1)))
    right, wrong = (judge(oracle(case, d), spec, case) for d in (case.disparity / 4, 1 - case.disparity / 4))
    assert right.figures["iou"] is not None
    assert right.figures["iou"] > 0.99
    assert (right.figures["whdr_10"] or 0) < 0.02
    assert (right.figures["background"], wrong.figures["background"]) == (0.0, 1.0)
    assert (wrong.figures["whdr_10"] or 0) > 0.98
    assert right.points[0] >= 0.9 * right.points[1] > 0
    assert wrong.points[0] <= 0.1 * wrong.points[1]
    assert right.baselines["constant"]["whdr_2"] == 1.0
    assert 0.2 < right.baselines["ramp"]["whdr_2"] < 0.8, "a ball is not a ramp"


def test_evaluate_writes_figures_tables_and_pictures(make_set: MakeSet, tmp_path: Path, phone_jpeg: Path) -> None:
    folder = make_set(tmp_path / "set", views=4)
    report = evaluate(Question(load_spec(MODEL), None, (folder,), phone_jpeg.parent, 3), tmp_path / "out")
    assert report == json.loads((tmp_path / "out/evaluation.json").read_text())
    assert report["synthetic"]["all"]["views"] == 3
    assert set(report["bins"]) == {"pitch", "hair", "backlit"}, "a dimension with a single bin is left out"
    assert report["bins"]["pitch"]["25° and more"]["views"] == 1
    assert report["worst"]["real"]["photo"] == "portrait.jpg"
    text = (tmp_path / "out/evaluation.md").read_text()
    assert "| portrait.jpg |" in text
    assert "| – ramp |" in text
    assert "Worst synthetic photo: `set/" in text
    with Image.open(tmp_path / "out/sheet.jpg") as sheet:
        assert sheet.size[0] > 500
    card = replace_block(f"before\n{BEGIN}\nold\n{END}\nafter", report)
    assert "old" not in card
    assert card.startswith("before\n")
    assert card.endswith("after")
    assert "| portrait.jpg |" in card


def test_nothing_to_measure_on(tmp_path: Path) -> None:
    with pytest.raises(NothingJudged, match="nothing to measure on"):
        evaluate(Question(load_spec(MODEL), None, (), None, 1), tmp_path)
    with pytest.raises(ValueError, match="evaluation:begin"):
        replace_block("no markers", {})


def test_bins_have_clear_edges() -> None:
    assert BINS["pitch"]({"pitch": -30}) == "under -25°"
    assert BINS["pitch"]({"pitch": 10}) == "10 to 25°"
    assert BINS["yaw"]({"yaw": -40}) == "30° and more"
    assert BINS["backlit"]({"backlit": True}) == "yes"
    assert BINS["people"]({}) is None
