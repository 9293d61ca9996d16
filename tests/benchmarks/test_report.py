"""The report is one file that stands alone, says what is missing and stale, and shows no private photo."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.parity.run import run_parity
from benchmarks.report import summary, words
from benchmarks.report import write as report
from benchmarks.report.gather import asked, gather
from benchmarks.report.pixels import plain_bilinear, without_profile
from benchmarks.report.write import ReportRequest, write_report
from benchmarks.request import Request
from benchmarks.runtime import REGISTRY
from benchmarks.size import run_size
from hydramobile.budget import load_budget
from hydramobile.errors import NothingJudged, StageError, UsageError
from hydramobile.spec import ModelSpec, load_spec

Built = Callable[[str, str, str], Path]
ByName = Callable[[str], Path]

FORCED = next(row.name for row in REGISTRY.values() if row.forced)


@pytest.fixture(scope="session")
def spec(model_dir: ByName) -> ModelSpec:
    return load_spec(model_dir("portrait"))


@pytest.fixture
def out(evidence: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(evidence, tmp_path / "build"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without the experiments of the *from pixels* section."""
    monkeypatch.setattr(report, "pixels", lambda *arguments: None)


def page(out: Path, name: str = "report.html") -> str:
    return (out / "portrait" / name).read_text(encoding="utf-8")


def test_the_page_stands_alone(evidence: Path) -> None:
    html = page(evidence)
    assert re.findall("<script[^>]*>", html) == ['<script type="module">']
    fetched = re.findall(r"""(?:src|href)=["']([^"']*)""", html) + re.findall(r"url\(([^)]*)", html)
    assert fetched
    assert all(place.startswith(("data:image/", "#")) for place in fetched)
    # Photo, and per output reference, file and difference at the top; four pictures per output of a file below float32.
    assert html.count('src="data:image/') == 1 + 2 * 3 + 2 * 4
    assert html.count("<svg") == 4  # size, latency, size against loss of depth and alpha
    assert "max-width: 640px" in html
    assert "prefers-color-scheme: dark" in html
    for label in ("host", "static"):
        assert f">{label}</span>" in html
    # Where a target has no artifact at all, the report says so and how to get one.
    assert "make export" in html


def test_the_numbers_are_those_of_the_evidence(evidence: Path, spec: ModelSpec) -> None:
    html, markdown = page(evidence), page(evidence, "report.md")
    rows = json.loads((evidence / "portrait/parity.json").read_text())["results"]
    fused = next(r for r in rows if (r["recipe"], r["entry"], r["mode"]) == ("w8", "portrait", "direct"))
    labels = next(r for r in rows if (r["recipe"], r["mode"]) == ("w8", "labels"))
    loss = next(m for m in labels["measures"] if m["metric"] == "whdr_loss")
    iou = next(m for m in fused["measures"] if (m["output"], m["metric"]) == ("alpha", "iou"))
    size = next(r for r in json.loads((evidence / "portrait/size.json").read_text())["results"] if r["recipe"] == "w8")
    for text in (html, markdown):
        assert f"{iou['value']:.4f}" in text
        assert iou["worst"] in text
        assert "WHDR loss" in text and "depth, against labels" in text and loss["worst"] in text
        assert f"{size['ships']['bytes'] / 1e6:.2f} MB" in text
        assert spec.weights_sha256 in text
        assert "plain bilinear" in text
        assert "render-101" in text
        assert "CC0-1.0" in text
    assert not re.findall(r".*\b(?:nan|None|Undefined)\b.*", markdown)


@pytest.mark.usefixtures("quick")
def test_missing_pieces_are_named_with_their_command(out: Path, spec: ModelSpec) -> None:
    for name in ("size.json", "latency.json"):
        (out / "portrait" / name).unlink()
    (out / "portrait/parity.json").write_text("{")
    shutil.rmtree(out / "portrait/goldens")
    (out / "portrait/goldens").mkdir()

    write_report(ReportRequest(spec, out))

    for text in (page(out), page(out, "report.md")):
        assert "parity.json is not readable JSON" in text
        assert "size.json was not made yet" in text
        assert "make parity" in text
        assert "make bench" in text


@pytest.mark.usefixtures("quick")
def test_what_was_forced_is_refused_and_what_was_left_out_not_done(out: Path, spec: ModelSpec) -> None:
    path = out / "portrait/parity.json"
    document = json.loads(path.read_text())
    whole = next(
        row
        for row in document["results"]
        if (row["recipe"], row["entry"], row["mode"]) == ("float32", "portrait", "direct")
    )
    forced = {**whole, "runtime": FORCED, "verdict": "mismatch", "reason": "too far", "evidence": "emulated-arm"}
    forced["measures"] = [{**m, "value": 0.123} if m["metric"] == "max_abs" else m for m in whole["measures"]]
    left = {**whole, "runtime": "ort-arm-a53", "entry": "depth", "mode": "boundary", "evidence": "emulated-arm"}
    left |= {"verdict": "unavailable", "stage": "left out", "reason": "judged elsewhere", "measures": []}
    document["results"] += [forced, left]
    path.write_text(json.dumps(document))

    write_report(ReportRequest(spec, out))

    text = page(out, "report.md")
    assert "| onnx float32 | ✓ ships | yes |" in text
    refused = text.partition("## Refused")[2].partition("\n## ")[0]
    assert re.search(
        r"\| onnx float32 \| ships \| .* \| 0\.12 \| .* in litert-arm-a76-fp16 \| \*emulated-arm\* \|", refused
    )
    assert FORCED not in text.partition("## Verdicts")[2].partition("\n## ")[0], "another number decides"
    assert "left out: judged elsewhere" in text
    assert "✗ unavailable" not in text and "✗ unavailable" not in page(out)
    assert "but not where an app forces it: litert-arm-a76-fp16 portrait direct: too far" in page(out)


@pytest.mark.usefixtures("quick")
def test_evidence_of_other_bytes_is_stale(out: Path, spec: ModelSpec) -> None:
    for name in ("parity", "size"):
        path = out / f"portrait/{name}.json"
        document = json.loads(path.read_text())
        for row in document["results"]:
            if (row["target"], row["recipe"]) == ("onnx", "w8"):
                row["artifact"] = "0" * 64
        path.write_text(json.dumps(document))

    write_report(ReportRequest(spec, out))

    assert "Stale evidence" in page(out)
    assert "onnx/w8: parity, size" in page(out, "report.md")
    verdicts = {v.recipe: v.state for v in gather(spec, out, None).verdicts if v.target == "onnx"}
    assert verdicts["w8"] == "stale"
    assert verdicts["float32"] == "ships"


def test_evidence_of_what_is_gone_is_left_out(out: Path, spec: ModelSpec, quick: None) -> None:
    """A recipe that someone tried, judged and removed again, and that no budget asks for."""
    path = out / "portrait/parity.json"
    document = json.loads(path.read_text())
    tried = [{**row, "recipe": "w4"} for row in document["results"] if row["recipe"] == "w8"]
    assert tried and ("onnx", "w4") not in asked(load_budget(spec))
    path.write_text(json.dumps({**document, "results": [*document["results"], *tried]}))

    write_report(ReportRequest(spec, out))

    assert "onnx/w4" not in page(out, "report.md") and "onnx w4" not in page(out, "report.md")


def test_browsers_stand_apart_with_what_a_visit_downloads(out: Path, spec: ModelSpec, quick: None) -> None:
    """A device's times are no row of this computer's tables, and an insecure context is marked."""
    path = out / "portrait/latency.json"
    document = json.loads(path.read_text())
    known = next(row for row in document["results"] if row["target"] == "onnx")
    offered = {"user_agent": "A phone", "isolated": False, "secure": False, "cores": 8, "adapter": None, "webgl": "GPU"}
    facts = {**offered, "backend": "wasm", "threads": 1, "wasm": {"simd": True}, "runtime": {"gzip": 1_000_000}}
    row = {**known, "runtime": "ort-web", "evidence": "measured-on-device", "environment": {"browser": facts}}
    row |= {"device": {"id": "1", "name": "Phone of the test"}, "memory": {"baseline": None, "peak": None}}
    path.write_text(json.dumps({**document, "results": [*document["results"], row]}))
    write_report(ReportRequest(spec, out))
    html = (out / "portrait/report.html").read_text()
    before, section = html.split('<section id="web">')
    size = next(r for r in json.loads((out / "portrait/size.json").read_text())["results"] if r["recipe"] == "float32")
    assert "Phone of the test" in section and "insecure context" in section and "measured-on-device" in section
    assert words.megabytes(1_000_000 + size["ships"]["gzip"]) in section
    assert "ort-web" not in before.split('<section id="latency">')[1]
    assert "ort-web, wasm, 1 thread | Phone of the test (insecure context)" in (out / "portrait/report.md").read_text()


def test_nothing_to_report(tmp_path: Path, spec: ModelSpec) -> None:
    with pytest.raises(NothingJudged, match="make all"):
        write_report(ReportRequest(spec, tmp_path))


@pytest.mark.usefixtures("quick")
def test_private_photos_stay_out(out: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sample taken for a private one: not a single photo may be shown, unless asked for."""

    def all_private(*arguments: object) -> object:
        found = gather(*arguments)  # type: ignore[arg-type]  # parametrized, so untyped
        return replace(found, samples=tuple(replace(sample, private=True) for sample in found.samples))

    monkeypatch.setattr(report, "gather", all_private)
    write_report(ReportRequest(spec, out))
    assert "data:image/" not in page(out)
    assert "--include-photos" in page(out)

    write_report(ReportRequest(spec, out, include_photos=True))
    assert "data:image/" in page(out)


@pytest.mark.usefixtures("quick")
def test_a_classifier_has_a_report_too(artifact: Built, build: ByName, model_dir: ByName, tmp_path: Path) -> None:
    """One module, class scores, no photos, no budget of its own."""
    other = load_spec(model_dir("classifier"))
    shutil.copytree(build("classifier"), tmp_path, dirs_exist_ok=True)
    shutil.copytree(artifact("classifier", "onnx", "float32"), tmp_path / other.name / "onnx/float32")
    request = Request(other, tmp_path, runtimes=("onnxruntime",))
    run_parity(request)
    run_size(request)

    write_report(ReportRequest(other, tmp_path))

    html = (tmp_path / other.name / "report.html").read_text(encoding="utf-8")
    assert "top-1" in html
    assert "The model has one module" in html
    assert "of earlier runs" not in html

    # Nothing has changed, so a second run keeps the rows, and the report says from when.
    run_size(request)
    write_report(ReportRequest(other, tmp_path))
    for name in ("report.html", "report.md"):
        text = (tmp_path / other.name / name).read_text(encoding="utf-8")
        assert re.search(r"1 of \d+ rows of parity, size, .* of earlier runs, the oldest of 20\d\d-", text)


@pytest.mark.usefixtures("quick")
def test_the_readme_table_is_renewed(out: Path, spec: ModelSpec, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    short = f"{summary.SHORT_BEGIN}\nold\n{summary.SHORT_END}"
    readme.write_text(f"before\n{summary.BEGIN}\nold\n{summary.END}\n{short}\nafter\n", encoding="utf-8")

    write_report(ReportRequest(spec, out, readme=readme))

    text, document = readme.read_text(encoding="utf-8"), summary.read_results(tmp_path / "docs/results.json")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "\nold\n" not in text
    assert summary.block(document) in text and summary.short_block(document) in text
    assert document.weights_sha256 == spec.weights_sha256
    assert {row.labels and row.labels.labels for row in document.artifacts if row.losses} == {64}
    assert "| depth: WHDR loss |" in text and "WHDR loss: mean over 64 labelled views, of which" in text
    # The table is a function of docs/results.json: a changed figure there makes it stale.
    first, *others = document.artifacts
    changed = replace(document, artifacts=[replace(first, bytes=(first.bytes or 0) + 1_000_000), *others])
    assert summary.block(changed) not in text


def test_a_readme_is_not_emptied(out: Path, spec: ModelSpec, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    with pytest.raises(UsageError, match="no file"):
        summary.renew_readme(gather(spec, out, None), readme)
    readme.write_text("no markers", encoding="utf-8")
    with pytest.raises(UsageError, match="results:begin"):
        summary.renew_readme(gather(spec, out, None), readme)
    readme.write_text(f"{summary.BEGIN}\nfull\n{summary.END}", encoding="utf-8")
    (out / "portrait/parity.json").unlink()
    with pytest.raises(StageError, match="keeps its table"):
        summary.renew_readme(gather(spec, out, None), readme)
    assert "full" in readme.read_text(encoding="utf-8")


@pytest.mark.parametrize(("file", "table"), [("README.md", summary.short_block), ("docs/results.md", summary.block)])
def test_the_tables_of_this_repository_are_current(
    root: Path, spec: ModelSpec, file: str, table: Callable[[summary.Results], str]
) -> None:
    """Renew them with: python -m benchmarks report --readme FILE"""
    document = summary.read_results(root / "docs/results.json")
    assert table(document) in (root / file).read_text(encoding="utf-8")
    assert document.spec_sha256 == spec.sha256
    assert document.weights_sha256 == spec.weights_sha256


def test_numbers_keep_the_digits_that_matter() -> None:
    assert words.number("iou", 1.0) == "1.0000"
    assert words.number("iou", 0.99999) == "0.99999"
    assert words.number("iou", 0.9934) == "0.9934"
    assert words.number("order_flips", 0.00092) == "0.092 %"
    assert words.number("order_flips", 0.0) == "0 %"
    assert words.number("delta_1.25", 0.99994) == "99.994 %"
    assert words.number("max_abs", 3.4e-6) == "3.4e-6"
    assert words.number("snr_db", 44.6) == "45 dB"
    assert words.used(0.003) == "< 1 %"
    assert words.used(8.12) == "812 %"
    assert words.megabytes(3_480_000) == "3.48 MB"
    assert words.megabytes(76_200) == "76.2 kB"


def test_plain_bilinear_is_what_it_says(tmp_path: Path) -> None:
    """Four taps, half-pixel centres: halving keeps means of 2 x 2, a large reduction skips pixels."""
    path = tmp_path / "photo.png"
    image = Image.new("L", (8, 8))
    image.putdata([10 * (index % 8) for index in range(64)])
    image.convert("RGB").save(path)

    halved = plain_bilinear(path, (4, 4))
    quarter = plain_bilinear(path, (2, 2))

    assert halved.shape == (1, 3, 4, 4)
    assert (halved[0, 0, 0] * 255).round().tolist() == [5, 25, 45, 65]
    # Between the pixels 1 and 2, and 5 and 6: the other four never count.
    assert (quarter[0, 0, 0] * 255).round().tolist() == [15, 55]
    assert without_profile(path, (2, 2)) is None
