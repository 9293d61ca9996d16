"""Cut-out and Edit: their output, pixel by pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from support.demo import Demo


@pytest.fixture
def opened(demo: Demo, photos: dict[str, Path]) -> Demo:
    demo.upload(photos["astronaut"])
    return demo


def test_a_saved_cut_out_has_the_matte_as_its_alpha(opened: Demo) -> None:
    opened.mode("cutout")
    saved = np.asarray(opened.saved("png"))
    alpha = opened.maps("alpha")
    assert saved.shape == (*alpha.shape, 4)
    assert np.abs(saved[..., 3] - alpha * 255).max() <= 1
    inside = alpha == 1
    assert 0.2 < inside.mean() < 0.9
    assert np.array_equal(saved[inside][:, :3], opened.source()[inside][:, :3])
    assert opened.page.locator("#canvas").evaluate("canvas => canvas.classList.contains('clear')")


def test_a_background_is_replaced_and_the_person_stays(opened: Demo) -> None:
    opened.mode("cutout")
    alpha = opened.maps("alpha")
    source = opened.source()
    for value, color in (("paper", (0xF4, 0xF1, 0xEA)), ("night", (0x14, 0x16, 0x1C))):
        opened.page.check(f"input[name=choice-background][value={value}]")
        shown = opened.pixels()
        assert np.abs(shown[alpha == 0][:, :3].astype(int) - color).max() <= 1
        assert np.array_equal(shown[alpha == 1], source[alpha == 1])
        assert (shown[..., 3] == 255).all()
    opened.page.check("input[name=choice-background][value=blur]")
    shown = opened.pixels()
    assert np.array_equal(shown[alpha >= 0.999], source[alpha >= 0.999])
    assert np.abs(shown[alpha == 0].astype(int) - source[alpha == 0]).mean() > 2


def test_a_chosen_picture_becomes_the_background(opened: Demo, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (90, 40), (10, 200, 30)).save(tmp_path / "green.png")
    opened.mode("cutout")
    opened.page.set_input_files("[data-key=picture]", tmp_path / "green.png")
    opened.page.wait_for_function("() => demo.settings.get('cutout').background === 'picture'")
    shown = opened.pixels()
    assert np.abs(shown[opened.maps("alpha") == 0][:, :3].astype(int) - (10, 200, 30)).max() <= 1


def test_an_edited_background_leaves_the_person_untouched(opened: Demo) -> None:
    opened.mode("edit")
    source = opened.source()
    assert np.array_equal(opened.pixels(), source)
    settings = opened.settings()
    alpha, people = opened.maps("alpha"), opened.maps("people")
    near = (alpha == 1) & (people > settings["threshold"] + settings["softness"] + 0.01)
    far = (alpha == 0) & (opened.maps("behind") < settings["threshold"] - settings["softness"] - 0.01)
    assert near.mean() > 0.2 and far.mean() > 0.1
    for key in ("exposure", "contrast", "saturation", "temperature"):
        opened.change({f"far.{key}": -0.5})
        shown = opened.pixels()
        assert np.array_equal(shown[near], source[near]), key
        assert np.abs(shown[far].astype(int) - source[far]).mean() > 1, key
        opened.change({f"far.{key}": 0, f"near.{key}": 0.5})
        shown = opened.pixels()
        assert np.array_equal(shown[far], source[far]), key
        assert np.abs(shown[near].astype(int) - source[near]).mean() > 1, key
        opened.change({f"near.{key}": 0})
    assert np.array_equal(opened.pixels(), source)


def test_each_slider_moves_its_statistic(opened: Demo) -> None:
    opened.mode("edit")
    source = opened.source()[..., :3].astype(float)
    settings = opened.settings()
    far = (opened.maps("alpha") == 0) & (opened.maps("behind") < settings["threshold"] - settings["softness"] - 0.01)

    def edited(key: str, value: float) -> NDArray[np.float64]:
        opened.change({f"far.{key}": value})
        shown = opened.pixels()[..., :3].astype(np.float64)
        opened.change({f"far.{key}": 0})
        return shown

    assert edited("exposure", 0.5)[far].mean() > source[far].mean() > edited("exposure", -0.5)[far].mean()
    warm, cold = (np.subtract(*edited("temperature", value)[far].mean(0)[[0, 2]]) for value in (0.8, -0.8))
    assert warm > np.subtract(*source[far].mean(0)[[0, 2]]) > cold
    grey = edited("saturation", -1)[far]
    assert np.ptp(grey, axis=1).max() <= 1
    assert edited("contrast", 0.6)[far].std() > source[far].std() > edited("contrast", -0.6)[far].std()


def test_the_threshold_moves_on_the_histogram(opened: Demo) -> None:
    opened.mode("edit")
    opened.change({"far.exposure": -1, "softness": 0.01})
    darkened = []
    for key in ("Home", "End"):
        opened.page.focus("#control-threshold")
        opened.page.keyboard.press(key)
        darkened.append((opened.pixels()[..., :3] != opened.source()[..., :3]).any(-1).mean())
    assert darkened[0] < 0.05 and darkened[1] > 0.8


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_an_untouched_histogram_has_the_pages_colours(opened: Demo, scheme: Literal["dark", "light"]) -> None:
    opened.page.emulate_media(color_scheme=scheme)
    opened.mode("refocus")
    opened.mode("edit")
    script = """() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => {
      const canvas = document.querySelector('.plot canvas');
      const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const seen = new Set();
      for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3] === 255) seen.add(`${data[i]} ${data[i + 1]} ${data[i + 2]}`);
      }
      resolve([...seen]);
    })))"""
    accent, quiet = {"dark": ("255 181 71", "154 158 171"), "light": ("168 88 0", "102 106 117")}[scheme]
    assert {accent, quiet} <= set(opened.page.evaluate(script))
