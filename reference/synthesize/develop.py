"""Develop rendered light and distances into a photo, its disparity and its coverage by people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from reference.render.assets import Floats
from reference.synthesize.painter import OVERSAMPLING, Layer

# Disparity is in 1/metres, distances in decimetres.
_TO_METRES = 10.0


@dataclass(frozen=True, slots=True)
class View:
    """`rgb` u8 [H, W, 3] (sRGB), `disparity` f16 [H, W] (1/metres, 0 unknown or infinitely far), `alpha` u8 [H, W].

    `normal` i8 [H, W, 3], 127 times the unit normal of the people (shaders.py), 0 elsewhere; None if not asked for.
    """

    rgb: NDArray[np.uint8]
    disparity: NDArray[np.float16]
    alpha: NDArray[np.uint8]
    normal: NDArray[np.int8] | None = None


def develop(
    rng: np.random.Generator, scene: Layer, people: Layer, backdrop: NDArray[np.uint8] | None, backlit: bool
) -> View:
    """Develop one photo: people in front of the scene or of `backdrop` (u8 sRGB at the photo's size).

    It is exposed as a phone would expose it; the background is sometimes out of focus.
    """
    alpha = _shrink((people.depth > 0).astype(np.float32)[..., None])[..., 0]
    front = _shrink(people.light)
    if backdrop is None:
        behind = _shrink(scene.light)
        if rng.random() < 0.35:
            behind = _defocused(behind, 1 - alpha, float(rng.exponential(1.6)))
    else:
        picture = (backdrop.astype(np.float32) / 255) ** 2.2
        brightness = float(front.sum() / max(3 * float(alpha.sum()), 1.0))
        gain = float(np.exp(rng.normal(0.1, 0.6))) * (3.0 if backlit else 1.0)
        behind = picture * (gain * brightness / max(float(picture.mean()), 1e-3) * (1 - alpha[..., None]))
    light = front + behind
    luminance = light @ np.array([0.21, 0.72, 0.07], np.float32)
    person = float((luminance * alpha).sum() / max(float(alpha.sum()), 1.0))
    share = float(rng.uniform(0, 0.25) if backlit else rng.uniform(0.3, 0.95))
    level = share * person + (1 - share) * float(luminance.mean())
    rgb = _tone(rng, light * (float(rng.lognormal(np.log(0.24), 0.3)) / max(level, 1e-4)))
    normal = None if people.normal is None else _normal(people.normal, alpha)
    return View(rgb, _disparity(scene.depth, people.depth), np.round(255 * alpha).astype(np.uint8), normal)


def _shrink(image: Floats) -> Floats:
    """Downsample [2h, 2w, c] to [h, w, c] by a tent two pixels wide (weights 1 3 3 1): soft edges without ringing."""
    for axis in (0, 1):
        padded = np.pad(image, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        ends = [slice(k, k + image.shape[axis] - 1, OVERSAMPLING) for k in range(4)]
        taps = [padded[end] if axis == 0 else padded[:, end] for end in ends]
        image = 0.125 * (taps[0] + taps[3]) + 0.375 * (taps[1] + taps[2])
    return image


def _defocused(behind: Floats, share: Floats, radius: float) -> Floats:
    """Blur the background without mixing in the people: `behind` is weighted by its `share` [h, w]."""
    spread = (radius, radius, 0)
    sharp_edge = ndimage.gaussian_filter(share[..., None], spread)
    return np.asarray(ndimage.gaussian_filter(behind, spread) / np.maximum(sharp_edge, 1e-3) * share[..., None])


def _tone(rng: np.random.Generator, light: Floats) -> NDArray[np.uint8]:
    """Apply a shoulder (Reinhard et al., "Photographic Tone Reproduction", 2002), sRGB, and a camera's contrast."""
    white = float(rng.uniform(1.3, 3.5))
    shown = np.clip(light * (1 + light / white**2) / (1 + light), 0, 1)
    encoded = np.where(shown < 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055)
    curve = encoded * encoded * (3 - 2 * encoded)
    encoded += float(rng.uniform(0.15, 0.9)) * (curve - encoded)
    gray = encoded.mean(-1, keepdims=True)
    encoded = gray + (encoded - gray) * float(rng.uniform(0.85, 1.25))
    return np.asarray(np.clip(np.round(255 * encoded), 0, 255), np.uint8)


def _disparity(scene: Floats, people: Floats) -> NDArray[np.float16]:
    """Return a pixel's mean disparity over its samples of people if they are at least half, else over the others."""
    of_people, count = _inverse(people)
    of_scene, _ = _inverse(scene)
    return np.where(count >= OVERSAMPLING**2 / 2, of_people, of_scene).astype(np.float16)


def _normal(normal: Floats, alpha: Floats) -> NDArray[np.int8]:
    """Return the mean normal of a pixel's samples, of unit length times 127; 0 where people cover less than half."""
    mean = _shrink(normal)
    length = np.linalg.norm(mean, axis=-1, keepdims=True)
    known = (length > 1e-3) & (alpha[..., None] >= 0.5)
    return np.asarray(np.round(127 * np.where(known, mean / np.maximum(length, 1e-3), 0)), np.int8)


def _inverse(depth: Floats) -> tuple[Floats, Floats]:
    """Return the mean disparity of each 2x2 block's known samples (0: none) and their count, for distances [2h, 2w]."""
    height, width = depth.shape
    known = depth > 0
    inverse = np.where(known, _TO_METRES / np.where(known, depth, 1), 0)
    blocks = (height // OVERSAMPLING, OVERSAMPLING, width // OVERSAMPLING, OVERSAMPLING)
    count = known.reshape(blocks).sum((1, 3))
    return inverse.reshape(blocks).sum((1, 3)) / np.maximum(count, 1), count.astype(np.float32)
