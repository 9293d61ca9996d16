"""Compute `aten.stft` and `aten.istft` on real tensors: windows of a signal, each with its Fourier transform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from export.passes.complex_to_real.arithmetic import Pair
from export.passes.complex_to_real.fourier import Transform, fft, irfft, rfft

if TYPE_CHECKING:
    import torch


# Arguments of the ops after the signal or its spectra, in the order of their schemas.
STFT = ("n_fft", "hop_length", "win_length", "window", "normalized", "onesided", "return_complex")
ISTFT = ("n_fft", "hop_length", "win_length", "window", "center", "normalized", "onesided", "length", "return_complex")


def stft(x: torch.Tensor, *arguments: Any, **more: Any) -> Pair | torch.Tensor:
    """Return the spectra of a signal [L] or [N, L] as a pair of [(N,) frequency, frame].

    `torch.stft` pads the signal itself, so the op has no `center`. Without `return_complex` the result is one real
    tensor with a last axis of two. Raises NotImplementedError for a complex signal.
    """
    import torch

    if isinstance(x, Pair):
        raise NotImplementedError("aten.stft of a complex signal (supported: real signals)")
    given = dict(zip(STFT, arguments, strict=False)) | more
    n_fft = given["n_fft"]
    frames = x.unfold(-1, n_fft, given.get("hop_length") or n_fft // 4) * full_window(given)
    transform = Transform(-1, norm="ortho" if given.get("normalized") else None)
    two_sided = given.get("onesided") is False
    spectrum = fft(Pair(frames, torch.zeros_like(frames)), transform) if two_sided else rfft(frames, transform)
    turned = Pair(spectrum.real.transpose(-1, -2), spectrum.imag.transpose(-1, -2))
    return turned if given.get("return_complex") is not False else torch.stack([turned.real, turned.imag], -1)


def istft(x: Pair, *arguments: Any, **more: Any) -> torch.Tensor:
    """Return the signal [L] or [N, L] of spectra [(N,) frequency, frame]: overlapping frames, added and divided by
    the sum of their squared windows (Griffin and Lim 1984).

    Raises NotImplementedError for a complex signal.
    """
    import torch

    given = dict(zip(ISTFT, arguments, strict=False)) | more
    if given.get("return_complex") or given.get("onesided") is False:
        raise NotImplementedError("aten.istft to a complex signal (supported: real signals)")
    n_fft, length = given["n_fft"], given.get("length")
    hop = given.get("hop_length") or n_fft // 4
    flat = x.real.ndim == 2
    real, imag = (part.unsqueeze(0) if flat else part for part in (x.real, x.imag))
    norm = "ortho" if given.get("normalized") else None
    frames = irfft(Pair(real.transpose(1, 2), imag.transpose(1, 2)), Transform(-1, n_fft, norm))
    shape = full_window(given)
    signal = overlap_add(frames * shape, hop)
    envelope = overlap_add(shape.square().expand(1, frames.shape[1], n_fft), hop)
    start = n_fft // 2 if given.get("center", True) else 0
    end = signal.shape[1] - start if length is None else min(start + length, signal.shape[1])
    result = signal[:, start:end] / envelope[:, start:end]
    if length is not None and end - start < length:
        result = torch.nn.functional.pad(result, (0, length - (end - start)))
    return result.squeeze(0) if flat else result


def full_window(given: Mapping[str, Any]) -> torch.Tensor:
    """Return the window with `n_fft` elements: ones without a window, and zeros on both sides of a shorter one."""
    import torch

    n_fft, window = given["n_fft"], given.get("window")
    shape: torch.Tensor = torch.ones(given.get("win_length") or n_fft) if window is None else window
    left = (n_fft - shape.shape[0]) // 2
    return torch.nn.functional.pad(shape, (left, n_fft - shape.shape[0] - left))


def overlap_add(frames: torch.Tensor, hop: int) -> torch.Tensor:
    """Return the sum [N, L] of frames [N, T, n_fft], each `hop` elements after the one before it."""
    from torch.nn import functional as F

    count, n_fft = frames.shape[1:]
    size = (count - 1) * hop + n_fft
    return F.fold(frames.transpose(1, 2), (1, size), (1, n_fft), stride=(1, hop)).reshape(frames.shape[0], size)
