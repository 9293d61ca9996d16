"""Structural pruning: which channels carry least, and the smaller net without them.

Only channels that nothing outside their block sees are cut: those between the two 1x1 convolutions of an encoder
block, and those a decoder works in. The features keep their shapes, so pruned and whole parts fit each other.

How much a channel carries is the first-order estimate of what its absence costs (Molchanov et al. 2017, "Pruning
Convolutional Neural Networks for Resource Efficient Inference"): the square of the mean over a photo of
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

# Channels are cut in groups of eight: what vector units and mobile kernels work in.
STEP = 8
# No block falls under this share of its channels: a closed one cannot be trained open again.
LEAST_SHARE = 0.25
HEADS = ("depth", "segmentation")
Modules = Mapping[str, nn.Module]


@dataclass(frozen=True, slots=True)
class Kept:
    """Which channels stay, in ascending order: of each encoder block, and of each head's decoder: the `width` it works
    in and the `half` its last convolution reads."""

    middles: tuple[tuple[int, ...], ...]
    width: Mapping[str, tuple[int, ...]]
    half: Mapping[str, tuple[int, ...]]

    @property
    def shape(self) -> tuple[tuple[int, ...], int]:
        """(channels of each block, width of the decoders), as `reference.portrait.shaped` takes them."""
        return tuple(map(len, self.middles)), len(self.width[HEADS[0]])


class Watch:
    """Collects the importance of the channels that the watched layers give, over any number of backward passes."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self.scores: dict[str, Tensor] = {}
        self._handles = [layer.register_forward_hook(self._hook(name)) for name, layer in layers.items()]

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if output.requires_grad:
                output.register_hook(lambda gradient: self._add(name, output.detach(), gradient))

        return note

    def _add(self, name: str, output: Tensor, gradient: Tensor) -> None:
        score = (output * gradient).mean((2, 3)).square().sum(0)
        self.scores[name] = self.scores.get(name, torch.zeros_like(score)) + score

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()


def watched(modules: Modules) -> dict[str, nn.Module]:
    """The layers whose output channels may be cut, by name: `block N`, `<head> width N`, `<head> half`."""
    layers: dict[str, nn.Module] = {f"block {i}": block.depthwise for i, block in enumerate(blocks(modules))}
    for head in HEADS:
        decoder = decoder_of(modules, head)
        layers |= {f"{head} width {i}": refine for i, refine in enumerate(decoder.refine)}
        layers[f"{head} half"] = decoder.smooth
    return layers


def importance(modules: Modules, losses: Iterable[Tensor]) -> dict[str, Tensor]:
    """The score of every channel of `watched`, over losses of `modules` on some batches."""
    watch = Watch(watched(modules))
    try:
        for loss in losses:
            for module in modules.values():
                module.zero_grad(set_to_none=True)
            loss.backward()
    finally:
        watch.close()
    return watch.scores


def choose(
    modules: Modules, scores: Mapping[str, Tensor], size: tuple[int, int], width: int, most: tuple[float, float]
) -> Kept:
    """The channels to keep so that the net has at most `most` = (multiply-adds at `size`, parameters).

    Groups of STEP channels leave in the order of importance over what they cost, until both are reached.
    Raises UsageError when they cannot be, with the least that can.
    """
    if not 0 < width <= FULL_WIDTH or width % STEP:
        raise UsageError(f"a decoder's width is a multiple of {STEP} up to {FULL_WIDTH}, not {width}")
    wide = {h: best(torch.stack([scores[f"{h} width {i}"] for i in range(5)]).sum(0), width) for h in HEADS}
    half = {h: best(scores[f"{h} half"], width // 2) for h in HEADS}
    costs = block_costs(modules, size)
    macs, parameters = head_costs(width, size)
    fixed = encoder_rest(modules, size)
    macs, parameters = macs + fixed[0], parameters + fixed[1]
    order = [torch.argsort(scores[f"block {i}"]) for i in range(len(costs))]
    kept = [len(o) for o in order]
    # Block 0 works in the stem's channels: they are not its own.
    free = set(range(1, len(order)))
    while True:
        used = (
            macs + sum(n * cost[0] for n, cost in zip(kept, costs, strict=True)),
            parameters + sum(n * cost[1] for n, cost in zip(kept, costs, strict=True)),
        )
        if used[0] <= most[0] and used[1] <= most[1]:
            break
        open_ = [i for i in free if kept[i] - STEP >= LEAST_SHARE * len(order[i])]
        if not open_:
            raise UsageError(f"the least that can be reached is {used[0] / 1e6:.0f} MMAC and {used[1]:,.0f} parameters")

        def price(i: int) -> float:
            group = order[i][len(order[i]) - kept[i] :][:STEP]
            excess = costs[i][0] * max(used[0] / most[0] - 1, 0) / 1e6 + costs[i][1] * max(used[1] / most[1] - 1, 0)  # noqa: B023  # called at once
            return float(scores[f"block {i}"][group].sum()) / max(excess * STEP, 1e-12)

        kept[min(open_, key=price)] -= STEP
    middles = tuple(tuple(sorted(o[len(o) - n :].tolist())) for o, n in zip(order, kept, strict=True))
    return Kept(middles, wide, half)


def best(scores: Tensor, count: int) -> tuple[int, ...]:
    """The numbers of the `count` highest scores, ascending."""
    return tuple(sorted(torch.argsort(scores, descending=True)[:count].tolist()))


def block_costs(modules: Modules, size: tuple[int, int]) -> list[tuple[int, int]]:
    """(multiply-adds at `size`, parameters) of one middle channel of each block."""
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
    """(multiply-adds, parameters) of the encoder that no middle channel costs: the stem and the projections' norms."""
    encoder = modules["encoder"]
    assert isinstance(encoder, Encoder)
    stem = encoder.stem.conv.weight.numel()
    norms = 2 * (encoder.stem.conv.out_channels + sum(block.project.conv.out_channels for block in blocks(modules)))
    return size[0] * size[1] // 4 * stem, stem + norms


def head_costs(width: int, size: tuple[int, int]) -> tuple[int, int]:
    """(multiply-adds, parameters) of both heads with decoders of `width` channels."""
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
    """The pruned net's weights, keys as in a weights file: slices of those of `modules`."""
    made = {f"{n}.{k}": v.clone() for n, m in modules.items() for k, v in m.state_dict().items()}
    for number, middle in enumerate(kept.middles):
        prefix = f"encoder.blocks.{number}"
        if f"{prefix}.expand.conv.weight" in made:
            _rows(made, f"{prefix}.expand", middle)
        _rows(made, f"{prefix}.depthwise", middle)
        _columns(made, f"{prefix}.project.conv.weight", middle)
    for head in HEADS:
        wide, prefix = kept.width[head], f"{head}.decoder"
        for layer in (*(f"{prefix}.lateral.{i}" for i in range(5)), f"{prefix}.context"):
            for key in (f"{layer}.weight", f"{layer}.bias"):
                made[key] = made[key][list(wide)]
        decoder = decoder_of(modules, head)
        for name, chain in (*((f"refine.{i}", c) for i, c in enumerate(decoder.refine)), ("smooth", decoder.smooth)):
            assert isinstance(chain, nn.Sequential)
            for number in range(len(chain)):
                pointwise, last = number % 2 == 1, number == len(chain) - 1
                rows = kept.half[head] if name == "smooth" and last else wide
                _rows(made, f"{prefix}.{name}.{number}", rows)
                if pointwise:
                    _columns(made, f"{prefix}.{name}.{number}.conv.weight", wide)
        _columns(made, f"{prefix}.predict.weight", kept.half[head])
    return made


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
