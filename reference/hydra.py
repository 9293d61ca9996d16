"""A Hydra: one EfficientNet-Lite0 encoder and heads that each own their light decoder.

All modules are feed-forward and export with `torch.export` at any H and W that are multiples of 32: every upsampling
is by exactly 2 and no shape is read as a Python integer. All activations are ReLU6 and there is no squeeze-excite,
which keeps quantization and conversion simple.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

FEATURE_STRIDES = (2, 4, 8, 16, 32)
"""Stride of each feature map that the encoder returns, finest first."""

FEATURE_CHANNELS = (16, 24, 40, 112, 320)
"""Channels of each feature map that the encoder returns, finest first."""

# EfficientNet-Lite0: (output channels, repeats, kernel, stride of the first repeat) of each stage.
_STAGES = (
    (16, 1, 3, 1),
    (24, 2, 3, 2),
    (40, 2, 5, 2),
    (80, 3, 3, 2),
    (112, 3, 5, 1),
    (192, 4, 5, 2),
    (320, 1, 3, 1),
)
FULL_MIDDLES = (32, *(16 * 6, 24 * 6), *(24 * 6, 40 * 6), *(40 * 6, 80 * 6, 80 * 6), *(80 * 6, 112 * 6, 112 * 6),
                *(112 * 6, *(192 * 6,) * 3), 192 * 6)  # fmt: skip
"""Channels of each block's depthwise convolution in EfficientNet-Lite0."""

FULL_WIDTH = 48
"""Channels of a decoder."""

# Indices of the last block at each stride; their outputs are the features.
_TAPS = (0, 2, 4, 10, 15)

# Mean and standard deviation of ImageNet in RGB, with which the encoder's weights were trained.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class ConvNormAct(nn.Module):
    """A convolution without bias, a batch norm, and ReLU6 if `activation`; padding keeps H and W at stride 1."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, activation: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        # The epsilon of the ImageNet weights.
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        self.act = nn.ReLU6() if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.norm(self.conv(x)))
        return out


class InvertedResidual(nn.Module):
    """MBConv without squeeze-excite: expand 1x1 to `middle` channels, depthwise, project 1x1.

    The expansion is left out if `middle` equals `inputs`.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, middle: int) -> None:
        super().__init__()
        self.expand = ConvNormAct(inputs, middle, 1) if middle != inputs else nn.Identity()
        self.depthwise = ConvNormAct(middle, middle, kernel, stride=stride, groups=middle)
        self.project = ConvNormAct(middle, outputs, 1, activation=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + out if self.residual else out


class Encoder(nn.Module):
    """The EfficientNet-Lite0 trunk (Tan and Le, 2019; the Lite variant of the TPU repository), no classifier.

    The input is RGB in [0, 1], NCHW, H and W multiples of 32. The encoder normalises it with ImageNet's mean and
    standard deviation itself, so that no caller can forget to.
    The outputs are (f2, f4, f8, f16, f32) with FEATURE_CHANNELS channels at FEATURE_STRIDES.

    `middles` are the channels of each block's depthwise convolution. A pruned encoder has fewer; its features keep
    their shapes.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, middles: Sequence[int] = FULL_MIDDLES) -> None:
        super().__init__()
        # Constants of the architecture, not weights: they stay out of the state dict.
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", 1.0 / torch.tensor(_STD).reshape(1, 3, 1, 1), persistent=False)
        self.stem = ConvNormAct(3, 32, 3, stride=2)
        blocks: list[nn.Module] = []
        channels = 32
        for outputs, repeats, kernel, first_stride in _STAGES:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                blocks.append(InvertedResidual(channels, outputs, kernel, stride, middles[len(blocks)]))
                channels = outputs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        x = self.stem((image - self.mean) * self.scale)
        features: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in _TAPS:
                features.append(x)
        f2, f4, f8, f16, f32 = features
        return f2, f4, f8, f16, f32


class Decoder(nn.Module):
    """A feature pyramid of depthwise-separable convolutions: features to one raw map at the size of the photo.

    Each feature is projected to `width` channels. From the coarsest level to the finest, the map is refined, upsampled
    by 2 (nearest) and added to the next projection. The mean of f32 over the photo is added at the coarsest level as
    global context. The prediction has stride 2 and is upsampled by 2 bilinearly.

    The inputs are (f2, f4, f8, f16, f32), the output is (N, `outputs`, H, W), unbounded.
    """

    def __init__(self, width: int = FULL_WIDTH, bias: float = 0.0, outputs: int = 1) -> None:
        super().__init__()
        self.lateral = nn.ModuleList([nn.Conv2d(channels, width, 1) for channels in FEATURE_CHANNELS])
        self.context = nn.Conv2d(FEATURE_CHANNELS[-1], width, 1)
        # The two coarsest levels are cheap, so they get the larger kernel, twice.
        self.refine = nn.ModuleList([_separable(width, width, *shape) for shape in ((3, 1),) * 3 + ((5, 2),) * 2])
        self.smooth = _separable(width, width // 2, 3, 1)
        self.predict = nn.Conv2d(width // 2, outputs, 3, padding=1)
        assert self.predict.bias is not None
        nn.init.constant_(self.predict.bias, bias)

    def forward(self, f2: Tensor, f4: Tensor, f8: Tensor, f16: Tensor, f32: Tensor) -> Tensor:
        context = self.context(f32.mean(dim=(2, 3), keepdim=True))
        x: Tensor = self.refine[4](self.lateral[4](f32) + context)
        for level, feature in ((3, f16), (2, f8), (1, f4), (0, f2)):
            upsampled = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.refine[level](self.lateral[level](feature) + upsampled)
        raw: Tensor = self.predict(self.smooth(x))
        return functional.interpolate(raw, scale_factor=2.0, mode="bilinear", align_corners=False)


class DepthHead(nn.Module):
    """Relative depth of a portrait: clamp(d / 2, 0, 1), where d is disparity divided by the person's median disparity.

    The person's median is 0.5, and larger is nearer, linearly in disparity. The inputs are (f2, f4, f8, f16, f32), the
    output is (N, 1, H, W) in [0, 1]. `decoder` alone returns d, unclamped, for training.
    """

    def __init__(self, width: int = FULL_WIDTH) -> None:
        super().__init__()
        # Before training every pixel is just behind the person's median.
        self.decoder = Decoder(width, bias=0.8)

    def forward(self, f2: Tensor, f4: Tensor, f8: Tensor, f16: Tensor, f32: Tensor) -> Tensor:
        disparity: Tensor = self.decoder(f2, f4, f8, f16, f32)
        return (disparity * 0.5).clamp(0.0, 1.0)


class SegmentationHead(nn.Module):
    """The matte of the people in a portrait: alpha in [0, 1], 1 is person.

    The inputs are (f2, f4, f8, f16, f32), the output is (N, 1, H, W). `decoder` alone returns the logit, for training.
    """

    def __init__(self, width: int = FULL_WIDTH) -> None:
        super().__init__()
        self.decoder = Decoder(width)

    def forward(self, f2: Tensor, f4: Tensor, f8: Tensor, f16: Tensor, f32: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(f2, f4, f8, f16, f32))


class NormalsHead(nn.Module):
    """Surface normals of the people in a portrait, in camera space: x right, y up, z to the camera, of unit length.

    The inputs are (f2, f4, f8, f16, f32), the output is (N, 3, H, W) in [-1, 1]. Outside people it means nothing.
    `decoder` alone returns vectors of any length, for training.
    """

    def __init__(self, width: int = FULL_WIDTH) -> None:
        super().__init__()
        self.decoder = Decoder(width, outputs=3)
        assert self.decoder.predict.bias is not None
        # Before training every surface faces the camera.
        nn.init.constant_(self.decoder.predict.bias[2:], 1.0)

    def forward(self, f2: Tensor, f4: Tensor, f8: Tensor, f16: Tensor, f32: Tensor) -> Tensor:
        return unit(self.decoder(f2, f4, f8, f16, f32))


def unit(vectors: Tensor) -> Tensor:
    """Return `vectors` [N, 3, H, W] divided by their lengths. The floor of the length is a number of half precision."""
    return vectors * torch.rsqrt((vectors * vectors).sum(1, keepdim=True) + 1e-4)


def _separable(width: int, outputs: int, kernel: int, repeats: int) -> nn.Sequential:
    """Return `repeats` x (depthwise kxk, pointwise 1x1); the last pointwise has `outputs` channels."""
    layers: list[nn.Module] = []
    for repeat in range(repeats):
        last = outputs if repeat == repeats - 1 else width
        layers += [ConvNormAct(width, width, kernel, groups=width), ConvNormAct(width, last, 1)]
    return nn.Sequential(*layers)
