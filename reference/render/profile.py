"""A minimal Display P3 color profile, as in photos of phones, without a vendor's copyright."""

from __future__ import annotations

import struct

# The D50 white point, and P3's red, green and blue adapted to it (SMPTE EG 432-1 with D65, Bradford).
_WHITE = (0.9642, 1.0, 0.8249)
_PRIMARIES = {
    b"rXYZ": (0.51512, 0.24120, -0.00105),
    b"gXYZ": (0.29198, 0.69225, 0.04189),
    b"bXYZ": (0.1571, 0.06657, 0.78407),
}


def display_p3() -> bytes:
    """Return an ICC version 2 profile of P3's primaries with gamma 2.2 curves; written here, so free to embed."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 11) + b"Display P3\0" + bytes(78),
        b"cprt": b"text\0\0\0\0CC0\0",
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(_WHITE),
        **{name: b"XYZ \0\0\0\0" + _fixed(value) for name, value in _PRIMARIES.items()},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    start = 128 + 4 + 12 * len(tags)
    table, body = b"", b""
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    # Date, platform, flags, device and intent are zero: nothing that differs from run to run.
    header += bytes(12) + b"acsp" + bytes(28) + _fixed(_WHITE) + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + body


def _fixed(values: tuple[float, ...]) -> bytes:
    """Encode values in ICC's signed 15.16 fixed point."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))
