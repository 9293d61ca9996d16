"""A dataset on disk: shards of 64 views, each of which depends on the seed and its number alone, and an index.

The format is defined by reference/training/views.py; the index also holds the order: split, bin and the number of
backdrops. `known` is 2, or 1 for a view with a backdrop behind people. x and y of `face` are in pixels with centers at
.5; left is the person's own.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydramobile.errors import StageError, UsageError
from hydramobile.files import dump_json, sha256_bytes, sha256_file, write_text
from reference.synthesize.identity import Identity, draw_identity
from reference.synthesize.painter import Painter
from reference.synthesize.plan import BINS, Plan, draw_plan
from reference.synthesize.textures import photo_paths
from reference.synthesize.view import Shot, shoot
from reference.synthesize.wardrobe import SPLITS, Split, Wardrobe, load_wardrobe
from reference.training.views import SCHEMA
from reference.training.write import write_shard

HEIGHT, WIDTH = 320, 240
SHARD = 64
VIEWS_PER_IDENTITY = 4
# Photographs without people, fetched by scripts/setup.sh backdrops: pictures on walls, and backdrops behind people.
BACKDROPS = Path("build/backdrops")
# The random stream of each bin. It must not change: an order gives the views that weights were trained on.
# "standing" was added as the fourteenth bin and took the number of "dark-skin": use different seeds for these two.
_STREAMS = {name: number for number, name in enumerate(["", *BINS])} | {"standing": 11}
# A view is drawn again if people cover less of it, or if fewer of the first person's face points are visible.
_LEAST_COVER, _LEAST_POINTS, _TRIES = 0.03, 2, 8


@dataclass(frozen=True, slots=True)
class Order:
    """A request: `assets` is the wardrobe, `backdrops` a folder of photographs without people, or None.

    With `normals`, the set holds the people's surface normals as well.
    """

    assets: Path
    views: int
    seed: int
    split: Split = "train"
    bin: str = ""
    backdrops: Path | None = None
    normals: bool = False

    def key(self) -> dict[str, Any]:
        """Return all that the content depends on, for the index and to compare orders."""
        photos = len(photo_paths(self.backdrops))
        content = {"seed": self.seed, "views": self.views, "split": self.split, "bin": self.bin, "backdrops": photos}
        return {**content, "normals": True} if self.normals else content


def synthesize(order: Order, out: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """Write the dataset and return its index.

    Finished shards are kept, so a run that is killed and started again gives the same result. Raises UsageError for an
    invalid order and if `out` holds another order's shards.
    """
    if order.split not in SPLITS:
        raise UsageError(f"no split {order.split!r}; there are: {', '.join(SPLITS)}")
    if order.bin and order.bin not in BINS:
        raise UsageError(f"no bin {order.bin!r}; there are: {', '.join(BINS)}")
    if order.views < 1:
        raise UsageError(f"--views {order.views}: at least one view is needed")
    wardrobe = load_wardrobe(order.assets, order.split)
    shards = out / "shards"
    shards.mkdir(parents=True, exist_ok=True)
    _claim(order, out)
    painter: Painter | None = None
    count = -(-order.views // SHARD)
    started, done = time.monotonic(), 0
    for number in range(count):
        views = min(SHARD, order.views - number * SHARD)
        if (shards / f"{number:04d}.npz").exists() and (shards / f"{number:04d}.jsonl").exists():
            continue
        painter = painter or Painter((WIDTH, HEIGHT), order.normals)
        _write_shard(_shots(order, wardrobe, painter, range(number * SHARD, number * SHARD + views)), out, number)
        done += views
        rate = done / (time.monotonic() - started)
        left = (order.views - number * SHARD - views) / rate
        report(f"{number * SHARD + views}/{order.views} views, {rate:.2f} views/s, {left / 60:.0f} min left")
    return _seal(order, out, count)


def _claim(order: Order, out: Path) -> None:
    """Record the order in `out`, so that another order's shards are not taken for this one's."""
    note = out / "order.json"
    text = dump_json(order.key())
    if note.exists() and note.read_text(encoding="utf-8") != text:
        raise UsageError(f"{out} holds another order: {' '.join(note.read_text(encoding='utf-8').split())}")
    note.write_text(text, encoding="utf-8")


def _shots(order: Order, wardrobe: Wardrobe, painter: Painter, numbers: range) -> list[tuple[Shot, dict[str, Any]]]:
    shots = []
    for number in numbers:
        shot = draw_view(order, wardrobe, painter, number)
        shots.append((shot, {"view": number, **shot.record, "split": order.split}))
    return shots


def draw_view(order: Order, wardrobe: Wardrobe, painter: Painter, number: int) -> Shot:
    """Draw view `number` of the order. Raises StageError if no attempt shows a face."""
    group = number // VIEWS_PER_IDENTITY
    for trial in range(_TRIES):
        rng = np.random.default_rng([*_stream(order), 1, number, trial])
        plan = draw_plan(rng, order.bin)
        people = _people(order, wardrobe, plan, group)
        shot = shoot(rng, painter, _suited(plan, people[0]), people, order.assets, order.backdrops)
        seen = int(shot.face[0, :, 3].astype(np.float32).sum())
        if (shot.view.alpha > 127).mean() >= _LEAST_COVER and seen >= _LEAST_POINTS:
            return shot
    raise StageError("synthesize", f"view {number} shows no face after {_TRIES} tries")


def _suited(plan: Plan, identity: Identity) -> Plan:
    """Return `plan` with the skin tone of a bin of skin tones instead of the identity's own."""
    low, high = plan.skin
    inside = float(np.clip(identity.skin, low, high))
    if inside == identity.skin:
        return plan
    share = identity.skin  # tones spread over the bin's range instead of clustering at its edge
    tone = low + (high - low) * share
    return replace(plan, skin=(tone, tone))


def _people(order: Order, wardrobe: Wardrobe, plan: Plan, group: int) -> list[Identity]:
    """Return the group's first identity and, for views of several people, further ones of the same group."""
    return [_identity(order, wardrobe, group, who) for who in range(plan.people)]


@lru_cache(maxsize=8)
def _identity(order: Order, wardrobe: Wardrobe, group: int, who: int) -> Identity:
    name = f"{order.split}{'-' + order.bin if order.bin else ''}-{order.seed}-{group}-{who}"
    return draw_identity(name, np.random.default_rng([*_stream(order), 0, group, who]), wardrobe)


def _stream(order: Order) -> list[int]:
    """Return seeds that are unique to the seed, split and bin, except for the two bins that share a number."""
    return [order.seed, SPLITS.index(order.split), _STREAMS[order.bin]]


def _write_shard(shots: list[tuple[Shot, dict[str, Any]]], out: Path, number: int) -> None:
    arrays: dict[str, NDArray[Any]] = {
        "rgb": np.stack([shot.view.rgb for shot, _ in shots]),
        "disparity": np.stack([shot.view.disparity for shot, _ in shots]),
        "alpha": np.stack([shot.view.alpha for shot, _ in shots]),
        "known": np.array([shot.known for shot, _ in shots], np.uint8),
        "face": np.stack([shot.face for shot, _ in shots]),
    }
    normals = [shot.view.normal for shot, _ in shots if shot.view.normal is not None]
    if normals:
        arrays["normal"] = np.stack(normals)
    write_shard(out, number, arrays, [record for _, record in shots])


def _seal(order: Order, out: Path, count: int) -> dict[str, Any]:
    """Write index.json; content_hash covers the arrays and records, in order."""
    rows: list[dict[str, Any]] = []
    digest = hashlib.sha256()
    for number in range(count):
        file = f"shards/{number:04d}.npz"
        arrays = sha256_file(out / file)
        records = sha256_bytes((out / f"shards/{number:04d}.jsonl").read_bytes())
        digest.update(f"{arrays} {records}\n".encode())
        rows.append({"file": file, "views": min(SHARD, order.views - number * SHARD), "sha256": arrays})
    index = {
        "schema": SCHEMA,
        "kind": "synthetic",
        **order.key(),
        "height": HEIGHT,
        "width": WIDTH,
        "content_hash": digest.hexdigest(),
        "shards": rows,
    }
    write_text(out / "index.json", dump_json(index))
    return index
