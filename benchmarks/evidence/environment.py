"""The environment of a runtime: a browser, an emulated processor, an accelerator that took part of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Machine:
    """The computer that measured. Results of different machines are never merged.

    `memory` is in bytes. `flags` are the processor flags by which an inference library selects its kernels.
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
    """The download of a page: number of files, bytes, and bytes as a web host sends them (gzip, level 6)."""

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
    """The WebAssembly proposals that the browser implements."""

    simd: bool = False
    relaxed_simd: bool = False
    threads: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """The features of a page's browser, independent of the engine that runs in it.

    `webgl` names the renderer of WebGL 2, None without WebGL 2. `isolated` is cross-origin isolation, which threads in
    WebAssembly require. `secure` is a secure context, which WebGPU requires. `version` is the browser's, if its driver
    reports it.
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
    """A browser and the inference engine that was started in it.

    `start_ms` is the engine's start-up time. `simd` says whether TF.js uses SIMD, None for other engines. `runtime` is
    the download of the engine (the library and its WebAssembly), and `model` the download of each entry. `software`
    marks a GPU backend on a software renderer. `hidden` marks a page that was in the background for some time.
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
    """The emulated processor as libraries inside the emulator see it, and the versions of these libraries."""

    cpu: str
    part: str
    machine: str
    python: str
    features: tuple[str, ...]
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Placement:
    """The split of an entry between NPU and CPU: subgraphs on the NPU, operators on the NPU, operators on the CPU."""

    partitions: int
    npu_operators: int
    cpu_operators: int


@dataclass(frozen=True, slots=True)
class Environment:
    """The environment of a runtime; fields that do not apply are empty.

    `placement` holds by entry how an NPU's runtime split the graph, and `delegate` which part of it a delegate took.
    """

    browser: Browser | None = None
    emulator: EmulatedCpu | None = None
    placement: Mapping[str, Placement] = field(default_factory=dict)
    delegate: Mapping[str, str] = field(default_factory=dict)
