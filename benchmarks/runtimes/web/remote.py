"""A page on another device: it asks what to do, does it, and posts what came of it."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from benchmarks.runtimes.web.link import Link, Refused
from benchmarks.runtimes.web.server import Posts, Rejected, Server

# Seconds a page's question waits for something to do, before it asks again.
POLL = 20.0
# Seconds without a question after which a page that is not at work counts as gone.
SILENCE = 45.0
NAME_LENGTH = 80
GONE = "the page was closed or loaded anew"


class Desk:
    """Where one page at a time fetches commands and brings answers. Its methods may be called from any thread.

    `session` names the page that is here, "" for none. A page that went away, hung or was loaded anew lost its
    session: whoever waits for it is told.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.changed = threading.Condition()
        self.session = ""
        self.device: dict[str, Any] = {}
        self.seen = 0.0
        self.waiting: dict[str, Any] | None = None
        self.pending = 0
        self.answer: dict[str, Any] | None = None
        self.token = secrets.token_hex(4)
        self.server = Server(host=host, posts=Posts(self.token, self.take))

    @property
    def address(self) -> str:
        return f"{self.server.address}phone.html#{self.token}"

    def take(self, path: str, body: dict[str, Any], peer: str) -> Mapping[str, Any]:
        ways = {"/hello": self.hello, "/next": self.next, "/bye": self.bye}
        if path not in ways:
            raise Rejected(HTTPStatus.NOT_FOUND, f"nothing at {path} (there is: {', '.join(ways)})")
        with self.changed:
            return ways[path](body, peer)

    def hello(self, body: Mapping[str, Any], peer: str) -> Mapping[str, Any]:
        """A page introduces itself: the name a person typed, and what its browser offers."""
        name, facts = body.get("name"), body.get("facts")
        if not isinstance(name, str) or not 1 <= len(name.strip()) <= NAME_LENGTH:
            raise Rejected(HTTPStatus.BAD_REQUEST, f"a name has 1 to {NAME_LENGTH} characters")
        if not isinstance(facts, dict) or not isinstance(facts.get("user_agent"), str):
            raise Rejected(HTTPStatus.BAD_REQUEST, "facts name the user agent")
        if self.session not in ("", body.get("session")) and (self.pending or self.silence() < SILENCE):
            raise Rejected(HTTPStatus.CONFLICT, f"{self.device['name']} is being measured; wait until it is done")
        self.leave(secrets.token_hex(8))
        self.device = {"name": name.strip(), "peer": peer, "facts": facts}
        return {"session": self.session}

    def silence(self) -> float:
        return time.monotonic() - self.seen

    def leave(self, successor: str = "") -> None:
        """The page that was here is here no more."""
        self.session, self.seen, self.pending, self.waiting = successor, time.monotonic(), 0, None
        self.changed.notify_all()

    def next(self, body: Mapping[str, Any], peer: str) -> Mapping[str, Any]:
        """The answer to the last command, if there was one; returns the next, after at most `POLL` seconds."""
        self.known(body)
        if "id" in body:
            if not self.pending or body["id"] != self.pending or not ("result" in body or "error" in body):
                raise Rejected(HTTPStatus.CONFLICT, "no such command waits for an answer")
            self.pending, self.answer = 0, dict(body)
            self.changed.notify_all()
        self.seen = time.monotonic()
        self.changed.wait_for(lambda: self.waiting or self.session != body["session"], POLL)
        self.known(body)
        self.seen = time.monotonic()
        command, self.waiting = self.waiting, None
        return command or {"command": "wait"}

    def bye(self, body: Mapping[str, Any], peer: str) -> Mapping[str, Any]:
        self.known(body)
        self.leave()
        return {}

    def known(self, body: Mapping[str, Any]) -> None:
        if not self.session or body.get("session") != self.session:
            raise Rejected(HTTPStatus.CONFLICT, "this page is not the one at work")

    def ask(self, session: str, name: str, argument: Mapping[str, Any], limit: float) -> Any:
        """Have that page do something; returns its result. Raises Refused with what it threw, or why no answer came."""
        with self.changed:
            if self.session != session:
                raise Refused(GONE)
            self.pending, self.answer = secrets.randbelow(2**48) + 1, None
            self.waiting = {"id": self.pending, "command": name, "argument": argument}
            self.changed.notify_all()
            there = self.changed.wait_for(lambda: self.answer is not None or self.session != session, limit)
            answer = self.taken()
            if answer is None:
                if not there:
                    self.leave()
                raise Refused(GONE if there else f"no answer within {limit:g} s")
        if "error" in answer:
            raise Refused(str(answer["error"])[:500])
        return answer["result"]

    def taken(self) -> dict[str, Any] | None:
        """The answer that came, once."""
        answer, self.answer = self.answer, None
        return answer

    def here(self, limit: float | None = None) -> str:
        """The session of a page that is here, waiting for one up to `limit` seconds; "" where none came."""
        end = time.monotonic() + limit if limit is not None else None
        with self.changed:
            # In slices: Ctrl-C does not reach a wait without an end.
            while not self.session and (end is None or time.monotonic() < end):
                self.changed.wait(0.5)
            return self.session

    def renew(self, session: str) -> None:
        """Have that page load itself anew, so that the next engine starts in an empty one; `here` tells when it has."""
        with contextlib.suppress(Refused):  # gone already
            self.ask(session, "reload", {}, POLL)
        with self.changed:
            if self.session == session:
                self.leave()

    def close(self) -> None:
        self.server.close()


class RemotePage(Link):
    """The page that is at the desk now."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.server)
        self.desk, self.session = desk, desk.session
        self.device = desk.device
        self.facts = dict(desk.device["facts"])

    def send(self, name: str, argument: Mapping[str, Any], limit: float) -> Any:
        try:
            return self.desk.ask(self.session, name, argument, limit)
        except Refused as error:
            if self.desk.session != self.session:
                self.dead = str(error)
            raise
