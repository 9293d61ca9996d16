"""Convert a program to a Core AI asset with coreai-torch.

There is no pipeline.py, because this target runs no passes of its own. The converter asks for a program decomposed by
its own table (`coreai_torch.get_decomp_table`), and each recipe exports modules of its own precision. So an op that
the table leaves and the converter does not know fails the export and is named, whatever other targets decompose.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.program import Program, entry_module
from hydramobile.errors import StageError
from hydramobile.files import dump_json, write_text

if TYPE_CHECKING:
    import torch


def convert_modules(program: Program, modules: Mapping[str, torch.nn.Module]) -> Any:
    """Return an AIProgram with one function per entry; equal weights are stored once.

    Raises StageError("convert"), which names the entry where one is the reason.
    """
    import torch

    with warnings.catch_warnings():
        # The converter compares torch's version with the newest that it was tested with, and takes the build suffix
        # (+cpu) for another version.
        warnings.simplefilter("ignore", UserWarning)
        from coreai_torch import TorchConverter, get_decomp_table

        converter = TorchConverter()
        for entry in program.entries:
            try:
                with torch.no_grad():
                    wired = entry_module(modules, entry, program.spec, program.tensors)
                    exported = torch.export.export(wired, program.example(entry), strict=False)
                converter.add_exported_program(
                    exported.run_decompositions(get_decomp_table()),
                    input_names=list(entry.inputs),
                    output_names=list(entry.outputs),
                    entrypoint_name=entry.name,
                )
            except Exception as error:  # the converter raises types of its own, and MLIR's
                raise StageError("convert", f"entry {entry.name!r}: {type(error).__name__}: {error}") from error
        try:
            return converter.to_coreai()
        except Exception as error:  # as above
            raise StageError("convert", f"{type(error).__name__}: {error}") from error


def halve(modules: Mapping[str, torch.nn.Module]) -> dict[str, torch.nn.Module]:
    """Return copies that compute in float16. Inputs and outputs, and so tensors between modules, stay float32."""
    import torch

    class Half(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = copy.deepcopy(inner).half()

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            returned = self.inner(*(value.half() if value.is_floating_point() else value for value in inputs))
            outputs = returned if isinstance(returned, tuple | list) else (returned,)
            return tuple(value.float() if value.is_floating_point() else value for value in outputs)

    return {name: Half(module).eval() for name, module in modules.items()}


def save_asset(asset: Any, path: Path, program: Program) -> None:
    """Write the asset with the model's metadata. Without the creation date, equal models give equal bytes."""
    from coreai.runtime import AIModelAssetMetadata

    metadata = AIModelAssetMetadata()
    metadata.author, metadata.license = ", ".join(program.spec.authors), program.spec.license
    metadata.model_description = program.spec.description
    asset.save_asset(path, metadata=metadata)
    content = json.loads((path / "metadata.json").read_text(encoding="utf-8"))
    content.pop("creationDate", None)
    write_text(path / "metadata.json", dump_json(content))
