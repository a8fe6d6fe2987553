"""A store that lasts as long as the process: the plain model of all others."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from ..errors import BlockError
from ..evm.hashing import EMPTY_HASH, keccak
from ..keys import KeyTable, StateChange
from ..machine.ops import Field
from .base import checked_words

__all__ = ["MemoryStore"]

_ZERO = bytes(32)
#: Bytes of a key: address, field, slot.
_KEY = 53


def _rows(keys: KeyTable) -> list[bytes]:
    """Each key as its 53 bytes, which sort as keys do."""
    rows = np.concatenate([keys.address, keys.field[:, None], keys.slot], axis=1).tobytes()
    return [rows[at : at + _KEY] for at in range(0, len(rows), _KEY)]


def _table(rows: list[bytes]) -> KeyTable:
    columns = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, _KEY)
    return KeyTable(columns[:, :20], columns[:, 20], columns[:, 21:])


class MemoryStore:
    """A `StateStore` in dictionaries.

    Examples
    --------
    >>> keys = KeyTable.from_keys([(bytes(20), Field.STORAGE, 5), (bytes(20), Field.BALANCE, 0)])
    >>> store = MemoryStore()
    >>> store.put_many(keys, [[0] * 31 + [7], [0] * 32])
    >>> store.get_many(keys)[:, 31].tolist(), [len(part) for part, _ in store.items()]
    ([7, 0], [1])
    """

    def __init__(self) -> None:
        self._words: dict[bytes, bytes] = {}
        self._slots: dict[bytes, set[bytes]] = {}
        self._codes: dict[bytes, bytes] = {EMPTY_HASH: b""}
        self._last: tuple[int, bytes] | None = None
        self._lock = threading.Lock()

    def get_many(self, keys: KeyTable) -> NDArray[np.uint8]:
        """(n, 32) uint8: the words of keys, 0 for what is not there."""
        words = b"".join([self._words.get(row, _ZERO) for row in _rows(keys)])
        return np.frombuffer(words, np.uint8).reshape(-1, 32)

    def put_many(self, keys: KeyTable, words: ArrayLike) -> None:
        """Give keys words, at once.

        Raises
        ------
        BlockError
            If there are not as many words.
        """
        given = checked_words(keys, words)
        with self._lock:
            self._put(keys, given)

    def _put(self, keys: KeyTable, words: NDArray[np.uint8]) -> None:
        for row, word in zip(_rows(keys), words):
            value = word.tobytes()
            if value != _ZERO:
                self._words[row] = value
            else:
                self._words.pop(row, None)
            if row[20] == Field.STORAGE:
                slots = self._slots.setdefault(row[:20], set())
                (slots.add if value != _ZERO else slots.discard)(row)

    def get_codes(self, hashes: Iterable[bytes]) -> list[bytes]:
        """Code by its hash; a BlockError names one that is not there."""
        found = []
        for digest in hashes:
            if digest not in self._codes:
                raise BlockError(f"the store has no code of hash 0x{digest.hex()}")
            found.append(self._codes[digest])
        return found

    def put_codes(self, codes: Iterable[bytes]) -> None:
        """Keep code."""
        for code in codes:
            door.instance("code", code, bytes)
            self._codes[keccak(code)] = code

    def slots_of(self, address: bytes) -> KeyTable:
        """All storage keys of an account whose words are not 0."""
        return _table(sorted(self._slots.get(address, ())))

    def commit_block(self, number: int, change: StateChange, digest: bytes) -> None:
        """What a block has changed, as a whole or not at all; a BlockError if the store is there already."""
        given = checked_words(change.keys, change.words)
        with self._lock:
            if self._last is not None and number <= self._last[0]:
                raise BlockError(f"block {number}: the store has had block {self._last[0]}")
            self._codes.update(change.codes)
            self._put(change.keys, given)
            self._last = number, digest

    def last_block(self) -> tuple[int, bytes] | None:
        """Number and digest of the last block that was committed."""
        return self._last

    def items(self) -> Iterator[tuple[KeyTable, NDArray[np.uint8]]]:
        """All keys whose words are not 0, with them, in their order: one part."""
        rows = sorted(self._words)
        if rows:
            words = b"".join([self._words[row] for row in rows])
            yield _table(rows), np.frombuffer(words, np.uint8).reshape(-1, 32)
