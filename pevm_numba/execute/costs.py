"""What transactions cost once they are run: gas is the same every time and everywhere, nanoseconds are of this machine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..access.oracles import exact_sets
from ..access.sets import AccessSets
from ..block import Block
from ..evm.block import AnyBlock
from ..schedule.costs import COSTS, cost_of
from .machines import machine_of
from .run import execute

__all__ = ["transaction_costs"]


def transaction_costs(block: AnyBlock, kind: str = "gas", *, repeat: int = 9) -> NDArray[Any]:
    """Costs of a block's transactions, to be given as ``cost`` to schedules, timelines and bounds.

    Parameters
    ----------
    block : Block or EvmBlock
        The latter has neither ``"ops"`` nor ``"chain-gas"``: the chain tells its receipts only.
    kind : str
        ``"gas"``: what serial execution in block order charges under the block's fork, refunds taken off; for a
        micro-op transaction that fails, its gas limit. ``"chain-gas"``: what the chain charged, where the block carries it;
        the two are equal where a replay is exact. ``"ns"``: measured time of serial execution in block order. ``"ops"``:
        micro-ops + 1, a NOOP n counted as n. ``"accesses"``: distinct keys + 1. ``"unit"``: 1 each.
    repeat : int
        Number of measured runs, in [1, 1000], for ``"ns"``; one more goes before them unmeasured.

    Returns
    -------
    (n_tx,) int64, or float64 for ``"ns"``
        Gas, nanoseconds (the median over the runs), or counts; not negative.

    Raises
    ------
    BlockError
        If an argument is not as described.

    Notes
    -----
    A measured time holds for this machine and a block in cache, and includes some 20 ns of reading the clock. All payloads
    are hashed at once before the first transaction; each one's share of that time, by Keccak permutations, is in its cost.

    Examples
    --------
    >>> a = (1, 0, 0)
    >>> block = Block.from_programs([[("SSTORE", a, 5)], [("SLOAD", a), ("NOOP", 7)], []])
    >>> transaction_costs(block).tolist()
    [43100, 23107, 21000]
    >>> transaction_costs(block, "ops").tolist(), transaction_costs(block, "accesses").tolist()
    ([2, 9, 1], [2, 2, 1])
    >>> transaction_costs(block, "ns", repeat=3).shape
    (3,)
    """
    door.choice("kind", kind, COSTS)
    repeat = door.integer("repeat", repeat, 1, 1000)
    machine = machine_of(block)
    if kind == "ns":
        return np.median(machine.transaction_ns(block, repeat=repeat), axis=0)
    if kind == "gas":
        return execute(block, "serial").gas_used
    needs_sets = kind == "accesses" or isinstance(block, Block)
    access = exact_sets(block) if needs_sets else AccessSets.from_dicts([{}] * block.n_tx, n_keys=0)
    return cost_of(kind, access, block).astype(np.int64)
