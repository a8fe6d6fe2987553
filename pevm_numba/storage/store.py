"""What all stores have in common: checks at the door, locks, counts. A backend says how words are kept, and nothing else."""

from __future__ import annotations

import os
import threading
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from ..errors import BlockError, StoreError
from ..evm.hashing import EMPTY_HASH, keccak
from ..keys import KeyTable, StateChange
from .base import Closing, checked_words
from .latency import Meter, StoreMetrics
from .places import being_made, place_of

__all__ = ["Last", "Store"]

#: Bytes of a key with its word.
_ENTRY: Final = 53 + 32
_ADDRESS: Final = 20

#: Number and digest of a block; None before the first.
Last = tuple[int, bytes] | None


class Store(Closing):
    """A `StateStore` whose backend is one of the classes derived from this; `open_store` makes one.

    Reading is safe from several threads at once, and beside one that writes: a call sees all of a commit or nothing of it.

    Attributes
    ----------
    backend : str
    name : str
        What errors call it: its path, or "memory".
    read_only : bool
    """

    backend: str = ""

    def __init__(self, name: str, read_only: bool = False) -> None:
        self.name, self.read_only = name, read_only
        self._meter = Meter()
        self._writing = threading.RLock()
        self._closed = False

    # -------------------------------------------------------------------- what a backend does

    @abstractmethod
    def _get(self, keys: KeyTable) -> tuple[NDArray[np.uint8], int]:
        """Words of keys, and how many are there."""

    @abstractmethod
    def _apply(self, keys: KeyTable, words: NDArray[np.uint8], codes: Mapping[bytes, bytes], last: Last) -> None:
        """Put words and codes, and note the last block if one is given: as a whole or not at all, kept when it returns."""

    @abstractmethod
    def _code(self, digest: bytes) -> bytes | None:
        """A code, if there is one of that hash."""

    @abstractmethod
    def _last(self) -> Last:
        """Of the last commit."""

    @abstractmethod
    def _slots(self, address: bytes) -> KeyTable:
        """Storage keys of an account, ascending."""

    @abstractmethod
    def _parts(self) -> Iterator[tuple[KeyTable, NDArray[np.uint8]]]:
        """All that is not 0."""

    @abstractmethod
    def _copy(self, path: Path) -> Last:
        """Make a store of all that is committed, at a path where there is nothing: the last block that it says it has."""

    @abstractmethod
    def _close(self) -> None:
        """Give back what is held."""

    # -------------------------------------------------------------------- what it offers

    def _need(self, write: bool = False) -> None:
        if self._closed:
            raise StoreError(f"{self.name}: the store is closed")
        if write and self.read_only:
            raise StoreError(f"{self.name}: the store was opened to be read only")

    def get_many(self, keys: KeyTable) -> NDArray[np.uint8]:
        """Words of keys, 0 for what is not there.

        Parameters
        ----------
        keys : KeyTable

        Returns
        -------
        (n, 32) uint8
            Big-endian.

        Raises
        ------
        BlockError
            If `keys` are of whole accounts.
        StoreError
            If the store is closed, or what it reads is damaged.
        """
        _check_keys(keys)
        self._need()
        start = perf_counter_ns()
        words, hits = self._get(keys)
        n = len(keys)
        self._meter.count(
            "read", perf_counter_ns() - start, n, reads=1, hits=hits, misses=n - hits, bytes_read=_ENTRY * n
        )
        return words

    def put_many(self, keys: KeyTable, words: ArrayLike) -> None:
        """Give keys words, as a whole or not at all; of no block. One that gets 0 is there no more.

        Parameters
        ----------
        keys : KeyTable
        words : (n, 32) uint8
            Big-endian.

        Raises
        ------
        BlockError
            If there are not as many words, or `keys` are of whole accounts.
        StoreError
            If the store is closed, to be read only, or has no room.
        """
        given = checked_words(keys, words)
        self._need(write=True)
        with self._writing:
            start = perf_counter_ns()
            self._apply(keys, given, {}, None)
            self._written(start, len(keys), writes=1)

    def _written(self, start: int, n: int, codes: Iterable[bytes] = (), **counts: int) -> None:
        moved = _ENTRY * n + sum(map(len, codes))
        self._meter.count("write", perf_counter_ns() - start, n, keys_written=n, bytes_written=moved, **counts)

    def get_codes(self, hashes: Iterable[bytes]) -> list[bytes]:
        """Code by its hash.

        Raises
        ------
        BlockError
            If there is no such code.
        StoreError
            If the store is closed, or a code is damaged.
        """
        self._need()
        found = []
        for digest in hashes:
            code = b"" if digest == EMPTY_HASH else self._code(digest)
            if code is None:
                raise BlockError(f"the store has no code of hash 0x{digest.hex()}")
            found.append(code)
        self._meter.add(bytes_read=sum(map(len, found)))
        return found

    def put_codes(self, codes: Iterable[bytes]) -> None:
        """Keep code, as a whole or not at all."""
        given = list(codes)
        for code in given:
            door.instance("code", code, bytes)
        self._need(write=True)
        with self._writing:
            self._apply(KeyTable.from_keys([]), np.empty((0, 32), np.uint8), {keccak(code): code for code in given}, None)
            self._meter.add(bytes_written=sum(map(len, given)))

    def slots_of(self, address: bytes) -> KeyTable:
        """All storage keys of an account whose words are not 0, ascending."""
        if not isinstance(address, bytes) or len(address) != _ADDRESS:
            raise BlockError(f"address = {door.shown(address, 80)}: must be 20 bytes")
        self._need()
        return self._slots(address)

    def commit_block(self, number: int, change: StateChange, digest: bytes) -> None:
        """What a block has changed, as a whole or not at all; when this returns, it is kept.

        Parameters
        ----------
        number : int in [0, 2**64)
            Higher than that of the last block.
        change : StateChange
        digest : bytes
            32 bytes; see `base.post_digest`.

        Raises
        ------
        BlockError
            If the store is at that block already, or at a later one.
        StoreError
            If the store is closed, to be read only, or has no room.
        """
        number = door.integer("number", number, 0, 2**64 - 1)
        door.instance("change", change, StateChange)
        given = checked_words(change.keys, change.words)
        if not isinstance(digest, bytes) or len(digest) != 32:
            raise BlockError(f"digest = {door.shown(digest, 80)}: must be 32 bytes")
        self._need(write=True)
        with self._writing:
            last = self._last()
            if last is not None and number <= last[0]:
                raise BlockError(f"block {number}: the store has had block {last[0]}")
            start = perf_counter_ns()
            self._apply(change.keys, given, change.codes, (number, digest))
            self._written(start, len(change.keys), change.codes.values(), commits=1)

    def last_block(self) -> Last:
        """Number and digest of the last block that was committed; None before the first."""
        self._need()
        return self._last()

    def items(self) -> Iterator[tuple[KeyTable, NDArray[np.uint8]]]:
        """All keys whose words are not 0, with them, in parts of any size and in an order of the backend's own.

        What is written meanwhile may or may not be among them.
        """
        self._need()
        return self._while_open(self._parts())

    def _while_open(
        self, parts: Iterator[tuple[KeyTable, NDArray[np.uint8]]]
    ) -> Iterator[tuple[KeyTable, NDArray[np.uint8]]]:
        while True:
            self._need()
            part = next(parts, None)
            if part is None:
                return
            yield part

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Copy what is committed to another place, as a store of its own; of a memory store, one of mmap.

        This process commits nothing meanwhile, nor reads in memory and mmap; others may, and the copy has what was committed
        when it began, or for readers of mmap and rocksdb when they were opened. It is on the disk when this returns.

        Parameters
        ----------
        path : path
            Where there is nothing.

        Raises
        ------
        StoreError
            If the store is closed, there is something at `path`, or no room; nothing is left there then.

        Examples
        --------
        >>> import tempfile
        >>> from .opening import open_store
        >>> keys = KeyTable.from_keys([(bytes(20), 0, 5)])
        >>> with tempfile.TemporaryDirectory() as folder, open_store() as store:
        ...     store.put_many(keys, [[0] * 31 + [7]])
        ...     store.snapshot(f"{folder}/copy")
        ...     with open_store(f"{folder}/copy", "r") as copy:
        ...         copy.backend, int(copy.get_many(keys)[0, 31])
        ('mmap', 7)
        """
        where = place_of(path)
        self._need()
        with self._writing, being_made(where) as made:
            before = self._last()
            last, after = self._copy(made), self._last()  # if this only reads, others may commit meanwhile
            numbers = [-1 if one is None else one[0] for one in (before, last, after)]
            if sorted(numbers) != numbers:
                raise StoreError(f"{where}: cannot be written: its last block is {numbers[1]}, the store's {numbers[2]}")

    def metrics(self) -> StoreMetrics:
        """What the store has done so far."""
        return self._meter.metrics()

    def reset_metrics(self) -> None:
        """Count from now on."""
        self._meter.reset()

    def close(self) -> None:
        """Give back files, locks and memory; what was committed is kept. Any number of times."""
        with self._writing:
            if not self._closed:
                self._closed = True
                self._close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "to be read only" if self.read_only else "open"
        return f"<{type(self).__name__} {self.name}: {state}>"


def _check_keys(keys: Any) -> None:
    door.instance("keys", keys, KeyTable)
    if keys.whole:
        raise BlockError("keys: of whole accounts: a store has fields and slots")
