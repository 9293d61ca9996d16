"""Complex tensors and Fourier transforms: the same values from real tensors, in every target's runtime."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.passes.complex_to_real.rewrite import is_complex
from export.program import Program
from hydramobile.targets import TARGETS
from support.emit import Error, emit_run_compare, errors_of
from support.programs import Cases, Function, ops_program

SHAPE = (1, 3, 11, 14)
LAST = (-2, -1)


class FourierUnit(nn.Module):
    """The fast Fourier convolution of LaMa (Suvorov et al., 2022)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(6, 6, 1, bias=False)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        spectrum = torch.fft.rfftn(x, dim=LAST, norm="ortho")
        parts = torch.stack((spectrum.real, spectrum.imag), -1).permute(0, 1, 4, 2, 3).contiguous()
        parts = F.relu(self.norm(self.layer(parts.view(batch, -1, *parts.shape[3:]))))
        parts = parts.view(batch, -1, 2, *parts.shape[2:]).permute(0, 1, 3, 4, 2).contiguous()
        spectrum = torch.complex(parts[..., 0], parts[..., 1])
        output: Tensor = torch.fft.irfftn(spectrum, s=x.shape[-2:], dim=LAST, norm="ortho")
        return output


class GlobalFilter(nn.Module):
    """The global filter of GFNet (Rao et al., 2021): one weight per frequency."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 11, 8, 2) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x, norm="ortho") * torch.view_as_complex(self.weight)
        output: Tensor = torch.fft.irfft2(spectrum, s=x.shape[-2:], norm="ortho")
        return output


class FourierLayer(nn.Module):
    """The layer of a Fourier neural operator (Li et al., 2021): products of the low frequencies, written into zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4, 5, 4, 2) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        weight, spectrum = torch.view_as_complex(self.weight), torch.fft.rfft2(x)
        product = torch.zeros(x.shape[0], 4, x.shape[2], x.shape[3] // 2 + 1, dtype=torch.cfloat)
        product[:, :, :5, :4] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, :5, :4], weight)
        product[:, :, -5:, :4] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, -5:, :4], weight.conj())
        back: Tensor = torch.fft.irfft2(product, s=x.shape[-2:])
        return back


def rotary(x: Tensor) -> Tensor:
    """Rotary position embedding: positions rotate pairs of channels (Su et al., 2021)."""
    pairs = torch.view_as_complex(x.reshape(1, -1, 2))
    turns = torch.polar(torch.ones(pairs.shape[1]), torch.arange(pairs.shape[1]) / 10.0)
    return torch.view_as_real(pairs * turns).flatten(1)


def phases(x: Tensor) -> Tensor:
    spectrum = torch.fft.rfft2(x, norm="forward")
    output: Tensor = torch.fft.irfft2(torch.polar(spectrum.abs() * 0.5, spectrum.angle()), norm="forward")
    return output


def aligned(x: Tensor) -> Tensor:
    """Divide spectra, as a Wiener filter does."""
    one, other = torch.fft.rfft2(x), torch.fft.rfft2(x.flip(3) + 1)
    output: Tensor = torch.fft.irfft2(one * other.conj() / (other.abs() ** 2 + 0.1), s=x.shape[-2:])
    return output


NETS: Cases = {
    "fourier_unit": FourierUnit(),
    "global_filter": GlobalFilter(),
    "fourier_layer": FourierLayer(),
    "rotary": rotary,
    "phases": phases,
    "aligned": aligned,
    "magnitudes": lambda x: torch.fft.fftshift(torch.fft.fft2(x), dim=LAST).abs().log1p(),
    "mixed": lambda x: torch.fft.fft(torch.fft.fft(x.flatten(2), dim=-1), dim=-2).real,
    "turned": lambda x: (
        torch.fft.ifft(torch.fft.fft(x, dim=2) * torch.exp(1j * torch.arange(11.0)[:, None]), dim=2).real
    ),
    "joined": lambda x: torch.fft.ifft(torch.cat([torch.fft.fft(x), x], 2), dim=2).abs(),
    "padded": lambda x: torch.fft.irfft(torch.fft.rfft(x, n=16)[..., :5], n=13, norm="ortho"),
    "cut": lambda x: torch.fft.ifft2(torch.fft.fft2(x, s=(8, 15), norm="ortho"), norm="ortho").imag + 1,
}


@pytest.fixture
def program() -> Program:
    return ops_program(NETS, SHAPE)


def too_far(errors: dict[str, Error]) -> dict[str, Error]:
    return {name: error for name, error in errors.items() if error.relative > 1e-5}


def test_no_complex_number_is_left(program: Program) -> None:
    exported = program.exported(program.spec.entries["net"]).program
    assert not any(is_complex(node) for node in exported.graph_module.graph.nodes)
    outputs = exported.module()(program.tensors["x"])
    by_name = {name: value.detach().numpy() for name, value in zip(NETS, outputs, strict=True)}
    assert too_far(errors_of(program, by_name)) == {}
    # Weights keep their names.
    assert any(name.endswith("weight") and "0.layer" in name for name in exported.state_dict)


def as_reals(x: Tensor) -> Tensor:
    return torch.view_as_real(x.resolve_conj())


HERMITIAN: Cases = {
    "hfft": lambda x: torch.fft.hfft(torch.fft.rfft(x), norm="ortho"),
    "hfft_of_reals": lambda x: torch.fft.hfft(x, n=9),
    "hfft2": torch.fft.hfft2,
    "hfftn": lambda x: torch.fft.hfftn(torch.fft.rfft(x), norm="forward"),
    "ihfft2": lambda x: as_reals(torch.fft.ihfft2(x, norm="ortho")),
    "ihfftn": lambda x: as_reals(torch.fft.ihfftn(x, s=(4, 6), dim=(1, 2))),
    "converted": lambda x: as_reals(x.to(torch.complex64) * 2),
}


@pytest.mark.parametrize("name", HERMITIAN)
def test_hermitian_transforms_and_conversions(name: str) -> None:
    program = ops_program({"y": HERMITIAN[name]}, (2, 5, 6))
    exported = program.exported(program.spec.entries["net"]).program
    assert not any(is_complex(node) for node in exported.graph_module.graph.nodes)
    (y,) = exported.module()(program.tensors["x"])
    torch.testing.assert_close(y, program.tensors["y"], atol=1e-5, rtol=1e-5)


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(14, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = (torch.fft.fft(x) * self.weight).real
        return output


@pytest.mark.parametrize("net", [Weighted(), lambda x: torch.fft.fft(x).pow(3).real], ids=["weight", "power"])
def test_unsupported_complex_ops_stay(net: Function) -> None:
    """The targets take them, or refuse them by name."""
    program = ops_program({"y": net}, SHAPE)
    exported = program.exported(program.spec.entries["net"]).program
    assert any(is_complex(node) for node in exported.graph_module.graph.nodes)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_computes_them(target: str, program: Program, tmp_path: Path) -> None:
    assert too_far(emit_run_compare(program, target, tmp_path)) == {}
