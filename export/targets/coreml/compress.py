"""Compress the weights of a finished package: integers, palettes, zeros left out. Activations stay float16.

The oldest systems that read them (coremltools, "Optimization Workflow"):

- iOS 16: 8-bit integers per channel, palettes per tensor of 1, 2, 4, 6 or 8 bits, sparse weights.
- iOS 18: 4-bit integers, integers per block, palettes of 3 bits or per group of channels, sparse integers and palettes.
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
    """Return why Core ML cannot compress weights under `recipe`, or None."""
    if recipe.dynamic or recipe.activation_bits:
        return f"{recipe.name!r} computes in integers; here weights alone are compressed"
    if recipe.scheme == "int" and recipe.block == 1:
        return "a scale for every input channel of every output is a scale for every weight; use w8 or larger blocks"
    bits = {"int": INTEGER_BITS, "palette": PALETTE_BITS, "sparse": (16,)}.get(recipe.scheme)
    if bits is None or recipe.weight_bits not in bits:
        known = ", ".join(map(str, bits or ()))
        return f"Core ML has no {recipe.weight_bits}-bit {recipe.scheme} weights" + (
            f" (it has {known})" if known else ""
        )
    return None


def oldest_system(recipe: Recipe, merged: bool = False) -> int:
    """Return the first iOS whose Core ML reads weights of `recipe`; 0 where the net alone decides.

    `merged`: packages will be joined into one of several functions, which coremltools reads as iOS 18. It refuses the
    palettes and sparse weights of iOS 16 there ("Unknown input 'shape' for op 'constexpr_lut_to_dense'").
    """
    if recipe.base:
        return max(oldest_system(parse(part), merged) for part in recipe.parts)
    joint = recipe.sparsity > 0 and (merged or recipe.scheme != "sparse")
    palette = recipe.scheme == "palette" and (merged or recipe.weight_bits == 3)
    newer = joint or palette or recipe.block > 0 or (recipe.scheme, recipe.weight_bits) == ("int", 4)
    return NEWER if newer else 0


def basis(converted: PackageCache, recipe: Recipe) -> PackageCache:
    """Return `converted`, or the conversions for the newer system that `recipe` needs; recipes share these."""
    oldest = oldest_system(recipe, merged=len(converted.exported) > 1)
    return converted.for_system(oldest) if oldest else converted


def compress_weights(plain: SingleFunctionPackage, package: Path, recipe: Recipe, least: int) -> SingleFunctionPackage:
    """Store the weights of `least` elements and more as `recipe` says, in a new `package`; smaller ones stay float16.

    Integers are symmetric, with one scale per output channel or block of input channels. Palettes are found by k-means,
    one per tensor or group of output channels. A tensor that blocks or groups do not divide stays float16.
    Sparse recipes first set the smallest weights of each tensor to zero; scales and palettes then fit the others alone.
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
        # On a model without sparse weights, joint compression would find nothing to compress.
        model = squeeze(model, config, joint_compression=recipe.sparsity > 0)
    model.save(str(package))
    return SingleFunctionPackage(package, plain.ios, plain.note)


def settings(compression: Any, recipe: Recipe, threshold: int) -> Any:
    """Return coremltools' description of `recipe`; weights of more than `threshold` elements are compressed."""
    if recipe.scheme == "palette":
        grain = {"granularity": "per_grouped_channel", "group_size": recipe.block} if recipe.block else {}
        return compression.OpPalettizerConfig(
            mode="kmeans", nbits=recipe.weight_bits, weight_threshold=threshold, **grain
        )
    grain = {"granularity": "per_block", "block_size": recipe.block} if recipe.block else {"granularity": "per_channel"}
    return compression.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype=f"int{recipe.weight_bits}", weight_threshold=threshold, **grain
    )
