"""Graph passes of the LiteRT target, one folder per program representation. Their order: ../pipeline.py."""
