"""Whether a store is whole, and whether two have the same state: everything is read, whatever the backends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..evm.hashing import EMPTY_HASH, keccak
from ..keys import KeyTable
from ..machine.ops import Field
from .base import StateStore
from .store import Last

__all__ = ["StoreReport", "Unlike", "compare_stores", "verify_store"]

_NO_CODE: Final = (bytes(32), EMPTY_HASH)


class StoreReport(NamedTuple):
    """What a store has.

    Attributes
    ----------
    keys : int
        Keys that are not 0.
    slots : int
        Of these, storage.
    accounts : int
        That have a balance, a nonce or code.
    codes : int
        Different codes that accounts have, and their bytes together.
    code_bytes : int
    last : (int, bytes) or None
        Number and digest of the last block.
    """

    keys: int
    slots: int
    accounts: int
    codes: int
    code_bytes: int
    last: Last


class Unlike(NamedTuple):
    """A key that two stores have different words for; 0 for a key that is not there."""

    address: bytes
    field: Field
    slot: int
    left: int
    right: int

    def __str__(self) -> str:
        place = f"slot 0x{self.slot:x}" if self.field == Field.STORAGE else self.field.name.lower()
        return f"0x{self.address.hex()} {place}: 0x{self.left:x}, 0x{self.right:x}"


def verify_store(store: StateStore) -> StoreReport:
    """Read everything that a store has, look every key up again, and hash the codes of all accounts.

    Parameters
    ----------
    store : StateStore
        Must not change meanwhile.

    Returns
    -------
    StoreReport

    Raises
    ------
    StoreError
        If anything is damaged, or is not found though it is there.
    BlockError
        If an account's code is missing.

    Examples
    --------
    >>> from .memory import MemoryStore
    >>> from .world import put_world
    >>> store = MemoryStore()
    >>> put_world(store, {bytes(20): (5, 1, b"code", {7: 8})})
    >>> verify_store(store)[:5]
    (4, 1, 1, 1, 4)
    """
    total, slots, accounts, codes = 0, 0, set[bytes](), set[bytes]()
    for keys, words in store.items():
        if not np.array_equal(store.get_many(keys), words):
            raise StoreError(f"{_name(store)}: a key that is there is not found, or has another word: it is damaged")
        if not words.any(axis=1).all():
            raise StoreError(f"{_name(store)}: a key that has the word 0 is there: it is damaged")
        of_accounts = keys.field != int(Field.STORAGE)
        total, slots = total + len(keys), slots + int((~of_accounts).sum())
        rows = keys.address[of_accounts].tobytes()
        accounts.update(rows[at : at + 20] for at in range(0, len(rows), 20))
        hashes = words[keys.field == int(Field.CODE)].tobytes()
        codes.update(hashes[at : at + 32] for at in range(0, len(hashes), 32))
    sizes = [_size_of_code(store, digest) for digest in sorted(codes.difference(_NO_CODE))]
    return StoreReport(total, slots, len(accounts), len(sizes), sum(sizes), store.last_block())


def _size_of_code(store: StateStore, digest: bytes) -> int:
    (code,) = store.get_codes([digest])
    if keccak(code) != digest:
        raise StoreError(f"{_name(store)}: the code of hash 0x{digest.hex()} is damaged: its hash is another")
    return len(code)


def _name(store: StateStore) -> str:
    return str(getattr(store, "name", type(store).__name__))


def compare_stores(left: StateStore, right: StateStore) -> Iterator[Unlike]:
    """Keys that two stores have different words for, in the order of the first; then those that only the second has.

    Parameters
    ----------
    left, right : StateStore
        Of any backends; must not change meanwhile.

    Examples
    --------
    >>> from .memory import MemoryStore
    >>> keys = KeyTable.from_keys([(bytes(20), Field.STORAGE, 5), (bytes(20), Field.NONCE, 0)])
    >>> left, right = MemoryStore(), MemoryStore()
    >>> left.put_many(keys, [[0] * 31 + [7], [0] * 31 + [1]])
    >>> right.put_many(keys, [[0] * 31 + [7], [0] * 31 + [2]])
    >>> [str(one)[-15:] for one in compare_stores(left, right)]
    ['nonce: 0x1, 0x2']
    """
    for keys, words in left.items():
        yield from _unlike(keys, words, right.get_many(keys))
    for keys, words in right.items():
        mine = left.get_many(keys)
        only = np.flatnonzero(~mine.any(axis=1))
        part = KeyTable(keys.address[only], keys.field[only], keys.slot[only])
        yield from _unlike(part, mine[only], words[only])


def _unlike(keys: KeyTable, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Iterator[Unlike]:
    for k in np.flatnonzero((left != right).any(axis=1)).tolist():
        mine, theirs = (int.from_bytes(words[k].tobytes(), "big") for words in (left, right))
        yield Unlike(*keys[k], mine, theirs)
