"""Define the emulated ARM processors: qemu's -cpu option, and the matching /proc/cpuinfo.

Inference libraries choose their kernels by both. qemu 7.2 shows a guest the host's own /proc/cpuinfo, on which XNNPACK
crashes. A cpuinfo with more features than the model has ends in SIGILL. Therefore each model has a separate cpuinfo.
"""

from __future__ import annotations

from dataclasses import dataclass

from hydramobile.errors import unknown

COMMON = "fp asimd evtstrm aes pmull sha1 sha2 crc32"
V82 = f"{COMMON} atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True, slots=True)
class Cpu:
    """Describe one processor: `model` for qemu's -cpu, `part` of its MIDR_EL1, and `features` by Linux's names."""

    name: str
    model: str
    part: str
    features: str
    about: str

    def has(self, feature: str) -> bool:
        """Return whether the processor has a feature, by Linux's name."""
        return feature in self.features.split()

    @property
    def cpuinfo(self) -> str:
        """The /proc/cpuinfo of Linux on one core of this processor."""
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
        # No core of qemu 7.2 has int8 matrix products, but its `max` has: here without SVE, and without SME, which
        # computes int8 wrongly. Libraries that read the part see a Cortex-A76 with more features. A newer part crashes
        # XNNPACK here.
        Cpu("v86", "max,sme=off,sve=off", "0xd0b", f"{V82} i8mm", "no real core: ARMv8.6 with int8 matrix products"),
    )
}


def find_cpu(name: str) -> Cpu:
    """Return the processor called `name`. Raises UsageError naming the known ones."""
    if name not in CPUS:
        raise unknown("emulated processor", name, CPUS)
    return CPUS[name]
