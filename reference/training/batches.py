"""From views to batches: the order of views, crops and flips of photo and truth, and normalised targets.

A batch is a function of (seed, step, process) alone. No random number depends on an earlier one, so an interrupted run
continues with the same batches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from reference.training.augment import photo_like
from reference.training.options import Options
from reference.training.views import MIRRORED, View, ViewSet

# At least this share of a crop's pixels shows people, or another crop is drawn.
_LEAST_PERSON = 0.04
_TRIES = 6
# The share of samples that is rotated in the image plane, and the standard deviation of the angle. Rotation changes no
# depth, so the slope of a person cannot be told by the row alone.
_ROTATED, _DEGREES = 0.35, 12.0
# Salts of the generators, so that no two kinds of draws share a stream.
_ORDER, _SIZE, _SAMPLE = 11, 12, 13


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs and truth of B photos; all float32.

    image [B, 3, H, W] in [0, 1]; `clean` is the image before its colours were changed. disparity [B, H, W] divided by
    the person's median, 0 where unknown. alpha [B, H, W] in [0, 1]. Masks [B, H, W]: person (exact depth inside a
    person), background (exact depth outside), behind (outside people, known to be farther, depth unknown), sure (inside
    a person of a photo, where an ensemble labelled the depth `taught` [B, H, W], whose median is 1 inside a person).
    points [B, 2, 12, 4] as in `ViewSet`, in the crop's pixels. known [B]. normal [B, 3, H, W] is the unit surface
    normal (x right, y up, z to the camera) where `surface` [B, H, W] is 1.
    """

    image: Tensor
    disparity: Tensor
    alpha: Tensor
    person: Tensor
    background: Tensor
    behind: Tensor
    points: Tensor
    known: Tensor
    clean: Tensor
    taught: Tensor
    sure: Tensor
    normal: Tensor
    surface: Tensor


class Source:
    """Views of several sets as one endless, shuffled sequence: every view appears once before any repeats."""

    def __init__(self, sets: Sequence[ViewSet], seed: int) -> None:
        self.sets = list(sets)
        self.seed = seed
        self.ends = np.cumsum([len(s) for s in self.sets])
        self._orders: dict[int, NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return int(self.ends[-1])

    def at(self, position: int) -> View:
        """Return the view at `position` of the endless sequence."""
        epoch, row = divmod(position, len(self))
        if epoch not in self._orders:
            self._orders = {epoch: np.random.default_rng([self.seed, _ORDER, epoch]).permutation(len(self))}
        return self.pick(int(self._orders[epoch][row]))

    def pick(self, number: int) -> View:
        which = int(np.searchsorted(self.ends, number, side="right"))
        return self.sets[which].view(number - (int(self.ends[which - 1]) if which else 0))


class Batches:
    """The batches of one process (`rank` of `options.processes`)."""

    def __init__(
        self, options: Options, synthetic: Sequence[ViewSet], photos: Sequence[ViewSet], rank: int = 0
    ) -> None:
        self.options, self.rank = options, rank
        self.sources = [(Source(synthetic, options.seed), options.synthetic)]
        if photos and options.photos:
            self.sources.append((Source(photos, options.seed + 1), options.photos))

    def size(self, step: int) -> tuple[int, int]:
        """Return (H, W) of a step, the same in every process."""
        shares = np.array([share for _, _, share in self.options.sizes])
        rng = np.random.default_rng([self.options.seed, _SIZE, step])
        height, width, _ = self.options.sizes[int(rng.choice(len(shares), p=shares / shares.sum()))]
        return height, width

    def batch(self, step: int) -> Batch:
        size, samples = self.size(step), []
        for kind, (source, count) in enumerate(self.sources):
            for slot in range(count):
                position = (step * self.options.processes + self.rank) * count + slot
                rng = np.random.default_rng([self.options.seed, _SAMPLE, step, self.rank, kind, slot])
                samples.append(sample(source.at(position), size, rng))
        return collate(samples)


def sample(view: View, size: tuple[int, int], rng: np.random.Generator | None) -> Batch:
    """Return one view as a batch of one at (H, W): cropped, flipped and augmented, or whole without `rng`."""
    height, width = view.alpha.shape
    box = (0, 0, height, width)
    if rng is not None:
        for _ in range(_TRIES):
            box = crop_box((height, width), size, rng)
            top, left, tall, wide = box
            if (view.alpha[top : top + tall, left : left + wide] > 128).mean() > _LEAST_PERSON:
                break
    moved = resample(view, box, size)
    if rng is None:
        return moved
    if rng.random() < 0.5:
        moved = mirror(moved)
    if rng.random() < _ROTATED:
        moved = rotate(moved, float(rng.normal(0, _DEGREES)))
    return replace(moved, image=photo_like(moved.image[0], moved.alpha[0], rng)[None])


def crop_box(source: tuple[int, int], size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw (top, left, height, width) of a crop with nearly the aspect of `size`, the whole view a third of the time.

    The upper part is preferred, since faces are there.
    """
    height, width = source
    aspect = size[1] / size[0] * float(np.exp(rng.normal(0, 0.07)))
    tall = min(height, width / aspect)
    if rng.random() < 0.65:
        tall /= min(float(np.exp(abs(rng.normal(0, 0.25)))), 1.9)
    tall_px, wide_px = max(8, round(tall)), max(8, min(width, round(tall * aspect)))
    top = int(rng.integers(0, height - tall_px + 1) * rng.uniform(0.3, 1))
    left = int(rng.integers(0, width - wide_px + 1))
    return top, left, tall_px, wide_px


def resample(view: View, box: tuple[int, int, int, int], size: tuple[int, int]) -> Batch:
    """Return the part `box` of a view and its targets at (H, W), resized as in `hydramobile/preprocess.py`."""
    top, left, tall, wide = box
    window = slice(top, top + tall), slice(left, left + wide)
    alpha = torch.from_numpy(view.alpha[window].astype(np.float32) / 255)
    disparity = torch.from_numpy(view.disparity[window].astype(np.float32))
    person = ((alpha > 0.9) & (disparity > 0) & (view.known > 0)).float()
    labelled = ((alpha > 0.9) & (disparity > 0)).float() * float(view.known == 0)
    outside = (alpha < 0.05).float()
    exact = outside * float(view.known == 2)
    rgb = torch.from_numpy(view.rgb[window].astype(np.float32) / 255).permute(2, 0, 1)
    planes = torch.stack([alpha, person, person * disparity, exact, exact * disparity, outside])
    planes = torch.cat([planes, torch.stack([labelled, labelled * disparity])])
    stacked = functional.interpolate(
        torch.cat([rgb, planes])[None], size, mode="bilinear", antialias=True, align_corners=False
    )
    image, (alpha, person, near, exact, far, outside, labelled, answer) = stacked[:, :3], stacked[0, 3:]
    inside = ((person > 0.95) & (alpha > 0.9)).float()
    # Masked sums divided by masked weights: no disparity leaks from one side of a silhouette to the other.
    depth = near / person.clamp(min=1e-3)
    median = depth[inside > 0].median() if bool(inside.any()) else depth.new_tensor(1.0)
    background = (exact > 0.95).float()
    normal = torch.where(inside > 0, depth, far / exact.clamp(min=1e-3) * background) / median
    points = torch.from_numpy(view.face.astype(np.float32))
    moved = points.clone()
    moved[..., 0] = (points[..., 0] + 0.5 - left) * (size[1] / wide) - 0.5
    moved[..., 1] = (points[..., 1] + 0.5 - top) * (size[0] / tall) - 0.5
    if view.known > 0:
        moved[..., 2] = points[..., 2] / median
    behind = (outside > 0.95).float() * (1 - background)
    # Without a person there is no median to divide by: the view gives no depth loss.
    usable = float(inside.sum() >= 1)
    background = background * usable
    known = torch.tensor([view.known], dtype=torch.float32)
    shown = image.clamp(0, 1)
    sure = ((labelled > 0.95) & (alpha > 0.9)).float()
    taught = answer / labelled.clamp(min=1e-3) * sure
    return Batch(
        image=shown,
        disparity=normal[None],
        alpha=alpha[None],
        person=inside[None],
        background=background[None],
        behind=behind[None],
        points=moved[None],
        known=known,
        clean=shown,
        taught=taught[None],
        sure=sure[None],
        **resampled_normals(view, window, size),
    )


def resampled_normals(view: View, window: tuple[slice, slice], size: tuple[int, int]) -> dict[str, Tensor]:
    """Return `normal` and `surface` of a batch of one; zeros where the view has no normals."""
    if view.normal is None:
        return {"normal": torch.zeros(1, 3, *size), "surface": torch.zeros(1, *size)}
    normal = torch.from_numpy(view.normal[window].astype(np.float32) / 127).permute(2, 0, 1)
    known = (normal != 0).any(0, keepdim=True).float()
    planes = torch.cat([normal, known])[None]
    small = functional.interpolate(planes, size, mode="bilinear", antialias=True, align_corners=False)
    surface = (small[:, 3] > 0.95).float()
    return {"normal": functional.normalize(small[:, :3], dim=1) * surface[:, None], "surface": surface}


def mirror(batch: Batch) -> Batch:
    """Flip the batch horizontally and exchange the left and right points."""
    maps = {f.name: getattr(batch, f.name).flip(-1) for f in fields(batch) if f.name not in ("points", "known")}
    points = batch.points[:, :, list(MIRRORED)].clone()
    points[..., 0] = batch.image.shape[3] - 1 - points[..., 0]
    maps["normal"] = maps["normal"] * maps["normal"].new_tensor([-1, 1, 1]).reshape(3, 1, 1)
    return replace(batch, points=points, **maps)


def rotate(batch: Batch, degrees: float) -> Batch:
    """Rotate images, maps and points about the centre, counterclockwise; the border is filled by reflection.

    Image and alpha are interpolated linearly. The other maps take the nearest pixel, so no disparity leaks across a
    silhouette. A point that leaves the picture becomes invisible.
    """
    height, width = batch.image.shape[2:]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    across, down = torch.meshgrid(torch.arange(width) + 0.5, torch.arange(height) + 0.5, indexing="xy")
    x, y = across - width / 2, down - height / 2
    source = torch.stack([(cosine * x - sine * y) * 2 / width, (sine * x + cosine * y) * 2 / height], -1)

    def moved(maps: Tensor, mode: str) -> Tensor:
        stacked = maps if maps.ndim == 4 else maps[:, None]
        grid = source.expand(len(maps), -1, -1, -1)
        turned = functional.grid_sample(stacked, grid, mode, "reflection", align_corners=False)
        return turned if maps.ndim == 4 else turned[:, 0]

    smooth = {name: moved(getattr(batch, name), "bilinear").clamp(0, 1) for name in ("image", "clean", "alpha")}
    names = ("disparity", "person", "background", "behind", "taught", "sure", "normal", "surface")
    exact = {name: moved(getattr(batch, name), "nearest") for name in names}
    right, up, out = exact["normal"].unbind(1)
    exact["normal"] = torch.stack([cosine * right - sine * up, sine * right + cosine * up, out], 1)
    points = batch.points.clone()
    x, y = batch.points[..., 0] + 0.5 - width / 2, batch.points[..., 1] + 0.5 - height / 2
    points[..., 0] = cosine * x + sine * y + width / 2 - 0.5
    points[..., 1] = cosine * y - sine * x + height / 2 - 0.5
    inside = (points[..., :2] >= 0).all(-1) & (points[..., 0] <= width - 1) & (points[..., 1] <= height - 1)
    points[..., 3] *= inside
    return replace(batch, points=points, **smooth, **exact)


def collate(samples: Sequence[Batch]) -> Batch:
    return Batch(*(torch.cat([getattr(s, f.name) for s in samples]) for f in fields(Batch)))
