"""Import the protobuf schema of Core ML files without coremltools.

coremltools ships the generated protobuf modules. Importing coremltools itself takes 6 to 18 s, and imports torch where
it is installed. The generated modules need only protobuf, so they are imported by path.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from sys import modules
from typing import Any

from hydramobile.errors import StageError

PACKAGE = "_coreml_proto"


def load_schema() -> Any:
    """Import the generated module Model_pb2. Raises StageError("open") where coremltools is not installed."""
    if PACKAGE not in modules:
        package = find_spec("coremltools")
        if package is None or not package.submodule_search_locations:
            raise StageError("open", "coremltools is not installed; run: make setup")
        root = Path(package.submodule_search_locations[0]) / "proto"
        spec = spec_from_file_location(PACKAGE, root / "__init__.py", submodule_search_locations=[str(root)])
        if spec is None or spec.loader is None:
            raise StageError("open", f"{root} holds no Core ML schema")
        modules[PACKAGE] = module_from_spec(spec)
        spec.loader.exec_module(modules[PACKAGE])
    return import_module(f"{PACKAGE}.Model_pb2")
