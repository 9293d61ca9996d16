"""A few cases of each kind of the campaign; `make campaign` runs all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from campaign.faults import FAULTS
from campaign.inputs import KINDS, Kind, World, checkpoint, evidence, make_world, names, seeded
from campaign.runner import ROOT, Outcome, Server
from hydramobile.targets import TARGETS
from support.fixtures import Artifacts

# Cases that once ended wrongly.
FOUND = [(checkpoint, 18), (evidence, 55), (names, 12)]
CASES = [*FOUND, *((kind, number) for kind, (_, few) in KINDS.items() for number in range(few))]


@pytest.fixture(scope="session")
def world(build_once: Callable[[str, Callable[[Path], None]], Path], artifact: Artifacts) -> World:
    artifacts = [artifact("classifier", target, "float32") for target in TARGETS]

    def make(folder: Path) -> None:
        make_world(folder, artifacts)

    folder = build_once("campaign", make)
    model = folder / "own/classifier"
    return World(model, folder / "out", folder / "net.pt2", folder / "net.pth")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.mark.parametrize(("kind", "number"), CASES, ids=[f"{kind.__name__}-{number}" for kind, number in CASES])
def test_bad_input(kind: Kind, number: int, world: World, server: Server, tmp_path: Path) -> None:
    words, allowed = kind(world, seeded(kind, number), tmp_path)
    outcome = server.run(words, tmp_path if kind.__name__ == "checkpoint" else ROOT)
    assert not outcome.fault(allowed), f"{outcome.fault(allowed)}\n{outcome.out[-2000:]}{outcome.err[-2000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_fault(fault: Callable[[World, Path], str], world: World, tmp_path: Path) -> None:
    assert fault(world, tmp_path)


@pytest.mark.parametrize(
    ("outcome", "fault"),
    [
        (Outcome(None, "", "", 1, 0), "it did not end"),
        (Outcome(3, "Traceback (most recent call last)\nX\nverdict: 3 x", "", 1, 0), "a traceback"),
        (Outcome(3, "verdict: 3 x", "", 1, 2), "2 processes outlived it"),
        (Outcome(3, "text", "", 1, 0), "without a verdict"),
        (Outcome(3, "verdict: 2 x", "", 1, 0), "exit code 3 with"),
        (Outcome(0, "verdict: 0 x", "", 1, 0), r"exit code 0, expected \[2\]"),
    ],
)
def test_the_campaign_sees_a_wrong_end(outcome: Outcome, fault: str) -> None:
    assert re.search(fault, outcome.fault({2}))
    assert Outcome(2, "verdict: 2 x", "", 1, 0).fault({2}) == ""
