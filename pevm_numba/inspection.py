"""A block at a glance. Its conflict *rate* is measured here; the conflict ratio of a generator is a parameter, not this."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .access.oracles import exact_sets
from .access.sets import AccessSets
from .block import Block
from .evm.block import AnyBlock, EvmBlock
from .machine.ops import Op
from .schedule.bounds import critical_path_cost
from .schedule.conflicts import conflict_counts, key_heat
from .schedule.policies import schedule

__all__ = ["inspect_lines"]

#: Kinds of transactions by type.
_KINDS: Final = ("legacy", "EIP-2930", "EIP-1559", "EIP-4844", "EIP-7702")


def inspect_lines(block: AnyBlock, top: int = 5) -> list[tuple[str, Any]]:
    """Size, ops, conflicts, hot keys and critical path of a block as (name, text) lines.

    Parameters
    ----------
    block : Block or EvmBlock
    top : int
        Hot keys to list, by number of transactions that access them.

    Examples
    --------
    >>> block = Block.from_programs([[("SSTORE", (1, 0, 0), 1)], [("SLOAD", (1, 0, 0))]])
    >>> dict(inspect_lines(block))["critical path"]
    '2 transactions of 2; 2 waves in block order'
    """
    access = exact_sets(block)
    counts, plan = conflict_counts(access), schedule(access)
    modes = access.modes
    lines: list[tuple[str, Any]] = [
        ("block", f"{block.number}, fork {block.fork}"),
        ("transactions", f"{block.n_tx:,}"),
        *(_evm_contents(block) if isinstance(block, EvmBlock) else _contents(block)),
        ("keys", f"{access.n_keys:,}"),
        ("accesses", f"{access.n_accesses:,} ({_count(modes, 1):,} read, {_count(modes, 2):,} written, "
                     f"{_count(modes, 4):,} credited)"),
        ("conflicts", f"{counts.pairs:,} pairs (WW {counts.ww:,}, RW {counts.rw:,}, WR {counts.wr:,}); "
                      f"conflict rate {100 * counts.rate:.4g} % of pairs" + ("" if counts.exact else ", estimated")),
        ("critical path", f"{int(critical_path_cost(access)):,} transactions of {block.n_tx:,}; "
                          f"{plan.n_waves:,} waves in block order"),
        ("digest", block.digest()),
    ]  # fmt: skip
    return lines + _hot_lines(access, block, top)


def _contents(block: Block) -> list[tuple[str, Any]]:
    ops = np.bincount(block.op_code, minlength=len(Op))
    return [("ops", ", ".join(f"{ops[op]:,} {op.name}" for op in Op if ops[op]) or "none")]


def _evm_contents(block: EvmBlock) -> list[tuple[str, Any]]:
    """Kinds of transactions, and what they start with; sizes of the state before the block."""
    kinds = Counter(_KINDS[tx.type] for tx in block.transactions)
    coded = {address for address, account in block.state.items() if account.code}
    starts = Counter(
        "creations" if tx.to is None else "calls of code" if tx.to in coded else "transfers" for tx in block.transactions
    )
    slots = sum(len(account.storage) for account in block.state.values())
    return [
        ("kinds", ", ".join(f"{count:,} {name}" for name, count in kinds.items()) or "none"),
        ("start as", ", ".join(f"{count:,} {name}" for name, count in starts.items()) or "none"),
        ("state before", f"{len(block.state):,} accounts, {len(coded):,} with code, {slots:,} slots not zero"),
    ]


def _count(modes: NDArray[np.uint8], bit: int) -> int:
    return int(np.count_nonzero(modes & bit))


def _hot_lines(access: AccessSets, block: AnyBlock, top: int) -> list[tuple[str, Any]]:
    heat, names = key_heat(access), access.names(block)
    assert names is not None
    lines: list[tuple[str, Any]] = []
    for k in heat.top(top).tolist():
        counts = f"{heat.accessors[k]:,} transactions, {heat.writers[k]:,} write, {heat.crediters[k]:,} only credit"
        lines.append((f"hot key {len(lines) + 1}", f"{names.key_name(k)}: {counts}"))
    return lines
