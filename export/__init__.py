"""Model to artifact: capture, convert, quantize, seal. One file (or folder) a target."""
