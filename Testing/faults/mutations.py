"""Ways to damage bytes, as disks, networks and people do."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache
from random import Random

_NUMBERS = (0, 1, -1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1)


def damaged(good: bytes, rng: Random, header: int = 0) -> tuple[bytes, str]:
    """The bytes with one kind of damage, and what it is called.

    Args:
        good: a whole file.
        rng: decides everything.
        header: so many first bytes are hit by every second damage; 0 for no preference.
    """
    way = rng.choice(_WAYS)
    span = min(header, len(good)) if header and rng.random() < 0.5 else len(good)
    return way(good, rng, max(1, span)), way.__name__.strip("_").replace("_", " ")


def _truncated(good: bytes, rng: Random, span: int) -> bytes:
    return good[: rng.randrange(span)]


def _bits_flipped(good: bytes, rng: Random, span: int) -> bytes:
    changed = bytearray(good)
    for _ in range(rng.choice((1, 1, 2, 4, 16, 64))):
        changed[rng.randrange(span)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _bytes_overwritten(good: bytes, rng: Random, span: int) -> bytes:
    start, length = rng.randrange(span), rng.choice((1, 2, 4, 16, 256, 4096))
    filler = rng.choice((b"\0", b"\xff", b"\x80", None)) or rng.randbytes(1)
    fill = rng.randbytes(length) if rng.random() < 0.5 else filler * length
    return (good[:start] + fill + good[start + length :])[: len(good)]


def _piece_lost(good: bytes, rng: Random, span: int) -> bytes:
    start = rng.randrange(span)
    return good[:start] + good[start + rng.choice((1, 2, 3, 7, 64, 512, 4096)) :]


def _piece_doubled(good: bytes, rng: Random, span: int) -> bytes:
    start, length = rng.randrange(span), rng.choice((1, 2, 8, 128, 4096))
    return good[: start + length] + good[start:]


def _bytes_inserted(good: bytes, rng: Random, span: int) -> bytes:
    start = rng.randrange(span)
    return good[:start] + rng.randbytes(rng.choice((1, 2, 5, 64, 1024))) + good[start:]


def _number_replaced(good: bytes, rng: Random, span: int) -> bytes:
    size, code = rng.choice(((2, "H"), (4, "I"), (8, "Q")))
    value = struct.pack(rng.choice("<>") + code, rng.choice(_NUMBERS) & (2 ** (8 * size) - 1))
    start = rng.randrange(span) // 2 * 2
    return good[:start] + value + good[start + size :]


def _blocks_swapped(good: bytes, rng: Random, span: int) -> bytes:
    size = rng.choice((16, 512, 4096))
    a, b = sorted((rng.randrange(span), rng.randrange(span)))
    return good[:a] + good[b : b + size] + good[a + size : b] + good[a : a + size] + good[b + size :]


_WAYS: tuple[Callable[[bytes, Random, int], bytes], ...] = (
    _truncated,
    _truncated,
    _bits_flipped,
    _bits_flipped,
    _bytes_overwritten,
    _piece_lost,
    _piece_doubled,
    _bytes_inserted,
    _number_replaced,
    _blocks_swapped,
)


def packed_zeros(megabytes: int, head: bytes = b"", kind: str = "deflate") -> bytes:
    """``head`` and very many zeros as "deflate", "zlib" or "gzip"; the checksum at the end is wrong."""
    start = {"deflate": b"", "zlib": b"\x78\x01", "gzip": b"\x1f\x8b\x08" + bytes(7)}[kind]
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + first + _sixteen_megabytes() * (megabytes // 16) + packer.flush() + bytes(8)


@cache
def _sixteen_megabytes() -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(bytes(16 * 2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
