"""Arguments of common ops that a converter refuses or gets wrong: every target's file is compared with PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hydramobile.targets import TARGETS
from support.emit import beyond, emit_run_compare
from support.programs import Cases, ops_program

# Vendors' warnings: coremltools leaves its temporary folders to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]
LIMIT = 1e-4
MAPS, SMALL = (2, 6, 11, 14), (2, 3, 6, 7)


def row(layer: nn.Module) -> nn.Module:
    """Apply a layer of rows [N, C, L] to the first row of maps [N, C, H, W]."""

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.layer(x[:, :, 0])
            return output

    return First()


def tenths(x: Tensor) -> Tensor:
    """Return floats such as 0.5, whose float32 quotient by 0.1 is rounded across a whole number.

    By a product: TensorFlow divides by a constant with a product, and rounds 3 / 10 in another way.
    """
    return (x * 10).long().float() * 0.1


def positions(x: Tensor, kernel: int, stride: int, padding: int = 0, dilation: int = 1, ceil: bool = False) -> Tensor:
    _, indices = F.max_pool2d(x, kernel, stride, padding, dilation, ceil, return_indices=True)
    return indices.float()


RESIZES: Cases = {
    "antialias_per_axis": lambda x: F.interpolate(x, scale_factor=(0.6, 1.3), mode="bilinear", antialias=True),
    "antialias_down": lambda x: F.interpolate(x, scale_factor=0.37, mode="bicubic", antialias=True),
    "antialias_size": lambda x: F.interpolate(x, size=(5, 20), mode="bilinear", antialias=True),
    "antialias_corners": lambda x: F.interpolate(x, size=(5, 20), mode="bilinear", antialias=True, align_corners=True),
    "of_rows": lambda x: F.interpolate(x[:, :, 0], scale_factor=1.7, mode="linear"),
    "to_one_row": lambda x: F.interpolate(x, size=(1, 9), mode="bilinear", align_corners=True),
}
TRANSPOSED: Cases = {
    "beyond": nn.ConvTranspose2d(6, 6, (3, 4), (3, 2), (0, 1), (2, 0), groups=6),
    "beyond_unpadded": nn.ConvTranspose2d(6, 5, 3, 3, 0, 2),
    "beyond_in_groups": nn.ConvTranspose2d(6, 4, (3, 2), (2, 3), (1, 0), (1, 2), groups=2),
    "stride_three": nn.ConvTranspose2d(6, 4, 3, 3, 1, 1),
    "rows": row(nn.ConvTranspose1d(6, 4, 10, 5, 3, 1)),
    "rows_beyond": row(nn.ConvTranspose1d(6, 4, 2, 3, 0, 2)),
    "rows_dilated": row(nn.ConvTranspose1d(6, 4, 5, 3, 1, 2, dilation=2)),
    "rows_dilated_in_groups": row(nn.ConvTranspose1d(6, 9, 5, 3, 1, 2, groups=3, dilation=2)),
    "rows_without_bias": row(nn.ConvTranspose1d(6, 4, 7, 4, 2, 3, bias=False)),
    "same_rows": row(nn.Conv1d(6, 4, 4, padding="same", dilation=3, groups=2)),
    "same_odd_rows": row(nn.Conv1d(6, 4, 3, padding="same")),
    "same_even": nn.Conv2d(6, 4, (2, 4), padding="same", dilation=(3, 1)),
}
POOLS: Cases = {
    "ceil_along_one_axis": lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
    "ceil_along_the_other": lambda x: F.max_pool2d(x, (2, 2), 2, ceil_mode=True),
    "ceil_padded": lambda x: F.max_pool2d(x - 5, (3, 2), (2, 3), (1, 0), ceil_mode=True),
    "ceil_skips_a_window": lambda x: F.max_pool2d(x[:, :, :2, :2] - 3, 3, 3, 1, 1, True),
    "default_stride": lambda x: F.max_pool2d(F.pad(x, (1, 1, 1, 1), "circular"), 2),
    "default_stride_of_rows": lambda x: F.max_pool1d(x[:, :, 0], 3),
    "default_stride_average": lambda x: F.avg_pool2d(x, 2),
    "dilated_rows": lambda x: F.max_pool1d(x[:, :, 0], 3, 2, 1, 2),
    "without_batch": lambda x: F.max_pool2d(x[0], 3, 2),
    "average_without_batch": lambda x: F.avg_pool2d(x[0], 3, 2),
    "adaptive_up": lambda x: F.adaptive_avg_pool2d(x, (17, 20)),
}
POSITIONS: Cases = {
    "overlapping": lambda x: positions(x, 3, 1, 1),
    "tiling": lambda x: positions(x, 2, 2),
    "ceil": lambda x: positions(x, 3, 2, 1, ceil=True),
    "dilated": lambda x: positions(x, 2, 1, 0, 2),
    "of_equal_elements": lambda x: positions(x.round(), 3, 2, 1),
    "of_zeros": lambda x: positions(x * 0, 3, 2, 1),
    "values": lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 0), return_indices=True)[0],
    "rows": lambda x: F.max_pool1d(x[:, :, 0], 3, 2, 1, return_indices=True)[1].float(),
    "adaptive": lambda x: F.adaptive_max_pool2d(x, (4, 3), return_indices=True)[1].float(),
    "adaptive_rows": lambda x: F.adaptive_max_pool1d(x[:, :, 0], 4, return_indices=True)[1].float(),
}
DIVISION: Cases = {
    "tenths": lambda x: torch.floor_divide(tenths(x), 0.1),
    "tenths_by_tensors": lambda x: torch.remainder(tenths(x), 0.1 * (1 + x.flip(3).abs().long())),
    "negative_divisor": lambda x: torch.remainder(tenths(x), -0.1),
    "fmod": lambda x: torch.fmod(tenths(x), 0.1),
    "fraction": lambda x: (x * 3) % 1,
    "whole_part": lambda x: (x * 3) // 1,
    "halves": lambda x: (x * 3) // 0.5,
    "integers": lambda x: (
        ((x * 10).long() // -3) + (x * 10).long() % -4 + torch.div((x * 10).long(), 3, rounding_mode="trunc")
    ).float(),
    "fmod_of_integers": lambda x: torch.fmod((x * 10).long(), 3).float(),
    "fmod_by_tensors": lambda x: torch.fmod((x * 10).long(), -3 - x.flip(3).abs().long()).float(),
    "number_by_tensor": lambda x: (100 // (1 + x.abs() * 3).long()).float(),
    "integers_by_float": lambda x: (x * 10).long() // 2.5,
}
SUMS: Cases = {
    "largest": lambda x: x / x.amax(),
    "smallest": lambda x: x - x.amin(keepdim=True),
    "both": lambda x: sum(torch.aminmax(x)).reshape(1),  # type: ignore[union-attr]  # of two tensors
    "deviation": lambda x: x / x.std(),
    "variance": lambda x: x * x.var(correction=2),
    "distance": lambda x: torch.dist(x, x * 2, p=1).reshape(1),
    "far_logarithms": lambda x: torch.logaddexp(x * 60, x.flip(3) * 60),
    "far_binary_logarithms": lambda x: torch.logaddexp2(x * 90, x.flip(3) * 60),
    "whole_factors": lambda x: torch.addmm(x[0, 0], x[0, 0, :, :6], x[0, 1], beta=2, alpha=3),
    "whole_factors_of_batches": lambda x: torch.baddbmm(x[0], x[0, :, :, :6], x[0], beta=2, alpha=3),
    "whole_factors_of_sums": lambda x: torch.addbmm(x[0, 0], x[0, :, :, :6], x[0], beta=2),
    "whole_factors_of_vectors": lambda x: torch.addmv(x[0, 0, :, 0], x[0, 0], x[0, 1, 1], alpha=3),
    "similarity": lambda x: F.cosine_similarity(x, x.flip(1)),
    "similarity_of_zeros": lambda x: F.cosine_similarity(F.relu(x - 1), F.relu(x.flip(3) - 1), dim=3),
    "products_of_integers": lambda x: (
        ((x * 10).long() @ (x * 10).long().transpose(2, 3)) + (x * 10).int().square().sum() + (x * 3).long().sum() ** 3
    ).float(),
    "einsum_of_integers": lambda x: torch.einsum("bchw,bchk->bcwk", (x * 10).long(), (x * 10).long()).float(),
    "einsum_of_everything": lambda x: torch.einsum("bchw,bwhc->", x, x.transpose(1, 3)).reshape(1),
    "einsum_trace": lambda x: torch.einsum("ii->", x[0, 0, :, :6]).reshape(1),
    "flipped": lambda x: x.flip(1, 3) + x.flip(0, 2),
    "batch_statistics": lambda x: F.batch_norm(x, None, None, training=True),
    "running_statistics": lambda x: F.instance_norm(
        x, torch.linspace(-1, 1, 3), torch.linspace(0.5, 2, 3), use_input_stats=False
    ),
}


def spectra(x: Tensor, **more: Any) -> Tensor:
    """Return the short-time Fourier transform of rows [N, L]."""
    return torch.stft(x[:, 0].flatten(1), 16, 4, return_complex=True, **more)


def cleaned(x: Tensor) -> Tensor:
    """Mask a spectrogram and return the signal, as source separation does: magnitude and phase by atan2."""
    window = torch.hann_window(16)
    spectrum = spectra(x, window=window)
    magnitude, phase = spectrum.abs(), torch.atan2(spectrum.imag, spectrum.real)
    kept = torch.polar(magnitude * torch.sigmoid(magnitude - 1), phase)
    return torch.istft(kept, 16, 4, window=window, length=x[0, 0].numel())


def written(x: Tensor) -> Tensor:
    """Write at computed positions: one column, one row, pairs of indices, and sums into rows."""
    position = (x[:1, 0, 0, 0].abs() * 2).long().clamp(max=2)
    y = x.clone()
    y[:, :, :, position] = x[:, :, :, :1] * 2
    y[:, position] = x[:, 1:2] + 1
    y[torch.arange(2), position.repeat(2)] = 5.0
    return y + torch.zeros(3, 6, 7).index_put((torch.tensor([0, 1, 0]),), x[0], accumulate=True)


SIGNALS: Cases = {
    "cleaned": cleaned,
    "short_window": lambda x: spectra(x, win_length=10, window=torch.hann_window(10), normalized=True).abs(),
    "uncentred": lambda x: torch.view_as_real(spectra(x, window=torch.ones(16), center=False)),
    "written": written,
}
FAMILIES = {
    "resizes": (RESIZES, MAPS),
    "transposed": (TRANSPOSED, MAPS),
    "pools": (POOLS, MAPS),
    "positions": (POSITIONS, MAPS),
    "division": (DIVISION, SMALL),
    "sums": (SUMS, SMALL),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("target", TARGETS)
def test_every_target_computes_them(target: str, family: str, tmp_path: Path) -> None:
    cases, shape = FAMILIES[family]
    assert beyond(emit_run_compare(ops_program(cases, shape), target, tmp_path), LIMIT) == {}


@pytest.mark.parametrize("target", ["onnx", "tfjs"])
def test_signals(target: str, tmp_path: Path) -> None:
    """coremltools 9.0 refuses `aten.hann_window` inside of a net; as a buffer, the window is a constant."""
    assert beyond(emit_run_compare(ops_program(SIGNALS, SMALL), target, tmp_path), LIMIT) == {}
