"""Latency on a device that opens a page: a phone on a cable, a tablet, another browser of this computer.

The command serves a page, has it run every artifact as `latency` does in headless Chromium, judges one output of
each, and stores what came back beside the other times.
"""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.evidence.latency import Agreement, LatencyEvidence, LatencyRow, Load, PageDevice
from benchmarks.evidence.row import Label
from benchmarks.latency.run import Timing, blank, with_times, write_latency
from benchmarks.latency.subject import Watch, main_subject, measure, subjects_of
from benchmarks.machine import load
from benchmarks.parity.artifact import judge_entry
from benchmarks.parity.bench import Bench
from benchmarks.parity.rows import blank as blank_parity
from benchmarks.request import Built, Progress, Request, reason_of, select, shipping, stage_of
from benchmarks.runtime import load_runtime, resolve_runtimes
from benchmarks.runtimes.web import WebRuntime
from benchmarks.runtimes.web.adb import Phone, attach
from benchmarks.runtimes.web.remote import Desk, RemotePage
from hydramobile.artifact import verify
from hydramobile.budget import load_budget
from hydramobile.errors import HydraError, NothingJudged, StageError, UsageError
from hydramobile.goldens import Golden, load_goldens
from hydramobile.samples import load_samples

# Seconds a page may take to come back, after it was loaded anew or closed.
RETURN_LIMIT = 60.0
# Samples whose outputs are compared: two, so that an error can be seen against what photos change.
JUDGED = 2
MOBILE = re.compile(r"Android|iPhone|iPad")


@dataclass(frozen=True, slots=True)
class Job:
    """One artifact in one runtime."""

    runtime: str
    built: Built

    @property
    def title(self) -> str:
        return f"{self.runtime}: {self.built.artifact.target} {self.built.artifact.recipe}"


@dataclass(frozen=True, slots=True)
class Bed:
    """What every job needs: the model's goldens and limits, the times wanted, and who is told."""

    request: Request
    timing: Timing
    bench: Bench
    goldens: Sequence[Golden]
    progress: Progress


@dataclass(frozen=True, slots=True)
class Visit:
    """The device behind a page, and the evidence label of what it computes."""

    evidence: Label
    device: PageDevice


@dataclass(frozen=True, slots=True)
class Served:
    """What one run of the command measured, and how many artifacts it was to measure."""

    evidence: LatencyEvidence
    asked: int


def run_serve(request: Request, timing: Timing, host: str, progress: Progress) -> Served:
    """Serve, wait for a page, measure, and write `build/<model>/latency.json`; returns only this run's rows.

    Ends when the page has run everything, did not come back within `RETURN_LIMIT` seconds, or at Ctrl-C; what was
    measured until then is stored. Raises UsageError for a runtime that runs in no browser, NothingJudged when there
    is no artifact for those asked.
    """
    jobs = line_up(request)
    goldens = load_goldens(request.spec, load_samples(request.spec, "judge")[:JUDGED], request.spec.size, request.out)
    bench = Bench(request.spec, load_budget(request.spec), goldens)
    bed = Bed(request, timing, bench, goldens, progress)
    rows: list[LatencyRow] = []
    with desk_on(host) as desk, attached(desk, progress) as phones:
        progress(f"open {desk.address}")
        if host != "127.0.0.1":
            progress(f"from the network: http://<address of this computer>:{desk.server.port}/phone.html#{desk.token}")
        with contextlib.suppress(KeyboardInterrupt):
            for row in collect(bed, desk, phones, jobs):
                rows.append(row)
                write_latency(request, rows)
        progress("done" if len(rows) == len(jobs) else f"stopped after {len(rows)} of {len(jobs)}")
    return Served(replace(write_latency(request, rows), results=tuple(rows)), len(jobs))


def line_up(request: Request) -> list[Job]:
    names = resolve_runtimes(request.runtimes or ("browser",))
    foreign = [name for name in names if not isinstance(load_runtime(name), WebRuntime)]
    if foreign:
        raise UsageError(f"--serve measures in a browser: {', '.join(foreign)} runs in none (take --runtime browser)")
    ships = shipping(request)
    found = [built for built in select(request)[0] if ships(built.artifact.target, built.artifact.recipe)]
    jobs = [Job(n, built) for n in names for built in found if built.artifact.target in load_runtime(n).targets]
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
    """Yield the phones on a cable that reach the desk; each opens the page in its browser."""
    phones, summary = attach(desk.server.port)
    progress(summary)
    try:
        for phone in phones:
            phone.open(desk.address)
        yield phones
    finally:
        for phone in phones:
            phone.release()


def collect(bed: Bed, desk: Desk, phones: Sequence[Phone], jobs: Sequence[Job]) -> Iterator[LatencyRow]:
    """Yield the row of each job, as long as there is a page."""
    session = desk.here()
    greeted: set[str] = set()
    for job in jobs:
        if not session:
            bed.progress(f"no page came back within {RETURN_LIMIT:g} s")
            return
        page = RemotePage(desk)
        visit = visit_of(page, phones)
        if visit.device.id not in greeted:
            greeted.add(visit.device.id)
            bed.progress(f"{visit.device.name} is here ({visit.evidence}: {visit.device.why})")
        row = run_job(bed, job, page, visit)
        show_on_page(page, row)
        yield row
        if job is jobs[-1]:
            with contextlib.suppress(StageError):
                page.call("end", {"text": "Done. The command has every result; this page may be closed."})
            return
        desk.renew(page.session)
        session = desk.here(RETURN_LIMIT)


def visit_of(page: RemotePage, phones: Sequence[Phone]) -> Visit:
    """Return the device behind a page.

    It is another device where it does not come from this computer, or where it comes through a phone's cable and
    names a phone's browser.
    """
    offer, peer = page.offer, page.device.peer
    cable = [phone for phone in phones if not phone.emulator]
    agent = offer.user_agent
    if peer not in own_addresses():
        other, why = True, f"it came from {peer}, which is not this computer"
    elif cable and MOBILE.search(agent):
        other, why = True, f"a phone's browser, and {' or '.join(phone.model for phone in cable)} hangs on the cable"
    elif MOBILE.search(agent):
        other, why = False, "it names itself a phone's browser, but no phone hangs on a cable"
    else:
        other, why = False, "a browser of this computer"
    device = PageDevice(
        id=f"{page.device.name} | {agent}",
        name=page.device.name,
        why=why,
        facts=offer,
        models=tuple(phone.model for phone in cable) if other and peer in own_addresses() else (),
        insecure=not offer.secure,
    )
    return Visit("measured-on-device" if other else "browser-host", device)


def own_addresses() -> set[str]:
    import psutil

    found = {address.address for cards in psutil.net_if_addrs().values() for address in cards}
    return found | {"127.0.0.1", "::1"}


def run_job(bed: Bed, job: Job, page: RemotePage, visit: Visit) -> LatencyRow:
    """Return the row of one artifact in one runtime on the page's device: its times, or why there are none."""
    bed.progress(job.title)
    runtime = load_runtime(job.runtime)
    if not isinstance(runtime, WebRuntime):
        raise UsageError(f"{job.runtime} runs in no browser")
    runtime.link, runtime.evidence = page, visit.evidence
    row = replace(blank(job.built.artifact, runtime), device=visit.device, threads=bed.timing.threads)
    try:
        lacking = runtime.lacks(page.offer)
        if lacking:
            return replace(row, verdict="unavailable", reason=lacking)
        verify(job.built.folder, job.built.artifact)
        return timed(bed, job, page, runtime, row)
    except HydraError as error:
        return replace(row, verdict="failed", stage=stage_of(error, "run"), reason=reason_of(error))
    except Exception as error:  # noqa: BLE001  a page may answer anything: that is this row's failure
        traceback.print_exc()
        return replace(row, verdict="failed", stage="run", reason=f"the page's answer: {reason_of(error)}")


def timed(bed: Bed, job: Job, page: RemotePage, runtime: WebRuntime, row: LatencyRow) -> LatencyRow:
    """Measure, then compare one entry with the reference: times of wrong outputs do not count."""

    def say(text: str) -> None:
        bed.progress(f"  {text}")
        page.call("say", {"text": f"{job.title}: {text}"})

    threads, before = bed.timing.threads, load()
    row = replace(row, runtime_version=runtime.version())
    subjects = subjects_of(runtime, job.built.folder, job.built.artifact, bed.goldens[0], threads)
    software = page.software(runtime.backend)
    # Measured first, so that the cold start is one.
    times = None if software else measure(subjects, [], bed.timing.seconds, Watch(say, lambda: None))
    say("compare with the reference")
    agreement = compare(bed, job, runtime, main_subject(subjects).ident)
    environment = runtime.environment(threads)
    if environment.browser:
        hidden = bool(page.call("watched", {})["hidden"])
        environment = replace(environment, browser=replace(environment.browser, hidden=hidden))
    row = replace(row, agreement=agreement, environment=environment)
    if agreement.verdict != "pass":
        return replace(row, verdict="failed", stage="parity", reason=agreement.reason)
    if times is None:
        return replace(row, verdict="untimed", reason="a software renderer: its time says nothing about a GPU")
    return replace(with_times(row, replace(times, environment=environment)), load=Load(before, load()))


def compare(bed: Bed, job: Job, runtime: WebRuntime, ident: str) -> Agreement:
    """Compare the entry that is timed with the reference, by the code and limits of parity."""
    entry = job.built.artifact.entry(ident)
    session = runtime.open(job.built.folder, entry, bed.timing.threads)
    try:
        known = [dict(golden.inputs) for golden in bed.goldens]
        row = next(judge_entry(bed.bench, blank_parity(job.built.artifact, runtime), session, entry, known))
    finally:
        session.close()
    return Agreement(row.entry, row.mode, row.verdict, row.reason, row.samples, row.measures)


def show_on_page(page: RemotePage, row: LatencyRow) -> None:
    """Show the row on the device."""
    own = {"artifact": row.name, "runtime": row.runtime}
    lines = [
        {**own, "entry": entry.entry, "first": f"{entry.first_s * 1e3:.1f}", "median": f"{entry.p50_ms:.1f}"}
        for entry in row.entries
    ]
    with contextlib.suppress(StageError):
        page.call("row", {"rows": lines or [{**own, "reason": f"{row.verdict}: {row.reason}"}]})


def conclude_serve(served: Served) -> str:
    """Return the reason line of a pass; raise StageError for a failed or missing row, NothingJudged without a time."""
    rows = served.evidence.results
    timed_rows = [row for row in rows if row.verdict == "measured"]
    bad = [row for row in rows if row.verdict == "failed"]
    if bad:
        first = bad[0]
        where = f"{first.target} {first.recipe} in {first.runtime}"
        raise StageError(first.stage, f"{where}: {first.reason} ({len(bad)} of {len(rows)} failed)")
    if not timed_rows:
        raise NothingJudged("no artifact was timed: no page came, or its browser lacks what was asked for")
    if len(rows) < served.asked:
        raise StageError("run", f"the page left after {len(rows)} of {served.asked} artifacts")
    names = ", ".join(dict.fromkeys(f"{row.where} ({row.evidence})" for row in timed_rows))
    return f"{len(timed_rows)} artifacts timed on {names}"
