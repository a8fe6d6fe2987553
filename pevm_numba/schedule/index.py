"""The key index groups a key's accessors by what they conflict with, so all partners of an access are one range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import conflicts as _k
from .._kernels.jit import inputs
from ..access.sets import AccessSets, need_access

__all__ = ["KeyHeat", "KeyIndex", "key_heat"]


@dataclass(frozen=True, eq=False)
class KeyIndex:
    """For each key its transactions: the access sets transposed, grouped by how they access.

    Parameters
    ----------
    n_tx : int
    starts : (3 * n_keys + 1,) int64
        Key k: entries ``starts[3k]:starts[3k + 1]`` only READ it, the next group is a writer towards everybody, the
        third only CREDITs it; so what conflicts with any one of them is one contiguous range.
    tx : (n_entries,) int32
        Ascending within a group.
    modes : (n_entries,) uint8

    Examples
    --------
    >>> index = KeyIndex.of(AccessSets.from_dicts([{0: 2}, {0: 1, 1: 2}, {0: 1}], n_keys=2))
    >>> index.tx[index.starts[0]:index.starts[1]].tolist()  # the readers of key 0
    [1, 2]
    """

    n_tx: int
    starts: NDArray[np.int64]
    tx: NDArray[np.int32]
    modes: NDArray[np.uint8]

    @classmethod
    def of(cls, access: AccessSets) -> KeyIndex:
        """Build the index by counting sort, in O(n_accesses + n_keys)."""
        need_access("access", access)
        starts = np.zeros(3 * access.n_keys + 2, np.int64)
        tx, modes = np.empty(access.n_accesses, np.int32), np.empty(access.n_accesses, np.uint8)
        _k.key_index(*inputs(access.indptr, access.keys, access.modes), starts, tx, modes)
        return cls(access.n_tx, *inputs(starts[:-1], tx, modes))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(n_keys, 3) int64: transactions that only read, write towards everybody, only credit."""
        return np.diff(self.starts).reshape(-1, 3)

    @property
    def key_pairs(self) -> NDArray[np.int64]:
        """(n_keys,) int64: conflicting pairs on each key; a pair counts on every key that it shares."""
        reads, writes, credits = self.sizes.T
        everyone = reads + writes + credits
        return (everyone * (everyone - 1) - reads * (reads - 1) - credits * (credits - 1)) // 2


@dataclass(frozen=True, eq=False)
class KeyHeat:
    """Who accesses each key; all arrays (n_keys,) int64, counting transactions.

    Parameters
    ----------
    accessors : all; ``readers + writers + crediters``
    readers : those that only READ
    writers : those that WRITE, or mix READ and CREDIT
    crediters : those that only CREDIT
    pairs : conflicting pairs on the key
    """

    accessors: NDArray[np.int64]
    readers: NDArray[np.int64]
    writers: NDArray[np.int64]
    crediters: NDArray[np.int64]
    pairs: NDArray[np.int64]

    def top(self, n: int = 10) -> NDArray[np.int64]:
        """Ids of up to `n` accessed keys: most conflicting pairs first, then most accessors, then lowest id."""
        order = np.lexsort((-self.accessors, -self.pairs))[: door.integer("n", n, 0, 2**31 - 1)]
        return order[self.accessors[order] > 0]


def key_heat(access: AccessSets) -> KeyHeat:
    """Count accessors and conflicting pairs of each key, in O(n_accesses + n_keys).

    Examples
    --------
    >>> heat = key_heat(AccessSets.from_dicts([{0: 2, 1: 1}, {1: 1, 2: 2}, {2: 1}], n_keys=3))
    >>> heat.top(2).tolist(), heat.writers.tolist()
    ([2, 1], [1, 0, 1])
    """
    index = KeyIndex.of(access)
    reads, writes, credits = (np.ascontiguousarray(part) for part in index.sizes.T)
    return KeyHeat(reads + writes + credits, reads, writes, credits, index.key_pairs)
