"""What stores in databases have in common: a row for each key, whose value is the word and a checksum of both.

Databases that do not sum up their pages would otherwise give another word for one bit that a disk has turned. A key that
was hit is not found any more, which no row tells: so such a database is read as a whole when it is opened (`verify`).
"""

from __future__ import annotations

import faulthandler
import os
import warnings
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import compress, islice
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from .._kernels import table as kernels
from .._kernels.rows import open_rows, seal_rows
from ..errors import StoreError, UsageError
from ..evm.hashing import keccak
from ..keys import KeyTable
from ..machine.ops import Field
from .store import Last, Store
from .table import limbs, packed

__all__ = ["FORMAT", "NO_BLOCK", "RowStore", "Rows", "library", "rows_of", "surviving", "table_of"]

#: Name and version of what is in such a database.
FORMAT: Final = b"pevm_numba.state/1"
#: Bytes of a key: address, field, slot; they sort as keys do. Of its value: the word and its checksum.
_KEY: Final = 53
_VALUE: Final = 8 * (kernels.WORD + 1)
_ABSENT: Final = bytes(_VALUE)
#: Rows that are read together when all are.
_PART: Final = 1 << 14

Rows = Sequence[tuple[bytes, bytes]]


def _cut(columns: NDArray[np.uint8]) -> list[bytes]:
    """Rows of (n, m) uint8."""
    n, size = columns.shape
    found: list[bytes] = np.ascontiguousarray(columns).view(f"V{size}").reshape(n).tolist()
    return found


def rows_of(keys: KeyTable, prefix: bytes = b"") -> list[bytes]:
    """Each key as its 53 bytes, after a prefix."""
    first = np.frombuffer(prefix, np.uint8)
    out = np.empty((len(keys), len(first) + _KEY), np.uint8)
    rest = out[:, len(first) :]
    out[:, : len(first)], rest[:, :20], rest[:, 20], rest[:, 21:] = first, keys.address, keys.field, keys.slot
    return _cut(out)


def table_of(rows: Sequence[bytes]) -> KeyTable:
    """The opposite of `rows_of`."""
    columns = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, _KEY)
    return KeyTable(columns[:, :20], columns[:, 20], columns[:, 21:])


def library(module: str) -> Any:
    """A database's module.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise UsageError(f"this store needs {module}, of the extra 'storage': pip install 'pevm_numba[storage]'") from None


def surviving(name: str, check: Callable[[], None]) -> None:
    """Do something in a child process first: a library that reads a damaged file may end the process that calls it.

    Raises
    ------
    StoreError
        If the child said so, or did not survive.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the child runs nothing that they would hold
        child = os.fork()
    if child == 0:
        said = b""
        try:
            faulthandler.disable()  # the parent tells of its end
            check()
        except BaseException as error:  # whatever it is, the parent is told
            said = (str(error) or type(error).__name__).encode()
        os.write(writing, said[:4000])
        os._exit(1 if said else 0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if told:
        raise StoreError(told if told.startswith(name) else f"{name}: is damaged: {told}")
    if status != 0:
        raise StoreError(f"{name}: is damaged: reading it ends the process that does")


def _sealed_block(last: Last) -> bytes:
    """The last block as databases have it: whether there is one, number, digest, checksum."""
    number, digest = last if last is not None else (0, bytes(32))
    raw = bytes([last is not None]) + number.to_bytes(8, "big") + digest
    return raw + zlib.crc32(raw).to_bytes(4, "big")


class RowStore(Store):
    """A store in a database that maps bytes to bytes.

    Rows of state that it fetches, writes and scans begin with `_prefix`.
    """

    _prefix: ClassVar[bytes] = b""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        super().__init__(str(path), read_only)

    # -------------------------------------------------------------------- what a database does

    @abstractmethod
    def _fetch(self, rows: list[bytes]) -> list[bytes | None]:
        """Values of rows."""

    @abstractmethod
    def _write(self, puts: Rows, gone: Sequence[bytes], codes: Mapping[bytes, bytes], block: bytes | None) -> None:
        """All of that at once; kept when it returns."""

    @abstractmethod
    def _scan(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """All rows whose keys begin so, ascending."""

    @abstractmethod
    def _fetch_code(self, digest: bytes) -> bytes | None:
        """A code."""

    @abstractmethod
    def _fetch_block(self) -> bytes | None:
        """What was written as the last block."""

    # -------------------------------------------------------------------- what stores do

    @abstractmethod
    def _write_copy(self, path: Path) -> None:
        """Make a database of all that is committed."""

    def _copy(self, path: Path) -> Last:
        self._write_copy(path)
        with type(self)(path, read_only=True) as copy:
            return copy.last_block()

    def _last(self) -> Last:
        raw = self._fetch_block()
        if raw is None or len(raw) != 45 or zlib.crc32(raw[:-4]).to_bytes(4, "big") != raw[-4:]:
            raise StoreError(f"{self.name}: the entry of the last block is damaged")
        return (int.from_bytes(raw[1:9], "big"), raw[9:41]) if raw[0] else None

    def _opened(self, keys: KeyTable, values: Sequence[bytes | None]) -> tuple[NDArray[np.uint8], int]:
        """Words of keys from the values of their rows, and how many are there."""
        data = b"".join([_ABSENT if value is None else value for value in values])
        out = np.empty((len(keys), kernels.WORD), np.uint64)
        if len(data) != _VALUE * len(keys):
            found = -1 - next(i for i, value in enumerate(values) if value is not None and len(value) != _VALUE)
        else:  # if two are of wrong lengths, and the sum is right, the first of them has another checksum
            sealed = np.frombuffer(data, np.uint8).reshape(-1, _VALUE).view(np.uint64)
            found = open_rows(packed(keys), np.array(sealed), out)
            if found >= 0 and found != len(values) - values.count(None):
                found = -1 - int(np.argmax([value == _ABSENT for value in values]))  # a row of zeros is no row
        if found < 0:
            raise StoreError(f"{self.name}: the word of {keys.key_name(-1 - found)} is damaged: its checksum is another")
        return out.view(np.uint8), found

    def _get(self, keys: KeyTable) -> tuple[NDArray[np.uint8], int]:
        return self._opened(keys, self._fetch(rows_of(keys, self._prefix)))

    def _apply(self, keys: KeyTable, words: NDArray[np.uint8], codes: Mapping[bytes, bytes], last: Last) -> None:
        given = limbs(words)
        sealed = np.empty((len(keys), kernels.WORD + 1), np.uint64)
        seal_rows(packed(keys), given, sealed)
        rows, values = rows_of(keys, self._prefix), _cut(sealed.view(np.uint8))
        there: list[bool] = (given != 0).any(axis=1).tolist()
        puts = list(compress(zip(rows, values, strict=True), there))
        gone = [row for row, some in zip(rows, there, strict=True) if not some]
        self._write(puts, gone, codes, None if last is None else _sealed_block(last))

    def _code(self, digest: bytes) -> bytes | None:
        code = self._fetch_code(digest)
        if code is not None and keccak(code) != digest:
            raise StoreError(f"{self.name}: the code of hash 0x{digest.hex()} is damaged: its hash is another")
        return code

    def _slots(self, address: bytes) -> KeyTable:
        return table_of([row for row, _ in self._scan(address + bytes([Field.STORAGE]))])

    def _parts(self) -> Iterator[tuple[KeyTable, NDArray[np.uint8]]]:
        rows, before = self._scan(), b""
        while part := list(islice(rows, _PART)):
            names = [row for row, _ in part]
            wrong = next((row for row in names if len(row) != _KEY or row[20] > max(Field)), None)
            if wrong is not None or any(one >= other for one, other in zip([before, *names], names)):
                raise StoreError(f"{self.name}: keys are damaged: they are out of order, or none")
            before, keys = names[-1], table_of(names)
            yield keys, self._opened(keys, [value for _, value in part])[0]

    def _ready(self) -> None:
        """Have what reading takes compiled here: a child might wait for ever for a compiler that a thread here had in use."""
        self._opened(table_of([bytes(_KEY - 1) + bytes([end]) for end in (0, 1)]), [None, None])
        keccak(b"code")

    def _verified(self) -> int:
        """Read everything, and look up every key that is there: how many rows."""
        total = 0
        for keys, words in self._parts():
            total += len(keys)
            if not np.array_equal(self._get(keys)[0], words):
                raise StoreError(f"{self.name}: a key that is there is not found: the database is damaged")
        return total


#: What a new database has as its last block.
NO_BLOCK: Final = _sealed_block(None)
