"""Where a block access list and what a block really did are unlike (EIP-7928)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .. import door
from ..evm.accesses import BlockAccesses
from ..evm.encoding import SYSTEM
from ..evm.tx_accesses import tx_accesses
from ..machine.ops import Field
from .eip7928 import AccountChanges, Eip7928List
from .eip7928_rules import ITEM_COST, Rule, RuleError

__all__ = ["Difference", "check_reach", "differences"]


class Difference(NamedTuple):
    """One entry in which a list is wrong.

    `what` is account, storage, read, balance, nonce or code; `slot` and `change_index` are None where the entry has none.
    Where `listed` is None the entry is missing from the list; where `found` is, it is a phantom: nothing did that. Accounts
    and reads have no value but True.
    """

    address: bytes
    what: str
    slot: int | None
    change_index: int | None
    listed: int | bytes | bool | None
    found: int | bytes | bool | None

    @property
    def kind(self) -> str:
        """missing, phantom or value."""
        return "missing" if self.listed is None else "phantom" if self.found is None else "value"

    @property
    def rule(self) -> Rule | None:
        """The rule about such an entry, if there is one: of phantoms, whoever calls the protocol's contracts has one."""
        phantom = (self.address, self.what, self.kind) == (SYSTEM, "account", "phantom")
        return Rule.SYSTEM_ADDRESS if phantom else None

    def __str__(self) -> str:
        slot = "" if self.slot is None else f" slot 0x{self.slot:x}"
        what = {"account": "", "storage": slot, "read": f"{slot} as read"}.get(self.what, f" {self.what}")
        when = "" if self.change_index is None else f" at index {self.change_index}"
        place = f"0x{self.address.hex()}{what}{when}"
        if self.kind == "missing":
            value = "" if self.found is True else f" of {_text(self.found)}"
            return f"{place}: not listed, but the block has it{value}"
        if self.kind == "phantom":
            return f"{place}: listed, but {'the block has no such entry' if self.rule is None else self.rule.text}"
        return f"{place}: listed is {_text(self.listed)}, but the block leaves {_text(self.found)}"


def _text(value: object) -> str:
    text = f"0x{value.hex()}" if isinstance(value, bytes) else f"{value}"
    return text if len(text) <= 80 else f"{text[:80]}…"


_Entry: TypeAlias = tuple[str, int | None, int | None, int | bytes | bool]


def _entries(one: AccountChanges | None) -> dict[tuple[int, int, int], _Entry]:
    """Entries of an account, by something to order them by."""
    if one is None:
        return {}
    found: dict[tuple[int, int, int], _Entry] = {(0, 0, 0): ("account", None, None, True)}
    for slot, changes in one.storage_changes:
        found |= {(1, slot, index): ("storage", slot, index, value) for index, value in changes}
    found |= {(2, slot, 0): ("read", slot, None, True) for slot in one.storage_reads}
    found |= {(3, index, 0): ("balance", None, index, value) for index, value in one.balance_changes}
    found |= {(4, index, 0): ("nonce", None, index, value) for index, value in one.nonce_changes}
    found |= {(5, index, 0): ("code", None, index, value) for index, value in one.code_changes}
    return found


def differences(listed: Eip7928List, found: Eip7928List) -> Iterator[Difference]:
    """Entries in which they are unlike, in the order of accounts, slots, reads, balances, nonces and code.

    Parameters
    ----------
    listed : Eip7928List
        What somebody says.
    found : Eip7928List
        What the block did.

    Raises
    ------
    BlockError
        If one is no list.

    Examples
    --------
    >>> one = Eip7928List.from_accounts([AccountChanges(bytes(20), (), (6,), ((1, 5),))])
    >>> two = Eip7928List.from_accounts([AccountChanges(bytes(20), (), (), ((1, 7),))])
    >>> for unlike in differences(one, two):
    ...     print(unlike.kind, unlike)
    phantom 0x0000000000000000000000000000000000000000 slot 0x6 as read: listed, but the block has no such entry
    value 0x0000000000000000000000000000000000000000 balance at index 1: listed is 5, but the block leaves 7
    """
    door.instance("listed", listed, Eip7928List)
    door.instance("found", found, Eip7928List)
    return iter(()) if listed == found else _differences(listed, found)


def _differences(listed: Eip7928List, found: Eip7928List) -> Iterator[Difference]:
    said, done = ({one.address: one for one in each} for each in (listed, found))
    for address in sorted(said.keys() | done.keys()):
        mine, theirs = said.get(address), done.get(address)
        if mine == theirs:
            continue
        left, right = _entries(mine), _entries(theirs)
        for place in sorted(left.keys() | right.keys()):
            one, two = left.get(place), right.get(place)
            what, slot, index, _ = one or two or ("", None, None, False)
            if one != two:
                yield Difference(address, what, slot, index, None if one is None else one[3], None if two is None else two[3])


def check_reach(listed: Eip7928List, accesses: BlockAccesses, gas_used: ArrayLike, gas_limit: int) -> None:
    """Whether a list can be refused before its block has run to the end, as reads that it has are out of reach.

    Each transaction that reads a slot for the first time pays 2,000 gas or more for that. So who executes in order may stop
    as soon as slots that are listed as read, and were not yet, would cost more than the gas that the block has left.

    Parameters
    ----------
    listed : Eip7928List
    accesses : BlockAccesses
        What the block accesses: ``execute(block).accesses``.
    gas_used : (n_tx,) int64
        Gas of each transaction, refunds taken off.
    gas_limit : int
        Of the block.

    Raises
    ------
    BlockError
        If an argument is not as described.
    RuleError
        READS_OUT_OF_REACH, naming the first transaction after which it is so; 0 before the first.

    References
    ----------
    EIP-7928, early rejection.

    Examples
    --------
    >>> from pevm_numba.execute.run import execute
    >>> from ..evm.workloads import generate_evm
    >>> done = execute(generate_evm("erc20", n_tx=2), "serial")
    >>> check_reach(done.eip7928_list(), done.accesses, done.gas_used, int(done.gas_used.sum()))
    >>> more = Eip7928List.from_accounts([AccountChanges(bytes(20), (), tuple(range(99)))])
    >>> check_reach(more, done.accesses, done.gas_used, 99 * 2_000)
    Traceback (most recent call last):
    ...
    pevm_numba.access.eip7928_rules.RuleError: block access list, 99 reads to come after 1 transactions, with ...
    """
    door.instance("listed", listed, Eip7928List)
    door.instance("accesses", accesses, BlockAccesses)
    used = door.array("gas_used", gas_used, np.int64, (accesses.n_tx,), low=0).tolist()
    left = door.integer("gas_limit", gas_limit, 0, 2**64 - 1)
    of_txs = tx_accesses(accesses.raw)
    each = [{(address, slot) for address, slot, _ in of_txs.of(t) if slot is not None} for t in range(accesses.n_tx)]
    keys = accesses.keys
    storage = np.flatnonzero(keys.field == Field.STORAGE).tolist()
    everything = {(keys.address[k].tobytes(), int.from_bytes(keys.slot[k].tobytes(), "big")) for k in storage}
    # what the protocol reads around them is in reach all along
    unread = {(one.address, slot) for one in listed for slot in one.storage_reads} - everything.difference(*each)
    for t in range(accesses.n_tx + 1):
        if t:
            unread -= each[t - 1]
            left -= used[t - 1]
        if len(unread) * ITEM_COST > left:
            place = f"{len(unread):,} reads to come after {t} transactions, with {left:,} gas"
            raise RuleError(Rule.READS_OUT_OF_REACH, place)
