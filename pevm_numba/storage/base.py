"""What keeps the state between blocks, as seen by who executes them."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from ..errors import BlockError
from ..keys import KeyTable, StateChange
from .latency import StoreMetrics

__all__ = ["Closing", "StateStore", "checked_words", "commit", "post_digest"]


@runtime_checkable
class StateStore(Protocol):
    """Words by key, and code by its hash.

    Words are (n, 32) uint8, big-endian; a key that is not there has the word 0, and one that gets 0 is there no more. The
    word of a code is its keccak hash, as in `keys.StateChange`. Reading is safe from several threads at once.
    """

    def get_many(self, keys: KeyTable) -> NDArray[np.uint8]:
        """(n, 32) uint8: the words of keys."""

    def put_many(self, keys: KeyTable, words: ArrayLike) -> None:
        """Give keys words, at once; of no block."""

    def get_codes(self, hashes: Iterable[bytes]) -> list[bytes]:
        """Code by its hash.

        Raises
        ------
        BlockError
            If there is no such code.
        """

    def put_codes(self, codes: Iterable[bytes]) -> None:
        """Keep code."""

    def slots_of(self, address: bytes) -> KeyTable:
        """All storage keys of an account whose words are not 0."""

    def commit_block(self, number: int, change: StateChange, digest: bytes) -> None:
        """What a block has changed, as a whole or not at all.

        Raises
        ------
        BlockError
            If the store is at that block already, or at a later one.
        """

    def last_block(self) -> tuple[int, bytes] | None:
        """Number and digest of the last block that was committed."""

    def items(self) -> Iterator[tuple[KeyTable, NDArray[np.uint8]]]:
        """All keys whose words are not 0, with them, in parts of any size."""

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Copy what is committed to another place, as a store of its own."""

    def metrics(self) -> StoreMetrics:
        """What it has done so far, and how long that took."""

    def close(self) -> None:
        """Give back what it holds; what was committed is kept. Any number of times."""


class Closing(ABC):
    """What is to be closed, or used as a context."""

    @abstractmethod
    def close(self) -> None:
        """Give back what it holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def post_digest(store: StateStore, number: int, change: StateChange) -> bytes:
    """SHA-256 of what a block makes of a store: of the digest before, the block's number, and all that it changes.

    Two stores that began alike are alike as long as their digests are.
    """
    last = store.last_block()
    sha = hashlib.sha256(last[1] if last is not None else b"")
    sha.update(number.to_bytes(32, "big"))
    for array in (change.keys.address, change.keys.field, change.keys.slot, change.words):
        sha.update(np.ascontiguousarray(array).data)
    return sha.digest()


def commit(store: StateStore, number: int, change: StateChange) -> None:
    """Commit what a block has changed, with its `post_digest`."""
    store.commit_block(number, change, post_digest(store, number, change))


def checked_words(keys: KeyTable, words: Any) -> NDArray[np.uint8]:
    """Words for as many keys.

    Raises
    ------
    BlockError
    """
    door.instance("keys", keys, KeyTable)
    if keys.whole:
        raise BlockError("keys: of whole accounts: a store has fields and slots")
    return door.array("words", words, np.uint8, (len(keys), 32))
