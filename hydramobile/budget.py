"""budget.toml: which recipes must ship, and the limits every artifact is held to. Reviewed data, not code.

    [ship]            onnx = ["float32", "float16"] ...        recipes that must pass
    [candidates]      tfjs = ["w8"] ...                        exported and judged; refused when over a limit
    [[limit]]         recipe, output (or "features"), metric ("iou": on the worst sample, "mean iou": on the mean;
                      "whdr_loss": on the model's labels), limit, reason [, targets = [...]]
    [[size]]          recipe, target, megabytes (gzip = true: after gzip), reason    what one app ships
    [against]         model = "portrait", coreml = ["compact"] ...    recipes that stand in for those of that name of
                      the model in the folder beside this one: held, too, to its limits, its outputs and its labels

A model without the file ships float32 everywhere (an optional target: as a candidate) under the default limits below.
For models with judges the ceilings of `CEILINGS` bind as well: a file may be tighter, never looser. A recipe that no
row speaks of is held to the ceilings of the one it is like (`ceiling_of`), so that none stands by what it looks like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydramobile.errors import StageError, UsageError
from hydramobile.labels import has_labels
from hydramobile.measures import JUDGE_METRICS, LABEL_METRICS, MEAN, TENSOR_METRICS, worse
from hydramobile.recipe_files import check_name, has_recipe
from hydramobile.recipes import plain_name, recipe
from hydramobile.spec import NAME, ModelSpec, load_spec
from hydramobile.targets import EXTRAS, KNOWN, TARGETS
from hydramobile.toml_table import Table, read_toml

STAGE = "budget"
FEATURES = "features"
ANY = "*"


@dataclass(frozen=True, slots=True)
class Limit:
    """`output` is a tensor's name, "features" (tensors between modules) or "*" (every final output)."""

    recipe: str
    output: str
    metric: str
    limit: float
    reason: str
    targets: tuple[str, ...] = KNOWN


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """What one app may ship of a recipe for a target, in bytes; after gzip where `gzip`."""

    recipe: str
    target: str
    bytes: float
    gzip: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Budget:
    ship: Mapping[str, tuple[str, ...]]
    candidates: Mapping[str, tuple[str, ...]]
    limits: tuple[Limit, ...]
    sizes: tuple[SizeLimit, ...] = ()
    against: str = ""
    held: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    judges: Mapping[str, str] = field(default_factory=dict)

    def stands_in(self, target: str, recipe_name: str) -> bool:
        """Whether an artifact is held to what the model `against` is held to as well."""
        return recipe_name in self.held.get(target, ())

    def recipes(self, target: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.ship.get(target, ()), *self.candidates.get(target, ()))))

    def limits_for(self, target: str, recipe_name: str, output: str, feature: bool) -> dict[str, float]:
        """metric -> limit for one tensor; the tightest where several rows apply. How the ranges of static integers were
        found (the words of a recipe's name) loosens nothing: the limits are those of the name without them."""
        rows = [row for row in self.limits if not of_labels(row.metric)]
        wanted = {output, FEATURES if feature else ANY}
        found = tightest(rows, target, recipe_name, wanted)
        return found or FALLBACK | ceiling_of(recipe_name, self.judges.get(output, ""))

    def label_limits(self, target: str, recipe_name: str, output: str) -> dict[str, float]:
        """metric -> limit of what one output may lose against labels, as `limits_for`; empty where no row says so, and
        LABEL_FALLBACK holds."""
        rows = [row for row in self.limits if of_labels(row.metric)]
        return tightest(rows, target, recipe_name, {output, ANY})


def tightest(rows: Sequence[Limit], target: str, recipe_name: str, outputs: set[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in rows:
        if row.recipe == plain_name(recipe_name) and target in row.targets and row.output in outputs:
            known = found.get(row.metric)
            found[row.metric] = row.limit if known is None or worse(row.metric, known, row.limit) else known
    return found


def of_labels(metric: str) -> bool:
    return any(metric.removeprefix(MEAN) in metrics for metrics in LABEL_METRICS.values())


# Held by every model at float32: an error above a thousandth of how far the output moves between inputs is a
# wrong graph, whatever its cosine says (sound conversions of other people's nets stayed under 5e-5).
DEFAULTS = (
    Limit("float32", ANY, "err_sens", 1e-3, "sound conversions stay under 5e-5, a wrong one was at .29"),
    Limit("float32", FEATURES, "err_sens", 1e-3, "as for outputs"),
    Limit("float16", ANY, "snr_db", 30.0, "half precision carries 11 bits; below 30 dB something else is wrong"),
    Limit("float16", FEATURES, "snr_db", 30.0, "as for outputs"),
)
# For every recipe and tensor that no row speaks of: below 10 dB a tensor is mostly noise.
FALLBACK = {"snr_db": 10.0}
# The same against labels: one more pair in twenty in the wrong order is another network.
LABEL_FALLBACK = {f"{MEAN}whdr_loss": 0.05}
# Ceilings by the kind of judge: what an output of that kind may lose at most, on its worst sample.
CEILINGS: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "relative-depth": {
        "float32": {"max_abs": 1e-4},
        "float16": {"mean_abs": 1e-3, "order_flips": 0.005},
        "w8": {"order_flips": 0.015},
        "d8": {"order_flips": 0.015},
        "w8a8": {"order_flips": 0.04},
        "w8a8s": {"order_flips": 0.04},
        "w8a16": {"order_flips": 0.015},
    },
    "alpha-matte": {
        "float32": {"max_abs": 1e-4},
        "float16": {"mean_abs": 1e-3, "iou": 0.998},
        "w8": {"iou": 0.990},
        "d8": {"iou": 0.990},
        "w8a8": {"iou": 0.980},
        "w8a8s": {"iou": 0.980},
        "w8a16": {"iou": 0.990},
    },
    "class-scores": {"float32": {"top1": 1.0}},
}
# The same for weights of fewer than eight bits, pruned ones and recipes with names of their own, where no row speaks
# of them: what the portrait's smallest build (`compact`) may lose; one answer in ten changed is another classifier.
FEW: Mapping[str, Mapping[str, float]] = {
    "relative-depth": {"order_flips": 0.03},
    "alpha-matte": {"iou": 0.97},
    "class-scores": {f"{MEAN}top1": 0.9},
}


def ceiling_of(recipe_name: str, judge: str) -> dict[str, float]:
    """metric -> limit of an output of that judge, by what the recipe stores: static integers as w8a8 or w8a16, eight
    bits a weight or more as w8, all else as `FEW`. Nothing for an output without a judge."""
    try:
        chosen = recipe(plain_name(recipe_name))
    except UsageError:  # a name of recipes.toml
        return dict(FEW.get(judge, {}))
    like = "w8" if chosen.weight_bits >= 8 and not chosen.sparsity else ""
    if like and chosen.activation_bits:
        like = f"w8a{chosen.activation_bits}"
    return dict(CEILINGS.get(judge, {}).get(like) or FEW.get(judge, {}))


def load_budget(spec: ModelSpec) -> Budget:
    """The model's budget, defaults and ceilings included. Raises StageError("budget") for a malformed or looser one."""
    ceilings = [
        Limit(name, tensor.name, metric, limit, f"ceiling of the judge {tensor.judge}")
        for tensor in spec.judged()
        for name, metrics in CEILINGS[tensor.judge or ""].items()
        for metric, limit in metrics.items()
    ]
    judges = {tensor.name: tensor.judge or "" for tensor in spec.judged()}
    path = spec.folder / "budget.toml"
    if not path.is_file():
        every = dict.fromkeys(TARGETS, ("float32",))
        return Budget(every, dict.fromkeys(EXTRAS, ("float32",)), (*DEFAULTS, *ceilings), judges=judges)
    top = read_toml(path, STAGE)
    ship, candidates = read_recipes(spec, top, "ship"), read_recipes(spec, top, "candidates")
    rows = [read_limit(spec, row) for row in top.rows("limit", [])]
    for row in rows:
        for ceiling in ceilings:
            same = (row.recipe, row.output, row.metric) == (ceiling.recipe, ceiling.output, ceiling.metric)
            if same and worse(row.metric, row.limit, ceiling.limit):
                raise StageError(
                    STAGE,
                    f"{path}: {row.metric} of {row.output!r} at {row.recipe} is {row.limit:g}, "
                    f"looser than the ceiling {ceiling.limit:g}",
                )
    sizes = tuple(read_size(spec, row) for row in top.rows("size", []))
    against, held = read_against(spec, top)
    top.done()
    found = Budget(ship, candidates, (*DEFAULTS, *ceilings, *rows), sizes, against, held, judges)
    for target, names in held.items():
        for name in names:
            if name not in found.recipes(target):
                raise StageError(
                    STAGE, f"{path}: [against] speaks of {target} {name}, which neither ships nor stands by"
                )
    return found


def read_against(spec: ModelSpec, top: Table) -> tuple[str, dict[str, tuple[str, ...]]]:
    table = top.table("against", {})
    if not table.data:
        return "", {}
    name = table.string("model")
    held = {target: table.strings(target, ()) for target in KNOWN}
    table.done()
    other = neighbour(spec, name) if re.fullmatch(NAME, name) else None
    if other is None:
        raise table.error(f"there is no model {name!r} in the folder beside this one")
    same = (other.inputs(), other.size, {t.name for t in other.judged()})
    if same != (spec.inputs(), spec.size, {t.name for t in spec.judged()}):
        raise table.error(f"{name} has other inputs, another size or other judged outputs than {spec.name}")
    return name, held


def neighbour(spec: ModelSpec, name: str) -> ModelSpec | None:
    """The model `name` in the folder beside a model's; None where there is none."""
    folder = spec.folder.resolve().parent / name
    return load_spec(folder) if name and (folder / "model.toml").is_file() else None


def read_size(spec: ModelSpec, row: Table) -> SizeLimit:
    limit = SizeLimit(
        check_name(spec, row.string("recipe")),
        row.one_of("target", KNOWN),
        row.number("megabytes") * 1e6,
        row.flag("gzip", False),
        row.string("reason"),
    )
    if limit.bytes <= 0 or not limit.reason.strip():
        raise row.error("needs a size above 0 and a reason")
    row.done()
    return limit


def read_recipes(spec: ModelSpec, top: Table, key: str) -> dict[str, tuple[str, ...]]:
    table = top.table(key, {})
    found = {target: table.strings(target, ()) for target in KNOWN}
    for target, names in found.items():
        for name in names:
            if not has_recipe(spec, target, name):
                raise table.error(f"{name!r} is not defined for {target} in recipes.toml")
    table.done()
    return found


def read_limit(spec: ModelSpec, row: Table) -> Limit:
    targets = row.strings("targets", KNOWN)
    for target in targets:
        if target not in KNOWN:
            raise row.error(f"no target {target!r} (available: {', '.join(KNOWN)})")
    finals = {name for entry in spec.entries.values() for name in entry.outputs}
    output = row.one_of("output", tuple(sorted({*finals, FEATURES, ANY})))
    limit = Limit(
        check_name(spec, row.string("recipe")),
        output,
        row.one_of("metric", metrics_of(spec, output)),
        row.number("limit"),
        row.string("reason"),
        targets,
    )
    if not limit.reason.strip():
        raise row.error("'reason' is empty; a limit without its reason cannot be reviewed")
    if of_labels(limit.metric) and not has_labels(spec):
        raise row.error(f"{spec.name} has no labels, so {limit.metric} would never be looked at")
    if limit.limit < 0:
        raise row.error(f"{limit.metric} cannot be limited by {limit.limit:g}")
    row.done()
    return limit


def metrics_of(spec: ModelSpec, output: str) -> tuple[str, ...]:
    """What is measured of an output: a limit on anything else would never be looked at. "mean iou" limits the mean
    over samples, "iou" the worst of them."""
    judges = {tensor.judge for tensor in spec.judged() if output in (tensor.name, ANY)}
    tables = (JUDGE_METRICS, LABEL_METRICS)
    judged = (metric for judge in sorted(filter(None, judges)) for table in tables for metric in table.get(judge, ()))
    own = (*TENSOR_METRICS, *judged)
    return (*own, *(f"{MEAN}{metric}" for metric in own))


def budget_path(spec: ModelSpec) -> Path:
    return spec.folder / "budget.toml"
