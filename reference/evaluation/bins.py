"""Bins of synthetic views by the properties that make portraits hard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

About = Mapping[str, Any]


def _between(key: str, edges: tuple[float, ...], unit: str, absolute: bool = False) -> Callable[[About], str | None]:
    def name(about: About) -> str | None:
        if about.get(key) is None:
            return None
        value = abs(float(about[key])) if absolute else float(about[key])
        below = [edge for edge in edges if value >= edge]
        above = [edge for edge in edges if value < edge]
        if not below:
            return f"under {edges[0]:.3g}{unit}"
        return f"{below[-1]:.3g} to {above[0]:.3g}{unit}" if above else f"{below[-1]:.3g}{unit} and more"

    return name


def _value(key: str) -> Callable[[About], str | None]:
    def name(about: About) -> str | None:
        value = about.get(key)
        if isinstance(value, bool):
            return "yes" if value else "no"
        return None if value is None else str(value)

    return name


BINS: Mapping[str, Callable[[About], str | None]] = {
    "pitch": _between("pitch", (-25, -10, 10, 25), "°"),
    "yaw": _between("yaw", (15, 30), "°", absolute=True),
    "backlit": _value("backlit"),
    "distance": _between("distance_m", (0.6, 1.0, 2.0), " m"),
    "skin": _between("skin", (1 / 3, 2 / 3), ""),
    "hair": _value("hair"),
    "people": _value("people"),
    "scene": _value("scene"),
    "set": _value("set"),
}
"""Bin dimension -> the name of a view's bin, None if its record lacks the property."""
