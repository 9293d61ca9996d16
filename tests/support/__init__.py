"""Functions that tests share by import: building programs, and measuring their errors on a target.

`tests/` is on the import path (pyproject.toml), so a test says `from support.programs import ops_program`. Fixtures
are in conftest.py.
"""
