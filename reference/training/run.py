"""A whole run: check the request, train, draw the curve, write the record."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, spawn

from hydramobile.errors import StageError, UsageError
from hydramobile.files import dump_json, read_json, sha256_file, write_text
from reference.training.loop import BEST, LAST, Job
from reference.training.options import options_from
from reference.training.precision import cpu_has_bf16
from reference.training.progress import draw_curve, read_log
from reference.training.views import ViewSet, open_sets
from reference.training.work import work

RUN, RECORD = "run.json", "record.json"
STAGE = "train"


def start(job: Job) -> dict[str, Any]:
    """Train `job` from its first step; return the record. Raises UsageError if its folder already holds a run."""
    if (job.run / RUN).exists():
        raise UsageError(f"{job.run} already holds a run: name another folder, or continue with --resume {job.run}")
    if not job.init.is_file():
        raise UsageError(f"no weights to start from at {job.init}")
    if job.teacher is not None and not job.teacher.is_file():
        raise UsageError(f"no weights of a teacher at {job.teacher}")
    described = {
        "schema": 1,
        "options": job.options.as_json(),
        "init": {"file": str(job.init), "sha256": sha256_file(job.init)},
        "data": describe(job.data),
        "validation": describe(job.validation),
        **_teacher(job),
    }
    open_sets(job.data)
    write_text(job.run / RUN, dump_json(described))
    return _run(replace(job, resume=False))


def resume(run: Path, data: Sequence[Path], validation: Sequence[Path]) -> dict[str, Any]:
    """Continue the interrupted run at `run`, on the same sets. Raises UsageError for other sets."""
    if not (run / RUN).is_file():
        raise UsageError(f"no run to continue at {run}")
    request = read_json(run / RUN, STAGE)
    if describe(data) != request["data"] or describe(validation) != request["validation"]:
        raise UsageError(f"{run} was trained on other data: {request['data']}; a longer training is a run of its own")
    init = Path(request["init"]["file"])
    if not init.is_file() or sha256_file(init) != request["init"]["sha256"]:
        raise StageError(STAGE, f"the weights that {run} started from, {init}, are gone or changed")
    teacher = Path(request["teacher"]["file"]) if "teacher" in request else None
    if teacher is not None and (not teacher.is_file() or sha256_file(teacher) != request["teacher"]["sha256"]):
        raise StageError(STAGE, f"the teacher of {run}, {teacher}, is gone or changed")
    begun = (run / "latest.json").is_file()
    options = options_from(request["options"])
    return _run(Job(run, tuple(data), tuple(validation), init, options, begun, teacher))


def _teacher(job: Job) -> dict[str, Any]:
    if job.teacher is None:
        return {}
    return {"teacher": {"file": str(job.teacher), "sha256": sha256_file(job.teacher)}}


def describe(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Describe sets for a record: by content, not by path."""
    sets = [ViewSet(folder) for folder in folders]
    return [
        {"name": s.folder.name, "kind": s.kind, "views": len(s), "seed": s.index["seed"], "content": s.content_hash}
        for s in sets
    ]


def _run(job: Job) -> dict[str, Any]:
    began = time.time()
    processes = job.options.processes
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        if processes == 1:
            work(0, job, store)
        else:
            try:
                spawn(work, (job, store), processes)
            except ProcessExitedException as error:
                message = f"a process of the run died: {error}; continue with --resume {job.run}"
                raise StageError(STAGE, message) from error
            except ProcessRaisedException as error:
                raise StageError(STAGE, str(error).strip().splitlines()[-1]) from error
    draw_curve(job.run)
    record = make_record(job, time.time() - began)
    write_text(job.run / RECORD, dump_json(record))
    return record


def make_record(job: Job, wall: float) -> dict[str, Any]:
    """Return the training record that is kept beside the weights."""
    request = read_json(job.run / RUN, STAGE)
    latest = read_json(job.run / "latest.json", STAGE)
    batch = (job.options.synthetic + job.options.photos) * job.options.processes
    checks = [line for line in read_log(job.run) if line["kind"] == "validation"]
    return {
        "schema": 1,
        "weights": {"sha256": sha256_file(job.run / BEST), "chosen": latest["best"]},
        "last": {"sha256": sha256_file(job.run / LAST), "step": latest["step"]},
        "init_sha256": request["init"]["sha256"],
        **({"teacher_sha256": request["teacher"]["sha256"]} if "teacher" in request else {}),
        "data": request["data"],
        "validation": request["validation"],
        "options": request["options"],
        "steps": latest["step"],
        "images": latest["step"] * batch,
        "seconds": round(float(latest["seconds"]), 1),
        "wall_of_last_session": round(wall, 1),
        "precision": "bf16" if cpu_has_bf16() else "float32",
        "machine": f"{platform.system()} {platform.machine()}, {processes_text(job)}",
        "torch": torch.__version__,
        "checks": checks,
    }


def processes_text(job: Job) -> str:
    count = job.options.processes
    return f"{count} process{'es' if count > 1 else ''} of one thread"
