"""`execute`: one call for every executor. A schedule fixes the serial order that counts; estimates are only hints."""

from __future__ import annotations

import logging
from time import perf_counter_ns
from typing import Any, Final

import numpy as np

from .. import door
from ..access.sets import AccessSets
from ..block import Block
from ..errors import BlockError
from ..machine.gas import GasSchedule
from ..schedule import policies
from ..schedule.plan import Schedule
from . import serial, waves
from .result import Changes, Execution
from .workspace import Workspace, program_of

__all__ = ["EXECUTORS", "execute", "pick"]

log = logging.getLogger("pevm_numba")

EXECUTORS: Final = ("auto", "serial", "waves")

#: Guessed nanoseconds per access of making and checking levels, and per block of launching them: what `auto` weighs.
_PLANNING_PER_ACCESS: Final = 35
_PLANNING_PER_BLOCK: Final = 100_000


def pick(block: Block, workers: int) -> tuple[str, str]:
    """The executor that `auto` takes, and why.

    Waves, if the guessed work that they could save exceeds what planning them costs; a first rule, by constants measured
    on two cores, without looking at the conflicts.
    """
    if workers < 2 or block.n_tx < 2:
        return "serial", f"{workers} worker, {block.n_tx} transactions"
    program = program_of(block, partial_sums=True)
    work = int(program.work.sum()) + program.hash_work
    saved = int(work * (1 - 1 / workers))
    planning = _PLANNING_PER_BLOCK + _PLANNING_PER_ACCESS * len(block.footprint_keys)
    name = "waves" if saved > planning else "serial"
    return name, f"guessed work {work / 1e3:.0f} us, {saved / 1e3:.0f} to save, {planning / 1e3:.0f} to plan"


def execute(
    block: Block,
    executor: str = "auto",
    *,
    schedule: Schedule | None = None,
    access: AccessSets | None = None,
    workers: int | None = None,
    gas: str | GasSchedule | None = None,
    record: str | None = None,
) -> Execution:
    """Execute a block for real.

    Parameters
    ----------
    block : Block
    executor : {"auto", "serial", "waves"}
        `serial` is the baseline; `waves` runs the transactions of a wave on all threads; `auto` picks.
    schedule : Schedule, optional
        Waves and the serial order that the result equals, for every executor. Default: block order, in levels of `access`.
        It need not be right: see Notes.
    access : AccessSets, optional
        Estimated access sets that the levels are made of, if no schedule is given; default exact.
    workers : int, optional
        In [1, 1024]; default Numba's present number of threads.
    gas : str or GasSchedule, optional
        Prices; default those of the block's fork.
    record : {"changes"}, optional
        Also note each transaction's net changes, by one more serial run.

    Returns
    -------
    Execution

    Raises
    ------
    BlockError
        If an argument is out of range or does not fit the block.

    Notes
    -----
    Receipts, observed sets and state are those of serial execution in ``schedule.serial_order`` (block order without a
    schedule), bit for bit, whatever `schedule` and `access` say: a transaction that they would start too early is put off
    and counted. O(ops + accesses) besides the work itself.

    Examples
    --------
    >>> from pevm_numba.block import Block
    >>> a = (1, 0, 0)
    >>> block = Block.from_programs([[("SSTORE", a, 5)], [("SLOAD", a), ("ADD", 1), ("SSTORE", a, "TOP")]])
    >>> result = execute(block, "serial")
    >>> result.gas_used.tolist(), list(result.state().values())
    ([43100, 26003], [6])
    """
    if executor not in EXECUTORS:
        raise BlockError(f"executor {executor!r} is unknown: one of {', '.join(EXECUTORS)}")
    if record not in (None, "changes"):
        raise BlockError(f"record = {record!r}: must be 'changes' or None")
    _check_fit(block, schedule, access)
    workers = waves.default_workers() if workers is None else door.integer("workers", workers, 1, 1024)
    if executor == "auto":
        executor, reason = pick(block, workers)
        log.info("block %d: auto picks %s (%s)", block.number, executor, reason)
    timings = {}
    start = perf_counter_ns()
    plan = schedule
    if executor == "waves" and plan is None:
        plan = policies.schedule(AccessSets.footprint(block) if access is None else access, "levels")
    timings["schedule_ns"] = perf_counter_ns() - start
    start = perf_counter_ns()
    space = Workspace(block, gas, workers=workers if executor == "waves" else 1, partial_sums=executor == "waves")
    timings["prepare_ns"] = perf_counter_ns() - start
    if executor == "waves" and plan is not None:
        counters, times = waves.run_waves(space, plan)
    else:
        counters, times = serial.run_serial(space, plan)
    result = collect(space, executor, plan, counters, timings | times)
    if record is None:
        return result
    return _with_changes(result, gas)


def _check_fit(block: Block, schedule: Schedule | None, access: AccessSets | None) -> None:
    door.instance("block", block, Block)
    if schedule is not None:
        door.instance("schedule", schedule, Schedule)
    if access is not None:
        door.instance("access", access, AccessSets)
    if schedule is not None and schedule.n_tx != block.n_tx:
        raise BlockError(f"schedule has {schedule.n_tx} transactions: the block has {block.n_tx}")
    if access is not None and (access.n_tx, access.n_keys) != (block.n_tx, block.n_keys):
        raise BlockError(
            f"access sets of {access.n_tx} transactions and {access.n_keys} keys: "
            f"the block has {block.n_tx} and {block.n_keys}"
        )


def collect(
    space: Workspace, executor: str, schedule: Schedule | None, counters: dict[str, int], timings: dict[str, int]
) -> Execution:
    """The execution that a workspace holds after a run; the workspace may be reset and used again."""
    arrays: dict[str, Any] = {
        name: getattr(space, name).copy()
        for name in ("status", "gas_used", "refund", "output", "digest", "values", "stop")
    }
    for array in arrays.values():
        array.flags.writeable = False
    return Execution(space.block, executor, schedule, **arrays, counters=counters, timings=timings)


def _with_changes(result: Execution, gas: str | GasSchedule | None) -> Execution:
    """Run once more, serially, noting changes; the receipts must be those of the first run."""
    space = Workspace(result.block, gas)
    order = space.block_order if result.schedule is None else result.schedule.serial_order
    indptr, keys, values = space.changes(order)
    result.check_equal(collect(space, "serial run for the record", result.schedule, {}, {}))
    inverse = np.empty(len(order), np.int64)
    inverse[order] = np.arange(len(order))
    offsets, places = door.take_ranges(indptr, inverse)
    changes = Changes(offsets, keys[places], values[places])
    for array in (changes.indptr, changes.keys, changes.values):
        array.flags.writeable = False
    arrays = {name: getattr(result, name) for name in Execution.__dataclass_fields__}
    return Execution(**(arrays | {"changes": changes}))
