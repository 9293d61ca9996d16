"""Passes on the `fx.GraphModule` that litert-torch converts."""
