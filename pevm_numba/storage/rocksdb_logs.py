"""Logs of RocksDB, looked at before it reads them: there is damage that it reads again and again, and never ends.

A log (``MANIFEST-…``, ``….log``) is made of blocks of 32 KiB, a block of records: checksum u32, length u16, kind u8, data. It
is of kinds 5 to 8 and 11 that a file has which is used a second time; no store has any. One bit can make such a kind of
another, and RocksDB then takes the record for one of the file's former life, and waits for the rest of the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from ..errors import StoreError

__all__ = ["check_logs"]

_BLOCK: Final = 1 << 15
_HEAD: Final = 7
#: Kinds of records of a file that is used again.
_AGAIN: Final = (5, 6, 7, 8, 11)


def check_logs(folder: Path) -> None:
    """Refuse logs that RocksDB would never end to read; all other damage it tells itself.

    Raises
    ------
    StoreError
        Naming the file and the byte.
    """
    for path in sorted([*folder.glob("MANIFEST-*"), *folder.glob("*.log")]):
        try:
            with open(path, "rb") as file:
                place = _used_again(_blocks(file))
        except FileNotFoundError:  # it was not needed any more
            continue
        if place is not None:
            raise StoreError(f"{path}: the record at byte {place} is damaged: it is of a kind that no store has")


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """Blocks that are there now: what is being added to the last one would be taken for the beginning of another."""
    left = os.fstat(file.fileno()).st_size
    while left > 0:
        block = file.read(min(_BLOCK, left))
        left -= _BLOCK if len(block) == _BLOCK else left
        yield block


def _used_again(blocks: Iterable[bytes]) -> int | None:
    """Where the first such record is."""
    for number, block in enumerate(blocks):
        at = 0
        while at + _HEAD <= len(block):
            length, kind = int.from_bytes(block[at + 4 : at + 6], "little"), block[at + 6]
            if kind in _AGAIN:
                return number * _BLOCK + at
            if kind == 0 and length == 0:  # room for what is to come, or the rest of a block
                break
            at += _HEAD + length
    return None
