"""Solve which option each layer takes: the least noise that fits into so many bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Prices of a byte that are tried, spread evenly in their logarithm.
PRICES = 96


@dataclass(frozen=True, slots=True)
class Option:
    """One way to store one layer. `noise` maps each final output to its noise, in the same unit for all layers."""

    recipe: str
    bytes: float
    noise: Mapping[str, float]


Table = Mapping[str, Sequence[Option]]
Choice = dict[str, Option]


def total(choice: Mapping[str, Option]) -> float:
    """Return the bytes of a choice."""
    return sum(option.bytes for option in choice.values())


def weighted(option: Option, weights: Mapping[str, float]) -> float:
    """Return the noise of an option, summed over the outputs by their weights."""
    return sum(weights[name] * value for name, value in option.noise.items())


def smallest(table: Table) -> Choice:
    """Return the choice of the fewest bytes."""
    return {name: min(options, key=lambda option: option.bytes) for name, options in table.items()}


def at_price(table: Table, weights: Mapping[str, float], price: float) -> Choice:
    """Return the choice of each layer's best trade where a byte costs `price` of noise."""
    return {
        name: min(options, key=lambda option: weighted(option, weights) + price * option.bytes)
        for name, options in table.items()
    }


def path(table: Table, weights: Mapping[str, float]) -> list[Choice]:
    """Return choices from the largest and most exact to the smallest, each different from the one before."""
    gains = [
        (weighted(b, weights) - weighted(a, weights)) / (a.bytes - b.bytes)
        for options in table.values()
        for a in options
        for b in options
        if a.bytes > b.bytes and weighted(b, weights) > weighted(a, weights)
    ]
    if not gains:
        return [smallest(table)]
    low, high = min(gains) / 2, max(gains) * 2
    choices: list[Choice] = []
    for step in range(PRICES):
        choice = at_price(table, weights, low * (high / low) ** (step / (PRICES - 1)))
        if not choices or choice != choices[-1]:
            choices.append(choice)
    return choices


def within_bytes(table: Table, weights: Mapping[str, float], limit: float) -> Choice | None:
    """Return the choice of nearly the least noise of at most `limit` bytes; None where even the smallest is larger.

    The first choice on the path of prices that fits is upgraded layer by layer, the largest gain per byte first.
    """
    if total(smallest(table)) > limit:
        return None
    choice = next((choice for choice in path(table, weights) if total(choice) <= limit), smallest(table))
    while True:
        room = limit - total(choice)
        upgrades = [
            (gain_per_byte(choice[name], option, weights), name, index)
            for name, options in table.items()
            for index, option in enumerate(options)
            if 0 < option.bytes - choice[name].bytes <= room
        ]
        gain, name, index = max(upgrades, default=(0.0, "", 0))
        if gain <= 0:
            return choice
        choice = {**choice, name: table[name][index]}


def gain_per_byte(old: Option, new: Option, weights: Mapping[str, float]) -> float:
    """Return how much noise the larger option `new` saves per byte."""
    return (weighted(old, weights) - weighted(new, weights)) / (new.bytes - old.bytes)
