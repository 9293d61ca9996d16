"""A page that a person opens on another device: driven here by a real Chromium, and by those who should not post."""

from __future__ import annotations

import http.client
import json
import os
import queue
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.evidence.environment import Offer
from benchmarks.evidence.latency import LatencyEvidence
from benchmarks.latency import serve
from benchmarks.latency.run import Timing, run_latency
from benchmarks.request import Request
from benchmarks.runtimes.web import adb, remote
from benchmarks.runtimes.web.browser import FLAGS, chromium, driver
from benchmarks.runtimes.web.remote import Desk, RemotePage
from hydramobile.errors import NothingJudged, StageError, UsageError
from hydramobile.spec import load_spec

Artifacts = Callable[[str, str, str], Path]
TARGETS = ("tfjs", "onnx", "litert")
ANDROID = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile Safari/537.36"
)
LINUX = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
DONE = 120_000


@pytest.fixture
def out(artifact: Artifacts, out_with: Callable[..., Path]) -> Path:
    return out_with("classifier", *(artifact("classifier", target, "float32") for target in TARGETS))


@pytest.fixture
def chrome() -> Iterator[Any]:
    made = driver().chromium.launch(
        executable_path=chromium(), args=[*FLAGS, "--host-resolver-rules=MAP phone.test 127.0.0.1"]
    )
    yield made
    made.close()


def begin(page: Any, address: str, name: str = "a browser of the tests") -> None:
    page.goto(address)
    page.fill("#name", name)
    page.click("#go")


def rows_of(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((out / "classifier/latency.json").read_text())["results"]
    return rows


def test_a_page_runs_everything_and_the_command_stores_it(
    out: Path, chrome: Any, root: Path, model_dir: Callable[[str], Path]
) -> None:
    words = ["latency", "--model", model_dir("classifier"), "--out", out, "--runtime", "browser"]
    command = [sys.executable, "-m", "benchmarks", *map(str, words), "--runtime", "browser-gpu", "--serve"]
    with subprocess.Popen(
        [*command, "--only", "tfjs/float32", "--only", "litert/float32", "--seconds", "0.1"],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200", "ANDROID_ADB_SERVER_PORT": "1"},
    ) as process:
        assert process.stderr and process.stdout
        line = next(line for line in process.stderr if line.startswith("open http"))
        page = chrome.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        begin(page, line.split()[1])
        page.wait_for_function("document.getElementById('status').textContent.startsWith('Done.')", timeout=DONE)
        shown = page.inner_text("#results")
        printed, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert (
        "3 artifacts timed" not in printed and "2 artifacts timed on a browser of the tests (browser-host)" in printed
    )
    assert not errors and "tfjs/float32" in shown and "software renderer" in shown

    rows = {row["runtime"]: row for row in rows_of(out)}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "tfjs-web": "measured",
        "litert-web": "measured",
        "tfjs-web-webgl": "untimed",
        # Without its flag this Chromium has none.
        "tfjs-web-webgpu": "unavailable",
        "litert-web-webgpu": "unavailable",
    }
    for row in rows.values():
        assert row["evidence"] == "browser-host" and row["device"]["name"] == "a browser of the tests"
        assert not row["device"]["insecure"] and "Headless" in row["device"]["facts"]["user_agent"]
        if row["verdict"] != "unavailable":
            assert row["agreement"]["verdict"] == "pass" and row["agreement"]["measures"]
        if row["verdict"] == "measured":
            assert row["cold"]["load_s"] > row["environment"]["browser"]["start_ms"] / 1e3
            assert row["environment"]["browser"]["runtime"]["gzip"] > 50_000 and row["memory"]["peak"] is None
    assert rows["tfjs-web-webgl"]["entries"] == []


class Serving:
    """`run_serve` in a thread of its own."""

    def __init__(self, request: Request, host: str = "127.0.0.1") -> None:
        self.said: queue.Queue[str] = queue.Queue()
        self.outcome: Any = None
        self.thread = threading.Thread(target=self.run, args=(request, host), daemon=True)
        self.thread.start()
        self.address = self.until("open http").split()[1]

    def run(self, request: Request, host: str) -> None:
        try:
            self.outcome = serve.run_serve(request, Timing(0.1, 1), host, self.said.put)
        except Exception as error:  # noqa: BLE001  shown by the test that joins
            self.outcome = error

    def until(self, text: str) -> str:
        while True:
            line = self.said.get(timeout=120)
            if text in line:
                return line

    def end(self) -> Any:
        self.thread.join(timeout=120)
        assert not self.thread.is_alive() and not isinstance(self.outcome, Exception), self.outcome
        return self.outcome


@pytest.fixture
def request_for(out: Path, model_dir: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Request]:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")  # no phone of the person who runs the tests

    def make(*runtimes: str) -> Request:
        return Request(load_spec(model_dir("classifier")), out, None, (), runtimes)

    return make


def test_a_page_closed_in_mid_run_costs_one_artifact(
    request_for: Callable[..., Request], chrome: Any, monkeypatch: pytest.MonkeyPatch, out: Path
) -> None:
    serving = Serving(request_for("tfjs-web", "litert-web", "ort-web"))
    page = chrome.new_page()
    begin(page, serving.address)
    serving.until("load and warm up")
    page.close()
    # It comes back, and goes on with the next one.
    page = chrome.new_page()
    begin(page, serving.address)
    serving.until("ort-web: ")
    serving.until("load and warm up")
    monkeypatch.setattr(serve, "RETURN_LIMIT", 0.5)
    page.close()
    served = serving.end()
    first, second = served.evidence.results
    assert (first.runtime, first.verdict, first.stage) == ("tfjs-web", "failed", "run")
    assert "the page was closed or loaded anew" in first.reason and first.entries == ()
    assert (second.runtime, second.verdict) == ("ort-web", "failed") and served.requested == 3
    assert {row["verdict"] for row in rows_of(out)} == {"failed"}
    with pytest.raises(StageError, match=r"tfjs float32 in tfjs-web: .* \(2 of 2 failed\)"):
        serve.conclude_serve(served)


def test_an_insecure_context_is_marked(
    request_for: Callable[..., Request], chrome: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over a LAN address: one thread, no WebGPU, and the result says so."""
    monkeypatch.setattr(serve, "own_addresses", lambda: {"phone.test", "127.0.0.1"})
    serving = Serving(request_for("tfjs-web"), "0.0.0.0")
    page = chrome.new_page()
    begin(page, serving.until("from the network").split()[3])
    (row,) = serving.end().evidence.results
    assert row.verdict == "measured" and row.device.insecure and not row.browser.isolated
    assert row.device.id in {stored["device"]["id"] for stored in rows_of(out) if stored["device"]}


def test_devices_and_this_computer_stand_beside_each_other(
    request_for: Callable[..., Request], chrome: Any, out: Path
) -> None:
    for name in ("one", "other", "one"):
        serving = Serving(request_for("tfjs-web"))
        begin(chrome.new_page(), serving.address, name)
        serving.end()
    run_latency(request_for("tfjs-web"), Timing(0.1, 1))
    assert sorted(row["device"]["name"] if row["device"] else "" for row in rows_of(out)) == ["", "one", "other"]


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


def post(desk: Desk, path: str, body: Any, **headers: str) -> tuple[int, str]:
    """Status and what was said; header names with _ for -."""
    connection = http.client.HTTPConnection("127.0.0.1", desk.server.port, timeout=30)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    own = {"Origin": f"http://localhost:{desk.server.port}", "Host": f"localhost:{desk.server.port}"}
    own |= {"X-Hydra-Token": desk.token, "Content-Length": str(len(content))}
    connection.putrequest("POST", path, skip_host=True)
    for name, value in {**own, **{name.replace("_", "-"): value for name, value in headers.items()}}.items():
        if value:
            connection.putheader(name, value)
    connection.endheaders()
    connection.send(content[:100_000])
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


HELLO = {"name": "a phone", "facts": {"user_agent": ANDROID}}


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "said"),
    [
        ("/hello", HELLO, {"X_Hydra_Token": "00000000"}, 403, "wrong token"),
        ("/hello", HELLO, {"X_Hydra_Token": ""}, 403, "wrong token"),
        ("/hello", HELLO, {"X_Hydra_Token": "\xe9"}, 403, "wrong token"),
        ("/hello", HELLO, {"Origin": "https://elsewhere.example"}, 403, "the page served here"),
        ("/hello", HELLO, {"Origin": ""}, 403, "the page served here"),
        ("/hello", HELLO, {"Content_Length": ""}, 411, "how long"),
        ("/hello", HELLO, {"Content_Length": "-1"}, 411, "how long"),
        ("/hello", HELLO, {"Content_Length": str(remote.HELLO_LIMIT + 1)}, 413, "more than"),
        ("/hello", HELLO, {"Content_Length": "9" * 5000}, 413, "more than"),
        ("/hello", HELLO, {"Content_Length": "\xb2"}, 411, "how long"),
        ("/hello", b"[" * 8_000, {}, 400, "not JSON"),
        ("/hello", b'{"name": NaN}', {}, 400, "not JSON"),
        ("/hello", b'{"name": 1e999}', {}, 400, "not JSON"),
        ("/hello", b"\xff\xfe", {}, 400, "not JSON"),
        ("/hello", [1], {}, 400, "not an object"),
        ("/hello", {**HELLO, "name": "x" * 81}, {}, 400, "a name has"),
        ("/hello", {**HELLO, "name": " "}, {}, 400, "a name has"),
        ("/hello", {**HELLO, "name": "\x1b[2Jme"}, {}, 400, "a name has"),
        ("/hello", {**HELLO, "facts": {"user_agent": "\x1b[2J"}}, {}, 400, "control characters"),
        ("/hello", HELLO, {"Host": "elsewhere.example"}, 421, "other addresses"),
        ("/hello", HELLO, {"Host": ""}, 400, "one host"),
        ("/hello", {**HELLO, "facts": {"user_agent": 1}}, {}, 400, "user agent"),
        ("/next", {"session": ""}, {}, 409, "not the one at work"),
        ("/elsewhere", {}, {}, 404, "nothing at /elsewhere"),
    ],
)
def test_a_bad_post_is_refused(
    desk: Desk, path: str, body: Any, headers: dict[str, str], status: int, said: str
) -> None:
    found, text = post(desk, path, body, **headers)
    assert found == status and said in text
    assert not desk.session


def test_one_page_at_a_time_and_answers_to_what_was_asked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "POLL", 0.1)
    status, text = post(desk, "/hello", HELLO)
    session = json.loads(text)["session"]
    assert status == 200 and desk.here(0) == session
    assert post(desk, "/hello", HELLO)[0] == 409, "a second page"
    assert json.loads(post(desk, "/next", {"session": session})[1]) == {"command": "wait"}
    assert post(desk, "/next", {"session": session, "id": 1, "result": {}})[0] == 409, "nothing was asked"

    found: list[Any] = []
    link = RemotePage(desk)
    asking = threading.Thread(target=lambda: found.append(failure(lambda: link.call("held", {}))))
    asking.start()
    command = json.loads(post(desk, "/next", {"session": session})[1])
    while command["command"] == "wait":
        command = json.loads(post(desk, "/next", {"session": session})[1])
    assert post(desk, "/next", {"session": session, "id": 1, "result": {}})[0] == 409, "another command"
    post(desk, "/next", {"session": session, "id": command["id"], "error": "it broke"})
    asking.join(10)
    dead = link.dead
    assert str(found[0]) == "run: held: it broke" and not dead

    monkeypatch.setattr("benchmarks.runtimes.web.link.CALL_LIMIT", 0.2)
    assert str(failure(lambda: link.call("held", {}))) == "run: held: no answer within 0.2 s"
    assert link.dead and post(desk, "/next", {"session": session})[0] == 409


def failure(act: Callable[[], Any]) -> StageError | None:
    try:
        act()
    except StageError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("peer", "agent", "serials", "evidence"),
    [
        ("127.0.0.1", LINUX, [], "browser-host"),
        ("127.0.0.1", LINUX, ["R58"], "browser-host"),
        ("127.0.0.1", ANDROID, [], "browser-host"),
        ("127.0.0.1", ANDROID, ["emulator-5554"], "browser-host"),
        ("127.0.0.1", ANDROID, ["R58"], "measured-on-device"),
        ("203.0.113.7", LINUX, [], "measured-on-device"),
    ],
)
def test_only_another_device_is_one(peer: str, agent: str, serials: list[str], evidence: str) -> None:
    offer = Offer(agent, secure=True)
    page: Any = SimpleNamespace(offer=offer, device=remote.Visitor("it", peer, offer))
    found = serve.client_of(page, [adb.Phone(serial, "model", 1) for serial in serials])
    assert found.evidence == evidence, found


@pytest.fixture
def adb_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a phone behind the real adb client was asked: the host protocol, with one phone that takes everything and
    one that has not allowed this computer yet."""
    asked: list[str] = []

    class Handler(socketserver.BaseRequestHandler):
        def read(self) -> str:
            head = self.request.recv(4)
            return self.request.recv(int(head, 16)).decode() if len(head) == 4 else ""

        def handle(self) -> None:
            while asked_for := self.read():
                asked.append(asked_for)
                if asked_for == "host:version":
                    self.request.sendall(b"OKAY00040029")
                    return
                if asked_for == "host:devices":
                    listed = b"R58\tdevice\nR59\tunauthorized\n"
                    self.request.sendall(b"OKAY%04x" % len(listed) + listed)
                    return
                if asked_for.endswith("features"):
                    self.request.sendall(b"OKAY0000")
                    return
                self.request.sendall(b"OKAY")
                if asked_for.startswith("host:tport"):
                    self.request.sendall((1).to_bytes(8, "little"))
                elif asked_for.startswith("reverse:"):
                    self.request.sendall(b"OKAY0000" if "killforward" not in asked_for else b"OKAY")
                    return
                elif asked_for.startswith(("shell", "exec")):
                    self.request.sendall(b"Pixel 8\n" if "getprop" in asked_for else b"")
                    return

    class Threaded(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Threaded(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(made.server_address[1]))
        yield asked
        made.shutdown()


@pytest.mark.usefixtures("adb_client")
def test_a_phone_on_a_cable_reaches_localhost(adb_server: list[str], desk: Desk) -> None:
    with serve.attached(desk, lambda text: None) as phones:
        (phone,) = phones
        assert (phone.serial, phone.model, phone.port) == ("R58", "Pixel 8", desk.server.port)
    port = f"tcp:{desk.server.port}"
    assert f"reverse:forward:{port};{port}" in adb_server and f"reverse:killforward:{port}" in adb_server
    assert any("VIEW" in said and desk.address in said for said in adb_server)
    assert adb.attach(1)[1].endswith("R59 is unauthorized")


def test_without_adb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert adb.attach(1) == ([], "adb is not installed or does not answer: no phone on a cable")


def test_bad_usage(request_for: Callable[..., Request], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="onnxruntime runs in none"):
        serve.run_serve(request_for("onnxruntime"), Timing(), "127.0.0.1", print)
    with pytest.raises(UsageError, match=r"cannot serve on 203\.0\.113\.7"):
        serve.run_serve(request_for("tfjs-web"), Timing(), "203.0.113.7", print)
    nothing = LatencyEvidence(model="", spec_sha256="", weights_sha256="", results=())
    with pytest.raises(NothingJudged, match="no artifact was timed"):
        serve.conclude_serve(serve.Served(nothing, 1))
