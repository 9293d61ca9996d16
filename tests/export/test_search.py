"""The search on a small net: its measurements, its choices, the files that it writes, and its errors."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.parity.artifact import judge_artifact
from benchmarks.parity.bench import Bench as Judges
from benchmarks.runtime import load_runtime
from export.program import capture
from export.quantize.layers import find_layers
from export.search.builds import Build, read_share, requested_builds, standard_builds
from export.search.exports import layers_named
from export.search.latency import ratios
from export.search.losses import Loss
from export.search.prepare import prepare
from export.search.reach import reach
from export.search.report import redraw
from export.search.run import run_search
from export.search.sensitivity import options_of
from export.search.show import broken_limit, conclude
from export.search.solve import Option, at_price, path, smallest, total, within_bytes
from export.search.state import Request
from export.search.store import depends_on, digest
from export.search.trial import Trial, pick
from export.search.verify import verify
from export.target import load_storage
from hydramobile.artifact import artifact_folder, read_artifact
from hydramobile.budget import load_budget
from hydramobile.errors import BudgetBroken, StageError, UsageError
from hydramobile.goldens import load_goldens, refresh
from hydramobile.recipe_files import read_named
from hydramobile.samples import load_samples
from hydramobile.spec import ModelSpec, load_spec

TABLE = {
    "first": [Option("float16", 20, {"y": 0.0}), Option("w8", 10, {"y": 0.1}), Option("w4", 5, {"y": 9.0})],
    "second": [Option("float16", 200, {"y": 0.0}), Option("w8", 100, {"y": 0.1}), Option("w4", 50, {"y": 0.2})],
}
ONE = {"y": 1.0}


def test_the_cheapest_noise_is_taken_first() -> None:
    assert total(smallest(TABLE)) == 55
    assert within_bytes(TABLE, ONE, 54) is None
    chosen = within_bytes(TABLE, ONE, 71)
    assert chosen is not None
    assert {name: option.recipe for name, option in chosen.items()} == {"first": "float16", "second": "w4"}
    assert {name: option.recipe for name, option in at_price(TABLE, ONE, 1e9).items()} == {
        "first": "w4",
        "second": "w4",
    }


def test_a_path_goes_from_exact_to_small() -> None:
    sizes = [total(choice) for choice in path(TABLE, ONE)]
    assert sizes[0] == 220
    assert sizes[-1] == 55
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("text", ["", "x", "0", "-1%", "101%", "1%%", "1% of it", "nan"])
def test_a_loss_out_of_range(text: str) -> None:
    with pytest.raises(UsageError, match="--max-loss"):
        read_share(text)


def test_losses_are_parsed() -> None:
    assert [read_share(text) for text in ("1%", "0.5 %", "0.01")] == [0.01, 0.005, 0.01]


def test_builds_are_ordered_for_any_trials(model_dir: Callable[[str], Path]) -> None:
    """Of any set of trials `quality` loses least, and each build is as small as its losses allow."""
    budget = load_budget(load_spec(model_dir("portrait")))
    builds = standard_builds(budget)
    assert builds[0].sizes == builds[1].sizes, "quality may be as large as the largest of the others"
    rng = np.random.default_rng(6)
    for _ in range(300):
        count = int(rng.integers(1, 30))
        sizes = rng.uniform(1.5e6, 3.3e6, count)
        # Smaller trials lose more, but not monotonically.
        worst = np.exp(rng.normal(0, 0.7, count)) * 0.01 * (2e6 / sizes) ** 4
        rows = [
            Trial("coreml", "", size, {"y": Loss(loss / 3, loss, "a")}, {})
            for size, loss in zip(sizes, worst, strict=True)
        ]
        chosen = [pick(rows, b, b.shrinks("coreml"), b.sizes.get("coreml", np.inf)) for b in builds]
        made = [(row, build) for row, build in zip(chosen, builds, strict=True) if row and row.excess(build) <= 0.8]
        for (strict, own), (lax, _) in itertools.pairwise(made):
            assert strict.bytes >= lax.bytes
            assert strict.excess(own) <= lax.excess(own)
        for row, build in made:
            smaller = [r for r in rows if r.bytes < row.bytes and r.excess(build) <= 0.8]
            assert not smaller or not build.small, "a build is never larger than it needs to be"


def test_a_size_is_a_ceiling_for_a_small_build_and_a_budget_for_others() -> None:
    rows = [Trial("onnx", "", size, {"y": Loss(loss, loss, "a")}, {}) for size, loss in ((9, 0.0), (5, 0.3), (2, 0.9))]
    small, exact = Build("b", 0.5, 0.5, {"onnx": 9.0}, small=True), Build("q", 0.5, 0.5, {"onnx": 9.0})
    picked = [pick(rows, build, build.shrinks("onnx"), 9.0) for build in (small, exact)]
    assert [row.bytes for row in picked if row] == [5, 9]
    # Where no trial keeps the losses, the one that breaks them least; where no trial is small enough, none.
    strict = Build("s", 1e-9, 1e-9, {"onnx": 6.0}, small=True)
    least = pick(rows, strict, strict.shrinks("onnx"), 6.0)
    assert least is not None
    assert least.bytes == 5
    assert pick(rows, strict, strict.shrinks("onnx"), 1.0) is None


def silent(stage: str, done: int, of: int) -> None:
    """No progress display."""


def search(spec: ModelSpec, out: Path, builds: tuple[Build, ...]) -> list[Trial]:
    return run_search(Request(spec, out, ("onnx",), builds), silent)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, model_dir: Callable[[str], Path]) -> tuple[ModelSpec, Path]:
    """Copy the classifier into a folder of its own and search two builds for it on ONNX."""
    root = tmp_path_factory.mktemp("search")
    folder = root / "graded"
    shutil.copytree(model_dir("classifier"), folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(text.replace("classifier.net:build", "graded.net:build"))
    (folder / "recipes.toml").write_text('[recipes.mine]\nbase = "w8"\n')
    spec = load_spec(folder)
    builds = (Build("exact", 0.01, 0.01), Build("tight", 1.0, 1.0, {"onnx": 80_000.0}))
    search(spec, root / "out", builds)
    return spec, root / "out"


def test_builds_are_written_beside_existing_recipes(searched: tuple[ModelSpec, Path]) -> None:
    spec, out = searched
    named = read_named(spec.folder / "recipes.toml")
    assert set(named) == {"mine", "exact", "tight"}
    document = json.loads((out / "classifier/search/search.json").read_text())
    final = {row["build"]: row for row in document["tried"] if row["chosen"]}
    assert final["tight"]["bytes"] <= 80_000 < final["exact"]["bytes"] + 60_000
    assert final["exact"]["losses"]["scores"]["worst"] == 0.0
    assert (out / "classifier/search/pareto.png").read_bytes()[:4] == b"\x89PNG"


def test_verified_losses_are_those_of_the_file(searched: tuple[ModelSpec, Path]) -> None:
    """The losses that the search measured in PyTorch equal the losses of the saved file in its runtime."""
    spec, out = searched
    document = json.loads((out / "classifier/search/search.json").read_text())
    refresh(spec, load_samples(spec, "judge"), spec.size, out / "classifier" / "goldens")
    bench = Judges(spec, load_budget(spec), load_goldens(spec, load_samples(spec, "judge"), spec.size, out))
    for name in ("exact", "tight"):
        folder = artifact_folder(out, "classifier", "onnx", name)
        assert read_artifact(folder).layers
        results = list(judge_artifact(bench, load_runtime("onnxruntime"), folder))
        assert all(result.verdict != "failed" for result in results), [result.reason for result in results]
        types = next(result for result in results if result.mode == "dtypes")
        assert types.verdict == "pass", types.reason
        measures = [m for result in results for m in result.measures if m.metric == "top1"]
        wanted = next(row for row in document["tried"] if row["chosen"] and row["build"] == name)
        assert np.isclose(1 - measures[0].mean, wanted["losses"]["scores"]["mean"], atol=1e-9)


def test_a_search_goes_on_where_it_stopped(searched: tuple[ModelSpec, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    spec, out = searched
    again = prepare(Request(spec, out, ("onnx",), ()), silent)
    (path,) = (out / "classifier/search").glob("measured-*.json")
    assert path == again.store.path
    document = json.loads(path.read_text())
    alone = [key for key in document["measured"] if json.loads(key)[0] == "alone"]
    assert len(alone) == len(again.decoder.layers)
    assert document["depends"]["weights"] == spec.weights_sha256
    before = path.stat().st_mtime_ns
    monkeypatch.setattr("export.search.losses.Bench.losses", None)
    known = json.loads((out / "classifier/search/search.json").read_text())["tried"][0]
    choice = {name: next(o for o in again.tables["onnx"][name] if o.recipe == r) for name, r in known["choice"].items()}
    again.overhead["onnx"] = 0.0
    trial = verify(again, "onnx", Build("exact", 0.01, 0.01), choice)
    assert {name: asdict(loss) for name, loss in trial.losses.items()} == known["losses"], "nothing is run again"
    assert path.stat().st_mtime_ns == before


def test_measurements_outlive_unrelated_edits_alone(
    searched: tuple[ModelSpec, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a copy of the sources and the model, an edit of code that no measurement depends on changes no key."""
    root = Path(__file__).parents[2]
    for package in ("export", "hydramobile", "benchmarks"):
        shutil.copytree(root / package, tmp_path / package, ignore=shutil.ignore_patterns("portrait*", "__pycache__"))
    spec, _ = searched
    folder = tmp_path / "own" / "graded"
    shutil.copytree(spec.folder, folder)
    program = replace(capture(spec), spec=replace(spec, folder=folder))
    monkeypatch.setattr("export.search.store.ROOT", tmp_path)
    samples = load_samples(spec, "judge")
    # The code of the targets is not among the common dependencies.
    assert not [name for name in depends_on(program, samples, samples)["code"] if name.startswith("export.targets")]

    def keys() -> tuple[str, str]:
        own = digest(reach(["export.targets.onnx.layerwise"], (tmp_path,)))
        return digest(depends_on(program, samples, samples)), own

    def edited(path: Path, text: str) -> tuple[str, str]:
        path.write_text(path.read_text() + text)
        return keys()

    first = keys()
    code = "\n\nADDED = 1\n"
    unrelated = (
        "export/search/show.py",
        "export/driver.py",
        "export/targets/tfjs/lower.py",
        "benchmarks/parity/run.py",
    )
    for name in unrelated:
        assert edited(tmp_path / name, code) == first, name
    assert edited(tmp_path / "export/quantize/gptq.py", "\n# a comment\n") == first, "comments do not count"
    assert edited(folder / "net.py", '\n\n"""A string that stands alone."""\n') == first
    common, own = first
    moved = edited(tmp_path / "export/targets/onnx/weights.py", code)
    assert moved[0] == common
    assert moved[1] != own, "how a target stores a layer counts for that target"
    seen = {common}
    for related in (tmp_path / "export/quantize/gptq.py", tmp_path / "hydramobile/measures.py", folder / "net.py"):
        key = edited(related, code)[0]
        assert key not in seen, related
        seen.add(key)
    other = replace(program, spec=replace(program.spec, weights_sha256="0" * 64))
    assert digest(depends_on(other, samples, samples)) not in seen
    assert digest(depends_on(program, samples[1:], samples)) not in seen


def test_code_that_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"the code of nowhere\.net was not found"):
        reach(["nowhere.net"], (tmp_path,))
    assert list(reach(["numpy.linalg"], (tmp_path,))) == ["numpy"], "a vendor's package counts by its version"


def test_a_size_that_cannot_be_reached(searched: tuple[ModelSpec, Path]) -> None:
    spec, out = searched
    text = (spec.folder / "recipes.toml").read_text()
    with pytest.raises(UsageError, match=r"tiny cannot be 0\.01 MB for onnx: the smallest is 0\.\d+ MB, which loses"):
        search(spec, out, (Build("tiny", 1.0, 1.0, {"onnx": 10_000.0}),))
    assert (spec.folder / "recipes.toml").read_text() == text, "nothing is lost"


def test_builds_are_coloured_by_the_latencies_of_their_files(searched: tuple[ModelSpec, Path]) -> None:
    spec, out = searched
    pairs = [("onnx", "exact"), ("onnx", "tight")]
    assert ratios(spec, out, pairs) == {}
    plain = redraw(spec, out).read_bytes()
    digest = read_artifact(artifact_folder(out, "classifier", "onnx", "tight")).sha256
    about = {"target": "onnx", "runtime": "onnxruntime", "verdict": "measured", "evidence": "host"}

    def entries(fused: float) -> list[dict[str, object]]:
        return [{"modules": ["a"], "p50_ms": 99.0}, {"modules": ["a", "b"], "p50_ms": fused}]

    rows = [
        {**about, "recipe": "float32", "artifact": "f", "entries": entries(4.0)},
        {**about, "recipe": "tight", "artifact": digest, "entries": entries(3.0)},
        {**about, "recipe": "exact", "artifact": "of other bytes", "entries": entries(1.0)},
        {**about, "recipe": "tight", "artifact": digest, "evidence": "browser-host", "entries": entries(9.0)},
    ]
    path = out / "classifier" / "latency.json"
    document = {"weights_sha256": spec.weights_sha256, "results": rows}
    try:
        path.write_text(json.dumps(document))
        assert ratios(spec, out, pairs) == {("onnx", "tight"): 0.75}
        assert redraw(spec, out).read_bytes() != plain
        path.write_text(json.dumps({**document, "weights_sha256": "other"}))
        assert ratios(spec, out, pairs) == {}
    finally:
        path.unlink()
    with pytest.raises(UsageError, match="no search in"):
        redraw(spec, out / "nowhere")


def test_a_build_over_its_loss_is_named(searched: tuple[ModelSpec, Path]) -> None:
    spec, out = searched
    builds = (Build("never", 1e-9, 1e-9, {"onnx": 70_000.0}),)
    final = search(spec, out, builds)
    if any(loss.mean > 1e-9 for made in final for loss in made.losses.values()):
        with pytest.raises(BudgetBroken, match="never for onnx: scores loses"):
            conclude(final, builds, out)
    else:
        assert "1 builds written" in conclude(final, builds, out)


def test_a_build_that_is_wrong_more_often_is_named() -> None:
    build = Build("balanced", 0.005, 0.015, wrong={"onnx": 0.005})
    made = Trial("onnx", "balanced", 1e6, {"depth": Loss(0.001, 0.002, "a")}, {}, wrong=0.004)
    assert broken_limit(made, build) == "" == broken_limit(replace(made, target="tfjs", wrong=0.02), build)
    assert (
        broken_limit(replace(made, wrong=0.012), build) == "1.20% more of the labels' pairs are wrong instead of 0.50%"
    )


def test_layers_that_an_error_names() -> None:
    names = ("a.blocks.1", "a.blocks.1.conv", "a.blocks.11.conv", "a.blocks.2")
    assert layers_named("'tight': a.blocks.1.conv as w4: no such kernel", names) == ["a.blocks.1.conv"]
    assert layers_named("'a.blocks.2' is stored as float32; 'a.blocks.11.conv' too", names) == [names[2], names[3]]
    assert layers_named("quantize: ran out of memory", names) == []


def test_four_bit_depthwise_kernels_are_not_offered_for_litert(model_dir: Callable[[str], Path]) -> None:
    layers = find_layers(capture(load_spec(model_dir("classifier"))))
    storage = load_storage("litert")
    offered = {name: options_of(storage, layer) for name, layer in layers.items()}
    narrow = {name for name, options in offered.items() if "w4" not in options}
    grouped = {name for name, layer in layers.items() if getattr(layer.owner, "groups", 1) > 1}
    assert narrow == grouped
    assert grouped
    assert all(options == ["float16", "w8"] for name, options in offered.items() if name in narrow)


@pytest.mark.slow
def test_a_refused_export_falls_to_the_next_best(
    model_dir: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search offers 4-bit depthwise kernels for LiteRT; the export, a process of its own, refuses them."""
    folder = tmp_path / "refused"
    shutil.copytree(model_dir("classifier"), folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(text.replace("classifier.net:build", "refused.net:build"))
    monkeypatch.setattr("export.targets.litert.layerwise.is_depthwise", lambda layer: False)
    request, stages = Request(load_spec(folder), tmp_path / "out", ("litert",), (Build("tight", 1.0, 1.0),)), []
    (final,) = run_search(request, lambda *progress: stages.append(progress[0]))
    assert "export the builds, round 2" in stages
    depthwise = {name for name, layer in find_layers(capture(request.spec)).items() if layer.depthwise}
    tried = json.loads((request.folder / "search.json").read_text())["tried"]
    assert any(row["choice"][name] == "w4" for row in tried for name in depthwise), "it was tried"
    stored = read_artifact(artifact_folder(request.out, "classifier", "litert", "tight")).layers
    # A scale per channel weighs more than 8 bits of a small filter save: float16 may be the next best.
    assert {stored[name]["recipe"] for name in depthwise if name in stored} <= {"float16", "w8"}
    assert final.choice == {name: stored[name]["recipe"] for name in final.choice}


def test_builds_that_are_requested(model_dir: Callable[[str], Path]) -> None:
    spec = load_spec(model_dir("classifier"))
    assert [build.name for build in requested_builds(spec, ("onnx",), None, None)] == ["quality", "balanced", "compact"]
    (own,) = requested_builds(spec, ("onnx", "tfjs"), 2.0, "1%")
    assert (own.mean, own.sizes) == (0.01, {"onnx": 2e6, "tfjs": 2e6})
    assert not own.wrong
    portrait = requested_builds(load_spec(model_dir("portrait")), ("onnx",), None, None)
    assert [dict(build.wrong) for build in portrait] == [{"onnx": 0.005}, {"onnx": 0.005}, {"onnx": 0.015}]
    with pytest.raises(UsageError, match="stores all layers alike"):
        requested_builds(spec, ("coreai",), None, None)
    with pytest.raises(UsageError, match="--budget-mb is -1"):
        requested_builds(spec, ("onnx",), -1.0, None)


@pytest.mark.slow
def test_the_portrait_within_its_budget(
    tmp_path: Path, model_dir: Callable[[str], Path], own_model: Callable[..., Path]
) -> None:
    """The three builds on ONNX are within the sizes of budget.toml and the losses of the search; each is smaller than
    the one before and loses more."""
    spec = load_spec(own_model("portrait"))
    builds = requested_builds(spec, ("onnx",), None, None)
    final = search(spec, tmp_path / "out", builds)
    assert "3 builds written" in conclude(final, builds, tmp_path)
    assert all(made.wrong is not None and -0.005 < made.wrong < 0.015 for made in final)
    sizes = [made.bytes for made in final]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.25 * 12.3e6
    losses = [made.excess(builds[0]) for made in final]
    assert losses == sorted(losses)
