"""Ops that formats lack, in terms of ops that they have. A target chooses which of its nodes are rewritten so.

Everything here computes what PyTorch computes; which converter needs what, and until when, is said by the targets'
own fixes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram

Table = dict[Any, Callable[..., Any]]


def rewritten(exported: ExportedProgram, table: Table) -> ExportedProgram:
    """The program with the ops of `table` decomposed; the program itself where it has none of them.

    Writes into tensors become ops of `table` only when the program is made functional, which decomposing does.
    """
    targets = [node.target for node in exported.graph_module.graph.nodes if node.op == "call_function"]
    if not any(target in table or writes_in_place(target) for target in targets):
        return exported
    made: ExportedProgram = exported.run_decompositions(table)
    return made


def unchanged() -> Any:
    """What a decomposition returns to leave the op as it is."""
    return NotImplemented


def operator_name(node: fx.Node) -> str:
    """An operator's name in its library: "aten::add" of aten.add.Tensor; nothing for what is none."""
    schema = getattr(node.target, "_schema", None)
    return str(schema.name) if node.op == "call_function" and schema is not None else ""


def op_name(target: Any) -> str:
    """An ATen op's name without its overload: "add" of aten.add.Tensor; of others their text."""
    name = str(target)
    return name.split(".")[1] if name.startswith("aten.") else name


def writes_in_place(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    return bool(schema is not None and schema.is_mutable)


def plain_arithmetic() -> Table:
    """Elementwise ops that PyTorch would decompose into what converters do not know: `prims`, tensors of no axes."""
    import torch
    from torch.nn import functional as F

    def trunc(x: torch.Tensor) -> torch.Tensor:
        return torch.sign(x) * torch.floor(torch.abs(x))

    def fmod(x: torch.Tensor, y: torch.Tensor | float) -> torch.Tensor:
        return x - trunc(x / y) * y

    def hypot(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.sqrt(x * x + y * y)

    def isfinite(x: torch.Tensor) -> torch.Tensor:
        # Not a number compares as false with everything.
        return torch.abs(x) < math.inf

    aten = torch.ops.aten
    return {
        aten.trunc.default: trunc,
        aten.fmod.Scalar: fmod,
        aten.fmod.Tensor: fmod,
        aten.hypot.default: hypot,
        aten.isfinite.default: isfinite,
        aten.lerp.Scalar: lambda x, y, share: x + share * (y - x),
        aten.lerp.Tensor: lambda x, y, share: x + share * (y - x),
        aten.log_sigmoid.default: lambda x: -F.softplus(-x),
        aten.float_power.Tensor_Scalar: lambda x, power: torch.pow(x.double(), power),
    }


def writes() -> Table:
    """Assignments to parts of a tensor, as concatenations and selections instead of scatters.

    `x[a:b] = y` and `x[i] = y` along one axis, and `x[mask] = number`; scatters to computed places stay.
    """
    import torch

    def slice_scatter(
        x: torch.Tensor,
        part: torch.Tensor,
        dim: int = 0,
        start: int | None = None,
        end: int | None = None,
        step: int = 1,
    ) -> torch.Tensor:
        size = x.shape[dim]
        places = range(*slice(start, end, step).indices(size))
        if len(places) == size:
            return part
        if step == 1:
            before, after = x.narrow(dim, 0, places.start), x.narrow(dim, places.stop, size - places.stop)
            return torch.cat([piece for piece in (before, part, after) if piece.shape[dim]], dim)
        pieces = [part.narrow(dim, places.index(at), 1) if at in places else x.narrow(dim, at, 1) for at in range(size)]
        return torch.cat(pieces, dim)

    def select_scatter(x: torch.Tensor, part: torch.Tensor, dim: int, index: int) -> torch.Tensor:
        at = index % x.shape[dim]
        return slice_scatter(x, part.unsqueeze(dim), dim, at, at + 1)

    def index_put(
        x: torch.Tensor, indices: list[torch.Tensor | None], values: torch.Tensor, accumulate: bool = False
    ) -> Any:
        mask = indices[0] if len(indices) == 1 else None
        if mask is None or mask.dtype != torch.bool or values.numel() != 1 or accumulate:
            return unchanged()
        return torch.where(mask.reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim)), values.reshape(()), x)

    aten = torch.ops.aten
    return {
        aten.slice_scatter.default: slice_scatter,
        aten.select_scatter.default: select_scatter,
        aten.index_put.default: index_put,
    }


def replaced_numbers() -> Table:
    """nan_to_num, as three selections."""
    import torch

    def nan_to_num(
        x: torch.Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
    ) -> torch.Tensor:
        limits = torch.finfo(x.dtype)
        x = torch.where(x != x, 0.0 if nan is None else nan, x)
        x = torch.where(x == math.inf, limits.max if posinf is None else posinf, x)
        return torch.where(x == -math.inf, limits.min if neginf is None else neginf, x)

    return {torch.ops.aten.nan_to_num.default: nan_to_num}


def odd_pads() -> Table:
    """Padding by what lies at the other end, as concatenations, and negative padding, as slices; others stay."""
    import torch
    from torch.nn import functional as F

    def pad(x: torch.Tensor, around: list[int], mode: str = "constant", value: float | None = None) -> Any:
        if mode != "circular" and min(around) >= 0:
            return unchanged()
        for dim, (before, after) in enumerate(zip(around[::2], around[1::2], strict=True)):
            axis = x.ndim - 1 - dim
            size = x.shape[axis]
            x = x.narrow(axis, max(0, -before), size + min(0, before) + min(0, after))
            if mode == "circular":
                pieces = [x.narrow(axis, size - max(0, before), max(0, before)), x, x.narrow(axis, 0, max(0, after))]
                x = torch.cat([piece for piece in pieces if piece.shape[axis]], axis)
        rest = [max(0, side) for side in around]
        return F.pad(x, rest, mode, value) if mode != "circular" and any(rest) else x

    return {torch.ops.aten.pad.default: pad}


def divided_pools() -> Table:
    """Average pools with a divisor of their own, as others times a number; those without stay."""
    import torch
    from torch.nn import functional as F

    def avg_pool2d(x: torch.Tensor, kernel: list[int], *more: Any) -> Any:
        """`more` is what the op's schema goes on with: stride, padding, ceil_mode, count_include_pad, the divisor."""
        rest: list[Any] = [[], [0], False, True, None]
        stride, padding, ceil_mode, _, divisor = list(more) + rest[len(more) :]
        if divisor is None:
            return unchanged()
        steps, sides, taps = pair(stride or kernel), pair(padding), pair(kernel)
        size = windows_of(x, taps, steps, sides, ceil_mode)
        after = [max(0, (size[a] - 1) * steps[a] + taps[a] - x.shape[a - 2] - sides[a]) for a in (0, 1)]
        # Zeros all around, so that every window is whole and counts all its places.
        wide = F.pad(x, (sides[1], after[1], sides[0], after[0]))
        return F.avg_pool2d(wide, taps, steps) * (taps[0] * taps[1] / divisor)

    return {torch.ops.aten.avg_pool2d.default: avg_pool2d}


def rms_norms() -> Table:
    """Root-mean-square norms in means and products."""
    import torch

    def rms_norm(
        x: torch.Tensor, shape: list[int], weight: torch.Tensor | None = None, eps: float | None = None
    ) -> torch.Tensor:
        axes = list(range(x.ndim - len(shape), x.ndim))
        least = torch.finfo(x.dtype).eps if eps is None else eps
        made = x * torch.rsqrt(x.square().mean(axes, keepdim=True) + least)
        return made if weight is None else made * weight

    return {torch.ops.aten.rms_norm.default: rms_norm}


def dilated_pools() -> Table:
    """Max pools whose kernel has gaps, as the maximum over shifted copies; other max pools stay."""
    import torch
    from torch.nn import functional as F

    def max_pool2d(
        x: torch.Tensor,
        kernel: list[int],
        stride: list[int] = [],  # noqa: B006 - the op's own schema says []; it is only read
        padding: list[int] = [0],  # noqa: B006 - the same
        dilation: list[int] = [1],  # noqa: B006 - the same
        ceil_mode: bool = False,
    ) -> Any:
        gaps = pair(dilation)
        if gaps == [1, 1]:
            return unchanged()
        steps, sides, taps = pair(stride or kernel), pair(padding), pair(kernel)
        reach = [(taps[a] - 1) * gaps[a] + 1 for a in (0, 1)]
        size = windows_of(x, reach, steps, sides, ceil_mode)
        spans = [(size[a] - 1) * steps[a] + 1 for a in (0, 1)]
        after = [max(0, (taps[a] - 1) * gaps[a] + spans[a] - x.shape[a - 2] - sides[a]) for a in (0, 1)]
        wide = F.pad(x, (sides[1], after[1], sides[0], after[0]), value=-math.inf)
        best = None
        for row in range(taps[0]):
            for column in range(taps[1]):
                top, left = row * gaps[0], column * gaps[1]
                part = wide[..., top : top + spans[0] : steps[0], left : left + spans[1] : steps[1]]
                best = part if best is None else torch.maximum(best, part)
        assert best is not None
        return best

    return {torch.ops.aten.max_pool2d.default: max_pool2d}


def adaptive_max_pools(exported: ExportedProgram) -> Table:
    """Adaptive max pools of any sizes, as maxima over runs of rows, then of columns; nothing where indices are used."""
    import torch

    aten = torch.ops.aten
    targets = (aten.adaptive_max_pool2d.default, aten.adaptive_max_pool1d.default)
    nodes = [node for node in exported.graph_module.graph.nodes if node.target in targets]
    if any(user.args[1] != 0 and user.users for node in nodes for user in node.users):
        return {}

    def adaptive_max_pool(x: torch.Tensor, made: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        for axis, count in zip(range(x.ndim - len(made), x.ndim), made, strict=True):
            size = x.shape[axis]
            runs = [(at * size // count, -(-(at + 1) * size // count)) for at in range(count)]
            x = torch.cat([x.narrow(axis, start, end - start).amax(axis, keepdim=True) for start, end in runs], axis)
        # Nobody reads the indices.
        return x, torch.zeros_like(x, dtype=torch.int64)

    return dict.fromkeys(targets, adaptive_max_pool)


def windows_of(x: torch.Tensor, reach: list[int], steps: list[int], sides: list[int], ceil: bool) -> list[int]:
    """How many windows there are by axis. In ceil mode one may hang over the end, but must begin inside."""
    found = []
    for size, extent, step, side in zip(x.shape[-2:], reach, steps, sides, strict=True):
        room = size + 2 * side - extent
        count = (-(-room // step) if ceil else room // step) + 1
        found.append(count - 1 if ceil and (count - 1) * step >= size + side else count)
    return found


def pair(value: Any) -> list[int]:
    listed = [int(item) for item in value] if isinstance(value, list | tuple) else [int(value)]
    return listed * 2 if len(listed) == 1 else listed


def resizes() -> dict[Any, int]:
    """PyTorch's resizing ops as torch.export writes them, and the place of their scale factors."""
    import torch

    aten = torch.ops.aten
    nearest = (aten.upsample_nearest1d.vec, aten.upsample_nearest2d.vec)
    exact = (aten._upsample_nearest_exact1d.vec, aten._upsample_nearest_exact2d.vec)
    linear = (aten.upsample_linear1d.vec, aten.upsample_bilinear2d.vec, aten.upsample_bicubic2d.vec)
    smooth = (aten._upsample_bilinear2d_aa.vec, aten._upsample_bicubic2d_aa.vec)
    return dict.fromkeys((*nearest, *exact), 2) | dict.fromkeys((*linear, *smooth), 3)


def scales_of(node: fx.Node) -> list[float] | None:
    """The scale factors a resize was given, or None where it was given a size."""
    place = resizes()[node.target]
    found = node.args[place] if len(node.args) > place else node.kwargs.get("scale_factors")
    return [float(item) for item in found] if isinstance(found, list | tuple) else None


def spell_out_resizes(graph: fx.GraphModule, chosen: Callable[[fx.Node], bool]) -> bool:
    """Rewrite the chosen resizes in place, as gathers of rows and columns (nearest) or as matrix products (others).

    `graph` is an exported program's module, whose nodes carry their example values. Returns whether there was one.
    """
    known = resizes()
    found = [node for node in graph.graph.nodes if node.target in known and chosen(node)]
    for node in found:
        value = node.args[0]
        with graph.graph.inserting_before(node):
            for axis in range(2, node.meta["val"].ndim):
                value = resized(graph, node, value, axis)
        node.replace_all_uses_with(value)
        graph.graph.erase_node(node)
    return bool(found)


def resized(graph: fx.GraphModule, node: fx.Node, value: Any, axis: int) -> Any:
    """One axis of a resize. Nearest picks are recognised by their weights: a single 1 a row."""
    import torch

    aten = torch.ops.aten
    table = weights(node, axis)
    rows, columns = table.shape
    if rows == columns and torch.equal(table, torch.eye(rows)):
        return value
    if bool(((table == 0) | (table == 1)).all()) and known_nearest(node):
        index = table.argmax(1)
        return graph.graph.call_function(aten.index_select.default, (value, axis, constant(graph, index)))
    if axis == node.meta["val"].ndim - 1:
        return graph.graph.call_function(aten.matmul.default, (value, constant(graph, table.T.contiguous())))
    return graph.graph.call_function(aten.matmul.default, (constant(graph, table), value))


def known_nearest(node: fx.Node) -> bool:
    return resizes()[node.target] == 2


def weights(node: fx.Node, axis: int) -> torch.Tensor:
    """[made, size]: how much each place of the axis adds to each place made, by PyTorch itself on unit vectors."""
    import torch

    size, made = int(node.args[0].meta["val"].shape[axis]), int(node.meta["val"].shape[axis])  # type: ignore[union-attr]  # the node that is resized
    flat, scales = node.meta["val"].ndim == 3, scales_of(node)
    basis = torch.eye(size).reshape(1, size, size)
    # Beside the axis stands one that stays as it is, of two places: PyTorch's antialiasing is wrong beside one of one.
    basis = basis if flat else basis[..., None].repeat(1, 1, 1, 2)
    more = [] if flat else [2]
    corners = [bool(node.args[2])] if resizes()[node.target] == 3 else []
    with torch.no_grad():
        if scales is None:
            found = node.target(basis, [made, *more], *corners, None)  # type: ignore[operator]  # an op
        else:
            found = node.target(basis, None, *corners, [scales[axis - 2], *(1.0 for _ in more)])  # type: ignore[operator]  # an op
    table: torch.Tensor = found.reshape(size, made, -1)[..., 0].T.contiguous()
    return table


def constant(graph: fx.GraphModule, value: torch.Tensor) -> fx.Node:
    """A buffer of the module, read by a new node."""
    name = f"spelled_{sum(1 for key in dict(graph.named_buffers()) if key.startswith('spelled_'))}"
    graph.register_buffer(name, value, persistent=False)
    return graph.graph.get_attr(name)
