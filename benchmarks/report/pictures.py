"""Pictures: what the net sees, and for each artifact that is not float32 the sample it does worst on.

The outputs are computed again, in one runtime, from the artifact on disk. Private photos are left out unless asked
for.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.report import words
from benchmarks.report.gather import Evidence
from benchmarks.report.judged import number_row, whole
from benchmarks.report.pixels import fused_entry
from benchmarks.report.rerun import Run, run_again
from benchmarks.runtime import Array, load_runtime
from hydramobile.goldens import Golden

Row = dict[str, Any]
EXACT = "float32"
GAIN = 8
# A difference of 0 to 1/GAIN of the range, dark to bright: matplotlib's "inferno" at five even steps, readable with
# every common kind of colour blindness and in grey.
HEAT = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float64)
WORKERS = 2


def overview(evidence: Evidence, goldens: Mapping[str, Golden], include_private: bool) -> Row | None:
    """The first photo that may be shown and the reference's picture-like outputs on it."""
    for sample in evidence.samples:
        golden = goldens.get(sample.name)
        if golden and sample.path and (include_private or not sample.private):
            outputs = [
                {"name": name, "uri": map_uri(golden.tensors[name], limits(evidence, name))}
                for name in pictured(evidence)
            ]
            photo = photo_uri(evidence, golden)
            if photo and outputs:
                return {"sample": sample.name, "photo": photo, "outputs": outputs}
    return None


def pictured(evidence: Evidence) -> list[str]:
    """Judged outputs that are pictures: one channel over H x W."""
    return [tensor.name for tensor in evidence.spec.judged() if tensor.shape == (1, 1, "H", "W")]


def limits(evidence: Evidence, name: str) -> tuple[float, float]:
    return evidence.spec.tensors[name].range or (0.0, 1.0)


def worst_pictures(
    evidence: Evidence, goldens: Mapping[str, Golden], include_private: bool
) -> tuple[list[Row], list[str]]:
    """(a row an artifact x output: four pictures and the number; why some are not there)."""
    private = {sample.name for sample in evidence.samples if sample.private}
    plans: dict[str, list[Row]] = {}
    notes: list[str] = []
    for (target, recipe), artifact in evidence.artifacts.items():
        entry = fused_entry(artifact, evidence.spec)
        rows = whole(evidence, evidence.judged(target, recipe))
        runtime = chosen_runtime(rows)
        if recipe == EXACT or not pictured(evidence) or not rows:
            continue
        if entry is None or runtime is None:
            notes.append(f"{target}/{recipe}: no entry makes all outputs in a runtime that is here")
            continue
        for output in pictured(evidence):
            measure = worst_measure(rows, runtime, output)
            if measure is not None and measure["worst"] == "–":
                notes.append(f"{target}/{recipe} {output}: equal to the reference on every sample")
            elif measure is None or measure["worst"] not in goldens:
                notes.append(f"{target}/{recipe} {output}: its worst sample is not among those at hand (--samples)")
            elif measure["worst"] in private and not include_private:
                notes.append(f"{target}/{recipe} {output}: its worst sample is a private photo (--include-photos)")
            else:
                own = {"target": target, "recipe": recipe, "entry": entry.id, "output": output}
                own["artifact"] = f"{target}/{recipe}"
                plans.setdefault(runtime, []).append({**own, "number": measure, "sample": measure["worst"]})
    with ThreadPoolExecutor(WORKERS) as pool:
        drawn = list(pool.map(lambda item: draw(evidence, goldens, item[0], item[1]), plans.items()))
    order = {verdict_key: index for index, verdict_key in enumerate((v.target, v.recipe) for v in evidence.verdicts)}
    pictures = [row for rows, _ in drawn for row in rows]
    pictures.sort(key=lambda row: order.get((row["target"], row["recipe"]), len(order)))
    return pictures, notes + [text for _, texts in drawn for text in texts]


def chosen_runtime(rows: Sequence[Row]) -> str | None:
    """A runtime that judged the artifact and is here; a vendor's own before an interpreter of ours."""
    here = [
        runtime
        for runtime in map(load_runtime, dict.fromkeys(row["runtime"] for row in rows))
        if not runtime.unavailable()
    ]
    return next((runtime.name for runtime in sorted(here, key=lambda runtime: not runtime.timed)), None)


def worst_measure(rows: Sequence[Row], runtime: str, output: str) -> Row | None:
    """The task metric that names the worst sample; the mean error where the task metric sees no loss at all."""
    for row in rows:
        own = {m["metric"]: m for m in row["measures"] if m["output"] == output and row["runtime"] == runtime}
        named = [own[metric] for metrics in words.TASK.values() for metric in metrics if metric in own]
        lossy = [m for m in named if m["value"] != words.perfect(m["metric"])]
        if own:
            return number_row((lossy or [own["mean_abs"]])[0], row)
    return None


def draw(
    evidence: Evidence, goldens: Mapping[str, Golden], runtime: str, plans: Sequence[Row]
) -> tuple[list[Row], list[str]]:
    """Run the artifacts of one runtime on their worst samples, once an artifact, and draw."""
    together: dict[tuple[str, str, str], dict[str, Mapping[str, Array]]] = {}
    for plan in plans:
        key = (plan["target"], plan["recipe"], plan["entry"])
        together.setdefault(key, {})[plan["sample"]] = goldens[plan["sample"]].inputs
    runs = [Run(evidence.folder(target, recipe), entry, inputs) for (target, recipe, entry), inputs in together.items()]
    answers = dict(zip(together, run_again(runtime, runs, evidence.root / "report.log"), strict=True))
    rows, notes = [], []
    for plan in plans:
        outputs = answers[plan["target"], plan["recipe"], plan["entry"]]
        if isinstance(outputs, str):
            notes.append(f"{plan['target']}/{plan['recipe']} {plan['output']} in {runtime}: {outputs}")
            continue
        golden = goldens[plan["sample"]]
        wanted, found = golden.tensors[plan["output"]], outputs[plan["sample"]][plan["output"]]
        span = limits(evidence, plan["output"])
        uris = {"photo": photo_uri(evidence, golden), "reference": map_uri(wanted, span)}
        uris |= {"artifact": map_uri(found, span), "difference": difference_uri(found, wanted, span)}
        rows.append({**plan, "runtime": runtime, "uris": uris})
    return rows, list(dict.fromkeys(notes))


def photo_uri(evidence: Evidence, golden: Golden) -> str | None:
    """The input as the net gets it."""
    for name, value in golden.inputs.items():
        if evidence.spec.tensors[name].kind == "rgb-photo":
            pixels = np.round(np.clip(value[0], 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
            return uri(Image.fromarray(pixels, "RGB"), "JPEG", quality=85)
    return None


def map_uri(value: Array, span: tuple[float, float]) -> str:
    scaled = (np.clip(value[0, 0], *span) - span[0]) / (span[1] - span[0])
    return uri(Image.fromarray(np.round(scaled * 255).astype(np.uint8), "L"), "PNG", optimize=True)


def difference_uri(found: Array, wanted: Array, span: tuple[float, float]) -> str:
    """|found - wanted| times `GAIN`, as heat."""
    level = np.clip(np.abs(found - wanted)[0, 0] / (span[1] - span[0]) * GAIN, 0, 1)
    steps = np.linspace(0, 1, len(HEAT))
    heat = np.stack([np.interp(level, steps, HEAT[:, channel]) for channel in range(3)], axis=-1)
    return uri(Image.fromarray(np.round(heat).astype(np.uint8), "RGB"), "PNG", optimize=True)


def uri(image: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
