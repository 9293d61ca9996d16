"""A fixed pool of textures: walls, fabrics, leaves, strands and photographs. Each is drawn once per process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from reference.render.rooms import free, leaves, noise, picture, rgba, sky, surface

Texels = NDArray[np.uint8]
WALLS, PRINTS, SKIES, FOLIAGE = 40, 24, 10, 8
_PACKAGED = ("coffee", "chelsea", "rocket", "brick", "grass", "gravel")
_PHOTO_SIDE = 768


def _rng(kind: int, index: int) -> np.random.Generator:
    return np.random.default_rng([7, kind, index])


@lru_cache(maxsize=WALLS)
def wall(index: int) -> Texels:
    """Return plaster, planks, stripes, checks or brick for odd numbers, a plain coat of paint for even ones."""
    if index % 2 == 0:
        return rgba(235 + 12 * (noise(_rng(1, index), 6)[..., None] - 0.5).repeat(3, 2))
    return surface(_rng(1, index))


@lru_cache(maxsize=PRINTS)
def print_(index: int) -> Texels:
    """Return a picture for a wall: shapes or a window."""
    return picture(_rng(2, index), index % 3 == 0)


@lru_cache(maxsize=SKIES)
def heavens(index: int) -> Texels:
    return sky(_rng(3, index))


@lru_cache(maxsize=4)
def hedge(index: int) -> Texels:
    texture = leaves(_rng(4, index)).texture
    assert isinstance(texture, np.ndarray)
    return texture


@lru_cache(maxsize=4)
def ground(name: str) -> Texels:
    """Return grass, gravel or brick."""
    return free(name)


@lru_cache(maxsize=FOLIAGE)
def foliage(index: int) -> Texels:
    """Return leaves on a transparent ground: a tree's crown (even numbers) or a pot plant's long leaves (odd ones)."""
    rng, side = _rng(5, index), 256
    cover = Image.new("L", (side, side))
    draw = ImageDraw.Draw(cover)
    if index % 2:
        for _ in range(14):
            angle, far = float(rng.normal(0, 0.8)), float(rng.uniform(90, 230))
            tip = (side / 2 + far * np.sin(angle), side - far * np.cos(angle))
            wide = float(rng.uniform(6, 16))
            middle = ((side / 2 + tip[0]) / 2 + rng.normal(0, 10), (side + tip[1]) / 2)
            draw.polygon(
                [(side / 2, side), (middle[0] - wide, middle[1]), tip, (middle[0] + wide, middle[1])], fill=255
            )
    else:
        for _ in range(420):
            x, y, r = rng.normal(side / 2, 52), rng.normal(100, 42), rng.uniform(3, 11)
            draw.ellipse((x - r, y - r * 0.6, x + r, y + r * 0.6), fill=255)
        draw.rectangle((side / 2 - 6, 120, side / 2 + 6, side), fill=255)
    tone = (60 + 150 * noise(rng, 40))[..., None] * np.array([0.5, 0.8, 0.28]) * rng.uniform(0.7, 1.2, 3)
    texels = rgba(tone)
    texels[..., 3] = np.asarray(cover)
    return texels


@lru_cache(maxsize=4)
def strands(index: int) -> Texels:
    """Return fine streaks along v with gaps, for hair without a texture."""
    rng, side = _rng(6, index), 512
    fine = rng.random((8, side)).astype(np.float32)
    streaks = np.asarray(Image.fromarray(fine).resize((side, side), Image.Resampling.BICUBIC), np.float64)
    curls = np.asarray(Image.fromarray(rng.random((96, 96)).astype(np.float32)).resize((side, side)), np.float64)
    tone = 90 + 110 * (0.5 * streaks + 0.5 * curls)
    texels = rgba(np.repeat(tone[..., None], 3, 2))
    texels[..., 3] = np.clip(255 * (0.45 + 1.2 * (curls * 0.6 + streaks * 0.4 - 0.15)), 0, 255).astype(np.uint8)
    return texels


@lru_cache(maxsize=2)
def photo_paths(folder: Path | None) -> tuple[Path, ...]:
    """Return the pictures in a folder of backdrops, () without a folder."""
    if folder is None:
        return ()
    kinds = {".jpg", ".jpeg", ".png", ".webp"}
    return tuple(sorted(path for path in folder.rglob("*") if path.suffix.lower() in kinds and path.is_file()))


@lru_cache(maxsize=192)
def photo(folder: Path | None, index: int) -> Texels:
    """Return picture `index` (modulo their number) of the folder and of scikit-image (no people), RGB [h, w, 3]."""
    paths = photo_paths(folder)
    index %= len(paths) + len(_PACKAGED)
    if index < len(paths):
        image = ImageOps.exif_transpose(Image.open(paths[index])).convert("RGB")
    else:
        from skimage import data

        image = Image.fromarray(np.asarray(getattr(data, _PACKAGED[index - len(paths)])())).convert("RGB")
    image.thumbnail((_PHOTO_SIDE, _PHOTO_SIDE))
    return np.asarray(image)


def crop(rng: np.random.Generator, picture: Texels, size: tuple[int, int]) -> Texels:
    """Draw a part of `picture` at `size` = (width, height), sometimes mirrored and out of focus."""
    height, width = picture.shape[:2]
    scale = min(width / size[0], height / size[1]) * float(rng.uniform(0.45, 1.0))
    w, h = size[0] * scale, size[1] * scale
    x, y = float(rng.uniform(0, max(width - w, 0))), float(rng.uniform(0, max(height - h, 0)))
    image = Image.fromarray(picture).resize(
        size, Image.Resampling.BILINEAR, (x, y, min(x + w, width), min(y + h, height))
    )
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    if rng.random() < 0.6:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.exponential(2.5))))
    return np.asarray(image)


@lru_cache(maxsize=256)
def opaque(folder: Path | None, index: int) -> Texels:
    """Return picture `index` as RGBA of at most 256 pixels per side, for walls and horizons."""
    image = Image.fromarray(photo(folder, index))
    image.thumbnail((256, 256))
    return np.asarray(image.convert("RGBA"))


@lru_cache(maxsize=32)
def eye(path: Path, brown: int) -> Texels:
    """Return the wardrobe's eye texture at 512 pixels.

    `brown` 1 to 3 darkens the irises to a brown from light to almost black; 0 leaves them.
    """
    image = np.asarray(Image.open(path).convert("RGBA").resize((512, 512)), np.float64).copy()
    image[..., :3] *= 0.85
    if brown:
        rows, columns = np.indices((512, 512)) / 512
        for x, y in ((0.70, 0.295), (0.293, 0.70)):  # centers of the two irises
            iris = np.hypot(columns - x, rows - y) < 0.118
            gray = image[iris, :3].mean(-1, keepdims=True)
            image[iris, :3] = gray * np.array([0.95, 0.55, 0.32]) * (1.0, 0.6, 0.3)[brown - 1]
    return np.clip(image, 0, 255).astype(np.uint8)


@lru_cache(maxsize=16)
def density(level: int) -> Texels:
    """Return plain white with an alpha of `level`, the density of a shell's hairs."""
    texels = np.full((4, 4, 4), 255, np.uint8)
    texels[..., 3] = level
    return texels
