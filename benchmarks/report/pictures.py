"""Pictures of the report: an overview of the reference, and the worst sample of each artifact other than float32.

The outputs are computed again in one runtime from the artifact on disk. Private photos are left out by default.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.evidence.parity import ParityRow
from benchmarks.report import words
from benchmarks.report.gather import Gathered
from benchmarks.report.judged import Number, number, place_of, whole
from benchmarks.report.pixels import fused_entry
from benchmarks.report.rerun import Run, run_again
from benchmarks.runtime import Array, load_runtime
from hydramobile.goldens import Golden

EXACT = "float32"
GAIN = 8
# Colours of a difference of 0 to 1/GAIN of the range, dark to bright: matplotlib's "inferno" at five even steps, which
# is readable in grey and with all common kinds of colour blindness.
HEAT = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float64)
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Map:
    """An output of the reference with one channel over H x W, as a data URI."""

    name: str
    uri: str


@dataclass(frozen=True, slots=True)
class Overview:
    """A photo, and the outputs of the reference on it."""

    sample: str
    photo: str
    outputs: Sequence[Map]


@dataclass(frozen=True, slots=True)
class Plan:
    """A picture to draw: one output of an artifact on its worst sample."""

    target: str
    recipe: str
    entry: str
    output: str
    number: Number

    @property
    def sample(self) -> str:
        return self.number.worst

    @property
    def artifact(self) -> str:
        return f"{self.target}/{self.recipe}"


@dataclass(frozen=True, slots=True)
class Picture:
    """Photo, output of the reference, output of the artifact, and their difference, as data URIs."""

    plan: Plan
    runtime: str
    photo: str | None
    reference: str
    found: str
    difference: str

    @property
    def artifact(self) -> str:
        return self.plan.artifact


def overview(evidence: Gathered, goldens: Mapping[str, Golden], include_private: bool) -> Overview | None:
    """Return the first photo that may be shown, with the reference's pictured outputs; None if there is none."""
    for sample in evidence.samples:
        golden = goldens.get(sample.name)
        if golden and sample.path and (include_private or not sample.private):
            outputs = [Map(name, map_uri(golden.tensors[name], limits(evidence, name))) for name in pictured(evidence)]
            photo = photo_uri(evidence, golden)
            if photo and outputs:
                return Overview(sample.name, photo, outputs)
    return None


def pictured(evidence: Gathered) -> list[str]:
    """Return the judged outputs that can be drawn: one channel over H x W."""
    return [tensor.name for tensor in evidence.spec.judged() if tensor.shape == (1, 1, "H", "W")]


def limits(evidence: Gathered, name: str) -> tuple[float, float]:
    return evidence.spec.tensors[name].range or (0.0, 1.0)


def worst_pictures(
    evidence: Gathered, goldens: Mapping[str, Golden], include_private: bool
) -> tuple[list[Picture], list[str]]:
    """Return (one picture per artifact x output, reasons of missing ones)."""
    private = {sample.name for sample in evidence.samples if sample.private}
    plans: dict[str, list[Plan]] = {}
    notes: list[str] = []
    for (target, recipe), artifact in evidence.artifacts.items():
        rows = whole(evidence, evidence.judged(target, recipe))
        if recipe == EXACT or not pictured(evidence) or not rows:
            continue
        entry, runtime = fused_entry(artifact, evidence.spec), chosen_runtime(rows)
        if entry is None or runtime is None:
            notes.append(f"{target}/{recipe}: no entry makes all outputs in a runtime that is here")
            continue
        for output in pictured(evidence):
            name, worst = f"{target}/{recipe} {output}", worst_number(rows, runtime, output)
            if worst is not None and worst.worst == "–":
                notes.append(f"{name}: equal to the reference on every sample")
            elif worst is None or worst.worst not in goldens:
                notes.append(f"{name}: its worst sample is not among those at hand (--samples)")
            elif worst.worst in private and not include_private:
                notes.append(f"{name}: its worst sample is a private photo (--include-photos)")
            else:
                plans.setdefault(runtime, []).append(Plan(target, recipe, entry.id, output, worst))
    with ThreadPoolExecutor(WORKERS) as pool:
        drawn = list(pool.map(lambda item: draw(evidence, goldens, item[0], item[1]), plans.items()))
    order = {verdict.name: index for index, verdict in enumerate(evidence.verdicts)}
    pictures = [picture for own, _ in drawn for picture in own]
    pictures.sort(key=lambda picture: order.get(picture.artifact, len(order)))
    return pictures, notes + [text for _, texts in drawn for text in texts]


def chosen_runtime(rows: Iterable[ParityRow]) -> str | None:
    """Return an available runtime that judged the artifact, preferably a timed one; None if there is none."""
    names = dict.fromkeys(row.runtime for row in rows)
    here = [runtime for runtime in map(load_runtime, names) if not runtime.unavailable()]
    return next((runtime.name for runtime in sorted(here, key=lambda runtime: not runtime.timed)), None)


def worst_number(rows: Iterable[ParityRow], runtime: str, output: str) -> Number | None:
    """Return the task metric that names the worst sample; the mean error if no task metric shows a loss."""
    for row in rows:
        own = {m.metric: m for m in row.measures if m.output == output and row.runtime == runtime}
        named = [own[metric] for metrics in words.TASK.values() for metric in metrics if metric in own]
        lossy = [m for m in named if m.value != words.perfect(m.metric)]
        if own:
            return number((lossy or [own["mean_abs"]])[0], place_of(row))
    return None


def draw(
    evidence: Gathered, goldens: Mapping[str, Golden], runtime: str, plans: Sequence[Plan]
) -> tuple[list[Picture], list[str]]:
    """Run each artifact of one runtime on its worst samples, and return (pictures, reasons of missing ones)."""
    together: dict[tuple[str, str, str], dict[str, Mapping[str, Array]]] = {}
    for plan in plans:
        inputs = together.setdefault((plan.target, plan.recipe, plan.entry), {})
        inputs[plan.sample] = goldens[plan.sample].inputs
    runs = [Run(evidence.folder(target, recipe), entry, inputs) for (target, recipe, entry), inputs in together.items()]
    answers = dict(zip(together, run_again(runtime, runs, evidence.root / "report.log"), strict=True))
    pictures, notes = [], []
    for plan in plans:
        outputs = answers[plan.target, plan.recipe, plan.entry]
        if isinstance(outputs, str):
            notes.append(f"{plan.artifact} {plan.output} in {runtime}: {outputs}")
            continue
        golden = goldens[plan.sample]
        wanted, found = golden.tensors[plan.output], outputs[plan.sample][plan.output]
        span = limits(evidence, plan.output)
        pictures.append(
            Picture(
                plan=plan,
                runtime=runtime,
                photo=photo_uri(evidence, golden),
                reference=map_uri(wanted, span),
                found=map_uri(found, span),
                difference=difference_uri(found, wanted, span),
            )
        )
    return pictures, list(dict.fromkeys(notes))


def photo_uri(evidence: Gathered, golden: Golden) -> str | None:
    """Return the photo of the net's input, after preprocessing, as a data URI."""
    for name, value in golden.inputs.items():
        if evidence.spec.tensors[name].kind == "rgb-photo":
            low, high = evidence.spec.tensors[name].range or (0.0, 1.0)
            pixels = np.round(np.clip((value[0] - low) / (high - low), 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
            return uri(Image.fromarray(pixels, "RGB"), "JPEG", quality=85)
    return None


def map_uri(value: Array, span: tuple[float, float]) -> str:
    scaled = (np.clip(value[0, 0], *span) - span[0]) / (span[1] - span[0])
    return uri(Image.fromarray(np.round(scaled * 255).astype(np.uint8), "L"), "PNG", optimize=True)


def difference_uri(found: Array, wanted: Array, span: tuple[float, float]) -> str:
    """Draw |found - wanted| times `GAIN` in the colours of `HEAT`."""
    level = np.clip(np.abs(found - wanted)[0, 0] / (span[1] - span[0]) * GAIN, 0, 1)
    steps = np.linspace(0, 1, len(HEAT))
    heat = np.stack([np.interp(level, steps, HEAT[:, channel]) for channel in range(3)], axis=-1)
    return uri(Image.fromarray(np.round(heat).astype(np.uint8), "RGB"), "PNG", optimize=True)


def uri(image: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
