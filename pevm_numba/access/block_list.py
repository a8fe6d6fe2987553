"""A block access list with values: what each transaction leaves behind, known before anything runs (after EIP-7928).

Reads carry no transaction here, as in EIP-7928; where a key is both read and changed, only the changes are listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door, programs
from ..errors import BlockError

__all__ = ["BlockAccessList"]


@dataclass(frozen=True, eq=False, repr=False)
class BlockAccessList:
    """Net changes of each transaction, and the keys that are accessed and changed by none.

    Whether it fits a block is what running from it tells: ``execute(block, "bal", access_list=...)``.

    Parameters
    ----------
    n_keys : int
        Key ids are in [0, n_keys), those of the block.
    indptr : (n_tx + 1,) int64
        CSR offsets by block position.
    keys : (n,) int32
        Keys whose value after the transaction differs from the value before it, ascending within a transaction.
    values : (n, 4) uint64
        Values after the transaction, as limbs, least significant first.
    reads : (m,) int32
        Keys that transactions accessed and none changed, ascending.

    Raises
    ------
    BlockError
        If an argument is not as described.

    References
    ----------
    EIP-7928: Block-Level Access Lists.

    Examples
    --------
    >>> listed = BlockAccessList(3, [0, 1, 2], [0, 0], [[5, 0, 0, 0], [6, 0, 0, 0]], [2])
    >>> listed
    <BlockAccessList: 2 txs, 2 changes, 1 only read>
    >>> listed[1]
    {0: 6}
    """

    n_keys: int
    indptr: NDArray[np.int64]
    keys: NDArray[np.int32]
    values: NDArray[np.uint64]
    reads: NDArray[np.int32]

    def __post_init__(self) -> None:
        n_keys = door.integer("n_keys", self.n_keys, 0, 2**31 - 1)
        keys = door.array("keys", self.keys, np.int32, (None,), low=0, high=n_keys - 1)
        indptr = door.csr("indptr", self.indptr, None, len(keys))
        values = door.array("values", self.values, np.uint64, (len(keys), 4))
        reads = door.array("reads", self.reads, np.int32, (None,), low=0, high=n_keys - 1)
        first = np.zeros(len(keys), bool)
        first[indptr[:-1][indptr[:-1] < len(keys)]] = True
        for name, ids, starts in (("keys", keys, first), ("reads", reads, np.arange(len(reads)) == 0)):
            bad = np.flatnonzero(~starts[1:] & (ids[1:] <= ids[:-1])) + 1
            if len(bad):
                i = int(bad[0])
                raise BlockError(f"{name}[{i}] = {ids[i]} after {ids[i - 1]}: must be distinct and ascending")
        arrays = {"indptr": indptr, "keys": keys, "values": values, "reads": reads}
        door.freeze(self, n_keys=n_keys, **{name: array.copy() for name, array in arrays.items()})

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.n_keys, self.indptr, self.keys, self.values, self.reads)

    @property
    def n_tx(self) -> int:
        """Number of transactions."""
        return len(self.indptr) - 1

    @property
    def n_changes(self) -> int:
        """Number of (transaction, key) pairs that change."""
        return len(self.keys)

    def __getitem__(self, tx: int) -> dict[int, int]:
        tx = door.integer("transaction", tx, 0, self.n_tx - 1)
        part = slice(self.indptr[tx], self.indptr[tx + 1])
        return dict(zip(self.keys[part].tolist(), programs.integers(self.values[part])))

    def replace(self, **arrays: ArrayLike) -> BlockAccessList:
        """A copy with some of the arrays changed, checked anew.

        Raises
        ------
        BlockError
            If an array is not as described.

        Examples
        --------
        >>> BlockAccessList(1, [0, 0], [], np.zeros((0, 4)), [0]).replace(reads=[])
        <BlockAccessList: 1 txs, 0 changes, 0 only read>
        """
        names = ("indptr", "keys", "values", "reads")
        for name in arrays:
            door.choice("array", name, names)
        return BlockAccessList(self.n_keys, *(arrays.get(name, getattr(self, name)) for name in names))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BlockAccessList):
            return NotImplemented
        names = ("indptr", "keys", "values", "reads")
        same = all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)
        return self.n_keys == other.n_keys and same

    __hash__ = None  # type: ignore[assignment]  # arrays compare by content

    def __repr__(self) -> str:
        return f"<BlockAccessList: {self.n_tx:,} txs, {self.n_changes:,} changes, {len(self.reads):,} only read>"
