"""The machine of a measurement. Results of different machines are never merged, and each records the system load."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

from benchmarks.evidence.environment import Machine

# The processor flags by which inference libraries select their kernels.
X86 = ("avx", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "fma", "f16c")
ARM = ("asimd", "asimdhp", "asimddp", "asimdrdm", "i8mm", "bf16", "sve", "sve2")
FLAGS = (*X86, *ARM)


@cache
def processor() -> tuple[str, tuple[str, ...]]:
    """Return (model name, known flags) from /proc/cpuinfo; without that file, the name from `platform`."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return platform.processor() or platform.machine(), ()
    fields: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    present = set((fields.get("flags") or fields.get("features") or "").split())
    return fields.get("model name", platform.machine()), tuple(flag for flag in FLAGS if flag in present)


def identity() -> Machine:
    """Describe this computer: operating system, processor with its flags, cores, and memory in bytes."""
    import psutil

    name, flags = processor()
    return Machine(
        system=platform.system(),
        release=platform.release(),
        machine=platform.machine(),
        processor=name,
        flags=flags,
        cores=os.cpu_count(),
        memory=int(psutil.virtual_memory().total),
        python=platform.python_version(),
    )


def load() -> float:
    """Return the 1-minute load average."""
    return round(os.getloadavg()[0], 2)
