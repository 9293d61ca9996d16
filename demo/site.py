"""Build the site of the demo from a model and its build folder."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageOps

from demo.packed import by_source, pack
from demo.published import catalog, require_published
from demo.server import Site
from demo.showcase import Photo, read_showcase
from hydramobile.preprocess import load_photo
from hydramobile.samples import committed_samples
from hydramobile.spec import ModelSpec
from hydramobile.toml_table import read_toml

# Pixels of a thumbnail's sides: twice its CSS size on a desktop.
THUMBNAIL = (248, 328)
QUALITIES = (74, 60, 45, 30)
MOST_BYTES = 15_000
# The samples that are shown behind the showcase; there are more for parity.
MOST_SAMPLES = 6


def make_site(spec: ModelSpec, out: Path) -> Site:
    """Return the site of `spec`. Raise NothingJudged, with the command to run, where no artifact is published."""
    published, withheld = require_published(spec, out)
    packed = pack(published, out / spec.name)
    shown = read_showcase(spec)
    photos = [*shown.photos, *samples(spec)]
    hero = [state for state in shown.hero if state.path.is_file()]
    content = {**catalog(spec, published, withheld, packed), "samples": [photo.row() for photo in photos]}
    content["hero"] = [state.row() for state in hero]
    files = {f"/model/{item.id}/{file.path}": item.folder / file.path for item in published for file in item.files}
    files |= {photo.url: photo.path for photo in photos}
    files |= {state.url: state.path for state in hero}
    thumbnails = {photo.thumbnail: ("image/webp", thumbnail(photo.path)) for photo in photos}
    return Site(content, files, by_source(published, packed), thumbnails)


def samples(spec: ModelSpec) -> list[Photo]:
    """Return the first of the model's sample photos, verified by their hashes."""
    listing = spec.samples_folder / "samples.toml"
    if not listing.is_file():
        return []
    words = {row.string("file"): row.string("description", "") for row in read_toml(listing, "samples").rows("sample")}
    paths = [(sample, sample.path) for sample in committed_samples(spec) if sample.path is not None]
    return [Photo(path, words[path.name] or sample.name, sample.license) for sample, path in paths[:MOST_SAMPLES]]


def thumbnail(path: Path) -> bytes:
    """Return the middle of a photo as WebP of the size THUMBNAIL, in MOST_BYTES where the lowest quality allows."""
    small = ImageOps.fit(load_photo(path), THUMBNAIL, Image.Resampling.LANCZOS)
    for quality in QUALITIES:
        packed = io.BytesIO()
        small.save(packed, "WEBP", quality=quality)
        if packed.tell() <= MOST_BYTES:
            break
    return packed.getvalue()
