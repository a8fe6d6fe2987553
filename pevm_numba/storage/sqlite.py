"""A store in an SQLite database, which every Python has: the baseline. Readers see the last commit beside one that writes."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from .. import door
from ..errors import StoreError
from .locking import locked
from .places import beside
from .rows import NO_BLOCK, Rows, RowStore

__all__ = ["SqliteStore"]

#: "pevm", and the version of the layout.
_APPLICATION: Final = 0x7065766D
_VERSION: Final = 1
_TABLES: Final = (
    "CREATE TABLE state (key BLOB PRIMARY KEY, word BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE codes (hash BLOB PRIMARY KEY, code BLOB NOT NULL)",
    "CREATE TABLE block (id INTEGER PRIMARY KEY CHECK (id = 0), last BLOB NOT NULL)",
)
#: Keys that are asked for together.
_TOGETHER: Final = 500


class SqliteStore(RowStore):
    """A `StateStore` in an SQLite file (write-ahead log; beside it are files that end in -wal, -shm, -lock).

    Parameters
    ----------
    path : Path
        Of the file.
    read_only : bool
    sync : bool
        Whether a commit is on the disk when it returns. If not, it outlives the process, but maybe not the system.
    verify : bool
        Whether the database is read as a whole when it is opened. Without that, a key in a page that the disk has damaged
        may be taken for one that is not there.
    cache_bytes : int
        Of the page cache.

    Raises
    ------
    StoreError
        If it is damaged, not a store's, or written by another.
    """

    backend = "sqlite"

    def __init__(
        self, path: Path, *, read_only: bool = False, sync: bool = True, verify: bool = True, cache_bytes: int = 1 << 26
    ) -> None:
        super().__init__(path, read_only=read_only)
        door.instance("sync", sync, bool)
        door.instance("verify", verify, bool)
        cache_bytes = door.integer("cache_bytes", cache_bytes, 1 << 10, 2**40)
        self._access = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._lock = -1
        try:
            if not read_only:
                self._lock = locked(path.with_name(path.name + "-lock"))
            with self._complaining("cannot be opened"):
                self._open(path, sync, cache_bytes)
                if verify:
                    self._verify()
        except BaseException:
            self._close()
            raise

    @contextmanager
    def _complaining(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter where it quotes what is damaged
            raise StoreError(f"{self.name}: {what}: {error}") from error

    def _open(self, path: Path, sync: bool, cache_bytes: int) -> None:
        for stranger in beside(path) if not path.exists() else ():
            raise StoreError(f"{stranger}: is there already: a database of that name would take it for its own")
        new = not path.exists() or path.stat().st_size == 0
        if self.read_only:
            # who cannot make the files that readers share can read a database that has no log
            still = "" if os.access(path.parent, os.W_OK) or beside(path) else "&immutable=1"
            name = f"file:{quote(str(path.absolute()))}?mode=ro{still}"
        else:
            name = f"file:{quote(str(path.absolute()))}?mode={'rwc' if new else 'rw'}"
        self._connection = sqlite3.connect(name, uri=True, isolation_level=None, check_same_thread=False, timeout=30.0)
        run = self._connection.execute
        run(f"PRAGMA cache_size = -{cache_bytes >> 10}")
        if new and not self.read_only:
            run("PRAGMA journal_mode = WAL")
            run("BEGIN IMMEDIATE")
            for line in _TABLES:
                run(line)
            run("INSERT INTO block VALUES (0, ?)", (NO_BLOCK,))
            run(f"PRAGMA application_id = {_APPLICATION}")
            run(f"PRAGMA user_version = {_VERSION}")
            run("COMMIT")
        (application,), (version,) = run("PRAGMA application_id").fetchone(), run("PRAGMA user_version").fetchone()
        if application != _APPLICATION:
            raise StoreError(f"{self.name}: is a database, but none of a store")
        if version != _VERSION:
            raise StoreError(f"{self.name}: version {version} of a store's database: must be {_VERSION}")
        if not self.read_only:
            run("PRAGMA journal_mode = WAL")
            run(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
        self._last()

    def _verify(self) -> None:
        assert self._connection is not None
        with self._moment():
            said = [row[0] for row in self._connection.execute("PRAGMA integrity_check(1)")]
            if said != ["ok"]:
                raise StoreError(f"{self.name}: is damaged: {said[0]}")
            self._verified()
            for (digest,) in self._connection.execute("SELECT hash FROM codes").fetchall():
                self._code(digest)

    @contextmanager
    def _moment(self) -> Iterator[None]:
        """All that is read within is of one moment, whatever other processes commit."""
        assert self._connection is not None
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")

    def _one(self, line: str, values: tuple[Any, ...]) -> bytes | None:
        with self._access:
            assert self._connection is not None
            row = self._connection.execute(line, values).fetchone()
        if row is not None and not isinstance(row[0], bytes):
            raise StoreError(f"{self.name}: is damaged: an entry is no bytes")
        return None if row is None else row[0]

    def _fetch(self, rows: list[bytes]) -> list[bytes | None]:
        found: dict[bytes, bytes] = {}
        with self._complaining("cannot be read"), self._access:
            assert self._connection is not None
            with self._moment():
                for start in range(0, len(rows), _TOGETHER):
                    some = rows[start : start + _TOGETHER]
                    line = f"SELECT key, word FROM state WHERE key IN ({','.join('?' * len(some))})"
                    found.update(self._connection.execute(line, some))
        return [found.get(row) for row in rows]

    def _write(self, puts: Rows, gone: Sequence[bytes], codes: Mapping[bytes, bytes], block: bytes | None) -> None:
        with self._complaining("cannot be written"), self._access:
            assert self._connection is not None
            run, many = self._connection.execute, self._connection.executemany
            run("BEGIN IMMEDIATE")
            try:
                many("INSERT INTO state VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET word = excluded.word", puts)
                many("DELETE FROM state WHERE key = ?", ((row,) for row in gone))
                many("INSERT INTO codes VALUES (?, ?) ON CONFLICT DO NOTHING", codes.items())
                if block is not None:
                    run("UPDATE block SET last = ?", (block,))
                run("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    run("ROLLBACK")
                raise

    def _scan(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        low, high = prefix, prefix + b"\xff" * 54
        while True:
            with self._complaining("cannot be read"), self._access:
                assert self._connection is not None
                line = "SELECT key, word FROM state WHERE key > ? AND key <= ? ORDER BY key LIMIT 4096"
                part = self._connection.execute(line, (low, high)).fetchall()
            if any(not isinstance(one, bytes) for row in part for one in row):
                raise StoreError(f"{self.name}: is damaged: an entry is no bytes")
            if not part:
                return
            yield from part
            low = part[-1][0]

    def _fetch_code(self, digest: bytes) -> bytes | None:
        with self._complaining("cannot be read"):
            return self._one("SELECT code FROM codes WHERE hash = ?", (digest,))

    def _fetch_block(self) -> bytes | None:
        with self._complaining("cannot be read"):
            return self._one("SELECT last FROM block", ())

    def _write_copy(self, path: Path) -> None:
        with self._complaining("cannot be copied"), self._access, closing(sqlite3.connect(path)) as other:
            assert self._connection is not None
            self._connection.backup(other)

    def _close(self) -> None:
        if self._connection is not None:
            with self._complaining("cannot be closed"), self._access:
                self._connection.close()
            self._connection = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
