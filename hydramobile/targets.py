"""Registry of the targets: one row per target, read by export, benchmarks, demo and tests.

A target is an output format, a platform is a named group of targets. A new target is one folder with an
implementation of `export.target.Target`, one `TargetInfo` in `TARGET_ROWS`, and one test.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from hydramobile.errors import unknown
from hydramobile.recipes import recipe

# Okabe and Ito's palette, which colour-blind readers tell apart, less its yellow: it is too light on white.
GREY = "#8a8f98"


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """One runtime: a program that executes the files of a target.

    `implementation` is a dotted name, `package.module:factory`, so that listing runtimes imports no vendor.
    `group` is the name under which the command line selects several runtimes at once. `on_request` says why the
    runtime runs only when it is named; empty for a runtime that runs by default. `forced` marks arithmetic that a
    library uses only where an app asks for it: its verdict never decides whether a file ships. `labels` says when the
    runtime is asked for the task loss on the model's labelled photos: "always", only where budget.toml limits that
    loss ("limited", for interpreters that take half a second per photo), or "never".
    """

    name: str
    implementation: str
    group: str = ""
    on_request: str = ""
    forced: bool = False
    labels: Literal["always", "limited", "never"] = "always"


@dataclass(frozen=True, slots=True)
class EvidenceStep:
    """One way to strengthen the evidence on a target: the evidence label, what it adds, the command that gathers it."""

    label: str
    adds: str
    command: str


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """Everything about a target that is known without importing it.

    `implementation` is a dotted name, `package.module:Class`. `default` is false for a target whose packages
    `make setup` does not install: it is exported only when asked for by name, so that every machine makes the same
    files. `suffixes` are the file suffixes, or whole file names, by which `inspect` recognises the format.
    `float_dtype` is the dtype of the layers that a named recipe leaves unquantized. `web_engine` is the file of
    export/bundle/web/sources/engines that runs the target in a browser; such files travel over HTTP, so their size is
    also reported after gzip. `grid_runtime` is the runtime in which `make grid` judges and times the target on this
    computer; `test_runtime` is the one that needs no child process. `runtimes` are runtimes that come with the target;
    all others are rows of benchmarks/runtime.py. `steps` and `beyond` say how its evidence can be strengthened, and
    what no command of this project can do yet.
    """

    name: str
    implementation: str
    platform: str
    grid_runtime: str
    test_runtime: str
    default: bool = True
    suffixes: tuple[str, ...] = ()
    float_dtype: Literal["float32", "float16"] = "float32"
    web_engine: str = ""
    colour: str = GREY
    marker: str = "o"
    runtimes: tuple[RuntimeInfo, ...] = ()
    steps: tuple[EvidenceStep, ...] = ()
    beyond: str = ""


ARM_STEP = EvidenceStep("emulated-arm", "the numbers of the phone's own ARM kernels, in an emulator", "make parity-arm")
PAGE_STEP = EvidenceStep(
    "measured-on-device",
    "numbers and times in a phone's own browser, on a page it opens",
    "python -m benchmarks latency --runtime browser --serve",
)

TARGET_ROWS = (
    TargetInfo(
        name="onnx",
        implementation="export.targets.onnx:OnnxTarget",
        platform="web",
        grid_runtime="onnxruntime",
        test_runtime="onnxruntime",
        suffixes=(".onnx",),
        web_engine="ort",
        colour="#2e8bc0",
        marker="^",
        steps=(
            EvidenceStep("host", "numbers of the real runtime on this computer", "make parity"),
            EvidenceStep("browser-host", "numbers of the web build in a browser (needs Chromium)", "make parity"),
            ARM_STEP,
            PAGE_STEP,
        ),
    ),
    TargetInfo(
        name="coreml",
        implementation="export.targets.coreml.target:CoreMLTarget",
        platform="ios",
        grid_runtime="coreml-mil",
        test_runtime="coreml-mil",
        suffixes=(".mlpackage",),
        float_dtype="float16",
        colour="#d55e00",
        marker="o",
        steps=(
            EvidenceStep("interpreted", "the file's weights, layout and arithmetic", "make parity"),
            EvidenceStep("host", "numbers and times of Core ML itself (on a Mac)", "make parity bench"),
            EvidenceStep(
                "measured-on-device",
                "numbers, times and placement on an iPhone attached to a Mac",
                "make bench-ios",
            ),
        ),
    ),
    TargetInfo(
        name="litert",
        implementation="export.targets.litert:LiteRTTarget",
        platform="android",
        grid_runtime="litert",
        test_runtime="litert",
        suffixes=(".tflite",),
        web_engine="litert",
        colour="#009e73",
        marker="s",
        steps=(
            EvidenceStep("host", "numbers of the real interpreter on this computer", "make parity"),
            ARM_STEP,
            EvidenceStep(
                "measured-on-device",
                "numbers, times and placement on an Android phone attached by USB",
                "make bench-android TOOL=path/to/benchmark_model",
            ),
        ),
    ),
    TargetInfo(
        name="tfjs",
        implementation="export.targets.tfjs.target:TFJSTarget",
        platform="web",
        grid_runtime="tfjs-node",
        test_runtime="tfjs-tensorflow",
        suffixes=("model.json",),
        web_engine="tfjs",
        colour="#cc79a7",
        marker="D",
        steps=(
            EvidenceStep("host", "numbers of TF.js in Node", "make parity"),
            EvidenceStep("browser-host", "numbers of TF.js in a browser (needs Chromium)", "make parity"),
            PAGE_STEP,
        ),
    ),
    TargetInfo(
        name="coreai",
        implementation="export.targets.coreai.target:CoreAITarget",
        platform="extras",
        grid_runtime="coreai",
        test_runtime="coreai",
        default=False,
        suffixes=(".aimodel",),
        steps=(
            EvidenceStep(
                "interpreted",
                "numbers of Core AI's own interpreter (installed by scripts/setup.sh coreai)",
                "make parity",
            ),
        ),
        beyond="a device with Core AI: no command of this project drives one yet",
    ),
)

REGISTRY = {row.name: row for row in TARGET_ROWS}
TARGETS = tuple(row.name for row in TARGET_ROWS if row.default)
EXTRAS = tuple(row.name for row in TARGET_ROWS if not row.default)
KNOWN = (*TARGETS, *EXTRAS)
PLATFORMS = {
    **{
        row.platform: tuple(other.name for other in TARGET_ROWS if other.platform == row.platform)
        for row in TARGET_ROWS
    },
    "all": TARGETS,
}
# The targets whose files the package for apps of each platform holds. A browser runs LiteRT's files too.
BUNDLED = {
    "ios": PLATFORMS["ios"],
    "android": PLATFORMS["android"],
    "web": tuple(row.name for row in TARGET_ROWS if row.web_engine),
}


def target_info(name: str) -> TargetInfo:
    """Return the row of the target `name`. Raises UsageError for a mistyped one."""
    if name not in REGISTRY:
        raise unknown("target", name, REGISTRY)
    return REGISTRY[name]


def resolve(names: Iterable[str]) -> tuple[str, ...]:
    """Return the targets of target and platform names, each once. Raises UsageError for a mistyped one."""
    chosen: list[str] = []
    for name in names:
        if name not in REGISTRY and name not in PLATFORMS:
            raise unknown("target or platform", name, [*KNOWN, *PLATFORMS])
        chosen += PLATFORMS.get(name, (name,))
    return tuple(dict.fromkeys(chosen))


def complete_words(incomplete: str) -> list[str]:
    """Return the targets and platforms that begin with `incomplete`, for the completion of shells."""
    return [name for name in (*PLATFORMS, *KNOWN) if name.startswith(incomplete)]


def resolve_pairs(names: Iterable[str], named: Collection[str] = ()) -> tuple[tuple[str, str], ...]:
    """Return (target, recipe) for each TARGET, PLATFORM or TARGET/RECIPE; the recipe is "" where none was given.

    `named` lists recipes with names of their own, beside the recipes of the grammar. Raises UsageError for any other.
    """
    pairs: list[tuple[str, str]] = []
    for name in names:
        first, _, second = name.partition("/")
        if second and second not in named:
            recipe(second)  # raises UsageError, which lists the recipes
        pairs += [(target, second) for target in resolve([first])]
    return tuple(dict.fromkeys(pairs))


def chosen(pairs: Iterable[tuple[str, str]], target: str, recipe_name: str) -> bool:
    """Return whether target x recipe is among `pairs`; an empty choice means everything."""
    asked = list(pairs)
    return not asked or (target, "") in asked or (target, recipe_name) in asked
