"""Build the site of the demo from a model and its build folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from demo.published import catalog, require_published
from demo.server import Site
from hydramobile.preprocess import load_photo
from hydramobile.samples import committed_samples
from hydramobile.spec import ModelSpec
from hydramobile.toml_table import read_toml


def make_site(spec: ModelSpec, out: Path) -> Site:
    """Return the site of `spec`. Raise NothingJudged, with the command to run, where no artifact is published."""
    published, withheld = require_published(spec, out)
    content = {**catalog(spec, published, withheld), "samples": samples(spec)}
    files = {f"/model/{item.id}/{file.path}": item.folder / file.path for item in published for file in item.files}
    files |= {sample["url"]: spec.folder / "samples" / sample["name"] for sample in content["samples"]}
    return Site(content, files)


def samples(spec: ModelSpec) -> list[dict[str, Any]]:
    """Return the model's sample photos, verified by their hashes: URL, words for a screen reader, size, licence."""
    listing = spec.folder / "samples/samples.toml"
    if not listing.is_file():
        return []
    words = {row.string("file"): row.string("description", "") for row in read_toml(listing, "samples").rows("sample")}
    rows = []
    for sample in committed_samples(spec):
        assert sample.path is not None  # committed samples are files
        width, height = load_photo(sample.path).size
        name = sample.path.name
        about = {"title": words[name] or sample.name, "license": sample.license, "width": width, "height": height}
        rows.append({"url": f"/samples/{name}", "name": name, **about})
    return rows
