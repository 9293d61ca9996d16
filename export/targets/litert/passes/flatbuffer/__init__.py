"""Passes on the parsed .tflite (`ModelT`), after conversion and quantization."""
