"""Training losses of depth and matte. Each returns one value per photo, [B]; the weights are in the options.

Depth losses take the raw disparity d of the depth decoder and a truth t, both [B, H, W] divided by the person's median
disparity (1 is the median, larger is nearer), and masks [B, H, W] of 0 and 1. Alpha losses take the matte decoder's
logit and the truth in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

# A mean over fewer pixels than this is noise; smaller masks are divided by it all the same.
FEW = 20.0


def masked_mean(values: Tensor, mask: Tensor, few: float = 1.0) -> Tensor:
    """Return the mean of `values` [B, H, W] over `mask`, [B].

    The sum is divided by `few` at least, so that a tiny mask fades out.
    """
    return (values * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=few)


def person_l1(d: Tensor, t: Tensor, person: Tensor) -> Tensor:
    """Return the mean |d - t| over the person, in units of the person's median disparity."""
    return masked_mean((d - t).abs(), person, FEW)


def berhu(d: Tensor, t: Tensor, mask: Tensor) -> Tensor:
    """Return the reverse Huber loss (Laina et al. 2016): |e| up to c, (e^2 + c^2) / 2c beyond.

    c is a fifth of the photo's largest |e|.
    """
    error = (d - t).abs() * mask
    c = (0.2 * error.amax((1, 2), keepdim=True)).detach().clamp(min=1e-6)
    return masked_mean(torch.where(error <= c, error, (error**2 + c**2) / (2 * c)), mask, FEW)


def scale_invariant_log(d: Tensor, t: Tensor, mask: Tensor, balance: float = 0.5, floor: float = 1e-2) -> Tensor:
    """Return mean g^2 - balance (mean g)^2 of g = log d - log t (Eigen et al. 2014); d and t are at least `floor`."""
    g = d.clamp(min=floor).log() - t.clamp(min=floor).log()
    return masked_mean(g**2, mask, FEW) - balance * masked_mean(g, mask, FEW) ** 2


def scale_shift_l1(d: Tensor, t: Tensor, mask: Tensor, least: float = 0.02) -> Tensor:
    """Return L1 of d and t normalised to mean 0 and mean absolute deviation 1 over the mask.

    Source: MiDaS, Ranftl et al. 2020. A deviation below `least` counts as `least`, so that a flat truth does not
    amplify noise.
    """

    def normalised(x: Tensor) -> Tensor:
        centred = x - masked_mean(x, mask)[:, None, None]
        return centred / masked_mean(centred.abs(), mask).clamp(min=least)[:, None, None]

    return masked_mean((normalised(d) - normalised(t)).abs(), mask, FEW)


def gradient(d: Tensor, t: Tensor, mask: Tensor, scales: Sequence[int] = (1, 2, 4, 8, 16)) -> Tensor:
    """Return the mean |difference of the error between neighbours|, summed over scales (Li and Snavely 2018).

    Both directions count. Scale s uses every s-th pixel; a pair counts if both pixels are in the mask.
    """
    total = d.new_zeros(d.shape[0])
    for scale in scales:
        error, inside = (d - t)[:, ::scale, ::scale], mask[:, ::scale, ::scale]
        pixels = inside.sum((1, 2)).clamp(min=1)
        across = (error[:, :, 1:] - error[:, :, :-1]).abs() * inside[:, :, 1:] * inside[:, :, :-1]
        down = (error[:, 1:] - error[:, :-1]).abs() * inside[:, 1:] * inside[:, :-1]
        total = total + (across.sum((1, 2)) + down.sum((1, 2))) / pixels
    return total


def order(d: Tensor, t: Tensor, mask: Tensor, offsets: Sequence[tuple[int, int]], steepness: float = 3.0) -> Tensor:
    """Return the ranking loss softplus(-k s (d1 - d2)) / k of pixel pairs (dy, dx) apart.

    d is in units of the truth's spread, s is the sign of the truth's difference, k is `steepness`. A pair counts if
    both pixels are in the mask and the truth differs by more than a tenth of its mean absolute deviation. dy >= 0. The
    result is the mean over the offsets.
    """
    centre = masked_mean(t, mask)[:, None, None]
    unit = masked_mean((t - centre).abs(), mask).clamp(min=0.05)[:, None, None]
    height, width = d.shape[1:]
    total = d.new_zeros(d.shape[0])
    for dy, dx in offsets:
        low, high = slice(dy, height), slice(0, height - dy)
        right, left = slice(max(dx, 0), width + min(dx, 0)), slice(max(-dx, 0), width - max(dx, 0))
        truth = (t[:, low, right] - t[:, high, left]) / unit
        predicted = (d[:, low, right] - d[:, high, left]) / unit
        counts = mask[:, low, right] * mask[:, high, left] * (truth.abs() > 0.1)
        loss = functional.softplus(-steepness * predicted * truth.sign()) / steepness
        total = total + masked_mean(loss, counts, 30.0)
    return total / max(len(offsets), 1)


def surface_normals(n: Tensor, t: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of 1 - cosine of the angle between unit normals n and t, [B, 3, H, W], over the mask."""
    return masked_mean(1 - (n * t).sum(1), mask, FEW)


def background_hinge(d: Tensor, background: Tensor, margin: float) -> Tensor:
    """Return how far d exceeds `margin` on a background whose depth is unknown; mean over the photo."""
    return (torch.relu(d - margin) * background).mean((1, 2))


def person_hinge(d: Tensor, person: Tensor, low: float, high: float) -> Tensor:
    """Return how far d is outside [low, high] on a person whose depth is unknown; mean over the photo."""
    return ((torch.relu(low - d) + torch.relu(d - high)) * person).mean((1, 2))


def relief(d: Tensor, points: Tensor, least: int = 6) -> Tensor:
    """Return 1 - correlation of d with the truth at the named points of each face, invariant to scale and shift.

    points [B, F, P, 4]: x px, y px, truth (larger is nearer), visible 0/1. Faces with fewer than `least` visible points
    do not count. The result is the mean over a photo's faces.
    """
    batch, faces, count, _ = points.shape
    height, width = d.shape[1:]
    size = points.new_tensor((width, height))
    grid = (points[..., :2] + 0.5) / size * 2 - 1
    inside = (grid.abs() < 1).all(-1)
    seen = (points[..., 3] > 0.5) & inside
    sampled = functional.grid_sample(d[:, None], grid.clamp(-1, 1), align_corners=False)[:, 0]
    weight = seen.to(d.dtype)
    number = weight.sum(-1, keepdim=True).clamp(min=1)

    def centred(x: Tensor) -> Tensor:
        return (x - (x * weight).sum(-1, keepdim=True) / number) * weight

    predicted, truth = centred(sampled), centred(points[..., 2])
    norm = (predicted.square().sum(-1) + 1e-6).sqrt() * (truth.square().sum(-1) + 1e-12).sqrt()
    loss = 1 - (predicted * truth).sum(-1) / norm
    counts = ((weight.sum(-1) >= least) & (truth.square().sum(-1) > 1e-10)).to(d.dtype)
    assert loss.shape == (batch, faces) and count == points.shape[2]
    return (loss * counts).sum(-1) / counts.sum(-1).clamp(min=1)


def matte_entropy(logit: Tensor, alpha: Tensor) -> Tensor:
    """Return the mean binary cross-entropy."""
    return functional.binary_cross_entropy_with_logits(logit, alpha, reduction="none").mean((1, 2))


def matte_l1(logit: Tensor, alpha: Tensor) -> Tensor:
    """Return the mean absolute error of the matte."""
    return (torch.sigmoid(logit) - alpha).abs().mean((1, 2))


def matte_edge(logit: Tensor, alpha: Tensor, reach: int = 2) -> Tensor:
    """Return the mean absolute error over the band within `reach` pixels of where alpha changes."""
    kernel = 2 * reach + 1
    t = alpha[:, None]
    spread = functional.max_pool2d(t, kernel, 1, reach) + functional.max_pool2d(-t, kernel, 1, reach)
    band = (spread[:, 0] > 0.15).to(logit.dtype)
    return masked_mean((torch.sigmoid(logit) - alpha).abs(), band, FEW)


def matte_overlap(logit: Tensor, alpha: Tensor, smooth: float = 20.0) -> Tensor:
    """Return 1 - soft intersection over union, with `smooth` pixels added to both."""
    matte = torch.sigmoid(logit)
    both = (matte * alpha).sum((1, 2))
    either = (matte + alpha - matte * alpha).sum((1, 2))
    return 1 - (both + smooth) / (either + smooth)
