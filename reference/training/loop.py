"""The training loop of one process; an interruption does not change the result."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hydramobile.errors import StageError
from reference.portrait import shaped_as
from reference.training import checkpoint as files
from reference.training.batches import Batch, Batches
from reference.training.checkpoint import Checkpoint
from reference.training.distill import Teacher
from reference.training.objective import compute, decode, objective, objective_rng
from reference.training.options import Options, rate_factor
from reference.training.precision import autocast, choose_precision
from reference.training.progress import Progress
from reference.training.validate import validate
from reference.training.views import open_sets

BEST, LAST = "weights.safetensors", "last.safetensors"


@dataclass(frozen=True, slots=True)
class Job:
    """The arguments of every process of a run. `init` also decides the net's shape; `teacher`: weights to distill."""

    run: Path
    data: tuple[Path, ...]
    validation: tuple[Path, ...]
    init: Path
    options: Options
    resume: bool = False
    teacher: Path | None = None


class Trainer:
    """The net, its moving average and its optimizer in one process."""

    def __init__(self, job: Job, rank: int) -> None:
        from safetensors.torch import load_file

        self.job, self.rank, self.options = job, rank, job.options
        initial = load_file(job.init)
        self.modules = self.load(initial)
        self.teacher = Teacher(job.teacher) if job.teacher is not None else None
        self.average = copy.deepcopy(self.modules)
        self.bf16 = choose_precision(self.modules.values())
        for module in (*self.modules.values(), *self.average.values()):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self.freeze()
        groups = parameter_groups(self.modules, self.options)
        self.rates = [float(group["lr"]) for group in groups]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
        self.parameters = [p for group in groups for p in group["params"]]
        synthetic, photos = open_sets(job.data)
        self.batches = Batches(self.options, synthetic, photos, rank)
        self.validation = open_sets(job.validation)[0] if job.validation and rank == 0 else []
        self.step, self.seconds = 0, 0.0
        self.best: dict[str, Any] | None = None
        if job.resume:
            self.restore(files.load_checkpoint(job.run))

    def load(self, tensors: Mapping[str, Tensor]) -> dict[str, nn.Module]:
        """Return the modules with their initial weights."""
        modules = shaped_as(tensors)
        files.load_named(modules, tensors)
        return modules

    def freeze(self) -> None:
        """Stop the gradients of everything that is not trained."""
        freeze(self.modules["encoder"], self.options.frozen)

    def validate(self) -> dict[str, float]:
        """Return figures of the moving average on the validation views; of `score`, less is better."""
        height, width, _ = self.options.sizes[0]
        return validate(self.average, self.validation, self.options.validation_views, (height, width))

    def train_step(self, progress: float) -> dict[str, float]:
        """Do one step of the optimizer; return the mean of each term over this process's batch."""
        factor = rate_factor(self.step, self.options.warmup, progress, self.options.last_rate)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        loss, terms = self.loss(self.batches.batch(self.step))
        if not bool(torch.isfinite(loss)):
            raise StageError("train", f"the loss is {float(loss)} at step {self.step}: {terms}")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._average_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.options.clip)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return {"loss": float(loss.detach()), "gradient_norm": float(norm), "rate": factor, **terms}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a batch and the mean of each of its terms."""
        image = batch.image.contiguous(memory_format=torch.channels_last)
        with autocast(self.bf16):
            features = self.modules["encoder"](image)
            disparity, logit = (output.float() for output in decode(self.modules, features))
        rng = objective_rng(self.options.seed, self.step, self.rank)
        taught = self._taught(batch) if self.options.weights.photo_consistency > 0 else None
        loss, terms = objective(disparity, logit, batch, self.options.weights, rng, taught)
        if self.teacher is not None:
            distilled, more = self.teacher.terms(image, features, disparity, logit, self.options.weights)
            loss, terms = loss + distilled, {**terms, **more}
        return loss, terms

    @torch.no_grad()
    def _taught(self, batch: Batch) -> Tensor:
        """Return the moving average's disparity of the unaugmented photos, [B, 1, H, W]; 0 for synthetic views.

        This is the mean teacher of Tarvainen and Valpola (2017). Photos carry no depth, but the predicted depth must
        not depend on the light.
        """
        taught = batch.disparity[:, None] * 0
        photos = batch.known == 0
        if bool(photos.any()):
            clean = batch.clean[photos].contiguous(memory_format=torch.channels_last)
            taught[photos] = compute(self.average, clean)[0]
        return taught

    def _average_gradients(self) -> None:
        """Replace the gradients of every process by their mean over all processes."""
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.options.processes == 1:
            return
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        flat /= self.options.processes
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()

    @torch.no_grad()
    def _update_average(self) -> None:
        """Update the moving average: quickly at the start, so that the initial weights are soon forgotten."""
        decay = min(self.options.ema, (self.step + 1) / (self.step + 15))
        for name, module in self.modules.items():
            average = dict(self.average[name].named_parameters())
            for key, parameter in module.named_parameters():
                if parameter.requires_grad:
                    average[key].lerp_(parameter, 1 - decay)

    def checkpoint(self) -> Checkpoint:
        tensors: dict[str, Tensor] = {f"net.{k}": v for k, v in files.named(self.modules).items()}
        tensors |= {f"ema.{k}": v for k, v in files.named(self.average).items()}
        tensors |= files.optimizer_tensors(self.optimizer)
        return Checkpoint(self.step, tensors, {"seconds": self.seconds, "best": self.best})

    def restore(self, saved: Checkpoint) -> None:
        for prefix, modules in (("net.", self.modules), ("ema.", self.average)):
            tensors = {k.removeprefix(prefix): v for k, v in saved.tensors.items() if k.startswith(prefix)}
            files.load_named(modules, tensors)
        files.restore_optimizer(self.optimizer, saved.tensors)
        self.step, self.seconds, self.best = saved.step, float(saved.state["seconds"]), saved.state["best"]


def freeze(encoder: nn.Module, blocks: int) -> None:
    """Freeze the stem and the first `blocks` blocks; 0 freezes nothing."""
    if blocks:
        parts = [encoder.get_submodule("stem"), *(encoder.get_submodule(f"blocks.{i}") for i in range(blocks))]
        for part in parts:
            part.requires_grad_(False)


def parameter_groups(modules: Mapping[str, nn.Module], options: Options) -> list[dict[str, Any]]:
    """Return AdamW's groups: one rate per module, weight decay on matrices and kernels only, no frozen parameters."""
    rates = {"encoder": options.encoder_rate, "depth": options.depth_rate, "segmentation": options.matte_rate}
    rates |= {options.head: options.depth_rate} if options.head else {}
    groups: list[dict[str, Any]] = []
    for name, module in modules.items():
        trained = [p for p in module.parameters() if p.requires_grad]
        for decayed in (True, False):
            chosen = [p for p in trained if (p.ndim > 1) == decayed]
            if chosen:
                decay = options.weight_decay if decayed else 0.0
                groups.append({"params": chosen, "lr": rates[name], "weight_decay": decay})
    return groups


def train(trainer: Trainer) -> None:
    """Train to the end of the options' steps or minutes; a process whose parent was killed stops at its next step."""
    parent = os.getppid()
    options, chief = trainer.options, trainer.rank == 0
    progress = Progress(trainer.job.run, options, trainer.step, trainer.seconds) if chief else None
    started, before = time.monotonic(), trainer.seconds
    while True:
        trainer.seconds = before + time.monotonic() - started
        share = _agreed(trainer.step / options.steps, trainer.seconds, options)
        if share >= 1:
            break
        if options.processes > 1 and os.getppid() != parent:
            raise StageError("train", f"the run was killed; continue with --resume {trainer.job.run}")
        terms = trainer.train_step(share)
        if progress is not None:
            progress.note(trainer.step, share, trainer.seconds, terms)
            if trainer.step % options.validate_every == 0:
                _validate(trainer, progress)
            if trainer.step % options.checkpoint_every == 0:
                files.save_checkpoint(trainer.job.run, trainer.checkpoint())
    if progress is not None:
        if trainer.step % options.validate_every or trainer.best is None:
            _validate(trainer, progress)
        files.save_checkpoint(trainer.job.run, trainer.checkpoint())
        files.save_weights(trainer.job.run / LAST, files.named(trainer.average))


def _agreed(steps: float, seconds: float, options: Options) -> float:
    """Return the finished share of the run, 0 to 1, equal in every process. With minutes, by the clock of rank 0."""
    if not options.minutes:
        return steps
    share = torch.tensor([seconds / (60 * options.minutes)])
    if options.processes > 1:
        dist.broadcast(share, 0)
    return float(share)


def _validate(trainer: Trainer, progress: Progress) -> None:
    """Measure the moving average on the validation views and save it if it is the best so far."""
    if not trainer.validation:
        files.save_weights(trainer.job.run / BEST, files.named(trainer.average))
        trainer.best = {"step": trainer.step}
        return
    figures = trainer.validate()
    if trainer.best is None or figures["score"] < trainer.best["score"]:
        trainer.best = {"step": trainer.step, **figures}
        files.save_weights(trainer.job.run / BEST, files.named(trainer.average))
    progress.validated(trainer.step, figures)
