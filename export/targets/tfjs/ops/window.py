"""The sliding window of a convolution or pool: kernel, strides, dilations and padding of both spatial axes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from export.targets.tfjs.graph import Shape, UnsupportedOp
from export.targets.tfjs.onnx_node import OnnxNode

# (height, width)
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Window:
    """A window as (height, width) pairs. `input_size` and `output_size` are the sides of the feature maps."""

    kernel: Pair
    strides: Pair
    dilations: Pair
    pad_before: Pair
    pad_after: Pair
    input_size: Pair
    output_size: Pair

    @property
    def extent(self) -> Pair:
        """Return the size of the dilated kernel."""
        # zip loses the length in the types.
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))  # type: ignore[return-value]

    def is_same(self) -> bool:
        """Return whether TensorFlow's SAME pads exactly as this window does."""
        for axis in (0, 1):
            size, stride = self.input_size[axis], self.strides[axis]
            out = -(-size // stride)
            total = max((out - 1) * stride + self.extent[axis] - size, 0)
            if (self.output_size[axis], self.pad_before[axis]) != (out, total // 2):
                return False
        return True

    def is_valid(self) -> bool:
        """Return whether no window reads padding, as in TensorFlow's VALID."""
        return self.pad_before == (0, 0) and self.used_pad_after() == (0, 0)

    def used_pad_after(self) -> Pair:
        """Return the padding after the input that the last window reads; the declared padding may be larger."""
        used = []
        for axis in (0, 1):
            last_start = (self.output_size[axis] - 1) * self.strides[axis] - self.pad_before[axis]
            used.append(max(0, last_start + self.extent[axis] - self.input_size[axis]))
        return used[0], used[1]

    def undilated(self) -> Window:
        """Return the window of the dilated kernel written out, with zeros between its taps."""
        return replace(self, kernel=self.extent, dilations=(1, 1))

    def unstrided(self) -> Window:
        """Return the window at stride 1: every `strides`-th element of its output is an element of this one's."""
        size = [(self.output_size[a] - 1) * self.strides[a] + 1 for a in (0, 1)]
        return replace(self, strides=(1, 1), output_size=(size[0], size[1]))


def read_window(node: OnnxNode, kernel: Shape, input_size: Shape, output_size: Shape) -> Window:
    """Read the window of an ONNX node. A single spatial axis is the width, with a height of 1.

    Raises UnsupportedOp for more than two spatial axes.
    """
    rank = len(kernel)
    if rank not in (1, 2):
        raise UnsupportedOp(f"has {rank} spatial axes; 1 and 2 are supported")
    strides = node.attr("strides", [1] * rank)
    dilations = node.attr("dilations", [1] * rank)
    pads = list(node.attr("pads", [0] * 2 * rank))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    auto_pad = node.attr_str("auto_pad", "NOTSET")
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        sizes = zip(output_size, strides, extent, input_size, strict=True)
        total = [max((out - 1) * stride + reach - size, 0) for out, stride, reach, size in sizes]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = small + large if auto_pad == "SAME_UPPER" else large + small
    return Window(
        kernel=as_pair(kernel, 1),
        strides=as_pair(strides, 1),
        dilations=as_pair(dilations, 1),
        pad_before=as_pair(pads[:rank], 0),
        pad_after=as_pair(pads[rank:], 0),
        input_size=as_pair(input_size, 1),
        output_size=as_pair(output_size, 1),
    )


def as_pair(values: Shape | list[int], height: int) -> Pair:
    """Return (height, width); `height` is used where `values` holds a width alone."""
    both = [height, *values][-2:] if len(values) == 1 else list(values)
    return int(both[0]), int(both[1])
