"""Patch the loggers of PyTorch's ONNX exporter, which print warnings that do not concern the user.

Symptom: each process that exports prints "torchvision is not installed. Skipping torchvision::nms" and three more lines
of the same kind, and a FutureWarning about `LeafSpec` from inside torch.export.
Cause: the exporter logs them as warnings while it registers its ops; `verbose=False` does not apply to them.
Retired by: an exporter that is silent with `verbose=False`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """Discard stdout, warnings and log records below ERROR. Errors arrive as exceptions."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
