"""Labelling photos: thresholds of mattes, anchors of the detector, and, with the teachers, a real portrait."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hydramobile.errors import StageError, UsageError
from hydramobile.preprocess import load_photo
from reference.teacher.networks import Teachers, _anchors
from reference.teacher.photos import Confidence, Labelling, make_set, photos_of
from reference.training.views import POINT_NAMES, ViewSet

ROOT = Path(__file__).parents[2]
TEACHERS = ROOT / "build/teachers"
needs_teachers = pytest.mark.skipif(
    not (TEACHERS / "mediapipe").is_dir(), reason="no teachers here: bash scripts/setup.sh teachers fetches them"
)


def test_only_confident_mattes_are_kept() -> None:
    alpha = np.zeros((100, 100), np.float32)
    alpha[40:, 20:80] = 1
    confidence = Confidence()
    assert confidence.keeps(alpha, 0.99)
    assert not confidence.keeps(alpha, 0.9), "the mirror image gives another matte"
    assert not confidence.keeps(np.zeros((100, 100), np.float32), 1.0), "nobody"
    doubtful = alpha.copy()
    doubtful[40:, 50:80] = 0.6
    assert not confidence.keeps(doubtful, 0.99)


def test_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"fetch them with bash scripts/setup\.sh teachers"):
        Teachers(tmp_path)
    file = tmp_path / "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"TFL3")
    with pytest.raises(UsageError, match="another file than was reviewed"):
        Teachers(tmp_path)


def test_anchors_are_the_centres_of_two_grids() -> None:
    anchors = _anchors()
    assert anchors.shape == (896, 2)
    assert anchors[0] == pytest.approx([1 / 32, 1 / 32])
    assert anchors[2] == pytest.approx([3 / 32, 1 / 32]), "x first, two anchors per cell"
    assert anchors[512] == pytest.approx([1 / 16, 1 / 16])
    assert anchors[-1] == pytest.approx([15 / 16, 15 / 16])


def test_missing_photos_and_teachers_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder of photos"):
        photos_of(tmp_path / "nothing")
    with pytest.raises(UsageError, match="holds no photos"):
        photos_of(tmp_path)
    with pytest.raises(UsageError, match=r"setup\.sh teachers"):
        Teachers(tmp_path)


@needs_teachers
def test_a_portrait_is_labelled(tmp_path: Path) -> None:
    """Grace Hopper: a matte that covers her and not the flag, a face in the middle, the nose before the ears."""
    photos = tmp_path / "photos"
    photos.mkdir()
    load_photo(ROOT / "models/portrait/samples/grace-hopper.jpg").save(photos / "grace-hopper.jpg")
    assert make_set([photos], tmp_path / "set", Labelling(TEACHERS)) == (1, 1)
    views = ViewSet(tmp_path / "set")
    view = views.view(0)
    assert (views.kind, view.known) == ("photos", 0)
    assert 0.3 < (view.alpha > 128).mean() < 0.8
    assert view.alpha[20, 20] < 20
    face = dict(zip(POINT_NAMES, view.face[0].astype(float), strict=True))
    assert view.face[0, :, 3].all()
    assert face["nose tip"][2] > face["left cheek"][2] > face["left ear"][2]
    assert face["left ear"][0] > face["nose tip"][0] > face["right ear"][0]
    assert face["chin"][1] > face["nose tip"][1] > face["forehead"][1]
    with pytest.raises(UsageError, match="exists"):
        make_set([photos], tmp_path / "set", Labelling(TEACHERS))


@needs_teachers
def test_a_photo_without_people_is_not_kept(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "photos").mkdir()
    Image.new("RGB", (300, 200), "navy").save(tmp_path / "photos/wall.png")
    with pytest.raises(StageError, match="none of 1"):
        make_set([tmp_path / "photos"], tmp_path / "set", Labelling(TEACHERS))
