"""Tokens, collections and pairs of a made-up world: where they are, and where each keeps what it keeps.

Every draw is a hash, and nothing rounds but `* /` and square roots, so a world is the same on any machine.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from fractions import Fraction
from itertools import accumulate, islice
from typing import Final, NamedTuple

from .contracts import FACTORY, PAIR_CODE_HASH
from .hashing import keccak

__all__ = [
    "Collection", "Contracts", "Draws", "Pool", "Token", "mapping_slot", "named", "pair_address", "zipf_sums",
]  # fmt: skip

#: Slots that mappings and totals are in.
_SLOTS: Final = range(20)

#: Least that a pair has of each token; binary digits of an exponent.
_RESERVE, _DIGITS = 10**26, 16


# -------------------------------------------------------------------- drawing


class Draws:
    """Numbers drawn one after the other, by hashing.

    Parameters
    ----------
    what : int or str
        Decide all that is drawn.

    Examples
    --------
    >>> draws = Draws("dice", 7)
    >>> [1 + draws.below(6) for _ in range(5)]
    [1, 3, 5, 4, 4]
    """

    def __init__(self, *what: int | str) -> None:
        self._begin, self._n = repr(what).encode(), 0

    def bits(self) -> int:
        """256 of them."""
        self._n += 1
        return int.from_bytes(keccak(self._begin + self._n.to_bytes(8, "big")), "big")

    def below(self, n: int) -> int:
        """In [0, n)."""
        return self.bits() * n >> 256

    def rank(self, sums: list[int]) -> int:
        """A place in a list of weights, of which these are the running sums, in proportion to them."""
        return bisect_right(sums, self.below(sums[-1]))

    def slots(self, n: int) -> list[int]:
        """Slots of a contract, each another."""
        left = list(_SLOTS)
        return [left.pop(self.below(len(left))) for _ in range(n)]


def named(*what: int | str) -> bytes:
    """An address that nobody chose.

    Examples
    --------
    >>> named("user", 0, 1).hex()[:8]
    '429863b9'
    """
    return keccak(repr(what).encode())[12:]


def zipf_sums(n: int, exponent: float) -> list[int]:
    """Sums of weights of ranks 1 to n, ``2**39 * k**-exponent`` each, as `pevm_numba.workload.zipf_weights` has them.

    `pow` differs between C libraries; products and square roots do not.

    Examples
    --------
    >>> [round(total / zipf_sums(3, 1.0)[0], 2) for total in zipf_sums(3, 1.0)]
    [1.0, 1.5, 1.83]
    """
    digits = int(Fraction(exponent) * 2**_DIGITS + Fraction(1, 2))
    weights = []
    for rank in range(1, n + 1):
        power, root = 1.0, float(rank)
        for _ in range(digits >> _DIGITS):
            power *= rank
        for digit in range(_DIGITS - 1, -1, -1):
            root = math.sqrt(root)
            power *= root if digits >> digit & 1 else 1.0
        weights.append(max(1, math.floor(2.0**39 / power)))
    return list(accumulate(weights))


# -------------------------------------------------------------------- places


def mapping_slot(base: int, *keys: bytes | int) -> int:
    """Slot of an entry of a mapping as Solidity has it; further keys lead on through mappings within mappings.

    Examples
    --------
    >>> hex(mapping_slot(0, 0))[:12]
    '0xad3228b676'
    """
    for key in keys:
        word = key.to_bytes(32, "big") if isinstance(key, int) else key.rjust(32, b"\0")
        base = int.from_bytes(keccak(word + base.to_bytes(32, "big")), "big")
    return base


def pair_address(one: bytes, other: bytes) -> bytes:
    """Address of the pair of two tokens, whichever comes first.

    References
    ----------
    Uniswap v2-periphery, UniswapV2Library.pairFor; EIP-1014.

    Examples
    --------
    >>> dai, ether = "6b175474e89094c44da98b954eedeac495271d0f", "c02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
    >>> pair_address(bytes.fromhex(ether), bytes.fromhex(dai)).hex()
    'a478c2975ab1ea89e8196811f51a7b7ade33eb11'
    """
    return keccak(b"\xff" + FACTORY + keccak(min(one, other) + max(one, other)) + PAIR_CODE_HASH)[12:]


# -------------------------------------------------------------------- the world


class Token(NamedTuple):
    """An ERC-20: where it is, and where it has its mappings and its total supply."""

    address: bytes
    balances: int
    allowances: int
    supply: int


class Collection(NamedTuple):
    """An ERC-721: where it is, and where it has its mappings."""

    address: bytes
    owners: int
    balances: int
    approvals: int
    operators: int


class Pool(NamedTuple):
    """A pair on Uniswap V2: where it is, its tokens in order, and what it has of them before a block."""

    address: bytes
    tokens: tuple[Token, Token]
    reserves: tuple[int, int]


class Contracts:
    """Tokens, pools and collections of a world: however many of each, the first are the same.

    Parameters
    ----------
    world : int
    n_tokens, n_pools, n_collections : int

    Examples
    --------
    >>> Contracts(0, 3, 2, 1).pools == Contracts(0, 8, 4, 1).pools[:2]
    True
    """

    def __init__(self, world: int, n_tokens: int, n_pools: int, n_collections: int) -> None:
        self.tokens = [Token(named("token", world, i), *Draws("token", world, i).slots(3)) for i in range(n_tokens)]
        self.collections = [
            Collection(named("collection", world, i), *Draws("collection", world, i).slots(4))
            for i in range(n_collections)
        ]  # fmt: skip
        pairs = ((one, other) for i, other in enumerate(self.tokens) for one in self.tokens[:i])
        self.pools = [self._pool(world, *tokens) for tokens in islice(pairs, n_pools)]

    @staticmethod
    def _pool(world: int, one: Token, other: Token) -> Pool:
        first, second = sorted((one, other))
        address = pair_address(one.address, other.address)
        draws = Draws("pool", world, address.hex())
        return Pool(address, (first, second), (_RESERVE + draws.below(_RESERVE), _RESERVE + draws.below(_RESERVE)))
