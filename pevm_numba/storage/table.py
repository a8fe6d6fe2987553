"""The hash table of `_kernels.table` with room made as it grows: what the memory and mmap stores are made of."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels import table as kernels
from .._kernels.jit import inputs
from ..errors import StoreError
from ..keys import KeyTable
from ..machine.ops import Field

__all__ = ["Table", "limbs", "packed", "pages_for"]

_U64 = NDArray[np.uint64]

#: Entries of a page's `kernels.SLOTS` that are used on average, at most and after growing.
_FULLEST = 0.80
_GROWN = 0.50
#: Pages whose entries are handed out together.
_PART = 1 << 10


def pages_for(n: int) -> int:
    """Pages for so many entries, with room to grow by six tenths."""
    return max(4, int(n / (kernels.SLOTS * _GROWN)) + 1)


def empty_pages(n: int) -> _U64:
    """(n, LIMBS) uint64 of empty pages; each begins where one of memory's does, so that headers are one cache line."""
    raw = np.zeros(n * kernels.LIMBS + 511, np.uint64)
    return raw[-raw.ctypes.data % 4096 // 8 :][: n * kernels.LIMBS].reshape(n, kernels.LIMBS)


def packed(keys: KeyTable) -> _U64:
    """(n, KEY) uint64: keys as the table has them."""
    out = np.empty((len(keys), kernels.KEY), np.uint64)
    kernels.pack_keys(*inputs(keys.address.view(np.uint32), keys.field, keys.slot.view(np.uint64)), out)
    return out


def limbs(words: NDArray[np.uint8]) -> _U64:
    """(n, WORD) uint64: a copy of (n, 32) uint8, bytes as they lie."""
    return np.array(words, np.uint8, order="C").view(np.uint64)


def _unpacked(keys: _U64) -> KeyTable:
    rows = keys.view(np.uint8)
    return KeyTable(rows[:, :20], rows[:, 20], rows[:, 24:])


class Table:
    """Words by key in memory, or in a file that is mapped there.

    Parameters
    ----------
    pages : (n_pages, LIMBS) uint64, optional
        Default: of an empty table.
    n : int
        Entries in `pages`.
    seed : int in [0, 2**64), optional
        Of the hash; default random.
    checked : bool
        Whether pages have checksums, which are then looked at.
    name : str
        What complaints call it.
    """

    def __init__(
        self, pages: _U64 | None = None, n: int = 0, seed: int | None = None, checked: bool = False, name: str = "the table"
    ) -> None:
        self.pages = empty_pages(pages_for(0)) if pages is None else pages
        self.n, self.name = n, name
        self.seed = np.uint64(secrets.randbits(64) if seed is None else seed)
        self._seen = np.full(len(self.pages), not checked, np.uint8)

    def _whole(self, status: int) -> int:
        if status < 0:
            raise StoreError(f"{self.name}: page {-1 - status} is damaged: its checksum is another")
        return status

    def get(self, keys: KeyTable) -> tuple[NDArray[np.uint8], int]:
        """(n, 32) uint8: words of keys, and how many of them are there."""
        out = np.empty((len(keys), kernels.WORD), np.uint64)
        found = self._whole(kernels.find_all(self.pages, self._seen, self.seed, packed(keys), out))
        return out.view(np.uint8), found

    def put(self, keys: KeyTable, words: NDArray[np.uint8]) -> None:
        """Give keys words, whatever room that takes."""
        self.put_packed(packed(keys), limbs(words))

    def put_packed(self, keys: _U64, words: _U64) -> None:
        """The same of fresh (n, KEY) and (n, WORD) uint64."""
        self.reserve(len(keys))
        total = kernels.put_all(self.pages, self._seen, self.seed, keys, words)
        self.n += self._whole(total) - len(keys)

    def fits(self, more: int) -> bool:
        """Whether so many more entries find room."""
        return self.n + more <= _FULLEST * kernels.SLOTS * len(self.pages)

    def reserve(self, more: int) -> None:
        """Make room for so many more entries."""
        if not self.fits(more):
            pages = empty_pages(pages_for(self.n + more))
            self.copy_to(pages)
            self.pages, self._seen = pages, np.ones(len(pages), np.uint8)

    def copy_to(self, pages: _U64) -> None:
        """Put all entries into other, empty pages, which must have room."""
        self._whole(kernels.add_all(pages, np.ones(len(pages), np.uint8), self.seed, self.pages, self._seen))

    def parts(self, lock: AbstractContextManager[Any]) -> Iterator[tuple[KeyTable, NDArray[np.uint8]]]:
        """All entries, some pages' at a time, read under a lock; entries never leave their page until all get new ones."""
        pages, seen = self.pages, self._seen
        for start in range(0, len(pages), _PART):
            stop = min(start + _PART, len(pages))
            most = (stop - start) * kernels.SLOTS
            keys, words = np.empty((most, kernels.KEY), np.uint64), np.empty((most, kernels.WORD), np.uint64)
            with lock:
                n = self._whole(kernels.unpack_entries(pages, seen, start, stop, keys, words))
            if n:
                yield _unpacked(keys[:n]), words[:n].view(np.uint8)

    def slots_of(self, address: bytes) -> KeyTable:
        """Storage keys of an account, ascending; looks at every entry there is."""
        one = np.frombuffer(address, np.uint8).reshape(1, 20)
        (key,) = packed(KeyTable(one, np.array([Field.STORAGE], np.uint8), np.zeros((1, 32), np.uint8)))
        slots = np.empty((self._whole(kernels.count_storage(self.pages, self._seen, key)), 4), np.uint64)
        kernels.find_storage(self.pages, key, slots)
        rows = slots.view(np.uint8)
        rows = rows[np.lexsort(rows.T[::-1])] if len(rows) else rows
        return KeyTable(one.repeat(len(rows), axis=0), np.full(len(rows), int(Field.STORAGE), np.uint8), rows)

    def check(self) -> None:
        """Look at every page.

        Raises
        ------
        StoreError
            If one is damaged.
        """
        total = self._whole(kernels.count_all(self.pages, self._seen))
        if total != self.n:
            raise StoreError(f"{self.name}: has {total} entries: must be {self.n}")
