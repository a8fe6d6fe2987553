"""Which executor `auto` takes: the one whose expected time is least, from what a sample of the block says of its paths.

The constants are measured: see the table of `python -m pevm_numba.bench executors` and docs/executors.md.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..block import Block
from ..machine.gas import GasSchedule
from .launch import threads_awake
from .machine import Choice
from .optimistic import LONGEST_WALKS
from .program import Program, program_of, reads_behind_credits
from .sample import PathSampler

__all__ = ["PICKS", "expected_ns", "pick"]

#: What `auto` may pick where there is no access list, which is the choice wherever there is one.
PICKS: Final = ("serial", "dataflow", "optimistic")



class _Cost(NamedTuple):
    """Nanoseconds of an executor that serial execution does not have."""

    once: float  # plan and launch
    per_tx: float  # on some worker
    per_access: float  # on one core, before the launch
    slower: float  # factor on the work of the longest path
    per_hop: float  # between two transactions on it


#: Nanoseconds more where threads sleep, as they do soon after a run.
_ASLEEP_NS: Final = 300_000

_COSTS: Final = {"dataflow": _Cost(35_000, 110, 0, 1.05, 30), "optimistic": _Cost(35_000, 240, 8, 1.12, 150)}

#: Expected nanoseconds saved, as a share of the serial time, below which it stays serial.
_LEAST_GAIN: Final = 0.05


def expected_ns(
    program: Program, n_tx: int, n_accesses: int, shares: tuple[float, float], workers: int, *, awake: bool = True
) -> dict[str, float]:
    """Expected nanoseconds of planning and running, for each of `PICKS`.

    Parameters
    ----------
    program : Program
    n_tx, n_accesses : int
    shares : tuple of float
        Longest path / work, and the same with versions.
    workers : int
    awake : bool
        Whether Numba's threads wait for work.

    Notes
    -----
    Serial: the guessed work. Else a constant, and the larger of two: all work shared out, with so much for each transaction;
    and the longest path, of all dependencies for dataflow, of those on versions for optimistic, where nobody waits for
    readers. Its transactions are taken to be as long as the others.
    """
    work, hashing = int(program.work.sum()), program.hash_work
    expected: dict[str, float] = {"serial": work + hashing}
    for (name, cost), share in zip(_COSTS.items(), shares):
        together = max((work + cost.per_tx * n_tx) / workers, share * (cost.slower * work + cost.per_hop * n_tx))
        once = cost.once + (0 if awake else _ASLEEP_NS)
        expected[name] = once + cost.per_access * n_accesses + hashing / workers + together
    return expected


def pick(
    block: Block,
    workers: int,
    *,
    order: NDArray[np.int32] | None = None,
    gas: str | GasSchedule | None = None,
    listed: bool = False,
    awake: bool | None = None,
) -> Choice:
    """The executor that `auto` takes, and why.

    Parameters
    ----------
    block : Block
    workers : int
    order : (n_tx,) int32, optional
        The promised serial order; default that of the block.
    gas : str or GasSchedule, optional
    listed : bool
        Whether there is a block access list to run from.
    awake : bool, optional
        Whether Numba's threads wait for work; default: whether they ran a moment ago.

    Returns
    -------
    Choice

    Examples
    --------
    >>> from pevm_numba.generate import generate
    >>> pick(generate(n_tx=20, key_space=100), workers=2).executor
    'serial'
    >>> alike, alone = [("SSTORE", (1, 0, 0), 5), ("NOOP", 9000)], [("NOOP", 9000)]
    >>> for programs in ([alone] * 99, [alike] * 99):
    ...     choice = pick(Block.from_programs(programs), workers=2)
    ...     print(choice.executor, [round(share, 2) for share in choice.shares])
    dataflow [0.01, 0.01]
    serial [1.0, 1.0]
    """
    if listed:
        return Choice("bal", "an access list is given")
    program, n_tx = program_of(block, gas), block.n_tx
    total = program.total_work
    head = f"{n_tx:,} transactions, guessed work {total / 1e3:,.0f} us, {workers} workers"
    if workers < 2:
        return Choice("serial", head)
    awake = threads_awake() if awake is None else awake
    head += "" if awake else ", threads asleep"
    known = program, n_tx, len(block.footprint_keys)
    if n_tx < 2 or _best(expected_ns(*known, (0.0, 0.0), workers, awake=awake)) == "serial":
        return Choice("serial", f"{head}: too little to share out, whatever its longest path")
    order = np.arange(n_tx, dtype=np.int32) if order is None else order
    shares = PathSampler(block).shares(order, program.work)
    expected = expected_ns(*known, shares, workers, awake=awake)
    if _best(expected) == "optimistic" and reads_behind_credits(block, order) > LONGEST_WALKS * len(block.footprint_keys):
        del expected["optimistic"]
    times = ", ".join(f"{name} {expected[name] / 1e3:,.0f}" for name in expected)
    path = f"longest path {shares[0]:.0%} of it, {shares[1]:.0%} with versions"
    return Choice(_best(expected), f"{head}, {path}: expected us {times}", shares)


def _best(expected: dict[str, float]) -> str:
    best = min(expected, key=expected.__getitem__)
    return best if expected[best] <= (1 - _LEAST_GAIN) * expected["serial"] else "serial"
