"""The report opens with what a reader asks; its tables filter, its menu stays on the page, and no section is lost."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.outcomes import Outcome
from benchmarks.report import write as report
from benchmarks.report.gather import Gathered, State, Verdict, gather
from benchmarks.report.glossary import GLOSSARY, Terms, described
from benchmarks.report.grouped import undone_groups, verdict_groups
from benchmarks.report.judged import Undone, verdict_lines
from benchmarks.report.opening import answer, files_to_take, opening, steps
from benchmarks.report.typical import middle, shown_photos
from benchmarks.report.write import ReportRequest, write_report
from benchmarks.runtimes.web.browser import FLAGS, chromium, driver
from hydramobile.goldens import Golden
from hydramobile.recipes import recipe
from hydramobile.samples import Sample
from hydramobile.spec import ModelSpec, load_spec

ByName = Callable[[str], Path]
# The sections of the report before it had an opening, by their anchors.
SECTIONS = (
    *("verdicts", "parity", "losses", "pictures", "refused", "evidence", "size", "cost", "latency", "rounds"),
    *("profile", "heads", "pixels", "device", "instructions", "web", "unavailable", "provenance"),
)


@pytest.fixture(scope="session")
def spec(model_dir: ByName) -> ModelSpec:
    return load_spec(model_dir("portrait"))


@pytest.fixture(scope="session")
def gathered(evidence: Path, spec: ModelSpec) -> Gathered:
    return gather(spec, evidence, None)


def with_states(gathered: Gathered, states: Mapping[str, tuple[State, bool]], reason: str = "") -> Gathered:
    """Return evidence whose verdicts are `states`: name -> (state, must ship); every file is the one of ONNX."""
    artifact = gathered.artifacts["onnx", "float32"]
    judged = [row for row in gathered.parity if row.pair == ("onnx", "float32")]
    size = next(row for row in gathered.sizes if row.pair == ("onnx", "float32"))
    timed = next(row for row in gathered.latencies if row.pair == ("onnx", "float32"))
    verdicts, artifacts, parity, sizes, latencies = [], {}, [], [], []
    for index, (name, (state, must)) in enumerate(states.items()):
        target, _, own = name.partition("/")
        verdicts.append(Verdict(target, own, must, state, "" if state in ("ships", "passes") else reason))
        if state in ("missing", "failed"):
            continue
        artifacts[target, own] = artifact
        parity += [replace(row, target=target, recipe=own) for row in judged]
        ships = replace(size.ships, bytes=(10 - index) * 1_000_000)
        sizes.append(replace(size, target=target, recipe=own, ships=ships))
        latencies.append(replace(timed, target=target, recipe=own))
    changed = replace(gathered, parity=tuple(parity), sizes=tuple(sizes), latencies=tuple(latencies))
    return replace(changed, verdicts=tuple(verdicts), artifacts=artifacts, missing=(), devices=())


def page(out: Path, name: str = "report.html") -> str:
    return (out / "portrait" / name).read_text(encoding="utf-8")


def test_the_opening_names_the_file_per_platform(gathered: Gathered) -> None:
    states: dict[str, tuple[State, bool]] = {
        **dict.fromkeys(("onnx/float32", "onnx/float16", "coreml/float32", "coreml/w8"), ("ships", True)),
        "coreml/p4": ("passes", False),
        "litert/w8": ("ships", True),
        "litert/w4": ("refused", False),
    }
    changed = with_states(gathered, states, "too far")
    takes = {take.platform: take for take in files_to_take(changed)}
    assert list(takes) == ["iOS", "Android", "web"]
    assert (takes["iOS"].name, takes["iOS"].bytes) == ("coreml/w8", 7_000_000)
    assert takes["iOS"].others == ["smaller, and passes too: coreml/p4, 6.00 MB"]
    assert takes["Android"].name == "litert/w8", "a refused file is never recommended"
    assert takes["web"].name == "onnx/float16" and takes["web"].folder == "onnx/float16/"
    assert {number.output for number in takes["web"].lost} == {"depth", "alpha"}
    speed = takes["Android"].speed
    assert speed and speed.evidence == "host" and speed.where == "this computer"


def test_of_equally_big_files_the_one_that_loses_least_is_taken(gathered: Gathered) -> None:
    """Not the one that uses less of its limits: a coarser recipe has wider ones."""
    changed = with_states(gathered, {"onnx/float32": ("ships", True), "onnx/w8": ("ships", True)})
    assert files_to_take(changed)[0].name == "onnx/w8"
    sizes = [replace(row, ships=replace(row.ships, bytes=1_000_000 + len(row.recipe))) for row in changed.sizes]
    wide = [
        replace(row, measures=tuple(replace(measure, limit=None) for measure in row.measures))
        for row in gathered.parity
        if row.pair == ("onnx", "w8")
    ]
    artifact = changed.artifacts["onnx", "w8"].sha256
    parity = [row for row in changed.parity if row.recipe == "float32"] + [replace(r, artifact=artifact) for r in wide]
    assert files_to_take(replace(changed, sizes=tuple(sizes), parity=tuple(parity)))[0].name == "onnx/float32"


def test_the_answer_is_yes_where_all_that_must_ship_does(gathered: Gathered) -> None:
    reply = answer(with_states(gathered, {"onnx/float32": ("ships", True), "onnx/w8": ("refused", False)}))
    assert reply.word == "Yes" and reply.tone == "good"
    assert "1 refused, which breaks nothing" in reply.beside


@pytest.mark.parametrize(
    ("state", "word"), [("broken", "No"), ("failed", "No"), ("missing", "Not yet"), ("unjudged", "Not yet")]
)
def test_one_file_that_may_not_ship_turns_the_answer(gathered: Gathered, state: State, word: str) -> None:
    states: dict[str, tuple[State, bool]] = {"onnx/float32": ("ships", True), "coreml/w8": (state, True)}
    changed = with_states(gathered, states, "too far")
    reply = answer(changed)
    assert reply.word == word
    assert reply.text.startswith("Of 2 files that must ship, 1 ") and reply.text.endswith("1 may ship.")
    assert [(trouble.reason, trouble.names) for trouble in reply.troubles] == [("too far", ["coreml/w8"])]
    ios = next(take for take in files_to_take(changed) if take.platform == "iOS")
    assert not ios.recipe and ios.reason == "too far"
    commands = " ".join(step.command for step in opening(changed).steps)
    wanted = {"broken": "parity --only coreml/w8 --bisect", "unjudged": "make parity"}
    assert wanted.get(state, "make export") in commands


def test_an_export_that_failed_is_no_file_that_waits(gathered: Gathered) -> None:
    changed = with_states(gathered, {"onnx/float32": ("ships", True), "coreml/w8": ("missing", True)}, "no")
    outcome = Outcome("coreml", "w8", "failed", "capture", "no")
    reply = answer(replace(changed, exports={"coreml/w8": outcome}))
    assert (reply.word, reply.text) == ("No", "Of 2 files that must ship, 1 failed; 1 may ship.")


def test_a_broken_limit_stands_on_the_page(evidence: Path, spec: ModelSpec, tmp_path: Path, quick: None) -> None:
    out = Path(shutil.copytree(evidence, tmp_path / "build"))
    assert "<b>Not yet.</b>" in page(out), "most of what must ship was not exported"
    path = out / "portrait/parity.json"
    document = json.loads(path.read_text())
    for row in document["results"]:
        if (row["recipe"], row["entry"], row["mode"]) == ("float32", "portrait", "direct"):
            row |= {"verdict": "mismatch", "reason": "alpha <far> off"}
    path.write_text(json.dumps(document))
    write_report(ReportRequest(spec, out))
    html, markdown = page(out), page(out, "report.md")
    assert "<b>No.</b>" in html and "alpha &lt;far&gt; off" in html and "<far>" not in html
    assert "**May I ship? No.**" in markdown and "alpha &lt;far> off" in markdown
    assert html.index("May I ship?") < html.index("What is lost") < html.index("<nav") < html.index('id="verdicts"')


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "pixels", lambda *arguments: None)
    monkeypatch.setattr(report, "worst_pictures", lambda *arguments: ([], []))


def test_the_opening_shows_a_good_sample_and_no_phone_figure(evidence: Path) -> None:
    html, markdown = page(evidence), page(evidence, "report.md")
    begin = html.partition("<nav")[0]
    assert 'data-platform="web"' in begin and "Take this file for web" in begin and "onnx/float32/" in begin
    assert "a phone differs" in begin and "No phone has run these files yet." in begin
    shown = re.search(r'alt="The photo (\S+) as the net gets it"', begin)
    worst = re.search(r"IoU \S+ \(limit [^)]*\) on (\S+), in", html)
    assert shown and worst and shown[1] != worst[1]
    assert "| web | onnx/float32 |" in markdown and "*host* (onnxruntime on this computer)" in markdown


def test_the_middle_half_is_shown_in_the_order_of_the_model() -> None:
    lost = {name: {"a": float(loss)} for name, loss in zip("ebdacfgh", (9, 2, 4, 1, 3, 5, 6, 7), strict=True)}
    assert middle(lost) == "d", "e is in the worst quarter, b in the best one"
    assert middle({"only": {"a": 1.0}}) == "only"


def test_a_private_photo_is_not_shown_on_top() -> None:
    photo = Sample("a", "judge", "0", Path("a.png"), "", "", private=True)
    goldens = {"a": Golden("a", {"image": np.zeros(1)}, {}, {}, feature_dtype="float32")}
    assert not shown_photos([photo, replace(photo, path=None, private=False)], goldens, include_private=False)
    assert [golden.sample for golden in shown_photos([photo], goldens, include_private=True)] == ["a"]


def test_the_same_reason_is_printed_once(gathered: Gathered) -> None:
    names = [f"{target}/{own}" for target in ("onnx", "coreml", "litert", "tfjs") for own in ("float32", "w8", "p4")]
    states: dict[str, tuple[State, bool]] = dict.fromkeys(names, ("missing", True))
    changed = with_states(gathered, states, "failed: capture: no")
    groups = verdict_groups(verdict_lines(changed))
    assert [group.names for group in groups] == [
        [(target, ["float32", "w8", "p4"]) for target in ("onnx", "coreml", "litert", "tfjs")]
    ]
    assert groups[0].must == "yes"
    assert [len(trouble.names) for trouble in answer(changed).troubles] == [12]
    undone = [Undone(f"judge in {name}", "unavailable", "no Mac", [name]) for name in names]
    assert [(group.reason, len(group.steps)) for group in undone_groups(undone)] == [("no Mac", 12)]


def test_no_section_is_lost(evidence: Path) -> None:
    html = page(evidence)
    found = re.findall(r'<section id="([\w-]+)">', html)
    assert set(SECTIONS) <= set(found)
    links = re.findall(r'<a href="#([\w-]+)"', html.partition("<nav")[2].partition("</nav>")[0])
    assert [*links[1:]] == found, "the menu has the order of the page"
    everything = re.findall(r'\bid="([^"]+)"', html)
    assert set(re.findall(r'href="#([^"]*)"', html)) <= set(everything)


def test_words_are_explained_where_they_first_stand(root: Path, evidence: Path, spec: ModelSpec) -> None:
    html = page(evidence)
    for word in ("stands", "candidate", "order flips", "WHDR", "sealed", "golden", "chain", "boundary"):
        assert html.count(f'href="#word-{word.lower().replace(" ", "-")}"') == 1, word
    assert "would have passed</a>" in html and "stands in for</a>" in html
    assert '<abbr title="weights as 8-bit integers; activations stay float">w8</abbr>' in html
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", (root / "docs/glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    plain = {word: re.sub(r" \(\[.*?\]\(.*?\)\)|[*`]", "", meaning) for word, meaning in rows[2:]}
    assert plain == dict(GLOSSARY)
    assert described(recipe("s50p4")) == (
        "50 % of the weights are zero and not stored, the others in palettes of 16 values; activations stay float"
    )
    terms = Terms({"x": "<b>"})
    assert "&lt;b&gt;" in terms.named("x") and "<dfn" in terms.term("host") and "<dfn" not in terms.term("host")


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    path = chromium()
    if path is None:
        pytest.skip("Chromium is not installed")
    browser = driver().chromium.launch(executable_path=path, args=[*FLAGS])
    yield browser
    browser.close()


@pytest.fixture
def opened(chrome: Any, evidence: Path) -> Iterator[Callable[[int, int], Any]]:
    """`opened(width, height)`: the report in a window of that size."""
    contexts = []

    def show(width: int, height: int) -> Any:
        context = chrome.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        shown = context.new_page()
        shown.goto((evidence / "portrait/report.html").as_uri())
        return shown

    yield show
    for context in contexts:
        context.close()


def test_the_tables_filter(opened: Callable[[int, int], Any]) -> None:
    shown = opened(1280, 800)
    rows = shown.locator("#verdicts tbody tr")
    every = rows.count()
    shown.get_by_label("Filter the tables").fill("ONNX w8 astronaut")
    visible = [rows.nth(index).inner_text() for index in range(every) if not rows.nth(index).get_attribute("hidden")]
    hidden = shown.evaluate("[...document.querySelectorAll('#verdicts tbody tr')].filter((row) => row.hidden).length")
    assert 0 < every - hidden < every and "astronaut" in visible[0]
    assert re.fullmatch(r"\d+ of \d+ rows", shown.locator("#filter-said").inner_text())
    shown.get_by_label("Filter the tables").fill("")
    shown.get_by_label("Target", exact=True).select_option("coreml")
    left = "[...document.querySelectorAll('#size tbody tr, #losses tbody tr')].filter((row) => !row.hidden).length"
    assert shown.evaluate(left) == 0, "only ONNX was weighed and judged"
    limits = "[...document.querySelectorAll('#provenance tbody tr')].filter((row) => !row.hidden).length"
    assert shown.evaluate(limits) > 0, "a table without targets stays"
    shown.get_by_label("Target", exact=True).select_option("")
    assert shown.evaluate("document.querySelectorAll('tr[hidden]').length") == 0
    assert shown.locator("#filter-said").inner_text() == ""


def test_a_folded_table_opens_where_a_link_or_a_word_leads_into_it(opened: Callable[[int, int], Any]) -> None:
    shown = opened(1280, 800)
    words = shown.locator("#words details")
    assert not words.evaluate("element => element.open")
    shown.locator("a[href='#word-candidate']").first.click()
    shown.wait_for_function("document.querySelector('#words details').open")
    limits = shown.locator("#provenance details", has_text="Limits")
    assert "rows" in limits.locator(".count").first.inner_text()
    shown.get_by_label("Filter the tables").fill("float16 iou")
    assert limits.first.evaluate("element => element.open")
    shown.get_by_label("Filter the tables").fill("")
    assert not limits.first.evaluate("element => element.open")


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 800)])
def test_the_menu_never_runs_off_the_page(opened: Callable[[int, int], Any], width: int, height: int) -> None:
    shown = opened(width, height)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    box = shown.locator("nav").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    links = shown.locator("nav a")
    for index in range(links.count()):
        link = links.nth(index)
        if width < 1280:
            link.scroll_into_view_if_needed()
        place = link.bounding_box()
        assert place["x"] >= 0 and place["x"] + place["width"] <= width + 1
    shown.evaluate("scrollTo({top: 3000, behavior: 'instant'})")
    sticky = shown.locator("nav").bounding_box()
    assert sticky["y"] == 0 and sticky["height"] < height / 4


def test_steps_end_with_a_phone(gathered: Gathered) -> None:
    changed = with_states(gathered, {"coreml/w8": ("ships", True)})
    assert [step.command for step in steps(changed, files_to_take(changed))] == ["make bundle-ios", "make bench-ios"]
    other = replace(changed, spec=replace(changed.spec, folder=Path("nets/mine")))
    expected = ["make bundle-ios MODEL=nets/mine", "make bench-ios MODEL=nets/mine"]
    assert [step.command for step in steps(other, files_to_take(other))] == expected
