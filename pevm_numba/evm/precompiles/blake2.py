"""Gas is one for each round, not for each block, and the rounds are the caller's to choose: a block's gas can buy millions.

The four columns of BLAKE2's state are lanes of one Python integer, 128 bits apart so that no carry reaches a neighbour; a
diagonal step is the same step after turning the rows.
"""

from __future__ import annotations

from typing import Final

from ..._kernels.evm.blake2 import IV, SIGMA

__all__ = ["compress", "gas"]

_LENGTH: Final = 213
_LANE: Final = 128
#: The 64 bits of each lane that hold the value.
_MASK: Final = sum((2**64 - 1) << _LANE * i for i in range(4))
_WHOLE: Final = 2 ** (4 * _LANE) - 1


def gas(data: bytes) -> int:
    """Price of a compression: one for each round; nothing for input of a wrong length, which then fails.

    Parameters
    ----------
    data : bytes
        The input of `compress`.

    References
    ----------
    EIP-152.

    Examples
    --------
    >>> gas((12).to_bytes(4, "big") + bytes(209)), gas(b"")
    (12, 0)
    """
    return int.from_bytes(data[:4], "big") if len(data) == _LENGTH else 0


def _row(words: tuple[int, ...] | list[int]) -> int:
    """Four words as lanes."""
    return sum(word << _LANE * i for i, word in enumerate(words))


def _turned(row: int, lanes: int) -> int:
    """Lane i of the result is lane i + `lanes` of the row."""
    return (row >> _LANE * lanes | row << _LANE * (4 - lanes)) & _WHOLE


def _rotated(row: int, bits: int) -> int:
    """Each lane rotated to the right."""
    return (row >> bits | row << (64 - bits)) & _MASK


def _half_round(a: int, b: int, c: int, d: int, first: int, second: int) -> tuple[int, int, int, int]:
    """BLAKE2's G on four columns at once."""
    a = (a + b + first) & _MASK
    d = _rotated(d ^ a, 32)
    c = (c + d) & _MASK
    b = _rotated(b ^ c, 24)
    a = (a + b + second) & _MASK
    d = _rotated(d ^ a, 16)
    c = (c + d) & _MASK
    return a, _rotated(b ^ c, 63), c, d


def compress(data: bytes) -> bytes | None:
    """BLAKE2b's function F: input rounds (4 bytes, big-endian), h (64), m (128), t (16, all little-endian), and f (1).

    Parameters
    ----------
    data : bytes
        213 bytes, the last of them 0 or 1.

    Returns
    -------
    bytes or None
        The new h; None, a failure, for other input.

    References
    ----------
    EIP-152; RFC 7693, section 3.2.

    Examples
    --------
    >>> compress(bytes(213)).hex()[:16], compress(bytes(212))
    ('08c9bcf367e6096a', None)
    """
    if len(data) != _LENGTH or data[-1] > 1:
        return None
    rounds = int.from_bytes(data[:4], "big")
    h, m, t = (
        [int.from_bytes(data[at : at + 8], "little") for at in range(start, stop, 8)]
        for start, stop in ((4, 68), (68, 196), (196, 212))
    )
    last = (2**64 - 1) * data[-1]
    a, b, c, d = _row(h[:4]), _row(h[4:]), _row(IV[:4]), _row([IV[4] ^ t[0], IV[5] ^ t[1], IV[6] ^ last, IV[7]])
    schedule = [[_row([m[s[2 * i + j]] for i in range(k, k + 4)]) for k in (0, 4) for j in (0, 1)] for s in SIGMA[:rounds]]
    for number in range(rounds):
        even, odd, diagonal_even, diagonal_odd = schedule[number % 10]
        a, b, c, d = _half_round(a, b, c, d, even, odd)
        a, b, c, d = _half_round(a, _turned(b, 1), _turned(c, 2), _turned(d, 3), diagonal_even, diagonal_odd)
        b, c, d = _turned(b, 3), _turned(c, 2), _turned(d, 1)
    rows = (_row(h[:4]) ^ a ^ c, _row(h[4:]) ^ b ^ d)
    return b"".join((row >> _LANE * i & 2**64 - 1).to_bytes(8, "little") for row in rows for i in range(4))
