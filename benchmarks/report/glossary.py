"""The words of the report, each explained where it first stands, and the recipes in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from hydramobile.errors import HydraError
from hydramobile.recipe_files import find_named
from hydramobile.recipes import GRAMMAR, Recipe, recipe
from hydramobile.spec import ModelSpec

# docs/glossary.md has the same rows (tests/benchmarks/test_report_opening.py compares them). A row may name several
# words, with a comma between two.
GLOSSARY: Mapping[str, str] = {
    "artifact": "the files of one target at one recipe, with a golden and USAGE.md: one folder",
    "boundary, chain": "a head judged on the reference's own features, and on the features of the exported encoder",
    "broken": "a file that must ship is over a limit: the build fails",
    "candidate": "a recipe that is exported and judged, but need not pass; over a limit it is refused and listed",
    "closest call": "of all numbers of a file, the one that used the greatest share of its limit",
    "drawn": "judged on seeded inputs beyond the samples: zeros, ends of the range, a ramp",
    "entry": "a function that a file offers: one module, or several fused into one call",
    "err_sens": "the largest error of an output, as a share of how far the output moves between inputs",
    "golden": "a frozen input with the reference's outputs",
    "host": "the computer that made the evidence; a phone's times differ",
    "IoU": "the overlap of two masks: intersection over union, 1 where they are equal",
    "limit": "the greatest loss that budget.toml allows, with the reason beside it",
    "must ship": "listed under [ship] in budget.toml: over a limit, it fails the build",
    "order flips": "pairs of pixels whose order in depth changed",
    "passes, ships": "judged and under every limit; ships is also listed under [ship] in budget.toml",
    "recipe": "how a file stores weights and computes activations; the name is the definition",
    "reference": "the PyTorch net at float32",
    "refused": "a candidate over a limit, or a recipe that the target does not have",
    "s50p4": "a recipe: half of the weights zero, the others in palettes of 16 values",
    "sealed": "the hashes of an artifact's files are fixed; a changed file is noticed",
    "SNR, snr_db": "the signal-to-noise ratio in decibels: at 30 dB the error is 3 % of the output (root mean square)",
    "stands": "what the evidence says about a file: ships, passes, refused, broken, failed, unjudged",
    "stands in for": "a file replaces another model's and must also keep that model's limits",
    "WHDR": "the share of pixel pairs that are ordered wrongly in depth, by labels",
    "would have passed": "the limit that the measured number would just have kept",
}
MEANING = {word.strip(): meaning for row, meaning in GLOSSARY.items() for word in row.split(",")}


@dataclass(slots=True)
class Terms:
    """Mark a word at its first use in one rendered page. Later uses are plain text.

    `recipes` holds the meaning of each recipe's name.
    """

    recipes: Mapping[str, str]
    seen: set[str] = field(default_factory=set)

    def term(self, word: str, shown: str = "") -> Markup:
        """Return `shown` (`word` itself by default), explained and linked to the list of words at its first use.

        Raises KeyError for a word that the glossary lacks.
        """
        text, meaning = shown or word, MEANING[word]
        if word in self.seen:
            return escape(text)
        self.seen.add(word)
        return Markup('<dfn title="{}"><a href="#word-{}">{}</a></dfn>').format(meaning, slug(word), text)

    def named(self, name: str) -> Markup:
        """Return a recipe's name with its meaning as the title."""
        meaning = self.recipes.get(name)
        return Markup('<abbr title="{}">{}</abbr>').format(meaning, name) if meaning else escape(name)


def slug(word: str) -> str:
    return word.lower().replace(" ", "-")


def word_rows() -> list[tuple[list[str], str]]:
    """Return the rows of the report's list of words: (words, meaning)."""
    return [([word.strip() for word in row.split(",")], meaning) for row, meaning in GLOSSARY.items()]


def recipe_meanings(spec: ModelSpec, names: Iterable[str]) -> dict[str, str]:
    """Return the meaning of each recipe; a named recipe has the description of the model's recipes.toml."""
    return {name: meaning_of(spec, name) for name in dict.fromkeys(names)}


def meaning_of(spec: ModelSpec, name: str) -> str:
    if GRAMMAR.fullmatch(name):
        return described(recipe(name))
    try:
        return find_named(spec, name).description or "layers stored differently, as recipes.toml lists them"
    except HydraError:
        return "a recipe of a file that is not at hand"


def described(chosen: Recipe) -> str:
    """Return the meaning of a recipe of the grammar in words."""
    if chosen.scheme == "float":
        return f"weights and arithmetic in {chosen.name}"
    sparse = f"{chosen.sparsity} % of the weights are zero and not stored, the others " if chosen.sparsity else ""
    if chosen.scheme == "sparse":
        return f"{sparse}are float16"
    if chosen.scheme == "palette":
        groups = f", one palette per {chosen.block} channels" if chosen.block else ""
        return f"{sparse or 'weights '}in palettes of {2**chosen.weight_bits} values{groups}; activations stay float"
    stored = f"{sparse or 'weights '}as {chosen.weight_bits}-bit integers"
    if chosen.block:
        stored += f", one scale per {chosen.block} channel{'s' if chosen.block > 1 else ''}"
    if chosen.dynamic:
        return f"{stored}; activations as integers too, by the range that they have in each run"
    if not chosen.activation_bits:
        return f"{stored}; activations stay float"
    text = f"{stored}; activations as {chosen.activation_bits}-bit {'signed ' if chosen.signed else ''}integers"
    text += f", their ranges calibrated ({chosen.method}{f', {chosen.samples} samples' if chosen.samples else ''})"
    return text + ("; layers equalized first" if chosen.equalized else "")
