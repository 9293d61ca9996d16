"""MIL ops that torch functions convert to: small nets, converted at float32, saved, evaluated, compared with PyTorch.

test_coreml_mil_ops.py has the ops that no torch function converts to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.runtimes.coreml_mil.evaluate import evaluate, prepare, round_to_half
from benchmarks.runtimes.coreml_mil.program import Function, load_function
from export.targets.coreml.vendor import load_coremltools

IMAGE = (1, 6, 9, 7)

# Vendors warn: coremltools leaves its temporary folders to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

# Cases per net: the time of a conversion grows little with the number of ops.
CASES_PER_NET = 20


@dataclass(frozen=True)
class Case:
    """`function` is a module or a function of tensors, `ops` are the MIL ops that the file must have."""

    name: str
    function: Callable[..., Tensor | tuple[Tensor, ...]]
    ops: str
    shapes: tuple[tuple[int, ...], ...] = (IMAGE,)
    low: float = -2.0
    high: float = 2.0


def seeded(module: nn.Module) -> nn.Module:
    """Set weights and running statistics to random numbers, away from their neutral defaults."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for value in module.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) * 0.8 + 0.1)
                value.sub_(0.0 if value.ndim == 1 else 0.5)
    return module.eval()


CASES = [
    # convolution
    Case("conv", nn.Conv2d(6, 8, 3, stride=2, padding=1), "conv"),
    Case("conv_1x1_strided", nn.Conv2d(6, 5, 1, stride=2, bias=False), "conv"),
    Case("conv_groups", nn.Conv2d(6, 9, 3, groups=3, padding=(2, 0)), "conv"),
    Case("conv_dilated", nn.Conv2d(6, 4, 3, dilation=2, padding=2), "conv"),
    Case("conv_depthwise", nn.Conv2d(6, 6, 5, groups=6, padding=2, stride=2), "conv"),
    Case("conv_depthwise_wide", nn.Conv2d(40, 40, (3, 2), groups=40, dilation=(1, 2)), "conv", ((2, 40, 9, 7),)),
    Case("conv_multiplier", nn.Conv2d(6, 12, 3, groups=6, padding=1), "conv"),
    Case("conv_same_even", nn.Conv2d(6, 4, 4, padding="same"), "conv"),
    Case("conv_asymmetric", lambda x: F.conv2d(F.pad(x, (0, 1, 2, 0)), torch.ones(3, 6, 3, 3) * 0.1), "conv"),
    Case("conv_1d", nn.Conv1d(6, 4, 3, padding=1, stride=2), "conv", ((2, 6, 11),)),
    Case("conv_3d", nn.Conv3d(2, 3, 3, padding=1), "conv", ((1, 2, 5, 6, 4),)),
    Case("conv_transpose", nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1), "conv_transpose"),
    Case("conv_transpose_output", nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1), "conv_transpose"),
    Case("conv_transpose_groups", nn.ConvTranspose2d(6, 4, 4, stride=2, groups=2, bias=False), "conv_transpose"),
    Case("conv_transpose_dilated", nn.ConvTranspose2d(6, 4, 3, dilation=2), "conv_transpose"),
    Case("conv_transpose_1d", nn.ConvTranspose1d(6, 4, 4, stride=3, padding=1), "conv_transpose", ((1, 6, 8),)),
    # matrix products
    Case("linear", nn.Linear(7, 5), "linear"),
    Case("matmul", lambda x, y: x @ y, "matmul", ((2, 3, 4, 5), (2, 3, 5, 6))),
    Case("matmul_transposed", lambda x, y: x @ y.transpose(-1, -2), "matmul", ((2, 4, 5), (2, 6, 5))),
    Case("einsum", lambda x, y: torch.einsum("nchw,nwqh->ncqh", x, y), "matmul", ((2, 3, 4, 5), (2, 5, 6, 4))),
    Case("attention", lambda q, k, v: F.scaled_dot_product_attention(q, k, v), "softmax matmul", ((2, 3, 5, 8),) * 3),
    # normalization
    Case("batch_norm", nn.BatchNorm2d(6), "batch_norm"),
    Case("batch_norm_plain", nn.BatchNorm1d(6, affine=False), "mul sub", ((2, 6, 5),)),
    Case("instance_norm", nn.InstanceNorm2d(6, affine=True), "instance_norm"),
    Case("layer_norm", nn.LayerNorm(7), "layer_norm"),
    Case("layer_norm_two_axes", nn.LayerNorm((9, 7), eps=1e-3), "layer_norm"),
    Case("group_norm", nn.GroupNorm(3, 6), "reduce_mean"),
    Case("normalize", lambda x: F.normalize(x, dim=1), "reduce_l2_norm"),
    Case("local_response_norm", nn.LocalResponseNorm(3, alpha=0.1), "avg_pool pow"),
    # pooling
    Case("max_pool", nn.MaxPool2d(3, 2, padding=1), "max_pool"),
    Case("max_pool_ceil", nn.MaxPool2d(2, 2, ceil_mode=True), "max_pool"),
    Case("max_pool_1d", nn.MaxPool1d(3, 2), "max_pool", ((1, 6, 11),)),
    Case("avg_pool", nn.AvgPool2d(3, 2, padding=1), "avg_pool"),
    Case("avg_pool_exclude", nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), "avg_pool"),
    Case("avg_pool_ceil", nn.AvgPool2d(3, 2, ceil_mode=True), "avg_pool", ((1, 6, 10, 8),)),
    Case("avg_pool_ceil_pad", nn.AvgPool2d(4, 3, padding=1, ceil_mode=True), "avg_pool", ((1, 6, 12, 9),)),
    Case("avg_pool_3d", nn.AvgPool3d(2), "avg_pool", ((1, 2, 4, 6, 4),)),
    Case("adaptive_one", nn.AdaptiveAvgPool2d(1), "reduce_mean"),
    Case("adaptive_three", nn.AdaptiveAvgPool2d((3, 2)), "avg_pool", ((1, 6, 9, 8),)),
    # activations
    Case("relu", F.relu, "relu"),
    Case("relu6", F.relu6, "relu6"),
    Case("prelu", nn.PReLU(6), "prelu"),
    Case("leaky_relu", lambda x: F.leaky_relu(x, 0.1), "leaky_relu"),
    Case("elu", lambda x: F.elu(x, 0.7), "elu"),
    Case("selu", F.selu, "elu"),
    Case("silu", F.silu, "silu"),
    Case("gelu", F.gelu, "gelu"),
    Case("hard_sigmoid", F.hardsigmoid, "sigmoid_hard"),
    Case("hard_swish", F.hardswish, "sigmoid_hard", low=-5, high=5),
    Case("hardtanh", lambda x: F.hardtanh(x, -0.5, 1.5), "clip"),
    Case("softplus", F.softplus, "softplus"),
    Case("softplus_beta", lambda x: F.softplus(x, beta=2.0), "softplus_parametric"),
    Case("softsign", F.softsign, "abs real_div"),
    Case("mish", F.mish, "softplus tanh"),
    Case("sigmoid", torch.sigmoid, "sigmoid", low=-30, high=30),
    Case("softmax", lambda x: F.softmax(x, dim=1), "softmax"),
    Case("log_softmax", lambda x: F.log_softmax(x, dim=-1), "softmax log"),
    Case("threshold", lambda x: F.threshold(x, 0.5, 0.5), "threshold"),
    Case("glu", lambda x: F.glu(x, dim=1), "split sigmoid"),
    # elementwise
    Case("sin_cos_tan", lambda x: torch.sin(x) + torch.cos(x) * torch.tan(x / 2), "sin cos tan"),
    Case("hyperbolic", lambda x: torch.sinh(x) + torch.cosh(x) - torch.tanh(x), "sinh cosh tanh"),
    Case("inverse_trig", lambda x: torch.asin(x) + torch.acos(x) + torch.atan(x), "asin acos atan", low=-0.9, high=0.9),
    Case("atanh", torch.atanh, "atanh", low=-0.9, high=0.9),
    Case("exp_log", lambda x: torch.exp(x) + torch.log(x), "exp log", low=0.1),
    Case("exp2", torch.exp2, "exp2"),
    Case("sqrt_rsqrt", lambda x: torch.sqrt(x) + torch.rsqrt(x), "sqrt rsqrt", low=0.1),
    Case("square_abs", lambda x: torch.square(x) - torch.abs(x), "abs"),
    Case("rounding", lambda x: torch.floor(x) + torch.ceil(x) * 0.5 + torch.round(x) * 0.25, "floor ceil round"),
    Case("sign_erf", lambda x: torch.sign(x) * torch.erf(x * 3), "sign erf"),
    Case("arithmetic", lambda x, y: (x + y) * (x - y) / (y + 5), "add mul sub real_div", (IMAGE, (1, 6, 1, 1))),
    Case("pow", lambda x: torch.pow(x, 1.7), "pow", low=0.1),
    Case("floor_divide", lambda x, y: torch.floor_divide(x, y), "floor_div", (IMAGE, IMAGE), low=0.5, high=9),
    Case("remainder", lambda x: torch.remainder(x, 0.7), "floor_div"),
    Case("extremes", lambda x, y: torch.maximum(x, y) - torch.minimum(x, y * 2), "maximum minimum", (IMAGE, IMAGE)),
    Case("clamp", lambda x: torch.clamp(x, -0.5, 0.7), "clip"),
    # comparison and selection
    Case("where", lambda x, y: torch.where(x > y, x, y * 2), "greater select", (IMAGE, IMAGE)),
    Case(
        "compare",
        lambda x, y: sum(m.float() * w for w, m in enumerate((x < y, x <= y, x >= y, x == y, x != y), 1)),
        "less less_equal greater_equal equal not_equal",
        (IMAGE, IMAGE),
    ),
    Case(
        "logic",
        lambda x, y: torch.logical_xor(
            torch.logical_or(torch.logical_and(x > 0, y > 0), torch.logical_not(x > 1)), y < 0
        ).float(),
        "logical_and logical_or logical_not logical_xor cast",
        (IMAGE, IMAGE),
    ),
    Case("masked_fill", lambda x: x.masked_fill(x > 0.5, -1.0), "select"),
    Case("index_select", lambda x: x[:, torch.tensor([3, 0, 0, 5])], "gather"),
    Case("gather", lambda x: torch.gather(x, 3, torch.argsort(x, dim=3)), "gather_along_axis argsort"),
    Case("embedding", lambda x: F.embedding((x > 0).int() + 2, torch.arange(12.0).reshape(4, 3)), "gather"),
    Case("topk", lambda x: torch.topk(x, 3, dim=2).values, "topk"),
    Case("one_hot", lambda x: F.one_hot((x > 0).long(), 3).float(), "one_hot"),
    # reductions
    Case("mean_sum", lambda x: x.mean((2, 3), keepdim=True) + x.sum(1, keepdim=True), "reduce_mean reduce_sum"),
    Case("max_min", lambda x: x.amax((1, 2)) - x.amin((1, 2)), "reduce_max reduce_min"),
    Case("norms", lambda x: x.norm(dim=1) + x.norm(p=1, dim=1), "reduce_l2_norm reduce_sum"),
    Case("argmax", lambda x: x.argmax(1).float() + x.argmin(1).float() * 10, "reduce_argmax reduce_argmin"),
    Case("log_sum_exp", lambda x: torch.logsumexp(x, (2, 3)), "reduce_log_sum_exp"),
    Case("variance", lambda x: x.var((2, 3), keepdim=True), "reduce_mean"),
    Case("cumsum", lambda x: torch.cumsum(x, 2), "cumsum"),
    # resize
    Case("nearest_double", lambda x: F.interpolate(x, scale_factor=2), "upsample_nearest_neighbor"),
    Case("nearest_odd", lambda x: F.interpolate(x, size=(20, 17)), "upsample_nearest_neighbor"),
    Case("nearest_down", lambda x: F.interpolate(x, size=(6, 4)), "upsample_nearest_neighbor"),
    Case("bilinear_double", lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"), "upsample_bilinear"),
    Case(
        "bilinear_corners",
        lambda x: F.interpolate(x, (20, 17), mode="bilinear", align_corners=True),
        "upsample_bilinear",
    ),
    Case("bilinear_odd", lambda x: F.interpolate(x, (20, 17), mode="bilinear"), "upsample_bilinear"),
    Case("bilinear_down", lambda x: F.interpolate(x, (4, 5), mode="bilinear"), "upsample_bilinear"),
    Case("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), "pixel_shuffle", ((1, 8, 3, 5),)),
    Case("pixel_unshuffle", lambda x: F.pixel_unshuffle(x, 2), "pixel_unshuffle", ((1, 3, 6, 4),)),
    # layout
    Case("pad_constant", lambda x: F.pad(x, (1, 2, 0, 3), value=0.5), "pad"),
    Case("pad_reflect", lambda x: F.pad(x, (1, 2, 0, 3), mode="reflect"), "pad"),
    Case("pad_replicate", lambda x: F.pad(x, (1, 2, 0, 3), mode="replicate"), "pad"),
    Case("slice", lambda x: x[:, 1:5:2, -4:, 2], "slice_by_index"),
    Case("flip", lambda x: torch.flip(x, (2, 3)), "reverse"),
    Case("split", lambda x: torch.split(x, [2, 1, 3], 1), "split"),
    Case("chunk_concat", lambda x: torch.cat(list(reversed(x.chunk(3, 1))), 2), "split concat"),
    Case("stack", lambda x, y: torch.stack([x, y], 2), "stack", (IMAGE, IMAGE)),
    Case("tile", lambda x: x.repeat(1, 2, 1, 3), "tile"),
    Case("expand", lambda x: x[:, :1].expand(1, 4, 9, 7) * 1.5, "tile"),
    Case("squeeze", lambda x: x.squeeze(0).sin().unsqueeze(2), "squeeze expand_dims"),
    Case("transpose", lambda x: x.permute(0, 2, 3, 1).flatten(1, 2), "transpose reshape"),
    Case("tril", lambda x: torch.tril(x, 1), "band_part"),
    Case("roll", lambda x: torch.roll(x, 2, 3), "gather"),
    # sampling at computed coordinates
    *(
        Case(
            f"sample_{mode}_{padding}{'_corners' * corners}",
            partial(F.grid_sample, mode=mode, padding_mode=padding, align_corners=corners),
            "resample",
            (IMAGE, (1, 5, 4, 2)),
            low=-1.6,
            high=1.6,
        )
        for mode, padding in (
            ("bilinear", "zeros"),
            ("bilinear", "border"),
            ("bilinear", "reflection"),
            ("nearest", "zeros"),
        )
        for corners in (False, True)
    ),
]


@dataclass(frozen=True)
class Group:
    """The cases of one net, with the outputs of the evaluator and of PyTorch by name."""

    function: Function
    outputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]


class Net(nn.Module):
    """Run all cases side by side. Case 3 reads in3_0, in3_1, ... and returns out3_0, ..."""

    def __init__(self, cases: list[Case]) -> None:
        super().__init__()
        self.parts = [
            seeded(case.function) if isinstance(case.function, nn.Module) else case.function for case in cases
        ]
        self.counts = [len(case.shapes) for case in cases]
        self.weights = nn.ModuleList(part for part in self.parts if isinstance(part, nn.Module))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs: list[Tensor] = []
        for part, count in zip(self.parts, self.counts, strict=True):
            result = part(*inputs[:count])
            outputs += result if isinstance(result, tuple) else (result,)
            inputs = inputs[count:]
        return tuple(outputs)


def build(cases: list[Case], folder: Path) -> Group:
    ct = load_coremltools()
    generator = torch.Generator().manual_seed(3)
    inputs: dict[str, Tensor] = {}
    expected: dict[str, Tensor] = {}
    net = Net(cases).eval()
    for index, case in enumerate(cases):
        examples = [torch.rand(shape, generator=generator) * (case.high - case.low) + case.low for shape in case.shapes]
        inputs |= {f"in{index}_{i}": tensor for i, tensor in enumerate(examples)}
        with torch.no_grad():
            result = net.parts[index](*examples)
        expected |= {f"out{index}_{i}": t for i, t in enumerate(result if isinstance(result, tuple) else (result,))}
    with torch.no_grad():
        exported = torch.export.export(net, tuple(inputs.values()), strict=False).run_decompositions({})
    model = ct.convert(
        exported,
        inputs=[ct.TensorType(name=name, shape=tuple(tensor.shape)) for name, tensor in inputs.items()],
        outputs=[ct.TensorType(name=name) for name in expected],
        compute_precision=ct.precision.FLOAT32,
        minimum_deployment_target=ct.target.iOS16,
        skip_model_load=True,
    )
    model.save(str(folder / "net.mlpackage"))
    function = load_function(folder / "net.mlpackage", None)
    outputs = evaluate(prepare(function), {name: tensor.numpy() for name, tensor in inputs.items()})
    return Group(function, outputs, {name: tensor.detach().numpy() for name, tensor in expected.items()})


def ops_behind(function: Function, outputs: set[str]) -> set[str]:
    """Return the types of the ops that `outputs` depend on."""
    values = {function.outputs[name] for name in outputs}
    types = set()
    for op in reversed(function.operations):
        if values & {name for name, _ in op.outputs}:
            types.add(op.type)
            for argument in op.arguments.values():
                values |= (
                    {argument} if isinstance(argument, str) else set(argument) if isinstance(argument, tuple) else set()
                )
    return types


@pytest.fixture(scope="module")
def groups() -> dict[int, Group]:
    return {}


@pytest.mark.parametrize("index", range(len(CASES)), ids=[case.name for case in CASES])
def test_converted_op(index: int, groups: dict[int, Group], tmp_path: Path) -> None:
    number, position = divmod(index, CASES_PER_NET)
    if number not in groups:
        groups[number] = build(CASES[number * CASES_PER_NET : (number + 1) * CASES_PER_NET], tmp_path)
    group = groups[number]
    names = {name for name in group.expected if name.startswith(f"out{position}_")}
    assert set(CASES[index].ops.split()) <= ops_behind(group.function, names)
    for name in names:
        output, expected = group.outputs[name].astype(np.float64), group.expected[name].astype(np.float64)
        assert output.shape == expected.shape
        assert np.abs(output - expected).max() <= 1e-5 * max(1.0, float(np.abs(expected).max()))


def test_round_to_half_is_a_cast() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate(
        [
            rng.normal(size=1000) * 10.0 ** rng.integers(-9, 5, 1000),
            [0.0, -0.0, 1.00048828125, 1.0014648437, 2.0**-14, 2.0**-25, 3 * 2.0**-25, 65519.0, -65504.0],
        ]
    ).astype(np.float32)
    expected = values.astype(np.float16).astype(np.float32)
    assert np.array_equal(round_to_half(values), expected)
    assert np.array_equal(np.signbit(round_to_half(values)), np.signbit(expected))
    assert np.isinf(round_to_half(np.array([70000.0], np.float32))).all()
