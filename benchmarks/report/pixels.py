"""The *from pixels* rows: the loss of an app that departs from the preprocessing contract.

The float32 artifact runs on judging photos that were prepared differently. Its outputs are compared with the goldens
of the contract, so that the difference is the effect of the preparation alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from benchmarks.report.rerun import Run, run_again
from benchmarks.runtime import Array
from hydramobile.artifact import Artifact, Entry, primary
from hydramobile.goldens import Golden
from hydramobile.measures import JUDGES, PERSON, Measure, collect
from hydramobile.preprocess import load_photo, to_range, to_tensor
from hydramobile.samples import Sample
from hydramobile.spec import ModelSpec

Size = tuple[int, int]
Photo = tuple[Sample, Golden]
# Linear light, sRGB primaries to Display P3 primaries (both D65): CSS Color 4, section 10.
P3 = np.array([[0.8224620, 0.1775380, 0.0], [0.0331942, 0.9668058, 0.0], [0.0170827, 0.0723974, 0.9105199]])


@dataclass(frozen=True, slots=True)
class Departure:
    """A preparation of photos that departs from the contract.

    `prepare` returns the input tensor; None for a photo that the departure does not change.
    """

    name: str
    about: str
    prepare: Callable[[Path, Size], Array | None]


def plain_bilinear(path: Path, size: Size) -> Array:
    """Resize bilinearly over the four nearest pixels whatever the reduction, with half-pixel centres.

    It is OpenCV's INTER_LINEAR, or a canvas without smoothing quality: the aliasing that antialiasing prevents.
    """
    pixels = np.asarray(load_photo(path), np.float32)
    rows, row_share = taps(pixels.shape[0], size[0])
    columns, column_share = taps(pixels.shape[1], size[1])
    across = (
        pixels[:, columns[0]] * (1 - column_share)[None, :, None] + pixels[:, columns[1]] * column_share[None, :, None]
    )
    both = across[rows[0]] * (1 - row_share)[:, None, None] + across[rows[1]] * row_share[:, None, None]
    return np.ascontiguousarray((np.round(both) / np.float32(255)).transpose(2, 0, 1)[None].astype(np.float32))


def taps(length: int, wanted: int) -> tuple[tuple[Array, Array], Array]:
    """Return ((index before, index after), share of the latter) for `wanted` samples along `length` pixels."""
    position = np.clip((np.arange(wanted) + 0.5) * length / wanted - 0.5, 0, length - 1)
    before = np.floor(position).astype(int)
    return (before, np.minimum(before + 1, length - 1)), (position - before).astype(np.float32)


def without_profile(path: Path, size: Size) -> Array | None:
    """Ignore the colour profile and read the stored values as sRGB; None for a photo without a profile."""
    with Image.open(path) as image:
        if not image.info.get("icc_profile") or image.mode not in ("RGB", "L"):
            return None
        upright = ImageOps.exif_transpose(image).convert("RGB")
    return to_tensor(upright, size)


def as_display_p3(path: Path, size: Size) -> Array:
    """Convert the photo to Display P3, as phones store it, and read the values as sRGB."""
    encoded = np.asarray(load_photo(path), np.float64) / 255
    light = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    wide = np.clip(light @ P3.T, 0, 1)
    stored = np.where(wide <= 0.0031308, wide * 12.92, 1.055 * wide ** (1 / 2.4) - 0.055)
    return to_tensor(Image.fromarray(np.round(stored * 255).astype(np.uint8), "RGB"), size)


DEPARTURES = (
    Departure("plain bilinear", "resized without antialiasing", plain_bilinear),
    Departure("profile ignored", "photos that carry a colour profile, read as if they were sRGB", without_profile),
    Departure("Display P3 as sRGB", "every photo as a phone stores it, its profile ignored", as_display_p3),
)


@dataclass(frozen=True, slots=True)
class Departed:
    """The task metrics over the photos that a departure changes, or the reason if there are none."""

    departure: Departure
    samples: int
    measures: Sequence[Measure] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The entry of the float32 artifact to run, the runtime, and the log file of the worker."""

    folder: Path
    entry: Entry
    runtime: str
    log: Path


def fused_entry(artifact: Artifact, spec: ModelSpec) -> Entry | None:
    """Return the primary entry that computes every judged output from the model's inputs; None if there is none."""
    wanted = {tensor.name for tensor in spec.judged()}
    fits = (
        entry
        for entry in primary(artifact)
        if wanted <= {port.name for port in entry.outputs}
        and {port.name for port in entry.inputs} <= set(spec.inputs())
    )
    return next(fits, None)


def from_pixels(spec: ModelSpec, photos: Sequence[Photo], chosen: Chosen) -> list[Departed]:
    """Judge each departure on the photos that it changes."""
    names = [port.name for port in chosen.entry.inputs if spec.tensors[port.name].kind == "rgb-photo"]
    prepared: list[dict[str, dict[str, Array]]] = []
    for departure in DEPARTURES:
        inputs: dict[str, dict[str, Array]] = {}
        for sample, golden in photos:
            changed = departure.prepare(sample.path, spec.size) if sample.path and names else None
            if changed is not None:
                scaled = {name: to_range(changed, spec.tensors[name].range) for name in names}
                inputs[golden.sample] = {**golden.inputs, **scaled}
        prepared.append(inputs)
    runs = [Run(chosen.folder, chosen.entry.id, inputs) for inputs in prepared if inputs]
    answers = iter(run_again(chosen.runtime, runs, chosen.log) if runs else ())
    rows = []
    for departure, inputs in zip(DEPARTURES, prepared, strict=True):
        outputs = next(answers) if inputs else "no judging photo is changed by it"
        if isinstance(outputs, str):
            rows.append(Departed(departure, len(inputs), reason=outputs))
        else:
            measures = judge_all(spec, [golden for _, golden in photos], outputs)
            rows.append(Departed(departure, len(inputs), measures))
    return rows


def judge_all(spec: ModelSpec, goldens: Sequence[Golden], outputs: Mapping[str, Mapping[str, Array]]) -> list[Measure]:
    """Compare the outputs of the samples that were run with the goldens, and return the task metrics."""
    measures: list[Measure] = []
    matte = next((tensor.name for tensor in spec.judged() if tensor.judge == "alpha-matte"), None)
    for tensor in spec.judged():
        numbers = {}
        for golden in goldens:
            if golden.sample in outputs:
                person = golden.tensors[matte] > PERSON if matte else None
                actual, wanted = outputs[golden.sample][tensor.name], golden.tensors[tensor.name]
                numbers[golden.sample] = JUDGES[tensor.judge or ""](actual, wanted, person)
        measures += collect(tensor.name, numbers, {})
    return measures
