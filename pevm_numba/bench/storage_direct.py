"""Stores beside what they are made of: mmap beside memory, databases beside their libraries' own best batch calls."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import numpy as np

from ..errors import ExecutionError
from ..storage.opening import open_store
from ..storage.rows import library
from ..storage.rows import rows_of as bytes_of
from .rounds import Spread
from .storage_load import Draws, keys_of, words_of

__all__ = ["against_rows"]

_Rows = list[tuple[bytes, bytes]]
#: Keys that SQLite is asked for in one statement.
_TOGETHER: Final = 500


class _Rocksdb:
    """rocksdict: `get` of a list, a write batch that is synced."""

    def __init__(self, place: Path) -> None:
        self._made = library("rocksdict")
        options = self._made.Options(raw_mode=True)
        options.set_compression_type(self._made.DBCompressionType.lz4())
        tables = self._made.BlockBasedOptions()
        tables.set_block_cache(self._made.Cache(1 << 27))
        tables.set_bloom_filter(10.0, False)
        options.set_block_based_table_factory(tables)
        self._db = self._made.Rdict(str(place), options)
        self._synced = self._made.WriteOptions()
        self._synced.sync = True

    def read(self, rows: list[bytes]) -> list[bytes]:
        found: list[bytes] = self._db.get(rows)
        return found

    def write(self, rows: _Rows) -> None:
        batch = self._made.WriteBatch(raw_mode=True)
        for key, value in rows:
            batch.put(key, value)
        self._db.write(batch, self._synced)

    def close(self) -> None:
        self._db.close()


class _Lmdb:
    """lmdb: `getmulti` and `putmulti` of a cursor, in one transaction."""

    def __init__(self, place: Path) -> None:
        self._env = library("lmdb").open(str(place), map_size=1 << 34)

    def read(self, rows: list[bytes]) -> list[bytes]:
        with self._env.begin() as txn:
            return [value for _, value in txn.cursor().getmulti(rows)]

    def write(self, rows: _Rows) -> None:
        with self._env.begin(write=True) as txn:
            txn.cursor().putmulti(sorted(rows))

    def close(self) -> None:
        self._env.close()


class _Sqlite:
    """sqlite3: SELECT … IN of 500 keys, `executemany`, in one transaction."""

    def __init__(self, place: Path) -> None:
        self._base = sqlite3.connect(place, isolation_level=None)
        for line in ("journal_mode = WAL", "synchronous = FULL", f"cache_size = -{1 << 16}"):
            self._base.execute(f"PRAGMA {line}")
        self._base.execute("CREATE TABLE state (key BLOB PRIMARY KEY, word BLOB NOT NULL) WITHOUT ROWID")

    def read(self, rows: list[bytes]) -> list[bytes]:
        found: dict[bytes, bytes] = {}
        self._base.execute("BEGIN")
        for start in range(0, len(rows), _TOGETHER):
            some = rows[start : start + _TOGETHER]
            line = f"SELECT key, word FROM state WHERE key IN ({','.join('?' * len(some))})"
            found.update(self._base.execute(line, some))
        self._base.execute("COMMIT")
        return [found[row] for row in rows]

    def write(self, rows: _Rows) -> None:
        self._base.execute("BEGIN IMMEDIATE")
        line = "INSERT INTO state VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET word = excluded.word"
        self._base.executemany(line, rows)
        self._base.execute("COMMIT")

    def close(self) -> None:
        self._base.close()


_DIRECT: Final[dict[str, Callable[[Path], Any]]] = {"rocksdb": _Rocksdb, "lmdb": _Lmdb, "sqlite": _Sqlite}


def against_rows(folder: Path, backends: tuple[str, ...], n: int, batch: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Each store beside what it is made of, in turn, on the same keys: ratios of times.

    Parameters
    ----------
    folder : Path
        Where both are made.
    backends : tuple of str
    n, batch, rounds : int
        Keys, keys of a batch, batches.

    Yields
    ------
    dict
        Of the table "store against".

    Notes
    -----
    A library is given rows of bytes that were made beforehand, and gives such rows back; the store is given arrays, checks
    what it reads, and gives arrays back. Both have the same settings, and both are synced.
    """
    if {"memory", "mmap"} <= set(backends):
        yield from _table_rows(folder, n, batch, rounds)
    for backend in backends:
        if backend in _DIRECT:
            yield from _library_rows(folder, backend, n, batch, rounds)


def _table_rows(folder: Path, n: int, batch: int, rounds: int) -> Iterator[dict[str, Any]]:
    ids, draws, place = np.arange(n), Draws(n, 3), folder / "against mmap"
    keys, words = keys_of(ids), words_of(ids)
    with open_store(place, backend="mmap", log_bytes=1) as store:
        store.put_many(keys, words)
        one = keys_of(ids[:1])
        store.put_many(one, words[:1])  # begins a new table: the old one's log would be done again, page for page
    with open_store() as memory, open_store(place, "r") as mapped:
        memory.put_many(keys, words)
        for store in (memory, mapped):
            store.get_many(keys)
        times: dict[str, list[float]] = {"memory": [], "mmap": []}
        for _ in range(rounds):
            some = draws.batch("uniform", batch)
            keys, expected = keys_of(some), words_of(some)
            for name, store in (("memory", memory), ("mmap", mapped)):
                start = perf_counter_ns()
                words = store.get_many(keys)
                times[name].append(float(perf_counter_ns() - start))
                _compare(name, words.tobytes(), expected)
    yield _row("memory", "", "read", n, batch, times["memory"], times["memory"])
    yield _row("mmap", "memory", "read", n, batch, times["mmap"], times["memory"])


def _compare(name: str, words: bytes, expected: Any) -> None:
    if words != expected.tobytes():
        raise ExecutionError(f"{name}: a word is not what was put there")


def _library_rows(folder: Path, backend: str, n: int, batch: int, rounds: int) -> Iterator[dict[str, Any]]:
    ids, draws = np.arange(n), Draws(n, 3)
    with (
        open_store(folder / f"against {backend}", backend=backend) as store,
        closing(_DIRECT[backend](folder / f"direct {backend}")) as direct,
    ):
        for start in range(0, n, 50_000):
            part = ids[start : start + 50_000]
            store.put_many(keys_of(part), words_of(part))
            direct.write(_pairs(part, 0))
        times: dict[str, list[float]] = {f"{who} {what}": [] for who in ("store", "library") for what in ("read", "write")}
        for version in range(1, rounds + 1):
            some = draws.batch("uniform", batch)
            keys, rows, pairs, words = keys_of(some), bytes_of(keys_of(some)), _pairs(some, version), words_of(some, version)
            jobs: tuple[tuple[str, Callable[[], Any]], ...] = (
                ("library write", partial(direct.write, pairs)), ("store write", partial(store.put_many, keys, words)),
                ("library read", partial(_joined, direct, rows)), ("store read", partial(store.get_many, keys)),
            )  # fmt: skip
            for name, job in jobs:
                if name.endswith("read"):
                    job()  # what was just written is in other places than what was there
                begin = perf_counter_ns()
                got = job()
                times[name].append(float(perf_counter_ns() - begin))
                if name.endswith("read"):
                    _compare(f"{backend}, {name}", got if isinstance(got, bytes) else got.tobytes(), words)
    for what in ("read", "write"):
        yield _row(backend, f"library {backend}", what, n, batch, times[f"store {what}"], times[f"library {what}"])


def _joined(direct: Any, rows: list[bytes]) -> bytes:
    return b"".join(direct.read(rows))


def _pairs(ids: Any, version: int) -> _Rows:
    words = words_of(ids, version).tobytes()
    return [(row, words[32 * i : 32 * i + 32]) for i, row in enumerate(bytes_of(keys_of(ids)))]


def _row(
    backend: str, other: str, operation: str, n: int, batch: int, mine: list[float], theirs: list[float]
) -> dict[str, Any]:
    one, two = Spread.of(mine), Spread.of(theirs)
    ratios = np.array(mine) / np.array(theirs)
    return {
        "table": "store against", "backend": backend, "against": other, "operation": operation, "keys": n, "batch": batch,
        "rounds": len(mine), "keys_per_s": batch / one.median * 1e9, "against_keys_per_s": batch / two.median * 1e9,
        "ratio": float(np.median(ratios)), "ratio_low": float(np.quantile(ratios, 0.25)),
        "ratio_high": float(np.quantile(ratios, 0.75)), "verified": True,
    }  # fmt: skip
