"""Write the model's metadata into an ONNX file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hydramobile.spec import EntrySpec, ModelSpec

if TYPE_CHECKING:
    import onnx


def write_metadata(model: onnx.ModelProto, spec: ModelSpec, entry: EntrySpec) -> None:
    """Set producer, doc strings and `metadata_props` in place.

    Properties: authors, description, entry, license, name, version, and a JSON object of tensor descriptions.
    """
    model.producer_name = "hydra-mobile"
    model.producer_version = spec.version
    model.doc_string = entry.description or spec.description
    del model.metadata_props[:]
    descriptions = {name: tensor.description for name, tensor in spec.tensors.items() if tensor.description}
    properties = {
        "authors": ", ".join(spec.authors),
        "description": spec.description,
        "entry": entry.name,
        "license": spec.license,
        "name": spec.name,
        "tensors": json.dumps(descriptions),
        "version": spec.version,
    }
    for key, value in properties.items():
        model.metadata_props.add(key=key, value=value)
    for port in (*model.graph.input, *model.graph.output):
        tensor = spec.tensors.get(port.name)
        port.doc_string = tensor.description if tensor else ""
