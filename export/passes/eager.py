"""Define the program of passes on eager PyTorch modules: the modules of a model before torch.export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class EagerModel:
    """Hold the modules of a model by name, and a function that runs them once on real inputs.

    `run` returns every tensor that enters, leaves or passes between the modules, by name. A pass runs it to observe
    which module reads which tensor. Passes replace submodules in place.
    """

    modules: Mapping[str, torch.nn.Module]
    run: Callable[[], Mapping[str, torch.Tensor]]

    def submodules(self) -> list[torch.nn.Module]:
        """Return every submodule once, in order of definition."""
        return list({id(child): child for module in self.modules.values() for child in module.modules()}.values())
