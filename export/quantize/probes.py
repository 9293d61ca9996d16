"""Probes: the tensors of a net on samples and drawn inputs, by which its range in half precision is found."""

from __future__ import annotations

from typing import Any

from export.program import Program, drawn_tensors, run_modules
from hydramobile.samples import load_samples, sample_inputs

# Calibration samples that a net is run on beside the drawn inputs.
MOST_SAMPLES = 4


def probe_tensors(program: Program) -> list[dict[str, Any]]:
    """Return every tensor of the model, by name: for the example, some calibration samples and the drawn inputs."""
    samples = [dict(program.tensors)]
    samples += [
        run_modules(program.spec, program.modules, sample_inputs(program.spec, sample, program.size))
        for sample in load_samples(program.spec, "calibrate")[:MOST_SAMPLES]
    ]
    return samples + list(drawn_tensors(program).values())
