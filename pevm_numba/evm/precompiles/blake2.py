"""Gas is one for each round, not for each block, and the rounds are the caller's to choose: a block's gas can buy millions.

The four columns of BLAKE2's state are lanes of one Python integer, 128 bits apart so that no carry reaches a neighbour; a
diagonal step is the same step after turning the rows.
"""

from __future__ import annotations

from typing import Final

__all__ = ["compress", "gas"]

_LENGTH: Final = 213
_LANE: Final = 128
#: The 64 bits of each lane that hold the value.
_MASK: Final = sum((2**64 - 1) << _LANE * i for i in range(4))
_WHOLE: Final = 2 ** (4 * _LANE) - 1
_IV: Final = (
    0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
    0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
)  # fmt: skip
_SIGMA: Final = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)


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
    a, b, c, d = _row(h[:4]), _row(h[4:]), _row(_IV[:4]), _row([_IV[4] ^ t[0], _IV[5] ^ t[1], _IV[6] ^ last, _IV[7]])
    schedule = [[_row([m[s[2 * i + j]] for i in range(k, k + 4)]) for k in (0, 4) for j in (0, 1)] for s in _SIGMA[:rounds]]
    for number in range(rounds):
        even, odd, diagonal_even, diagonal_odd = schedule[number % 10]
        a, b, c, d = _half_round(a, b, c, d, even, odd)
        a, b, c, d = _half_round(a, _turned(b, 1), _turned(c, 2), _turned(d, 3), diagonal_even, diagonal_odd)
        b, c, d = _turned(b, 3), _turned(c, 2), _turned(d, 1)
    rows = (_row(h[:4]) ^ a ^ c, _row(h[4:]) ^ b ^ d)
    return b"".join((row >> _LANE * i & 2**64 - 1).to_bytes(8, "little") for row in rows for i in range(4))
