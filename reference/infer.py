"""Run the reference on a photo and write its depth and matte as pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from hydramobile.errors import StageError, UsageError
from hydramobile.files import write_bytes
from hydramobile.loader import load_modules
from hydramobile.preprocess import load_photo, nearest_size, to_tensor
from hydramobile.spec import ModelSpec

STAGE = "infer"
DEPTH, MATTE, SIDE_BY_SIDE = "depth.png", "matte.png", "side-by-side.png"

# Height in pixels of each picture in side-by-side.png.
_PANEL = 640
# Stops of the depth colors, far to near: dark blue, teal, green, yellow.
_COLORS = np.array([[20, 10, 60], [40, 80, 140], [30, 150, 140], [110, 205, 90], [253, 231, 37]], np.float32)


@dataclass(frozen=True, slots=True)
class Maps:
    """A photo and the net's maps of it, each [H, W] float32 in [0, 1] at the net's input size."""

    photo: Image.Image
    size: tuple[int, int]
    depth: NDArray[np.float32]
    alpha: NDArray[np.float32]


def see(spec: ModelSpec, path: Path) -> Maps:
    """Return the depth and the matte of the photo at `path`, at the model's input size of the nearest aspect ratio.

    Raises UsageError if the model's input is not one photo or `depth` and `alpha` are not among its outputs,
    StageError("photo") for a bad photo and StageError("infer") for an output that is not finite.
    """
    if spec.inputs() != ("image",) or spec.tensors["image"].kind != "rgb-photo":
        raise UsageError(f"infer needs a model whose one input is the photo 'image'; {spec.name} takes {spec.inputs()}")
    available = {name for module in spec.modules.values() for name in module.outputs}
    if missing := {"depth", "alpha"} - available:
        raise UsageError(f"infer writes 'depth' and 'alpha'; {spec.name} has no {' and no '.join(sorted(missing))}")
    photo = load_photo(path)
    size = nearest_size(photo, spec.sizes)
    outputs = run(load_modules(spec), spec, to_tensor(photo, size))
    return Maps(photo, size, outputs["depth"][0, 0], outputs["alpha"][0, 0])


def run(modules: dict[str, nn.Module], spec: ModelSpec, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return every tensor of the model for one input [1, 3, H, W]; modules run in the spec's order."""
    tensors = {"image": torch.from_numpy(image)}
    with torch.inference_mode():
        for name, module in spec.modules.items():
            outputs = modules[name](*(tensors[key] for key in module.inputs))
            tensors |= zip(module.outputs, (outputs,) if isinstance(outputs, torch.Tensor) else outputs, strict=True)
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise StageError(STAGE, f"{name} of {spec.name} holds NaN or infinite values")
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def write_maps(maps: Maps, folder: Path) -> list[Path]:
    """Write depth.png (16-bit, larger is nearer), matte.png (8-bit) and side-by-side.png into `folder`.

    Depth and matte have the photo's own size. Existing files are replaced one by one, each atomically.
    """
    depth, alpha = (enlarge(field, maps.photo.size) for field in (maps.depth, maps.alpha))
    pictures = {
        DEPTH: Image.fromarray(np.round(depth * 65535).astype(np.uint16)),
        MATTE: Image.fromarray(np.round(alpha * 255).astype(np.uint8)),
        SIDE_BY_SIDE: side_by_side(maps.photo, depth, alpha),
    }
    for name, picture in pictures.items():
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        write_bytes(folder / name, stream.getvalue())
    return [folder / name for name in pictures]


def enlarge(field: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize a map [h, w] in [0, 1] bilinearly to `size` = (width, height): the inverse of the photo's stretch."""
    resized = Image.fromarray(field).resize(size, Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized, np.float32), 0, 1)


def side_by_side(photo: Image.Image, depth: NDArray[np.float32], alpha: NDArray[np.float32]) -> Image.Image:
    """Return photo, matte, depth in color and the person cut out, side by side.

    The depth picture is contrast-stretched to the person (2nd to 98th percentile where alpha > .9), so it shows relief
    and not scale.
    """
    width = max(1, round(photo.width * _PANEL / photo.height))
    small = np.asarray(photo.resize((width, _PANEL), Image.Resampling.BILINEAR), np.float32)
    near, matte = enlarge(depth, (width, _PANEL)), enlarge(alpha, (width, _PANEL))
    person = near[matte > 0.9] if (matte > 0.9).any() else near
    low, high = np.percentile(person, (2, 98))
    panels = [
        small,
        np.repeat(matte[..., None] * 255, 3, axis=2),
        colored((near - low) / max(float(high - low), 1e-6)),
        small * matte[..., None] + 255 * (1 - matte[..., None]),
    ]
    return Image.fromarray(np.round(np.concatenate(panels, axis=1)).astype(np.uint8), "RGB")


def colored(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map [H, W], clipped to [0, 1], to colors [H, W, 3] in 0..255: dark is far, yellow is near."""
    stops = np.linspace(0, 1, len(_COLORS))
    channels = [np.interp(np.clip(values, 0, 1), stops, _COLORS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=2).astype(np.float32)


def statistics(maps: Maps) -> dict[str, object]:
    """Return figures for scripts. The person is where alpha > .9; depth figures are None without a person."""
    person = maps.alpha > 0.9
    inside = maps.depth[person]
    return {
        "photo_size": [maps.photo.height, maps.photo.width],
        "net_size": list(maps.size),
        "person_share": round(float(person.mean()), 6),
        "depth_median": round(float(np.median(inside)), 6) if inside.size else None,
        "depth_p2_p98": [round(float(v), 6) for v in np.percentile(inside, (2, 98))] if inside.size else None,
    }
