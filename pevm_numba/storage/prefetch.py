"""What a block will need, read in one batch before it runs; keys that the list missed are read when they are met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from .. import door
from ..access.eip7928 import Eip7928List
from ..access.sets import AccessSets
from ..errors import BlockError
from ..evm.block import EvmBlock
from ..evm.lazy import named_accounts
from ..evm.observation import EvmAccessList
from ..evm.protocol import CONTRACTS
from ..evm.world import AccountState
from ..keys import KeyTable, StateChange
from ..machine.ops import Field
from .base import StateStore
from .world import StoreSource, account_of

__all__ = ["PrefetchList", "Prefetched", "named_keys"]

#: Whatever names keys: the keys themselves, sets of what is accessed, or a list of what changes.
PrefetchList: TypeAlias = KeyTable | AccessSets | EvmAccessList | Eip7928List


def named_keys(listed: PrefetchList) -> tuple[list[bytes], list[tuple[bytes, int]]]:
    """Accounts and slots that a list names, each once; the account of a slot is named, too.

    Raises
    ------
    BlockError
        If it is none of the kinds, or sets of keys without a table.

    Examples
    --------
    >>> accounts, slots = named_keys(KeyTable.from_keys([(b"a" * 20, 0, 5), (b"b" * 20, 1, 0)]))
    >>> [address[:1] for address in accounts], [slot for _, slot in slots]
    ([b'a', b'b'], [5])
    """
    if isinstance(listed, Eip7928List):
        places = [(one.address, slot) for one in listed for slot in (*dict(one.storage_changes), *one.storage_reads)]
        return list(dict.fromkeys(one.address for one in listed)), places
    table = listed if isinstance(listed, KeyTable) else None
    if isinstance(listed, AccessSets):
        table = listed.table
    elif isinstance(listed, EvmAccessList):
        table = listed.keys
    if table is None or table.whole:
        what = "a KeyTable, AccessSets with a table of slots, an EvmAccessList or an Eip7928List"
        raise BlockError(f"prefetch = {door.shown(listed, 80)}: must be {what}")
    return list(dict.fromkeys(key[0] for key in table)), [(key[0], key[2]) for key in table if key[1] == Field.STORAGE]


class Prefetched(StoreSource):
    """A block's source: what has been read beforehand, and the store for everything else.

    Parameters
    ----------
    store : StateStore
    block : EvmBlock
        Its header, transactions and their access lists name accounts and slots, too.
    listed : PrefetchList, optional
        What it is known to need besides.

    Examples
    --------
    >>> from ..evm.workloads import generate_evm
    >>> from .memory import MemoryStore
    >>> from .world import put_world
    >>> block, store = generate_evm("erc20", n_tx=20), MemoryStore()
    >>> put_world(store, block.state)
    >>> store.reset_metrics()
    >>> ahead = Prefetched(store, block)
    >>> store.metrics().reads, block.transactions[0].to in ahead.world()
    (1, True)
    """

    def __init__(self, store: StateStore, block: EvmBlock, listed: PrefetchList | None = None) -> None:
        super().__init__(store)
        accounts, slots = ([], []) if listed is None else named_keys(listed)
        accounts = [*named_accounts(block.env, block.transactions), *CONTRACTS, *accounts]
        slots = [*slots, *((one, slot) for tx in block.transactions for one, given in tx.access_list for slot in given)]
        names, places = list(dict.fromkeys(accounts)), list(dict.fromkeys(slots))
        rows, values = self.rows(names, places)
        self._rows, self._slots = dict(zip(names, rows, strict=True)), dict(zip(places, values, strict=True))
        self._codes = self.codes(row[2] for row in rows)

    @property
    def n_keys(self) -> int:
        """How many keys have been read beforehand."""
        return 3 * len(self._rows) + len(self._slots)

    def at_hand(self) -> list[bytes]:
        """Accounts that have been read."""
        return list(self._rows)

    def world(self) -> dict[bytes, AccountState]:
        """What has been read of accounts that exist, as state of a block; slots that are 0 included."""
        known = ((address, account_of(row, self._codes)) for address, row in self._rows.items())
        found = {address: account for address, account in known if account is not None}
        storage: dict[bytes, dict[int, int]] = {address: {} for address in found}
        for (address, slot), value in self._slots.items():
            if address in storage:
                storage[address][slot] = value
        return {address: AccountState(*found[address], slots) for address, slots in storage.items()}

    def renew(self, change: StateChange) -> None:
        """Take over what a block has changed that was committed since this was read."""
        places = {int(field): i for i, field in enumerate((Field.BALANCE, Field.NONCE, Field.CODE))}
        for k, (address, field, slot) in enumerate(change.keys):
            word = change.words[k].tobytes()
            if field == Field.STORAGE:
                if (address, slot) in self._slots:
                    self._slots[address, slot] = int.from_bytes(word, "big")
            elif address in self._rows:
                row = list(self._rows[address])
                row[places[field]] = word
                self._rows[address] = row[0], row[1], row[2]
        self._codes |= change.codes
        lacking = {row[2] for row in self._rows.values()} - set(self._codes)
        if lacking:
            self._codes |= self.codes(lacking)

    def accounts(self, addresses: Sequence[bytes]) -> list[tuple[int, int, bytes] | None]:
        """Balance, nonce and code of each; None for what does not exist."""
        missed = [address for address in addresses if address not in self._rows]
        found = dict(zip(missed, super().accounts(missed), strict=True)) if missed else {}
        return [account_of(self._rows[one], self._codes) if one in self._rows else found[one] for one in addresses]

    def slots(self, keys: Sequence[tuple[bytes, int]]) -> list[int]:
        """Value of each (address, slot)."""
        missed = [key for key in keys if key not in self._slots]
        found = dict(zip(missed, super().slots(missed), strict=True)) if missed else {}
        return [self._slots[key] if key in self._slots else found[key] for key in keys]
