"""ONNX: the target, its quantization, its USAGE.md."""

from export.targets.onnx.target import OnnxTarget as OnnxTarget
