"""RIPEMD-160 comes out as 32 bytes, twelve zeros first; OpenSSL 3 often lacks it, so there is one in plain Python here."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Final

__all__ = ["identity", "ripemd160", "ripemd160_plainly", "sha256"]

_MASK: Final = 2**32 - 1


def _orders() -> tuple[list[int], list[int]]:
    """Message words of the 80 steps of the left and of the right line, from their two permutations."""
    rho = [7, 4, 13, 1, 10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8]
    left, right = list(range(16)), [(9 * i + 5) % 16 for i in range(16)]
    lines = ([*left], [*right])
    for line in lines:
        for _ in range(4):
            line += [rho[word] for word in line[-16:]]
    return lines


_LEFT, _RIGHT = _orders()
#: Rotation of message word w in round r: _SHIFTS[r][w]; both lines use the same.
_SHIFTS: Final = (
    (11, 14, 15, 12, 5, 8, 7, 9, 11, 13, 14, 15, 6, 7, 9, 8),
    (12, 13, 11, 15, 6, 9, 9, 7, 12, 15, 11, 13, 7, 8, 7, 7),
    (13, 15, 14, 11, 7, 7, 6, 8, 13, 14, 13, 12, 5, 5, 6, 9),
    (14, 11, 12, 14, 8, 6, 5, 5, 15, 12, 15, 14, 9, 9, 8, 6),
    (15, 12, 13, 13, 9, 5, 8, 6, 14, 11, 12, 11, 8, 6, 5, 5),
)
_LEFT_ADDED: Final = (0x00000000, 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xA953FD4E)
_RIGHT_ADDED: Final = (0x50A28BE6, 0x5C4DD124, 0x6D703EF3, 0x7A6D76E9, 0x00000000)
_START: Final = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)


def _mixed(number: int, x: int, y: int, z: int) -> int:
    """The Boolean function of a round; the right line uses them in reverse."""
    if number == 0:
        return x ^ y ^ z
    if number == 1:
        return (x & y) | (~x & z)
    if number == 2:
        return (x | ~y) ^ z
    if number == 3:
        return (x & z) | (y & ~z)
    return x ^ (y | ~z)


def _line(state: tuple[int, ...], words: list[int], order: list[int], added: tuple[int, ...], right: bool) -> tuple[int, ...]:
    """State after the 80 steps of one line over a block."""
    a, b, c, d, e = state
    for step, word in enumerate(order):
        number = step // 16
        total = (a + _mixed(4 - number if right else number, b, c, d) + words[word] + added[number]) & _MASK
        shift = _SHIFTS[number][word]
        total = ((total << shift | total >> (32 - shift)) + e) & _MASK
        a, b, c, d, e = e, total, b, (c << 10 | c >> 22) & _MASK, d
    return a, b, c, d, e


def ripemd160_plainly(data: bytes) -> bytes:
    """RIPEMD-160 in plain Python, about 0.1 ms for each 64 bytes.

    Parameters
    ----------
    data : bytes
        Of any length.

    Returns
    -------
    bytes
        The 20 bytes of the digest.

    References
    ----------
    Dobbertin, Bosselaers, Preneel: "RIPEMD-160: a strengthened version of RIPEMD" (1996).

    Examples
    --------
    >>> ripemd160_plainly(b"abc").hex()
    '8eb208f7e05d987a9b044a8e98c6b087f15a0bfc'
    """
    padded = data + b"\x80" + bytes(-(len(data) + 9) % 64) + (8 * len(data) % 2**64).to_bytes(8, "little")
    state: tuple[int, ...] = _START
    for block in range(0, len(padded), 64):
        words = [int.from_bytes(padded[at : at + 4], "little") for at in range(block, block + 64, 4)]
        left = _line(state, words, _LEFT, _LEFT_ADDED, right=False)
        right = _line(state, words, _RIGHT, _RIGHT_ADDED, right=True)
        state = tuple((state[(i + 1) % 5] + left[(i + 2) % 5] + right[(i + 3) % 5]) & _MASK for i in range(5))
    return b"".join(word.to_bytes(4, "little") for word in state)


@cache
def _openssl_has_ripemd160() -> bool:
    """Whether hashlib really makes one: OpenSSL 3 may list it without its legacy provider."""
    try:
        hashlib.new("ripemd160", usedforsecurity=False)
    except ValueError:
        return False
    return True


def ripemd160(data: bytes) -> bytes:
    """RIPEMD-160 of the input, after twelve zero bytes.

    Parameters
    ----------
    data : bytes
        Of any length.

    Returns
    -------
    bytes
        32 bytes.

    References
    ----------
    Ethereum Yellow Paper, appendix E.1.

    Examples
    --------
    >>> ripemd160(b"").hex()
    '0000000000000000000000009c1185a5c5e9fc54612808977ee8f548b2258d31'
    """
    if _openssl_has_ripemd160():
        return bytes(12) + hashlib.new("ripemd160", data, usedforsecurity=False).digest()
    return bytes(12) + ripemd160_plainly(data)


def sha256(data: bytes) -> bytes:
    """SHA-256 of the input.

    Parameters
    ----------
    data : bytes
        Of any length.

    Returns
    -------
    bytes
        32 bytes.

    References
    ----------
    FIPS 180-4; Ethereum Yellow Paper, appendix E.1.

    Examples
    --------
    >>> sha256(b"").hex()[:8]
    'e3b0c442'
    """
    return hashlib.sha256(data).digest()


def identity(data: bytes) -> bytes:
    """The input itself.

    Parameters
    ----------
    data : bytes
        Of any length.

    Returns
    -------
    bytes
        The same.

    References
    ----------
    Ethereum Yellow Paper, appendix E.1.

    Examples
    --------
    >>> identity(b"same")
    b'same'
    """
    return data
