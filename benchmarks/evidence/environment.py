"""What a runtime found around it: a browser, an emulated processor, an accelerator that took part of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Machine:
    """The computer that measured. Numbers of unlike machines are never merged.

    `memory` is in bytes; `flags` are those of the processor that decide which kernels an inference library picks.
    """

    system: str
    release: str
    machine: str
    processor: str
    flags: tuple[str, ...]
    cores: int | None
    memory: int
    python: str


@dataclass(frozen=True, slots=True)
class Download:
    """What a browser fetched: number of files, bytes, and bytes as a web host sends them (gzip, level 6)."""

    files: int = 0
    bytes: int = 0
    gzip: int = 0


@dataclass(frozen=True, slots=True)
class Adapter:
    """The WebGPU adapter. `fallback` is true for a software renderer; `f16` says whether shaders have float16."""

    name: str = ""
    f16: bool = False
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class WasmFeatures:
    """The WebAssembly proposals that the browser has."""

    simd: bool = False
    relaxed_simd: bool = False
    threads: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """What a page's browser offers, whatever runs in it.

    `webgl` names the renderer behind WebGL 2, None without it. `isolated` is cross-origin isolation, without which
    WebAssembly has no threads; `secure` is a secure context, without which there is no WebGPU. `version` is the
    browser's where its driver tells it.
    """

    user_agent: str
    isolated: bool = False
    secure: bool = False
    cores: int | None = None
    wasm: WasmFeatures = WasmFeatures()
    adapter: Adapter | None = None
    webgl: str | None = None
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser(Offer):
    """A browser with an engine started in it.

    `start_ms` is how long the engine took to start, and `simd` whether TF.js uses it, None for other engines.
    `runtime` is the download of the engine (the library and its WebAssembly), `model` that of each entry. `software`
    says that the backend computes on a GPU that is none, and `hidden` that the page was in the background at times.
    """

    backend: str = ""
    threads: int = 1
    simd: bool | None = None
    start_ms: float = 0.0
    software: bool = False
    hidden: bool = False
    wasm_files: tuple[str, ...] = ()
    runtime: Download = Download()
    model: Mapping[str, Download] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EmulatedCpu:
    """The emulated processor as the libraries inside see it, and the versions of what runs there."""

    cpu: str
    part: str
    machine: str
    python: str
    features: tuple[str, ...]
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Placement:
    """How an entry was split between an NPU and the CPU: pieces on the NPU, operators on it and beside it."""

    partitions: int
    npu_operators: int
    cpu_operators: int


@dataclass(frozen=True, slots=True)
class Environment:
    """What a runtime found around it; fields that do not apply are empty.

    `placement` and `delegate` are by entry: how an NPU's runtime split its graph, and what a delegate took of it.
    """

    browser: Browser | None = None
    emulator: EmulatedCpu | None = None
    placement: Mapping[str, Placement] = field(default_factory=dict)
    delegate: Mapping[str, str] = field(default_factory=dict)
