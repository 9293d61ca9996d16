"""A pretend phone behind a real adb server's protocol: `server.py ROOT` prints its port and serves until it is killed.

ROOT/storage is the phone's storage, ROOT/bin its programs (getprop, dumpsys), ROOT/fault one line that breaks it:
"full" (pushes fail with no space left), "vanish N" (the cable is pulled for N seconds when a benchmark starts, once),
"hang" (the benchmark never ends). Commands run in this computer's shell: the phone says of itself that it is an x86
emulator, and its results are labelled so.
"""

from __future__ import annotations

import os
import socketserver
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(sys.argv[1])
SERIAL = "FAKE123"
TEMP = "/data/local/tmp"
LIST = f"{SERIAL}\tdevice\n".encode()


class Cable:
    """Whether the phone is attached, and the connections that end when it is not."""

    back = 0.0

    def __init__(self) -> None:
        self.open: set[socketserver.BaseRequestHandler] = set()
        self.lock = threading.Lock()

    def attached(self) -> bool:
        return time.monotonic() >= self.back

    def pull(self, seconds: float) -> None:
        self.back = time.monotonic() + seconds
        with self.lock:
            for handler in self.open:
                handler.request.close()


CABLE = Cable()


def fault() -> list[str]:
    path = ROOT / "fault"
    return path.read_text().split() if path.is_file() else []


def local(path: str) -> Path:
    return ROOT / "storage" / path.lstrip("/")


class Handler(socketserver.BaseRequestHandler):
    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            block = self.request.recv(count - len(data))
            if not block:
                raise EOFError
            data += block
        return data

    def okay(self, data: bytes | None = None) -> None:
        self.request.sendall(b"OKAY" + (b"" if data is None else b"%04x" % len(data) + data))

    def fail(self, text: str) -> None:
        self.request.sendall(b"FAIL" + b"%04x" % len(text) + text.encode())

    def handle(self) -> None:
        try:
            while self.serve(self.read(int(self.read(4), 16)).decode()):
                pass
        except (EOFError, OSError, ValueError):
            return
        finally:
            with CABLE.lock:
                CABLE.open.discard(self)

    def serve(self, message: str) -> bool:
        """Answer one message of the host protocol; whether another may follow on this connection."""
        if message == "host:version":
            self.okay(b"0029")
        elif message in ("host:devices", "host:devices-l"):
            self.okay(LIST if CABLE.attached() else b"")
        elif message.startswith(("host:tport", "host:transport")):
            if not CABLE.attached():
                self.fail(f"device '{SERIAL}' not found")
                return False
            with CABLE.lock:
                CABLE.open.add(self)
            self.okay()
            if message.startswith("host:tport"):
                self.request.sendall(struct.pack("<Q", 1))
            return True
        elif message.startswith(("shell:", "exec:")):
            self.okay()
            self.shell(message.partition(":")[2])
        elif message == "sync:":
            self.okay()
            while self.sync():
                pass
        elif message.endswith("features"):
            self.okay(b"")
        else:
            self.fail(f"unknown request {message}")
        return False

    def shell(self, command: str) -> None:
        words = fault()
        starts = "./benchmark_model" in command
        environment = {**os.environ, "PATH": f"{ROOT / 'bin'}:{os.environ['PATH']}"}
        if words[:1] == ["hang"] and starts:
            environment["HANG"] = "1"
        mapped = command.replace(TEMP, str(local(TEMP)))
        process = subprocess.Popen(
            ["sh", "-c", mapped], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, cwd="/"
        )
        if words[:1] == ["vanish"] and starts:
            (ROOT / "fault").unlink()
            CABLE.pull(float(words[1]))
        output = process.communicate()[0].replace(str(local(TEMP)).encode(), TEMP.encode())
        self.request.sendall(output)

    def sync(self) -> bool:
        kind, length = self.read(4), struct.unpack("<I", self.read(4))[0]
        if kind == b"QUIT":
            return False
        name = self.read(length).decode()
        if kind == b"STAT":
            path = local(name)
            found = path.stat() if path.exists() else None
            row = (found.st_mode, found.st_size, int(found.st_mtime)) if found else (0, 0, 0)
            self.request.sendall(b"STAT" + struct.pack("<III", *row))
        elif kind == b"SEND":
            self.receive(*name.rsplit(",", 1))
        elif kind == b"RECV":
            path = local(name)
            if not path.is_file():
                text = f"open failed: {name}: No such file or directory".encode()
                self.request.sendall(b"FAIL" + struct.pack("<I", len(text)) + text)
                return True
            data = path.read_bytes()
            for start in range(0, len(data), 65536):
                block = data[start : start + 65536]
                self.request.sendall(b"DATA" + struct.pack("<I", len(block)) + block)
            self.request.sendall(b"DONE" + struct.pack("<I", 0))
        return True

    def receive(self, name: str, mode: str) -> None:
        path, full, size = local(name), fault()[:1] == ["full"], 0
        with path.open("wb") as stream:
            while self.read(4) == b"DATA":
                size += stream.write(self.read(struct.unpack("<I", self.read(4))[0]))
                if full and size > 10_000:
                    text = b"couldn't write: No space left on device"
                    self.request.sendall(b"FAIL" + struct.pack("<I", len(text)) + text)
                    return
            self.read(4)
        path.chmod(int(mode) & 0o777)
        self.request.sendall(b"OKAY" + struct.pack("<I", 0))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    local(TEMP).mkdir(parents=True, exist_ok=True)
    with Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
