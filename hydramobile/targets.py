"""The words of the command line: a target is a format, a platform is a group of targets."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from hydramobile.errors import unknown
from hydramobile.recipes import recipe

TARGETS = ("onnx", "coreml", "litert", "tfjs")
# Need packages that `make setup` does not install: made when asked for by name, never part of "all", so that every
# machine makes the same things.
EXTRAS = ("coreai",)
KNOWN = (*TARGETS, *EXTRAS)
PLATFORMS = {"ios": ("coreml",), "android": ("litert",), "web": ("onnx", "tfjs"), "all": TARGETS, "extras": EXTRAS}


def resolve(names: Iterable[str]) -> tuple[str, ...]:
    """Targets for target or platform names, each once. Raises UsageError for a mistyped one."""
    chosen: list[str] = []
    for name in names:
        if name not in KNOWN and name not in PLATFORMS:
            raise unknown("target or platform", name, [*KNOWN, *PLATFORMS])
        chosen += PLATFORMS.get(name, (name,))
    return tuple(dict.fromkeys(chosen))


def platform_of(target: str) -> str:
    return next(name for name, members in PLATFORMS.items() if target in members)


def resolve_pairs(names: Iterable[str], named: Collection[str] = ()) -> tuple[tuple[str, str], ...]:
    """(target, recipe) for each TARGET, PLATFORM or TARGET/RECIPE; the recipe is "" where none was named.

    `named`: recipes with names of their own, beside those of the grammar.
    """
    pairs: list[tuple[str, str]] = []
    for name in names:
        first, _, second = name.partition("/")
        if second and second not in named:
            recipe(second)  # says what there is
        pairs += [(target, second) for target in resolve([first])]
    return tuple(dict.fromkeys(pairs))


def chosen(pairs: Iterable[tuple[str, str]], target: str, recipe_name: str) -> bool:
    """Whether target x recipe is among `pairs`; an empty choice means everything."""
    asked = list(pairs)
    return not asked or (target, "") in asked or (target, recipe_name) in asked
