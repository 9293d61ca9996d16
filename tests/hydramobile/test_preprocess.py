"""The preprocessing contract, on hand-made photos of every format and mode that an app may meet."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from hydramobile.errors import StageError
from hydramobile.preprocess import CONTRACT, load_photo, nearest_size, to_tensor
from reference.render.profile import display_p3

QUADRANTS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))


def quadrants(width: int = 64, height: int = 48) -> Image.Image:
    """Red, green / blue, yellow: any turn or flip shows."""
    image = Image.new("RGB", (width, height))
    for index, color in enumerate(QUADRANTS):
        image.paste(color, (index % 2 * width // 2, index // 2 * height // 2, width, height))
        if index % 2 == 0:
            image.paste(color, (0, index // 2 * height // 2, width // 2, height))
    return image


def corners(image: Image.Image) -> list[tuple[int, int, int]]:
    """Return the centres of the four quadrants, rounded to 0 or 255 so that JPEG noise does not matter."""
    points = [((2 * i % 4 + 1) * image.width // 4, (i // 2 * 2 + 1) * image.height // 4) for i in range(4)]
    pixels = np.asarray(image)[[y for _, y in points], [x for x, _ in points]]
    # getdata has pixels of no type
    return [tuple(int(v > 127) * 255 for v in pixel) for pixel in pixels]  # type: ignore[misc]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int) -> None:
    upright = quadrants()
    # The picture is stored as a camera held that way would store it: the inverse of the transform of a reader.
    inverse = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(Image.Transpose(inverse[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.jpg", exif=exif, quality=95, subsampling=0)
    photo = load_photo(tmp_path / "turned.jpg")
    assert photo.size == (64, 48) and corners(photo) == list(QUADRANTS)


def test_wide_gamut_profile_is_converted(tmp_path: Path) -> None:
    """P3 values of a color inside sRGB come back as that color; without the profile they would be 30 off."""
    # 0.7, 0.5, 0.3 grey-ish orange: sRGB linear -> P3 linear by the standard matrices, both at gamma 2.2.
    to_p3 = np.array([[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]])
    srgb = np.array([200.0, 60.0, 40.0])
    p3 = 255 * (to_p3 @ (srgb / 255) ** 2.2) ** (1 / 2.2)
    image = Image.new("RGB", (8, 8), tuple(round(v) for v in p3))
    image.save(tmp_path / "p3.png", icc_profile=display_p3())
    image.save(tmp_path / "bare.png")
    converted = np.asarray(load_photo(tmp_path / "p3.png"))[0, 0].astype(float)
    bare = np.asarray(load_photo(tmp_path / "bare.png"))[0, 0].astype(float)
    # The sRGB curve is not exactly gamma 2.2, which is worth a few levels here.
    assert np.abs(converted - srgb).max() < 5
    assert np.abs(bare - srgb).max() > 12


def test_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    quadrants().save(tmp_path / "srgb.png", icc_profile=profile)
    assert np.abs(np.asarray(load_photo(tmp_path / "srgb.png")).astype(int) - np.asarray(quadrants())).max() <= 1


def test_damaged_profile_is_ignored_with_a_warning(tmp_path: Path) -> None:
    quadrants().save(tmp_path / "bad.png", icc_profile=b"not a profile")
    with pytest.warns(UserWarning, match=r"bad\.png.*ICC profile is ignored"):
        photo = load_photo(tmp_path / "bad.png")
    assert corners(photo) == list(QUADRANTS)


def test_profile_of_another_colour_space_is_ignored_with_a_warning(tmp_path: Path) -> None:
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    cmyk.save(tmp_path / "cmyk.tif", icc_profile=display_p3())
    with pytest.warns(UserWarning, match="RGB profile does not fit CMYK"):
        assert load_photo(tmp_path / "cmyk.tif").getpixel((0, 0)) == (255, 0, 0)


def test_alpha_lies_over_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    image.paste((0, 0, 0, 0), (0, 0, 4, 8))
    image.save(tmp_path / "alpha.png")
    image.save(tmp_path / "alpha.webp", lossless=True)
    for name in ("alpha.png", "alpha.webp"):
        photo = load_photo(tmp_path / name)
        assert photo.mode == "RGB"
        assert photo.getpixel((0, 0)) == (255, 255, 255)
        assert photo.getpixel((6, 0)) == pytest.approx((255, 127, 127), abs=1)


def test_palette_grey_bilevel_and_cmyk(tmp_path: Path) -> None:
    palette = quadrants().quantize(4)
    palette.save(tmp_path / "palette.png")
    assert corners(load_photo(tmp_path / "palette.png")) == list(QUADRANTS)
    palette.save(tmp_path / "clear.png", transparency=palette.getpixel((0, 0)))
    assert corners(load_photo(tmp_path / "clear.png")) == [(255, 255, 255), *QUADRANTS[1:]]
    Image.new("L", (8, 8), 77).save(tmp_path / "grey.png")
    assert load_photo(tmp_path / "grey.png").getpixel((0, 0)) == (77, 77, 77)
    Image.new("1", (8, 8), 1).save(tmp_path / "bit.png")
    assert load_photo(tmp_path / "bit.png").getpixel((0, 0)) == (255, 255, 255)
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=95)
    assert load_photo(tmp_path / "cmyk.jpg").getpixel((0, 0)) == pytest.approx((255, 0, 0), abs=3)


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    levels = np.array([[0, 128, 257, 32768, 65535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    assert np.asarray(load_photo(tmp_path / "deep.png"))[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    Image.fromarray(levels).save(tmp_path / "deep.tif")
    assert np.asarray(load_photo(tmp_path / "deep.tif"))[0, :, 2].tolist() == [0, 0, 1, 128, 255]


def test_grey_photo_with_grey_or_rgb_profile(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 120).save(tmp_path / "grey.png", icc_profile=display_p3())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixel = load_photo(tmp_path / "grey.png").getpixel((0, 0))
    assert isinstance(pixel, tuple) and max(pixel) - min(pixel) <= 1 and abs(pixel[0] - 120) < 4


def test_heic_round_trip(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = quadrants(128, 96).transpose(Image.Transpose.ROTATE_90)
    pillow_heif.from_pillow(stored).save(tmp_path / "phone.heic", quality=95, exif=exif.tobytes())
    photo = load_photo(tmp_path / "phone.heic")
    assert photo.mode == "RGB" and photo.size == (128, 96) and corners(photo) == list(QUADRANTS)


def test_heic_is_recognized_by_its_bytes_not_its_name(tmp_path: Path) -> None:
    pillow_heif.from_pillow(quadrants(128, 96)).save(tmp_path / "phone.heic", quality=95)
    renamed = (tmp_path / "phone.heic").rename(tmp_path / "upload.jpg")
    assert corners(load_photo(renamed)) == list(QUADRANTS)


def test_missing_folder_and_text_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"photo: .*nowhere\.jpg does not exist"):
        load_photo(tmp_path / "nowhere.jpg")
    with pytest.raises(StageError, match="is no regular file"):
        load_photo(tmp_path)
    (tmp_path / "text.jpg").write_text("not a photo")
    with pytest.raises(StageError, match=r"text\.jpg is not an image"):
        load_photo(tmp_path / "text.jpg")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(StageError, match=r"empty\.jpg is not an image"):
        load_photo(tmp_path / "empty.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "heic"])
def test_truncated_photos_are_refused(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    path = tmp_path / f"cut.{suffix}"
    if suffix == "heic":
        pillow_heif.from_pillow(Image.fromarray(noise)).save(path)
    else:
        Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StageError, match=rf"cut\.{suffix}"):
        load_photo(path)


@pytest.mark.parametrize("size", [(10_001, 10_000), (60_000, 60_000)])
def test_photos_over_the_pixel_limit_are_refused_before_decoding(tmp_path: Path, size: tuple[int, int]) -> None:
    """A PNG of a header and no pixels: decoding it would report damage, not size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(StageError, match=r"bomb\.png (is \d+x\d+, over the limit|has too many pixels)"):
        load_photo(tmp_path / "bomb.png")


def test_the_limit_is_an_argument(tmp_path: Path) -> None:
    quadrants(64, 48).save(tmp_path / "small.png")
    assert load_photo(tmp_path / "small.png", max_pixels=64 * 48).size == (64, 48)
    with pytest.raises(StageError, match="64x48, over the limit of 3071"):
        load_photo(tmp_path / "small.png", max_pixels=64 * 48 - 1)


def test_tensor_covers_the_whole_photo_with_antialiasing() -> None:
    tensor = to_tensor(quadrants(400, 300), (256, 192))
    assert tensor.shape == (1, 3, 256, 192) and tensor.dtype == np.float32 and tensor.flags.c_contiguous
    assert tensor[0, :, 0, 0].tolist() == [1, 0, 0] and tensor[0, :, -1, -1].tolist() == [1, 1, 0]
    # A checkerboard of single pixels shrunk by 8 is flat grey only if every pixel counts.
    board = np.indices((512, 512)).sum(0) % 2 * 255
    small = to_tensor(Image.fromarray(board.astype(np.uint8)).convert("RGB"), (64, 64))
    assert np.abs(small - 0.5).max() < 0.02


def test_tensor_values_are_bytes_over_255() -> None:
    image = Image.fromarray(np.arange(256 * 3, dtype=np.uint32).reshape(16, 16, 3).astype(np.uint8))
    tensor = to_tensor(image, (16, 16))
    np.testing.assert_array_equal(tensor[0].transpose(1, 2, 0), np.asarray(image, np.float32) / 255)


def test_tensor_refuses_other_modes() -> None:
    with pytest.raises(ValueError, match="mode is L"):
        to_tensor(Image.new("L", (8, 8)), (8, 8))


def test_nearest_size_goes_by_aspect() -> None:
    sizes = ((256, 192), (192, 256))
    assert nearest_size(Image.new("RGB", (300, 400)), sizes) == (256, 192)
    assert nearest_size(Image.new("RGB", (1600, 900)), sizes) == (192, 256)
    assert nearest_size(Image.new("RGB", (500, 500)), sizes) == (256, 192)
    with pytest.raises(ValueError, match="no sizes"):
        nearest_size(Image.new("RGB", (8, 8)), ())


def test_loading_leaves_nothing_to_apply_twice(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    quadrants().save(tmp_path / "turned.jpg", exif=exif, icc_profile=display_p3())
    photo = load_photo(tmp_path / "turned.jpg")
    again = io.BytesIO()
    photo.save(again, "PNG")
    again.seek(0)
    with Image.open(again) as reread:
        assert not reread.getexif() and "icc_profile" not in reread.info


def test_contract_is_json() -> None:
    assert json.loads(json.dumps(CONTRACT)) == CONTRACT
