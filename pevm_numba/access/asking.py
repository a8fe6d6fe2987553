"""Where tokens keep their balances and allowances, found by asking: their view functions run on the state before a block.

A token that nobody has called yet has no history to learn from, but its code tells where it looks: `balanceOf` of an address
that nobody has loads keccak(address, slot of the mapping), whatever the value is. All are asked in one run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Final

from .. import door
from .._kernels.patterns import HOP
from ..errors import BlockError, ExecutionError
from ..evm.block import EvmBlock
from ..evm.engine import Engine
from ..evm.hashing import keccak
from ..evm.plans import serial_plan
from ..evm.transaction import Transaction
from ..evm.tx_accesses import RawAccesses, tx_accesses
from ..evm.world import key_table
from .calls import Calls, calls_of, places_of
from .patterns import Patterns

__all__ = ["ask_layouts"]

#: Views of ERC-20 and ERC-721: selector, and the words that lead to the entry, from the outermost mapping inwards.
_VIEWS: Final = {
    "balances": ("70a08231", ("an owner",)), "allowances": ("dd62ed3e", ("an owner", "a spender")),
    "owners": ("6352211e", ("a token",)), "approvals": ("081812fc", ("a token",)),
    "operators": ("e985e9c5", ("an owner", "a spender")),
}  # fmt: skip

#: Slots of mappings that are tried; gas that a view may use; how much an answer counts, in calls that showed the same.
_BASES, _GAS, _SURE = 256, 1_000_000, 100


def _word(name: str) -> bytes:
    """An address that nobody has, as a word."""
    return bytes(12) + keccak(name.encode())[12:]


@cache
def _entries(role: str) -> dict[int, int]:
    """The place of a mapping by the slot where its entry of those words is."""
    found = {}
    for base in range(_BASES):
        place = base.to_bytes(32, "big")
        for name in _VIEWS[role][1]:
            place = keccak(_word(name) + place)
        found[int.from_bytes(place, "big")] = base
    return found


def _ask(block: EvmBlock, questions: list[tuple[bytes, str]]) -> Iterator[tuple[bytes, str, int]]:
    """Answers to questions of (contract, role): with where the contract has that. A question that cannot be run, as it asks
    for a block that nobody knows, say, has none."""
    asker, txs = _word("who asks")[12:], []
    for n, (address, role) in enumerate(questions):
        selector, names = _VIEWS[role]
        data = bytes.fromhex(selector) + b"".join(map(_word, names))
        txs.append(Transaction(nonce=n, gas_price=0, gas_limit=_GAS, to=address, data=data, sender=asker))
    fee = None if block.env.base_fee is None else 0
    env = replace(block.env, gas_limit=max(1, _GAS * len(txs)), withdrawals=(), base_fee=fee)
    engine = Engine(env, txs, block.state, records=True, source=block.source)
    try:
        engine.run(serial_plan(len(txs)))
    except (BlockError, ExecutionError):
        half = len(questions) // 2
        if half:
            yield from _ask(block, questions[:half])
            yield from _ask(block, questions[half:])
        return
    found = tx_accesses(RawAccesses(*key_table(engine.arena), engine.notes.each(), engine.changes.each()))
    succeeds = engine.records["success"]
    for t, (address, role) in enumerate(questions):
        if not succeeds[t] and role != "owners":  # which reverts for a token that is not there
            continue
        slots = [slot for where, slot, _ in found.of(t) if where == address and slot is not None]
        bases = {_entries(role)[slot] for slot in slots if slot in _entries(role)}
        if len(bases) == 1:
            yield address, role, bases.pop()


def _named(calls: Calls) -> set[bytes]:
    """Addresses that calls call or name in their data, but zeros, which are in the place of whom a creation calls."""
    found = {one.tobytes() for one in calls.to}
    bounds, data = calls.data_indptr.tolist(), calls.data.tobytes()
    for begin, end in pairwise(bounds):
        said = data[begin:end]
        for at in places_of(said):
            if at < 0:
                found |= {said[~at : ~at + 20], said[~at + HOP : ~at + HOP + 20]}
            else:
                found.add(said[at + 12 : at + 32])
    return found - {bytes(20)}


def ask_layouts(patterns: Patterns, block: EvmBlock) -> int:
    """Find where contracts that a block's transactions name keep balances, allowances and the like, by asking each once.

    Parameters
    ----------
    patterns : Patterns
        Which learn.
    block : EvmBlock
        With the state before it: none of its transactions is run.

    Returns
    -------
    int
        Contracts whose layout became known.

    References
    ----------
    ERC-20, ERC-721.

    Examples
    --------
    >>> from ..evm.header import BlockEnv
    >>> from ..evm.forks import Fork
    >>> code = bytes.fromhex("600435" "5f52" "6005602052" "60405f20" "54" "5f52" "60205ff3")  # keeps balances in slot 5
    >>> state = {b"\\x01" * 20: (10**18, 0, b"", {}), b"\\x02" * 20: (0, 1, code, {})}
    >>> tx = Transaction(gas_price=9, gas_limit=50_000, to=b"\\x02" * 20, sender=b"\\x01" * 20)
    >>> block = EvmBlock(BlockEnv(number=7, timestamp=1, fork=Fork.SHANGHAI, base_fee=7), [tx], state)
    >>> patterns = Patterns()
    >>> ask_layouts(patterns, block), patterns.base(b"\\x02" * 20, "balances")
    (1, 5)
    """
    door.instance("patterns", patterns, Patterns)
    door.instance("block", block, EvmBlock)
    state = block.state
    wanted = [
        address for address in sorted(_named(calls_of(block)) - patterns.asked)
        if (address in state and state[address].code) or (block.source is not None and address not in state)
    ]  # fmt: skip
    if not wanted:
        return 0
    answers = list(_ask(block, [(address, role) for address in wanted for role in _VIEWS]))
    for address, role, base in answers:
        places = patterns.layouts.setdefault(address, {}).setdefault(role, {})
        places[base] = places.get(base, 0) + _SURE
    patterns.asked.update(wanted)
    return len({address for address, *_ in answers})
