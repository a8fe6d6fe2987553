"""A store in RocksDB, a log-structured merge tree, by the library rocksdict: what nodes keep state in.

RocksDB sums up every block of its files, so what the disk has damaged is an error when it is read.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

from .. import door
from ..errors import StoreError
from .rocksdb_logs import check_logs
from .rows import FORMAT, NO_BLOCK, Rows, RowStore, library

__all__ = ["RocksdbStore"]

log = logging.getLogger("pevm_numba")

COMPRESSIONS: Final = ("lz4", "none", "snappy", "zstd")
#: What keys of state, codes and the rest begin with.
_STATE: Final = b"s"
_CODE: Final = b"c"
_FORMAT: Final = b"m/format"
_BLOCK: Final = b"m/block"
#: Rows that are copied together.
_TOGETHER: Final = 1 << 14
#: How often a reader opens a database whose files change meanwhile.
_TRIES: Final = 100


def _listed(path: Path) -> tuple[Any, ...]:
    """What changes whenever the list of files does, which is before any of them is deleted."""
    try:
        lists = sorted((found.name, found.stat().st_size) for found in path.glob("MANIFEST-*"))
        return (path / "CURRENT").read_bytes(), *lists
    except FileNotFoundError:
        return (object(),)  # it is changing just now: equal to nothing


class RocksdbStore(RowStore):
    """A `StateStore` in a folder of RocksDB.

    Parameters
    ----------
    path : Path
        Of the folder.
    read_only : bool
        Reads what had been committed when it was opened, beside one that writes.
    sync : bool
        Whether a commit is on the disk when it returns. If not, it outlives the process, but maybe not the system.
    cache_bytes : int
        Of the cache of blocks.
    bloom_bits : float
        Bits a key of the bloom filters; 0: none.
    compression : {"lz4", "none", "snappy", "zstd"}
    write_buffer_bytes : int
        Of the table in memory that commits go to first.

    Raises
    ------
    StoreError
        If it is damaged, not a store's, or written by another.
    UsageError
        If the library is not installed.
    """

    backend = "rocksdb"
    _prefix = _STATE

    def __init__(
        self, path: Path, *, read_only: bool = False, sync: bool = True, cache_bytes: int = 1 << 27, bloom_bits: float = 10.0,
        compression: str = "lz4", write_buffer_bytes: int = 1 << 26,
    ) -> None:  # fmt: skip
        super().__init__(path, read_only=read_only)
        door.instance("sync", sync, bool)
        cache_bytes = door.integer("cache_bytes", cache_bytes, 0, 2**63 - 1)
        bloom_bits = door.real("bloom_bits", bloom_bits, 0, 1_000)
        door.choice("compression", compression, COMPRESSIONS)
        write_buffer_bytes = door.integer("write_buffer_bytes", write_buffer_bytes, 1 << 16, 2**40)
        self._library = made = library("rocksdict")
        self._access = threading.RLock()
        self._db: Any = None
        there = (path / "CURRENT").exists()
        if not there and (read_only or any(path.iterdir())):
            strangers = sorted(name.name for name in path.iterdir())
            raise StoreError(f"{path}: is no store" + (f", and has {strangers[0]} in it" if strangers else ""))
        options = made.Options(raw_mode=True)
        options.create_if_missing(not read_only)
        options.set_paranoid_checks(True)
        options.set_wal_recovery_mode(made.DBRecoveryMode.tolerate_corrupted_tail_records())
        options.set_compression_type(getattr(made.DBCompressionType, compression)())
        options.set_write_buffer_size(write_buffer_bytes)
        options.set_keep_log_file_num(2)
        tables = made.BlockBasedOptions()
        tables.set_block_cache(made.Cache(cache_bytes))
        if bloom_bits:
            tables.set_bloom_filter(bloom_bits, False)
        options.set_block_based_table_factory(tables)
        access = made.AccessType.read_only(False) if read_only else made.AccessType.read_write()
        self._written_so = made.WriteOptions()
        self._written_so.sync = sync
        try:
            with self._complaining("cannot be opened"):
                self._db = self._unchanged(path, lambda: made.Rdict(str(path), options, access_type=access), read_only)
                if not there and not read_only:
                    self._write_raw([(_FORMAT, FORMAT), (_BLOCK, NO_BLOCK)], [])
                said = self._db.get(_FORMAT)
            if said != FORMAT:
                raise StoreError(f"{path}: is a database of {said!r}: must be {FORMAT!r}")
            self._last()
        except BaseException:
            self._close()
            raise

    def _unchanged(self, path: Path, make: Callable[[], Any], read_only: bool) -> Any:
        """The database of one moment.

        A reader takes no lock: beside one that writes it may find the list of files of before a compaction and the files
        of after it, which lacks some (an error), or a log whose predecessor is gone (a state that never was, and no error).
        """
        for _ in range(_TRIES if read_only else 1):
            before = _listed(path) if read_only else None
            try:
                check_logs(path)
                db = make()
            except Exception:  # the library has no class of its own for files that are gone
                if not read_only or _listed(path) == before:
                    raise
            else:
                if not read_only or _listed(path) == before:
                    return db
                db.close()
        raise StoreError(f"{self.name}: cannot be opened: its files changed while they were read, {_TRIES} times in a row")

    @contextmanager
    def _complaining(self, what: str) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:  # the library has no class of its own for what goes wrong
            raise StoreError(f"{self.name}: {what}: {error}") from error

    def _fetch(self, rows: list[bytes]) -> list[bytes | None]:
        with self._complaining("cannot be read"):
            found: list[bytes | None] = self._db.get(rows) if rows else []
            return found

    def _write_raw(self, puts: Rows, gone: Sequence[bytes]) -> None:
        batch = self._library.WriteBatch(raw_mode=True)
        for key, value in puts:
            batch.put(key, value)
        for key in gone:
            batch.delete(key)
        with self._complaining("cannot be written"):
            self._db.write(batch, self._written_so)

    def _write(self, puts: Rows, gone: Sequence[bytes], codes: Mapping[bytes, bytes], block: bytes | None) -> None:
        rows = [*puts, *((_CODE + digest, code) for digest, code in codes.items())]
        if block is not None:
            rows.append((_BLOCK, block))
        with self._access:
            self._write_raw(rows, gone)

    def _scan(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        with self._complaining("cannot be read"):
            place = self._db.iter()
            place.seek(_STATE + prefix)
            while place.valid():
                key = place.key()
                if not key.startswith(_STATE + prefix):
                    return
                yield key[1:], place.value()
                place.next()
            place.status()  # raises if it was damage that ended it

    def _all_rows(self) -> Iterator[tuple[bytes, bytes]]:
        """State, codes and the rest, of the moment when this reader was opened."""
        place = self._db.iter()
        place.seek_to_first()
        while place.valid():
            yield place.key(), place.value()
            place.next()
        place.status()  # raises if it was damage that ended it

    def _fetch_code(self, digest: bytes) -> bytes | None:
        with self._complaining("cannot be read"):
            code: bytes | None = self._db.get(_CODE + digest)
            return code

    def _fetch_block(self) -> bytes | None:
        with self._complaining("cannot be read"):
            block: bytes | None = self._db.get(_BLOCK)
            return block

    def _write_copy(self, path: Path) -> None:
        with self._complaining("cannot be copied"):
            if not self.read_only:
                self._library.Checkpoint(self._db).create_checkpoint(str(path))
                return
            path.mkdir()  # a checkpoint of a reader would lack what is in the log
            copy = RocksdbStore(path, sync=False)
            try:
                rows = self._all_rows()
                while part := list(islice(rows, _TOGETHER)):
                    copy._write_raw(part, [])
            finally:
                copy.close()

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            try:
                db.close()
            except Exception as error:  # of a write that was refused, and raised, before: what was acknowledged is kept
                log.warning("%s: closing: %s", self.name, error)
