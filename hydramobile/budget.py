"""Read budget.toml: the recipes that must ship, and the limits of every artifact. Reviewed data, not code.

    [ship]            onnx = ["float32", "float16"] ...        recipes that must pass
    [candidates]      tfjs = ["w8"] ...                        exported and judged; refused when over a limit
    [[limit]]         recipe, output (or "features"), metric ("iou": of the worst sample; "mean iou": of the mean;
                      "whdr_loss": on the model's labels), limit, reason [, targets = [...]]
    [[size]]          recipe, target, megabytes (gzip = true: after gzip), reason    what one app ships
    [against]         model = "portrait", coreml = ["compact"] ...    recipes that replace the recipes of the same name
                      of another model, in the folder beside this one: they must also keep that model's limits, against
                      its outputs and its labels

A model without the file ships float32 on every target, as a candidate on optional ones, under the default limits below.
For outputs with a judge, `CEILINGS` apply as well: a budget may be tighter, never looser. A recipe without a limit of
its own has the ceilings of the most similar recipe (`ceiling_of`), so that no recipe goes unjudged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    """A limit of one metric.

    `output` is the name of a tensor, "features" for all tensors between modules, or "*" for all final outputs.
    """

    recipe: str
    output: str
    metric: str
    limit: float
    reason: str
    targets: tuple[str, ...] = KNOWN


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """The most bytes that one app may ship of a recipe for a target, after gzip where `gzip` is set."""

    recipe: str
    target: str
    bytes: float
    gzip: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Budget:
    """A model's budget. `ship`, `candidates` and `held` map targets to recipes, `judges` maps outputs to judges.

    `against` names the model whose limits the recipes in `held` must also keep.
    """

    ship: Mapping[str, tuple[str, ...]]
    candidates: Mapping[str, tuple[str, ...]]
    limits: tuple[Limit, ...]
    sizes: tuple[SizeLimit, ...] = ()
    against: str = ""
    held: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    judges: Mapping[str, str] = field(default_factory=dict)

    def stands_in(self, target: str, recipe_name: str) -> bool:
        """Return whether a recipe must also keep the limits of the model `against`."""
        return recipe_name in self.held.get(target, ())

    def recipes(self, target: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.ship.get(target, ()), *self.candidates.get(target, ()))))

    def of(self, target: str, recipe_name: str) -> tuple[list[Limit], list[SizeLimit]]:
        """Return every limit that can apply to a recipe on a target, without the reasons."""
        limits = [
            replace(row, reason="", targets=(target,))
            for row in self.limits
            if row.recipe == plain_name(recipe_name) and target in row.targets
        ]
        sizes = [replace(row, reason="") for row in self.sizes if (row.target, row.recipe) == (target, recipe_name)]
        return limits, sizes

    def limits_for(self, target: str, recipe_name: str, output: str, feature: bool) -> dict[str, float]:
        """Return metric -> limit of one tensor, the tightest where several rows apply.

        The calibration method in a recipe's name does not change its limits: "w8a8-mse" has the limits of "w8a8".
        """
        rows = [row for row in self.limits if not of_labels(row.metric)]
        wanted = {output, FEATURES if feature else ANY}
        found = tightest(rows, target, recipe_name, wanted)
        return found or FALLBACK | ceiling_of(recipe_name, self.judges.get(output, ""))

    def label_limits(self, target: str, recipe_name: str, output: str) -> dict[str, float]:
        """Return metric -> limit of an output's loss against labels, as `limits_for` does.

        Empty where no row limits it; then LABEL_FALLBACK applies.
        """
        rows = [row for row in self.limits if of_labels(row.metric)]
        return tightest(rows, target, recipe_name, {output, ANY})


def tightest(rows: Sequence[Limit], target: str, recipe_name: str, outputs: set[str]) -> dict[str, float]:
    """Return metric -> the tightest limit of the rows that apply to a recipe on a target."""
    found: dict[str, float] = {}
    for row in rows:
        if row.recipe == plain_name(recipe_name) and target in row.targets and row.output in outputs:
            known = found.get(row.metric)
            found[row.metric] = row.limit if known is None or worse(row.metric, known, row.limit) else known
    return found


def of_labels(metric: str) -> bool:
    """Return whether a metric is measured on the model's labels, not against the reference."""
    return any(metric.removeprefix(MEAN) in metrics for metrics in LABEL_METRICS.values())


# For every model. An error above a thousandth of the output's variation between inputs is a wrong graph, whatever its
# cosine similarity (sound conversions of other people's nets stayed under 5e-5).
DEFAULTS = (
    Limit("float32", ANY, "err_sens", 1e-3, "sound conversions stay under 5e-5, a wrong one was at .29"),
    Limit("float32", FEATURES, "err_sens", 1e-3, "as for outputs"),
    Limit("float16", ANY, "snr_db", 30.0, "half precision carries 11 bits; below 30 dB something else is wrong"),
    Limit("float16", FEATURES, "snr_db", 30.0, "as for outputs"),
)
# Limits on drawn inputs (hydramobile/drawn.py), which no budget changes: float recipes must hold there too. Recipes
# with integers are calibrated on samples, so drawn inputs are measured and not judged.
DRAWN: Mapping[str, Mapping[str, float]] = {"float32": {"err_sens": 1e-3}, "float16": {"snr_db": 30.0}}
# A sample on which the reference itself, with weights and inputs in float16, keeps less than the limit and this margin
# has a limit of that number less the margin: a file cannot keep more. Not below EASED, where a tensor is mostly noise:
# such a net has no float16.
MARGIN, EASED = 10.0, 10.0
# For every recipe and tensor without a limit: below 10 dB a tensor is mostly noise.
FALLBACK = {"snr_db": 10.0}
# The same against labels: with one more pair in twenty in the wrong order it is another network.
LABEL_FALLBACK = {f"{MEAN}whdr_loss": 0.05}
# judge -> recipe -> metric -> the loosest limit that a budget may set, on the worst sample.
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
    # Degrees between the normals of a file and the reference's, the mean over the worst photo's people.
    "surface-normals": {
        "float32": {"angle_mean": 0.05},
        "float16": {"angle_mean": 0.5},
        "w8": {"angle_mean": 2.0},
        "d8": {"angle_mean": 2.0},
        "w8a8": {"angle_mean": 2.0},
        "w8a8s": {"angle_mean": 2.0},
        "w8a16": {"angle_mean": 2.0},
    },
    "class-scores": {"float32": {"top1": 1.0}},
}
# judge -> metric -> limit. It holds for named recipes, and for recipes without a limit of their own whose weights are
# pruned or have fewer than eight bits. The portrait's smallest build (`compact`) may lose as much. A surface that turns
# by 4 degrees changes its diffuse shading by at most 7 %. A classifier with one changed answer in ten is another one.
FEW: Mapping[str, Mapping[str, float]] = {
    "relative-depth": {"order_flips": 0.03},
    "alpha-matte": {"iou": 0.97},
    "surface-normals": {"angle_mean": 4.0},
    "class-scores": {f"{MEAN}top1": 0.9},
}


def ceiling_of(recipe_name: str, judge: str) -> dict[str, float]:
    """Return metric -> limit for an output with that judge, from the most similar recipe.

    Recipes with integer activations have the limits of w8a8 or w8a16. Recipes with weights of eight bits or more have
    the limits of w8, and all other recipes the limits of `FEW`. Empty for an output without a judge.
    """
    try:
        chosen = recipe(plain_name(recipe_name))
    except UsageError:  # a name of recipes.toml
        return dict(FEW.get(judge, {}))
    like = "w8" if chosen.weight_bits >= 8 and not chosen.sparsity else ""
    if like and chosen.activation_bits:
        like = f"w8a{chosen.activation_bits}"
    return dict(CEILINGS.get(judge, {}).get(like) or FEW.get(judge, {}))


def load_budget(spec: ModelSpec) -> Budget:
    """Read a model's budget and add the default limits and the ceilings.

    Raises StageError("budget") for a malformed file and for a limit that is looser than its ceiling.
    """
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
                    STAGE, f"{path}: [against] names {target} {name}, which is neither in [ship] nor in [candidates]"
                )
    return found


def read_against(spec: ModelSpec, top: Table) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Return the model of [against] and its recipes per target."""
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
    """Return the model `name` in the folder beside this model's, or None."""
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
        raise row.error(f"{spec.name} has no labels, so {limit.metric} would never be checked")
    if limit.limit < 0:
        raise row.error(f"{limit.metric} cannot be limited by {limit.limit:g}")
    row.done()
    return limit


def metrics_of(spec: ModelSpec, output: str) -> tuple[str, ...]:
    """Return the metrics that are measured of an output. A limit of any other would never be checked.

    "iou" limits the worst sample, "mean iou" the mean of all.
    """
    judges = {tensor.judge for tensor in spec.judged() if output in (tensor.name, ANY)}
    tables = (JUDGE_METRICS, LABEL_METRICS)
    judged = (metric for judge in sorted(filter(None, judges)) for table in tables for metric in table.get(judge, ()))
    own = (*TENSOR_METRICS, *judged)
    return (*own, *(f"{MEAN}{metric}" for metric in own))


def budget_path(spec: ModelSpec) -> Path:
    return spec.folder / "budget.toml"
