"""A net for sound: 0.2 s at 16 kHz to the scores of four words."""

import torch
from torch import nn


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, 16, 25, 4), nn.ReLU(), nn.Conv1d(16, 32, 9, 4), nn.BatchNorm1d(32), nn.ReLU()
        )
        self.head = nn.Linear(32, 4)

    def forward(self, wave):
        return self.head(self.layers(wave).amax(-1))


def build():
    torch.manual_seed(3)
    return Words()
