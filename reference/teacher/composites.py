"""Place people of labelled photos in front of photos without people: other rooms, other scales, other sides.

The matte and the ensemble's depth move with the person, so a composite is labelled as well as the photo it is made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from hydramobile.errors import UsageError
from reference.teacher.photos import SIDE, write_views
from reference.training.views import FACES, MIRRORED, POINTS, View, ViewSet

# A person who covers less is too small to cut out well, one who covers more hides the new background.
SHARE = (0.08, 0.75)
# Below this the matte still holds the old background's colour.
EDGE = 0.15
SALT = 21
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a person goes: scale of the square, its left edge in pixels (its bottom stays), mirrored or not."""

    scale: float
    left: int
    mirrored: bool


def make_composites(people: Path, backgrounds: Path, out: Path, count: int, seed: int) -> int:
    """Write a set of `count` composites of the sets `people` and `backgrounds`, which `photos` made; return `count`.

    Raises UsageError if `out` exists or no person of `people` has a fitting size.
    """
    if out.exists():
        raise UsageError(f"{out} exists; name a folder that does not")
    persons, rooms = ViewSet(people), ViewSet(backgrounds)
    fitting = [n for n in range(len(persons)) if SHARE[0] <= float((persons.view(n).alpha > 128).mean()) <= SHARE[1]]
    if not fitting:
        raise UsageError(f"no person of {people} covers {SHARE[0]:.0%} to {SHARE[1]:.0%} of the photo")
    views = []
    for number in range(count):
        rng = np.random.default_rng([seed, SALT, number])
        person = persons.view(fitting[int(rng.integers(len(fitting)))])
        room = rooms.view(int(rng.integers(len(rooms))))
        views.append(composite(person, room, rng))
    write_views(out, views, seed)
    return count


def composite(person: View, room: View, rng: np.random.Generator) -> dict[str, Any]:
    """Return the arrays of one composite, [SIDE, SIDE]."""
    scale = float(rng.uniform(0.55, 1.1))
    side = round(SIDE * scale)
    room_to_move = SIDE - side
    left = int(rng.integers(min(room_to_move, 0), max(room_to_move, 0) + 1))
    place = Placement(scale, left, bool(rng.random() < 0.5))
    alpha = moved(person.alpha.astype(np.float32) / np.float32(255), place)
    alpha = np.clip((alpha - EDGE) / (1 - EDGE), 0, 1)
    colours = np.stack([moved(person.rgb[..., channel].astype(np.float32), place) for channel in range(3)], -1)
    known = moved((person.disparity > 0).astype(np.float32), place) > 0.99
    near = moved(person.disparity.astype(np.float32), place) * known
    back = background(room, rng)
    colours = harmonised(colours, alpha, back, rng)
    rgb = colours * alpha[..., None] + back * (1 - alpha[..., None])
    return {
        "rgb": np.round(np.clip(rgb, 0, 255)).astype(np.uint8),
        "disparity": near.astype(np.float16),
        "alpha": np.round(alpha * 255).astype(np.uint8),
        "known": 0,
        "face": moved_face(person.face.astype(np.float32), place),
        "about": {"view": person.about.get("view", ""), "room": room.about.get("view", ""), "split": "train"},
    }


def moved(field: Floats, place: Placement) -> Floats:
    """Return a field [SIDE, SIDE] scaled, moved and mirrored; 0 beside it. The bottom stays at the bottom."""
    source = field[:, ::-1] if place.mirrored else field
    side = round(SIDE * place.scale)
    small = np.asarray(Image.fromarray(np.ascontiguousarray(source)).resize((side, side), Image.Resampling.BILINEAR))
    result = np.zeros((SIDE, SIDE), np.float32)
    top = SIDE - side
    rows, columns = slice(max(top, 0), SIDE), slice(max(place.left, 0), min(place.left + side, SIDE))
    result[rows, columns] = small[
        rows.start - top : rows.stop - top, columns.start - place.left : columns.stop - place.left
    ]
    return result


def moved_face(face: Floats, place: Placement) -> Floats:
    """Return the points of faces, moved as `moved` moves pixels. A point outside the picture becomes invisible."""
    result = face.copy().reshape(FACES, POINTS, 4)
    if place.mirrored:
        result = result[:, list(MIRRORED)]
        result[..., 0] = SIDE - 1 - result[..., 0]
    side = round(SIDE * place.scale)
    ratio = side / SIDE
    result[..., 0] = (result[..., 0] + 0.5) * ratio - 0.5 + place.left
    result[..., 1] = (result[..., 1] + 0.5) * ratio - 0.5 + SIDE - side
    inside = (result[..., :2] >= 0).all(-1) & (result[..., :2] <= SIDE - 1).all(-1)
    result[..., 3] *= inside
    return result


def background(room: View, rng: np.random.Generator) -> Floats:
    """Return a random crop of a room, [SIDE, SIDE, 3], sometimes mirrored or out of focus."""
    edge = int(rng.integers(round(SIDE * 0.6), SIDE + 1))
    left, top = (int(rng.integers(SIDE - edge + 1)) for _ in range(2))
    image = Image.fromarray(np.ascontiguousarray(room.rgb[top : top + edge, left : left + edge]))
    image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 4))))
    return np.asarray(image, np.float32)


def harmonised(colours: Floats, alpha: Floats, back: Floats, rng: np.random.Generator) -> Floats:
    """Return the person's colours moved part of the way to the mean colour of the background, as one light would."""
    weight = alpha[..., None]
    own = (colours * weight).sum((0, 1)) / max(float(weight.sum()), 1.0)
    other = back.mean((0, 1))
    gain = (np.clip(other, 20, 235) / np.clip(own, 20, 235)) ** float(rng.uniform(0, 0.5))
    return np.asarray(np.clip(colours * gain, 0, 255), np.float32)
