"""The LiteRT target: one multi-signature .tflite a model, NHWC, float32 inputs and outputs."""

from export.targets.litert.target import LiteRTTarget

__all__ = ["LiteRTTarget"]
