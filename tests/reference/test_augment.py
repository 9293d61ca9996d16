"""Photo-like augmentation keeps geometry and range, and a seed repeats itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reference.training.augment import blur, defocus_background, jpeg, photo_like


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Return a red person on the left of fine green and blue stripes, and their matte."""
    image = torch.zeros(3, 64, 48)
    image[1, :, ::2], image[2, :, 1::2] = 1, 1
    image[:, :, :16] = torch.tensor([1.0, 0, 0])[:, None, None]
    alpha = torch.zeros(64, 48)
    alpha[:, :16] = 1
    return image, alpha


def test_blur_keeps_the_mean_and_a_flat_picture() -> None:
    flat = torch.full((3, 20, 20), 0.3)
    torch.testing.assert_close(blur(flat, 2.0), flat)
    point = torch.zeros(1, 41, 41)
    point[0, 20, 20] = 1
    spread = blur(point, 2.0)[0]
    assert float(spread.sum()) == pytest.approx(1, abs=1e-4)
    assert float(spread[20, 20] / spread[20, 22]) == pytest.approx(np.exp(0.5), rel=1e-3), "a Gaussian of 2 pixels"


def test_defocus_keeps_the_person_and_their_colours() -> None:
    image, alpha = scene()
    soft = defocus_background(image, alpha, 4.0)
    assert torch.equal(soft[:, :, :16], image[:, :, :16])
    assert float(soft[0, :, 16:].max()) < 1e-5, "no red bleeds into the background"
    assert float(soft[1, 32, 30:40].std()) < 0.05 < float(image[1, 32, 30:40].std())


def test_jpeg_is_nearly_the_picture() -> None:
    smooth = torch.linspace(0, 1, 64).repeat(3, 64, 1)
    assert float((jpeg(smooth, 90) - smooth).abs().max()) < 0.05


def test_photo_like_is_seeded_in_bytes_and_varied() -> None:
    image, alpha = scene()
    pictures = [photo_like(image, alpha, np.random.default_rng(seed)) for seed in range(30)]
    assert torch.equal(pictures[3], photo_like(image, alpha, np.random.default_rng(3)))
    for picture in pictures:
        assert picture.shape == image.shape
        assert 0 <= float(picture.min()) <= float(picture.max()) <= 1
        torch.testing.assert_close(picture * 255, (picture * 255).round())
    means = torch.stack([picture.mean() for picture in pictures])
    assert float(means.std()) > 0.03, "exposure varies"
