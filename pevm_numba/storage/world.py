"""Accounts in a store: put there, read from it, and fetched by blocks that run on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..evm.block import AnyBlock, EvmBlock
from ..evm.hashing import EMPTY_HASH, keccak
from ..evm.world import AccountState, World
from ..keys import KeyTable
from ..machine.ops import Field
from .base import StateStore

__all__ = ["OneByOne", "StoreSource", "account_of", "put_before", "put_world", "read_account", "read_world"]

_NO_CODE = (bytes(32), EMPTY_HASH)
_OF_ACCOUNTS = (Field.BALANCE, Field.NONCE, Field.CODE)


def _keys(addresses: Sequence[bytes], slots: Sequence[tuple[bytes, int]]) -> KeyTable:
    """Balance, nonce and code of each account, then slots; all distinct."""
    n = len(addresses)
    owners = np.frombuffer(b"".join(addresses), np.uint8).reshape(n, 20).repeat(3, axis=0)
    places = np.frombuffer(b"".join([address for address, _ in slots]), np.uint8).reshape(-1, 20)
    field = np.full(3 * n + len(slots), int(Field.STORAGE), np.uint8)
    field[: 3 * n] = np.tile(np.array(_OF_ACCOUNTS, np.uint8), n)
    slot = np.zeros((len(field), 32), np.uint8)
    words = b"".join([slot.to_bytes(32, "big") for _, slot in slots])
    slot[3 * n :] = np.frombuffer(words, np.uint8).reshape(-1, 32)
    return KeyTable(np.concatenate([owners, places]), field, slot)


def put_world(store: StateStore, world: World) -> None:
    """Put accounts into a store; slots that it has of them and `world` does not name stay.

    What an account is that merely exists, its code's word tells: it is the hash of nothing.

    Examples
    --------
    >>> from .memory import MemoryStore
    >>> store = MemoryStore()
    >>> put_world(store, {b"a" * 20: (5, 1, b"\\x00", {7: 8})})
    >>> read_world(store)[b"a" * 20]
    AccountState(balance=5, nonce=1, code=b'\\x00', storage={7: 8})
    """
    words = []
    for balance, nonce, code, _ in world.values():
        words += [balance.to_bytes(32, "big"), nonce.to_bytes(32, "big")]
        words.append(keccak(code) if code or not (balance or nonce) else bytes(32))
    slots = [(address, slot, value) for address, account in world.items() for slot, value in account[3].items()]
    store.put_codes(sorted({account[2] for account in world.values()} - {b""}))
    store.put_many(_keys(list(world), ()), np.frombuffer(b"".join(words), np.uint8).reshape(-1, 32))
    values = b"".join(value.to_bytes(32, "big") for *_, value in slots)
    store.put_many(_keys((), [one[:2] for one in slots]), np.frombuffer(values, np.uint8).reshape(-1, 32))


def put_before(store: StateStore, block: AnyBlock) -> None:
    """Put the state before a block into a store, as far as the block itself says.

    Examples
    --------
    >>> from ..block import Block
    >>> from .memory import MemoryStore
    >>> store = MemoryStore()
    >>> put_before(store, Block.from_programs([[("SLOAD", (1, 0, 5))]], state={(1, 0, 5): 7}))
    >>> [int(word[31]) for _, words in store.items() for word in words]
    [7]
    """
    if isinstance(block, EvmBlock):
        put_world(store, block.state)
        return
    k = np.flatnonzero(block.pre_values.any(axis=1))
    words = np.ascontiguousarray(block.pre_values[k]).view(np.uint8)[:, ::-1]
    store.put_many(KeyTable(block.key_address[k], block.key_field[k], block.key_slot[k]), words)


def read_account(store: StateStore, address: bytes) -> tuple[int, int, bytes] | None:
    """Balance, nonce and code of an account; None if there is none."""
    (found,) = StoreSource(store).accounts([address])
    return found


def read_world(store: StateStore) -> dict[bytes, AccountState]:
    """All accounts in a store."""
    fields: dict[bytes, dict[int, bytes]] = {}
    storages: dict[bytes, dict[int, int]] = {}
    for keys, words in store.items():
        for k, (address, field, slot) in enumerate(keys):
            if field == Field.STORAGE:
                storages.setdefault(address, {})[slot] = int.from_bytes(words[k].tobytes(), "big")
            else:
                fields.setdefault(address, {})[int(field)] = words[k].tobytes()
    found = {}
    for address in fields | storages:
        balance, nonce, code = (fields.get(address, {}).get(int(field), bytes(32)) for field in _OF_ACCOUNTS)
        kept = b"" if code in _NO_CODE else store.get_codes([code])[0]
        amounts = int.from_bytes(balance, "big"), int.from_bytes(nonce, "big")
        found[address] = AccountState(*amounts, kept, storages.get(address, {}))
    return found


def account_of(row: tuple[bytes, bytes, bytes], codes: Mapping[bytes, bytes]) -> tuple[int, int, bytes] | None:
    """Balance, nonce and code from their words; None if there is no such account."""
    balance, nonce, digest = row
    if not any(balance) and not any(nonce) and not any(digest):
        return None
    return int.from_bytes(balance, "big"), int.from_bytes(nonce, "big"), codes[digest]


class StoreSource:
    """A store as a block's `source`: what the block needs and its own state does not have is read there.

    Parameters
    ----------
    store : StateStore
        Must not change while the block runs.
    """

    def __init__(self, store: StateStore) -> None:
        self.store = store

    def accounts(self, addresses: Sequence[bytes]) -> list[tuple[int, int, bytes] | None]:
        """Balance, nonce and code of each; None for what does not exist."""
        rows, _ = self.rows(addresses, ())
        codes = self.codes(row[2] for row in rows)
        return [account_of(row, codes) for row in rows]

    def rows(
        self, addresses: Sequence[bytes], slots: Sequence[tuple[bytes, int]]
    ) -> tuple[list[tuple[bytes, bytes, bytes]], list[int]]:
        """Words of balance, nonce and code of accounts, and values of slots, all distinct, by one call of the store."""
        words = self.store.get_many(_keys(addresses, slots)).tobytes()
        cut = [words[at : at + 32] for at in range(0, len(words), 32)]
        n = 3 * len(addresses)
        return list(zip(cut[:n:3], cut[1:n:3], cut[2:n:3], strict=True)), [int.from_bytes(one, "big") for one in cut[n:]]

    def codes(self, hashes: Iterable[bytes]) -> dict[bytes, bytes]:
        """Codes by their hashes, each once; those of nothing included."""
        wanted = sorted(set(hashes) - set(_NO_CODE))
        return dict(zip(wanted, self.store.get_codes(wanted), strict=True)) | dict.fromkeys(_NO_CODE, b"")

    def slots(self, keys: Sequence[tuple[bytes, int]]) -> list[int]:
        """Value of each (address, slot)."""
        return [int.from_bytes(word.tobytes(), "big") for word in self.store.get_many(_keys((), keys))]

    def storage(self, address: bytes) -> Mapping[int, int]:
        """All slots of an account that are not 0."""
        keys = self.store.slots_of(address)
        words = self.store.get_many(keys)
        return {slot: int.from_bytes(words[k].tobytes(), "big") for k, (_, _, slot) in enumerate(keys)}


class OneByOne(StoreSource):
    """The same with a call of the store for each account and each slot, as when nothing is known beforehand."""

    def accounts(self, addresses: Sequence[bytes]) -> list[tuple[int, int, bytes] | None]:
        """Balance, nonce and code of each; None for what does not exist."""
        return [found for address in addresses for found in StoreSource.accounts(self, [address])]

    def slots(self, keys: Sequence[tuple[bytes, int]]) -> list[int]:
        """Value of each (address, slot)."""
        return [value for key in keys for value in StoreSource.slots(self, [key])]
