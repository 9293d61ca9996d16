"""The search itself: measure, solve, verify together, export, weigh, write."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from export.driver import Outcome, run_plan
from export.driver import make_plan as plan_export
from export.program import calibrate, capture
from export.quantize.gram import gram_matrices
from export.quantize.layers import find_layers
from export.search.builds import Build
from export.search.latency import ratios
from export.search.losses import Bench, Loss
from export.search.sensitivity import Decoder, Store, depends_on, digest, measure, storage_hash, table_of
from export.search.solve import Choice, Option, path, smallest, total, within_bytes
from export.search.trial import MARGIN, Trial, pick
from export.search.write import write_chart, write_recipes
from hydramobile.artifact import artifact_folder, read_artifact, ships
from hydramobile.errors import StageError, UsageError
from hydramobile.files import canonical_json, dump_json, read_json, write_text
from hydramobile.labels import load_labels, whdr
from hydramobile.samples import load_samples
from hydramobile.spec import ModelSpec

# A recipe that stores every layer by itself, as float16: which layers a target's files have, and what all else weighs.
PROBE = "probe"
# Rounds of solving anew with what verification found: outputs weighted by how far over their limit they were.
ROUNDS = 3
# Of a size limit, kept free: scales and alignment differ a little from what is computed.
SPARE = 0.004
GOOD = ("exported", "up to date")
Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class Search:
    """All state of one search. `overhead`: bytes of a target's shipped files beside its layers."""

    spec: ModelSpec
    out: Path
    targets: tuple[str, ...]
    builds: Sequence[Build]
    progress: Progress
    calibrate: Path | None = None
    bench: Bench = field(init=False)
    decoder: Decoder = field(init=False)
    store: Store = field(init=False)
    tables: dict[str, dict[str, list[Option]]] = field(default_factory=dict)
    overhead: dict[str, float] = field(default_factory=dict)
    tried: list[Trial] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.out / self.spec.name / "search"

    def prepare(self) -> None:
        """Load, take the statistics of calibration, measure every layer."""
        self.progress("capture", 0, 1)
        photos = load_samples(self.spec, "calibrate", self.calibrate)
        samples = load_samples(self.spec, "judge")
        shared = {sample.sha256 for sample in photos} & {sample.sha256 for sample in samples}
        if shared:
            raise StageError("search", "a calibration photo is judged by too; that proves nothing")
        program = calibrate(capture(self.spec), photos)
        layers = find_layers(program)
        if not layers:
            raise StageError("search", f"{self.spec.name} has no weights of two or more dimensions")
        self.bench = Bench(program, samples)
        self.decoder = Decoder(layers, gram_matrices(program, list(layers.values())))
        self.store = Store(self.folder, depends_on(program, samples, photos))
        measured = measure(self.bench, self.decoder, self.targets, self.store, self.progress)
        self.tables = {target: table_of(self.decoder, measured, target) for target in self.targets}

    def weigh(self) -> None:
        """Which layers the files of each target have as one weight each, and what the files weigh beside them."""
        self.progress("export a probe", 0, 1)
        recipes = self.folder / f"{PROBE}.toml"
        write_text(recipes, f'[recipes.{PROBE}]\nbase = "float16"\n')
        settle(run_plan(plan_export(self.spec, self.targets, [f"{recipes}:{PROBE}"], self.folder, True), quiet))
        for target in self.targets:
            found = read_artifact(artifact_folder(self.folder, self.spec.name, target, PROBE)).layers
            halves = sum(2 * row["values"] for row in found.values())
            self.overhead[target] = shipped(self.spec, self.folder, target, PROBE) - halves
            self.tables[target] = {name: row for name, row in self.tables[target].items() if name in found}
            if not self.tables[target]:
                raise StageError("search", f"no layer of {self.spec.name} is one weight in the files for {target}")

    def size(self, target: str, choice: Choice) -> float:
        return total(choice) + self.overhead[target]

    def verify(self, target: str, build: Build, choice: Choice) -> Trial:
        """All layers together, on all judging samples."""
        named = {name: option.recipe for name, option in choice.items()}
        key = canonical_json(["together", target, storage_hash(target), digest(named)])
        known = self.store.get(key)
        if known is None:
            with self.changed(target, named):
                known = {name: asdict(loss) for name, loss in self.bench.losses(list(self.spec.modules)).items()}
            self.store.put(key, known)
        losses = {name: Loss(**loss) for name, loss in known.items()}
        made = Trial(target, build.name, self.size(target, choice), losses, named)
        self.tried.append(made)
        return made

    @contextmanager
    def changed(self, target: str, named: Mapping[str, str]) -> Iterator[None]:
        """The net with its layers as a target stores them."""
        layers = self.decoder.layers
        self.bench.put({name: self.decoder.value(target, name, text) for name, text in named.items()}, layers)
        try:
            yield
        finally:
            self.bench.put({name: layer.value for name, layer in layers.items()}, layers)

    def told(self, made: Trial) -> Trial:
        """With what the choice loses on the model's labels; as it is where the model has none."""
        labels = load_labels(self.spec)
        if labels is None:
            return made

        def mean(key: Sequence[str]) -> float:
            text = canonical_json(["labels", labels.sha256, *key])
            if self.store.get(text) is None:
                found = whdr(self.spec, self.bench.program.modules, labels, self.bench.program.size)
                self.store.put(text, sum(found.values()) / len(found))
            return float(self.store.get(text))

        reference = mean(["reference"])
        with self.changed(made.target, made.choice):
            own = mean([made.target, storage_hash(made.target), digest(dict(made.choice))])
        return replace(made, wrong=own - reference)

    def solve(self, target: str, build: Build) -> None:
        """Verify choices that may serve the build: the smallest within its losses; in its size, those of least noise.

        Raises UsageError for a size that cannot be reached.
        """
        if build.shrinks(target):
            self.refine(target, build, self.smallest_within)
            made = self.choose(target, build)
            if made is not None and made.excess(build) <= MARGIN:
                return
        if target in build.sizes:
            self.refine(target, build, self.under)

    def refine(self, target: str, build: Build, solver: Callable[[str, Build, Mapping[str, float]], Choice]) -> None:
        """What `solver` finds, verified; again with the outputs weighted by how far over their limits they were."""
        weights = dict.fromkeys(self.bench.program.final(), 1.0)
        for _ in range(ROUNDS):
            made = self.verify(target, build, solver(target, build, weights))
            if made.excess(build) <= 1 or len(weights) == 1:
                break
            for name, loss in made.losses.items():
                weights[name] *= max(loss.mean / build.mean, loss.worst / build.worst, 1e-3)

    def room(self, target: str, build: Build) -> float:
        """The most bytes of the build as they are computed here."""
        return build.sizes[target] * (1 - SPARE) if target in build.sizes else math.inf

    def standing(self, target: str) -> list[Trial]:
        """All that was verified for a target, weighed by what is known by now, without what an export refused."""
        table = {name: {option.recipe: option for option in options} for name, options in self.tables[target].items()}
        found = {canonical_json(made.choice): made for made in self.tried if made.target == target}
        return [
            replace(made, bytes=self.size(target, {name: table[name][text] for name, text in made.choice.items()}))
            for made in found.values()
            if all(text in table[name] for name, text in made.choice.items())
        ]

    def choose(self, target: str, build: Build) -> Trial | None:
        """The best for a build of all that was verified, for whichever build it was tried."""
        made = pick(self.standing(target), build, build.shrinks(target), self.room(target, build))
        return replace(made, build=build.name) if made else None

    def under(self, target: str, build: Build, weights: Mapping[str, float]) -> Choice:
        limit = build.sizes[target]
        choice = within_bytes(self.tables[target], weights, self.room(target, build) - self.overhead[target])
        if choice is None:
            least = self.verify(target, build, smallest(self.tables[target]))
            lost = ", ".join(f"{name} {loss.mean:.2%} ({loss.worst:.2%} worst)" for name, loss in least.losses.items())
            raise UsageError(
                f"{build.name} cannot be {limit / 1e6:g} MB for {target}: the smallest is {least.bytes / 1e6:.2f} MB, "
                f"which loses {lost}"
            )
        return choice

    def smallest_within(self, target: str, build: Build, weights: Mapping[str, float]) -> Choice:
        """By halving: the smallest choice on the path of prices whose losses stay within the build's."""
        choices = path(self.tables[target], weights)
        low, high = 0, len(choices) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self.verify(target, build, choices[middle]).excess(build) <= MARGIN:
                low = middle
            else:
                high = middle - 1
        return choices[low]

    def run(self) -> list[Trial]:
        """The builds as they are in the files: solved, exported, weighed, solved anew where a file was too large."""
        self.prepare()
        self.weigh()
        every = [(target, build) for build in self.builds for target in self.targets]
        waiting = every
        for attempt in range(ROUNDS):
            for number, (target, build) in enumerate(waiting):
                self.progress(f"solve {build.name} for {target}", number, len(waiting))
                self.solve(target, build)
            found = {(target, build.name): self.choose(target, build) for target, build in every}
            chosen = {pair: made for pair, made in found.items() if made is not None}
            write_recipes(self.spec, self.decoder.layers, self.bench.program.least_quantized(), chosen)
            failed = self.export(attempt)
            refused = [pair for pair in chosen if pair in failed]
            if attempt == ROUNDS - 1 or not all(self.strike(chosen[pair], failed[pair]) for pair in refused):
                settle(list(failed.values()))
            waiting = [*self.too_large(chosen, failed), *self.named(refused)]
            if not waiting:
                break
        self.progress("ask the labels", 0, 1)
        final = [self.told(self.weighed(made)) for made in chosen.values()]
        self.report(final)
        return final

    def export(self, attempt: int) -> dict[tuple[str, str], Outcome]:
        """The exports that failed, by target and build; the others are on disk."""
        self.progress(f"export the builds, round {attempt + 1}", 0, 1)
        names = [build.name for build in self.builds]
        made = run_plan(plan_export(self.spec, self.targets, names, self.out, True, self.calibrate), quiet)
        return {(outcome.target, outcome.recipe): outcome for outcome in made if outcome.state not in GOOD}

    def strike(self, made: Trial, failed: Outcome) -> bool:
        """Take from the options of the layers that a refusal names what they took, so that the next best is solved for.
        False where that changes nothing: a failure that speaks of no layer, such as a full disk, is no matter of bits.
        """
        table, choice, struck = self.tables[made.target], made.choice, False
        for name in named_in(failed.reason, table):
            left = [option for option in table[name] if option.recipe != choice[name]]
            if left and len(left) < len(table[name]):
                table[name], struck = left, True
        return struck

    def named(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, Build]]:
        known = {build.name: build for build in self.builds}
        return [(target, known[name]) for target, name in pairs]

    def too_large(
        self, chosen: Mapping[tuple[str, str], Trial], failed: Mapping[tuple[str, str], Outcome]
    ) -> list[tuple[str, Build]]:
        """Builds whose files are over their size, the overhead of their targets corrected by what files weigh."""
        found = []
        for build in self.builds:
            for target in self.targets:
                if (target, build.name) in failed:
                    continue
                made, limit = chosen[target, build.name], build.sizes.get(target)
                real = shipped(self.spec, self.out, target, build.name)
                if limit and real > limit:
                    self.overhead[target] += max(real - made.bytes, 0.0)
                    found.append((target, build))
        return found

    def weighed(self, made: Trial) -> Trial:
        real = shipped(self.spec, self.out, made.target, made.build)
        return Trial(made.target, made.build, real, made.losses, made.choice, chosen=True, exported=real)

    def report(self, final: Sequence[Trial]) -> None:
        rows = [made.row() for made in (*self.tried, *final)]
        document = {
            "schema": 1,
            "model": self.spec.name,
            "weights_sha256": self.spec.weights_sha256,
            "samples": [sample.name for sample in self.bench.samples],
            "builds": [build.row() for build in self.builds],
            "layers": {
                target: {name: [asdict(option) for option in options] for name, options in table.items()}
                for target, table in self.tables.items()
            },
            "tried": rows,
        }
        write_text(self.folder / "search.json", dump_json(document))
        measured = ratios(self.spec, self.out, [(made.target, made.build) for made in final])
        write_chart(self.folder / "pareto.png", [*self.tried, *final], self.builds, measured)


def redraw(spec: ModelSpec, out: Path) -> Path:
    """The chart of an earlier search again, with the latencies measured since. Raises UsageError without one."""
    folder = out / spec.name / "search"
    if not (folder / "search.json").is_file():
        raise UsageError(f"no search in {folder}; run: python -m export search {spec.folder}")
    document = read_json(folder / "search.json", "search")
    if document["weights_sha256"] != spec.weights_sha256:
        raise UsageError(f"{folder}/search.json is of other weights; run: python -m export search {spec.folder}")
    rows = [
        Trial(
            **{name: row[name] for name in ("target", "build", "bytes", "choice", "chosen", "exported")},
            losses={name: Loss(**loss) for name, loss in row["losses"].items()},
        )
        for row in document["tried"]
    ]
    measured = ratios(spec, out, [(row.target, row.build) for row in rows if row.chosen])
    write_chart(folder / "pareto.png", rows, [Build(**row) for row in document["builds"]], measured)
    return folder / "pareto.png"


def quiet(target: str, text: str) -> None:
    """The search has a progress display of its own."""


def named_in(reason: str, names: Iterable[str]) -> list[str]:
    """The layers that an error speaks of; "a.b" is not spoken of where "a.b.c" is."""
    return [name for name in names if re.search(rf"(?<![\w.]){re.escape(name)}(?!\.?\w)", reason)]


def settle(outcomes: Sequence[Outcome]) -> None:
    """Raises StageError for an export that failed."""
    for outcome in outcomes:
        if outcome.state not in GOOD:
            raise StageError(outcome.stage or "export", f"{outcome.target} {outcome.recipe}: {outcome.reason}")


def shipped(spec: ModelSpec, out: Path, target: str, name: str) -> int:
    """Bytes that one app ships of an artifact."""
    return sum(record.bytes for record in ships(read_artifact(artifact_folder(out, spec.name, target, name))))
