"""A store in LMDB, a copy-on-write B+tree in a mapped file. It stands in for sled, which has no maintained Python binding.

What differs from sled: LMDB has one writer at a time and no log: a commit writes new pages and then one that points to them,
so it needs no recovery, and readers in any process see the last commit without locks; sled is a lock-free tree over a log, of
one process. Neither sums up its pages as LMDB is shipped, so rows have checksums here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from .. import door
from ..errors import StoreError
from .locking import locked
from .rows import FORMAT, NO_BLOCK, Rows, RowStore, library, surviving

__all__ = ["LmdbStore"]

_T = TypeVar("_T")
_DATA: Final = "data.mdb"
#: Rows that a scan reads in one transaction.
_PART: Final = 4096


class LmdbStore(RowStore):
    """A `StateStore` in a folder of LMDB.

    Parameters
    ----------
    path : Path
        Of the folder.
    read_only : bool
    sync : bool
        Whether a commit is on the disk when it returns. If not, it outlives the process, but maybe not the system.
    verify : bool
        Whether the database is read as a whole when it is opened, in a child process first, for damage can end the one that
        reads it. Without that, a page that the disk has damaged may cost words, or the process.
    map_bytes : int
        Room in the address space; more is taken when it is used up. No file is made so large.

    Raises
    ------
    StoreError
        If it is damaged, not a store's, or written by another.
    UsageError
        If the library is not installed.
    """

    backend = "lmdb"

    def __init__(
        self, path: Path, *, read_only: bool = False, sync: bool = True, verify: bool = True, map_bytes: int = 1 << 34
    ) -> None:
        super().__init__(path, read_only=read_only)
        door.instance("sync", sync, bool)
        door.instance("verify", verify, bool)
        map_bytes = door.integer("map_bytes", map_bytes, 1 << 16, 2**63 - 1)
        self._library, self._folder = library("lmdb"), path
        self._access = threading.RLock()
        self._env: Any = None
        self._moment: Any = None
        self._lock = -1
        self._options = {
            "max_dbs": 3, "readonly": read_only, "sync": sync, "metasync": sync, "map_size": map_bytes, "subdir": True,
            "create": not read_only, "lock": os.access(path, os.W_OK) or not read_only,
        }  # fmt: skip
        try:
            there = (path / _DATA).exists()
            strangers = [] if there else sorted(name.name for name in path.iterdir() if name.name not in ("LOCK", "lock.mdb"))
            if strangers or (read_only and not there):
                raise StoreError(f"{path}: is no store" + (f", and has {strangers[0]} in it" if strangers else ""))
            if not read_only:
                self._lock = locked(path / "LOCK")
            if there and verify:
                self._ready()
                surviving(self.name, self._verify)
            self._open()
        except BaseException:
            self._close()
            raise

    def _open(self) -> None:
        try:
            self._env = self._library.open(str(self._folder), **self._options)
            if not self.read_only and self._env.stat()["entries"] == 0:
                with self._env.begin(write=True) as txn:
                    meta = self._env.open_db(b"meta", txn=txn)
                    for name in (b"state", b"codes"):
                        self._env.open_db(name, txn=txn)
                    txn.put(b"format", FORMAT, db=meta)
                    txn.put(b"block", NO_BLOCK, db=meta)
            self._state, self._codes, self._meta = (
                self._env.open_db(name, create=False) for name in (b"state", b"codes", b"meta")
            )
            said = self._reading(lambda txn: txn.get(b"format", db=self._meta))
        except self._library.Error as error:
            raise StoreError(f"{self.name}: cannot be opened, or is none of a store: {error}") from error
        if said != FORMAT:
            raise StoreError(f"{self.name}: is a database of {said!r}: must be {FORMAT!r}")
        self._last()

    def _verify(self) -> None:
        """In a child: it opens the database for itself."""
        self._options["readonly"] = True
        self._options["create"] = False
        self.read_only = True
        self._open()
        with self._env.begin() as self._moment:  # all that is read is of one moment, whatever others commit
            self._verify_moment(self._moment)

    def _verify_moment(self, txn: Any) -> None:
        entries = [txn.stat(db)["entries"] for db in (self._state, self._codes, self._meta)]
        hashes = [bytes(digest) for digest, _ in txn.cursor(db=self._codes)]
        rows = self._verified()
        for digest in hashes:
            if self._code(digest) is None:
                raise StoreError(f"{self.name}: a code that is there is not found: the database is damaged")
        if entries != [rows, len(hashes), 2]:
            raise StoreError(f"{self.name}: has not as many entries as it says: the database is damaged")

    def _reading(self, read: Callable[[Any], _T]) -> _T:
        """What is read in one transaction."""
        if self._moment is not None:
            return read(self._moment)
        with self._access:
            while True:
                try:
                    with self._env.begin() as txn:
                        return read(txn)
                except self._library.MapResizedError:
                    self._env.set_mapsize(0)  # another process has taken more room
                except self._library.Error as error:
                    raise StoreError(f"{self.name}: cannot be read: {error}") from error

    def _fetch(self, rows: list[bytes]) -> list[bytes | None]:
        def read(txn: Any) -> list[bytes | None]:
            found = txn.cursor(db=self._state).getmulti(rows)
            if len(found) == len(rows):  # those that are there come in the order asked for
                return [value for _, value in found]
            known = dict(found)
            return [known.get(row) for row in rows]

        return self._reading(read)

    def _write(self, puts: Rows, gone: Sequence[bytes], codes: Mapping[bytes, bytes], block: bytes | None) -> None:
        with self._access:
            while True:
                try:
                    with self._env.begin(write=True) as txn:
                        txn.cursor(db=self._state).putmulti(sorted(puts))
                        for row in gone:
                            txn.delete(row, db=self._state)
                        for digest, code in codes.items():
                            txn.put(digest, code, overwrite=False, db=self._codes)
                        if block is not None:
                            txn.put(b"block", block, db=self._meta)
                    return
                except self._library.MapFullError:
                    self._env.set_mapsize(2 * self._env.info()["map_size"])
                except self._library.MapResizedError:
                    self._env.set_mapsize(0)
                except self._library.Error as error:
                    raise StoreError(f"{self.name}: cannot be written: {error}") from error

    def _scan(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        def read(txn: Any) -> list[tuple[bytes, bytes]]:
            part: list[tuple[bytes, bytes]] = []
            cursor = txn.cursor(db=self._state)
            if cursor.set_range(low):
                for key, value in cursor:
                    if not key.startswith(prefix) or len(part) == _PART:
                        break
                    if key != low:
                        part.append((key, value))
            return part

        low = prefix
        while part := self._reading(read):
            yield from part
            low = part[-1][0]

    def _fetch_code(self, digest: bytes) -> bytes | None:
        return self._reading(lambda txn: txn.get(digest, db=self._codes))

    def _fetch_block(self) -> bytes | None:
        return self._reading(lambda txn: txn.get(b"block", db=self._meta))

    def _write_copy(self, path: Path) -> None:
        path.mkdir()
        try:
            self._env.copy(str(path), compact=True)
        except self._library.Error as error:
            raise StoreError(f"{self.name}: cannot be copied: {error}") from error

    def _close(self) -> None:
        if self._env is not None:
            with self._access:
                self._env.close()
            self._env = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
