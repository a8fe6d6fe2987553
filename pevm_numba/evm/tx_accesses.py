"""What each transaction accessed, in failed calls, too, and what it would have saved to list it (EIP-2929, 2930)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._kernels.evm.layout import MET
from .outcomes import NOTES
from .plans import CELLS

__all__ = ["RawAccesses", "TxAccesses", "tx_accesses"]


class RawAccesses(NamedTuple):
    """Key table of an arena, and of each transaction its notes and changes."""

    words: NDArray[np.uint8]
    owners: NDArray[np.int64]
    notes: Sequence[NDArray[Any]]
    cells: Sequence[NDArray[Any]]


class TxAccesses(NamedTuple):
    """Accounts and slots that each transaction accessed, in failed calls, too: rows by transaction (`indptr`, n_tx + 1), of
    an account first itself, then its slots. `saved` is gas that an access list would have saved by having it (EIP-2930).
    """

    indptr: NDArray[np.int64]
    address: NDArray[np.uint8]
    is_slot: NDArray[np.bool_]
    slot: NDArray[np.uint8]
    saved: NDArray[np.int64]

    def of(self, t: int) -> list[tuple[bytes, int | None, int]]:
        """Address, slot or None, and gas saved, of what one transaction accessed."""
        rows = range(int(self.indptr[t]), int(self.indptr[t + 1]))
        return [
            (
                self.address[i].tobytes(), int.from_bytes(self.slot[i].tobytes(), "big") if self.is_slot[i] else None,
                int(self.saved[i]),
            ) for i in rows
        ]  # fmt: skip


def tx_accesses(raw: RawAccesses) -> TxAccesses:
    """What transactions accessed, one by one.

    Examples
    --------
    >>> tx_accesses(RawAccesses(np.empty((0, 32), np.uint8), np.empty(0, np.int64), [], [])).indptr.tolist()
    [0]
    """
    words, owners, notes, cells = raw
    heads = np.where(owners < 0, np.arange(len(owners)) - (np.cumsum(owners < 0) - 1) % 3, owners)
    every = np.concatenate([*notes, np.empty(0, NOTES)])
    tx, key, saved = np.repeat(np.arange(len(notes)), [len(part) for part in notes]), every["key"], every["saved"]
    met, slot = key <= MET, key >= 0
    slot[slot] = owners[key[slot]] >= 0
    known = met | (key >= 0)
    account = np.where(met, MET - key, heads[np.where(key >= 0, key, 0)] if len(heads) else 0)
    changed = np.concatenate([*cells, np.empty(0, CELLS)])["key"]
    by = np.repeat(np.arange(len(cells)), [len(part) for part in cells])
    tx = np.concatenate([tx[slot], tx[known], by])
    row = np.concatenate([key[slot], account[known], heads[changed] if len(changed) else changed])
    gas = np.concatenate([saved[slot], np.where(met, saved, 0)[known], np.zeros(len(by), np.int64)])
    # an account comes before its slots, and those in their order
    pairs, where = np.unique(np.stack([tx, row], axis=1), axis=0, return_inverse=True)
    total = np.zeros(len(pairs), np.int64)
    np.add.at(total, where.reshape(-1), gas)
    is_slot = owners[pairs[:, 1]] >= 0
    address = words[heads[pairs[:, 1]], 19::-1]
    number = np.where(is_slot[:, None], words[pairs[:, 1], ::-1], 0).astype(np.uint8)
    text = np.concatenate([pairs[:, :1].astype(">i8").view(np.uint8), address, is_slot[:, None], number], axis=1)
    order = np.argsort(np.ascontiguousarray(text, np.uint8).view("S61").reshape(-1), kind="stable")
    indptr = np.searchsorted(pairs[order, 0], np.arange(len(notes) + 1)).astype(np.int64)
    return TxAccesses(indptr, address[order].copy(), is_slot[order], number[order].copy(), total[order])
