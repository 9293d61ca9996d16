"""Loss against labels: the WHDR of an artifact on the model's labels, less the WHDR of the float32 reference.

Each artifact is evaluated once, in the native runtime of its files on this computer. The comparison with the reference
already shows how the kernels of other runtimes differ, and a browser or an emulator would take minutes more.
`RuntimeInfo.labels` in the registry says which runtime evaluates labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.evidence.parity import LabelScore
from benchmarks.runtime import REGISTRY, Array, Runtime, Session, run
from hydramobile.artifact import Artifact, Entry
from hydramobile.errors import StageError
from hydramobile.goldens import build_folder, committed_folder
from hydramobile.labels import METRIC, Label, Labels, OrderTest, load_labels, modules_for, order_test, read_reference
from hydramobile.measures import Measure, collect
from hydramobile.samples import sample_inputs
from hydramobile.spec import ModelSpec


@dataclass(slots=True)
class Labelled:
    """A model's labels, and the WHDR of the reference by label.

    `most` is the greatest number of labels to evaluate, 0 for all. `ready` caches each label's inputs and order test.
    """

    spec: ModelSpec
    labels: Labels
    reference: Mapping[str, float]
    most: int = 0
    ready: dict[str, tuple[dict[str, Array], OrderTest]] = field(default_factory=dict)

    def chosen(self) -> tuple[Label, ...]:
        return self.labels.spread(self.most)

    def prepared(self, label: Label) -> tuple[dict[str, Array], OrderTest]:
        if label.photo.name not in self.ready:
            inputs: dict[str, Array] = dict(sample_inputs(self.spec, label.photo, self.spec.size))
            self.ready[label.photo.name] = (inputs, order_test(label))
        return self.ready[label.photo.name]


def skip_reason(runtime: str, limited: bool) -> str:
    """Return why a runtime does not evaluate labels; "" if it does.

    `limited` says whether budget.toml limits the artifact's loss on labels.
    """
    when = REGISTRY[runtime].labels
    if when == "never":
        return "labels are evaluated in the runtime that the files are for on this computer"
    if when == "limited" and not limited:
        return "takes half a second per photo, and budget.toml does not limit the loss on labels"
    return ""


def load_labelled(spec: ModelSpec, out: Path, most: int = 0) -> Labelled | None:
    """Load a model's labels; None if it has none. Raises StageError("labels") for bad labels or a missing reference."""
    labels = load_labels(spec)
    if labels is None:
        return None
    roots = (build_folder(out, spec), committed_folder(spec))
    return Labelled(spec, labels, read_reference(spec, labels, spec.size, *roots), most)


def entries_for(spec: ModelSpec, artifact: Artifact, tensor: str) -> list[Entry]:
    """Return the entries that, run in order, compute `tensor` from the model's inputs.

    A single entry from inputs to `tensor` is preferred, as in an app; otherwise the chain of modules. Raises
    StageError("judge") if the artifact has neither.
    """
    entries = [entry for entry in artifact.entries if entry.variant == artifact.entries[0].variant]
    whole = [
        entry
        for entry in entries
        if tensor in {port.name for port in entry.outputs} and {p.name for p in entry.inputs} <= set(spec.inputs())
    ]
    if whole:
        return [min(whole, key=lambda entry: len(entry.modules))]
    modules = {entry.modules[0]: entry for entry in entries if len(entry.modules) == 1}
    missing = [name for name in modules_for(spec, tensor) if name not in modules]
    if missing:
        raise StageError("judge", f"no entry of the artifact computes {tensor!r} from the model's inputs")
    return [modules[name] for name in modules_for(spec, tensor)]


def label_whdr(labelled: Labelled, runtime: Runtime, folder: Path, entries: Sequence[Entry]) -> dict[str, float]:
    """Run `entries` in order on the photo of each label, and return the WHDR of the output by photo."""
    whdr: dict[str, float] = {}
    with opened(runtime, folder, entries) as through:
        for label in labelled.chosen():
            inputs, test = labelled.prepared(label)
            whdr[label.photo.name] = test.whdr(through(inputs)[labelled.labels.tensor])
    return whdr


@contextmanager
def opened(
    runtime: Runtime, folder: Path, entries: Sequence[Entry]
) -> Iterator[Callable[[Mapping[str, Array]], dict[str, Array]]]:
    """Open `entries` and yield a function that runs them in order: model inputs in, all computed tensors out."""
    with ExitStack() as stack:
        sessions: list[tuple[Entry, Session]] = []
        for entry in entries:
            session = runtime.open(folder, entry)
            stack.callback(session.close)
            sessions.append((entry, session))

        def through(inputs: Mapping[str, Array]) -> dict[str, Array]:
            known = dict(inputs)
            for entry, session in sessions:
                known.update(run(session, {port.name: known[port.name] for port in entry.inputs}))
            return known

        yield through


def loss_measures(
    labelled: Labelled, whdr: Mapping[str, float], limits: Mapping[str, float]
) -> tuple[list[Measure], LabelScore]:
    """Return the measures of `whdr_loss`, and the mean WHDR of the file and of the reference on the same labels."""
    lost = {name: {METRIC: value - labelled.reference[name]} for name, value in whdr.items()}
    measures = collect(labelled.labels.tensor, lost, limits)
    score = LabelScore(
        whdr=float(np.mean(list(whdr.values()))),
        reference=float(np.mean([labelled.reference[name] for name in whdr])),
        labels=len(labelled.labels.all),
    )
    return measures, score
