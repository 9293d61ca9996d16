"""Kinds of bad input. Each makes one case from a seed: the command's words, and the exit codes that are right for it.

A damaged input may happen to be valid still, so 0 is right wherever the command could do its work.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaign.damage import NUMBERS, STRINGS, change, damaged, toml_document
from campaign.runner import ROOT

READ = frozenset({0, 2, 3})
JUDGED = frozenset({0, 1, 2, 3, 4})
Case = tuple[list[object], frozenset[int]]
PHOTOS = ("astronaut.png", "grace-hopper.jpg", "camera.png", "render-105.jpg")
VERBS = {
    "export": ("make onnx", "bundle ios", "init", "list", "layers", "inspect", "sign", "verify", "search"),
    "benchmarks": ("parity", "size", "cost", "latency", "grid", "compare", "profile", "device", "support", "report"),
    "hydramobile": ("goldens",),
    "ship": ("ios",),
    "demo": ("serve",),
    "reference": ("infer", "photos", "train", "evaluate", "compare", "card"),
}


@dataclass(frozen=True, slots=True)
class World:
    """What cases damage: a model of its own, its artifacts and evidence in `out`, an archive, a checkpoint."""

    model: Path
    out: Path
    archive: Path
    checkpoint: Path

    @property
    def build(self) -> Path:
        return self.out / "classifier"


NET = """\
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
    def forward(self, x):
        return self.layer(x).relu()
def build():
    return Net().eval()
"""


def make_world(folder: Path, artifacts: Sequence[Path] = ()) -> World:
    """Export, judge and measure a small net with the real commands. `artifacts` are copied instead of exported."""
    model, out = folder / "own" / "classifier", folder / "out"
    shutil.copytree(ROOT / "tests/nets/classifier", model, ignore=shutil.ignore_patterns("__pycache__"))
    flags = ["--model", str(model), "--out", str(out)]
    for artifact in artifacts:
        shutil.copytree(artifact, out / "classifier" / artifact.parent.name / artifact.name)
    for words in (
        ["export", "onnx" if artifacts else "all", *flags, "--recipe", "float32"],
        ["hydramobile", "goldens", *flags],
        ["benchmarks", "parity", *flags, "--runtime", "onnxruntime"],
        ["benchmarks", "size", *flags],
    ):
        done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    (folder / "net.py").write_text(NET)
    make = (
        "import torch, net; n = net.build();"
        "torch.export.save(torch.export.export(n, (torch.rand(1, 4),)), 'net.pt2');"
        "torch.save(n.state_dict(), 'net.pth')"
    )
    subprocess.run([sys.executable, "-c", make], cwd=folder, check=True, capture_output=True)
    return World(model, out, folder / "net.pt2", folder / "net.pth")


def own_model(world: World, folder: Path) -> Path:
    return Path(shutil.copytree(world.model, folder / "classifier"))


def own_build(world: World, folder: Path) -> Path:
    return Path(shutil.copytree(world.out, folder / "out"))


def model_toml(world: World, rng: random.Random, folder: Path) -> Case:
    model = own_model(world, folder)
    path = model / "model.toml"
    if rng.random() < 0.25:
        path.write_bytes(damaged(path.read_bytes(), rng))
    else:
        path.write_text(toml_document(change(tomllib.loads(path.read_text()), rng)), encoding="utf-8", newline="\n")
    return ["export", "list", model], READ


BUDGET = {
    "ship": {"onnx": ["float32"]},
    "candidates": {"litert": ["w8"]},
    "limit": [{"recipe": "w8", "output": "*", "metric": "snr_db", "limit": 30, "reason": "a reason"}],
    "size": [{"target": "onnx", "recipe": "float32", "megabytes": 5, "reason": "a reason"}],
}
RECIPES = {"recipes": {"small": {"onnx": {"base": "float16", "layers": {"classifier.stem.conv": "w8"}}}}}


def budget_toml(world: World, rng: random.Random, folder: Path) -> Case:
    model = own_model(world, folder)
    (model / "budget.toml").write_text(toml_document(change(BUDGET, rng)), encoding="utf-8")
    return ["export", "list", model], READ


def recipes_toml(world: World, rng: random.Random, folder: Path) -> Case:
    model = own_model(world, folder)
    (model / "recipes.toml").write_text(toml_document(change(RECIPES, rng)), encoding="utf-8")
    return ["benchmarks", "size", "--model", model, "--out", world.out, "--only", "onnx/small"], JUDGED


def samples_toml(world: World, rng: random.Random, folder: Path) -> Case:
    model = own_model(world, folder)
    samples = model / "samples"
    samples.mkdir()
    photo = ROOT / "models/portrait/samples" / PHOTOS[1]
    shutil.copy(photo, samples / "a.jpg")
    row = {"file": "a.jpg", "sha256": "0" * 64, "split": "judge", "source": "s", "license": "l", "description": "d"}
    listing = toml_document(change({"sample": [row]}, rng))
    (samples / "samples.toml").write_text(listing, encoding="utf-8")
    return ["benchmarks", "report", "--model", model, "--out", own_build(world, folder)], JUDGED


def weights(world: World, rng: random.Random, folder: Path) -> Case:
    model = own_model(world, folder)
    path = model / "weights.safetensors"
    path.write_bytes(damaged(path.read_bytes(), rng))
    return ["export", "layers", model], frozenset({2, 3})


def photo(world: World, rng: random.Random, folder: Path) -> Case:
    source = ROOT / "models/portrait/samples" / rng.choice(PHOTOS)
    suffix = rng.choice((source.suffix, ".jpg", ".png", ".heic", ".webp", ".tiff"))
    path = folder / f"photo{suffix}"
    path.write_bytes(damaged(source.read_bytes(), rng))
    return ["reference", "infer", path, "--out", folder / "maps"], frozenset({0, 3})


def archive(world: World, rng: random.Random, folder: Path) -> Case:
    path = folder / "net.pt2"
    path.write_bytes(damaged(world.archive.read_bytes(), rng))
    return ["export", "init", folder / "made", path], READ


def checkpoint(world: World, rng: random.Random, folder: Path) -> Case:
    path = folder / rng.choice(("net.pth", "net.ckpt", "net.safetensors", "net.bin"))
    path.write_bytes(damaged(world.checkpoint.read_bytes(), rng))
    shutil.copy(world.archive.with_name("net.py"), folder / "net.py")
    words = ["export", "init", folder / "made", "net:build", "--input", "x=1x4", "--weights", path]
    return words, frozenset({0, 2, 3})


def artifact_json(world: World, rng: random.Random, folder: Path) -> Case:
    """Damage artifact.json. Half of the time its own hash is made to fit, as a careful forger would."""
    out = own_build(world, folder)
    path = rng.choice(sorted(out.glob("classifier/*/*/artifact.json")))
    if rng.random() < 0.3:
        path.write_bytes(damaged(path.read_bytes(), rng))
    else:
        content = change(json.loads(path.read_text()), rng)
        if rng.random() < 0.6 and isinstance(content, dict):
            content = resealed(content)
        path.write_text(json.dumps(content), encoding="utf-8", errors="surrogatepass")
    where = ["--model", world.model, "--out", out]
    words = rng.choice(
        (
            ["export", "inspect", path.parent],
            ["export", "bundle", "web", *where, "--to", folder / "package"],
            ["benchmarks", "size", *where],
            ["benchmarks", "report", *where],
        )
    )
    return list(words), JUDGED


def resealed(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content with the hash that it should have; unchanged where it has none (NaN, no JSON)."""
    from hydramobile.files import canonical_json, sha256_bytes

    body = {key: item for key, item in content.items() if key not in ("schema", "sha256")}
    try:
        return {**content, "sha256": sha256_bytes(canonical_json(body).encode())}
    except ValueError:
        return content


def exported_file(world: World, rng: random.Random, folder: Path) -> Case:
    """Damage a file of an artifact and read it by itself."""
    out = own_build(world, folder)
    names = ("*.onnx", "*.tflite", "model.json", "*.mlmodel", "weight.bin")
    files = sorted(path for name in names for path in out.glob(f"classifier/*/*/**/{name}"))
    path = rng.choice(files)
    path.write_bytes(damaged(path.read_bytes(), rng))
    package = next((parent for parent in path.parents if parent.suffix == ".mlpackage"), path)
    return ["export", "inspect", package], frozenset({0, 3})


def evidence(world: World, rng: random.Random, folder: Path) -> Case:
    """Damage evidence that the product can make again, and what it reads beside it."""
    out = own_build(world, folder)
    names = ("parity.json", "size.json", "export.json", "manifest.json")
    path = out / "classifier" / rng.choice(names)
    if rng.random() < 0.4:
        path.write_bytes(damaged(path.read_bytes(), rng))
    else:
        content = json.dumps(change(json.loads(path.read_text()), rng))
        path.write_text(content, encoding="utf-8", errors="surrogatepass")
    where = ["--model", world.model, "--out", out]
    words = rng.choice(
        (
            ["benchmarks", "report", *where],
            ["benchmarks", "size", *where],
            ["export", "bundle", "web", *where, "--to", folder / "package"],
        )
    )
    return list(words), JUDGED


def command_line(world: World, rng: random.Random, folder: Path) -> Case:
    """Mistype a command: unknown words, options without values, values of another kind. It never does its work."""
    package = rng.choice(sorted(VERBS))
    verb = rng.choice(VERBS[package])
    texts = [text for text in STRINGS if text and "\0" not in text]
    extras: list[list[object]] = [
        ["--no-such-option"],
        [rng.choice(texts), "--nothing", rng.choice(texts)],
        ["--model", folder / "nowhere", "--unknown"],
        ["--out"],
        [f"--{rng.choice(('model', 'out', 'recipe', 'only'))}={rng.choice(texts)}", "--x", str(rng.choice(NUMBERS))],
    ]
    return [package, *verb.split(), *rng.choice(extras)], frozenset({2})


def names(world: World, rng: random.Random, folder: Path) -> Case:
    """Ask for models, recipes, targets and runtimes that do not exist."""
    text = rng.choice([text for text in STRINGS if text and "\0" not in text])
    where = ["--model", world.model, "--out", world.out]
    words = rng.choice(
        (
            ["export", "make", text, *where],
            ["export", "make", "onnx", *where, "--recipe", text],
            ["export", "list", folder / text.strip("/")],
            ["benchmarks", "parity", *where, "--only", text],
            ["benchmarks", "parity", *where, "--runtime", text],
            ["export", "bundle", text, *where],
            ["export", "bundle", "web", *where, "--recipe", text],
            ["export", "inspect", folder / text.strip("/")],
            ["export", "verify", *where, "--key", folder / text.strip("/")],
        )
    )
    return list(words), frozenset({2, 3, 4})


Kind = Callable[[World, random.Random, Path], Case]
# Kind -> (how many cases the campaign has, how many of them run in `make test`).
KINDS: Mapping[Kind, tuple[int, int]] = {
    model_toml: (150, 6),
    budget_toml: (80, 4),
    recipes_toml: (60, 2),
    samples_toml: (40, 2),
    weights: (60, 2),
    photo: (150, 6),
    archive: (120, 4),
    checkpoint: (60, 2),
    artifact_json: (120, 5),
    exported_file: (80, 4),
    evidence: (100, 4),
    command_line: (100, 6),
    names: (80, 4),
}


def seeded(kind: Kind, number: int) -> random.Random:
    """Return the generator of one case: it depends on the kind's name and the number alone."""
    return random.Random(f"{kind.__name__} {number}")
