"""A state that is elsewhere: what a block names is fetched at first, everything else when a transaction first needs it.

The machine stops before the opcode that needs it and goes on when it is there (`_kernels.evm.asking`), so a block whose
footprint nobody knows is executed exactly, and nothing runs twice for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter_ns
from typing import Final, NamedTuple, Protocol, runtime_checkable

import numpy as np

from .._kernels.evm import layout
from .._kernels.evm.interning import know
from ..machine.ops import Field
from .arena import Arena
from .hashing import keccak
from .header import BlockEnv
from .protocol import CONTRACTS
from .rlp import encode
from .transaction import Transaction, authority_of
from .world import AccountState, World, account_numbers, add_state, key_number, word, word_value

__all__ = ["Fetched", "Fetches", "Source", "SourceAtHand", "named_accounts"]

#: What the code of an account begins with that runs another's (EIP-7702).
_DELEGATION: Final = bytes.fromhex("ef0100")


@runtime_checkable
class Source(Protocol):
    """Where a state is. Several threads may ask at once; what it says must not change while a block runs."""

    def accounts(self, addresses: Sequence[bytes]) -> Sequence[tuple[int, int, bytes] | None]:
        """Balance, nonce and code of each; None for what does not exist."""

    def slots(self, keys: Sequence[tuple[bytes, int]]) -> Sequence[int]:
        """Value of each (address, slot); 0 for what does not exist."""

    def storage(self, address: bytes) -> Mapping[int, int]:
        """All slots of an account that are not 0."""


@runtime_checkable
class SourceAtHand(Source, Protocol):
    """A source that has read some of it already."""

    def at_hand(self) -> Sequence[bytes]:
        """Accounts that need not be waited for; the machine is told of them before anything runs, absent ones included."""

    def world(self) -> World:
        """Those of them that exist, with the slots that need not be waited for, zeros included."""


class Fetches(NamedTuple):
    """How often the machine had to stop for an account, a slot, or all storage of an account, and nanoseconds of waiting."""

    accounts: int = 0
    slots: int = 0
    storages: int = 0
    ns: int = 0


def named_accounts(env: BlockEnv, txs: Sequence[Transaction]) -> list[bytes]:
    """Accounts that a block names before anything runs, in its header and its transactions.

    Examples
    --------
    >>> from .forks import Fork
    >>> env = BlockEnv(number=1, timestamp=1, fork=Fork.BERLIN, fee_recipient=b"\\x03" * 20)
    >>> tx = Transaction(gas_price=9, gas_limit=21_000, to=b"\\x02" * 20, sender=b"\\x01" * 20)
    >>> [address[0] for address in named_accounts(env, [tx])]
    [3, 1, 2]
    """
    found = {env.fee_recipient: None} | dict.fromkeys(one.address for one in env.withdrawals)
    for tx in txs:
        found[tx.sender or b""] = None
        found |= dict.fromkeys(_created([tx]) if tx.to is None else [tx.to])
        found |= dict.fromkeys(one[0] for one in tx.access_list)
        for given in tx.authorization_list:
            authority = authority_of(given) if given.chain_id in (0, env.chain_id) else None
            if authority is not None:
                found |= {authority: None, given.address: None}
    return list(found)


def _created(txs: Sequence[Transaction]) -> list[bytes]:
    """Where transactions create contracts themselves."""
    return [keccak(encode([tx.sender or b"", tx.nonce]))[12:] for tx in txs if tx.to is None]


class Fetched:
    """What is known of a state: what was given, and what has been fetched since.

    Parameters
    ----------
    source : Source
    state : World
        Need not be asked for; of its accounts' slots only those that are not there.

    Examples
    --------
    >>> class Empty:
    ...     accounts, slots = staticmethod(lambda names: [None] * len(names)), staticmethod(lambda keys: [0] * len(keys))
    >>> known = Fetched(Empty(), {b"a" * 20: (5, 0, b"", {})})
    >>> known.fetch([b"a" * 20, b"b" * 20])
    >>> list(known.world) == [b"a" * 20]
    True
    """

    def __init__(self, source: Source, state: World) -> None:
        self.source = source
        #: Accounts that exist.
        self.world: dict[bytes, AccountState] = {}
        self._storage: dict[bytes, dict[int, int]] = {}
        self._whole = set[bytes]()
        self._known = set[bytes]()
        self._lock = threading.Lock()
        self.fetches = Fetches()
        for address, account in state.items():
            self._keep(address, account[:3])
            self._storage[address].update(account[3])

    @classmethod
    def for_block(
        cls, source: Source, state: World, env: BlockEnv, txs: Sequence[Transaction],
        keys: Sequence[tuple[bytes, int, int]] = (),
    ) -> Fetched:  # fmt: skip
        """With what a block names before anything runs, and keys that are known to be needed, fetched at once."""
        ahead = source if isinstance(source, SourceAtHand) else None
        made = cls(source, state if ahead is None else {**ahead.world(), **state})
        at_hand = () if ahead is None else ahead.at_hand()
        made.fetch([*named_accounts(env, txs), *CONTRACTS, *(address for address, _, _ in keys), *at_hand])
        listed = [(address, slot) for tx in txs for address, slots in tx.access_list for slot in slots]
        made.fetch_storage(address for address in _created(txs) if made.is_bare(address))
        made.fetch_slots([*((address, slot) for address, field, slot in keys if field == Field.STORAGE), *listed])
        return made

    def _keep(self, address: bytes, account: tuple[int, int, bytes] | None) -> None:
        self._known.add(address)
        storage = self._storage.setdefault(address, {})
        if account is None:
            self._whole.add(address)
        else:
            self.world[address] = AccountState(*account, storage)

    def fetch(self, addresses: Sequence[bytes]) -> None:
        """Fetch accounts, all at once, and those whose code theirs is; what is known is left as it is."""
        while True:
            wanted = [address for address in dict.fromkeys(addresses) if address not in self._known]
            if not wanted:
                return
            found = self.source.accounts(wanted)
            with self._lock:
                for address, account in zip(wanted, found, strict=True):
                    self._keep(address, account)
            addresses = [account[2][3:] for account in found if account is not None and _delegates(account[2])]

    def fetch_slots(self, keys: Iterable[tuple[bytes, int]]) -> None:
        """Fetch slots of accounts that are known, all at once; what is known is left as it is."""
        wanted = [
            (address, slot) for address, slot in dict.fromkeys(keys)
            if address not in self._whole and slot not in self._storage[address]
        ]  # fmt: skip
        found = self.source.slots(wanted) if wanted else []
        with self._lock:
            for (address, slot), value in zip(wanted, found, strict=True):
                self._storage[address][slot] = value

    def is_bare(self, address: bytes) -> bool:
        """Whether an account exists without a nonce and code: only its storage tells whether one can be created there."""
        account = self.world.get(address)
        return account is not None and not account.nonce and not account.code

    def fetch_storage(self, addresses: Iterable[bytes]) -> None:
        """Fetch all storage of accounts that are known."""
        for address in addresses:
            if address not in self._whole:
                storage = dict(self.source.storage(address))
                with self._lock:
                    self._storage[address].update(storage)
                    self._whole.add(address)

    def fill(self, arena: Arena) -> None:
        """Put all that is known into an empty arena; its status is FULL if it did not fit."""
        heads, places = add_state(arena, self.world, zeros=True)
        absent = account_numbers(arena, [address for address in self._known if address not in self.world])
        if arena["status"] != layout.FULL:
            rows = arena.buffer("keys").view(np.int64).reshape(-1, layout.KEY.size // 8)
            fetched = rows[:, layout.KEY.numbers["fetched"] // 8]
            fetched[heads], fetched[places], fetched[absent] = layout.KNOWN, layout.KNOWN, layout.WHOLE
            fetched[heads[[address in self._whole for address in self.world]]] = layout.WHOLE

    def _put(self, arena: Arena, address: bytes) -> list[int]:
        """Put an account into an arena if it knows nothing of it yet, and there is room: the keys that are new."""
        key = key_number(arena, address, Field.BALANCE, 0)
        if arena["status"] == layout.FULL or _how(arena, key) != layout.UNFETCHED:
            return []
        if address in self.world:
            add_state(arena, {address: self.world[address]})
        if arena["status"] == layout.FULL:
            return []
        know(arena.address, key, layout.WHOLE if address in self._whole else layout.KNOWN)
        return [key, key + 1, key + 2]

    def _put_slots(self, arena: Arena, address: bytes, slots: Iterable[int]) -> list[int]:
        """Put those of an account's slots into an arena that it does not know yet: their keys, as far as there was room."""
        keys, values = [], arena.words("values")
        for slot in slots:
            key = key_number(arena, address, Field.STORAGE, slot)
            if arena["status"] == layout.FULL:
                break
            if _how(arena, key) == layout.UNFETCHED:
                values[key] = word(self._storage[address][slot]).view("u8")
                know(arena.address, key, layout.KNOWN)
                keys.append(key)
        return keys

    def answer(self, arena: Arena) -> list[int]:
        """Fetch what an arena's machine has asked for, and put it there: numbers of the keys whose values are new.

        What the machine knew may have changed since, and is left alone. The arena's status is FULL if there was no room.
        """
        start, what = perf_counter_ns(), arena["asks"]
        address, slot = _place(arena, arena["wanted"])
        if what == layout.ASKS_STORAGE:
            kind, storage = "storages", dict(self.source.storage(address))
            with self._lock:
                self._storage[address].update(storage)
                self._whole.add(address)
                keys = self._put_slots(arena, address, storage)
                know(arena.address, arena["wanted"], layout.WHOLE)
        elif slot is None:
            kind = "accounts"
            self.fetch([address])
            with self._lock:
                keys = self._put(arena, address)
                code = self.world[address].code if address in self.world else b""
                keys += self._put(arena, code[3:]) if _delegates(code) else []
        else:
            kind = "slots"
            self.fetch_slots([(address, slot)])
            with self._lock:
                keys = self._put_slots(arena, address, [slot])
        with self._lock:
            before = self.fetches
            ns = before.ns + perf_counter_ns() - start
            self.fetches = before._replace(ns=ns, **{kind: getattr(before, kind) + 1})
        return keys


def _delegates(code: bytes) -> bool:
    """Whether an account with that code runs another's (EIP-7702)."""
    return len(code) == 23 and code.startswith(_DELEGATION)


def _how(arena: Arena, key: int) -> int:
    """What of a key has been fetched."""
    row = arena.buffer("keys").reshape(-1, layout.KEY.size)[key]
    return int(row.view("i8")[layout.KEY.numbers["fetched"] // 8])


def _place(arena: Arena, key: int) -> tuple[bytes, int | None]:
    """Address and slot of a key; no slot for an account's."""
    rows = arena.buffer("keys").reshape(-1, layout.KEY.size)
    owner = int(rows[key, 32:40].view("i8")[0])
    address = word_value(rows[key if owner < 0 else owner, :32]).to_bytes(20, "big")
    return address, None if owner < 0 else word_value(rows[key, :32])
