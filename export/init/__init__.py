"""Write a model folder from an archive, a factory or a library's net: python -m export init."""
