"""Training: batches depend on the step alone, an interruption does not change the result, errors name their cause."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

from hydramobile.errors import StageError, UsageError
from hydramobile.files import sha256_file
from reference.training.batches import Batches, Source, mirror, rotate, sample
from reference.training.checkpoint import load_checkpoint
from reference.training.loop import BEST, LAST, Job, Trainer
from reference.training.options import Options, options_from, set_options
from reference.training.run import resume, start
from reference.training.views import ViewSet

MakeSet = Callable[..., Path]
INIT = Path(__file__).parents[2] / "models/portrait/weights.safetensors"
TINY = replace(
    Options(),
    steps=4,
    processes=1,
    synthetic=2,
    photos=1,
    sizes=((64, 32, 0.5), (32, 64, 0.5)),
    warmup=2,
    validation_views=4,
    checkpoint_every=2,
    validate_every=2,
)


@pytest.fixture(scope="module")
def sets(make_set: MakeSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Synthetic, photos, validation."""
    base = tmp_path_factory.mktemp("sets")
    return (
        make_set(base / "a", 1, 6),
        make_set(base / "photos", 2, 4, "photos", (0,)),
        make_set(base / "validation", 3, 4),
    )


def job(run: Path, sets: tuple[Path, Path, Path], options: Options = TINY) -> Job:
    return Job(run, sets[:2], sets[2:], INIT, options)


def same(first: Path, second: Path) -> bool:
    a, b = load_file(first), load_file(second)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_batches_depend_on_the_step_alone(sets: tuple[Path, Path, Path]) -> None:
    views = [ViewSet(sets[0])], [ViewSet(sets[1])]
    first, second = Batches(TINY, *views), Batches(TINY, *views)
    first.batch(0)
    one, other, next_ = first.batch(5), second.batch(5), second.batch(6)
    assert torch.equal(one.image, other.image)
    assert torch.equal(one.disparity, other.disparity)
    assert one.image.shape[2:] != next_.image.shape[2:] or not torch.equal(one.image, next_.image)
    assert {first.size(step) for step in range(20)} == {(64, 32), (32, 64)}
    rank1 = Batches(replace(TINY, processes=2), *views, rank=1).batch(5)
    assert not torch.equal(one.image, rank1.image)


def test_every_view_appears_once_before_any_repeats(sets: tuple[Path, Path, Path]) -> None:
    source = Source([ViewSet(sets[0]), ViewSet(sets[2])], 1)
    for epoch in range(2):
        seen = [source.at(epoch * len(source) + n) for n in range(len(source))]
        assert len({view.rgb[:, :, 0].tobytes() for view in seen}) == len(source) == 10


def test_targets_are_divided_by_the_persons_median(sets: tuple[Path, Path, Path]) -> None:
    views = ViewSet(sets[0])
    exact, partial = sample(views.view(0), (64, 32), None), sample(views.view(1), (64, 32), None)
    inside = exact.person > 0
    assert float(exact.disparity[inside].median()) == pytest.approx(1, abs=0.01)
    assert float(exact.disparity[exact.background > 0].max()) < 0.5
    assert float((exact.background * exact.person).sum()) == 0
    assert float(exact.behind.sum()) == 0, "all of the background is exact"
    assert float(partial.background.sum()) == 0
    assert float(partial.behind.mean()) > 0.2
    x, y, truth = (exact.points[0, 0, 5, part] for part in range(3))
    assert float(exact.disparity[0, int(y), int(x)]) == pytest.approx(float(truth), rel=0.03)


def test_a_mirror_image_mirrors_truth_and_points(sets: tuple[Path, Path, Path]) -> None:
    batch = sample(ViewSet(sets[0]).view(0), (64, 32), None)
    flipped = mirror(batch)
    assert torch.equal(flipped.image, batch.image.flip(-1))
    assert torch.equal(flipped.disparity, batch.disparity.flip(-1))
    assert float(flipped.points[0, 0, 0, 0]) == pytest.approx(31 - float(batch.points[0, 0, 0, 0]))
    assert float(flipped.points[0, 0, 2, 0]) == pytest.approx(31 - float(batch.points[0, 0, 3, 0])), "renamed"
    torch.testing.assert_close(mirror(flipped).points, batch.points)


def test_a_rotation_moves_truth_and_points_with_the_picture(sets: tuple[Path, Path, Path]) -> None:
    batch = sample(ViewSet(sets[0]).view(0), (64, 32), None)
    turned = rotate(batch, 20)
    inside = turned.person > 0
    assert float(inside.sum()) == pytest.approx(float((batch.person > 0).sum()), rel=0.15)
    assert set(turned.disparity.unique().tolist()) <= set(batch.disparity.unique().tolist()), "nothing is blended"
    seen = turned.points[0, 0][turned.points[0, 0, :, 3] > 0]
    assert len(seen) >= 8
    for x, y, truth, _ in seen[2:-2].tolist():  # the outer ones lie on the silhouette
        assert float(turned.disparity[0, round(y), round(x)]) == pytest.approx(truth, rel=0.02)
    torch.testing.assert_close(rotate(batch, 0).image, batch.image, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def whole(sets: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train four steps without an interruption; return the run."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    start(job(run, sets))
    return run


def test_a_run_leaves_weights_record_and_curve(whole: Path) -> None:
    record = json.loads((whole / "record.json").read_text())
    assert record["steps"] == 4
    assert record["images"] == 12
    assert [data["kind"] for data in record["data"]] == ["synthetic", "photos"]
    assert record["weights"]["chosen"]["step"] in (2, 4)
    assert options_from(record["options"]) == TINY
    assert (whole / "curve.png").stat().st_size > 5000
    initial, best = load_file(INIT), load_file(whole / BEST)
    assert initial.keys() == best.keys()
    changed = {key for key in best if not torch.equal(best[key], initial[key])}
    assert any(key.startswith("depth.") for key in changed)
    assert any(key.startswith("encoder.blocks.12.") for key in changed)
    assert not any(key.startswith(("encoder.stem.", "encoder.blocks.0.", "encoder.blocks.4.")) for key in changed)


def test_an_interrupted_run_ends_with_the_same_bits(whole: Path, sets: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """A run that is killed at its third step and continues from the checkpoint of the second is bit-equal."""
    run, stopped = tmp_path / "run", 0

    def interrupt(self: Batches, step: int) -> object:
        nonlocal stopped
        if step == 3:
            stopped += 1
            raise KeyboardInterrupt
        return original(self, step)

    original = Batches.batch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batches, "batch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            start(job(run, sets))
    assert stopped == 1
    assert load_checkpoint(run).step == 2
    resume(run, sets[:2], sets[2:])
    assert same(run / LAST, whole / LAST)
    assert same(run / BEST, whole / BEST)
    ends = [load_checkpoint(folder).tensors for folder in (run, whole)]
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[1]), "the optimizer's state too"


@pytest.mark.slow
def test_two_processes_repeat_themselves_and_resume(sets: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """With two processes, the same run twice is equal, and so is one that continues from its second step."""
    options, first = replace(TINY, processes=2, photos=0), tmp_path / "a"
    for name in ("a", "b"):
        start(job(tmp_path / name, sets, options))
    assert same(first / LAST, tmp_path / "b" / LAST)
    back = tmp_path / "c"
    back.mkdir()
    for name in ("run.json", "step-000002.safetensors"):
        shutil.copy(first / name, back)
    latest = {"schema": 1, "step": 2, "file": "step-000002.safetensors", "seconds": 0.0, "best": None}
    (back / "latest.json").write_text(json.dumps(latest | {"sha256": sha256_file(back / "step-000002.safetensors")}))
    resume(back, sets[:2], sets[2:])
    assert load_checkpoint(back).step == 4
    assert same(back / LAST, first / LAST)


def test_a_run_is_not_begun_twice_nor_resumed_on_other_data(whole: Path, sets: tuple[Path, Path, Path]) -> None:
    with pytest.raises(UsageError, match="already holds a run"):
        start(job(whole, sets))
    with pytest.raises(UsageError, match="other data"):
        resume(whole, sets[:1], sets[2:])
    with pytest.raises(UsageError, match="no run"):
        resume(whole / "nothing", sets[:2], sets[2:])


def test_a_damaged_checkpoint_is_named(whole: Path, tmp_path: Path) -> None:
    latest = json.loads((whole / "latest.json").read_text())
    (tmp_path / "latest.json").write_text(json.dumps(latest))
    with pytest.raises(StageError, match=str(latest["file"])):
        load_checkpoint(tmp_path)


def test_minutes_end_a_run(sets: tuple[Path, Path, Path], tmp_path: Path) -> None:
    record = start(job(tmp_path / "run", sets, replace(TINY, minutes=0.02, steps=10**6)))
    assert 1 <= record["steps"] < 1000
    assert record["seconds"] >= 1.2


def test_options_are_checked() -> None:
    assert set_options(Options(), ["sizes=64x32:1"]).sizes == ((64, 32, 1.0),)
    assert set_options(Options(), ["steps=7", "weights.relief=0.5"]).weights.relief == 0.5
    for words, message in (
        (["stepz=7"], "did you mean 'steps'"),
        (["weights.releif=1"], r"weights\.relief"),
        (["steps"], "not an assignment"),
        (["steps=x"], "takes a int"),
        (["synthetic=0"], "at least one synthetic"),
        (["sizes=1"], "256x192:0.7"),
        (["weights=1"], "no option"),
    ):
        with pytest.raises(UsageError, match=message):
            set_options(Options(), words)
    with pytest.raises(UsageError, match="multiples of 32"):
        options_from({"sizes": [[100, 64, 1.0]]})
    assert options_from(json.loads(json.dumps(TINY.as_json()))) == TINY


def test_the_net_learns_the_balls(sets: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Sixteen steps on six views lower the validation score: all parts of training work together."""
    options = replace(TINY, steps=16, photos=0, sizes=((64, 32, 1.0),), warmup=2, ema=0.5, checkpoint_every=100)
    start(job(tmp_path / "run", sets, replace(options, validate_every=4)))
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    scores = [line["score"] for line in log if line["kind"] == "validation"]
    assert scores[-1] < 0.8 * scores[0], scores
    assert np.isfinite(scores).all()


def test_the_mean_teacher_labels_photos_alone(sets: tuple[Path, Path, Path], tmp_path: Path) -> None:
    options = replace(TINY, weights=replace(TINY.weights, photo_consistency=0.5))
    trainer = Trainer(job(tmp_path / "run", sets, options), 0)
    batch = trainer.batches.batch(0)
    taught = trainer._taught(batch)
    photos = batch.known == 0
    assert bool(photos.any()) and bool((~photos).any())
    assert bool((taught[~photos] == 0).all()) and bool((taught[photos] != 0).any())
    assert not torch.equal(batch.image, batch.clean), "the net and its teacher get different colours"
    terms = trainer.train_step(0.0)
    assert 0 < terms["photo_consistency"] < 2


@pytest.mark.slow
def test_no_process_outlives_a_run_that_was_killed(sets: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """An orphan would keep writing into the folder of the run that follows it."""
    words = ["processes=2", "steps=100000", "synthetic=1", "photos=0", "sizes=64x32:1", "checkpoint_every=100000"]
    command = [sys.executable, "-m", "reference", "train", str(sets[0]), "--out", str(tmp_path / "run")]
    with subprocess.Popen([*command, *(part for word in words for part in ("--set", word))]) as run:
        log = tmp_path / "run/log.jsonl"
        _wait(lambda: log.is_file() and log.stat().st_size > 0, 120)
        children = psutil.Process(run.pid).children(recursive=True)
        assert len(children) >= 2
        run.kill()
    _wait(lambda: not any(child.is_running() and child.status() != "zombie" for child in children), 30)


def _wait(done: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "the condition did not hold in time"
        time.sleep(0.2)
