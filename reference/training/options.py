"""The options of a training run: every number that affects its outcome, in one frozen value."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydramobile.errors import UsageError, unknown
from reference.portrait import FURTHER_HEADS


@dataclass(frozen=True, slots=True)
class Weights:
    """The weight of each loss (reference/losses.py); 0 turns it off. `distill_` weights need a teacher."""

    person_l1: float = 4.0
    berhu: float = 0.0
    scale_invariant_log: float = 0.0
    scale_shift_l1: float = 0.6
    gradient: float = 2.0
    order: float = 0.15
    background_hinge: float = 2.0
    background_l1: float = 0.7
    scene_gradient: float = 0.5
    relief: float = 0.1
    photo_order: float = 2.0
    photo_relief: float = 0.05
    photo_consistency: float = 0.0
    photo_depth: float = 0.0
    photo_pairs: float = 0.0
    far_pairs: float = 0.0
    matte_entropy: float = 2.0
    matte_l1: float = 2.0
    matte_edge: float = 0.5
    matte_overlap: float = 1.0
    normals: float = 1.0
    distill_features: float = 1.0
    distill_depth: float = 2.0
    distill_matte: float = 2.0


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one run.

    `steps` fixes its length; with `minutes` above 0 the length follows the clock instead. A batch of each process is
    `synthetic` views and `photos` photos. `sizes` are (H, W, share of the steps). The rates are AdamW's. `frozen` is
    the number of leading encoder blocks that are not trained; if it is above 0, the stem is frozen too. `head` names a
    further head (reference/portrait.py) that is trained alone on the features of the frozen encoder, at `depth_rate`.
    """

    seed: int = 1
    steps: int = 1500
    minutes: float = 0.0
    processes: int = 2
    synthetic: int = 4
    photos: int = 2
    sizes: tuple[tuple[int, int, float], ...] = (
        (256, 192, 0.7),
        (192, 256, 0.15),
        (192, 160, 0.15),
    )
    encoder_rate: float = 2e-4
    depth_rate: float = 1e-3
    matte_rate: float = 5e-4
    weight_decay: float = 1e-4
    warmup: int = 60
    last_rate: float = 0.02
    clip: float = 5.0
    ema: float = 0.997
    frozen: int = 5
    checkpoint_every: int = 100
    validate_every: int = 200
    validation_views: int = 96
    head: str = ""
    weights: Weights = field(default_factory=Weights)

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def rate_factor(step: int, warmup: int, share: float, last: float) -> float:
    """Return the factor of the rates at `step`: up over `warmup` steps, then a cosine of `share` (0 to 1) to `last`."""
    warm = min(1.0, (step + 1) / max(1, warmup))
    return warm * (last + (1 - last) * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))


def options_from(table: Mapping[str, Any]) -> Options:
    """Read options from the JSON object of `Options.as_json`; missing keys keep their defaults.

    Raises UsageError for an unknown key or a value of another type.
    """
    values = dict(table)
    weights = values.pop("weights", {})
    if "sizes" in values:
        values["sizes"] = tuple((int(h), int(w), float(share)) for h, w, share in values["sizes"])
    return check(Options(**_typed(Options, values), weights=Weights(**_typed(Weights, weights))))


def set_options(options: Options, words: Sequence[str]) -> Options:
    """Return `options` after assignments such as `steps=300`, `weights.relief=0.2`, `sizes=256x192:0.7,192x160:0.3`.

    Raises UsageError for a word that is no assignment, an unknown name or a bad value.
    """
    table = options.as_json()
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r} is not an assignment: write name=value, such as weights.relief=0.2")
        if name == "sizes":
            table["sizes"] = _sizes(text)
            continue
        outer, dot, inner = name.partition(".")
        target = table["weights"] if dot and outer == "weights" else table
        key = inner if dot and outer == "weights" else name
        if key not in target or isinstance(target[key], dict | tuple):
            known = [k for k, v in table.items() if not isinstance(v, dict | tuple)]
            raise unknown("option", name, [*known, *(f"weights.{k}" for k in table["weights"])])
        try:
            target[key] = type(target[key])(text)
        except ValueError as error:
            raise UsageError(f"{name} takes a {type(target[key]).__name__}, not {text!r}") from error
    return options_from(table)


def _sizes(text: str) -> tuple[tuple[int, int, float], ...]:
    """Parse `HxW:share`, separated by commas."""
    matches = [re.fullmatch(r"(\d+)x(\d+):(\d+(?:\.\d+)?)", word) for word in text.split(",")]
    if not all(matches):
        raise UsageError(f"sizes are written 256x192:0.7,192x160:0.3, not {text!r}")
    return tuple((int(m[1]), int(m[2]), float(m[3])) for m in matches if m)


def check(options: Options) -> Options:
    """Return `options` if they are valid; raise UsageError for the first that is not."""
    for height, width, share in options.sizes:
        if height % 32 or width % 32 or height <= 0 or width <= 0 or share <= 0:
            raise UsageError(f"a size is two multiples of 32 and a share above 0, not {(height, width, share)}")
    if options.synthetic < 1 or options.photos < 0 or options.processes < 1:
        raise UsageError("a batch needs at least one synthetic view, no negative number of photos, and a process")
    if options.head and options.head not in FURTHER_HEADS:
        raise unknown("head", options.head, FURTHER_HEADS)
    if options.steps < 1 or options.minutes < 0 or not 0 <= options.ema < 1:
        raise UsageError("steps are at least 1, minutes not negative, ema in [0, 1)")
    return options


def _typed(kind: type[Options] | type[Weights], values: Mapping[str, Any]) -> dict[str, Any]:
    fields = {f.name: f for f in dataclasses.fields(kind) if f.name != "weights"}
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in fields:
            raise unknown("option", name, fields)
        wanted = type(fields[name].default)
        if wanted is float and isinstance(value, int):
            value = float(value)
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise UsageError(f"option {name} takes a {wanted.__name__}, not {value!r}")
        checked[name] = value
    return checked
