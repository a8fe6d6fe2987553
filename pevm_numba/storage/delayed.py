"""A store that is slower than the one behind it, as if its state lay on a disk that has to be asked."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from ..keys import KeyTable, StateChange
from .base import Closing, StateStore
from .latency import StoreMetrics

__all__ = ["DelayedStore"]

#: Before the end of a pause from which on the clock is watched: sleeping takes that much longer than asked for.
_WATCHED: Final = 100_000


class DelayedStore(Closing):
    """A `StateStore` whose reads take a given time more; threads that read at the same time wait at the same time.

    Parameters
    ----------
    store : StateStore
    read_ns : int
        Nanoseconds of one read.
    queue_depth : int
        Reads of one call that are under way at a time, as of a disk that is asked for many blocks: ``n`` keys take
        ``ceil(n / queue_depth)`` times `read_ns`.

    Examples
    --------
    >>> from .memory import MemoryStore
    >>> keys = KeyTable.from_keys([(bytes(20), 0, slot) for slot in range(64)])
    >>> start = time.perf_counter_ns()
    >>> _ = DelayedStore(MemoryStore(), 1_000_000, 32).get_many(keys)
    >>> time.perf_counter_ns() - start > 2_000_000
    True
    """

    def __init__(self, store: StateStore, read_ns: int, queue_depth: int = 32) -> None:
        self.store = store
        self.read_ns = door.integer("read_ns", read_ns, 0, 10**12)
        self.queue_depth = door.integer("queue_depth", queue_depth, 1, 2**20)

    def _wait(self, n: int) -> None:
        end = time.perf_counter_ns() + -(-n // self.queue_depth) * self.read_ns
        left = end - time.perf_counter_ns()
        if left > _WATCHED:
            time.sleep((left - _WATCHED) / 1e9)
        while time.perf_counter_ns() < end:
            time.sleep(0)

    def get_many(self, keys: KeyTable) -> NDArray[np.uint8]:
        """Words of keys, after a while."""
        self._wait(len(keys))
        return self.store.get_many(keys)

    def put_many(self, keys: KeyTable, words: ArrayLike) -> None:
        """As the store behind does."""
        self.store.put_many(keys, words)

    def get_codes(self, hashes: Iterable[bytes]) -> list[bytes]:
        """Code by its hash, after a while."""
        given = list(hashes)
        self._wait(len(given))
        return self.store.get_codes(given)

    def put_codes(self, codes: Iterable[bytes]) -> None:
        """As the store behind does."""
        self.store.put_codes(codes)

    def slots_of(self, address: bytes) -> KeyTable:
        """Storage keys of an account, after a while, as of one read."""
        self._wait(1)
        return self.store.slots_of(address)

    def commit_block(self, number: int, change: StateChange, digest: bytes) -> None:
        """As the store behind does."""
        self.store.commit_block(number, change, digest)

    def last_block(self) -> tuple[int, bytes] | None:
        """As the store behind says."""
        return self.store.last_block()

    def items(self) -> Iterator[tuple[KeyTable, NDArray[np.uint8]]]:
        """As the store behind does."""
        return self.store.items()

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """As the store behind does."""
        self.store.snapshot(path)

    def metrics(self) -> StoreMetrics:
        """What the store behind has done: without the waiting."""
        return self.store.metrics()

    def close(self) -> None:
        """Close the store behind."""
        self.store.close()
