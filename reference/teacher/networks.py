"""The teachers: MediaPipe's selfie segmentation, face detector and face mesh (PyPI mediapipe 0.10.21, Apache-2.0).

Only the .tflite files of the wheel are read (scripts/setup.sh teachers), never its code. Sources: MediaPipe's model
cards; BlazeFace (Bazarevsky et al. 2019); the face mesh (Kartynnik et al. 2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from hydramobile.errors import UsageError
from hydramobile.files import sha256_file

Floats = NDArray[np.float32]

# Points of the face mesh in the order of `views.POINT_NAMES`.
MESH_POINTS = (1, 168, 425, 205, 263, 33, 152, 10, 454, 234, 356, 127)
# The files of mediapipe 0.10.21 that are read, with their sha256.
_FILES = {
    "selfie_segmentation/selfie_segmentation.tflite": (
        "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c"
    ),
    "face_detection/face_detection_short_range.tflite": (
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"
    ),
    "face_landmark/face_landmark.tflite": "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
}
# The detector's input side, and its (cells per side, anchors per cell): 16x16 cells with two, 8x8 cells with six.
_SIDE, _GRIDS = 128, ((16, 2), (8, 6))
_MESH_SIDE = 192
# The mesh's input is the face's box, enlarged by half and rotated so that the eyes are level.
_MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class Face:
    """A detected face: box centre, side (the larger of width and height) and roll in radians, in pixels."""

    x: float
    y: float
    side: float
    roll: float
    score: float


class Network:
    """One .tflite file, run on one thread. Raises UsageError where it is missing or has another hash."""

    def __init__(self, path: Path, sha256: str) -> None:
        from ai_edge_litert.interpreter import Interpreter

        if not path.is_file():
            raise UsageError(f"no teacher at {path}: fetch them with bash scripts/setup.sh teachers")
        if (digest := sha256_file(path)) != sha256:
            raise UsageError(f"{path} is another file than was reviewed: its sha256 is {digest}, not {sha256}")
        self._interpreter: Any = Interpreter(str(path), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]

    def __call__(self, image: Floats) -> list[Floats]:
        self._interpreter.set_tensor(self._input, image[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index)[0].copy() for index in self._outputs]


class Teachers:
    """All three networks, from the folder that holds `mediapipe/modules`."""

    def __init__(self, folder: Path) -> None:
        modules = folder / "mediapipe" / "modules"
        self._matte, self._detector, self._mesh = (Network(modules / file, digest) for file, digest in _FILES.items())

    def matte(self, photo: Image.Image) -> tuple[Floats, float]:
        """Return (alpha [256, 256] in [0, 1], agreement).

        alpha is the mean over the photo and its mirror image, agreement the soft IoU of the two.
        """
        mattes = []
        for image in (photo, ImageOps.mirror(photo)):
            pixels = np.asarray(image.resize((256, 256), Image.Resampling.BILINEAR), np.float32) / np.float32(255)
            mattes.append(self._matte(pixels)[0][..., 0])
        first, second = mattes[0], mattes[1][:, ::-1]
        agreement = float(np.minimum(first, second).sum() / max(float(np.maximum(first, second).sum()), 1e-6))
        return ((first + second) / 2).astype(np.float32), agreement

    def faces(self, photo: Image.Image, most: int = 2, least: float = 0.6) -> list[Face]:
        """Return at most `most` faces of `photo` with a score of at least `least`, the highest score first."""
        pixels = np.asarray(photo.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR), np.float32) / 127.5 - 1
        outputs = sorted(self._detector(pixels.astype(np.float32)), key=lambda array: -array.shape[-1])
        boxes, scores = outputs[0], 1 / (1 + np.exp(-np.clip(outputs[1][:, 0], -80, 80)))
        faces: list[Face] = []
        for index in np.argsort(-scores):
            if scores[index] < least or len(faces) == most:
                break
            face = _decode(boxes[index], _anchors()[index], photo.size, float(scores[index]))
            if all(math.hypot(face.x - other.x, face.y - other.y) > 0.5 * other.side for other in faces):
                faces.append(face)
        return faces

    def mesh(self, photo: Image.Image, face: Face) -> tuple[Floats, float]:
        """Return (points [468, 3], score): x and y in pixels of the photo, z in the same unit; score in [0, 1].

        Smaller z is nearer.
        """
        scale = face.side * _MARGIN / _MESH_SIDE
        cos, sin, half = math.cos(face.roll) * scale, math.sin(face.roll) * scale, _MESH_SIDE / 2
        x0, y0 = face.x - cos * half + sin * half, face.y - sin * half - cos * half
        crop = photo.transform(
            (_MESH_SIDE, _MESH_SIDE),
            Image.Transform.AFFINE,
            (cos, -sin, x0, sin, cos, y0),
            Image.Resampling.BILINEAR,
        )
        outputs = sorted(self._mesh(np.asarray(crop, np.float32) / np.float32(255)), key=lambda array: -array.size)
        points = outputs[0].reshape(-1, 3)
        x, y = points[:, 0].copy(), points[:, 1].copy()
        placed = np.stack([x0 + cos * x - sin * y, y0 + sin * x + cos * y, points[:, 2] * scale], axis=1)
        return placed.astype(np.float32), float(1 / (1 + np.exp(-np.clip(outputs[1].ravel()[0], -80, 80))))


def _anchors() -> Floats:
    """Return the centres of the detector's anchors, [896, 2] (x, y) in [0, 1]."""
    centres = []
    for cells, repeats in _GRIDS:
        line = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 1, 2)
        centres.append(np.broadcast_to(grid, (cells * cells, repeats, 2)).reshape(-1, 2))
    return np.concatenate(centres).astype(np.float32)


def _decode(raw: Floats, anchor: Floats, size: tuple[int, int], score: float) -> Face:
    """Decode a row of the detector (x, y, w, h, then six points) to a face; the first two points are the eyes."""
    width, height = size
    x, y = raw[:2] / _SIDE + anchor
    right, left = raw[4:6] / _SIDE + anchor, raw[6:8] / _SIDE + anchor
    roll = math.atan2(float(left[1] - right[1]) * height, float(left[0] - right[0]) * width)
    side = max(float(raw[2]) / _SIDE * width, float(raw[3]) / _SIDE * height)
    return Face(float(x) * width, float(y) * height, side, roll, score)
