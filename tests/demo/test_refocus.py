"""Refocus: a tap makes its depth sharp and blurs the rest; whatever is in focus keeps its pixels."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.demo import Demo, Mask, Pixels


def sharpness(pixels: Pixels, where: Mask) -> float:
    """Return the mean absolute Laplacian of the brightness over `where`."""
    grey = pixels[..., :3].astype(float).mean(-1)
    laplacian = np.abs(4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:])
    return float(laplacian[where[1:-1, 1:-1]].mean())


@pytest.fixture
def opened(demo: Demo, photos: dict[str, Path]) -> Demo:
    demo.upload(photos["grace-hopper"])
    return demo


def regions(demo: Demo) -> tuple[Mask, Mask]:
    """Return the pixels that are wholly people, and wholly background."""
    alpha = demo.maps("alpha")
    return alpha > 0.999, alpha < 0.001


def point(demo: Demo, where: Mask) -> tuple[float, float]:
    """Return a point on the screen well inside `where`: the pixel whose neighbourhood belongs to it most."""
    rows, columns = np.nonzero(where)
    scores = [where[max(r - 12, 0) : r + 13, max(c - 12, 0) : c + 13].sum() for r, c in zip(rows, columns, strict=True)]
    best = int(np.argmax(scores))
    left, top, width, height = demo.box("#canvas")
    return left + (columns[best] + 0.5) / where.shape[1] * width, top + (rows[best] + 0.5) / where.shape[0] * height


def test_a_person_in_focus_keeps_their_pixels(opened: Demo) -> None:
    people, behind = regions(opened)
    focus = opened.settings()["focus"]
    depth = opened.maps("people")
    inside = people & (depth >= focus[0]) & (depth <= focus[1])
    assert inside.mean() > 0.2
    shown, source = opened.pixels(), opened.source()
    assert np.array_equal(shown[inside], source[inside])
    assert sharpness(shown, behind) < 0.5 * sharpness(source, behind)


@pytest.mark.parametrize("way", ["mouse", "touch"])
def test_a_tap_makes_its_depth_sharp(opened: Demo, way: str) -> None:
    people, behind = regions(opened)
    tap: Callable[[float, float], None] = opened.page.mouse.click if way == "mouse" else opened.page.touchscreen.tap
    opened.change({"aperture": 1})
    before = opened.pixels()
    tap(*point(opened, behind))
    after = opened.pixels()
    assert sharpness(after, behind) > 1.5 * sharpness(before, behind)
    assert sharpness(after, people) < 0.7 * sharpness(before, people)
    tap(*point(opened, people))
    again = opened.pixels()
    assert sharpness(again, people) > 1.3 * sharpness(after, people)
    assert sharpness(again, behind) < 0.7 * sharpness(after, behind)


def test_slider_and_keys_move_the_plane_without_inference(opened: Demo) -> None:
    runs = "JSON.stringify(demo.session.slots.main.runs)"
    counted = opened.page.evaluate(runs)
    opened.page.focus("#control-depth")
    depths = []
    for key in ("End", "Home"):
        opened.page.keyboard.press(key)
        depths.append(opened.settings()["depth"])
        assert str(opened.page.get_attribute("#control-depth", "aria-valuetext")).endswith("from far to near")
    near, far = depths
    assert near > far + 0.2
    opened.page.focus("#canvas")
    opened.page.keyboard.press("ArrowUp")
    assert opened.settings()["depth"] > far
    opened.page.keyboard.press("ArrowDown")
    assert opened.settings()["depth"] == pytest.approx(far, abs=0.01)
    assert opened.page.evaluate(runs) == counted


def test_focus_on_all_people_and_on_one(opened: Demo) -> None:
    people, _ = regions(opened)
    opened.page.get_by_text("All people sharp").click()
    everyone = opened.settings()["focus"]
    depth = opened.maps("people")[people]
    assert np.mean((depth > everyone[0] - 0.01) & (depth < everyone[1] + 0.01)) > 0.95
    opened.page.get_by_text("Focus the person").click()
    person = opened.settings()["focus"]
    assert everyone[0] <= person[0] < person[1] <= everyone[1]


def test_aperture_shape_and_highlights_change_the_blur_alone(opened: Demo) -> None:
    people, behind = regions(opened)
    focus = opened.settings()["focus"]
    inside = people & (opened.maps("people") >= focus[0]) & (opened.maps("people") <= focus[1])
    pictures = [opened.pixels()]
    for shape in ("hexagon", "heart"):
        opened.page.check(f"input[name=choice-shape][value={shape}]")
        pictures.append(opened.pixels())
    opened.change({"bloom": 1})
    pictures.append(opened.pixels())
    for picture in pictures[1:]:
        assert np.array_equal(picture[inside], pictures[0][inside])
    for before, after in itertools.pairwise(pictures):
        assert np.abs(before[behind].astype(int) - after[behind]).max() > 3
    opened.change({"aperture": 0})
    assert np.array_equal(opened.pixels(), opened.source())
