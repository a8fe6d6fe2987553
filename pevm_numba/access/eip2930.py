"""Access lists of transactions (EIP-2930): from what they accessed or will access, compared, and made to cost the least gas.

An entry costs gas, and saves what a first, cold access costs more than a warm one. Listing an address saves 100 gas, a slot
100 if it is loaded first and 200 if it is stored first; but the address of a slot must be listed, too, and that costs 2,400
gas for nothing where it is warm anyhow: the sender, the recipient, a precompile, from Shanghai on the fee recipient.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, TypeAlias

from .. import door
from ..errors import BlockError
from ..evm.block import AnyBlock, EvmBlock
from ..evm.engine import Engine
from ..evm.forks import Fork
from ..evm.header import BlockEnv
from ..evm.machine import Evm, Outcome
from ..evm.prices import prices
from ..evm.rlp import encode
from ..evm.trace import known_state
from ..evm.transaction import Transaction
from ..keys import KeyTable
from ..machine.ops import Field
from .sets import AccessSets, need_access

__all__ = [
    "EIP_7981", "AccessedList", "Entries", "ListDifference", "ListPrices", "OptimalList", "accessed_lists", "cheapest_list",
    "encode_list", "encode_lists", "expected_lists", "list_difference", "list_prices", "optimal_access_lists", "with_list",
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


# -------------------------------------------------------------------- before and after execution


def _grouped(rows: Iterable[tuple[bytes, int | None]]) -> Entries:
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
    return [_grouped(keys[k] for k in access.keys[bounds[t] : bounds[t + 1]].tolist()) for t in range(access.n_tx)]


class _Tried(NamedTuple):
    """A transaction where it stands, run without a list, on a machine that is as before it."""

    machine: Evm
    tx: Transaction
    outcome: Outcome
    accessed: list[tuple[bytes, int | None, int]]


def _tried(block: EvmBlock) -> Iterator[_Tried]:
    door.instance("block", block, EvmBlock)
    if block.env.fork < Fork.BERLIN:
        raise BlockError(f"block {block.number} of {block.fork}: there are access lists from Berlin on")
    start = Engine(block.env, [], known_state(block, block.n_tx))
    machine = Evm(block.env, start.transaction_state())
    for tx in block.transactions:
        outcome, accesses = machine.try_out(with_list(tx, (), block.env) if tx.access_list else tx)
        yield _Tried(machine, tx, outcome, accesses.of(0))
        machine.run(tx)


def _gas_with(machine: Evm, tx: Transaction, entries: Entries) -> int | None:
    """Gas of a transaction with that list; None if the block could not have it: there may be too little for the list."""
    try:
        return machine.try_out(with_list(tx, entries, machine.env))[0].gas_used
    except BlockError:
        return None


class AccessedList(NamedTuple):
    """What a transaction accesses without a list, and the gas that it uses with this one.

    `gas_used` is None where the block could not have it: its gas limit has no room for the list.
    """

    entries: Entries
    gas_used: int | None


def accessed_lists(block: EvmBlock) -> Iterator[AccessedList]:
    """Lists of what transactions access where they stand, without a list, as ``eth_createAccessList`` makes them.

    An address without slots is left out where it saves nothing, as it is warm anyhow: a list need not have it.

    Parameters
    ----------
    block : EvmBlock
        Of Berlin or later; its transactions are run in order, as they are, each after being tried without a list
        and with that of what it then accesses.

    Raises
    ------
    BlockError
        If there were no lists in the block's fork.

    Examples
    --------
    >>> state = {b"\\x01" * 20: (10**18, 0, b"", {}), b"\\x02" * 20: (0, 1, bytes.fromhex("600354"), {})}  # loads slot 3
    >>> tx = Transaction(gas_price=9, gas_limit=50_000, to=b"\\x02" * 20, sender=b"\\x01" * 20)
    >>> block = EvmBlock(BlockEnv(number=7, timestamp=1, fork=Fork.SHANGHAI, base_fee=7), [tx], state)
    >>> (one,) = accessed_lists(block)  # 21,003 and 2,100; a slot of an address that is warm anyhow makes it dearer
    >>> [(address[:1], slots) for address, slots in one.entries], one.gas_used
    ([(b'\\x02', (3,))], 25403)
    """
    for one in _tried(block):
        entries = _accessed_list(one)
        yield AccessedList(entries, _gas_with(one.machine, one.tx, entries) if entries else one.outcome.gas_used)


def _accessed_list(one: _Tried) -> Entries:
    cold = {address for address, _, saved in one.accessed if saved}
    found = _grouped((address, slot) for address, slot, _ in one.accessed)
    return tuple((address, slots) for address, slots in found if slots or address in cold)


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


class OptimalList(NamedTuple):
    """The list that made a transaction cheapest of those tried: none, the cheapest by what it accesses, the one it carries.

    `gas_without` and `gas_used` are of the whole transaction, without a list and with this one, which is empty where none is
    cheaper; `expected` is what the prices say that it saves: refunds that are capped, floors, and gas that failing calls burn
    may leave less, or more. `accessed` is what it accesses without a list.
    """

    entries: Entries
    gas_without: int
    gas_used: int
    expected: int
    accessed: list[tuple[bytes, int | None, int]]

    @property
    def saved(self) -> int:
        """Gas that the list saves."""
        return self.gas_without - self.gas_used


def _optimal(one: _Tried, cost: ListPrices) -> OptimalList:
    without, carried = one.outcome.gas_used, one.tx.access_list
    entries, expected = cheapest_list(one.accessed, cost)
    best = OptimalList((), without, without, expected, one.accessed)
    # what it accesses may depend on its gas, so that the one it carries can be better
    for listed in (entries, *(() if carried == entries else (carried,))):
        gas = _gas_with(one.machine, one.tx, listed) if listed else None
        if gas is not None and gas < best.gas_used:
            gain = expected - list_difference(listed, one.accessed, cost).gas
            best = OptimalList(listed, without, gas, gain, one.accessed)
    return best


def optimal_access_lists(block: EvmBlock, cost: ListPrices | None = None) -> Iterator[OptimalList]:
    """The list of each transaction that makes it cheapest where it stands in the block, of those tried.

    Tried are none, the cheapest by what the transaction accesses without one (`cheapest_list`), and the one that it carries.
    Where what it does depends on its gas, still another may be cheaper.

    Parameters
    ----------
    block : EvmBlock
        Of Berlin or later; its transactions are run in order, as they are, each after being tried.
    cost : ListPrices, optional
        Other prices than the fork's, to decide what pays; what is verified goes by the fork's own, so with these nothing is
        run a second time, and the list is the cheapest by prices.

    Raises
    ------
    BlockError
        If there were no lists in the block's fork.

    References
    ----------
    EIP-2929, EIP-2930; Heimbach et al., "Dissecting the EIP-2930 Optional Access Lists", arXiv 2312.06574.

    Examples
    --------
    >>> calls = bytes.fromhex("5f5f5f5f5f60035af1" "5f54")  # calls account 3, loads a slot of its own
    >>> state = {b"\\x01" * 20: (10**18, 0, b"", {}), b"\\x02" * 20: (0, 1, calls, {})}
    >>> tx = Transaction(gas_price=9, gas_limit=50_000, to=b"\\x02" * 20, sender=b"\\x01" * 20)
    >>> block = EvmBlock(BlockEnv(number=7, timestamp=1, fork=Fork.SHANGHAI, base_fee=7), [tx], state)
    >>> [(one.entries, one.saved) for one in optimal_access_lists(block)]
    [((), 0)]
    """
    if cost is not None:
        door.instance("cost", cost, ListPrices)
    for one in _tried(block):
        if cost is None:
            yield _optimal(one, list_prices(block.env.fork))
        else:
            entries, expected = cheapest_list(one.accessed, cost)
            without = one.outcome.gas_used
            yield OptimalList(entries, without, without - expected, expected, one.accessed)
