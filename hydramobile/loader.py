"""Load a model's PyTorch modules: call its factory and fill the modules with its weights.

torch and safetensors are imported when a function is called, so that the rest of this package works without them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydramobile.errors import StageError
from hydramobile.files import inside, sha256_file
from hydramobile.float32 import compute_in_float32
from hydramobile.model_code import explain_import_error, import_factory
from hydramobile.model_folder import checkpoint_fault
from hydramobile.spec import ModelSpec
from hydramobile.submodules import pack, submodules

if TYPE_CHECKING:
    import torch

STAGE = "weights"


def load_modules(spec: ModelSpec, weights: Path | None = None) -> dict[str, torch.nn.Module]:
    """Return the model's modules in evaluation mode, computing in float32, in the order they run.

    `weights` replaces the model's own weights file. The factory that model.toml names is executed: a model folder is
    code, and must be trusted like code. A folder whose modules are .pt2 archives holds no code.

    Raises StageError("factory") when the factory fails or does not return the modules of the spec,
    StageError("weights") when the file is missing, does not match its sha256, or does not fit the modules, and
    UsageError for an archive that cannot be read.
    """
    modules = build(spec)
    if weights is None:
        load_weights(spec, modules)
    else:
        fill(modules, weights)
    for name, module in modules.items():
        module.eval().requires_grad_(False)
        normalize(spec, name, module)
        pack(module, spec.modules[name].inputs, spec.modules[name].arguments)
        compute_in_float32(module)
    return {name: modules[name] for name in spec.modules}


def build(spec: ModelSpec) -> dict[str, torch.nn.Module]:
    """Return the modules as the factory makes them, or as the archives hold them, before any weights are loaded."""
    import torch

    if not spec.factory:
        return {name: read_program(spec, name) for name in spec.modules}
    modules = call_factory(spec)
    if paths := {name: module.submodule for name, module in spec.modules.items() if module.submodule}:
        return submodules(modules, paths, spec.factory)
    if isinstance(modules, torch.nn.Module) and len(spec.modules) == 1:
        modules = dict.fromkeys(spec.modules, modules)
    good = isinstance(modules, dict) and all(isinstance(module, torch.nn.Module) for module in modules.values())
    if not good or set(modules) != set(spec.modules):
        found = sorted(map(str, modules)) if isinstance(modules, dict) else type(modules).__name__
        raise StageError(
            "factory",
            f"{spec.factory} must return a dict of torch modules named {sorted(spec.modules)}, it returned {found}",
        )
    return dict(modules)


def call_factory(spec: ModelSpec) -> Any:
    """Import the factory, a function or a class, and return what it returns. Raises StageError("factory")."""
    try:
        return import_factory(spec)()
    except StageError:
        raise
    except (Exception, SystemExit) as error:  # foreign code may raise any type
        advice = explain_import_error(spec, error) if isinstance(error, ImportError) else ""
        raise StageError("factory", f"{spec.factory} failed: {type(error).__name__}: {error}{advice}") from error


def read_program(spec: ModelSpec, name: str) -> torch.nn.Module:
    """Return the module of a .pt2 archive. Raises StageError("weights") where the file has another hash."""
    from hydramobile.pt2.archive import read_archive
    from hydramobile.pt2.net import net_of

    module = spec.modules[name]
    path = inside(spec.folder, module.program, STAGE)
    if path.is_file() and sha256_file(path) != module.program_sha256:
        raise StageError(STAGE, f"{path} is not the file that model.toml describes: its sha256 is another")
    return net_of(read_archive(path))


def normalize(spec: ModelSpec, name: str, module: torch.nn.Module) -> None:
    """Let the module compute (x - mean) / std per channel of each input that declares them.

    It is a hook, so that the names of the module's layers stay as they are; torch.export and tracing see its ops.
    """
    import torch

    constants: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for index, tensor in enumerate(map(spec.tensors.get, spec.modules[name].inputs)):
        if tensor is not None and tensor.mean:
            shape = [1, -1, *[1] * (len(tensor.shape) - 2)]
            constants[index] = (torch.tensor(tensor.mean).reshape(shape), (1 / torch.tensor(tensor.std)).reshape(shape))
    if not constants:
        return

    def prepare(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(
            (value - constants[index][0]) * constants[index][1] if index in constants else value
            for index, value in enumerate(inputs)
        )

    module.register_forward_pre_hook(prepare)


def as_tuple(outputs: Any) -> tuple[Any, ...]:
    """Return a module's outputs as a flat tuple: depth first, in the order in which the module wrote them.

    A mapping (a dict, Hugging Face's ModelOutput) gives its values, a dataclass its fields, a list or tuple its items.
    None is left out. Any other object is an output of its own.
    """
    if outputs is None:
        return ()
    if isinstance(outputs, Mapping):
        items: Iterable[Any] = outputs.values()
    elif is_dataclass(outputs) and not isinstance(outputs, type):
        items = (getattr(outputs, field.name) for field in fields(outputs))
    elif isinstance(outputs, tuple | list):
        items = outputs
    else:
        return (outputs,)
    return tuple(leaf for item in items for leaf in as_tuple(item))


def count_parameters(spec: ModelSpec) -> int:
    """Return the number of elements of the spec's weights file, from its header; 0 where it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(spec.folder / spec.weights_path, framework="numpy") as weights:
            return sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118 - no dict
    except (OSError, SafetensorError):
        return 0


def load_weights(spec: ModelSpec, modules: Mapping[str, torch.nn.Module]) -> None:
    """Fill `modules` strictly from the spec's safetensors file, whose keys are "<module>.<state_dict key>".

    Raises StageError("weights") when the file is missing, does not match its sha256, or does not fit the modules.
    """
    path = inside(spec.folder, spec.weights_path, STAGE)
    if not path.is_file():
        raise StageError(STAGE, f"{path} does not exist (model.toml of {spec.name!r} asks for it)")
    found = sha256_file(path)
    if found != spec.weights_sha256:
        raise StageError(STAGE, f"{path} has sha256 {found}, model.toml says {spec.weights_sha256}")
    fill(modules, path)


def fill(modules: Mapping[str, torch.nn.Module], path: Path) -> None:
    """Fill `modules` strictly from a safetensors file. Raises StageError("weights") when it does not fit them."""
    tensors = read_weights(path)
    unclaimed = [key for key in tensors if key.partition(".")[0] not in modules]
    if unclaimed:
        raise StageError(STAGE, f"{path}: {unclaimed[0]!r} belongs to no module (modules: {', '.join(modules)})")
    for name, module in modules.items():
        state = {key.partition(".")[2]: tensor for key, tensor in tensors.items() if key.partition(".")[0] == name}
        check_cast(path, name, module, state)
        try:
            module.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise StageError(STAGE, f"{path} does not fit module {name!r}: {error}") from error


def check_cast(path: Path, name: str, module: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Check the casts that `load_state_dict` makes silently, from the dtypes of the file to the module's.

    A float parameter takes floats that stay finite. A bool or integer buffer takes what keeps its value. Raises
    StageError("weights") for every other cast: int, bool or complex weights of a float parameter, a float64 of 1e300
    that float32 cannot hold.
    """
    import torch

    for key, wanted in module.state_dict().items():
        tensor = state.get(key)
        if tensor is None or not isinstance(wanted, torch.Tensor) or tensor.dtype == wanted.dtype:
            continue
        dtypes = [str(each.dtype).removeprefix("torch.") for each in (tensor, wanted)]
        where = f"{path}: {name}.{key} is {dtypes[0]}, and the module's is {dtypes[1]}"
        if tensor.is_complex() or (wanted.is_floating_point() and not tensor.is_floating_point()):
            raise StageError(STAGE, f"{where}; store it as {dtypes[1]}, so that the cast is deliberate")
        cast = tensor.to(wanted.dtype)
        if wanted.is_floating_point() and not bool(torch.isfinite(cast.float()).all()):
            raise StageError(STAGE, f"{where}, which cannot hold {float(tensor.double().abs().max()):g}")
        if not wanted.is_floating_point() and not bool((cast.double() == tensor.double()).all()):
            raise StageError(STAGE, f"{where}, which cannot hold all of its values")


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file. Raises StageError("weights") when it is unreadable or holds NaN or infinity."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if fault := checkpoint_fault(str(path)):
        raise StageError(STAGE, fault)
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise StageError(STAGE, f"{path} is not a readable safetensors file: {error}") from error
    for key, tensor in tensors.items():
        # torch has no isfinite for floats of 8 bits.
        finite = torch.isfinite(tensor.float() if tensor.element_size() == 1 else tensor)
        if tensor.is_floating_point() and not bool(finite.all()):
            raise StageError(STAGE, f"{path}: {key} holds NaN or infinite values")
    return tensors
