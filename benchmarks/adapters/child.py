"""A child process that answers requests in sequence.

Framing, both ways: the lengths of a JSON text and of a payload as two little-endian uint32, the text, the payload.
"""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import IO, Any

from hydramobile.errors import StageError

# The number of bytes at the end of the child's stderr that an error quotes.
TAIL = 2000


class Child:
    """A process that runs `command`, called `name` in errors. `close` or garbage collection kills it."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the child
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, bufsize=0, env=env
        )
        self.end = weakref.finalize(self, stop, self.process, self.log)

    def ask(self, request: Mapping[str, Any], payload: bytes, limit: float) -> tuple[dict[str, Any], bytes]:
        """Send one request and return its answer. Raises StageError("run") if the child dies or hangs."""
        text = json.dumps(request).encode()
        assert self.process.stdin is not None
        try:
            for part in (struct.pack("<II", len(text), len(payload)), text, payload):
                view = memoryview(part)
                while view:
                    view = view[self.process.stdin.write(view) or 0 :]
        except OSError as error:
            raise self.failure(f"{self.name} died before {request['do']!r}") from error
        deadline = time.monotonic() + limit
        sizes = struct.unpack("<II", self.read(8, deadline, request["do"]))
        answer = json.loads(self.read(sizes[0], deadline, request["do"]))
        return answer, self.read(sizes[1], deadline, request["do"])

    def read(self, count: int, deadline: float, what: str) -> bytes:
        assert self.process.stdout is not None
        handle = self.process.stdout.fileno()
        parts: list[bytes] = []
        while count:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([handle], [], [], left)[0]:
                raise self.failure(f"{self.name} did not answer {what!r} in time")
            part = os.read(handle, min(count, 1 << 20))
            if not part:
                raise self.failure(f"{self.name} died in {what!r}")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def failure(self, reason: str) -> StageError:
        """Kill the child and return an error that quotes the end of its stderr."""
        self.process.kill()
        code = self.process.wait()
        self.log.seek(0)
        said = self.log.read()[-TAIL:].decode(errors="replace").replace("\0", "").strip()
        self.close()
        how = f"exit status {code}" + (f", {signal.Signals(-code).name}" if code < 0 else "")
        return StageError("run", f"{reason} ({how}){': ' + said if said else ''}")

    def close(self) -> None:
        self.end()


def stop(process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, log):
        if stream is not None and not stream.closed:
            stream.close()
