"""Photos that show a model to people, listed in showcase/showcase.toml of the model's folder. They judge nothing.

hero_photo = "..."                   the photo of the start page's picture
[[hero]]   file, label, change       one state of it: settings of the mode Refocus, as JavaScript
[[photo]]  file, sha256, source, license, description
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydramobile.preprocess import load_photo
from hydramobile.samples import listed_file
from hydramobile.spec import ModelSpec
from hydramobile.toml_table import read_toml

STAGE = "showcase"
FILE = "showcase/showcase.toml"


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo that the page offers. `title` is for a screen reader."""

    path: Path
    title: str
    license: str

    @property
    def url(self) -> str:
        return f"/{self.path.parent.name}/{self.path.name}"

    @property
    def thumbnail(self) -> str:
        return f"thumbnails{self.url}.webp"

    def row(self) -> dict[str, Any]:
        """Return the row of catalog.json. Width and height are the photo's."""
        about = {"title": self.title, "license": self.license, **size_of(self.path)}
        return {"url": self.url, "thumbnail": f"/{self.thumbnail}", "name": self.path.name, **about}


@dataclass(frozen=True, slots=True)
class Hero:
    """One state of the picture on the start page. Its file may not have been made yet (screenshots.py)."""

    path: Path
    label: str
    change: str

    @property
    def url(self) -> str:
        return f"/{self.path.parent.name}/{self.path.name}"

    def row(self) -> dict[str, Any]:
        return {"url": self.url, "label": self.label, **size_of(self.path)}


@dataclass(frozen=True, slots=True)
class Showcase:
    """The listed photos, whose hashes were checked, and the states of the start page's picture."""

    photos: tuple[Photo, ...] = ()
    hero: tuple[Hero, ...] = ()
    hero_photo: str = ""


def read_showcase(spec: ModelSpec) -> Showcase:
    """Read the showcase of a model; empty where it has none.

    Raises StageError("showcase") for a malformed list, a missing photo and a photo with another hash.
    """
    listing = spec.folder / FILE
    if not listing.is_file():
        return Showcase()
    top = read_toml(listing, STAGE)
    hero_photo, hero, photos = top.string("hero_photo", ""), [], []
    for row in top.rows("hero", []):
        hero.append(Hero(listing.parent / row.string("file"), row.string("label"), row.string("change")))
        row.done()
    for row in top.rows("photo"):
        path, _ = listed_file(row, listing.parent, STAGE)
        row.string("source")
        photos.append(Photo(path, row.string("description"), row.string("license")))
        row.done()
    top.done()
    if hero and hero_photo not in {photo.path.name for photo in photos}:
        raise top.error(f"hero_photo {hero_photo!r} is not among its [[photo]]")
    return Showcase(tuple(photos), tuple(hero), hero_photo)


def size_of(path: Path) -> dict[str, int]:
    width, height = load_photo(path).size
    return {"width": width, "height": height}
