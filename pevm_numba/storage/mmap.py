"""A store in a folder: the hash table of memory in a file that is mapped, and a log of what was committed since.

The table's file is never changed: it is mapped privately, and a commit is kept by the log. When the log grows long or the
table full, both begin anew in other files, which then become those that count by the renaming of one small file. So whenever
a process dies, there is one table that is whole, and a log of which at most the last record is not.
"""

from __future__ import annotations

import hashlib
import logging
import mmap as system
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import table as kernels
from ..errors import StoreError
from ..keys import KeyTable
from .codes import CodeFile
from .locking import locked
from .log import Log, Record
from .places import synced
from .store import Last
from .table import Table, limbs, packed, pages_for
from .table_store import TableStore

__all__ = ["MmapStore", "write_store"]

log = logging.getLogger("pevm_numba")

_CURRENT: Final = "pevm_numba.state"
_PAGE: Final = 8 * kernels.LIMBS
_VERSION: Final = 1
#: Of a table's file: magic, version, generation, pages, entries, hash seed, bytes of codes, whether there is a block, its
#: number and digest; then the checksum of all that.
_HEAD: Final = struct.Struct("<8sIIQQQQQQ32s")
_MAGIC: Final = b"pevm.tab"
_SUM: Final = 16
#: Bytes of log that are not worth a new table.
_SHORT: Final = 1 << 24
_OURS: Final = re.compile(r"LOCK|codes|(table|log)\.\d+|pevm_numba\.state\.new")


class _Head(NamedTuple):
    generation: int
    n_pages: int
    n: int
    seed: int
    codes: int
    last: Last


def _sum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_SUM).digest()


def _write_head(head: _Head) -> bytes:
    number, digest = head.last if head.last is not None else (0, bytes(32))
    has = int(head.last is not None)
    raw = _HEAD.pack(
        _MAGIC, _VERSION, head.generation, head.n_pages, head.n, head.seed, head.codes, has, number, digest
    )
    return raw + _sum(raw)


def _read_head(path: Path, generation: int) -> _Head:
    with open(path, "rb") as file:
        data = file.read(_HEAD.size + _SUM)
        size = os.fstat(file.fileno()).st_size
    if len(data) < _HEAD.size + _SUM or _sum(data[: _HEAD.size]) != data[_HEAD.size :]:
        raise StoreError(f"{path}: its first bytes are damaged, or it is no table of a store")
    magic, version, found, n_pages, n, seed, codes, has, number, digest = _HEAD.unpack(data[: _HEAD.size])
    if (magic, version) != (_MAGIC, _VERSION):
        raise StoreError(f"{path}: version {version} of a table: must be {_VERSION}")
    if found != generation:
        raise StoreError(f"{path}: is of generation {found}: must be {generation}")
    if size != _PAGE * (1 + n_pages):
        raise StoreError(f"{path}: has {size} bytes: must be {_PAGE * (1 + n_pages)}")
    return _Head(generation, n_pages, n, seed, codes, (number, digest) if has else None)


def _current_of(folder: Path) -> int:
    """The generation that counts."""
    path = folder / _CURRENT
    try:
        line, check = path.read_bytes().rstrip(b"\n").split(b"\n")
        if check != hashlib.blake2b(line, digest_size=8).hexdigest().encode() or not line.startswith(b"generation "):
            raise ValueError
        return int(line.removeprefix(b"generation "))
    except ValueError:
        raise StoreError(f"{path}: is damaged, or no file of a store") from None


def _mapped(path: Path, pages: int, access: int) -> NDArray[np.uint64]:
    with open(path, "r+b" if access == system.ACCESS_WRITE else "rb") as file:
        found = system.mmap(file.fileno(), _PAGE * (1 + pages), access=access)
    return np.frombuffer(found, np.uint64).reshape(1 + pages, kernels.LIMBS)


def write_generation(folder: Path, generation: int, table: Table, more: int, codes: int, last: Last) -> None:
    """Write a table and an empty log of a generation, and make them those that count, each step on the disk before the next.

    Raises
    ------
    OSError
        If there is no room, or the system refuses; what counted before still does.
    """
    path, size = folder / f"table.{generation}", pages_for(table.n + more)
    path.unlink(missing_ok=True)
    with open(path, "xb") as file:  # room is taken at once: a page of a mapped file that finds none would end the process
        os.posix_fallocate(file.fileno(), 0, _PAGE * (1 + size))
    rows = _mapped(path, size, system.ACCESS_WRITE)
    table.copy_to(rows[1:])
    kernels.page_sums(rows[1:])
    head = np.frombuffer(_write_head(_Head(generation, size, table.n, int(table.seed), codes, last)), np.uint8)
    rows[0].view(np.uint8)[: len(head)] = head
    with open(path, "rb") as file:
        os.fsync(file.fileno())  # pages that were changed where they are mapped are the file's, too
    Log.create(folder / f"log.{generation}", generation)
    synced(folder)
    new, line = folder / f"{_CURRENT}.new", f"generation {generation}".encode()
    with open(new, "wb") as file:
        file.write(line + b"\n" + hashlib.blake2b(line, digest_size=8).hexdigest().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, folder / _CURRENT)
    synced(folder)


def write_store(folder: Path, table: Table, codes: Mapping[bytes, bytes], last: Last) -> Last:
    """Make a store of a table in an empty folder, or a new one: the last block that is read from it again.

    Raises
    ------
    OSError
        If there is no room, or the system refuses.
    """
    folder.mkdir(exist_ok=True)
    file = CodeFile(folder / "codes", 0, writable=True)
    try:
        file.add(codes)
        write_generation(folder, 0, table, 0, file.end, last)
    finally:
        file.close()
    return _read_head(folder / "table.0", 0).last


class MmapStore(TableStore):
    """A `StateStore` in a folder, whose words are read where the system has mapped them.

    One process may write, any number read beside it: each sees what had been committed when it opened the store.

    Parameters
    ----------
    path : Path
        Of the folder.
    read_only : bool
    sync : bool
        Whether a commit is on the disk when it returns. If not, it outlives the process, but maybe not the system.
    log_bytes : int, optional
        How long the log may grow before the table is written anew; default half of the table, 16 MiB at least.

    Raises
    ------
    StoreError
        If it is damaged, not a store's, or written by another.
    """

    backend = "mmap"

    def __init__(self, path: Path, *, read_only: bool = False, sync: bool = True, log_bytes: int | None = None) -> None:
        super().__init__(str(path), read_only)
        door.instance("sync", sync, bool)
        log_bytes = None if log_bytes is None else door.integer("log_bytes", log_bytes, 0)
        self._folder, self._sync, self._log_bytes = path, sync, log_bytes
        self._lock = -1
        self._log: Log | None = None
        self._code_file: CodeFile | None = None
        try:
            if not read_only:
                self._lock = locked(path / "LOCK")
            if not (path / _CURRENT).exists() and not read_only:
                _begin(path)
            self._open()
        except BaseException:
            self._close()
            raise

    # -------------------------------------------------------------------- opening

    def _open(self) -> None:
        """Map the table that counts, and do again what its log says."""
        while True:
            generation = _current_of(self._folder)
            try:
                return self._open_generation(generation)
            except FileNotFoundError as error:  # a writer has gone on to the next one
                if _current_of(self._folder) == generation:
                    raise StoreError(f"{error.filename}: is not there") from None

    def _open_generation(self, generation: int) -> None:
        path = self._folder / f"table.{generation}"
        head = _read_head(path, generation)
        rows = _mapped(path, head.n_pages, system.ACCESS_COPY)
        self._table = Table(rows[1:], head.n, head.seed, checked=True, name=str(path))
        self._generation, self._block = generation, head.last
        self._new_codes: dict[bytes, bytes] = {}
        if self._code_file is not None:
            self._code_file.close()
        self._code_file = CodeFile(self._folder / "codes", head.codes, writable=not self.read_only)
        self._log = Log(self._folder / f"log.{generation}", generation, sync=self._sync, writable=not self.read_only)
        for record in self._log.records():
            self._do(record)
        if not self.read_only:
            left = self._log.cut()
            if left:
                log.warning("%s: the last %d bytes of the log are no whole commit: left out", self.name, left)

    def _do(self, record: Record) -> None:
        self._table.put_packed(record.keys, record.words)
        self._new_codes.update(record.codes)
        self._block = record.last if record.last is not None else self._block

    # -------------------------------------------------------------------- what a backend does

    def _apply(self, keys: KeyTable, words: NDArray[np.uint8], codes: Mapping[bytes, bytes], last: Last) -> None:
        assert self._log is not None
        assert self._code_file is not None
        new = {digest: code for digest, code in codes.items() if self._code(digest) is None}
        most = self._log_bytes if self._log_bytes is not None else max(_SHORT, self._table.pages.nbytes // 2)
        if self._log.end > most or not self._table.fits(len(keys)):
            self._begin_anew(len(keys))
        record = Record(packed(keys), limbs(words), new, last)
        try:
            self._log.add(record)
            self._do(record)
        except StoreError:  # the log is as it was
            raise
        except BaseException:  # the log has it, and the table perhaps in part: whoever opens the store anew gets it whole
            self.close()
            raise

    def _begin_anew(self, more: int) -> None:
        """Write the table as it is now to a new file, with room for more, and go on with that."""
        assert self._log is not None
        assert self._code_file is not None
        old = self._generation
        try:
            self._code_file.add(self._new_codes)
            write_generation(self._folder, old + 1, self._table, more, self._code_file.end, self._block)
            self._log.close()
            self._open_generation(old + 1)
        except BaseException as error:
            if _current_of(self._folder) != old:  # what would be written to the old log from here on would be lost
                self.close()
            else:
                self._remove(old + 1)
            if isinstance(error, OSError):
                raise StoreError(f"{self.name}: no new table can be written: {error.strerror or error}") from error
            raise
        self._remove(old)

    def _remove(self, generation: int) -> None:
        for name in ("table", "log"):
            (self._folder / f"{name}.{generation}").unlink(missing_ok=True)

    def _code(self, digest: bytes) -> bytes | None:
        assert self._code_file is not None
        return self._new_codes[digest] if digest in self._new_codes else self._code_file.get(digest)

    def _copy(self, path: Path) -> Last:
        assert self._code_file is not None
        return write_store(path, self._table, self._code_file.all() | self._new_codes, self._block)

    def _close(self) -> None:
        for held in (self._log, self._code_file):
            if held is not None:
                held.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        self._table = Table()


def _begin(folder: Path) -> None:
    """Make an empty store of an empty folder, or of one whose making was broken off."""
    strangers = sorted(name.name for name in folder.iterdir() if not _OURS.fullmatch(name.name))
    if strangers:
        raise StoreError(f"{folder}: is no store, and has {strangers[0]} in it")
    try:
        write_store(folder, Table(), {}, None)
    except OSError as error:
        raise StoreError(f"{folder}: no table can be written: {error.strerror or error}") from error
