"""The head of a safetensors file, read with plain Python: what the file says of itself, without its tensors.

Such a file begins with the length of its head (8 bytes, least significant first), then the head as JSON: the texts of
``__metadata__``, and for each tensor where it lies behind the head.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: More than any head has, in bytes.
_LONGEST = 16 * 2**20


def read_head(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Read the texts and the tensors' entries of a file that is as long as its head says.

    Raises:
        ValueError: the file is damaged or of another kind.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, _LONGEST):
            raise ValueError(f"A head of {length} bytes in a file of {size}.")
        text = file.read(length)
    try:
        head = json.loads(text)
        texts = dict(head.pop("__metadata__", None) or {})
        ends = [int(one["data_offsets"][1]) for one in head.values()]
    except (TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError("The head is none of a safetensors file.") from error
    if 8 + length + max(ends, default=0) != size:
        raise ValueError("The file is not as long as its head says.")
    return texts, head
