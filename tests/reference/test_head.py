"""A further head, trained alone on the features of a frozen encoder: its truth, its loss, and what stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hydramobile.errors import StageError, UsageError
from hydramobile.files import read_json
from reference.hydra import NormalsHead
from reference.portrait import shaped_as
from reference.training.batches import mirror, rotate, sample
from reference.training.loop import BEST, Job
from reference.training.options import Options, check
from reference.training.run import start
from reference.training.views import ViewSet
from reference.training.write import write_index, write_shard

MakeSet = Callable[..., Path]

INIT = Path(__file__).parents[2] / "models/portrait/weights.safetensors"
TINY = replace(
    Options(),
    steps=40,
    processes=1,
    synthetic=2,
    photos=0,
    sizes=((64, 32, 1.0),),
    warmup=2,
    depth_rate=4e-3,
    validation_views=4,
    validate_every=40,
    checkpoint_every=40,
    ema=0.8,
    head="normals",
)


@pytest.fixture(scope="module")
def trained(make_set: MakeSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """Return a run of a few steps, and its figures before the first one."""
    base = tmp_path_factory.mktemp("normals")
    sets = (make_set(base / "a", 1, 8, normals=True),)
    before = start(Job(base / "none", sets, sets, INIT, replace(TINY, steps=1, depth_rate=1e-9)))["checks"][-1]
    start(Job(base / "run", sets, sets, INIT, TINY))
    return base / "run", before


def test_only_the_head_is_trained(trained: tuple[Path, dict[str, float]]) -> None:
    run, before = trained
    initial, found = load_file(INIT), load_file(run / BEST)
    assert all(torch.equal(found[key], value) for key, value in initial.items()), "shipped weights keep their bits"
    new = found.keys() - initial.keys()
    assert new and all(key.startswith("normals.") for key in new)
    parameters = sum(found[key].numel() for key in new)
    assert parameters <= 100_000, parameters
    after = read_json(run / "record.json", "test")["checks"][-1]
    assert after["angle_mean"] < before["angle_mean"] - 3, (before, after)
    modules = shaped_as(found)
    assert isinstance(modules["normals"], NormalsHead)


def test_a_head_without_truth_or_name_is_refused(make_set: MakeSet, tmp_path: Path) -> None:
    sets = (make_set(tmp_path / "a", 1, 4),)
    with pytest.raises(StageError, match="no view of a batch has surface normals: synthesize the sets with --normals"):
        start(Job(tmp_path / "run", sets, (), INIT, TINY))
    with pytest.raises(UsageError, match="did you mean 'normals'"):
        check(replace(TINY, head="normal"))


def test_normals_turn_with_the_picture(tmp_path: Path) -> None:
    """A surface that faces right faces left in the mirror, and up after a quarter turn counterclockwise."""
    normal = np.zeros((1, 64, 64, 3))
    normal[..., 0], normal[..., 2] = 127 * 0.6, 127 * 0.8
    arrays = {
        "rgb": np.zeros((1, 64, 64, 3)),
        "disparity": np.ones((1, 64, 64)),
        "alpha": np.full((1, 64, 64), 255),
        "known": np.array([2]),
        "face": np.zeros((1, 2, 12, 4)),
        "normal": normal,
    }
    write_index(tmp_path, "synthetic", 1, (64, 64), [write_shard(tmp_path, 0, arrays, [{}])])
    batch = sample(ViewSet(tmp_path).view(0), (64, 64), None)
    middle = (0, slice(None), 32, 32)
    assert bool(batch.surface.all())
    assert batch.normal[middle].tolist() == pytest.approx([0.6, 0, 0.8], abs=0.01)
    assert mirror(batch).normal[middle].tolist() == pytest.approx([-0.6, 0, 0.8], abs=0.01)
    assert rotate(batch, 90).normal[middle].tolist() == pytest.approx([0, 0.6, 0.8], abs=0.01)
