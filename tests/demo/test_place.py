"""Place: words and stickers stand in the depth of a photo, and nearer parts of it hide them, hair by hair."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from support.demo import Demo, Mask, Pixels

WHITE = 250


@pytest.fixture
def opened(demo: Demo, photos: dict[str, Path]) -> Demo:
    """Open the mode: a word stands behind the head, as wide as the photo."""
    demo.upload(photos["grace-hopper"])
    demo.mode("place")
    return demo


def white(pixels: Pixels) -> Mask:
    return np.asarray(np.all(pixels[..., :3] >= WHITE, axis=-1))


def letters(demo: Demo) -> Mask:
    """Return where the word would be seen if nothing hid it."""
    before = demo.settings()

    def shrinkage(depth: float) -> float:
        return 0.55 + 0.45 * min(depth, 1.1)

    # Before everything, and as much smaller as a nearer item is drawn larger.
    demo.change({"depth": 1.1, "size": before["size"] * shrinkage(before["depth"]) / shrinkage(1.1)})
    word = white(demo.pixels()) & ~white(demo.source())
    demo.change({"depth": before["depth"], "size": before["size"]})
    return word


def press(demo: Demo, name: str) -> None:
    demo.page.get_by_role("button", name=name, exact=True).click()


def test_a_person_hides_words_behind_them_by_the_matte(opened: Demo) -> None:
    alpha, word = opened.maps("alpha"), letters(opened)
    people, behind = alpha > 0.999, alpha < 0.001
    assert (word & people).sum() > 500 and (word & behind).sum() > 500
    shown, source = opened.pixels(), opened.source()
    assert np.array_equal(shown[people], source[people])
    assert white(shown)[word & behind].mean() > 0.98
    away = ~binary_dilation(word, iterations=4)
    assert np.array_equal(shown[away], source[away])
    # On the outline the word is mixed in by the matte.
    soft = word & (alpha > 0.3) & (alpha < 0.7)
    if soft.sum() > 20:
        share = shown[soft][:, :3].astype(float).mean()
        assert source[soft][:, :3].astype(float).mean() < share < WHITE

    # Before everything, it hides the person.
    press(opened, "Before everything")
    drawn = white(opened.pixels()) & ~white(opened.source())
    assert (drawn & people).sum() > 500
    press(opened, "Behind the person")
    assert not white(opened.pixels())[word & people & ~white(opened.source())].any()

    # The slider moves it through the depth.
    seen = []
    for key in ("Home", "PageUp", "PageUp", "PageUp", "PageUp", "PageUp", "End"):
        opened.page.focus("#control-depth")
        opened.page.keyboard.press(key)
        seen.append(int((white(opened.pixels()) & word).sum()))
    # A nearer item is also larger, so a letter may leave a few of the pixels that it covered.
    assert all(after >= before - 0.05 * word.sum() for before, after in pairwise(seen))
    assert seen[0] < 0.1 * seen[-1]


def test_an_item_is_dragged_across_and_in_depth_and_moved_by_keys(opened: Demo) -> None:
    opened.change({"x": 0.5, "y": 0.5, "size": 0.6})
    before = opened.settings()
    left, top, width, height = opened.box("#canvas")
    mouse = opened.page.mouse

    def drag(dx: float, dy: float) -> None:
        mouse.move(left + width / 2, top + height / 2)
        mouse.down()
        for step in range(1, 6):
            mouse.move(left + width * (0.5 + dx * step / 5), top + height * (0.5 + dy * step / 5))
        mouse.up()

    drag(0.2, -0.1)
    moved = opened.settings()
    assert moved["x"] == pytest.approx(before["x"] + 0.2, abs=0.03)
    assert moved["y"] == pytest.approx(before["y"] - 0.1, abs=0.03)
    assert moved["depth"] == before["depth"]
    opened.change({"x": 0.5, "y": 0.5})
    opened.page.check("input[name=choice-drag][value=depth]")
    drag(0, 0.3)
    assert opened.settings()["depth"] > moved["depth"] and opened.settings()["x"] == 0.5

    opened.change({"x": 0.5, "y": 0.5})
    before = opened.settings()
    opened.page.focus("#canvas")
    for key in ("ArrowRight", "ArrowDown", "PageUp"):
        opened.page.keyboard.press(key)
    after = opened.settings()
    assert (after["x"], after["y"]) == pytest.approx((0.51, 0.51)) and after["depth"] < before["depth"]


def test_words_stickers_and_pictures_are_added_and_removed(opened: Demo, tmp_path: Path) -> None:
    first = opened.pixels()
    opened.page.fill("#control-text", "OTHER WORDS")
    second = opened.pixels()
    assert (first != second).any()
    press(opened, "star")
    assert opened.settings()["kind"] == "star"
    assert [item["text"] for item in opened.settings()["others"]] == ["OTHER WORDS"]
    press(opened, "Before everything")
    assert (opened.pixels() != second).any()
    for _ in range(2):
        press(opened, "Take it out")
    assert np.array_equal(opened.pixels(), opened.source())
    assert opened.settings()["kind"] is None and opened.page.locator("#control-text").is_hidden()

    # A chosen picture.
    picture = np.zeros((40, 40, 4), np.uint8)
    picture[8:32, 8:32] = (255, 0, 255, 255)
    Image.fromarray(picture).save(tmp_path / "own.png")
    opened.page.set_input_files("input[data-key=picture]", tmp_path / "own.png")
    opened.page.wait_for_function("() => demo.settings.get('place').kind === 'picture'")
    shown = opened.pixels()
    assert (np.abs(shown[..., :3].astype(int) - (255, 0, 255)).max(-1) < 3).sum() > 100


def test_the_saved_picture_is_the_one_shown(opened: Demo) -> None:
    shown = opened.pixels()
    saved = np.asarray(opened.saved("png").convert("RGB"))
    assert saved.shape == shown[..., :3].shape
    assert np.abs(saved.astype(int) - shown[..., :3]).max() <= 1
