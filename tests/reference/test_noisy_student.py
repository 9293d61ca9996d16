"""Photos as training data: depth by an ensemble, nobody in the photo, people in other rooms, and their losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hydramobile.errors import StageError, UsageError
from hydramobile.files import sha256_file
from reference.evaluation.people import listed_hashes
from reference.teacher.composites import Placement, composite, make_composites, moved, moved_face
from reference.teacher.depth import DepthTeachers, aligned
from reference.teacher.isnet import joined
from reference.teacher.mattes import label_folder, overlap
from reference.teacher.photos import SIDE, Labelling, make_set, write_views
from reference.training.batches import sample
from reference.training.objective import far_offsets, objective_rng, taught_terms
from reference.training.options import Weights
from reference.training.views import View, ViewSet

ROOT = Path(__file__).parents[2]
WEIGHTS = tuple(ROOT / "models" / name / "weights.safetensors" for name in ("portrait", "portrait-slim"))


def photo() -> np.ndarray:
    with Image.open(ROOT / "models/portrait/samples/grace-hopper.jpg") as image:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE)))


def square_person(disparity: bool = True) -> View:
    """Return a bright square person in the lower middle of a dark room, nearer to the right."""
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    alpha[SIDE // 2 :, SIDE // 4 : SIDE // 2] = 255
    rgb = np.where(alpha[..., None] > 0, 220, 30).astype(np.uint8).repeat(3, -1)
    slope = np.tile(np.linspace(0.5, 1.5, SIDE, dtype=np.float32), (SIDE, 1))
    face = np.zeros((2, 12, 4), np.float32)
    face[0] = (100, 200, 1, 1)
    near = (slope * (alpha > 0) * disparity).astype(np.float16)
    return View(rgb, near, alpha, 0, face, {"view": "square"})


def test_teachers_agree_on_a_clear_person_and_say_nothing_without_one() -> None:
    alpha = np.zeros((SIDE, SIDE), np.float32)
    alpha[90:, 60:260] = 1
    teachers = DepthTeachers(WEIGHTS)
    label = teachers.label(photo(), alpha)
    assert label.shape == (SIDE, SIDE) and (label[alpha == 0] == 0).all()
    known = label > 0
    assert known.sum() > 0.5 * alpha.sum(), "two trained nets agree on most of a plain portrait"
    assert np.median(label[known]) == pytest.approx(1, abs=0.1)
    assert len(teachers.answers(photo())) == 12, "two nets, three sizes, each with its mirror image"
    assert not teachers.label(photo(), np.zeros((SIDE, SIDE), np.float32)).any()
    with pytest.raises(UsageError, match="no weights of a teacher"):
        DepthTeachers([ROOT / "nothing.safetensors"])


def test_answers_are_brought_to_one_median() -> None:
    person = np.ones((4, 4), np.bool_)
    first = np.linspace(1, 3, 16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_allclose(aligned(first * 5, person), aligned(first, person), rtol=1e-6)


def test_photos_without_people_and_photos_of_an_evaluation(tmp_path: Path) -> None:
    folder = tmp_path / "rooms"
    folder.mkdir()
    for index in range(3):
        Image.new("RGB", (400, 330), (index * 40, 80, 120)).save(folder / f"{index}.png")
    listing = tmp_path / "people.toml"
    listing.write_text(f'source = "x"\n[[empty]]\nfile = "1.png"\nsha256 = "{sha256_file(folder / "1.png")}"\n')
    labelling = Labelling(tmp_path, empty=True, excluded=listed_hashes(listing))
    assert make_set([folder], tmp_path / "set", labelling) == (2, 3)
    views = ViewSet(tmp_path / "set")
    assert [views.view(n).about["view"] for n in range(2)] == ["0", "2"]
    assert not views.view(0).alpha.any() and views.view(0).known == 0
    batch = sample(views.view(0), (64, 48), None)
    assert float(batch.alpha.max()) == 0 and float(batch.sure.max()) == 0 and float(batch.behind.min()) == 1


def test_a_composite_moves_colours_matte_depth_and_points_alike() -> None:
    person = square_person()
    room = View(np.full((SIDE, SIDE, 3), 90, np.uint8), person.disparity * 0, person.alpha * 0, 0, person.face * 0, {})
    for seed in range(6):
        made = composite(person, room, np.random.default_rng(seed))
        inside, outside = made["alpha"] > 250, made["alpha"] < 5
        assert inside.any() and (made["disparity"][outside] == 0).all() and (made["disparity"][inside] > 0).mean() > 0.9
        assert made["rgb"][inside].mean() > 120 > made["rgb"][outside].mean(), "the room's colour is beside the person"
    mirrored = moved(person.disparity.astype(np.float32), Placement(1.0, 0, mirrored=True))
    np.testing.assert_allclose(mirrored, person.disparity.astype(np.float32)[:, ::-1], atol=2e-3)
    half = moved(person.alpha.astype(np.float32), Placement(0.5, 40, mirrored=False))
    assert half[: SIDE // 2].max() == 0, "the bottom stays at the bottom"
    assert half[-1].argmax() == pytest.approx(40 + SIDE // 8, abs=1)
    face = moved_face(person.face, Placement(0.5, 40, mirrored=False))
    assert face[0, 0, :2] == pytest.approx((100.5 * 0.5 - 0.5 + 40, 200.5 * 0.5 - 0.5 + SIDE / 2))
    assert moved_face(person.face, Placement(1.1, -200, mirrored=False))[0, 0, 3] == 0, "outside the picture"


def test_composites_are_seeded(tmp_path: Path) -> None:
    person = square_person()
    row = {name: getattr(person, name) for name in ("rgb", "disparity", "alpha", "known", "face", "about")}
    room = {**row, "alpha": person.alpha * 0, "disparity": person.disparity * 0}
    write_views(tmp_path / "people", [row], 0)
    write_views(tmp_path / "rooms", [room], 0)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert make_composites(tmp_path / "people", tmp_path / "rooms", tmp_path / name, 3, seed) == 3
    first, same, other = (ViewSet(tmp_path / name).index["content_hash"] for name in "abc")
    assert first == same != other
    with pytest.raises(UsageError, match="no person of"):
        make_composites(tmp_path / "rooms", tmp_path / "rooms", tmp_path / "d", 1, 1)


def test_a_students_loss_falls_with_the_ensembles_order() -> None:
    batch = sample(square_person(), (128, 96), None)
    assert float(batch.sure.mean()) > 0.08
    assert float(batch.taught[batch.sure > 0].max()) > 0.9
    weights = Weights(photo_depth=1, photo_pairs=1, far_pairs=1)
    right, wrong = (
        {name: float(values) for name, values in taught_terms(d, batch, weights, objective_rng(1, 2, 0)).items()}
        for d in (batch.taught, 2 - batch.taught)
    )
    assert right["photo_depth"] < 0.01 < 1 < wrong["photo_depth"]
    assert right["photo_pairs"] < wrong["photo_pairs"]
    assert right["far_pairs"] == wrong["far_pairs"] == 0, "a photo has no exact depth"
    assert taught_terms(batch.taught, batch, Weights(), objective_rng(1, 2, 0)) == {}
    for down, aside in far_offsets(torch.zeros(1, 256, 192), np.random.default_rng(3)):
        assert max(down, abs(aside)) >= 64


def test_damaged_or_missing_teachers_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"setup\.sh teachers"):
        joined(tmp_path)
    (tmp_path / "resources.json").write_text('{"/models/medium": {"chunks": [{"hash": "ab"}]}}')
    (tmp_path / "ab").write_bytes(b"other")
    with pytest.raises(StageError, match="ab is damaged"):
        joined(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos/a.png")
    with pytest.raises(UsageError, match=r"b\.png is in none of"):
        label_folder([tmp_path / "photos"], tmp_path / "out", tmp_path, ["b.png"])


@pytest.mark.parametrize(("first", "second", "expected"), [([1, 1, 0], [1, 0, 0], 0.5), ([0, 0], [0, 0], 1.0)])
def test_overlap(first: list[int], second: list[int], expected: float) -> None:
    assert overlap(np.asarray(first, np.bool_), np.asarray(second, np.bool_)) == expected
