"""The state of a block in an arena: accounts put in, and read out again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._kernels.evm import layout
from .._kernels.evm.interning import find_key, find_keys
from ..machine.ops import Field
from .arena import Arena, Room
from .forks import Fork
from .hashing import EMPTY_HASH

__all__ = [
    "AccountState", "World", "account_numbers", "add_state", "as_words", "key_number", "key_numbers", "key_table",
    "known_codes", "known_hashes", "read_state", "replaced", "room_for", "values_of", "word", "word_value",
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


def as_words(values: Iterable[int]) -> NDArray[np.uint8]:
    """(n, 32) uint8 of numbers, as `word`."""
    return np.frombuffer(b"".join(value.to_bytes(32, "little") for value in values), np.uint8).reshape(-1, 32)


def as_values(words: NDArray[np.uint8]) -> list[int]:
    """The numbers that (n, 32) uint8 are, the opposite."""
    raw = words.tobytes()
    return [int.from_bytes(raw[at : at + 32], "little") for at in range(0, len(raw), 32)]


def _interned(arena: Arena, owners: NDArray[np.int64], words: NDArray[np.uint8], width: int) -> NDArray[np.int64]:
    """Numbers of keys; status FULL if there was no room for all."""
    n = len(owners)
    rows = arena.allocate("asked", 48 * n)
    rows[: 32 * n], rows[32 * n : 40 * n] = words.reshape(-1), owners.view(np.uint8)
    at = int(rows.ctypes.data)
    find_keys(arena.address, at + 32 * n, at, n, width, at + 40 * n)
    return rows[40 * n :].view(np.int64).copy()


def account_numbers(arena: Arena, addresses: Collection[bytes]) -> NDArray[np.int64]:
    """Numbers of accounts' balances, which nonce and code follow."""
    words = np.frombuffer(b"".join(address[::-1] + bytes(12) for address in addresses), np.uint8)
    return _interned(arena, np.full(len(addresses), -1, np.int64), words, 3)


def key_numbers(arena: Arena, keys: Iterable[tuple[bytes, int, int]]) -> NDArray[np.int64]:
    """Numbers of keys, as `key_number`; each account is looked up once."""
    given = list(keys)
    heads = {address: i for i, address in enumerate(dict.fromkeys(key[0] for key in given))}
    owners = account_numbers(arena, heads)[np.array([heads[key[0]] for key in given], np.int64)]
    fields = np.array([key[1] for key in given], np.int64)
    numbers, stored = owners + fields - int(Field.BALANCE), np.flatnonzero(fields == int(Field.STORAGE))
    numbers[stored] = _interned(arena, owners[stored], as_words(given[i][2] for i in stored.tolist()), 1)
    return numbers


def add_state(arena: Arena, state: World, zeros: bool = False) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Put accounts in; the arena's status is FULL if they did not fit.

    Numbers of their balances, and of their slots; of those that are 0 only if `zeros`.
    """
    arena["bare_storage"] |= int(any(one[3] and not (one[1] or one[2]) for one in state.values()))
    heads, values = account_numbers(arena, state), arena.words("values")
    slots = [
        (head, slot, value) for head, one in zip(heads.tolist(), state.values(), strict=True)
        for slot, value in one[3].items() if value or zeros
    ]  # fmt: skip
    owners = np.array([one[0] for one in slots], np.int64)
    places = _interned(arena, owners, as_words(one[1] for one in slots), 1)
    hashes = _code_words(arena, state)
    if arena["status"] != layout.FULL:
        values[heads] = as_words(one[0] for one in state.values()).view(np.uint64)
        values[heads + 1] = as_words(one[1] for one in state.values()).view(np.uint64)
        values[heads + 2] = np.frombuffer(b"".join(hashes), np.uint64).reshape(-1, 4)
        values[places] = as_words(one[2] for one in slots).view(np.uint64)
    return heads, places


def _code_words(arena: Arena, state: World) -> Iterator[bytes]:
    """What the word of each account's code is; an account may exist by nothing else."""
    known, codes = dict[bytes, bytes](), arena.buffer("codes").reshape(-1, layout.CODE.size)
    exists = EMPTY_HASH[::-1]
    for balance, nonce, code, _ in state.values():
        if not code:
            yield exists if arena.fork < Fork.SPURIOUS or not (balance or nonce) else bytes(32)
            continue
        if code not in known:
            known[code] = codes[arena.add_code(code), :32].tobytes()
        yield known[code]


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


def read_state(*arenas: Arena, values: NDArray[np.uint64] | None = None) -> dict[bytes, AccountState]:
    """All accounts that exist; the arenas are those of all workers, who share keys and values.

    `values`, (n, 4) uint64, default those that the arenas have now; keys beyond them are 0.
    """
    words, owners = key_table(arenas[0])
    numbers = np.zeros((len(owners), 4), np.uint64)
    given = arenas[0].words("values")[: len(owners)] if values is None else values
    numbers[: len(given)] = given
    codes, used = known_codes(arenas), (numbers != 0).any(axis=1)
    slots, raw = np.flatnonzero((owners >= 0) & used), numbers.view(np.uint8)
    storages: dict[int, dict[int, int]] = {}
    for owner, slot, value in zip(owners[slots].tolist(), as_values(words[slots]), as_values(raw[slots]), strict=True):
        storages.setdefault(owner, {})[slot] = value
    heads = np.flatnonzero(owners < 0)[::3]
    heads = heads[used[heads] | used[heads + 1] | used[heads + 2]]
    addresses, columns = words[heads, 19::-1].tobytes(), (as_values(raw[heads + i]) for i in range(3))
    return {
        addresses[20 * i : 20 * i + 20]: AccountState(balance, nonce, codes[digest], storages.get(head, {}))
        for i, (head, balance, nonce, digest) in enumerate(zip(heads.tolist(), *columns, strict=True))
    }


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
