"""Structural pruning: rank channels by importance and slice the smaller net out of the weights.

Only channels that no layer outside their block reads are cut: the channels between the two 1x1 convolutions of an
encoder block, and the inner channels of a decoder. The features keep their shapes, so pruned and whole modules fit each
other.

The importance of a channel is the first-order estimate of the loss that its removal costs (Molchanov et al. 2017,
"Pruning Convolutional Neural Networks for Resource Efficient Inference"): the square of the mean over a photo of
activation x gradient of the loss, summed over photos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hydramobile.errors import UsageError
from reference.hydra import (
    FEATURE_CHANNELS,
    FEATURE_STRIDES,
    FULL_WIDTH,
    ConvNormAct,
    Decoder,
    Encoder,
    InvertedResidual,
)

# Channels are cut in groups of eight, the granularity of vector units and mobile kernels.
STEP = 8
# Every block keeps at least this share of its channels: training cannot restore a block that was closed.
LEAST_SHARE = 0.25
HEADS = ("depth", "segmentation")
Modules = Mapping[str, nn.Module]


@dataclass(frozen=True, slots=True)
class Kept:
    """The indices of the kept channels, ascending.

    `middles`: of each encoder block. `width` and `half`, per head: the inner channels of its decoder, and the channels
    that the decoder's last convolution reads.
    """

    middles: tuple[tuple[int, ...], ...]
    width: Mapping[str, tuple[int, ...]]
    half: Mapping[str, tuple[int, ...]]

    @property
    def shape(self) -> tuple[tuple[int, ...], int]:
        """Return (channels of each block, width of the decoders), the arguments of `reference.portrait.shaped`."""
        return tuple(map(len, self.middles)), len(self.width[HEADS[0]])


class Watch:
    """Accumulate the importance of the watched layers' output channels over any number of backward passes."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self.scores: dict[str, Tensor] = {}
        self._handles = [layer.register_forward_hook(self._hook(name)) for name, layer in layers.items()]

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if output.requires_grad:
                output.register_hook(lambda gradient: self._add(name, output.detach(), gradient))

        return record

    def _add(self, name: str, output: Tensor, gradient: Tensor) -> None:
        score = (output * gradient).mean((2, 3)).square().sum(0)
        self.scores[name] = self.scores.get(name, torch.zeros_like(score)) + score

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()


def watched(modules: Modules) -> dict[str, nn.Module]:
    """Return the layers whose output channels may be cut, by name: `block N`, `<head> width N`, `<head> half`."""
    layers: dict[str, nn.Module] = {f"block {i}": block.depthwise for i, block in enumerate(blocks(modules))}
    for head in HEADS:
        decoder = decoder_of(modules, head)
        layers |= {f"{head} width {i}": refine for i, refine in enumerate(decoder.refine)}
        layers[f"{head} half"] = decoder.smooth
    return layers


def importance(modules: Modules, losses: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return the score of every channel of `watched(modules)`, accumulated over `losses`."""
    watch = Watch(watched(modules))
    try:
        for loss in losses:
            for module in modules.values():
                module.zero_grad(set_to_none=True)
            loss.backward()
    finally:
        watch.close()
    return watch.scores


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most multiply-adds at `size` = (H, W) and the most parameters that the pruned net may have."""

    size: tuple[int, int]
    macs: float
    parameters: float


def choose(modules: Modules, scores: Mapping[str, Tensor], width: int, ceiling: Ceiling) -> Kept:
    """Choose the channels to keep so that the net is within `ceiling`, with decoders of `width` channels.

    Groups of STEP channels are removed in the order of importance over cost, until both limits hold.
    Raises UsageError, with the smallest reachable net, if they cannot hold.
    """
    if not 0 < width <= FULL_WIDTH or width % STEP:
        raise UsageError(f"a decoder's width is a multiple of {STEP} up to {FULL_WIDTH}, not {width}")
    wide = {h: best(torch.stack([scores[f"{h} width {i}"] for i in range(5)]).sum(0), width) for h in HEADS}
    half = {h: best(scores[f"{h} half"], width // 2) for h in HEADS}
    costs = block_costs(modules, ceiling.size)
    macs, parameters = head_costs(width, ceiling.size)
    fixed = encoder_rest(modules, ceiling.size)
    macs, parameters = macs + fixed[0], parameters + fixed[1]
    order = [torch.argsort(scores[f"block {i}"]) for i in range(len(costs))]
    kept = [len(o) for o in order]
    # Block 0 computes on the stem's channels, which other layers read.
    free = set(range(1, len(order)))
    while True:
        used = (
            macs + sum(n * cost[0] for n, cost in zip(kept, costs, strict=True)),
            parameters + sum(n * cost[1] for n, cost in zip(kept, costs, strict=True)),
        )
        if used[0] <= ceiling.macs and used[1] <= ceiling.parameters:
            break
        open_ = [i for i in free if kept[i] - STEP >= LEAST_SHARE * len(order[i])]
        if not open_:
            raise UsageError(f"the smallest reachable net has {used[0] / 1e6:.0f} MMAC and {used[1]:,.0f} parameters")

        def price(i: int) -> float:
            group = order[i][len(order[i]) - kept[i] :][:STEP]
            over = max(used[0] / ceiling.macs - 1, 0), max(used[1] / ceiling.parameters - 1, 0)  # noqa: B023  # called at once
            excess = costs[i][0] * over[0] / 1e6 + costs[i][1] * over[1]
            return float(scores[f"block {i}"][group].sum()) / max(excess * STEP, 1e-12)

        kept[min(open_, key=price)] -= STEP
    middles = tuple(tuple(sorted(o[len(o) - n :].tolist())) for o, n in zip(order, kept, strict=True))
    return Kept(middles, wide, half)


def best(scores: Tensor, count: int) -> tuple[int, ...]:
    """Return the indices of the `count` highest scores, ascending."""
    return tuple(sorted(torch.argsort(scores, descending=True)[:count].tolist()))


def block_costs(modules: Modules, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return (multiply-adds at `size`, parameters) of one middle channel of each block."""
    costs, side = [], size[0] * size[1] // 4
    for block in blocks(modules):
        conv = block.depthwise.conv
        after = side // (conv.stride[0] * conv.stride[1])
        taps = conv.kernel_size[0] * conv.kernel_size[1]
        inputs = block.expand.conv.in_channels if isinstance(block.expand, ConvNormAct) else 0
        outputs = block.project.conv.out_channels
        norms = 4 if inputs else 2
        costs.append((side * inputs + after * (taps + outputs), inputs + taps + outputs + norms))
        side = after
    return costs


def encoder_rest(modules: Modules, size: tuple[int, int]) -> tuple[int, int]:
    """Return (multiply-adds, parameters) of the encoder without its middle channels: stem and projections' norms."""
    encoder = modules["encoder"]
    assert isinstance(encoder, Encoder)
    stem = encoder.stem.conv.weight.numel()
    norms = 2 * (encoder.stem.conv.out_channels + sum(block.project.conv.out_channels for block in blocks(modules)))
    return size[0] * size[1] // 4 * stem, stem + norms


def head_costs(width: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return (multiply-adds, parameters) of both heads with decoders of `width` channels."""
    macs = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        assert isinstance(layer, nn.Conv2d)
        macs += layer.weight.numel() * output.shape[2] * output.shape[3]

    with torch.device("meta"):
        decoder = Decoder(width)
        for layer in decoder.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(count)
        features = [
            torch.zeros(1, channels, size[0] // stride, size[1] // stride)
            for channels, stride in zip(FEATURE_CHANNELS, FEATURE_STRIDES, strict=True)
        ]
        decoder(*features)
    return 2 * macs, 2 * sum(p.numel() for p in decoder.parameters())


def cut(modules: Modules, kept: Kept) -> dict[str, Tensor]:
    """Slice the pruned net's weights out of `modules`; keys as in a weights file."""
    tensors = {f"{n}.{k}": v.clone() for n, m in modules.items() for k, v in m.state_dict().items()}
    for number, middle in enumerate(kept.middles):
        prefix = f"encoder.blocks.{number}"
        if f"{prefix}.expand.conv.weight" in tensors:
            _rows(tensors, f"{prefix}.expand", middle)
        _rows(tensors, f"{prefix}.depthwise", middle)
        _columns(tensors, f"{prefix}.project.conv.weight", middle)
    for head in HEADS:
        wide, prefix = kept.width[head], f"{head}.decoder"
        for layer in (*(f"{prefix}.lateral.{i}" for i in range(5)), f"{prefix}.context"):
            for key in (f"{layer}.weight", f"{layer}.bias"):
                tensors[key] = tensors[key][list(wide)]
        decoder = decoder_of(modules, head)
        for name, chain in (*((f"refine.{i}", c) for i, c in enumerate(decoder.refine)), ("smooth", decoder.smooth)):
            assert isinstance(chain, nn.Sequential)
            for number in range(len(chain)):
                pointwise, last = number % 2 == 1, number == len(chain) - 1
                rows = kept.half[head] if name == "smooth" and last else wide
                _rows(tensors, f"{prefix}.{name}.{number}", rows)
                if pointwise:
                    _columns(tensors, f"{prefix}.{name}.{number}.conv.weight", wide)
        _columns(tensors, f"{prefix}.predict.weight", kept.half[head])
    return tensors


def blocks(modules: Modules) -> list[InvertedResidual]:
    encoder = modules["encoder"]
    assert isinstance(encoder, Encoder)
    return [block for block in encoder.blocks if isinstance(block, InvertedResidual)]


def decoder_of(modules: Modules, head: str) -> Decoder:
    decoder = modules[head].decoder
    assert isinstance(decoder, Decoder)
    return decoder


def _rows(tensors: dict[str, Tensor], layer: str, rows: Sequence[int]) -> None:
    """Keep output channels `rows` of a ConvNormAct."""
    for key in ("conv.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"):
        tensors[f"{layer}.{key}"] = tensors[f"{layer}.{key}"][list(rows)]


def _columns(tensors: dict[str, Tensor], key: str, columns: Sequence[int]) -> None:
    """Keep input channels `columns` of a kernel."""
    tensors[key] = tensors[key][:, list(columns)]
