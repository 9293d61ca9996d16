"""Latency on a device that opens a page: a phone on a cable, a tablet, another browser of this computer.

The command serves a page and times every artifact in it, as `latency` does in headless Chromium. It compares one entry
of each artifact with the reference, and adds the rows to latency.json.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from socket import AF_INET, AF_INET6

from benchmarks.evidence.latency import Agreement, LatencyEvidence, LatencyRow, Load, PageDevice
from benchmarks.evidence.row import Label
from benchmarks.latency.run import Timing, blank, with_times, write_latency
from benchmarks.latency.subject import Monitor, main_subject, measure, subjects_of
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
from hydramobile.http_server import bracketed
from hydramobile.samples import load_samples

# Seconds to wait for a page to reconnect after it was reloaded or closed.
RETURN_LIMIT = 60.0
# Number of samples to compare. Two, because `err_sens` divides an error by how far the output moves between samples.
JUDGED = 2
# Addresses on which a server listens to all networks.
WILDCARDS = ("0.0.0.0", "")
MOBILE = re.compile(r"Android|iPhone|iPad")


@dataclass(frozen=True, slots=True)
class Job:
    """One artifact to time in one runtime."""

    runtime: str
    built: Built

    @property
    def title(self) -> str:
        return f"{self.runtime}: {self.built.artifact.target} {self.built.artifact.recipe}"


@dataclass(frozen=True, slots=True)
class ServeContext:
    """Inputs that all jobs share: the request, sampling options, goldens, limits, and the progress callback."""

    request: Request
    timing: Timing
    bench: Bench
    goldens: Sequence[Golden]
    progress: Progress


@dataclass(frozen=True, slots=True)
class Client:
    """The device that opened the page, and the evidence label of its measurements."""

    evidence: Label
    device: PageDevice


@dataclass(frozen=True, slots=True)
class Served:
    """The rows that one run of the command measured, and the number of rows that were requested."""

    evidence: LatencyEvidence
    requested: int


def run_serve(request: Request, timing: Timing, host: str, progress: Progress) -> Served:
    """Serve a page, measure in the browser that opens it, write `build/<model>/latency.json`, return this run's rows.

    The run ends when the page has run all artifacts, when it does not reconnect within `RETURN_LIMIT` seconds, or at
    Ctrl-C. Rows measured until then are stored. Raises UsageError for a runtime that does not run in a browser,
    NothingJudged when no artifact suits the requested runtimes.
    """
    jobs = plan_jobs(request)
    goldens = load_goldens(request.spec, load_samples(request.spec, "judge")[:JUDGED], request.spec.size, request.out)
    bench = Bench(request.spec, load_budget(request.spec), goldens)
    context = ServeContext(request, timing, bench, goldens, progress)
    rows: list[LatencyRow] = []
    with desk_on(host) as desk, attached(desk, progress) as phones:
        progress(f"open {desk.address}")
        for name in names_of(host):
            progress(f"from the network: http://{bracketed(name)}:{desk.server.port}/phone.html#{desk.token}")
        with contextlib.suppress(KeyboardInterrupt):
            for row in collect(context, desk, phones, jobs):
                rows.append(row)
                write_latency(request, rows)
        progress("done" if len(rows) == len(jobs) else f"stopped after {len(rows)} of {len(jobs)}")
    return Served(replace(write_latency(request, rows), results=tuple(rows)), len(jobs))


def plan_jobs(request: Request) -> list[Job]:
    names = resolve_runtimes(request.runtimes or ("browser",))
    foreign = [name for name in names if not isinstance(load_runtime(name), WebRuntime)]
    if foreign:
        raise UsageError(f"--serve measures in a browser: {', '.join(foreign)} runs in none (take --runtime browser)")
    ships = shipping(request)
    shipped = [built for built in select(request)[0] if ships(built.artifact.target, built.artifact.recipe)]
    jobs = [Job(n, built) for n in names for built in shipped if built.artifact.target in load_runtime(n).targets]
    if not jobs:
        raise NothingJudged("none of these runtimes runs any of the chosen artifacts")
    return jobs


def names_of(host: str) -> list[str]:
    """Return the addresses under which the network reaches a server on `host`: all of this computer for 0.0.0.0."""
    if host not in WILDCARDS:
        return [] if host in ("127.0.0.1", "localhost") else [host]
    return sorted(name for name in own_addresses() if "." in name and not name.startswith("127."))


@contextlib.contextmanager
def desk_on(host: str) -> Iterator[Desk]:
    try:
        desk = Desk(host, names_of(host))
    except OSError as error:
        raise UsageError(f"cannot serve on {host}: {error}") from error
    try:
        yield desk
    finally:
        desk.close()


@contextlib.contextmanager
def attached(desk: Desk, progress: Progress) -> Iterator[list[Phone]]:
    """Open the page in the browser of every phone on a cable, and yield these phones."""
    phones, summary = attach(desk.server.port)
    progress(summary)
    try:
        for phone in phones:
            phone.open(desk.address)
        yield phones
    finally:
        for phone in phones:
            phone.release()


def collect(context: ServeContext, desk: Desk, phones: Sequence[Phone], jobs: Sequence[Job]) -> Iterator[LatencyRow]:
    """Run the jobs in order and yield one row per job; stop when no page reconnects."""
    session = desk.here()
    greeted: set[str] = set()
    for job in jobs:
        if not session:
            context.progress(f"no page reconnected within {RETURN_LIMIT:g} s")
            return
        page = RemotePage(desk)
        client = client_of(page, phones)
        if client.device.id not in greeted:
            greeted.add(client.device.id)
            context.progress(f"{client.device.name} connected ({client.evidence}: {client.device.why})")
        row = run_job(context, job, page, client)
        show_on_page(page, row)
        yield row
        if job is jobs[-1]:
            with contextlib.suppress(StageError):
                page.call("end", {"text": "Done. The command has every result; this page may be closed."})
            return
        desk.renew(page.session)
        session = desk.here(RETURN_LIMIT)


def client_of(page: RemotePage, phones: Sequence[Phone]) -> Client:
    """Identify the device that opened a page.

    It counts as another device if the request comes from another address, or if a phone is on the cable and the user
    agent is a phone's browser.
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
    return Client("measured-on-device" if other else "browser-host", device)


def own_addresses() -> set[str]:
    import psutil

    cards = [address for addresses in psutil.net_if_addrs().values() for address in addresses]
    addresses = {card.address.partition("%")[0] for card in cards if card.family in (AF_INET, AF_INET6)}
    return addresses | {"127.0.0.1", "::1"}


def run_job(context: ServeContext, job: Job, page: RemotePage, client: Client) -> LatencyRow:
    """Time one artifact in one runtime on the page's device; a row without times holds the reason."""
    context.progress(job.title)
    runtime = load_runtime(job.runtime)
    if not isinstance(runtime, WebRuntime):
        raise UsageError(f"{job.runtime} runs in no browser")
    runtime.link, runtime.evidence = page, client.evidence
    row = replace(blank(job.built.artifact, runtime), device=client.device, threads=context.timing.threads)
    try:
        lacking = runtime.lacks(page.offer)
        if lacking:
            return replace(row, verdict="unavailable", reason=lacking)
        verify(job.built.folder, job.built.artifact)
        return timed(context, job, page, runtime, row)
    except HydraError as error:
        return replace(row, verdict="failed", stage=stage_of(error, "run"), reason=reason_of(error))
    except Exception as error:  # noqa: BLE001  a page may answer anything: that is this row's failure
        return replace(row, verdict="failed", stage="run", reason=f"the page's answer: {reason_of(error)}")


def timed(context: ServeContext, job: Job, page: RemotePage, runtime: WebRuntime, row: LatencyRow) -> LatencyRow:
    """Time all entries, then compare one of them with the reference: times of wrong outputs do not count."""

    def say(text: str) -> None:
        context.progress(f"  {text}")
        page.call("say", {"text": f"{job.title}: {text}"})

    threads, before = context.timing.threads, load()
    row = replace(row, runtime_version=runtime.version())
    subjects = subjects_of(runtime, job.built.folder, job.built.artifact, context.goldens[0], threads)
    software = page.software(runtime.backend)
    # Times come first: the comparison would warm the runtime up, and the first load would not be a cold start.
    times = None if software else measure(subjects, [], context.timing.seconds, Monitor(say, lambda: None))
    say("compare with the reference")
    agreement = compare(context, job, runtime, main_subject(subjects).ident)
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


def compare(context: ServeContext, job: Job, runtime: WebRuntime, ident: str) -> Agreement:
    """Compare the timed entry with the reference, by the code and limits of `parity`."""
    entry = job.built.artifact.entry(ident)
    session = runtime.open(job.built.folder, entry, context.timing.threads)
    try:
        known = [dict(golden.inputs) for golden in context.goldens]
        row = next(judge_entry(context.bench, blank_parity(job.built.artifact, runtime), session, entry, known))
    finally:
        session.close()
    return Agreement(row.entry, row.mode, row.verdict, row.reason, row.samples, row.measures)


def show_on_page(page: RemotePage, row: LatencyRow) -> None:
    """Show the row in the page, on the device's screen."""
    title = {"artifact": row.name, "runtime": row.runtime}
    lines = [
        {**title, "entry": entry.entry, "first": f"{entry.first_s * 1e3:.1f}", "median": f"{entry.p50_ms:.1f}"}
        for entry in row.entries
    ]
    with contextlib.suppress(StageError):
        page.call("row", {"rows": lines or [{**title, "reason": f"{row.verdict}: {row.reason}"}]})


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
        raise NothingJudged("no artifact was timed: no page connected, or its browser cannot run the chosen runtimes")
    if len(rows) < served.requested:
        raise StageError("run", f"the page left after {len(rows)} of {served.requested} artifacts")
    names = ", ".join(dict.fromkeys(f"{row.where} ({row.evidence})" for row in timed_rows))
    return f"{len(timed_rows)} artifacts timed on {names}"
