"""An ensemble of trained portraits that labels photos with depth, for a student that sees the photos changed.

Source: Noisy Student (Xie et al. 2020). Each net sees the clean photo and its mirror image at several sizes. Depth is
relative, so every answer is brought to the same median and the same spread inside the person before they are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from hydramobile.errors import UsageError
from hydramobile.measures import PERSON
from reference.portrait import shaped_as
from reference.training.checkpoint import load_named
from reference.training.objective import compute

# (H, W) of the inputs: the sizes that apps use, and a square between them.
SIZES = ((256, 192), (192, 256), (224, 224))
# A pixel counts where the answers' standard deviation is at most this share of the person's mean absolute deviation.
DOUBT = 0.5
# A person of fewer pixels has no order in depth worth learning.
LEAST = 400
Floats = NDArray[np.float32]


class DepthTeachers:
    """Trained portraits (full or pruned) whose mean is the label."""

    def __init__(self, weights: Sequence[Path]) -> None:
        from safetensors.torch import load_file

        self.nets: list[dict[str, nn.Module]] = []
        for path in weights:
            if not path.is_file():
                raise UsageError(f"no weights of a teacher at {path}")
            tensors = load_file(path)
            modules = shaped_as(tensors)
            load_named(modules, tensors)
            self.nets.append(modules)

    def label(self, rgb: NDArray[np.uint8], alpha: Floats) -> Floats:
        """Return disparity [H, W] of a photo rgb [H, W, 3] whose person has `alpha` [H, W].

        The person's median is 1, larger is nearer. 0 where there is no person or the teachers disagree, everywhere for
        a person of fewer than LEAST pixels.
        """
        person = alpha > PERSON
        result = np.zeros(alpha.shape, np.float32)
        if int(person.sum()) < LEAST:
            return result
        answers = np.stack([aligned(answer, person) for answer in self.answers(rgb)])
        mean, spread = answers.mean(0), answers.std(0)
        deviation = float(np.abs(mean[person] - np.median(mean[person])).mean())
        sure = person & (spread <= DOUBT * max(deviation, 1e-6))
        # Half precision stores 0 as "not known", so a far pixel keeps a small positive value.
        result[sure] = np.maximum(mean[sure], 1e-3)
        return result

    @torch.inference_mode()
    def answers(self, rgb: NDArray[np.uint8]) -> list[Floats]:
        """Return the disparity [H, W] of every net, size and mirror image."""
        height, width = rgb.shape[:2]
        photo = torch.from_numpy(rgb.astype(np.float32) / np.float32(255)).permute(2, 0, 1)[None]
        found = []
        for modules in self.nets:
            for size in SIZES:
                small = functional.interpolate(photo, size, mode="bilinear", antialias=True, align_corners=False)
                for mirrored in (False, True):
                    disparity, _ = compute(modules, small.flip(-1) if mirrored else small)
                    upright = disparity.flip(-1) if mirrored else disparity
                    whole = functional.interpolate(upright, (height, width), mode="bilinear", align_corners=False)
                    found.append(whole[0, 0].numpy())
        return found


def aligned(disparity: Floats, person: NDArray[np.bool_]) -> Floats:
    """Return a disparity with the median 1 inside the person, and its spread in units of that median."""
    median = float(np.median(disparity[person]))
    return np.asarray(disparity / max(median, 1e-3), np.float32)
