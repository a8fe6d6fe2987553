"""The state of a block in an arena: accounts put in, and read out again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._kernels.evm import layout
from .._kernels.evm.interning import find_key
from ..machine.ops import Field
from .arena import Arena, Room
from .forks import Fork
from .hashing import EMPTY_HASH

__all__ = [
    "AccountState", "World", "add_account", "add_state", "key_number", "key_numbers", "key_table", "known_codes",
    "known_hashes", "read_state", "replaced", "room_for", "values_of", "word", "word_value",
]  # fmt: skip


#: Gas for which there is room at once; tables grow if transactions use more.
_MOST_GAS: Final = 10**9


class AccountState(NamedTuple):
    """An account; `storage` has no zeros."""

    balance: int
    nonce: int
    code: bytes
    storage: Mapping[int, int]


#: All accounts that exist, by their 20 bytes: (balance, nonce, code, storage).
World: TypeAlias = Mapping[bytes, tuple[int, int, bytes, Mapping[int, int]]]


def word(value: int) -> NDArray[np.uint8]:
    """A word as the machine has it: 32 bytes, least significant first."""
    return np.frombuffer(value.to_bytes(32, "little"), np.uint8)


def word_value(given: NDArray[np.uint8]) -> int:
    """The number that a word is."""
    return int.from_bytes(given.tobytes(), "little")


def room_for(state: World, n_tx: int = 1, gas: int = 0, named: int = 0) -> Room:
    """Room that a block with that many transactions, that much gas and keys named beforehand will mostly do with."""
    gas = min(gas, _MOST_GAS)
    codes = {account[2] for account in state.values()}
    keys = sum(3 + len(account[3]) for account in state.values()) + 4 * named
    room = Room()
    return Room(
        keys=max(room.keys, 2 * keys + 16 * n_tx), codes=max(room.codes, 2 * len(codes) + n_tx),
        code_bytes=max(room.code_bytes, 3 * sum(map(len, codes)) + 1024 * len(codes)),
        logs=max(room.logs, gas // 1500), log_bytes=max(room.log_bytes, gas // 8),
        notes=max(room.notes, 64 * n_tx + gas // 400), cells=max(room.cells, 32 * n_tx + gas // 1000),
    )  # fmt: skip


def _key(arena: Arena, owner: int, value: int, width: int) -> int:
    place = arena.buffer("scratch")[:32]
    place[:] = word(value)
    return int(find_key(arena.address, owner, place.ctypes.data, width))


def key_number(arena: Arena, address: bytes, field: int, slot: int) -> int:
    """Number of a key, which is interned if need be; `field` is one of `Field`."""
    owner = _key(arena, -1, int.from_bytes(address, "big"), 3)
    return _key(arena, owner, slot, 1) if field == Field.STORAGE else owner + field - int(Field.BALANCE)


def key_numbers(arena: Arena, keys: Iterable[tuple[bytes, int, int]]) -> NDArray[np.int64]:
    """Numbers of keys, as `key_number`; each account is looked up once."""
    numbers, owners = list[int](), dict[bytes, int]()
    for address, field, slot in keys:
        if address not in owners:
            owners[address] = key_number(arena, address, Field.BALANCE, 0)
        owner = owners[address]
        numbers.append(_key(arena, owner, slot, 1) if field == Field.STORAGE else owner + field - int(Field.BALANCE))
    return np.array(numbers, np.int64)


def add_state(arena: Arena, state: World) -> None:
    """Put all accounts in; the arena's status is FULL if they did not fit."""
    arena["bare_storage"] = any(one[3] and not (one[1] or one[2]) for one in state.values())
    for address, account in state.items():
        add_account(arena, address, account)
        if arena["status"] != layout.OK:
            return


def add_account(arena: Arena, address: bytes, account: tuple[int, int, bytes, Mapping[int, int]]) -> None:
    """Put one account in, as `add_state`."""
    balance, nonce, code, storage = account
    key, values = _key(arena, -1, int.from_bytes(address, "big"), 3), arena.words("values")
    merely_exists = arena.fork < Fork.SPURIOUS or not (balance or nonce)
    if code:
        codes = arena.buffer("codes").reshape(-1, layout.CODE.size)
        values[key + 2] = codes[arena.add_code(code), :32].view(np.uint64)
    elif merely_exists:
        values[key + 2] = np.frombuffer(EMPTY_HASH[::-1], np.uint64)
    values[key], values[key + 1] = word(balance).view(np.uint64), word(nonce).view(np.uint64)
    for slot, value in storage.items():
        if value:
            values[_key(arena, key, slot, 1)] = word(value).view(np.uint64)


def key_table(arena: Arena) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Words and owners of all keys, (n, 32) uint8 and (n,) int64; see `layout.KEY`."""
    n_keys = int(arena.buffer("n_keys").view(np.int64)[0])
    keys = arena.buffer("keys").reshape(-1, layout.KEY.size)[:n_keys]
    return keys[:, :32], keys[:, 32:40].copy().view(np.int64)[:, 0]


def values_of(arena: Arena) -> NDArray[np.uint64]:
    """Values of all keys, (n, 4) uint64."""
    return arena.words("values")[: len(key_table(arena)[1])].copy()


def replaced(given: NDArray[np.uint64], now: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Keys whose values are others now, and those that were given; keys met since had 0.

    Examples
    --------
    >>> keys, values = replaced(np.zeros((1, 4), np.uint64), np.array([[0, 0, 0, 0], [7, 0, 0, 0]], np.uint64))
    >>> keys.tolist(), values.tolist()
    ([1], [[0, 0, 0, 0]])
    """
    before = np.zeros_like(now)
    before[: len(given)] = given
    keys = np.flatnonzero((before != now).any(axis=1))
    return keys, before[keys]


def read_state(*arenas: Arena) -> dict[bytes, AccountState]:
    """All accounts that exist now; the arenas are those of all workers, who share keys and values."""
    words, owners = key_table(arenas[0])
    values = arenas[0].buffer("values").reshape(-1, 32)
    codes = known_codes(arenas)
    storages: dict[int, dict[int, int]] = {}
    used = values[: len(owners)].any(axis=1)
    for k in np.flatnonzero((owners >= 0) & used).tolist():
        storages.setdefault(int(owners[k]), {})[word_value(words[k])] = word_value(values[k])
    found = {}
    heads = np.flatnonzero(owners < 0)
    for k in heads[np.arange(len(heads)) % 3 == 0].tolist():
        balance, nonce, code_hash = (word_value(values[k + i]) for i in range(3))
        if balance or nonce or code_hash:
            address = word_value(words[k]).to_bytes(20, "big")
            found[address] = AccountState(balance, nonce, codes[code_hash], storages.get(k, {}))
    return found


def known_hashes(arena: Arena) -> set[bytes]:
    """Hashes of all code, of no code too, and the zeros that stand for it."""
    n_codes = int(arena.buffer("n_codes").view(np.int64)[0])
    hashes = arena.buffer("codes").reshape(-1, layout.CODE.size)[:n_codes, 31::-1]
    return {bytes(32), EMPTY_HASH, *(row.tobytes() for row in hashes)}


def known_codes(arenas: tuple[Arena, ...]) -> dict[int, bytes]:
    """All code by its hash."""
    n_codes = int(arenas[0].buffer("n_codes").view(np.int64)[0])
    records = arenas[0].buffer("codes").reshape(-1, layout.CODE.size)[:n_codes]
    places = records[:, 32:48].copy().view(np.int64)
    tops = [(a.buffer("code_top").ctypes.data, a.buffer("code_top")) for a in arenas]
    found = {0: b"", int.from_bytes(EMPTY_HASH, "big"): b""}
    for record, (start, size) in zip(records[1:], places[1:].tolist()):
        first, buffer = next((first, b) for first, b in tops if first <= start < first + len(b))
        found[word_value(record[:32])] = buffer[start - first : start - first + size].tobytes()
    return found
