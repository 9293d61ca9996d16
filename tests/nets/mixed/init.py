"""Write weights.safetensors: python tests/nets/mixed/init.py.

Seeded, not trained: orthogonal weights keep the signal's size from layer to layer, random biases and norms make
every constant matter, and the last layer is scaled so that the maps fill [0, 1].
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch
from net import build  # a script runs with its own folder on the path
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(11)
    modules = build()
    for module in modules.values():
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                nn.init.orthogonal_(layer.weight, 1.6)
                nn.init.normal_(layer.bias, 0, 0.2)
            elif isinstance(layer, nn.GroupNorm | nn.LayerNorm):
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.normal_(layer.bias, 0, 0.2)
    last = modules["paint"].last
    last.weight.data *= 2.0 / last.weight.data.norm()
    tensors = {f"{name}.{key}": value for name, m in modules.items() for key, value in m.state_dict().items()}
    save_file(tensors, HERE / "weights.safetensors")
    (HERE / "weights.safetensors").chmod(0o644)
    found = hashlib.sha256((HERE / "weights.safetensors").read_bytes()).hexdigest()
    text = (HERE / "model.toml").read_text(encoding="utf-8")
    (HERE / "model.toml").write_text(re.sub(r'sha256 = "[0-9a-f]*"', f'sha256 = "{found}"', text), encoding="utf-8")


if __name__ == "__main__":
    main()
