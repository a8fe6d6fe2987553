"""What is hashed, and Keccak-256 in plain Python: `machine.spec.keccak256` gives the same, at three times the cost.

Every message begins with eight bytes that say what it is, so that no leaf can be taken for a node, nor one kind of
commitment for another.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Final

__all__ = ["EMPTY", "Hash", "Tag", "keccak", "key_path", "leaf_hash", "node_hash", "stack_hash", "tagged"]

#: A function from bytes to a digest of 32 bytes.
Hash = Callable[[bytes], bytes]

#: Root of a tree without leaves, hash of a stack without entries, and the link before the first claim.
EMPTY: Final = bytes(32)

_MASK: Final = 2**64 - 1
_ROUNDS: Final = (
    0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000, 0x000000000000808B, 0x0000000080000001,
    0x8000000080008081, 0x8000000000008009, 0x000000000000008A, 0x0000000000000088, 0x0000000080008009, 0x000000008000000A,
    0x000000008000808B, 0x800000000000008B, 0x8000000000008089, 0x8000000000008003, 0x8000000000008002, 0x8000000000000080,
    0x000000000000800A, 0x800000008000000A, 0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
)  # fmt: skip


def _moves() -> tuple[tuple[int, int], ...]:
    """For each lane of the next state: from which lane it comes, and by how many bits that is rotated."""
    found = [(0, 0)] * 25
    x, y = 1, 0
    for step in range(24):
        source, bits = x + 5 * y, (step + 1) * (step + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
        found[x + 5 * y] = (source, bits)
    return tuple(found)


_MOVES: Final = _moves()


def _permute(a: list[int]) -> list[int]:
    """Keccak-f[1600]."""
    for constant in _ROUNDS:
        c = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
        d = [c[x - 1] ^ ((c[x - 4] << 1 | c[x - 4] >> 63) & _MASK) for x in range(5)]
        b = []
        for source, bits in _MOVES:
            lane = a[source] ^ d[source % 5]
            b.append((lane << bits | lane >> (64 - bits)) & _MASK)
        a = []
        for y in (0, 5, 10, 15, 20):
            p, q, r, s, t = b[y : y + 5]
            a += (p ^ (~q & r), q ^ (~r & s), r ^ (~s & t), s ^ (~t & p), t ^ (~p & q))
        a[0] ^= constant
    return a


def keccak(data: bytes) -> bytes:
    """Keccak-256 as Ethereum uses it.

    Examples
    --------
    >>> keccak(b"").hex()[:16]
    'c5d2460186f7233c'

    References
    ----------
    The Keccak reference, version 3.0; Ethereum yellow paper, appendix.
    """
    padded = bytearray(data + b"\x01" + bytes(-(len(data) + 1) % 136))
    padded[-1] |= 0x80
    lanes = [0] * 25
    for start in range(0, len(padded), 136):
        for i in range(17):
            lanes[i] ^= int.from_bytes(padded[start + 8 * i : start + 8 * i + 8], "little")
        lanes = _permute(lanes)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])


class Tag(IntEnum):
    """First byte of a message: what it is."""

    LEAF = 0
    NODE = 1
    KEY = 2
    STACK = 3
    MACHINE = 4
    CLAIM = 5
    AGREEMENT = 6


def tagged(tag: Tag, data: bytes) -> bytes:
    """A message of that kind."""
    return bytes((tag, 0, 0, 0, 0, 0, 0, 0)) + data


def leaf_hash(path: bytes, value: bytes, hash: Hash = keccak) -> bytes:
    """Digest of a leaf: a path of 32 bytes and any value."""
    return hash(tagged(Tag.LEAF, path + value))


def node_hash(bit: int, left: bytes, right: bytes, hash: Hash = keccak) -> bytes:
    """Digest of a node that parts paths with 0 at a bit, left, from those with 1, right; they are alike before it."""
    return hash(bytes((Tag.NODE, bit, 0, 0, 0, 0, 0, 0)) + left + right)


def stack_hash(value: int, below: bytes, hash: Hash = keccak) -> bytes:
    """Digest of a stack by its top and the digest of what is below it."""
    return hash(tagged(Tag.STACK, value.to_bytes(32, "big") + below))


def key_path(key: bytes, hash: Hash = keccak) -> bytes:
    """Where a state key is in the tree: hash of its address (20 bytes), field (1) and slot (32)."""
    return hash(tagged(Tag.KEY, key))
