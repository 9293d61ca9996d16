"""Train and write weights.safetensors: python tests/nets/classifier/train.py (a minute on one core).

The task is synthetic and endless: a grating in one of five orientations, warm or cool, under noise and a
gradient. Prints the accuracy on fresh images and writes the weights and their sha256 into model.toml.
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
SIDE, BATCH, STEPS = 96, 32, 260


def batch(count: int, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `count` images in [0, 1] and their classes (orientation + 5 * warm)."""
    classes = torch.randint(0, 10, (count,), generator=random)
    angle = (classes % 5) * (torch.pi / 5) + 0.1 * torch.randn(count, generator=random)
    waves = 3 + 6 * torch.rand(count, generator=random)
    phase = 2 * torch.pi * torch.rand(count, generator=random)
    axis = torch.linspace(0, 1, SIDE)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    along = x * torch.cos(angle).view(-1, 1, 1) + y * torch.sin(angle).view(-1, 1, 1)
    grating = 0.5 + 0.35 * torch.sin(2 * torch.pi * waves.view(-1, 1, 1) * along + phase.view(-1, 1, 1))
    warm = torch.tensor([1.0, 0.7, 0.4])
    tint = torch.where((classes >= 5).view(-1, 1), warm, warm.flip(0)).view(-1, 3, 1, 1)
    tint = tint + 0.1 * torch.randn(count, 3, 1, 1, generator=random)
    slope = 0.3 * torch.randn(count, 1, 1, 1, generator=random) * (x - 0.5)
    noise = 0.08 * torch.randn(count, 3, SIDE, SIDE, generator=random)
    return (grating.unsqueeze(1) * tint + slope + noise).clamp(0, 1), classes


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(7)
    random = torch.Generator().manual_seed(7)
    modules = build()
    net = modules["classifier"]
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=STEPS)
    for step in range(STEPS):
        images, classes = batch(BATCH, random)
        loss = nn.functional.cross_entropy(net(images), classes, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 0:
            print(step, round(loss.item(), 3), flush=True)
    net.eval()
    with torch.no_grad():
        images, classes = batch(500, random)
        print("accuracy", (net(images).argmax(1) == classes).float().mean().item())
    tensors = {f"{name}.{key}": value for name, m in modules.items() for key, value in m.state_dict().items()}
    save_file(tensors, HERE / "weights.safetensors")
    (HERE / "weights.safetensors").chmod(0o644)
    found = hashlib.sha256((HERE / "weights.safetensors").read_bytes()).hexdigest()
    text = (HERE / "model.toml").read_text(encoding="utf-8")
    (HERE / "model.toml").write_text(re.sub(r'sha256 = "[0-9a-f]*"', f'sha256 = "{found}"', text), encoding="utf-8")


if __name__ == "__main__":
    main()
