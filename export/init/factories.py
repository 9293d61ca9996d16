"""Nets of a Python factory or class, and of libraries: timm, torchvision, transformers."""

from __future__ import annotations

import inspect
import os
from importlib import import_module, metadata
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from export.init.net import KnownInput, Origin
from export.init.request import InitRequest
from hydramobile.errors import StageError, UsageError
from hydramobile.loader import call_factory
from hydramobile.model_code import check_factory
from hydramobile.spec import ModelSpec

if TYPE_CHECKING:
    import torch

SEED = 0
LIBRARY_NET = {
    "timm": """import timm


def build():
    return timm.create_model({name!r}, pretrained=False)
""",
    "torchvision": """import torchvision


def build():
    return torchvision.models.get_model({name!r}, weights=None)
""",
    "transformers": """from pathlib import Path

import transformers


def build():
    config = transformers.AutoConfig.from_pretrained(Path(__file__).with_name("config"))
    return transformers.AutoModel.from_config(config)
""",
}
HEAD = '"""Written by init: the net {origin}, without weights."""\n\n'


def factory_origin(request: InitRequest) -> Origin:
    """Call the factory or class, seeded, and return its modules. Its folder is the current one, or `sys.path`.

    Raises StageError("factory") when the code fails, UsageError when it returns no module.
    """
    factory = request.origins[0]
    code = os.path.relpath(Path.cwd(), request.destination.resolve())
    spec = cast(ModelSpec, SimpleNamespace(factory=factory, folder=request.destination, code=code))
    check_factory(spec)
    origin = built(spec, factory)
    origin.factory, origin.code = factory, code
    if not request.weights:
        origin.notes.append(
            f"weights: as {factory} returns them, after torch.manual_seed({SEED}); --weights gives a file"
        )
    return origin


def library_origin(request: InitRequest, scratch: Path) -> Origin:
    """Write net.py, which builds the library's net, and return its modules.

    Raises UsageError where the library is not installed or has no such net.
    """
    library, _, name = request.origins[0].partition(":")
    try:
        metadata.version(library)
    except metadata.PackageNotFoundError as error:
        raise UsageError(
            f"{library} is not installed here: pip install {library}, or save the net where it is installed: "
            "torch.export.save(torch.export.export(net.eval(), (x,)), 'net.pt2')"
        ) from error
    text = HEAD.format(origin=request.origins[0]) + LIBRARY_NET[library].format(name=name)
    (scratch / "net.py").write_text(text, encoding="utf-8")
    if library == "transformers":
        save_config(name, scratch / "config")
    spec = cast(ModelSpec, SimpleNamespace(factory="net:build", folder=scratch, code=""))
    origin = built(spec, request.origins[0])
    origin.factory, origin.files = "net:build", {"net.py": text}
    if library == "transformers":
        origin.files["config/config.json"] = (scratch / "config" / "config.json").read_text(encoding="utf-8")
    if not request.weights:
        origin.notes.append(
            f"weights: seeded (torch.manual_seed({SEED})), not trained; --weights FILE gives trained ones"
        )
        origin.seeded = True
    add_library_facts(origin, library)
    return origin


def save_config(name: str, folder: Path) -> None:
    """Copy a transformers configuration, a local file or folder, into the model's folder."""
    # The user's own package, where it is installed: no dependency of this project.
    transformers: Any = import_module("transformers")
    if not Path(name).exists():
        raise UsageError(f"transformers:{name}: there is no file or folder of that name; a configuration is local")
    try:
        transformers.AutoConfig.from_pretrained(name).save_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"transformers:{name} is no configuration: {error}") from error


def add_library_facts(origin: Origin, library: str) -> None:
    """Note the input size and the normalization that a library states for its net."""
    (name, module), *_ = origin.modules.items()
    first, *rest = origin.inputs[name]
    if library == "timm":
        facts: Any = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", {})
        origin.inputs[name] = (KnownInput("image", (1, *facts.get("input_size", (3, 224, 224)))), *rest)
        origin.mean, origin.std = tuple(facts.get("mean", ())), tuple(facts.get("std", ()))
    elif library == "torchvision":
        origin.inputs[name] = (KnownInput("image", (1, 3, 224, 224)), *rest)
        origin.mean, origin.std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    else:
        ids = KnownInput(first.name, (1, 16), "int64") if first.name == "input_ids" else first
        photo = KnownInput(first.name, (1, 3, 224, 224)) if first.name == "pixel_values" else ids
        origin.inputs[name] = (photo,)
    if origin.mean:
        origin.notes.append(
            f"normalization of {library}: mean {origin.mean}, std {origin.std}; --mean and --std change it"
        )


def built(spec: ModelSpec, origin: str) -> Origin:
    """Call a factory that returns a module, or a dict of modules."""
    import torch

    torch.manual_seed(SEED)
    result = call_factory(spec)
    modules = result if isinstance(result, dict) else {"net": result}
    bad = [type(module).__name__ for module in modules.values() if not isinstance(module, torch.nn.Module)]
    if bad or not modules:
        raise UsageError(f"{origin} must return a torch.nn.Module or a dict of them, it returned {bad or 'none'}")
    for module in modules.values():
        module.eval().requires_grad_(False)
    return Origin(dict(modules), {name: parameters(module) for name, module in modules.items()})


def parameters(module: torch.nn.Module) -> tuple[KnownInput, ...]:
    """Return the parameters of `forward` that have no default."""
    try:
        signature = inspect.signature(module.forward)
    except (TypeError, ValueError) as error:
        raise StageError("factory", f"the parameters of {type(module).__name__}.forward cannot be read") from error
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [item for item in signature.parameters.values() if item.kind in kinds]
    needed = [item.name for item in named if item.default is inspect.Parameter.empty] or [i.name for i in named[:1]]
    return tuple(map(KnownInput, needed))
