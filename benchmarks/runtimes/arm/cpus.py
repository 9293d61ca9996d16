"""The ARM processors that are emulated: what qemu is told to be, and the /proc/cpuinfo that says the same.

Inference libraries choose their kernels by both. qemu 7.2 shows a guest the host's own /proc/cpuinfo, on which
XNNPACK crashes, and one that promises more than the model can do ends in SIGILL: so each model has its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from hydramobile.errors import unknown

COMMON = "fp asimd evtstrm aes pmull sha1 sha2 crc32"
V82 = f"{COMMON} atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True, slots=True)
class Cpu:
    """`model` is qemu's -cpu; `part` its number in MIDR_EL1; `features` Linux's names of what it can do."""

    name: str
    model: str
    part: str
    features: str
    about: str

    def has(self, feature: str) -> bool:
        return feature in self.features.split()

    @property
    def cpuinfo(self) -> str:
        """What Linux on this processor shows, for one core."""
        lines = (
            "processor\t: 0",
            "BogoMIPS\t: 100.00",
            f"Features\t: {self.features}",
            "CPU implementer\t: 0x41",
            "CPU architecture: 8",
            "CPU variant\t: 0x1",
            f"CPU part\t: {self.part}",
            "CPU revision\t: 0",
        )
        return "\n".join(lines) + "\n\n"


CPUS = {
    cpu.name: cpu
    for cpu in (
        Cpu(
            "a53", "cortex-a53", "0xd03", f"{COMMON} cpuid", "Cortex-A53: ARMv8.0, no dot products, no fp16 arithmetic"
        ),
        Cpu("a76", "cortex-a76", "0xd0b", V82, "Cortex-A76: ARMv8.2, dot products and fp16 arithmetic"),
        # qemu 7.2 has no core with int8 matrix products: its `max` has, without SME (which computes int8 wrongly) and
        # SVE. Libraries that know the part take a Cortex-A76 that can do more; a younger part crashes XNNPACK here.
        Cpu("v86", "max,sme=off,sve=off", "0xd0b", f"{V82} i8mm", "no real core: ARMv8.6 with int8 matrix products"),
    )
}


def find_cpu(name: str) -> Cpu:
    if name not in CPUS:
        raise unknown("emulated processor", name, CPUS)
    return CPUS[name]
