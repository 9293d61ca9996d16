"""The sliding window that convolutions and pools share: strides, dilations and padding of both axes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from export.targets.tfjs.call import Call
from export.targets.tfjs.graph import Shape, Unsupported

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Window:
    """All pairs are (height, width). `before` and `after` are the padding; `size` and `made` input and output."""

    kernel: Pair
    strides: Pair
    dilations: Pair
    before: Pair
    after: Pair
    size: Pair
    made: Pair

    @property
    def reach(self) -> Pair:
        """How far the dilated kernel reaches."""
        # A pair stays a pair: zip loses the length in the types.
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))  # type: ignore[return-value]

    def is_same(self) -> bool:
        """Whether TensorFlow's SAME pads exactly as this window does."""
        for axis in (0, 1):
            size, stride = self.size[axis], self.strides[axis]
            out = -(-size // stride)
            total = max((out - 1) * stride + self.reach[axis] - size, 0)
            if (self.made[axis], self.before[axis]) != (out, total // 2):
                return False
        return True

    def is_valid(self) -> bool:
        """Whether no padding takes part: none before, and none that a window reaches after."""
        return self.before == (0, 0) and self.needed() == (0, 0)

    def needed(self) -> Pair:
        """The padding after the input that the last window really reaches."""
        needed = [
            max(0, (self.made[a] - 1) * self.strides[a] + self.reach[a] - self.size[a] - self.before[a]) for a in (0, 1)
        ]
        return needed[0], needed[1]

    def whole(self) -> Window:
        """The same window with a kernel that has zeros where this one has gaps."""
        return replace(self, kernel=self.reach, dilations=(1, 1))

    def dense(self) -> Window:
        """The same window at stride 1: every `strides`-th result of it is a result of this one."""
        made = [(self.made[a] - 1) * self.strides[a] + 1 for a in (0, 1)]
        return replace(self, strides=(1, 1), made=(made[0], made[1]))


def window(call: Call, kernel: Shape, size: Shape, made: Shape) -> Window:
    """Read an ONNX node's window; one spatial axis counts as height 1. Raises Unsupported for more than two."""
    rank = len(kernel)
    if rank not in (1, 2):
        raise Unsupported(f"has {rank} spatial axes; 1 and 2 are supported")
    strides = call.attr("strides", [1] * rank)
    dilations = call.attr("dilations", [1] * rank)
    pads = list(call.attr("pads", [0] * 2 * rank))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    auto = call.text("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [max((m - 1) * s + r - n, 0) for m, s, r, n in zip(made, strides, reach, size, strict=True)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = small + large if auto == "SAME_UPPER" else large + small
    return Window(
        pair(kernel, 1),
        pair(strides, 1),
        pair(dilations, 1),
        pair(pads[:rank], 0),
        pair(pads[rank:], 0),
        pair(size, 1),
        pair(made, 1),
    )


def pair(values: Shape | list[int], fill: int) -> Pair:
    both = [fill, *values][-2:] if len(values) == 1 else list(values)
    return int(both[0]), int(both[1])
