"""Run commands in a page on another device. The page polls for a command, runs it and posts the result."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from benchmarks.evidence.envelope import typed
from benchmarks.evidence.environment import Offer
from benchmarks.runtimes.web.link import Link, Refused
from benchmarks.runtimes.web.server import Posts, Rejected, Server

# Seconds that a poll of the page waits for a command.
POLL = 20.0
# Seconds without a poll after which an idle page counts as gone.
SILENCE = 45.0
NAME_LENGTH = 80
# Bytes of a posted body. A phone introduces itself with about 700, and says less than 1,000 of an engine; the times of
# 1.5 s are at most 150,000 (one run per 0.1 ms, 10 bytes each). Outputs are the largest: a feature map has megabytes.
# No row of latency.json holds more than the introduction, an engine's facts and the times.
HELLO_LIMIT, ANSWER_LIMIT, TIMES_LIMIT, OUTPUTS_LIMIT = 8_192, 16_384, 512_000, 64_000_000
LIMITS = {"sample": TIMES_LIMIT, "fetch": OUTPUTS_LIMIT}
GONE = "the page was closed or loaded anew"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A connected page: the name that a person typed, its network address, and the features of its browser."""

    name: str
    peer: str
    offer: Offer


class Desk:
    """The server that one page at a time polls for commands. Its methods may be called from any thread.

    `session` identifies the connected page; "" without one. A page that leaves, hangs or reloads loses its session, and
    `ask` raises Refused for the callers that wait for it.
    """

    def __init__(self, host: str = "127.0.0.1", names: Iterable[str] = ()) -> None:
        """Serve on `host`, whose addresses are `names` besides localhost."""
        self.changed = threading.Condition()
        self.session = ""
        self.device = Visitor("", "", Offer(""))
        self.seen = 0.0
        self.waiting: dict[str, Any] | None = None
        self.pending, self.command = 0, ""
        self.answer: dict[str, Any] | None = None
        self.token = secrets.token_urlsafe(16)
        posts = Posts(self.token, self.take, self.body_limit)
        self.server = Server(host=host, posts=posts, names=names)

    @property
    def address(self) -> str:
        return f"{self.server.address}phone.html#{self.token}"

    def body_limit(self, path: str) -> int:
        """Return the bytes that a body posted to `path` may have now: an answer as many as its command needs."""
        if path != "/next":
            return HELLO_LIMIT
        with self.changed:
            return LIMITS.get(self.command, ANSWER_LIMIT) if self.pending else ANSWER_LIMIT

    def take(self, path: str, body: dict[str, Any], peer: str) -> Mapping[str, Any]:
        routes = {"/hello": self.hello, "/next": self.next, "/bye": self.bye}
        if path not in routes:
            raise Rejected(HTTPStatus.NOT_FOUND, f"nothing at {path[:80]} (there is: {', '.join(routes)})")
        with self.changed:
            return routes[path](body, peer)

    def hello(self, body: Mapping[str, Any], peer: str) -> Mapping[str, Any]:
        """Connect a page. `body` has the name that a person typed, and the features of the browser."""
        name, facts = body.get("name"), body.get("facts")
        if not isinstance(name, str) or not 1 <= len(name.strip()) <= NAME_LENGTH or not name.isprintable():
            raise Rejected(HTTPStatus.BAD_REQUEST, f"a name has 1 to {NAME_LENGTH} characters that print")
        if not printable(facts):
            raise Rejected(HTTPStatus.BAD_REQUEST, "facts have control characters")
        try:
            offer = typed(Offer, facts)
        except ValueError as error:
            raise Rejected(HTTPStatus.BAD_REQUEST, f"facts are the user agent and what it offers: {error}") from error
        if self.session not in ("", body.get("session")) and (self.pending or self.seconds_since_poll() < SILENCE):
            raise Rejected(HTTPStatus.CONFLICT, f"{self.device.name} is being measured; wait until it is done")
        self.set_session(secrets.token_hex(8))
        self.device = Visitor(name.strip(), peer, offer)
        return {"session": self.session}

    def seconds_since_poll(self) -> float:
        return time.monotonic() - self.seen

    def set_session(self, session: str = "") -> None:
        """Disconnect the page, drop its command, and connect the page of `session`, if any."""
        self.session, self.seen, self.pending, self.waiting = session, time.monotonic(), 0, None
        self.changed.notify_all()

    def next(self, body: Mapping[str, Any], peer: str) -> Mapping[str, Any]:
        """Take the answer to the last command, if there was one. Return the next command within `POLL` seconds."""
        self.check_session(body)
        if "id" in body:
            if not self.pending or body["id"] != self.pending or not ("result" in body or "error" in body):
                raise Rejected(HTTPStatus.CONFLICT, "no such command waits for an answer")
            self.pending, self.answer = 0, dict(body)
            self.changed.notify_all()
        self.seen = time.monotonic()
        self.changed.wait_for(lambda: self.waiting or self.session != body["session"], POLL)
        self.check_session(body)
        self.seen = time.monotonic()
        command, self.waiting = self.waiting, None
        return command or {"command": "wait"}

    def bye(self, body: Mapping[str, Any], peer: str) -> Mapping[str, Any]:
        """Disconnect the page."""
        self.check_session(body)
        self.set_session()
        return {}

    def check_session(self, body: Mapping[str, Any]) -> None:
        """Raise Rejected where the page is not the connected one."""
        if not self.session or body.get("session") != self.session:
            raise Rejected(HTTPStatus.CONFLICT, "this page is not the one at work")

    def ask(self, session: str, name: str, argument: Mapping[str, Any], limit: float) -> Any:
        """Run a command in the page of `session` and return its result.

        Raises Refused with the error that the page threw, or the reason why no answer came within `limit` seconds.
        """
        with self.changed:
            if self.session != session:
                raise Refused(GONE)
            self.pending, self.command, self.answer = secrets.randbelow(2**48) + 1, name, None
            self.waiting = {"id": self.pending, "command": name, "argument": argument}
            self.changed.notify_all()
            in_time = self.changed.wait_for(lambda: self.answer is not None or self.session != session, limit)
            answer = self.pop_answer()
            if answer is None:
                if not in_time:
                    self.set_session()
                raise Refused(GONE if in_time else f"no answer within {limit:g} s")
        if "error" in answer:
            # Messages of browsers hold URLs, and evidence must not hold the token.
            text = str(answer["error"])[:1000].replace(f"/~{self.token}", "")[:500]
            raise Refused("".join(letter if letter.isprintable() else " " for letter in text))
        if name != "fetch" and not printable(answer["result"]):
            raise Refused("the page answered with control characters")
        return answer["result"]

    def pop_answer(self) -> dict[str, Any] | None:
        """Return the answer that has arrived and forget it; None without one."""
        answer, self.answer = self.answer, None
        return answer

    def here(self, limit: float | None = None) -> str:
        """Return the session of the connected page. Waits up to `limit` seconds for one; "" where none came."""
        end = time.monotonic() + limit if limit is not None else None
        with self.changed:
            # In slices of half a second, because Ctrl-C does not interrupt a wait without a limit.
            while not self.session and (end is None or time.monotonic() < end):
                self.changed.wait(0.5)
            return self.session

    def renew(self, session: str) -> None:
        """Reload the page, so that the next engine starts in an empty one. `here` waits until it is connected again."""
        with contextlib.suppress(Refused):  # gone already
            self.ask(session, "reload", {}, POLL)
        with self.changed:
            if self.session == session:
                self.set_session()

    def close(self) -> None:
        self.server.close()


def printable(content: Any) -> bool:
    """Return whether all text of JSON data prints: control characters would reach the terminal."""
    if isinstance(content, dict):
        return all(printable(key) and printable(value) for key, value in content.items())
    if isinstance(content, list):
        return all(map(printable, content))
    return not isinstance(content, str) or content.isprintable()


class RemotePage(Link):
    """The page that is connected to `desk` now."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.server)
        self.desk, self.session = desk, desk.session
        self.device = desk.device
        self.offer = desk.device.offer

    def send(self, name: str, argument: Mapping[str, Any], limit: float) -> Any:
        try:
            return self.desk.ask(self.session, name, argument, limit)
        except Refused as error:
            if self.desk.session != self.session:
                self.dead = str(error)
            raise
