"""What transactions cost once they are run: gas is the same every time and everywhere, nanoseconds are of this machine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..access.sets import AccessSets
from ..block import Block
from ..errors import BlockError
from ..evm.block import EvmBlock
from ..schedule.costs import COSTS, cost_of
from .evm_run import EvmJob
from .launch import launch
from .program import hash_share
from .run import execute
from .workspace import Workspace

__all__ = ["timed_serial", "transaction_costs"]


def transaction_costs(block: Block | EvmBlock, kind: str = "gas", *, repeat: int = 9) -> NDArray[Any]:
    """Costs of a block's transactions, to be given as ``cost`` to schedules, timelines and bounds.

    Parameters
    ----------
    block : Block or EvmBlock
        The latter has ``"gas"``, ``"ns"`` and ``"unit"``.
    kind : str
        ``"gas"``: what serial execution in block order charges under the block's fork, refunds taken off; for a
        transaction that fails, its gas limit. ``"chain-gas"``: what the chain charged, where the block carries it; the
        two are equal where a replay is exact. ``"ns"``: measured time of serial execution in block order. ``"ops"``:
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
    if isinstance(block, EvmBlock):
        return _evm_costs(block, kind, repeat)
    door.instance("block", block, Block)
    if kind == "ns":
        return _nanoseconds(block, repeat)
    if kind == "gas":
        return execute(block, "serial").gas_used
    return cost_of(kind, AccessSets.footprint(block), block).astype(np.int64)


def _evm_costs(block: EvmBlock, kind: str, repeat: int) -> NDArray[Any]:
    if kind not in ("gas", "ns", "unit"):
        raise BlockError(f"kind = {kind!r}: of an EVM block only 'gas', 'ns' and 'unit' are known")
    if kind == "unit":
        return np.ones(block.n_tx, np.int64)
    job = EvmJob(block, "serial", records=False)
    job.plan()
    job.run()
    if kind == "gas":
        return job.engine.records["gas_used"].copy()
    times = np.empty((repeat, block.n_tx), np.int64)
    for row in times:
        job.run()
        np.subtract(job.engine.records["end"], job.engine.records["begin"], out=row)
    return np.median(times, axis=0)


def timed_serial(
    space: Workspace, order: NDArray[np.int32] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Run serially and return when each transaction began and ended, in nanoseconds from an arbitrary zero.

    All payloads are hashed before the first transaction; each one's share of that time, by permutations, is added to its end.

    Parameters
    ----------
    space : Workspace
        Timed, and reset.
    order : (n_tx,) int32, optional
        Default block order.
    """
    hashing, _ = launch(*space.serial_call(order), space, threads=0)
    return space.times.begin.copy(), space.times.end + hash_share(space.block, int(hashing))


def _nanoseconds(block: Block, repeat: int) -> NDArray[np.float64]:
    space, times = Workspace(block, timed=True), np.empty((repeat, block.n_tx), np.int64)
    timed_serial(space)
    for row in times:
        space.reset()
        begin, end = timed_serial(space)
        np.subtract(end, begin, out=row)
    return np.median(times, axis=0)
