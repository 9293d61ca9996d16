"""The cheap bokeh against a gather of 200 points at full size: the same picture for a fraction of the texture reads."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from support.demo import Demo, Mask, Pixels

PHOTOS = ("astronaut", "grace-hopper", "render-105")
LEAST_SSIM = 0.97
LEAST_SAVING = 3
# Of 255, as a mean over the band around a person: half a step of an 8-bit picture.
HALO_SLACK = 0.5

# Draws the open photo, or its matte as a red person before green, in both ways.
DRAW = """async ({settings, painted}) => {
  const [{Bokeh, CHEAP, PLAIN}, {View}] = await Promise.all([import('/gl/bokeh.js'), import('/gl/view.js')]);
  const {stage, scene} = demo;
  const {width, height} = scene;
  let view = scene.view;
  if (painted) {
    const solid = (rgb) => stage.texture({data: Uint8Array.of(...rgb, 255), width: 1, height: 1});
    const data = new Uint8Array(width * height * 4).fill(255);
    scene.pixels.alpha.forEach((alpha, index) => data.set([255 * alpha, 255 * (1 - alpha), 0], index * 4));
    const lifted = {...scene.lifted, front: solid([255, 0, 0]), back: solid([0, 255, 0])};
    const source = stage.texture({data, width, height});
    view = Object.assign(Object.create(View.prototype), scene.view, {source, lifted, targets: new Map()});
  }
  return Object.fromEntries([['cheap', CHEAP], ['plain', PLAIN]].map(([name, cost]) => {
    const output = stage.target(width, height);
    new Bokeh(stage, cost).render(view, settings, output);
    return [name, new Uint8Array(stage.read(output).buffer).toBase64()];
  }));
}"""


def draw(demo: Demo, settings: dict[str, Any], *, painted: bool = False) -> tuple[Pixels, Pixels]:
    """Return the cheap and the plain picture, [H, W, 4]."""
    texts = demo.page.evaluate(DRAW, {"settings": settings, "painted": painted})
    shape = (*demo.maps("alpha").shape, 4)
    cheap, plain = (
        np.frombuffer(base64.b64decode(texts[name]), np.uint8).reshape(shape) for name in ("cheap", "plain")
    )
    return cheap, plain


def test_texture_reads(demo: Demo) -> None:
    script = "import('/gl/bokeh.js').then(({Bokeh, CHEAP, PLAIN}) => [Bokeh.reads(CHEAP), Bokeh.reads(PLAIN)])"
    cheap, plain = demo.page.evaluate(script)
    print(f"texture reads per pixel: {cheap:.1f} against {plain:.1f}, and {200 / cheap:.1f} times fewer than 200")
    assert plain >= 400
    assert cheap * LEAST_SAVING <= 200


@pytest.mark.parametrize("photo", [PHOTOS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in PHOTOS[1:])])
def test_the_same_look(demo: Demo, photos: dict[str, Path], photo: str) -> None:
    demo.upload(photos[photo])
    focus = demo.settings()["focus"]
    for sharp in (focus, [0.1, 0.1]):
        settings = {"focus": sharp, "radius": 0.02, "shape": "disc", "bloom": 0.5}
        cheap, plain = draw(demo, settings)
        similarity: Any = structural_similarity  # comes without types
        ssim = similarity(cheap[..., :3], plain[..., :3], channel_axis=-1)
        print(f"{photo} focus {sharp}: SSIM {ssim:.4f}")
        assert ssim >= LEAST_SSIM
        assert np.abs(plain.astype(int) - demo.source()).mean() > 1, "nothing was blurred"

        halo = halos(demo, settings)
        print(f"{photo} focus {sharp}: person's colour around them {halo[0]:.2f}, plain {halo[1]:.2f} of 255")
        assert halo[0] <= halo[1] + HALO_SLACK
    # The whole person is sharp before a blurred background: no trace of their colour may leave the matte.
    assert halos(demo, {**settings, "flat": True}) == [0, 0]


def halos(demo: Demo, settings: dict[str, Any]) -> list[float]:
    """Return how much of a painted person's colour lies around them, where the matte is 0: cheap, plain."""
    alpha = demo.maps("alpha")
    around = band(alpha > 0.5, 10) & (alpha == 0)
    return [float(picture[..., 0][around].mean()) for picture in draw(demo, settings, painted=True)]


def band(mask: Mask, width: int) -> Mask:
    """Return the pixels within `width` of `mask` that are not in it."""
    from scipy.ndimage import binary_dilation

    grown: Mask = binary_dilation(mask, iterations=width)
    return grown & ~mask
