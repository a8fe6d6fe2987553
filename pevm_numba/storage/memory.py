"""A store that lasts as long as the process: a hash table in memory, read by kernels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..keys import KeyTable
from .mmap import write_store
from .store import Last
from .table import Table
from .table_store import TableStore

__all__ = ["MemoryStore"]


class MemoryStore(TableStore):
    """A `StateStore` in memory: an open-addressing hash table in arrays, of 114 to 182 bytes a key.

    Examples
    --------
    >>> from ..machine.ops import Field
    >>> keys = KeyTable.from_keys([(bytes(20), Field.STORAGE, 5), (bytes(20), Field.BALANCE, 0)])
    >>> store = MemoryStore()
    >>> store.put_many(keys, [[0] * 31 + [7], [0] * 32])
    >>> store.get_many(keys)[:, 31].tolist(), [len(part) for part, _ in store.items()]
    ([7, 0], [1])
    >>> store.metrics().hits, store.metrics().misses
    (1, 1)
    """

    backend = "memory"

    def __init__(self) -> None:
        super().__init__("memory")
        self._table = Table()
        self._codes: dict[bytes, bytes] = {}
        self._block: Last = None

    def _apply(self, keys: KeyTable, words: NDArray[np.uint8], codes: Mapping[bytes, bytes], last: Last) -> None:
        self._table.reserve(len(keys))  # if there is no memory for it, nothing has changed yet
        self._codes.update(codes)
        self._table.put(keys, words)
        self._block = last if last is not None else self._block

    def _code(self, digest: bytes) -> bytes | None:
        return self._codes.get(digest)

    def _copy(self, path: Path) -> Last:
        return write_store(path, self._table, self._codes, self._block)

    def _close(self) -> None:
        self._table, self._codes = Table(), {}
