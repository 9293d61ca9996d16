"""Passes on the ATen graph, before it becomes the module that litert-torch converts."""
