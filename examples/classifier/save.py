"""Write net.pt2: a seeded classifier in the style of a mobile net, as torch.export saves any net."""

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, channels, outputs, stride):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.gate = nn.Conv2d(channels, channels, 1)
        self.pointwise = nn.Conv2d(channels, outputs, 1, bias=False)
        self.norm_out = nn.BatchNorm2d(outputs)

    def forward(self, x):
        x = F.hardswish(self.norm(self.depthwise(x)))
        x = x * F.hardsigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)))
        return self.norm_out(self.pointwise(x))


class Classifier(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(Block(16, 24, 2), Block(24, 40, 2), Block(40, 64, 2))
        self.head = nn.Linear(64, classes)

    def forward(self, image):
        x = self.blocks(F.hardswish(self.norm(self.stem(image))))
        return {"scores": self.head(x.mean((2, 3)))}


def main():
    torch.manual_seed(1)
    net = Classifier()
    with torch.no_grad():  # the norms' statistics; a trained net has its own
        for _ in range(8):
            net(torch.rand(16, 3, 96, 96) * torch.rand(16, 3, 1, 1))
    program = torch.export.export(net.eval(), (torch.rand(1, 3, 96, 96),))
    torch.export.save(program, "net.pt2")


if __name__ == "__main__":
    main()
