"""Pruning: the least important channels are cut, the budget holds, and keeping all channels changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hydramobile.errors import StageError, UsageError
from reference.portrait import build, shaped, shaped_as
from reference.pruning.cut import (
    HEADS,
    Ceiling,
    Kept,
    block_costs,
    blocks,
    choose,
    cut,
    encoder_rest,
    head_costs,
    watched,
)
from reference.pruning.run import Target, first_batches, prune_file
from reference.training.checkpoint import load_named, named
from reference.training.loop import Job, Trainer
from reference.training.objective import compute
from reference.training.options import Options
from reference.training.run import start

MakeSet = Callable[..., Path]
WEIGHTS = Path(__file__).parents[2] / "models/portrait/weights.safetensors"
SIZE = (256, 192)


@pytest.fixture(scope="module")
def full() -> dict[str, nn.Module]:
    modules = build()
    load_named(modules, load_file(WEIGHTS))
    return modules


@pytest.fixture(scope="module")
def scores(full: dict[str, nn.Module]) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    counts = {name: 48 if "width" in name else 24 for name in watched(full)}
    counts |= {f"block {i}": block.depthwise.conv.out_channels for i, block in enumerate(blocks(full))}
    return {name: torch.rand(count, generator=rng) for name, count in counts.items()}


@pytest.fixture(scope="module")
def sets(make_set: MakeSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("sets")
    return make_set(base / "a", 1, 6), make_set(base / "photos", 2, 4, "photos", (0,))


def test_costs_add_up_to_the_net(full: dict[str, nn.Module]) -> None:
    costs, rest, heads = block_costs(full, SIZE), encoder_rest(full, SIZE), head_costs(48, SIZE)
    counts = [block.depthwise.conv.out_channels for block in blocks(full)]
    macs = rest[0] + heads[0] + sum(n * c[0] for n, c in zip(counts, costs, strict=True))
    parameters = rest[1] + heads[1] + sum(n * c[1] for n, c in zip(counts, costs, strict=True))
    assert parameters == sum(p.numel() for module in full.values() for p in module.parameters()) == 3_090_322
    assert macs == pytest.approx(524.7e6, rel=1e-3), "as the model card has it"


def test_all_channels_kept_is_the_net_itself(full: dict[str, nn.Module]) -> None:
    middles = tuple(tuple(range(block.depthwise.conv.out_channels)) for block in blocks(full))
    same = cut(full, Kept(middles, dict.fromkeys(HEADS, tuple(range(48))), dict.fromkeys(HEADS, tuple(range(24)))))
    assert all(torch.equal(value, same[key]) for key, value in named(full).items())


def test_dead_channels_are_cut(full: dict[str, nn.Module], scores: dict[str, Tensor]) -> None:
    """Pruning a net with dead channels in every block to exactly the live ones does not change its maps."""
    modules = build()
    load_named(modules, load_file(WEIGHTS))
    ranked = {name: score.clone() for name, score in scores.items()}
    for number, block in enumerate(blocks(modules)):
        if number:
            dead = torch.arange(0, block.depthwise.conv.out_channels, 2)[: 8 * (len(ranked[f"block {number}"]) // 32)]
            for value in (block.depthwise.norm.weight, block.depthwise.norm.bias):
                value.data[dead] = 0
            ranked[f"block {number}"][dead] = 0
    dead_of = [int((ranked[f"block {i}"] == 0).sum()) for i in range(16)]
    left = [len(ranked[f"block {i}"]) - n for i, n in enumerate(dead_of)]
    costs = block_costs(modules, SIZE)
    fixed = [a + b for a, b in zip(encoder_rest(modules, SIZE), head_costs(48, SIZE), strict=True)]
    most = [fixed[k] + sum(n * cost[k] for n, cost in zip(left, costs, strict=True)) for k in (0, 1)]
    kept = choose(modules, ranked, 48, Ceiling(SIZE, most[0], most[1]))
    assert list(map(len, kept.middles)) == left
    small = shaped(*kept.shape)
    load_named(small, cut(modules, kept))
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        for pruned, unpruned in zip(compute(small, image), compute(modules, image), strict=True):
            assert torch.allclose(pruned, unpruned, atol=1e-4)


def test_the_budget_holds_and_the_impossible_is_refused(full: dict[str, nn.Module], scores: dict[str, Tensor]) -> None:
    kept = choose(full, scores, 32, Ceiling(SIZE, 260e6, 1.6e6))
    small = shaped_as(cut(full, kept))
    assert sum(p.numel() for module in small.values() for p in module.parameters()) <= 1.6e6
    assert all(n % 8 == 0 for n in kept.shape[0]) and kept.shape[1] == 32
    with pytest.raises(UsageError, match="smallest reachable net"):
        choose(full, scores, 48, Ceiling(SIZE, 10e6, 1e5))
    with pytest.raises(UsageError, match="multiple of 8"):
        choose(full, scores, 30, Ceiling(SIZE, 260e6, 1.6e6))
    with pytest.raises(StageError, match="not the weights of a portrait"):
        shaped_as({"other": torch.zeros(1)})


def test_a_pruned_nets_norms_have_its_own_statistics(sets: tuple[Path, Path], tmp_path: Path) -> None:
    """Measured on one batch, every norm's statistics equal the statistics of that batch in the pruned net."""
    student = tmp_path / "slim.safetensors"
    prune_file(WEIGHTS, sets, student, Target(32, 260e6, 1.6e6, 1))
    tensors = load_file(student)
    modules = shaped_as(tensors)
    load_named(modules, tensors)
    norm = blocks(modules)[8].project.norm
    assert norm.running_mean is not None
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    seen: list[Tensor] = []
    with torch.inference_mode():
        # The norms before it used the batch's own statistics too, so eval mode on the same batch must give them again.
        compute(modules, next(first_batches(sets, 1)).image)
    assert torch.allclose(seen[0].mean((0, 2, 3)), norm.running_mean, rtol=0.02, atol=0.02)


def test_a_pruned_net_learns_from_its_teacher(sets: tuple[Path, Path], tmp_path: Path) -> None:
    student = tmp_path / "slim.safetensors"
    prune_file(WEIGHTS, sets, student, Target(32, 260e6, 1.6e6, 1))
    options = replace(
        Options(), steps=2, processes=1, synthetic=2, photos=1, sizes=((64, 32, 1.0),), frozen=0, warmup=1
    )
    job = Job(tmp_path / "run", sets, (), student, options, teacher=WEIGHTS)
    record = start(job)
    assert record["teacher_sha256"] != record["init_sha256"]
    trainer = Trainer(replace(job, run=tmp_path / "other"), 0)
    batch = trainer.batches.batch(0)
    trainer.batches = SimpleNamespace(batch=lambda step: batch)  # type: ignore[assignment]  # the same photos every time
    errors = [trainer.train_step(0.0)["distill_features"] for _ in range(10)]
    assert errors[-1] < 0.9 * errors[0]
    with pytest.raises(UsageError, match="no weights of a teacher"):
        start(replace(job, run=tmp_path / "third", teacher=tmp_path / "none"))
