"""The LiteRT target: one .tflite per model, with one signature per entry, NHWC, and float32 inputs and outputs."""

from export.targets.litert.target import LiteRTTarget

__all__ = ["LiteRTTarget"]
