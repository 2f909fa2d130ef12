"""What the simulated embedding models make of text: the same vector for the same text, of length 1."""

from __future__ import annotations

import base64
import hashlib
import math
import struct

DIMENSIONS = 256
MOST_DIMENSIONS = 4_096


def vector_of(text: str, dimensions: int | None = None) -> list[float]:
    size = min(dimensions or DIMENSIONS, MOST_DIMENSIONS)
    digest = hashlib.shake_256(text.encode("utf-8", "replace")).digest(size)
    numbers = [byte - 127.5 for byte in digest]
    length = math.sqrt(sum(number * number for number in numbers))
    return [round(number / length, 6) for number in numbers]


def as_base64(vector: list[float]) -> str:
    """As OpenAI's own client asks for it: 32-bit floats, the last byte most significant."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
