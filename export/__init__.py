"""Model to artifact: capture, convert, quantize, seal. One folder per target."""
