"""A block at a glance. Its conflict *rate* is measured here; the conflict ratio of a generator is a parameter, not this."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .access.oracles import access_sets
from .access.sets import AccessSets
from .block import Block
from .machine.ops import Op
from .schedule.bounds import critical_path_cost
from .schedule.conflicts import conflict_counts, key_heat
from .schedule.policies import schedule

__all__ = ["inspect_lines"]


def inspect_lines(block: Block, top: int = 5) -> list[tuple[str, Any]]:
    """Size, ops, conflicts, hot keys and critical path of a block as (name, text) lines.

    Parameters
    ----------
    block : Block
    top : int
        Hot keys to list, by number of transactions that access them.

    Examples
    --------
    >>> block = Block.from_programs([[("SSTORE", (1, 0, 0), 1)], [("SLOAD", (1, 0, 0))]])
    >>> dict(inspect_lines(block))["critical path"]
    '2 transactions of 2; 2 waves in block order'
    """
    access = access_sets(block)
    counts, plan = conflict_counts(access), schedule(access)
    ops = np.bincount(block.op_code, minlength=len(Op))
    modes = access.modes
    lines: list[tuple[str, Any]] = [
        ("block", f"{block.number}, fork {block.fork}"),
        ("transactions", f"{block.n_tx:,}"),
        ("ops", ", ".join(f"{ops[op]:,} {op.name}" for op in Op if ops[op]) or "none"),
        ("keys", f"{block.n_keys:,}"),
        ("accesses", f"{access.n_accesses:,} ({_count(modes, 1):,} read, {_count(modes, 2):,} written, "
                     f"{_count(modes, 4):,} credited)"),
        ("conflicts", f"{counts.pairs:,} pairs (WW {counts.ww:,}, RW {counts.rw:,}, WR {counts.wr:,}); "
                      f"conflict rate {100 * counts.rate:.4g} % of pairs" + ("" if counts.exact else ", estimated")),
        ("critical path", f"{int(critical_path_cost(access)):,} transactions of {block.n_tx:,}; "
                          f"{plan.n_waves:,} waves in block order"),
        ("digest", block.digest()),
    ]  # fmt: skip
    return lines + _hot_lines(access, block, top)


def _count(modes: NDArray[np.uint8], bit: int) -> int:
    return int(np.count_nonzero(modes & bit))


def _hot_lines(access: AccessSets, block: Block, top: int) -> list[tuple[str, Any]]:
    heat = key_heat(access)
    lines: list[tuple[str, Any]] = []
    for k in heat.top(top).tolist():
        counts = f"{heat.accessors[k]:,} transactions, {heat.writers[k]:,} write, {heat.crediters[k]:,} only credit"
        lines.append((f"hot key {len(lines) + 1}", f"{block.key_name(k)}: {counts}"))
    return lines
