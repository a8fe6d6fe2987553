"""Codes of contracts in a file that is only ever added to; the hash that each is known by says whether it is whole."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..errors import StoreError
from ..evm.hashing import keccak

__all__ = ["CodeFile"]

#: Length, hash, and the CRC of both; then the code.
_HEAD: Final = struct.Struct("<I32sI")


def _head(code: bytes, digest: bytes) -> bytes:
    start = struct.pack("<I32s", len(code), digest)
    return start + struct.pack("<I", zlib.crc32(start))


class CodeFile:
    """Codes by hash; where each is, is read when the file is opened.

    Parameters
    ----------
    path : Path
    needed : int
        Bytes of the file that somebody relies on; what follows may have been cut off while it was written, and is left aside.
    writable : bool

    Raises
    ------
    StoreError
        If what is needed is damaged.
    """

    def __init__(self, path: Path, needed: int, *, writable: bool) -> None:
        self.path = path
        self._file = os.open(path, (os.O_RDWR | os.O_CREAT) if writable else os.O_RDONLY, 0o666)
        self._places: dict[bytes, tuple[int, int]] = {}
        self.end = 0
        while self.end < needed:
            raw = os.pread(self._file, _HEAD.size, self.end)
            whole = len(raw) == _HEAD.size and zlib.crc32(raw[:-4]) == _HEAD.unpack(raw)[2]
            length, digest = _HEAD.unpack(raw)[:2] if whole else (0, b"")
            if not whole or os.fstat(self._file).st_size < self.end + _HEAD.size + length:
                self.close()
                raise StoreError(f"{path}: the code at byte {self.end} is damaged")
            self._places[digest] = self.end + _HEAD.size, length
            self.end += _HEAD.size + length

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._places

    def get(self, digest: bytes) -> bytes | None:
        """A code, if there is one of that hash.

        Raises
        ------
        StoreError
            If it is damaged.
        """
        if digest not in self._places:
            return None
        place, length = self._places[digest]
        code = os.pread(self._file, length, place)
        if keccak(code) != digest:
            raise StoreError(f"{self.path}: the code at byte {place} is damaged: its hash is not 0x{digest.hex()}")
        return code

    def add(self, codes: Mapping[bytes, bytes]) -> None:
        """Write those that are not there, to the disk.

        Raises
        ------
        OSError
            If there is no room, or the system refuses; the file then has what it had.
        """
        new = {digest: code for digest, code in codes.items() if digest not in self._places}
        if not new:
            return
        data, places, place = [], {}, self.end
        for digest, code in new.items():
            data.append(_head(code, digest) + code)
            places[digest] = place + _HEAD.size, len(code)
            place += len(data[-1])
        try:
            os.ftruncate(self._file, self.end)
            view, done = memoryview(b"".join(data)), 0
            while done < len(view):
                done += os.pwrite(self._file, view[done:], self.end + done)
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self.end)
            raise
        self._places |= places
        self.end = place

    def all(self) -> dict[bytes, bytes]:
        """Every code by its hash."""
        return {digest: self.get(digest) or b"" for digest in list(self._places)}

    def close(self) -> None:
        """Give the file back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
