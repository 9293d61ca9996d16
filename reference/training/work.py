"""Run one process of a training: the trainer of the whole net, or of one head."""

from __future__ import annotations

import torch
import torch.distributed as dist

from reference.training.head import HEADS
from reference.training.loop import Job, Trainer, train


def work(rank: int, job: Job, store: str) -> None:
    """Run one process; rank 0 validates, writes checkpoints and prints."""
    torch.set_num_threads(1)
    processes = job.options.processes
    if processes > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=processes)
    try:
        train(trainer_of(job, rank))
    finally:
        if processes > 1:
            dist.destroy_process_group()


def trainer_of(job: Job, rank: int) -> Trainer:
    """Return the trainer of the whole net, or of the head that the options name."""
    return HEADS[job.options.head](job, rank) if job.options.head else Trainer(job, rank)
