"""Verify a choice: all layers together, on all judging samples, and on the model's labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace

from export.search.builds import Build
from export.search.losses import Loss
from export.search.solve import Choice
from export.search.state import State
from export.search.store import digest, storage_hash
from export.search.trial import Trial
from hydramobile.files import canonical_json
from hydramobile.labels import load_labels, whdr


def verify(state: State, target: str, build: Build, choice: Choice) -> Trial:
    """Measure the losses of a choice, and add it to the trials."""
    options = {name: option.recipe for name, option in choice.items()}
    key = canonical_json(["together", target, storage_hash(target), digest(options)])
    known = state.store.get(key)
    if known is None:
        with stored_weights(state, target, options):
            losses = state.bench.losses(list(state.request.spec.modules))
        known = {name: asdict(loss) for name, loss in losses.items()}
        state.store.put(key, known)
    losses = {name: Loss(**loss) for name, loss in known.items()}
    trial = Trial(target, build.name, state.size(target, choice), losses, options)
    state.trials.append(trial)
    return trial


@contextmanager
def stored_weights(state: State, target: str, options: Mapping[str, str]) -> Iterator[None]:
    """Give the net the weights of its layers as a target stores them, and restore the reference's afterwards."""
    layers, bench = state.decoder.layers, state.bench
    bench.set_weights({name: state.decoder.value(target, name, option) for name, option in options.items()}, layers)
    try:
        yield
    finally:
        bench.set_weights({name: layer.value for name, layer in layers.items()}, layers)


def with_label_loss(state: State, trial: Trial) -> Trial:
    """Return the trial with its loss on the model's labels (WHDR); unchanged where the model has no labels."""
    spec, bench = state.request.spec, state.bench
    labels = load_labels(spec)
    if labels is None:
        return trial

    def mean(key: Sequence[str]) -> float:
        text = canonical_json(["labels", labels.sha256, *key])
        if state.store.get(text) is None:
            rates = whdr(spec, bench.program.modules, labels, bench.program.size)
            state.store.put(text, sum(rates.values()) / len(rates))
        return float(state.store.get(text))

    reference = mean(["reference"])
    with stored_weights(state, trial.target, trial.choice):
        own = mean([trial.target, storage_hash(trial.target), digest(dict(trial.choice))])
    return replace(trial, wrong=own - reference)
