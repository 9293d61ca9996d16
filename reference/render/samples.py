"""The portrait model's sample photos: rendered people, and the free real portraits that packages ship.

All random numbers are seeded: the same assets, packages and OpenGL driver give the same files. Another driver rounds
differently, so samples.toml with its hashes is written together with the pictures.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFilter

from hydramobile.errors import UsageError
from hydramobile.files import sha256_bytes, staging_folder
from reference.render.people import Part, Person, Pose, random_person
from reference.render.profile import display_p3
from reference.render.raster import Camera, Light, Rasterizer
from reference.render.rooms import random_garden, random_room

Framing = Literal["face", "bust", "half", "full"]
Split = Literal["calibrate", "judge"]
# Height of the picture at the head, in decimetres, and the head's height above the middle as a share of it.
_FRAMINGS: dict[Framing, tuple[float, float]] = {
    "face": (4.2, 0.06),
    "bust": (6.8, 0.16),
    "half": (11.0, 0.27),
    "full": (0, 0),
}
_RENDERED = "rendered by this project from MakeHuman's assets (CC0): python -m reference samples"
_QUALITY = 92
STRAIGHT = Pose()


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture, drawn from `seed`. `size` is (width, height), `camera` (azimuth, elevation); angles in degrees.

    `save` is the form of the file: plain, stored rotated with an EXIF orientation, or in Display P3.
    """

    seed: int
    split: Split
    framing: Framing
    pose: Pose = STRAIGHT
    camera: tuple[float, float] = (0.0, 2.0)
    size: tuple[int, int] = (576, 768)
    outdoors: bool = False
    people: int = 1
    save: Literal["plain", "turned", "p3"] = "plain"


LANDSCAPE = (768, 576)
SHOTS = (
    Shot(101, "judge", "bust"),
    Shot(102, "judge", "face", Pose(yaw=20, pitch=4)),
    Shot(103, "judge", "half", Pose(yaw=-15, lean=5), (10.0, 5.0), outdoors=True),
    Shot(104, "judge", "full", camera=(-8.0, 3.0)),
    Shot(105, "judge", "bust", Pose(yaw=-35, roll=8), (0.0, 8.0), save="p3"),
    Shot(106, "judge", "bust", Pose(pitch=-14), (0.0, -12.0), outdoors=True),
    Shot(107, "judge", "half", camera=(15.0, 10.0), size=LANDSCAPE),
    Shot(108, "judge", "half", Pose(yaw=8), people=2, size=LANDSCAPE),
    Shot(109, "judge", "face", Pose(roll=-10), (-12.0, 14.0), save="turned"),
    Shot(110, "judge", "bust", Pose(yaw=12, pitch=12), (-20.0, 6.0), outdoors=True),
    Shot(201, "calibrate", "bust", Pose(yaw=-8)),
    Shot(202, "calibrate", "face", Pose(yaw=-22, pitch=-5), (0.0, 10.0)),
    Shot(203, "calibrate", "half", Pose(lean=8), (12.0, 0.0), outdoors=True),
    Shot(204, "calibrate", "full", camera=(6.0, 6.0), outdoors=True),
    Shot(205, "calibrate", "bust", Pose(yaw=38), (0.0, 4.0)),
    Shot(206, "calibrate", "bust", Pose(pitch=15, roll=6), (8.0, 18.0)),
    Shot(207, "calibrate", "half", camera=(-15.0, 4.0), size=LANDSCAPE),
    Shot(208, "calibrate", "half", people=2, outdoors=True),
    Shot(209, "calibrate", "face", Pose(yaw=10), (5.0, -8.0), outdoors=True),
    Shot(210, "calibrate", "bust", Pose(yaw=-15, roll=-8), (-10.0, 0.0), size=LANDSCAPE),
    Shot(211, "calibrate", "full", Pose(lean=-4), (0.0, 10.0)),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file and its row in samples.toml."""

    file: str
    data: bytes
    split: Split
    source: str
    license: str
    description: str

    def row(self) -> str:
        fields = {"file": self.file, "sha256": sha256_bytes(self.data), "split": self.split}
        fields |= {"source": self.source, "license": self.license, "description": self.description}
        return "[[sample]]\n" + "".join(f'{key} = "{value}"\n' for key, value in fields.items())


def write_samples(wardrobe: Path, folder: Path) -> list[str]:
    """Replace `folder` by the sample photos and their samples.toml; return the file names."""
    if not (wardrobe / "rigs").is_dir():
        raise UsageError(f"{wardrobe} is not a MakeHuman wardrobe: it has no rigs/")
    rasterizer = Rasterizer()
    entries = [*real_photos(), *(rendered(rasterizer, wardrobe, shot) for shot in SHOTS)]
    with staging_folder(folder) as staging:
        for entry in entries:
            (staging / entry.file).write_bytes(entry.data)
        header = "# Portraits that may be redistributed. `calibrate` and `judge` never share a file.\n\n"
        rows = "\n".join(entry.row() for entry in entries)
        (staging / "samples.toml").write_text(header + rows, encoding="utf-8")
    return [entry.file for entry in entries]


def real_photos() -> list[Entry]:
    """Return the free real portraits that scikit-image and matplotlib ship."""
    import matplotlib.cbook

    astronaut = io.BytesIO()
    _packaged("astronaut").crop((30, 0, 414, 512)).save(astronaut, "PNG", optimize=True)
    cameraman = io.BytesIO()
    _packaged("camera").save(cameraman, "PNG", optimize=True)
    hopper = Path(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))).read_bytes()
    nasa = "NASA Great Images (https://flic.kr/p/r9qvLn), as shipped by scikit-image; cropped"
    return [
        Entry("astronaut.png", astronaut.getvalue(), "judge", nasa, "public domain", "Eileen Collins, studio"),
        Entry(
            "grace-hopper.jpg",
            hopper,
            "judge",
            "United States Navy, official portrait photograph of 1984, as shipped by matplotlib",
            "public domain",
            "Grace Hopper, studio",
        ),
        Entry(
            "camera.png",
            cameraman.getvalue(),
            "calibrate",
            "Lav Varshney, as shipped by scikit-image",
            "CC0-1.0",
            "a photographer in profile, grey, 8-bit",
        ),
    ]


def _packaged(name: str) -> Image.Image:
    """Return a picture of scikit-image's data."""
    from skimage import data

    load: Callable[[], NDArray[np.uint8]] = getattr(data, name)
    return Image.fromarray(load())


def rendered(rasterizer: Rasterizer, wardrobe: Path, shot: Shot) -> Entry:
    """Render and encode one shot."""
    image = render(rasterizer, wardrobe, shot)
    stream = io.BytesIO()
    if shot.save == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6  # orientation: the top of the picture is the right side of the stored one
        stored = image.transpose(Image.Transpose.ROTATE_90)
        stored.save(stream, "JPEG", quality=_QUALITY, exif=exif)
    elif shot.save == "p3":
        profile = display_p3()
        target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        wide = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), target)
        assert wide is not None  # only inPlace=True returns None
        wide.save(stream, "JPEG", quality=_QUALITY, icc_profile=profile)
    else:
        image.save(stream, "JPEG", quality=_QUALITY)
    people = "one person" if shot.people == 1 else f"{shot.people} people"
    form = {"plain": "", "turned": ", stored turned (EXIF orientation 6)", "p3": ", Display P3 profile"}[shot.save]
    text = f"{people}, {shot.framing}, {'outdoors' if shot.outdoors else 'indoors'}{form}"
    return Entry(f"render-{shot.seed}.jpg", stream.getvalue(), shot.split, _RENDERED, "CC0-1.0", text)


def render(rasterizer: Rasterizer, wardrobe: Path, shot: Shot) -> Image.Image:
    """Render the shot as RGB: people in front of a defocused room, with a little sensor noise."""
    rng = np.random.default_rng(shot.seed)
    people = _people(rng, wardrobe, shot)
    parts = [part for person in people for part in person.parts]
    scene: list[Part] = random_garden(rng) if shot.outdoors else random_room(rng)
    camera, light = _camera(rng, max(people, key=lambda person: person.height), shot), _light(rng, shot.outdoors)
    behind = rasterizer.draw(scene, parts, camera, light, shot.size)
    defocus = ImageFilter.GaussianBlur(float(rng.uniform(0.5, 6)))
    canvas = Image.alpha_composite(
        Image.new("RGBA", shot.size, "gray"), behind.convert("RGB").filter(defocus).convert("RGBA")
    )
    canvas = Image.alpha_composite(canvas, rasterizer.draw(parts, parts, camera, light, shot.size))
    pixels = np.asarray(canvas.convert("RGB"), np.float64)
    noisy = pixels + rng.normal(0, rng.uniform(1, 4), pixels.shape)
    return Image.fromarray(np.clip(np.round(noisy), 0, 255).astype(np.uint8))


def _people(rng: np.random.Generator, wardrobe: Path, shot: Shot) -> list[Person]:
    """Draw one person at the origin, or two side by side, turned towards each other."""
    if shot.people == 1:
        return [random_person(rng, wardrobe, shot.pose, float(rng.normal(0, 10)), 0.0)]
    return [random_person(rng, wardrobe, shot.pose, -side * 12.0, side * 2.6) for side in (-1, 1)]


def _camera(rng: np.random.Generator, person: Person, shot: Shot) -> Camera:
    extent, above = _FRAMINGS[shot.framing]
    if shot.framing == "full":
        extent, above = 1.15 * person.height, (person.head[1] - person.height / 2) / (1.15 * person.height)
    middle = person.head[0] if shot.people == 1 else 0.0
    target = np.array([middle + rng.normal(0, 0.03) * extent, person.head[1] - above * extent, person.head[2]])
    field = float(rng.uniform(32, 60))
    azimuth, elevation = np.deg2rad(shot.camera)
    direction = [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    eye = target + np.array(direction) * extent / (2 * np.tan(np.deg2rad(field) / 2))
    eye[1] = max(eye[1], 1.0)
    return Camera(eye, target, field, float(rng.normal(0, 2)))


def _light(rng: np.random.Generator, outdoors: bool) -> Light:
    """Draw a key light from the front or side and two weak lights; outdoors the key light is higher and stronger."""
    azimuth = np.deg2rad(rng.uniform([-70, -90, -180], [70, 90, 180]))
    elevation = np.deg2rad(rng.uniform([35 if outdoors else 10, 0, 10], [65, 40, 60]))
    directions = np.stack(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], axis=1
    )
    strength = np.array([rng.uniform(0.9, 2.0), rng.uniform(0, 0.5), rng.uniform(0, 0.4)])
    colors = rng.uniform(0.75, 1.0, (3, 3)) * strength[:, None]
    ambient = rng.uniform(0.2, 0.5)
    return Light(directions, colors, ambient * rng.uniform(0.85, 1.1, 3), 0.6 * ambient * rng.uniform(0.85, 1.1, 3))
