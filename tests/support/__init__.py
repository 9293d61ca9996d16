"""What tests share by import: building programs, and the way from a program to its measured errors.

`tests/` is on the import path (pyproject.toml), so a test says `from support.programs import ops_program`. Fixtures
are in conftest.py.
"""
