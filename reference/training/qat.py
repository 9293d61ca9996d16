"""Quantization-aware fine-tuning: weights that lose little when rounded, distilled from the float net they come from.

Every layer that the recipe stores as integers computes with rounded weights. The weights beneath are trained
(straight-through estimator, Bengio et al. 2013), and so is each channel's step (learned step size, Esser et al. 2020).
Batch norms keep their statistics. The targets are the float net's own outputs alone, because parity compares the
quantized net with them. The written weights lie on their grids already, so an export that finds the same grids stores
them exactly.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hydramobile.errors import StageError, UsageError
from hydramobile.files import dump_json, sha256_file, write_text
from hydramobile.loader import read_weights
from hydramobile.measures import JUDGES, PERSON
from hydramobile.recipes import Recipe, assign_recipes, recipe, smallest_quantized
from reference.portrait import shaped_as
from reference.training.batches import Batches, Source, sample
from reference.training.checkpoint import load_named, named, save_weights
from reference.training.distill import Teacher
from reference.training.objective import decode
from reference.training.options import Options, rate_factor
from reference.training.precision import autocast, choose_precision
from reference.training.run import describe
from reference.training.views import ViewSet, open_sets

STAGE = "qat"
WEIGHTS, RECORD = "weights.safetensors", "record.json"
# Shares of a channel's largest weight at which its grid may end before training moves it.
CLIPS = np.linspace(1.0, 0.6, 17)
# Number of validations per run.
CHECKS = 4
# Steps per printed line.
REPORTED = 20
WARMUP = 10


@dataclass(frozen=True, slots=True)
class Job:
    """A fine-tuning run. `rate`: peak rate of the weights; `step_rate`: of the grids' steps, relative to their size."""

    out: Path
    data: tuple[Path, ...]
    weights: Path
    recipe: Recipe
    validation: tuple[Path, ...] = ()
    steps: int = 300
    seed: int = 1
    views: int = 48
    rate: float = 1e-4
    step_rate: float = 1e-3
    sizes: tuple[tuple[int, int, float], ...] = Options().sizes


class OnGrid(nn.Module):
    """Round a weight [outputs, ...] to symmetric integers of `bits` bits with a per-channel step, straight-through.

    The largest weight of a channel always becomes the end of its grid, so a quantizer that reads the values finds the
    same grid.
    """

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        self.top = 2 ** (bits - 1) - 1
        self.log_step = nn.Parameter(first_steps(weight.detach(), self.top).log())

    def forward(self, weight: Tensor) -> Tensor:
        peak = weight.detach().abs().amax(tuple(range(1, weight.ndim)), keepdim=True)
        # A larger step would round even the largest weight to less than the end of the grid.
        step = torch.minimum(self.log_step.exp(), (peak / (self.top - 0.49)).clamp(min=1e-12))
        code = (weight / step).clamp(-self.top, self.top)
        rounded: Tensor = (code + (code.round() - code).detach()) * step
        return rounded


def first_steps(weight: Tensor, top: int) -> Tensor:
    """Return per channel the step at which rounding to the nearest moves the weights least, [outputs, 1, ...]."""
    dims = tuple(range(1, weight.ndim))
    peak = weight.abs().amax(dims, keepdim=True).clamp(min=1e-12)
    steps = torch.stack([peak * float(clip) / top for clip in CLIPS])
    rounded = (weight / steps).round().clamp(-top, top) * steps
    errors = (rounded - weight).square().sum(tuple(d + 1 for d in dims), keepdim=True)
    return steps.gather(0, errors.argmin(0, keepdim=True))[0]


def grids(modules: Mapping[str, nn.Module], chosen: Recipe) -> dict[str, int]:
    """Return the bits of every layer that `chosen` stores as integers, by name ("encoder.stem.conv").

    Raises UsageError for a recipe that stores no layer as integers, or that stores layers in another way than
    per-channel integers and float.
    """
    layers = {key.removesuffix(".weight"): value for key, value in named(modules).items() if value.ndim > 1}
    sizes = {name: value.numel() for name, value in layers.items()}
    by_module = [Counter(size for name, size in sizes.items() if name.startswith(f"{module}.")) for module in modules]
    least = smallest_quantized(max(by_module, key=lambda counts: sum(size * count for size, count in counts.items())))
    mixed = chosen if chosen.base else replace(chosen, scheme="mixed", base=chosen.name)
    bits: dict[str, int] = {}
    for name, layer in assign_recipes(sizes, mixed, least, recipe("float32")).items():
        if layer.scheme == "float":
            continue
        if layer.scheme != "int" or layer.block or layer.sparsity or layer.activation_bits or layer.dynamic:
            raise UsageError(
                f"{name} as {layer.name}: qat trains for integers with a per-channel scale (w2 to w8) and for float"
            )
        bits[name] = layer.weight_bits
    if not bits:
        raise UsageError(f"{chosen.name} stores no layer as integers: nothing to train for")
    return bits


class Tuner:
    """The quantized net, its teacher and its optimizer."""

    def __init__(self, job: Job) -> None:
        self.job = job
        tensors = read_weights(job.weights)
        self.modules = shaped_as(tensors)
        load_named(self.modules, tensors)
        self.teacher = Teacher(job.weights)
        self.bits = grids(self.modules, job.recipe)
        self.bf16 = choose_precision(self.modules.values())
        for module in self.modules.values():
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        put_on_grids(self.modules, self.bits)
        steps = [p for m in self.modules.values() for key, p in m.named_parameters() if key.endswith("log_step")]
        ids = {id(p) for p in steps}
        others = [p for m in self.modules.values() for p in m.parameters() if id(p) not in ids]
        self.rates = (job.rate, job.step_rate)
        self.parameters = [*others, *steps]
        self.optimizer = torch.optim.AdamW(
            [{"params": others, "lr": job.rate}, {"params": steps, "lr": job.step_rate}], weight_decay=0.0
        )
        self.options = replace(Options(), seed=job.seed, steps=job.steps, processes=1, sizes=job.sizes)
        synthetic, photos = open_sets(job.data)
        self.batches = Batches(self.options, synthetic, photos)
        self.validation = open_sets(job.validation)[0] if job.validation else []

    def train_step(self, number: int) -> dict[str, float]:
        """Do one step of the optimizer; return the loss and the mean of each term."""
        share = number / self.job.steps
        factor = rate_factor(number, WARMUP, share, self.options.last_rate)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        image = self.batches.batch(number).image.contiguous(memory_format=torch.channels_last)
        with autocast(self.bf16):
            features = self.modules["encoder"](image)
            disparity, logit = (output.float() for output in decode(self.modules, features))
        loss, terms = self.teacher.terms(image, features, disparity, logit, self.options.weights)
        if not bool(torch.isfinite(loss)):
            raise StageError(STAGE, f"the loss is {float(loss.detach())} at step {number}: {terms}")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.options.clip)
        self.optimizer.step()
        return {"loss": float(loss.detach()), **terms}

    def check(self) -> dict[str, float]:
        """Compare with the teacher on whole validation views; return {} without any.

        The figures are matte IoU loss and order flips, mean and worst, and `score`, the sum of both means: less is
        better.
        """
        if not self.validation:
            return {}
        height, width, _ = self.options.sizes[0]
        source = Source(self.validation, 0)
        measured: dict[str, list[float]] = {"iou_loss": [], "order_flips": []}
        for number in range(min(self.job.views, len(source))):
            image = sample(source.pick(number), (height, width), None).image
            with torch.inference_mode():
                output, truth = (predict(net, image) for net in (self.modules, self.teacher.modules))
            measured["iou_loss"].append(1 - float(JUDGES["alpha-matte"](output[1], truth[1], None)["iou"]))
            person = truth[1] > PERSON
            measured["order_flips"].append(float(JUDGES["relative-depth"](output[0], truth[0], person)["order_flips"]))
        figures = {f"{name}_mean": float(np.mean(values)) for name, values in measured.items()}
        figures |= {f"{name}_worst": float(np.max(values)) for name, values in measured.items()}
        return {**figures, "score": figures["iou_loss_mean"] + figures["order_flips_mean"]}

    def rounded(self) -> dict[str, Tensor]:
        """Return all weights by the keys of the weights file, with the quantized layers rounded."""
        tensors: dict[str, Tensor] = {}
        for key, value in named(self.modules).items():
            layer, cut, rest = key.partition(".parametrizations.weight.")
            if not cut:
                tensors[key] = value
            elif rest == "original":
                module, _, path = layer.partition(".")
                weight: Tensor = self.modules[module].get_submodule(path).weight  # type: ignore[assignment]  # a layer's weight is a tensor
                tensors[f"{layer}.weight"] = weight.detach().clone()
        return tensors


def put_on_grids(modules: Mapping[str, nn.Module], bits: Mapping[str, int]) -> None:
    for name, count in bits.items():
        module, _, path = name.partition(".")
        layer = modules[module].get_submodule(path)
        weight: Tensor = layer.weight  # type: ignore[assignment]  # a layer's weight is a tensor
        parametrize.register_parametrization(layer, "weight", OnGrid(weight, count))


def predict(modules: Mapping[str, nn.Module], image: Tensor) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return (depth, alpha) of the heads with their activations, each [1, 1, H, W]."""
    features = modules["encoder"](image)
    return modules["depth"](*features).numpy(), modules["segmentation"](*features).numpy()


def tune(job: Job) -> dict[str, Any]:
    """Fine-tune; write the record and the weights that are best on the validation views, or the last without views.

    Raises UsageError for a missing file, a folder that already holds a run, or a recipe without integer layers.
    """
    if (job.out / RECORD).exists():
        raise UsageError(f"{job.out} already holds a run; name another folder")
    if not job.weights.is_file():
        raise UsageError(f"no weights to start from at {job.weights}")
    if job.steps < 1:
        raise UsageError(f"--steps is {job.steps}; a run has at least one")
    torch.manual_seed(job.seed)
    tuner, began = Tuner(job), time.monotonic()
    checks: list[dict[str, float]] = [{"step": 0, **tuner.check()}]
    best: tuple[float, int] | None = None
    every = max(1, job.steps // CHECKS)
    losses: list[float] = []
    for number in range(job.steps):
        losses.append(tuner.train_step(number)["loss"])
        done = number + 1
        if done % REPORTED == 0 or done == job.steps:
            left = (time.monotonic() - began) / done * (job.steps - done) / 60
            recent = losses[-REPORTED:]
            typer.echo(f"step {done} of {job.steps}: loss {sum(recent) / len(recent):.4f}, {left:.1f} minutes to go")
        if done % every == 0 or done == job.steps:
            figures = tuner.check()
            checks.append({"step": done, **figures})
            if best is None or not figures or figures["score"] < best[0]:
                best = (figures.get("score", 0.0), done)
                save_weights(job.out / WEIGHTS, tuner.rounded())
    assert best is not None
    record = make_record(job, tuner, checks, best[1])
    record |= {"losses": [round(loss, 5) for loss in losses], "seconds": round(time.monotonic() - began, 1)}
    write_text(job.out / RECORD, dump_json(record))
    return record


def make_record(job: Job, tuner: Tuner, checks: Sequence[Mapping[str, float]], chosen: int) -> dict[str, Any]:
    sets: Sequence[ViewSet] = tuner.validation
    return {
        "schema": 1,
        "weights": {"sha256": sha256_file(job.out / WEIGHTS), "step": chosen},
        "from_sha256": sha256_file(job.weights),
        "recipe": asdict(job.recipe),
        "bits": dict(Counter(map(str, tuner.bits.values()))),
        "data": describe(job.data),
        "validation": describe([s.folder for s in sets]),
        "options": {name: getattr(job, name) for name in ("steps", "seed", "views", "rate", "step_rate", "sizes")},
        "precision": "bf16" if tuner.bf16 else "float32",
        "torch": torch.__version__,
        "checks": [{name: round(value, 6) for name, value in row.items()} for row in checks],
    }
