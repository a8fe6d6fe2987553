"""Access lists of transactions (EIP-2930) that are tried: each transaction is run where it stands, with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .. import door
from ..errors import BlockError
from ..evm.block import EvmBlock
from ..evm.engine import Engine
from ..evm.forks import Fork
from ..evm.machine import Evm, Outcome
from ..evm.trace import known_state
from ..evm.transaction import Transaction
from .eip2930 import Entries, ListPrices, cheapest_list, grouped, list_difference, list_prices, with_list

__all__ = ["AccessedList", "OptimalList", "accessed_lists", "optimal_access_lists"]


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
    >>> from ..evm.header import BlockEnv
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
    found = grouped((address, slot) for address, slot, _ in one.accessed)
    return tuple((address, slots) for address, slots in found if slots or address in cold)


# -------------------------------------------------------------------- the cheapest


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
    >>> from ..evm.header import BlockEnv
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
