"""Keys and words of storage benchmarks, made from their numbers, so that none has to be kept to know what must be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..keys import KeyTable
from ..machine.ops import Field

__all__ = ["DISTRIBUTIONS", "Draws", "keys_of", "words_of"]

#: How keys of a batch are drawn.
DISTRIBUTIONS: Final = ("uniform", "zipf", "sequential")
#: Slots of an account: neighbours in a database that keeps keys in order.
_SLOTS: Final = 64
_EXPONENT: Final = 1.1
#: Odd numbers of the finaliser of splitmix64 (Steele, Lea, Flood 2014).
_STEP, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A permutation of the 64-bit numbers that leaves no pattern."""
    with np.errstate(over="ignore"):
        x = values * _STEP + _STEP
        x = (x ^ (x >> np.uint64(30))) * _FIRST
        x = (x ^ (x >> np.uint64(27))) * _SECOND
        mixed: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
        return mixed


def keys_of(ids: NDArray[np.int64]) -> KeyTable:
    """Keys by number: 64 slots of an account one after the other, accounts in no order.

    Examples
    --------
    >>> table = keys_of(np.array([0, 63, 64]))
    >>> [slot for _, _, slot in table], table[0][0] == table[1][0], table[0][0] == table[2][0]
    ([0, 63, 0], True, False)
    """
    account, n = (ids // _SLOTS).astype(np.uint64), len(ids)
    address, slot = np.zeros((n, 20), np.uint8), np.zeros((n, 32), np.uint8)
    for part, start in enumerate((0, 8, 12)):
        address[:, start : start + 8] = _mixed(account * np.uint64(3) + np.uint64(part)).view(np.uint8).reshape(n, 8)
    slot[:, 24:] = (ids % _SLOTS).astype(">u8").view(np.uint8).reshape(n, 8)
    return KeyTable(address, np.full(n, int(Field.STORAGE), np.uint8), slot)


def words_of(ids: NDArray[np.int64], version: NDArray[np.uint32] | int = 0) -> NDArray[np.uint8]:
    """(n, 32) uint8: the word that each key has after so many changes; never 0."""
    start = ids.astype(np.uint64) * np.uint64(4) + (np.asarray(version, np.uint64) << np.uint64(40))
    return np.stack([_mixed(start + np.uint64(limb)) | np.uint64(1) for limb in range(4)], axis=1).view(np.uint8)


class Draws:
    """Batches of distinct keys of a store.

    Parameters
    ----------
    n : int
        Keys in the store.
    seed : int

    Examples
    --------
    >>> draws = Draws(1000, 1)
    >>> [len(set(draws.batch(kind, 100).tolist())) for kind in DISTRIBUTIONS]
    [100, 100, 100]
    """

    def __init__(self, n: int, seed: int) -> None:
        self.n, self._rng = n, np.random.default_rng(seed)
        self._shares = np.cumsum(1.0 / np.arange(1, n + 1) ** _EXPONENT)
        self._place = self._rng.permutation(n)

    def batch(self, distribution: str, size: int) -> NDArray[np.int64]:
        """Numbers of keys, each once: of any; popular ones more often (rank to the -1.1); or one after the other."""
        if distribution == "sequential":
            start = int(self._rng.integers(self.n - size + 1))
            return np.arange(start, start + size)
        return next(self._distinct(distribution, size))

    def _distinct(self, distribution: str, size: int) -> Iterator[NDArray[np.int64]]:
        found = np.empty(0, np.int64)
        while True:
            if distribution == "uniform":
                more = self._rng.integers(self.n, size=2 * size)
            else:
                ranks = np.searchsorted(self._shares, self._rng.random(4 * size) * self._shares[-1])
                more = self._place[np.minimum(ranks, self.n - 1)]
            found = np.concatenate([found, more])
            found = found[np.sort(np.unique(found, return_index=True)[1])]  # in the order drawn
            if len(found) >= size:
                yield found[:size]
