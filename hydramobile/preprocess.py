"""Turn a photo file into the input tensor. This is the only implementation, and the contract for every app.

Training, goldens, calibration, `infer` and the demo use it. `CONTRACT` describes it in every artifact.json, for an app
to repeat. An app that resizes without antialiasing, or ignores the colour profile, gets slightly different results; the
report states by how much.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from hydramobile.errors import StageError
from hydramobile.files import refuse_special

STAGE = "photo"
MAX_PIXELS = 100_000_000
MAX_BYTES = 500_000_000
# Of Pillow's 43 formats, the formats of photos: others run programs (EPS runs Ghostscript) or are seldom tested.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")

CONTRACT: dict[str, object] = {
    "version": 1,
    "orientation": "turned upright by the EXIF orientation",
    "color": "embedded ICC profile converted to sRGB; a photo without a readable profile is taken as sRGB",
    "alpha": "over white, after the colour conversion",
    "bits": 8,
    "channels": "RGB",
    "fit": "the whole photo stretched to H x W, without crop or padding",
    "resize": "bilinear, antialiased when shrinking (Pillow's BILINEAR)",
    "scale": "divided by 255",
    "transfer": "sRGB as stored, not linearised",
    "range": [0, 1],
    "normalization": "inside the model",
}
"""The preprocessing as JSON, written into every artifact.json."""

# ISO base media brands of HEIF files coded with HEVC; AVIF, the other HEIF, is Pillow's own.
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
# Pillow's modes of grey pictures with more than 8 bits; all are scaled from 16 bits.
_DEEP_GREY = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})
# The image mode each colour space of an ICC profile applies to.
_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def load_photo(path: Path, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read a photo (JPEG, PNG, WebP, HEIC, ...) as 8-bit sRGB, upright, over white where it is transparent.

    Raises StageError("photo") that names the file when it is missing, is no image, is truncated or otherwise
    undecodable, or has more than `max_pixels` pixels. The number of pixels is read from the header, before decoding.
    """
    refuse_special(path, STAGE)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StageError(STAGE, f"{path} is larger than {MAX_BYTES // 1_000_000} MB")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise StageError(STAGE, f"{path} does not exist") from error
    except OSError as error:
        raise StageError(STAGE, f"{path} cannot be read: {error.strerror}") from error
    with _open(path, data) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise StageError(STAGE, f"{path} is {width}x{height}, over the limit of {max_pixels} pixels")
        try:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image), path)
        except Exception as error:  # a decoder may raise any type; each means a bad file
            raise StageError(STAGE, f"{path} is truncated or damaged: {error}") from error


def to_tensor(image: Image.Image, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return a photo of `load_photo` as the model's input: [1, 3, H, W] float32 in [0, 1], where `size` is (H, W)."""
    if image.mode != "RGB":
        raise ValueError(f"the image's mode is {image.mode}, not RGB: open photos with load_photo")
    height, width = size
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    scaled = np.asarray(resized, np.float32) / np.float32(255)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def to_range(photo: NDArray[np.float32], limits: tuple[float, float] | None) -> NDArray[np.float32]:
    """Scale a tensor of `to_tensor` from [0, 1] to the range that the model declares; None leaves it as it is."""
    if limits in (None, (0.0, 1.0)):
        return photo
    low, high = limits
    return photo * np.float32(high - low) + np.float32(low)


def contract(limits: tuple[float, float] | None) -> dict[str, object]:
    """Return CONTRACT for a photo that is scaled to `limits`."""
    low, high = limits or (0.0, 1.0)
    if (low, high) == (0.0, 1.0):
        return CONTRACT
    return {**CONTRACT, "scale": scale_words((low, high)), "range": [low, high]}


def scale_words(limits: tuple[float, float] | None) -> str:
    """Return in words how 8-bit values become the values of the range."""
    low, high = limits or (0.0, 1.0)
    factor = (high - low) / 255
    if (low, high) == (0.0, 255.0):
        return "as they are, 0 to 255"
    words = "divided by 255" if high - low == 1 else f"multiplied by {high - low:g} / 255" if factor else ""
    return words + (f", plus {low:g}" if low > 0 else f", minus {-low:g}" if low else "")


def scale_code(value: str, limits: tuple[float, float] | None, suffix: str = "") -> str:
    """Return an expression, valid in JavaScript and Kotlin, that scales a byte to the range. `suffix` ends a number."""
    low, high = limits or (0.0, 1.0)
    scaled = f"{value} / 255{suffix}" if high - low != 255 else f"{value}.toFloat()" if suffix else value
    if high - low not in (1, 255):
        scaled = f"{scaled} * {high - low:g}{suffix}"
    return f"{scaled} {'+' if low > 0 else '-'} {abs(low):g}{suffix}" if low else scaled


def nearest_size(image: Image.Image, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the (H, W) of `sizes` that distorts the photo least.

    The size is chosen by the smallest quotient of its aspect ratio and the photo's. Of equal sizes the first one is
    returned.
    """
    if not sizes:
        raise ValueError("no sizes to choose from")
    aspect = image.height / image.width
    return min(sizes, key=lambda size: abs(math.log(size[0] / size[1] / aspect)))


def _open(path: Path, data: bytes) -> Image.Image:
    """Read the header of an image and decode nothing yet."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        # Imported only for the photos that need it.
        from pillow_heif import register_heif_opener

        register_heif_opener()
    Image.init()
    try:
        with warnings.catch_warnings():
            # Pillow warns of sizes (our own limit is checked next) and of oddities it reads past, such as the
            # depth pictures that phones append to a JPEG.
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN])
    except UnidentifiedImageError as error:
        raise StageError(STAGE, f"{path} is not an image that can be read (or its header is damaged)") from error
    except Image.DecompressionBombError as error:
        raise StageError(STAGE, f"{path} has too many pixels to open: {error}") from error
    except Exception as error:  # a header parser may raise any type
        raise StageError(STAGE, f"{path} has a damaged header: {error}") from error


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    """Convert an image of any mode to 8-bit sRGB: first the bits, then palette, colour profile and alpha."""
    profile = image.info.get("icc_profile")
    if image.mode in _DEEP_GREY:
        levels = np.clip(np.asarray(image).astype(np.float64), 0, 65535)
        image = Image.fromarray(np.round(levels / 257).astype(np.uint8), "L")
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    alpha: Image.Image | None = None
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        alpha, image = rgba.getchannel("A"), rgba.convert("RGB")
    elif image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    rgb = _to_srgb(image, profile, path) if profile else image.convert("RGB")
    if alpha is not None:
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)
    # The orientation, profile and gamma of the file must not be applied a second time.
    rgb.info = {}
    return rgb


def _to_srgb(image: Image.Image, profile: bytes, path: Path) -> Image.Image:
    """Convert RGB, L or CMYK pixels to sRGB by their ICC profile.

    A profile that is damaged or of another colour space is ignored with a warning, as browsers ignore it.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        mode = _PROFILE_MODES.get(space)
        if mode == "RGB" and image.mode == "L":
            image = image.convert("RGB")
        elif mode == "L" and image.mode == "RGB" and _is_grey(image):
            image = image.convert("L")
        if mode != image.mode:
            raise ImageCms.PyCMSError(f"a {space} profile does not fit {image.mode} pixels")
        # Profiles are made for the perceptual intent; for the matrix profiles of phones all intents are the same.
        intent = ImageCms.Intent.PERCEPTUAL
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), intent, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        warnings.warn(f"{path}: its ICC profile is ignored: {error}", stacklevel=2)
        return image.convert("RGB")
    assert converted is not None  # only inPlace=True returns None
    return converted


def _is_grey(image: Image.Image) -> bool:
    """Return whether the three channels are equal, as in a grey picture that was expanded for alpha or a palette."""
    red, green, blue = image.split()
    return red.tobytes() == green.tobytes() == blue.tobytes()
