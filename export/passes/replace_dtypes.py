"""Replace dtypes that not every format has: int8, int16 and uint8 by int32, and float64 inputs and weights by float32.

Before: y = mul(x, 2)                   x: uint8
After:  y = remainder(mul(x, 2), 256)   x: int32

Small integers compute exactly as before: a result that may leave the range of its dtype is wrapped around. A number of
a float dtype that is cast to a small integer is cut off towards zero; PyTorch leaves undefined what happens beyond the
range of the dtype.

Symptom: TF.js "has float32, int32 and bool", coremltools "KeyError: torch.float64", LiteRT "unsupported ScalarType".
Cause: Core ML and TF.js have neither small integers nor float64, and LiteRT's and ONNX Runtime's kernels take them in
few operators.
Retired by: nothing.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from export.passes.aten import is_mutable, op_name, schema_name
from export.passes.base import PassResult
from export.passes.user_code import node_place
from hydramobile.errors import StageError

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram

STAGE = "capture"
# Ops whose integer result may leave the range of the dtype: PyTorch wraps it around.
WRAPPING = frozenset((
    "add", "sub", "rsub", "mul", "neg", "square", "pow", "bitwise_not", "bitwise_left_shift", "__lshift__", "sum",
    "prod", "cumsum", "cumprod", "mm", "bmm", "matmul", "addmm", "addmv", "addbmm", "baddbmm", "dot", "mv", "linear",
    "einsum", "lerp", "addcmul", "to", "_to_copy", "type_as", "abs",
))  # fmt: skip
# Ops that round small integers in a way of their own.
REFUSED = ("upsample", "interpolate", "avg_pool", "grid_sampler")


def replace_dtypes(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Rewrite the graph where it holds a dtype of `wide_dtypes`.

    float64 is replaced only where an input or a weight has it. A graph with pairs of quantize and dequantize keeps its
    int8: it comes from a captured graph, so this pass has seen it, and converters take the pairs as they are. Raises
    StageError("capture") for REFUSED ops.
    """
    nodes = program.graph_module.graph.nodes
    if any(str(node.target).startswith("quantized_decomposed.") for node in nodes):
        return PassResult(program, False)
    wide = wide_dtypes(with_float64=any(has_float64(node) for node in nodes if node.op == "placeholder"))
    if not any(dtype in wide for node in nodes for dtype in dtypes_of(node)):
        return PassResult(program, False)
    if any(is_mutable(node.target) for node in nodes):
        # An in-place op has no result of its own that could be wrapped around.
        program = program.run_decompositions({})
    Rewriter(program, wide).run()
    return PassResult(program, True)


def wide_dtypes(with_float64: bool) -> dict[torch.dtype, torch.dtype]:
    import torch

    table = dict.fromkeys((torch.uint8, torch.int8, torch.int16), torch.int32)
    return {**table, torch.float64: torch.float32, torch.complex128: torch.complex64} if with_float64 else table


def dtypes_of(node: fx.Node) -> list[torch.dtype]:
    """Return the dtypes of a node's results."""
    value = node.meta.get("val")
    values = value if isinstance(value, tuple | list) else [value]
    return [item.dtype for item in values if item is not None and hasattr(item, "dtype")]


def has_float64(node: fx.Node) -> bool:
    return bool(node.users) and any(str(dtype) == "torch.float64" for dtype in dtypes_of(node))


class Rewriter:
    """One rewrite of a program: `wide` maps each dtype to the dtype that replaces it."""

    def __init__(self, program: ExportedProgram, wide: dict[torch.dtype, torch.dtype]) -> None:
        import torch
        from torch._guards import detect_fake_mode

        self.program, self.wide = program, wide
        self.module, self.graph = program.graph_module, program.graph_module.graph
        values = [node.meta["val"] for node in self.graph.nodes if node.op == "placeholder" and "val" in node.meta]
        mode = detect_fake_mode([value for value in values if isinstance(value, torch.Tensor)])
        assert mode is not None  # the placeholders of an exported graph are fake tensors
        self.mode = mode

    def run(self) -> None:
        import torch

        self.widen_constants()
        for node in list(self.graph.nodes):
            if node.op == "placeholder":
                self.widen_placeholder(node)
            elif node.op == "get_attr":
                value = getattr(self.module, str(node.target), None)
                if isinstance(value, torch.Tensor) and value.dtype in self.wide:
                    setattr(self.module, str(node.target), value.to(self.wide[value.dtype]))
                    self.widen_placeholder(node)
            elif node.op == "call_function":
                self.rewrite(node)
        self.graph.eliminate_dead_code()
        self.module.recompile()

    def widen_constants(self) -> None:
        """Convert parameters, buffers and constants. A float64 number is rounded to the nearest float32."""
        import torch

        for table in (self.program.state_dict, self.program.constants):
            for name, value in list(table.items()):
                if isinstance(value, torch.Tensor) and value.dtype in self.wide:
                    wide = value.detach().to(self.wide[value.dtype])
                    is_parameter = isinstance(value, torch.nn.Parameter)
                    table[name] = torch.nn.Parameter(wide, requires_grad=False) if is_parameter else wide

    def widen_placeholder(self, node: fx.Node) -> None:
        value: Any = node.meta.get("val")
        if dtypes_of(node) and value.dtype in self.wide:
            with self.mode:
                node.meta["val"] = value.to(self.wide[value.dtype])

    def rewrite(self, node: fx.Node) -> None:
        """Give the node wide dtypes, and wrap or cast its result where its dtype was to be another."""
        import torch

        before = dtypes_of(node)
        if schema_name(node) == "aten::_assert_tensor_metadata":
            self.graph.erase_node(node)
            return
        if any(dtype in self.wide and not dtype.is_floating_point for dtype in before):
            self.refuse(node)
        integers = self.is_integer(node)
        node.args = self.widen_dtypes(node.args)
        node.kwargs = self.widen_dtypes(node.kwargs)
        node.meta["val"] = self.evaluate(node)
        if len(before) != 1 or not isinstance(node.meta["val"], torch.Tensor) or node.target is operator.getitem:
            return
        wanted = self.wide.get(before[0], before[0])
        last = node
        if node.meta["val"].dtype != wanted:
            last = self.after(last, torch.ops.aten.to.dtype, wanted)
        if integers and before[0] in self.wide and op_name(node.target) in WRAPPING:
            self.wrap(last, before[0])

    def is_integer(self, node: fx.Node) -> bool:
        """Return whether the node reads integers other than booleans."""
        read = [dtype for source in node.all_input_nodes for dtype in dtypes_of(source)]
        return any(not dtype.is_floating_point and str(dtype) != "torch.bool" for dtype in read)

    def refuse(self, node: fx.Node) -> None:
        if any(part in op_name(node.target) for part in REFUSED):
            raise StageError(
                STAGE,
                f"{node_place(node)}, runs {op_name(node.target)!r} on small integers, which it rounds in its own way; "
                "convert to float32 first",
            )

    def widen_dtypes(self, value: Any) -> Any:
        """Return the arguments of a node with wide dtypes in the place of the others."""
        import torch

        if isinstance(value, torch.dtype):
            return self.wide.get(value, value)
        if isinstance(value, dict):
            return {key: self.widen_dtypes(item) for key, item in value.items()}
        if isinstance(value, tuple | list):
            return type(value)(self.widen_dtypes(item) for item in value)
        return value

    def evaluate(self, node: fx.Node) -> Any:
        """Return the node's result as fake tensors."""
        import torch

        args, kwargs = torch.fx.map_arg((node.args, dict(node.kwargs)), lambda source: source.meta["val"])
        with self.mode, torch.no_grad():
            return node.target(*args, **kwargs)  # type: ignore[operator]  # a call_function's target is callable

    def after(self, node: fx.Node, op: Any, *others: Any) -> fx.Node:
        """Insert op(node, *others) behind `node`. It takes the place of `node`, and its name in the signature."""
        with self.graph.inserting_after(node):
            result: fx.Node = self.graph.call_function(op, (node, *others))
        node.replace_all_uses_with(result, delete_user_cb=lambda user: user is not result)
        result.meta = {key: node.meta[key] for key in ("stack_trace", "nn_module_stack") if key in node.meta}
        result.meta["val"] = self.evaluate(result)
        for spec in self.program.graph_signature.output_specs:
            if spec.arg.name == node.name:
                spec.arg.name = result.name
        return result

    def wrap(self, node: fx.Node, dtype: torch.dtype) -> None:
        """Wrap an int32 result around to the range of `dtype`: modulo 256 for uint8, and [-128, 127] for int8."""
        import torch

        aten, limits = torch.ops.aten, torch.iinfo(dtype)
        count = limits.max - limits.min + 1
        if limits.min:
            node = self.after(node, aten.sub.Tensor, limits.min)
        node = self.after(node, aten.remainder.Scalar, count)
        if limits.min:
            self.after(node, aten.add.Tensor, limits.min)
