"""Strangers at `latency --serve`: what a program on the network reads, writes and leaves behind without the token."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.latency import serve
from benchmarks.runtimes.web import remote
from benchmarks.runtimes.web.link import Refused
from benchmarks.runtimes.web.remote import Desk
from benchmarks.runtimes.web.server import NODE_MODULES, PACKAGES, RUNTIME
from hydramobile.http_server import file_below
from hydramobile.npm_files import find_npm

TOKEN_BITS = 128
WRONG = "~AAAAAAAAAAAAAAAAAAAAAA"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk()
    (tmp_path / "model.tflite").write_bytes(b"weights")
    made.server.served.folders["files"] = tmp_path
    yield made
    made.close()


def get(desk: Desk, path: str, host: str = "localhost") -> tuple[int, bytes]:
    with socket.create_connection(("127.0.0.1", desk.server.port), timeout=20) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_the_token_cannot_be_guessed(desk: Desk) -> None:
    assert len(desk.token) * 6 >= TOKEN_BITS and re.fullmatch(r"[\w-]+", desk.token)
    other = Desk()
    other.close()
    assert other.token != desk.token


def test_without_the_token_only_the_page(desk: Desk) -> None:
    engine, package = "runtime/engines/tfjs.js", "npm/@tensorflow/tfjs-core/dist/tf-core.min.js"
    for path in ("phone.html", "page/phone.js", "page/main.js"):
        assert get(desk, f"/{path}")[0] == 200
    for path in ("files/model.tflite", engine, package, "npm/nothing/dist/a.js", "files/lie"):
        for prefix in ("", f"{WRONG}/", "~/", f"~{desk.token[:-1]}/", "~\u00e4/"):
            assert get(desk, f"/{prefix}{path}") == (404, b"not found")
    # A stranger's requests leave nothing for evidence or messages.
    assert not desk.server.served.seen and not desk.server.served.missing

    trusted = f"/~{desk.token}"
    assert get(desk, f"{trusted}/files/model.tflite") == (200, b"weights")
    assert get(desk, f"{trusted}/{engine}")[0] == get(desk, f"{trusted}/{package}")[0] == 200
    litert = get(desk, f"{trusted}/npm/@litertjs/core/dist/index.js")[1]
    assert f'"{trusted}/npm/@litertjs/wasm-utils/dist/index.js"'.encode() in litert
    assert get(desk, f"{trusted}/files/lie")[0] == 404
    assert list(desk.server.served.missing) == ["/files/lie"] and "/files/model.tflite" in desk.server.served.seen


@pytest.mark.parametrize(
    "path",
    [
        "npm/@tensorflow/tfjs-core/package.json",
        "npm/onnxruntime-web/lib/index.ts",
        "npm/onnxruntime-web/dist/ort.mjs.map",
        "npm/typescript/lib/typescript.js",
        "npm/three/build/three.core.js",
        "npm/",
        "files/..",
        "files/%2e%2e/secret",
        "files%2f..%2fsecret",
        "files/a%00b",
        "files/" + "a" * 300,
        "files/" + "a/" * 1000,
        "files//etc/passwd",
    ],
)
def test_even_with_it_no_other_file(desk: Desk, path: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert get(desk, f"/~{desk.token}/{path}")[0] == 404
    assert capfd.readouterr().err == ""


def test_the_list_of_packages_has_what_the_engines_load() -> None:
    loaded = set()
    for engine in (RUNTIME / "engines").glob("*.js"):
        paths = re.findall(r"['`]((?:@[\w-]+/)?[\w-]+/(?:dist|wasm)/[\w./-]+\.m?js)['`]", engine.read_text())
        loaded |= set(paths)
    assert len(loaded) == 9
    for path in loaded:
        assert find_npm(NODE_MODULES, PACKAGES, path) == file_below(NODE_MODULES, path) is not None
    folders = (NODE_MODULES / package / name for package, names in PACKAGES.items() for name in names)
    binaries = [path for folder in folders for path in folder.glob("*.wasm")]
    assert len(binaries) >= 11
    for binary in binaries:
        assert find_npm(NODE_MODULES, PACKAGES, str(binary.relative_to(NODE_MODULES)))


def test_missing_files_are_few(desk: Desk) -> None:
    for number in range(100):
        get(desk, f"/~{desk.token}/files/{number}")
    assert len(desk.server.served.missing) == 20


def test_a_body_has_the_size_of_what_was_asked(desk: Desk) -> None:
    assert desk.body_limit("/hello") == desk.body_limit("/bye") == desk.body_limit("/elsewhere") == remote.HELLO_LIMIT
    assert desk.body_limit("/next") == remote.ANSWER_LIMIT
    for command, limit in (("start", remote.ANSWER_LIMIT), ("sample", remote.TIMES_LIMIT), ("fetch", 64_000_000)):
        desk.pending, desk.command = 1, command
        assert desk.body_limit("/next") == limit
    desk.pending = 0
    assert desk.body_limit("/next") == remote.ANSWER_LIMIT
    # A row is what the page said of itself, of its engine and of the times, and far below a megabyte.
    assert remote.HELLO_LIMIT + remote.ANSWER_LIMIT + remote.TIMES_LIMIT < 600_000
    times = [0.1234] * 15_000  # 1.5 s at 0.1 ms
    assert len(json.dumps(times, separators=(",", ":"))) < remote.TIMES_LIMIT / 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": "at /~TOKEN/npm/a.js"}, "at /npm/a.js"),
        ({"error": "\x1b[2J" + "x" * 2000}, " [2J" + "x" * 496),
        ({"error": {"a": [1]}}, "{'a': [1]}"),
        ({"result": {"backend": "\x1b]0;title\x07"}}, "the page answered with control characters"),
    ],
)
def test_an_answer_reaches_no_terminal_raw(
    desk: Desk, answer: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.session = "a"
    for key, text in answer.items():
        answer[key] = text.replace("TOKEN", desk.token) if isinstance(text, str) else text
    monkeypatch.setattr(desk, "pop_answer", lambda: answer)
    with pytest.raises(Refused) as refused:
        desk.ask("a", "start", {}, 0.01)
    assert str(refused.value) == said


def test_the_addresses_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    cards = {"lo": ["127.0.0.1", "::1"], "eth0": ["192.0.2.7", "fe80::1%eth0", "02:00:00:00:00:01"]}
    families = {"02:00:00:00:00:01": socket.AF_PACKET}

    def card(address: str) -> SimpleNamespace:
        family = socket.AF_INET6 if "::" in address else socket.AF_INET
        return SimpleNamespace(address=address, family=families.get(address, family))

    listed = {name: [card(address) for address in addresses] for name, addresses in cards.items()}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: listed)
    assert serve.own_addresses() == {"127.0.0.1", "::1", "192.0.2.7", "fe80::1"}
    assert serve.names_of("0.0.0.0") == ["192.0.2.7"]
    assert serve.names_of("127.0.0.1") == [] and serve.names_of("phone.test") == ["phone.test"]
    with serve.desk_on("0.0.0.0") as desk:
        assert get(desk, "/phone.html", f"192.0.2.7:{desk.server.port}")[0] == 200
        for host in ("0.0.0.0", "192.0.2.8", "rebound.example"):
            assert get(desk, "/phone.html", host)[0] == 421
