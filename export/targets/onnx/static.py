"""Static int8 (QDQ): calibrated activations, per-channel weights, by ONNX Runtime's quantizer.

Ranges come from the reference's own tensors on the calibration samples, so a module file and the fused file see
the same ranges at their common features, and encoder then head agrees with the fused entry.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import StageError
from models.recipes import Recipe

if TYPE_CHECKING:
    import onnx

STAGE = "quantize"
# Operators that carry weights; what follows the last of them on the way to an output stays in float: eight bits
# of a dense map's own value are 256 depth planes, and every one of them shows.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def quantize_static(
    model: onnx.ModelProto, feeds: Sequence[Mapping[str, Any]], recipe: Recipe, final: Collection[str]
) -> onnx.ModelProto:
    """A QDQ copy of the float32 `model`: uint8 activations (int8 when the recipe is signed), int8 weights.

    `feeds` are the entry's inputs by name, one mapping a calibration sample. Inputs and outputs stay float32.
    `final` names the outputs that no other module reads.
    Raises StageError("quantize") when there is nothing to calibrate with.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as vendor

    if not feeds:
        raise StageError(
            STAGE, f"{recipe.name} needs calibration samples; the model has none and --calibrate named none"
        )

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the vendor ships no types
        def __init__(self) -> None:
            self.left: Iterator[Mapping[str, Any]] = iter(feeds)

        def get_next(self) -> Mapping[str, Any] | None:
            return next(self.left, None)

    with tempfile.TemporaryDirectory(prefix="hydra-onnx-") as scratch:
        source, made = Path(scratch) / "float.onnx", Path(scratch) / "static.onnx"
        onnx.save(model, source)
        vendor(
            source,
            made,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8 if recipe.signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=tail(model, final),
            extra_options={"WeightSymmetric": True, "ActivationSymmetric": False, "ForceQuantizeNoInputCheck": False},
        )
        return onnx.load(made)


def tail(model: onnx.ModelProto, final: Collection[str]) -> list[str]:
    """Names of the last weighted node before each dense final output (a map, not class scores) and of all after it."""
    maker = {name: node for node in model.graph.node for name in node.output}
    names: list[str] = []
    for value in model.graph.output:
        if value.name not in final or len(value.type.tensor_type.shape.dim) != 4:
            continue
        waiting, seen = [value.name], set()
        while waiting:
            node = maker.get(waiting.pop())
            if node is None or node.name in seen:
                continue
            seen.add(node.name)
            names.append(node.name)
            if node.op_type not in WEIGHTED:
                waiting.extend(node.input)
    return list(dict.fromkeys(names))
