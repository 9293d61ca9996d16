"""The *from pixels* rows: what an app loses that departs from the preprocessing contract.

The float32 artifact is run on the judging photos prepared in another way, and judged against the same goldens as
everything else: the difference is the price of the preparation alone.
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
from hydramobile.preprocess import load_photo, to_tensor
from hydramobile.samples import Sample
from hydramobile.spec import ModelSpec

Size = tuple[int, int]
Photo = tuple[Sample, Golden]
# Linear light, sRGB primaries to Display P3 primaries (both D65): CSS Color 4, section 10.
P3 = np.array([[0.8224620, 0.1775380, 0.0], [0.0331942, 0.9668058, 0.0], [0.0170827, 0.0723974, 0.9105199]])


@dataclass(frozen=True, slots=True)
class Departure:
    """A way to prepare a photo that departs from the contract.

    `prepare` returns the input, None for a photo that the departure does not change.
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
    """Take the stored values as sRGB, for a photo that carries a profile."""
    with Image.open(path) as image:
        if not image.info.get("icc_profile") or image.mode not in ("RGB", "L"):
            return None
        upright = ImageOps.exif_transpose(image).convert("RGB")
    return to_tensor(upright, size)


def as_display_p3(path: Path, size: Size) -> Array:
    """Store the photo as Display P3, as phones do, and take its values for sRGB."""
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
    """The judges' measures over the photos that a departure changes, or the reason why there are none."""

    departure: Departure
    samples: int
    measures: Sequence[Measure] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The entry of a float32 artifact that is run, and the runtime that runs it; `log` takes its output."""

    folder: Path
    entry: Entry
    runtime: str
    log: Path


def fused_entry(artifact: Artifact, spec: ModelSpec) -> Entry | None:
    """Return the primary entry that computes every judged output from the model's own inputs."""
    wanted = {tensor.name for tensor in spec.judged()}
    fits = (
        entry
        for entry in primary(artifact)
        if wanted <= {port.name for port in entry.outputs}
        and {port.name for port in entry.inputs} <= set(spec.inputs())
    )
    return next(fits, None)


def from_pixels(spec: ModelSpec, photos: Sequence[Photo], chosen: Chosen) -> list[Departed]:
    """Judge each departure by the photos that it changes."""
    names = [port.name for port in chosen.entry.inputs if spec.tensors[port.name].kind == "rgb-photo"]
    prepared: list[dict[str, dict[str, Array]]] = []
    for departure in DEPARTURES:
        inputs: dict[str, dict[str, Array]] = {}
        for sample, golden in photos:
            changed = departure.prepare(sample.path, spec.size) if sample.path and names else None
            if changed is not None:
                inputs[golden.sample] = {**golden.inputs, **dict.fromkeys(names, changed)}
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
    """Judge the outputs of the samples that were run against the goldens."""
    measures: list[Measure] = []
    matte = next((tensor.name for tensor in spec.judged() if tensor.judge == "alpha-matte"), None)
    for tensor in spec.judged():
        numbers = {}
        for golden in goldens:
            if golden.sample in outputs:
                person = golden.tensors[matte] > PERSON if matte else None
                found, wanted = outputs[golden.sample][tensor.name], golden.tensors[tensor.name]
                numbers[golden.sample] = JUDGES[tensor.judge or ""](found, wanted, person)
        measures += collect(tensor.name, numbers, {})
    return measures
