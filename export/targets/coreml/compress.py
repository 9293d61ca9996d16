"""Weights of a finished package made smaller: integers, palettes, zeros left out. Activations stay float16.

Which systems read what (coremltools, "Optimization Workflow"): integers of 8 bits a channel, palettes a tensor of
1, 2, 4, 6 or 8 bits and zeros left out since iOS 16; 4-bit integers, integers a block, palettes of 3 bits or a group of
channels, and integers or palettes with zeros left out since 18.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.targets.coreml.convert import PackageCache, SingleFunctionPackage
from export.targets.coreml.patches.prune_weights import magnitudes_in_float32
from export.targets.coreml.vendor import load_compression, load_coremltools
from hydramobile.recipes import Recipe
from hydramobile.recipes import recipe as parse

INTEGER_BITS = (4, 8)
PALETTE_BITS = (1, 2, 3, 4, 6, 8)
NEWER = 18


def refuses(recipe: Recipe) -> str | None:
    """Why Core ML has no such compression of weights, or None when it has."""
    if recipe.dynamic or recipe.activation_bits:
        return f"{recipe.name!r} computes in integers; here weights alone are compressed"
    if recipe.scheme == "int" and recipe.block == 1:
        return "a scale for every input channel of every output is a scale for every weight; use w8 or larger blocks"
    kinds = {"int": INTEGER_BITS, "palette": PALETTE_BITS, "sparse": (16,)}
    bits = kinds.get(recipe.scheme)
    if bits is None or recipe.weight_bits not in bits:
        known = ", ".join(map(str, bits or ()))
        return f"Core ML has no {recipe.weight_bits}-bit {recipe.scheme} weights" + (
            f" (it has {known})" if known else ""
        )
    return None


def oldest_system(recipe: Recipe, merged: bool = False) -> int:
    """The first iOS whose Core ML reads weights stored like this; 0 where any that runs the net does.

    `merged`: packages are to be joined into one of several functions, which coremltools reads as iOS 18: it refuses the
    palettes and sparse weights of iOS 16 there ("Unknown input 'shape' for op 'constexpr_lut_to_dense'").
    """
    if recipe.base:
        return max(oldest_system(parse(part), merged) for part in recipe.parts)
    joint = recipe.sparsity > 0 and (merged or recipe.scheme != "sparse")
    palette = recipe.scheme == "palette" and (merged or recipe.weight_bits == 3)
    newer = joint or palette or recipe.block > 0 or (recipe.scheme, recipe.weight_bits) == ("int", 4)
    return NEWER if newer else 0


def basis(converted: PackageCache, recipe: Recipe) -> PackageCache:
    """`converted`, or conversions for the newer system that `recipe` needs, shared by all recipes that do."""
    oldest = oldest_system(recipe, merged=len(converted.exported) > 1)
    return converted.for_system(oldest) if oldest else converted


def compress_weights(plain: SingleFunctionPackage, package: Path, recipe: Recipe, least: int) -> SingleFunctionPackage:
    """The package with the weights of `least` values and more stored as `recipe` says; smaller ones stay float16.

    Integers are symmetric, one scale an output channel or a block of input channels. Palettes are found by k-means,
    one a tensor or a group of output channels. A tensor that a block or group does not divide stays float16.
    Sparse recipes first set the smallest weights of each tensor to zero; scales and palettes then see the others alone.
    """
    ct, compression = load_coremltools(), load_compression()
    threshold = max(least - 1, 0)
    model = ct.models.MLModel(str(plain.package), skip_model_load=True)
    if recipe.sparsity:
        pruned = compression.OpMagnitudePrunerConfig(target_sparsity=recipe.sparsity / 100, weight_threshold=threshold)
        with magnitudes_in_float32():
            model = compression.prune_weights(model, compression.OptimizationConfig(global_config=pruned))
    if recipe.scheme != "sparse":
        config = compression.OptimizationConfig(global_config=settings(compression, recipe, threshold))
        squeeze = compression.palettize_weights if recipe.scheme == "palette" else compression.linear_quantize_weights
        # On a model without zeros left out, joint compression would find nothing to compress.
        model = squeeze(model, config, joint_compression=recipe.sparsity > 0)
    model.save(str(package))
    return SingleFunctionPackage(package, plain.ios, plain.note)


def settings(compression: Any, recipe: Recipe, threshold: int) -> Any:
    """coremltools' own description; `threshold` is the number of values above which a weight is compressed."""
    if recipe.scheme == "palette":
        grain = {"granularity": "per_grouped_channel", "group_size": recipe.block} if recipe.block else {}
        return compression.OpPalettizerConfig(
            mode="kmeans", nbits=recipe.weight_bits, weight_threshold=threshold, **grain
        )
    grain = {"granularity": "per_block", "block_size": recipe.block} if recipe.block else {"granularity": "per_channel"}
    return compression.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype=f"int{recipe.weight_bits}", weight_threshold=threshold, **grain
    )
