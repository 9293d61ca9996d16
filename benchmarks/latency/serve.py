"""Latency on a device that opens a page: a phone on a cable, a tablet, another browser of this computer.

The command serves a page, has it run every artifact as `latency` does in headless Chromium, judges one output of
each, and stores what came back beside the other times.
"""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.latency.run import Timing, blank, shippable, write_latency
from benchmarks.latency.worker import entry_of, measure, primary, subjects_of
from benchmarks.machine import load
from benchmarks.parity.artifact import Bench, Blank, judge_entry
from benchmarks.parity.run import Request, select
from benchmarks.runtime import load_runtime, resolve_runtimes
from benchmarks.runtimes.web import WebRuntime
from benchmarks.runtimes.web.adb import Phone, attach
from benchmarks.runtimes.web.remote import Desk, RemotePage
from hydramobile.artifact import Artifact, verify
from hydramobile.budget import load_budget
from hydramobile.errors import HydraError, NothingJudged, StageError, UsageError
from hydramobile.goldens import Golden, load_goldens
from hydramobile.samples import load_samples

# Seconds a page may take to come back, after it was loaded anew or closed.
RETURN_LIMIT = 60.0
# Samples whose outputs are compared: one more than one, so that an error can be seen against what photos change.
JUDGED = 2
MOBILE = re.compile(r"Android|iPhone|iPad")
Row = dict[str, Any]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Job:
    runtime: str
    folder: Path
    artifact: Artifact

    @property
    def title(self) -> str:
        return f"{self.runtime}: {self.artifact.target} {self.artifact.recipe}"


@dataclass(frozen=True, slots=True)
class Bed:
    """What every job needs: the model's goldens and limits, the times wanted, who is told."""

    request: Request
    timing: Timing
    bench: Bench
    goldens: Sequence[Golden]
    progress: Progress


def run_serve(request: Request, timing: Timing, host: str, progress: Progress) -> Row:
    """Serve, wait for a page, measure, and write `build/<model>/latency.json`; returns it with only this run's rows.

    Ends when the page has run everything, did not come back within `RETURN_LIMIT` seconds, or at Ctrl-C; what was
    measured until then is stored. Raises UsageError for a runtime that runs in no browser, NothingJudged when there
    is no artifact for those asked.
    """
    jobs = line_up(request)
    goldens = load_goldens(request.spec, load_samples(request.spec, "judge")[:JUDGED], request.spec.size, request.out)
    bench = Bench(request.spec, load_budget(request.spec), goldens)
    bed = Bed(request, timing, bench, goldens, progress)
    rows: list[Row] = []
    with desk_on(host) as desk, attached(desk, progress) as phones:
        progress(f"open {desk.address}")
        if host != "127.0.0.1":
            progress(f"from the network: http://<address of this computer>:{desk.server.port}/phone.html#{desk.token}")
        with contextlib.suppress(KeyboardInterrupt):
            for row in collect(bed, desk, phones, jobs):
                rows.append(row)
                write_latency(request, rows)
        progress("done" if len(rows) == len(jobs) else f"stopped after {len(rows)} of {len(jobs)}")
    return {**write_latency(request, rows), "results": rows, "asked": len(jobs)}


def line_up(request: Request) -> list[Job]:
    names = resolve_runtimes(request.runtimes or ("browser",))
    foreign = [name for name in names if not isinstance(load_runtime(name), WebRuntime)]
    if foreign:
        raise UsageError(f"--serve measures in a browser: {', '.join(foreign)} runs in none (take --runtime browser)")
    found = shippable(request, select(request)[0])
    jobs = [Job(n, folder, a) for n in names for folder, a in found if a.target in load_runtime(n).targets]
    if not jobs:
        raise NothingJudged("none of these runtimes runs any of the chosen artifacts")
    return jobs


@contextlib.contextmanager
def desk_on(host: str) -> Iterator[Desk]:
    try:
        desk = Desk(host)
    except OSError as error:
        raise UsageError(f"cannot serve on {host}: {error}") from error
    try:
        yield desk
    finally:
        desk.close()


@contextlib.contextmanager
def attached(desk: Desk, progress: Progress) -> Iterator[list[Phone]]:
    phones, told = attach(desk.server.port)
    progress(told)
    try:
        for phone in phones:
            phone.open(desk.address)
        yield phones
    finally:
        for phone in phones:
            phone.release()


def collect(bed: Bed, desk: Desk, phones: Sequence[Phone], jobs: Sequence[Job]) -> Iterator[Row]:
    """The row of each job, as long as there is a page."""
    session = desk.here()
    told: set[str] = set()
    for job in jobs:
        if not session:
            bed.progress(f"no page came back within {RETURN_LIMIT:g} s")
            return
        page = RemotePage(desk)
        about = device_of(page, phones)
        if about["device"]["id"] not in told:
            told.add(about["device"]["id"])
            bed.progress(f"{about['device']['name']} is here ({about['evidence']}: {about['device']['why']})")
        row = {**blank(job.artifact.target, job.artifact.recipe, job.artifact.sha256), "runtime": job.runtime}
        row |= {**about, "threads": bed.timing.threads, **run_job(bed, job, page, about["evidence"])}
        tell(page, row)
        yield row
        if job is jobs[-1]:
            with contextlib.suppress(StageError):
                page.call("end", {"text": "Done. The command has every result; this page may be closed."})
            return
        desk.renew(page.session)
        session = desk.here(RETURN_LIMIT)


def device_of(page: RemotePage, phones: Sequence[Phone]) -> Row:
    """{"evidence", "device"}: a page is on another device where it does not come from this computer, or where it comes
    through a phone's cable and names a phone's browser."""
    facts, peer = page.facts, page.device["peer"]
    cable = [phone for phone in phones if not phone.emulator]
    agent = facts["user_agent"]
    if peer not in own_addresses():
        other, why = True, f"it came from {peer}, which is not this computer"
    elif cable and MOBILE.search(agent):
        other, why = True, f"a phone's browser, and {' or '.join(phone.model for phone in cable)} hangs on the cable"
    elif MOBILE.search(agent):
        other, why = False, "it names itself a phone's browser, but no phone hangs on a cable"
    else:
        other, why = False, "a browser of this computer"
    device = {"id": f"{page.device['name']} | {agent}", "name": page.device["name"], "why": why, "facts": facts}
    models = [phone.model for phone in cable] if other and peer in own_addresses() else []
    evidence = "measured-on-device" if other else "browser-host"
    return {"evidence": evidence, "device": {**device, "models": models, "insecure": not facts.get("secure")}}


def own_addresses() -> set[str]:
    import psutil

    found = {address.address for cards in psutil.net_if_addrs().values() for address in cards}
    return found | {"127.0.0.1", "::1"}


def run_job(bed: Bed, job: Job, page: RemotePage, evidence: str) -> Row:
    """The measured fields of one artifact in one runtime on the page's device, or why there are none."""
    bed.progress(job.title)
    runtime: Any = load_runtime(job.runtime)
    runtime.link, runtime.evidence = page, evidence
    try:
        lacking = runtime.lacks(page.facts)
        if lacking:
            return {"verdict": "unavailable", "reason": lacking}
        verify(job.folder, job.artifact)
        return timed(bed, job, page, runtime)
    except HydraError as error:
        stage, text = (error.stage, error.message) if isinstance(error, StageError) else ("run", str(error))
        return {"verdict": "failed", "stage": stage, "reason": text}
    except Exception as error:  # noqa: BLE001  a page may answer anything: that is this row's failure
        traceback.print_exc()
        return {"verdict": "failed", "stage": "run", "reason": f"the page's answer: {type(error).__name__}: {error}"}


def timed(bed: Bed, job: Job, page: RemotePage, runtime: WebRuntime) -> Row:
    def say(text: str) -> None:
        bed.progress(f"  {text}")
        page.call("say", {"text": f"{job.title}: {text}"})

    threads, before = bed.timing.threads, load()
    version = {"runtime_version": runtime.version()}
    subjects = subjects_of(runtime, job.folder, job.artifact, bed.goldens[0], threads)
    software = page.software(runtime.backend)
    # Measured first, so that the cold start is one.
    result: Row = {} if software else measure(subjects, [], bed.timing.seconds, say, lambda: None)
    say("compare with the reference")
    checked = agreement(bed, job, runtime, primary(subjects).ident)
    environment = {**runtime.environment(threads), **page.call("watched", {})}
    about = {**version, "agreement": checked, "environment": environment}
    if checked["verdict"] != "pass":
        return {**about, "verdict": "failed", "stage": "parity", "reason": checked["reason"]}
    if software:
        return {**about, "verdict": "untimed", "reason": "a software renderer: its time says nothing about a GPU"}
    return {**about, **result, "load": {"before": before, "after": load()}}


def agreement(bed: Bed, job: Job, runtime: Any, ident: str) -> Row:
    """How the entry that is timed compares with the reference, by the code and limits of parity."""
    entry = entry_of(job.artifact, ident)
    session = runtime.open(job.folder, entry, bed.timing.threads)
    try:
        made = [dict(golden.inputs) for golden in bed.goldens]
        found = next(judge_entry(bed.bench, Blank(job.artifact, runtime), session, entry, made))
    finally:
        session.close()
    return {key: found.as_json()[key] for key in ("entry", "mode", "verdict", "reason", "samples", "measures")}


def tell(page: RemotePage, row: Mapping[str, Any]) -> None:
    """Show the row on the device."""
    name = f"{row['target']}/{row['recipe']}"
    own = {"artifact": name, "runtime": row["runtime"]}
    lines = [
        {**own, "entry": e["entry"], "first": f"{e['first_s'] * 1e3:.1f}", "median": f"{e['p50_ms']:.1f}"}
        for e in row["entries"]
    ]
    with contextlib.suppress(StageError):
        page.call("row", {"rows": lines or [{**own, "reason": f"{row['verdict']}: {row['reason']}"}]})


def conclude_serve(document: Mapping[str, Any]) -> str:
    """The reason line of a pass; raises StageError for a failed or missing row, NothingJudged without any time."""
    rows: Sequence[Mapping[str, Any]] = document["results"]
    timed_rows = [row for row in rows if row["verdict"] == "measured"]
    bad = [row for row in rows if row["verdict"] == "failed"]
    if bad:
        first = bad[0]
        where = f"{first['target']} {first['recipe']} in {first['runtime']}"
        raise StageError(first["stage"], f"{where}: {first['reason']} ({len(bad)} of {len(rows)} failed)")
    if not timed_rows:
        raise NothingJudged("no artifact was timed: no page came, or its browser lacks what was asked for")
    if len(rows) < document["asked"]:
        raise StageError("run", f"the page left after {len(rows)} of {document['asked']} artifacts")
    names = ", ".join(dict.fromkeys(f"{row['device']['name']} ({row['evidence']})" for row in timed_rows))
    return f"{len(timed_rows)} artifacts timed on {names}"
