"""What stores in a hash table have in common, whether it lies in memory or in a mapped file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..keys import KeyTable
from .store import Last, Store
from .table import Table

__all__ = ["TableStore"]


class TableStore(Store):
    """A store whose words are in `_table` and whose last block is `_block`."""

    _table: Table
    _block: Last

    def _get(self, keys: KeyTable) -> tuple[NDArray[np.uint8], int]:
        with self._writing:
            return self._table.get(keys)

    def _last(self) -> Last:
        return self._block

    def _slots(self, address: bytes) -> KeyTable:
        with self._writing:
            return self._table.slots_of(address)

    def _parts(self) -> Iterator[tuple[KeyTable, NDArray[np.uint8]]]:
        return self._table.parts(self._writing)
