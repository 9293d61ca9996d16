"""The committed sample photos match their list, and the net finds a person in each judging photo."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from hydramobile.loader import load_modules
from hydramobile.preprocess import load_photo, nearest_size, to_tensor
from hydramobile.samples import committed_samples
from hydramobile.spec import load_spec
from reference.infer import run
from reference.render.profile import display_p3

SPEC = load_spec(Path(__file__).parents[2] / "models" / "portrait")
SAMPLES = SPEC.folder / "samples"


def test_twelve_of_each_split_and_nothing_unlisted() -> None:
    samples = committed_samples(SPEC)
    counts = {split: sum(sample.split == split for sample in samples) for split in ("calibrate", "judge")}
    assert counts == {"calibrate": 12, "judge": 12}
    assert len({sample.sha256 for sample in samples}) == 24
    listed = {sample.path.name for sample in samples if sample.path} | {"samples.toml"}
    assert {path.name for path in SAMPLES.iterdir()} == listed
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 5e6
    assert all(sample.source and sample.license in ("CC0-1.0", "public domain") for sample in samples)


def test_samples_cover_the_files_that_apps_meet() -> None:
    orientations, profiles, formats, landscape = set(), [], set(), 0
    for sample in committed_samples(SPEC):
        assert sample.path is not None
        with Image.open(sample.path) as image:
            orientations.add(image.getexif().get(0x0112, 1))
            profiles.append(image.info.get("icc_profile"))
            formats.add(image.format)
        photo = load_photo(sample.path)
        landscape += nearest_size(photo, SPEC.sizes) == (192, 256)
    assert orientations >= {1, 6} and formats == {"JPEG", "PNG"} and landscape >= 3
    assert display_p3() in profiles


def test_every_judged_photo_shows_a_person_to_the_net() -> None:
    modules = load_modules(SPEC)
    for sample in committed_samples(SPEC):
        if sample.split != "judge":
            continue
        assert sample.path is not None
        photo = load_photo(sample.path)
        outputs = run(modules, SPEC, to_tensor(photo, nearest_size(photo, SPEC.sizes)))
        share = float((outputs["alpha"] > 0.9).mean())
        assert 0.05 < share < 0.9, f"{sample.name}: {share:.3f}"
        person = outputs["depth"][outputs["alpha"] > 0.9]
        assert np.quantile(person, 0.98) - np.quantile(person, 0.02) > 0.01, f"{sample.name} is flat"


def test_display_p3_is_a_wide_profile_that_returns_the_same_colors() -> None:
    profile = display_p3()
    wide, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    assert wide.profile.xcolor_space == "RGB " and len(profile) == int.from_bytes(profile[:4], "big")
    image = Image.new("RGB", (4, 4), (200, 60, 40))
    there = ImageCms.profileToProfile(image, srgb, wide)
    assert there is not None and there.getpixel((0, 0)) != (200, 60, 40)
    back = ImageCms.profileToProfile(there, wide, srgb)
    assert back is not None and back.getpixel((0, 0)) == pytest.approx((200, 60, 40), abs=2)
