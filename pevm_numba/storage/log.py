"""A log of commits: each record has a checksum, so that one that was cut off in the writing is told from a whole one."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._kernels import table as kernels
from ..errors import StoreError
from .store import Last

__all__ = ["Log", "Record"]

#: Of a file: magic, version and generation; of a record: magic, flags, keys, bytes of codes, block number and digest.
_FILE: Final = struct.Struct("<8sII")
_HEAD: Final = struct.Struct("<8sIIQQ32s")
_SUM: Final = 16
_MAGIC: Final = b"pevm.log"
_RECORD: Final = b"\xf5commit\x0a"
_VERSION: Final = 1
_HAS_BLOCK: Final = 1
_KEY: Final = 8 * kernels.KEY
_WORD: Final = 8 * kernels.WORD
_CODE: Final = struct.Struct("<I")
#: Bytes that are read together: one read gives 2 GiB at most, whatever is asked for.
_TOGETHER: Final = 1 << 26


class Record(NamedTuple):
    """What one commit puts: (n, KEY) and (n, WORD) uint64, codes by hash, and the block if it was one."""

    keys: NDArray[np.uint64]
    words: NDArray[np.uint64]
    codes: Mapping[bytes, bytes]
    last: Last


def _sum(*parts: bytes | memoryview) -> bytes:
    made = hashlib.blake2b(digest_size=_SUM)
    for part in parts:
        made.update(part)
    return made.digest()


def _encoded(record: Record, place: int) -> bytes:
    """A record as it lies at that place of a file: head, its checksum, contents, the checksum of all."""
    codes = b"".join(digest + _CODE.pack(len(code)) + code for digest, code in record.codes.items())
    number, digest = record.last if record.last is not None else (0, bytes(32))
    flags = _HAS_BLOCK if record.last is not None else 0
    head = _HEAD.pack(_RECORD, flags, len(record.keys), len(codes), number, digest)
    body = record.keys.tobytes() + record.words.tobytes() + codes
    of_head = _sum(place.to_bytes(8, "little"), head)
    return b"".join((head, of_head, body, _sum(of_head, body)))


class Log:
    """A file of records that is only ever added to.

    Parameters
    ----------
    path : Path
    generation : int
        Of the table that the records change.
    sync : bool
        Whether a record is on the disk when `add` returns, not only with the system.
    writable : bool
    """

    def __init__(self, path: Path, generation: int, *, sync: bool = True, writable: bool = True) -> None:
        self.path, self.generation, self._sync = path, generation, sync
        self._file = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        self.end = _FILE.size
        try:
            found = os.pread(self._file, _FILE.size, 0)
            if found != self._head(generation):
                raise StoreError(f"{path}: is no log of generation {generation} of a store, or its first bytes are damaged")
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _head(generation: int) -> bytes:
        return _FILE.pack(_MAGIC, _VERSION, generation)

    @classmethod
    def create(cls, path: Path, generation: int) -> None:
        """Make an empty one, on the disk when this returns."""
        with open(path, "wb") as file:
            file.write(cls._head(generation))
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Give the file back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def add(self, record: Record) -> None:
        """Write a record; if that fails the log is as it was.

        Raises
        ------
        StoreError
            If there is no room, or the system refuses.
        """
        data = memoryview(_encoded(record, self.end))
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(self._file, data[done:], self.end + done)
            if self._sync:
                os.fdatasync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self.end)
            raise StoreError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        self.end += len(data)

    def records(self) -> Iterator[Record]:
        """All whole records, in order; `end` is then where the last one ends. What follows was never acknowledged.

        Raises
        ------
        StoreError
            If something before the last record is damaged.
        """
        raw = self._contents()
        data = memoryview(raw)
        while True:
            head = self._head_at(data, self.end)
            if head is None or self.end + head[1] > len(data):
                break
            record = self._record_at(data, self.end, *head)
            if record is None:
                break
            self.end += head[1]
            yield record
        later = raw.find(_RECORD, self.end + 1)
        while later >= 0:
            if self._head_at(data, later) is not None:
                raise StoreError(f"{self.path}: the record at byte {self.end} is damaged, and a whole one follows it")
            later = raw.find(_RECORD, later + 1)

    def _contents(self) -> bytearray:
        """The file as long as it is now: what is added while it is read might be there only in part, with more after it."""
        size, data = os.fstat(self._file).st_size, bytearray()
        while len(data) < size:
            part = os.pread(self._file, min(_TOGETHER, size - len(data)), len(data))
            if not part:  # the one that writes has cut off what was no whole record
                break
            data += part
        return data

    def cut(self) -> int:
        """Take away what follows the last whole record: how many bytes."""
        left = os.fstat(self._file).st_size - self.end
        if left:
            os.ftruncate(self._file, self.end)
        return left

    @staticmethod
    def _head_at(data: memoryview, place: int) -> tuple[tuple[int, int, int, int, bytes], int] | None:
        """Fields of the record that begins at a place, and its size; None if none does."""
        if place + _HEAD.size + _SUM > len(data):
            return None
        raw = data[place : place + _HEAD.size]
        magic, *fields = _HEAD.unpack(raw)
        if magic != _RECORD or _sum(place.to_bytes(8, "little"), raw) != data[place + _HEAD.size :][:_SUM]:
            return None
        flags, n, n_codes, number, digest = fields
        size = _HEAD.size + _SUM + n * (_KEY + _WORD) + n_codes + _SUM
        return (flags, n, n_codes, number, digest), size

    @staticmethod
    def _record_at(data: memoryview, place: int, fields: tuple[int, int, int, int, bytes], size: int) -> Record | None:
        flags, n, _, number, digest = fields
        start, end = place + _HEAD.size, place + size - _SUM
        if _sum(data[start : start + _SUM], data[start + _SUM : end]) != data[end : end + _SUM]:
            return None
        at = start + _SUM
        keys = np.frombuffer(data[at : at + n * _KEY], np.uint8).reshape(n, _KEY).copy().view(np.uint64)
        at += n * _KEY
        words = np.frombuffer(data[at : at + n * _WORD], np.uint8).reshape(n, _WORD).copy().view(np.uint64)
        at += n * _WORD
        codes = {}
        while at < end:
            (length,) = _CODE.unpack(data[at + 32 : at + 36])
            codes[bytes(data[at : at + 32])] = bytes(data[at + 36 : at + 36 + length])
            at += 36 + length
        return Record(keys, words, codes, (number, bytes(digest)) if flags & _HAS_BLOCK else None)
