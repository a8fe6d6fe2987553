"""Access lists of transactions (EIP-2930): in RLP, from what will be accessed, compared, and the one that should cost least.

An entry costs gas, and saves what a first, cold access costs more than a warm one. Listing an address saves 100 gas, a slot
100 if it is loaded first and 200 if it is stored first; but the address of a slot must be listed, too, and that costs 2,400
gas for nothing where it is warm anyhow: the sender, the recipient, a precompile, from Shanghai on the fee recipient.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, TypeAlias

from ..errors import BlockError
from ..evm.block import AnyBlock
from ..evm.forks import Fork
from ..evm.header import BlockEnv
from ..evm.prices import prices
from ..evm.transaction import Transaction
from ..keys import KeyTable
from ..machine.ops import Field
from .sets import AccessSets, need_access
from .wire import encode

__all__ = [
    "EIP_7981", "Entries", "ListDifference", "ListPrices", "cheapest_list", "encode_list", "encode_lists", "expected_lists",
    "grouped", "list_difference", "list_prices", "with_list",
]  # fmt: skip

#: Addresses, each with its slots, as a transaction carries them.
Entries: TypeAlias = tuple[tuple[bytes, tuple[int, ...]], ...]


class ListPrices(NamedTuple):
    """Gas that an address in a list costs, and a slot."""

    address: int
    slot: int


#: EIP-2930's with the surcharge that EIP-7981 proposes: 64 gas for each of an address's 20 bytes and a slot's 32.
EIP_7981: Final = ListPrices(2_400 + 64 * 20, 1_900 + 64 * 32)


def list_prices(fork: Fork) -> ListPrices:
    """What entries cost in a fork; 0 before Berlin, when there were no lists.

    Examples
    --------
    >>> list_prices(Fork.BERLIN), list_prices(Fork.ISTANBUL)
    (ListPrices(address=2400, slot=1900), ListPrices(address=0, slot=0))
    """
    price = prices(fork)
    return ListPrices(price["list_address"], price["list_slot"])


def _items(entries: Entries) -> list[list[bytes | list[bytes]]]:
    checked = Transaction(type=1, chain_id=1, gas_price=0, access_list=entries).access_list
    return [[address, [slot.to_bytes(32, "big") for slot in slots]] for address, slots in checked]


def encode_list(entries: Entries) -> bytes:
    """A list in RLP, as it is part of a transaction.

    Raises
    ------
    BlockError
        If it has what is no address of 20 bytes, or no slot below 2**256.
    UsageError
        If the library `rlp` is not installed (extra `access`).

    References
    ----------
    EIP-2930.

    Examples
    --------
    >>> encode_list(((b"\\x01" * 20, (5,)),)).hex()[-64:]
    '0000000000000000000000000000000000000000000000000000000000000005'
    """
    return encode(_items(entries))


def encode_lists(lists: Iterable[Entries]) -> bytes:
    """Lists of a block's transactions in RLP: a list of what `encode_list` makes of each.

    Raises
    ------
    BlockError
        If one of them has what is no address of 20 bytes, or no slot below 2**256.
    UsageError
        If the library `rlp` is not installed (extra `access`).

    Examples
    --------
    >>> encode_lists([(), ((b"\x01" * 20, ()),)]).hex()[:8]
    'd9c0d7d6'
    """
    return encode([_items(entries) for entries in lists])


def with_list(tx: Transaction, entries: Entries, env: BlockEnv) -> Transaction:
    """The transaction with another list, of a type that has lists, and unsigned.

    Examples
    --------
    >>> env = BlockEnv(number=1, timestamp=1, fork=Fork.BERLIN)
    >>> with_list(Transaction(gas_price=9, to=bytes(20)), ((bytes(20), ()),), env).type
    1
    """
    kind, chain = (1, env.chain_id) if tx.type == 0 else (tx.type, tx.chain_id)
    return replace(tx, access_list=entries, type=kind, chain_id=chain, v=None, r=None, s=None)


# -------------------------------------------------------------------- before execution


def grouped(rows: Iterable[tuple[bytes, int | None]]) -> Entries:
    """A list of accounts (slot None) and slots, in order."""
    found: dict[bytes, list[int]] = {}
    for address, slot in rows:
        found.setdefault(address, [])
        if slot is not None:
            found[address].append(slot)
    return tuple((address, tuple(sorted(slots))) for address, slots in sorted(found.items()))


def expected_lists(access: AccessSets, block: AnyBlock | None = None) -> list[Entries]:
    """Lists of what transactions are expected to access, by any oracle: all accounts and slots of its keys.

    Parameters
    ----------
    access : AccessSets
    block : Block or EvmBlock, optional
        Whose keys they are, if they have no table: those of a `Block` have none.

    Raises
    ------
    BlockError
        If the key ids stand for nothing that has a name.

    Examples
    --------
    >>> import numpy as np
    >>> table = KeyTable.from_keys([(bytes(20), Field.STORAGE, 5), (b"\\x01" * 20, Field.CODE, 0)])
    >>> sets = AccessSets(2, np.array([0, 2]), np.array([0, 1], np.int32), np.array([1, 1], np.uint8), table)
    >>> [(address[:1], slots) for address, slots in expected_lists(sets)[0]]
    [(b'\\x00', (5,)), (b'\\x01', ())]
    """
    need_access("access", access)
    names = access.names(block)
    if names is None:
        raise BlockError("access without a table: what its key ids stand for must be known")
    if isinstance(names, KeyTable) and names.whole:
        raise BlockError("access of whole accounts: must tell slots")
    columns = zip(names.key_address, names.key_field.tolist(), names.key_slot)
    keys = [
        (address.tobytes(), int.from_bytes(slot.tobytes(), "big") if field == Field.STORAGE else None)
        for address, field, slot in columns
    ]  # fmt: skip
    bounds = access.indptr.tolist()
    return [grouped(keys[k] for k in access.keys[bounds[t] : bounds[t + 1]].tolist()) for t in range(access.n_tx)]


# -------------------------------------------------------------------- compared


def _worth(accessed: Sequence[tuple[bytes, int | None, int]], cost: ListPrices) -> dict[bytes, dict[int | None, int]]:
    """Of each address what it (None) and its slots save if they are listed, less their price."""
    found: dict[bytes, dict[int | None, int]] = {}
    for address, slot, gas in accessed:
        own = found.setdefault(address, {None: -cost.address})
        own[slot] = gas - (cost.address if slot is None else cost.slot)
    return found


def _gain(worth: dict[int | None, int]) -> int:
    """What an address saves with those of its slots that pay."""
    return worth[None] + sum(max(0, gas) for slot, gas in worth.items() if slot is not None)


class ListDifference(NamedTuple):
    """How a list differs from the cheapest one: entries of an address (slot None) or a slot, with gas.

    An address is settled with its slots, as these cannot be listed without it. `missing` are entries that pay, with what they
    would save, less their price: an address that has to be there for its slots may have less than 0. `surplus` are listed
    twice, without an access, or in vain, with their price, less what they save: less than 0 where a slot saves something, but
    not its address's price. Of every address the sum is more than 0.
    """

    missing: tuple[tuple[bytes, int | None, int], ...]
    surplus: tuple[tuple[bytes, int | None, int], ...]

    @property
    def gas(self) -> int:
        """What the list costs more than the cheapest."""
        return sum(one[2] for one in (*self.missing, *self.surplus))


def list_difference(
    entries: Entries, accessed: Sequence[tuple[bytes, int | None, int]], cost: ListPrices
) -> ListDifference:
    """Compare a transaction's list with the one that costs least for what it accesses.

    Parameters
    ----------
    entries : tuple of (address, slots)
    accessed : sequence of (address, slot or None, gas)
        What the transaction accesses without a list, with the gas that listing it saves (`TxAccesses.of`).
    cost : ListPrices

    Examples
    --------
    >>> a, b = b"\\x01" * 20, b"\\x02" * 20
    >>> found = list_difference(((a, (5,)),), [(a, None, 2500), (b, None, 2500), (b, 7, 2100)], ListPrices(2400, 1900))
    >>> [(one[0][0], one[1], one[2]) for one in found.missing], [(one[0][0], one[1], one[2]) for one in found.surplus]
    ([(2, None, 100), (2, 7, 200)], [(1, 5, 1900)])
    """
    worths, listed = _worth(accessed, cost), {(address, slot) for address, slots in entries for slot in (None, *slots)}
    missing, kept = list[tuple[bytes, int | None, int]](), set[bytes]()
    for address, worth in worths.items():
        lacks = [
            (address, slot, gas) for slot, gas in worth.items()
            if (address, slot) not in listed and (slot is None or gas > 0)
        ]  # fmt: skip
        gain = _gain(worth)
        if gain > 0:
            missing += lacks
        if gain > 0 or (gain == 0 and not lacks):
            kept.add(address)
    surplus, seen = list[tuple[bytes, int | None, int]](), set[tuple[bytes, int | None]]()
    for address, slots in entries:
        for slot in (None, *slots):
            gas = -cost.address if slot is None else -cost.slot
            again = (address, slot) in seen
            if not again:
                gas = worths.get(address, {}).get(slot, gas)
            if again or address not in kept or (slot is not None and gas < 0):
                surplus.append((address, slot, -gas))
            seen.add((address, slot))
    return ListDifference(tuple(missing), tuple(surplus))


# -------------------------------------------------------------------- cheapest


def cheapest_list(accessed: Sequence[tuple[bytes, int | None, int]], cost: ListPrices) -> tuple[Entries, int]:
    """The list that costs the least gas if the transaction goes the same way with it, and what it saves.

    Parameters
    ----------
    accessed : sequence of (address, slot or None, gas)
        What the transaction accesses without a list, with the gas that listing it saves.
    cost : ListPrices

    Examples
    --------
    >>> a = b"\\x01" * 20
    >>> cheapest_list([(a, None, 0), *((a, slot, 2000) for slot in range(24))], ListPrices(2400, 1900))
    ((), 0)
    >>> entries, saved = cheapest_list([(a, None, 0), *((a, slot, 2000) for slot in range(25))], ListPrices(2400, 1900))
    >>> len(entries[0][1]), saved
    (25, 100)
    """
    entries, saved = [], 0
    for address, worth in _worth(accessed, cost).items():
        gain = _gain(worth)
        if gain > 0:
            entries.append((address, tuple(sorted(slot for slot, gas in worth.items() if slot is not None and gas > 0))))
            saved += gain
    return tuple(sorted(entries)), saved
