"""Augmentation that makes a clean view look like a photo: lens, light, sensor and file.

Every random number comes from the sample's own generator. Images are float32 [3, H, W] in [0, 1], sRGB as stored.
Nothing here moves a pixel; crops and flips, which move the truth too, are in batches.py.
"""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional


def blur(image: Tensor, sigma: float) -> Tensor:
    """Blur [C, H, W] with a Gaussian of `sigma` pixels, edges replicated."""
    reach = max(1, math.ceil(2.5 * sigma))
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    line = (line / line.sum()).reshape(1, 1, -1)
    across = functional.conv2d(
        functional.pad(image[:, None], (reach, reach, reach, reach), "replicate"), line[:, :, None]
    )
    return functional.conv2d(across, line[..., None])[:, 0]


def defocus_background(image: Tensor, alpha: Tensor, sigma: float) -> Tensor:
    """Blur the background by `sigma` pixels, as portrait modes and wide apertures do.

    alpha is [H, W]. The person stays sharp, and their colours do not leak into the background.
    """
    behind = (1 - alpha)[None]
    spread = blur(torch.cat([image * behind, behind]), sigma)
    soft = spread[:3] / spread[3:].clamp(min=1e-3)
    return image * alpha + torch.where(spread[3:] > 1e-3, soft, image) * behind


def exposure(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Vary gamma, exposure, white balance, contrast and saturation; sometimes add a gradient of light, or go grey."""
    if rng.random() < 0.7:
        image = image.clamp(min=1e-4) ** float(np.exp(rng.normal(0, 0.25)))
    gain = rng.uniform(0.6, 1.35) * rng.uniform(0.87, 1.13, 3)
    image = image * torch.from_numpy(gain.astype(np.float32))[:, None, None]
    if rng.random() < 0.5:
        mean = image.mean((1, 2), keepdim=True)
        image = (image - mean) * float(rng.uniform(0.65, 1.3)) + mean
    if rng.random() < 0.4:
        grey = image.mean(0, keepdim=True)
        image = grey + (image - grey) * float(rng.uniform(0.3, 1.5))
    if rng.random() < 0.35:
        angle, height, width = rng.uniform(0, 2 * math.pi), image.shape[1], image.shape[2]
        slope = torch.linspace(-1, 1, width)[None] * math.cos(angle)
        slope = slope + torch.linspace(-1, 1, height)[:, None] * math.sin(angle)
        image = image * (1 + float(rng.uniform(0, 0.4)) * slope)
    if rng.random() < 0.06:
        image = image.mean(0, keepdim=True).expand(3, -1, -1)
    return image + float(rng.uniform(-0.07, 0.07))


def noise(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Add sensor noise with a standard deviation up to 9/255, a third of the time in grains of two pixels."""
    level = rng.uniform(0, 9 / 255)
    shape = tuple(image.shape)
    if rng.random() < 0.33:
        coarse = rng.standard_normal((shape[0], (shape[1] + 1) // 2, (shape[2] + 1) // 2), np.float32)
        grains = coarse.repeat(2, 1).repeat(2, 2)[:, : shape[1], : shape[2]]
    else:
        grains = rng.standard_normal(shape, np.float32)
    return image + torch.from_numpy(grains * np.float32(level))


def jpeg(image: Tensor, quality: int) -> Tensor:
    """Encode as JPEG of that quality and decode again."""
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    decoded = np.asarray(Image.open(stream), np.float32) / np.float32(255)
    return torch.from_numpy(decoded).permute(2, 0, 1).contiguous()


def photo_like(image: Tensor, alpha: Tensor, rng: np.random.Generator) -> Tensor:
    """Apply all of the above, each with its own probability.

    The result is [3, H, W] in [0, 1], in steps of 1/255 as in files.
    """
    scale = image.shape[2] / 192
    if rng.random() < 0.4:
        image = defocus_background(image, alpha, float(np.exp(rng.uniform(math.log(0.5), math.log(5)))) * scale)
    image = exposure(image, rng)
    if rng.random() < 0.4:
        image = blur(image, float(rng.uniform(0.3, 1.3)))
    if rng.random() < 0.7:
        image = noise(image, rng)
    if rng.random() < 0.3:
        image = jpeg(image, int(rng.integers(30, 90)))
    return (image.clamp(0, 1) * 255).round() / 255
