"""From a model and its build folder to the site of the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from demo.published import catalog, require
from demo.server import Site
from hydramobile.preprocess import load_photo
from hydramobile.samples import committed_samples
from hydramobile.spec import ModelSpec
from hydramobile.toml_table import read_toml


def make_site(spec: ModelSpec, out: Path) -> Site:
    """The site of `spec`. Raises NothingJudged, with the command to run, where no artifact may be shown."""
    shown, held = require(spec, out)
    content = {**catalog(spec, shown, held), "samples": samples(spec)}
    files = {f"/model/{each.id}/{record.path}": each.folder / record.path for each in shown for record in each.files}
    files |= {sample["url"]: spec.folder / "samples" / sample["name"] for sample in content["samples"]}
    return Site(content, files)


def samples(spec: ModelSpec) -> list[dict[str, Any]]:
    """The model's sample photos, verified by their hashes: URL, words for a screen reader, size, licence."""
    listing = spec.folder / "samples/samples.toml"
    if not listing.is_file():
        return []
    words = {row.string("file"): row.string("description", "") for row in read_toml(listing, "samples").rows("sample")}
    found = []
    for sample in committed_samples(spec):
        assert sample.path is not None  # committed samples are files
        width, height = load_photo(sample.path).size
        name = sample.path.name
        about = {"title": words[name] or sample.name, "license": sample.license, "width": width, "height": height}
        found.append({"url": f"/samples/{name}", "name": name, **about})
    return found
