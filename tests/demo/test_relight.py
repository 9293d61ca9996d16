"""Relight: a lamp brightens what faces it. The normals are those of a ball, since the judged nets may have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from support.demo import Demo

# Gives the scene the normals of a ball that fills the picture, and opens the mode.
BALL = """async () => {
  const {packedNormals} = await import('/app/scene.js');
  const [width, height] = [64, 64];
  const normals = new Float32Array(3 * width * height);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const [right, up] = [(x + .5) / 32 - 1, 1 - (y + .5) / 32];
    const length = Math.hypot(right, up);
    const scale = length > .98 ? .98 / length : 1;
    [right * scale, up * scale, Math.sqrt(Math.max(1 - (length * scale) ** 2, 0))].forEach((value, axis) => {
      normals[axis * width * height + y * width + x] = value;
    });
  }
  demo.scene.normals = demo.stage.texture(packedNormals(normals, {width, height}));
  demo.choose(demo.modes.find(({id}) => id === 'relight'));
}"""
EVEN = {"height": 0, "distance": 3, "strength": 1, "warmth": 0, "room": 0}


@pytest.fixture
def opened(demo: Demo, photos: dict[str, Path]) -> Demo:
    demo.upload(photos["astronaut"])
    demo.page.evaluate(BALL)
    return demo


def light(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how bright pixels [H, W, 4] are, [H, W]."""
    return np.asarray(pixels[..., :3].astype(np.float64).mean(-1))


def test_a_net_without_normals_has_no_tab(demo: Demo, photos: dict[str, Path]) -> None:
    demo.upload(photos["astronaut"])
    assert demo.page.is_hidden("#tab-relight") and demo.page.is_visible("#tab-refocus")


def test_a_lamp_brightens_what_faces_it(opened: Demo) -> None:
    alpha = opened.maps("alpha")
    person, before = alpha == 1, light(opened.source())
    columns = np.broadcast_to(np.arange(alpha.shape[1]) / alpha.shape[1], alpha.shape)
    left, right = person & (columns < 0.35), person & (columns > 0.65)
    for azimuth, lit, shaded in ((-70, left, right), (70, right, left)):
        opened.change({**EVEN, "azimuth": azimuth})
        after = light(opened.pixels())
        assert (after - before)[lit].mean() > 3 > -3 > (after - before)[shaded].mean(), azimuth
    # The more strength, the more difference.
    differences = []
    for strength in (0.2, 0.5, 1.0):
        opened.change({**EVEN, "azimuth": -70, "strength": strength})
        differences.append((light(opened.pixels()) - before)[right].mean())
    assert differences[0] > differences[1] > differences[2]


def test_nothing_is_clipped_and_colours_stay(opened: Demo) -> None:
    person = opened.maps("alpha") == 1
    source = opened.source()[person][:, :3].astype(float)
    opened.change({**EVEN, "azimuth": 0, "distance": 1, "strength": 1})
    shown = opened.pixels()[person][:, :3].astype(float)
    assert (shown == 255).all(-1).mean() <= (source == 255).all(-1).mean() + 0.001
    chroma = [np.ptp(values, axis=1).mean() / values.mean() for values in (source, shown)]
    assert chroma[1] > 0.75 * chroma[0], "skin does not turn grey"
    opened.change({**EVEN, "azimuth": 0, "warmth": 1})
    warm = opened.pixels()[person][:, :3].astype(float).mean(0)
    opened.change({**EVEN, "azimuth": 0, "warmth": -1})
    cold = opened.pixels()[person][:, :3].astype(float).mean(0)
    assert warm[0] - warm[2] > cold[0] - cold[2] + 5


def test_no_strength_is_the_photo_and_the_background_is_its_own(opened: Demo) -> None:
    opened.change({**EVEN, "azimuth": 30, "strength": 0})
    assert (opened.pixels()[..., :3] == opened.source()[..., :3]).all()
    opened.change({**EVEN, "azimuth": 30})
    behind = opened.maps("alpha") == 0
    assert behind.any() and (opened.pixels()[behind][:, :3] == opened.source()[behind][:, :3]).all()
    opened.change({**EVEN, "azimuth": 30, "strength": 0, "room": 1})
    assert light(opened.pixels())[behind].mean() < 0.6 * light(opened.source())[behind].mean()
    inside = opened.maps("alpha") == 1
    assert np.abs(opened.pixels()[inside].astype(int) - opened.source()[inside]).max() <= 1


def test_keys_taps_and_presets_move_the_lamp(opened: Demo) -> None:
    opened.change({"azimuth": 0, "height": 0})
    opened.page.focus("#canvas")
    opened.page.keyboard.press("ArrowLeft")
    opened.page.keyboard.press("ArrowUp")
    assert (opened.settings()["azimuth"], opened.settings()["height"]) == (-5, 5)
    x, y, width, height = opened.box("#canvas")
    opened.page.mouse.click(x + 0.9 * width, y + 0.25 * height)
    assert opened.settings()["azimuth"] == pytest.approx(80, abs=2)
    assert opened.settings()["height"] == pytest.approx(35, abs=2)
    opened.page.click("text=Rim")
    assert opened.settings()["azimuth"] == 140


def test_the_saved_picture_is_the_preview(opened: Demo) -> None:
    opened.change({**EVEN, "azimuth": -50, "height": 20, "distance": 1.2})
    shown = opened.pixels()[..., :3].astype(int)
    saved = np.asarray(opened.saved("png").convert("RGB")).astype(int)
    assert saved.shape == shown.shape and np.abs(saved - shown).mean() < 1
