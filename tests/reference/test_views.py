"""Sets of views: written views are read back, and a damaged or foreign set is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hydramobile.errors import StageError, UsageError
from hydramobile.labels import Label, order_test
from hydramobile.samples import Sample
from reference.synthesize.labels import pictures, write_labels
from reference.training.views import ARRAYS, MIRRORED, POINT_NAMES, ViewSet, map_arrays, open_sets

MakeSet = Callable[..., Path]


def test_views_come_back_across_shards(make_set: MakeSet, tmp_path: Path) -> None:
    views = ViewSet(make_set(tmp_path / "set", views=6))
    assert len(views) == 6
    views.verify()
    fifth = views.view(4)
    assert fifth.about["view"] == 4
    assert (fifth.rgb.shape, fifth.disparity.shape, fifth.face.shape) == ((96, 72, 3), (96, 72), (2, 12, 4))
    assert isinstance(fifth.rgb, np.memmap), "shards are mapped, not read"
    assert 2 < float(fifth.disparity[fifth.alpha > 250].max()) < 2.6
    with pytest.raises(IndexError):
        views.view(6)


def test_the_content_hash_is_of_the_content(make_set: MakeSet, tmp_path: Path) -> None:
    first, again = (ViewSet(make_set(tmp_path / name, seed=3)) for name in ("a", "b"))
    other = ViewSet(make_set(tmp_path / "c", seed=4))
    assert first.content_hash == again.content_hash != other.content_hash


def test_mirrored_points_pair_left_with_right() -> None:
    assert [POINT_NAMES[MIRRORED[i]] for i in MIRRORED] == list(POINT_NAMES)
    for index, name in enumerate(POINT_NAMES):
        other = name.replace("left", "*").replace("right", "left").replace("*", "right")
        assert POINT_NAMES[MIRRORED[index]] == other


def test_no_set_and_photos_alone(make_set: MakeSet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"index\.json does not exist"):
        ViewSet(tmp_path)
    photos = make_set(tmp_path / "photos", kind="photos", known=(0,))
    with pytest.raises(UsageError, match="synthetic"):
        open_sets([photos])
    synthetic, others = open_sets([photos, make_set(tmp_path / "a")])
    assert [s.kind for s in (*synthetic, *others)] == ["synthetic", "photos"]


def test_damage_is_named(make_set: MakeSet, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    shard = folder / "shards/0000.npz"
    good = shard.read_bytes()
    shard.write_bytes(good[:1000])
    with pytest.raises(StageError, match=r"0000\.npz"):
        ViewSet(folder).view(0)
    with pytest.raises(StageError, match="sha256"):
        ViewSet(folder).verify()
    shard.write_bytes(good)
    (folder / "shards/0000.jsonl").write_text("{}\n")
    with pytest.raises(StageError, match="not one per view"):
        ViewSet(folder).view(0)
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(index | {"schema": 9}))
    with pytest.raises(StageError, match="schema 9"):
        ViewSet(folder)


def test_shards_of_other_arrays_are_refused(make_set: MakeSet, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    arrays = {name: np.array(value) for name, value in map_arrays(folder / "shards/0000.npz").items()}
    assert set(arrays) == set(ARRAYS)
    compressed = folder / "compressed.npz"
    np.savez_compressed(compressed, rgb=arrays["rgb"])
    with pytest.raises(StageError, match="compressed"):
        map_arrays(compressed)
    without: dict[str, Any] = {name: value for name, value in arrays.items() if name != "alpha"}
    np.savez(folder / "shards/0000.npz", **without)
    with pytest.raises(StageError, match="lacks 'alpha'"):
        ViewSet(folder).view(0)
    np.savez(folder / "shards/0000.npz", **without, alpha=arrays["alpha"].astype(np.float32))
    with pytest.raises(StageError, match="alpha is float32"):
        ViewSet(folder).view(0)


def test_views_as_labels(make_set: MakeSet, tmp_path: Path) -> None:
    """A label asks for the order of the view's own disparity: that disparity passes, its negative fails."""
    view = ViewSet(make_set(tmp_path / "set", known=(2,))).view(0)
    view.about.update(framing="selfie", scene="room", light="soft")
    files = pictures(view)
    assert files.description == "one person, selfie, room, light soft"
    for name in ("photo", "truth", "matte"):
        (tmp_path / name).write_bytes(getattr(files, name))
    photo = Sample("ball", "label", "", tmp_path / "photo", "drawn", "CC0-1.0")
    question = order_test(Label(photo, tmp_path / "truth", tmp_path / "matte"))
    disparity = np.asarray(view.disparity, np.float32)[None, None]
    assert question.whdr(disparity) < 0.005 and question.whdr(-disparity) > 0.995


@pytest.mark.parametrize(
    ("kind", "split", "message"),
    [
        ("photos", "test", "is a set of photos, whose depth is unknown"),
        ("synthetic", "train", "is of the split 'train'; labels are of the split test"),
        ("synthetic", "test", "has 3 views with exact depth everywhere, not 4; synthesize more"),
    ],
)
def test_unsuitable_sets_give_no_labels(make_set: MakeSet, tmp_path: Path, kind: str, split: str, message: str) -> None:
    index = make_set(tmp_path / "set", kind=kind) / "index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "split": split}))
    with pytest.raises(UsageError, match=message):
        write_labels(tmp_path / "set", tmp_path / "labels", 4)
    assert not (tmp_path / "labels").exists()
