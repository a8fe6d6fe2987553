"""One size of storage benchmarks: every backend filled with the same keys, then read and written in turn, and compared."""

from __future__ import annotations

import gc
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import ExecutionError
from ..keys import StateChange
from ..storage.base import commit
from ..storage.opening import open_store
from ..storage.store import Store
from .rounds import peak_growth
from .storage_load import DISTRIBUTIONS, Draws, keys_of, words_of

__all__ = ["OPERATIONS", "Stores", "load_rows", "workload_rows"]

#: What is done with a batch: all read; all written; nine in ten read and one written; all committed as a block.
OPERATIONS: Final = ("read", "write", "90/10", "commit")
#: Keys that are put together while a store is filled.
_TOGETHER: Final = 50_000
#: A backend that has taken so many nanoseconds sits out further rounds of an operation.
_MOST_NS: Final = 5e9
#: Opening that takes so many milliseconds is not repeated.
_LONG_MS: Final = 2e3
#: Backends that are read as a whole when they are opened, unless told not to.
_VERIFYING: Final = ("lmdb", "sqlite")


class Stores:
    """A store of each backend with the same keys, and how often each key has been changed.

    Parameters
    ----------
    folder : Path
        Where they are made.
    backends : sequence of str
    n : int
        Keys.
    """

    def __init__(self, folder: Path, backends: Sequence[str], n: int) -> None:
        self.folder, self.n = folder, n
        self.version = np.zeros(n, np.uint32)
        self.open = {name: open_store(self.place(name), "c", backend=name) for name in backends}
        self._number = 0

    def place(self, backend: str) -> Path | None:
        """Path of a store; None in memory."""
        return None if backend == "memory" else self.folder / f"{backend}-{self.n}"

    def close(self) -> None:
        """All of them."""
        for store in self.open.values():
            store.close()

    def read(self, store: Store, ids: NDArray[np.int64]) -> float:
        """Read a batch: nanoseconds.

        Raises
        ------
        ExecutionError
            If a word is another than was put there last.
        """
        keys, expected = keys_of(ids), words_of(ids, self.version[ids])
        start = perf_counter_ns()
        words = store.get_many(keys)
        taken = perf_counter_ns() - start
        if not np.array_equal(words, expected):
            raise ExecutionError(f"{store.name}: a word is not what was put there")
        return float(taken)

    def write(self, store: Store, ids: NDArray[np.int64]) -> float:
        """Write a batch, for `changed` to say so once all stores have: nanoseconds."""
        keys, words = keys_of(ids), words_of(ids, self.version[ids] + 1)
        start = perf_counter_ns()
        store.put_many(keys, words)
        return float(perf_counter_ns() - start)

    def commit(self, store: Store, ids: NDArray[np.int64]) -> float:
        """Commit a block that changes a batch: nanoseconds, digest included."""
        change = StateChange(keys_of(ids), words_of(ids, self.version[ids] + 1))
        last = store.last_block()
        start = perf_counter_ns()
        commit(store, 0 if last is None else last[0] + 1, change)
        return float(perf_counter_ns() - start)

    def changed(self, ids: NDArray[np.int64]) -> None:
        """All stores have written these."""
        self.version[ids] += 1


def _fill(store: Store, n: int, times: list[float]) -> None:
    """Put all keys, in no order of theirs; nanoseconds of each part go to `times`."""
    order = np.random.default_rng(7).permutation(n)
    for start in range(0, n, _TOGETHER):
        ids = order[start : start + _TOGETHER]
        keys, words = keys_of(ids), words_of(ids)
        before = perf_counter_ns()
        store.put_many(keys, words)
        times.append(float(perf_counter_ns() - before))


def _size(path: Path) -> int:
    """Bytes that files take on the disk."""
    files = [path, *path.parent.glob(path.name + "-*")] if path.is_file() else [*path.rglob("*")]
    return sum(512 * os.stat(file).st_blocks for file in files if file.is_file())


def load_rows(stores: Stores, rounds: int = 3) -> Iterator[dict[str, Any]]:
    """Fill each store, close it, open it again: keys a second, bytes on the disk, time to open, memory.

    Yields
    ------
    dict
        Of the table "store".
    """
    for backend in list(stores.open):
        place, n, times = stores.place(backend), stores.n, list[float]()
        grown = peak_growth(partial(_fill, stores.open[backend], n, times))
        row = {
            "table": "store", "backend": backend, "keys": n, "load_keys_per_s": n / sum(times) * 1e9, "bytes_per_key": None,
            "open_ms": None, "open_unverified_ms": None, "memory_bytes": grown,
        }  # fmt: skip
        if place is not None:
            stores.open[backend].close()
            row["bytes_per_key"] = _size(place) / n
            row["open_ms"] = _opened(place, backend, rounds)
            if backend in _VERIFYING:
                row["open_unverified_ms"] = _opened(place, backend, rounds, verify=False)
            row["memory_bytes"] = peak_growth(partial(_reopen, stores, backend, place))
        else:
            _read_all(stores, stores.open[backend])
        yield row | {"verified": True}


def _opened(place: Path, backend: str, rounds: int, **options: Any) -> float:
    """Open a store to write, and close it: milliseconds of opening, median; only once if that takes seconds."""
    times = list[float]()
    while len(times) < rounds and sum(times) < _LONG_MS:
        start = perf_counter_ns()
        store = open_store(place, "w", backend=backend, **options)
        times.append((perf_counter_ns() - start) / 1e6)
        store.close()
    return float(np.median(times))


def _reopen(stores: Stores, backend: str, place: Path) -> None:
    """Open a store for good, and read all that it has."""
    known = {"verify": False} if backend in _VERIFYING else {}  # it just has been
    stores.open[backend] = open_store(place, "w", backend=backend, **known)
    _read_all(stores, stores.open[backend])


def _read_all(stores: Stores, store: Store) -> None:
    for start in range(0, stores.n, _TOGETHER):
        stores.read(store, np.arange(start, min(start + _TOGETHER, stores.n)))


def workload_rows(stores: Stores, batch: int, rounds: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Each operation on each distribution, the same batches for all backends, one after the other.

    Yields
    ------
    dict
        Of the table "store workload".

    Raises
    ------
    ExecutionError
        If a store gives another word than was put there.
    """
    draws = Draws(stores.n, seed)
    for distribution in DISTRIBUTIONS:
        for operation in OPERATIONS:
            times: dict[str, list[float]] = defaultdict(list)
            gc.collect()
            for _ in range(rounds):
                ids = draws.batch(distribution, batch)
                for backend, store in stores.open.items():
                    if sum(times[backend]) < _MOST_NS or operation != "read":
                        times[backend].append(_done(stores, store, operation, ids))
                if operation in ("write", "commit"):
                    stores.changed(ids)
                elif operation == "90/10":
                    stores.changed(ids[_read_of(batch) :])
            for backend, store in stores.open.items():
                stores.read(store, ids)
                yield _row(backend, stores.n, batch, distribution, operation, times[backend])


def _read_of(batch: int) -> int:
    """Keys of a batch that are read in a mix of nine to one."""
    return batch - max(1, batch // 10)


def _done(stores: Stores, store: Store, operation: str, ids: NDArray[np.int64]) -> float:
    if operation == "read":
        return stores.read(store, ids)
    if operation == "write":
        return stores.write(store, ids)
    if operation == "commit":
        return stores.commit(store, ids)
    most = _read_of(len(ids))
    return stores.read(store, ids[:most]) + stores.write(store, ids[most:])


def _row(
    backend: str, n: int, batch: int, distribution: str, operation: str, times: Sequence[float]
) -> dict[str, Any]:
    half, most = np.quantile(times, [0.5, 0.99])
    return {
        "table": "store workload", "backend": backend, "keys": n, "distribution": distribution, "operation": operation,
        "batch": batch, "rounds": len(times), "keys_per_s": batch / half * 1e9, "batch_p50_us": half / 1e3,
        "batch_p99_us": most / 1e3, "key_p50_ns": half / batch, "key_p99_ns": most / batch, "verified": True,
    }  # fmt: skip
