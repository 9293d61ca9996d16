"""Quantization-aware fine-tuning on a few small views: the rounded net's loss falls, and the weights lie on grids."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hydramobile.errors import StageError, UsageError
from hydramobile.files import sha256_file
from hydramobile.recipes import Recipe, recipe
from reference.portrait import build
from reference.training.qat import Job, OnGrid, first_steps, grids, tune

MakeSet = Callable[..., Path]
INIT = Path(__file__).parents[2] / "models/portrait/weights.safetensors"


@pytest.fixture(scope="module")
def sets(make_set: MakeSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("qat")
    return make_set(base / "a", 1, 8), make_set(base / "validation", 3, 4)


def test_it_lowers_the_loss_of_the_rounded_net(sets: tuple[Path, Path], tmp_path: Path) -> None:
    job = Job(tmp_path / "run", sets[:1], INIT, recipe("w4"), sets[1:], steps=12, views=3, sizes=((96, 64, 1.0),))
    record = tune(job)
    first, last = record["losses"][:3], record["losses"][-3:]
    assert sum(last) < 0.9 * sum(first)
    scores = [check["score"] for check in record["checks"]]
    assert min(scores[1:]) < scores[0]
    path = job.out / "weights.safetensors"
    assert record["weights"]["sha256"] == sha256_file(path)
    assert json.loads((job.out / "record.json").read_text())["from_sha256"] == sha256_file(INIT)
    after, before = load_file(path), load_file(INIT)
    assert after.keys() == before.keys()
    assert all(after[key].shape == value.shape for key, value in before.items())
    for name, bits in grids(build(), job.recipe).items():
        weight = after[f"{name}.weight"]
        step = weight.abs().amax(tuple(range(1, weight.ndim)), keepdim=True) / (2 ** (bits - 1) - 1)
        codes = weight / step.clamp(min=1e-12)
        assert torch.allclose(codes, codes.round(), atol=1e-3), f"{name} is not on its own grid"
    kept = [key for key, value in after.items() if key.endswith("running_var") and torch.equal(value, before[key])]
    assert kept, "batch norms keep their statistics"
    with pytest.raises(UsageError, match="already holds a run"):
        tune(job)


def test_a_grid_begins_where_rounding_moves_least_and_learns() -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 40)
    weight[0, 0] = 9.0  # an outlier, which the best grid clips
    steps = first_steps(weight, 7)
    assert steps[0, 0] < 9.0 / 7
    grid = OnGrid(weight, 4)
    source = weight.clone().requires_grad_()
    rounded = grid(source)
    assert len(rounded[1].unique()) <= 15
    rounded.square().sum().backward()
    assert source.grad is not None
    assert bool((source.grad[1] != 0).any())
    assert grid.log_step.grad is not None
    assert bool((grid.log_step.grad != 0).all())
    assert float(rounded[0].detach().max() / steps[0, 0]) == pytest.approx(7, rel=1e-3)


def test_grids_follow_the_recipe() -> None:
    modules = build()
    plain = grids(modules, recipe("w4"))
    assert set(plain.values()) == {4}
    assert "encoder.stem.conv" not in plain, "small layers stay in float, as in exports"
    mixed = Recipe("own", "mixed", 4, base="w8", layers=(("encoder.blocks.9.*", "w4"), ("depth.*", "float16")))
    bits = grids(modules, mixed)
    assert bits["encoder.blocks.9.expand.conv"] == 4
    assert not [name for name in bits if name.startswith("depth.")]
    with pytest.raises(UsageError, match=r"as p4: qat trains for integers"):
        grids(modules, replace(mixed, base="p4"))
    with pytest.raises(UsageError, match="float16 stores no layer as integers"):
        grids(modules, recipe("float16"))
    with pytest.raises(StageError, match=r"'head\.\*' matches no layer"):
        grids(modules, replace(mixed, layers=(("head.*", "w4"),)))


def test_bad_input(sets: tuple[Path, Path], tmp_path: Path) -> None:
    job = Job(tmp_path / "run", sets[:1], INIT, recipe("w4"), steps=1)
    with pytest.raises(UsageError, match="no weights to start from"):
        tune(replace(job, weights=tmp_path / "none.safetensors"))
    with pytest.raises(UsageError, match="--steps is 0"):
        tune(replace(job, steps=0))
    with pytest.raises(UsageError, match="no set of views"):
        tune(replace(job, data=(tmp_path / "none",)))
    tensors = load_file(INIT)
    key = "encoder.stem.conv.weight"
    for name, change, reason in (
        ("nan", {key: tensors[key] * float("nan")}, rf"{key} holds NaN"),
        ("shape", {key: tensors[key][:3]}, "do not fit module 'encoder'"),
    ):
        path = tmp_path / f"{name}.safetensors"
        save_file({**tensors, **change}, path)
        with pytest.raises(StageError, match=reason):
            tune(replace(job, weights=path))
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(StageError, match="not a readable safetensors file"):
        tune(replace(job, weights=tmp_path / "torn.safetensors"))
    assert not (tmp_path / "run").exists(), "nothing is left behind"
