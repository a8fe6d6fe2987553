"""The curve has three names, alt_bn128, bn128 and BN254, but is not the BN254 of most libraries, which has other parameters.

Numbers on the wire are big-endian, a coordinate of G2 has its imaginary part first, and infinity is (0, 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Protocol

from . import bn128_mcl, bn128_plain
from .bn128_plain import Point2
from .curves import BN128, Point

__all__ = ["add", "multiply", "pairing"]


class _Group(Protocol):
    """What both backends offer; points of G1 they are given lie on the curve, coordinates are below p."""

    def add(self, one: Point, other: Point) -> Point:
        """Sum."""

    def multiply(self, point: Point, factor: int) -> Point:
        """Multiple."""

    def in_group_2(self, point: Point2) -> bool:
        """Whether the point is on the twist and of the right order."""

    def pairing_is_one(self, pairs: Sequence[tuple[Point, Point2]]) -> bool:
        """Whether the product of the pairings is 1."""


@cache
def _group() -> _Group:
    """mcl if it is installed and works, else plain Python."""
    return bn128_mcl.Mcl.load() or bn128_plain.Plain()


def _words(data: bytes, count: int) -> list[int]:
    """That many words, zeros after the end of the data."""
    data = data.ljust(32 * count, b"\0")
    return [int.from_bytes(data[at : at + 32], "big") for at in range(0, 32 * count, 32)]


def _point(x: int, y: int) -> Point:
    """The point of G1; ValueError if there is none."""
    if x == y == 0:
        return None
    if not BN128.contains(x, y):
        raise ValueError("not a point of G1")
    return x, y


def _point_2(words: Sequence[int]) -> Point2:
    """The point of G2 of imaginary x, real x, imaginary y, real y; ValueError if there is none."""
    if not any(words):
        return None
    point = ((words[1], words[0]), (words[3], words[2]))
    if max(words) >= BN128.p or not _group().in_group_2(point):
        raise ValueError("not a point of G2")
    return point


def _written(point: Point) -> bytes:
    """64 bytes."""
    x, y = (0, 0) if point is None else point
    return x.to_bytes(32, "big") + y.to_bytes(32, "big")


def add(data: bytes) -> bytes | None:
    """Sum of two points of G1: input x and y of both; short input is filled with zeros.

    Parameters
    ----------
    data : bytes
        Bytes after the first 128 are not looked at.

    Returns
    -------
    bytes or None
        x and y of the sum; None if a point is not on the curve.

    References
    ----------
    EIP-196.

    Examples
    --------
    >>> one_two = bytes([*bytes(31), 1, *bytes(31), 2])
    >>> add(one_two) == one_two, add(b"\\1"), add(b"") == bytes(64)
    (True, None, True)
    """
    words = _words(data, 4)
    try:
        return _written(_group().add(_point(*words[:2]), _point(*words[2:4])))
    except ValueError:
        return None


def multiply(data: bytes) -> bytes | None:
    """Multiple of a point of G1: input x, y and the factor, any 256-bit number; short input is filled with zeros.

    Parameters
    ----------
    data : bytes
        Bytes after the first 96 are not looked at.

    Returns
    -------
    bytes or None
        x and y of the multiple; None if the point is not on the curve.

    References
    ----------
    EIP-196.

    Examples
    --------
    >>> one_two = bytes([*bytes(31), 1, *bytes(31), 2])
    >>> multiply(one_two + bytes([*bytes(31), 2])) == add(one_two + one_two)
    True
    """
    x, y, factor = _words(data, 3)
    try:
        return _written(_group().multiply(_point(x, y), factor))
    except ValueError:
        return None


def pairing(data: bytes) -> bytes | None:
    """Whether the product of pairings is 1: input any number of pairs, 192 bytes each, of a point of G1 and one of G2.

    Parameters
    ----------
    data : bytes
        A multiple of 192; the product of none is 1.

    Returns
    -------
    bytes or None
        1 or 0 in 32 bytes; None for another length, or a point that is not in its group.

    References
    ----------
    EIP-197.

    Examples
    --------
    >>> pairing(b"").hex()[-2:], pairing(bytes(192)).hex()[-2:], pairing(bytes(191))
    ('01', '01', None)
    """
    if len(data) % 192:
        return None
    pairs = []
    try:
        for at in range(0, len(data), 192):
            words = _words(data[at : at + 192], 6)
            pairs.append((_point(*words[:2]), _point_2(words[2:])))
    except ValueError:
        return None
    live = [pair for pair in pairs if None not in pair]
    return int(_group().pairing_is_one(live)).to_bytes(32, "big")
