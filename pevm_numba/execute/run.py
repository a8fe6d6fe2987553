"""`execute`: one call for every executor. A schedule fixes the serial order that counts; estimates are only hints."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import perf_counter_ns
from typing import Any, Final, overload

import numpy as np

from .. import door
from ..access.block_list import BlockAccessList
from ..access.sets import AccessSets
from ..block import Block
from ..errors import BlockError
from ..evm.block import EvmBlock
from ..evm.observation import EvmAccessList
from ..machine.gas import GasSchedule
from ..schedule.plan import Schedule
from .auto import pick
from .bal import BalJob
from .dataflow import DataflowJob
from .evm_result import EvmExecution
from .evm_run import execute_evm
from .job import Job
from .launch import default_workers, launch
from .optimistic import OptimisticJob
from .result import Changes, Execution, TxTimes
from .serial import SerialJob
from .waves import WavesJob
from .workspace import Workspace

__all__ = ["EXECUTORS", "JOBS", "collect", "execute"]

log = logging.getLogger("pevm_numba")

JOBS: Final[dict[str, type[Job]]] = {job.name: job for job in (SerialJob, WavesJob, DataflowJob, OptimisticJob, BalJob)}
EXECUTORS: Final = ("auto", *JOBS)
_RECORDS: Final = ("changes", "times")


@overload
def execute(
    block: Block,
    executor: str = "auto",
    *,
    schedule: Schedule | None = None,
    access: AccessSets | None = None,
    access_list: BlockAccessList | None = None,
    workers: int | None = None,
    gas: str | GasSchedule | None = None,
    record: str | Iterable[str] | None = None,
) -> Execution: ...
@overload
def execute(
    block: EvmBlock,
    executor: str = "auto",
    *,
    schedule: Schedule | None = None,
    access: AccessSets | None = None,
    access_list: EvmAccessList | None = None,
    workers: int | None = None,
    gas: None = None,
    record: str | Iterable[str] | None = None,
) -> EvmExecution: ...
def execute(
    block: Block | EvmBlock,
    executor: str = "auto",
    *,
    schedule: Schedule | None = None,
    access: AccessSets | None = None,
    access_list: BlockAccessList | EvmAccessList | None = None,
    workers: int | None = None,
    gas: str | GasSchedule | None = None,
    record: str | Iterable[str] | None = None,
) -> Execution | EvmExecution:
    """Execute a block for real, on the machine that it is for: micro-ops or the EVM.

    Parameters
    ----------
    block : Block or EvmBlock
    executor : {"auto", "serial", "waves", "dataflow", "optimistic", "bal"}
        ``"serial"``: the baseline, one core. ``"waves"``: the transactions of a wave on all threads, a barrier after each.
        ``"dataflow"``: no barriers; a transaction starts when its predecessors have finished. ``"optimistic"``: Block-STM
        [1]_; transactions run before it is known what they depend on, are validated, and run again if need be.
        ``"bal"``: all at once from `access_list`, each checked against it [2]_. ``"auto"``: picks, and says why in
        `Execution.reason`.
    schedule : Schedule, optional
        The serial order that the result equals, for every executor, and what waves and dataflow follow; its timeline, if
        it has one, is the order in which dataflow claims transactions. Default: block order. It need not be right: see
        Notes.
    access : AccessSets, optional
        Estimated access sets: what levels are made of without a schedule, what dataflow takes for known, and hints for
        optimistic. Default: exact, for optimistic none.
    access_list : BlockAccessList or EvmAccessList, optional
        For ``"bal"``; default: that of a serial run beforehand, outside the timings.
    workers : int, optional
        In [1, 1024]; default Numba's present number of threads. More than Numba has share its threads.
    gas : str or GasSchedule, optional
        Prices; default those of the block's fork, which an EVM block always has.
    record : {"changes", "times"} or several of them, optional
        ``"changes"``: also note each transaction's net changes, by one more serial run. ``"times"``: when each ran and on
        which worker. An EVM block's execution has both always.

    Returns
    -------
    Execution or EvmExecution

    Raises
    ------
    BlockError
        If an argument is out of range or does not fit the block; of an EVM block also if it has a transaction that it may
        not have, or `schedule` promises another order than the block's, which nonces forbid.
    AccessListError
        If `access_list` does not say what the block does; names the first transaction and key.
    ExecutionError
        If a worker reported an error.
    KeyboardInterrupt
        If the main thread was interrupted; the workers have stopped by then.

    Notes
    -----
    Receipts, observed sets and state are those of serial execution in ``schedule.serial_order`` (block order without a
    schedule), bit for bit, whatever `schedule` and `access` say: a transaction that they would start too early is put off,
    or run again, and counted. O(ops + accesses) besides the work itself.

    References
    ----------
    .. [1] Gelashvili et al.: Block-STM, arXiv 2203.06871.
    .. [2] EIP-7928: Block-Level Access Lists.

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
    recorded = _recorded(record)
    _check_fit(block, schedule, access)
    workers = default_workers() if workers is None else door.integer("workers", workers, 1, 1024)
    if isinstance(block, EvmBlock):
        if gas is not None:
            raise BlockError(f"gas = {gas!r:.80}: the fork of an EVM block decides its prices")
        return execute_evm(block, executor, workers, schedule=schedule, access=access, access_list=access_list)
    return _execute(block, executor, schedule, access, access_list, workers, gas, recorded)


def _execute(
    block: Block,
    executor: str,
    schedule: Schedule | None,
    access: AccessSets | None,
    access_list: Any,
    workers: int,
    gas: str | GasSchedule | None,
    recorded: set[str],
) -> Execution:
    reason, shares = "", None
    start = perf_counter_ns()
    if executor == "auto":
        order = None if schedule is None else schedule.serial_order
        choice = pick(block, workers, order=order, gas=gas, listed=access_list is not None)
        executor, reason, shares = choice.executor, f"auto: {choice.reason}", choice.shares
        log.info("block %d: auto picks %s (%s)", block.number, executor, choice.reason)
    picked = perf_counter_ns() - start
    listed = _list(block, executor, schedule, access_list, gas)
    start = perf_counter_ns()
    timed = "times" in recorded
    job = JOBS[executor](block, gas, workers=workers, schedule=schedule, access=access, timed=timed)
    if isinstance(job, BalJob) and listed is not None:
        job.use(listed)
    job.shares = shares
    prepared = perf_counter_ns()
    job.plan()
    timings = {"prepare_ns": picked + prepared - start, "schedule_ns": perf_counter_ns() - prepared}
    counters, times = job.run()
    result = collect(job, counters, timings | times, reason)
    return _with_changes(result, gas) if "changes" in recorded else result


def _recorded(record: str | Iterable[str] | None) -> set[str]:
    if record is not None and not isinstance(record, Iterable):
        raise BlockError(f"record = {record!r}: must be None, or among {', '.join(map(repr, _RECORDS))}")
    names = [record] if isinstance(record, str) else list(record or ())
    for name in names:
        if name not in _RECORDS:
            raise BlockError(f"record = {record!r}: must be None, or among {', '.join(map(repr, _RECORDS))}")
    return set(names)


def _list(
    block: Block,
    executor: str,
    schedule: Schedule | None,
    access_list: Any,
    gas: str | GasSchedule | None,
) -> BlockAccessList | None:
    """The list for "bal", made by a serial run if none is given."""
    if executor != "bal":
        if access_list is not None:
            raise BlockError(f"access_list with executor {executor!r}: only bal runs from a list")
        return None
    if access_list is None:
        return execute(block, "serial", schedule=schedule, gas=gas, record="changes").block_access_list()
    door.instance("access_list", access_list, BlockAccessList)
    return access_list


def _check_fit(block: Block | EvmBlock, schedule: Schedule | None, access: AccessSets | None) -> None:
    if not isinstance(block, EvmBlock):
        door.instance("block", block, Block)
    if schedule is not None:
        door.instance("schedule", schedule, Schedule)
    if access is not None:
        door.instance("access", access, AccessSets)
    if schedule is not None and schedule.n_tx != block.n_tx:
        raise BlockError(f"schedule has {schedule.n_tx} transactions: the block has {block.n_tx}")
    if isinstance(block, EvmBlock):
        if access is not None and access.n_tx != block.n_tx:
            raise BlockError(f"access sets of {access.n_tx} transactions: the block has {block.n_tx}")
    elif access is not None and (access.n_tx, access.n_keys) != (block.n_tx, block.n_keys):
        raise BlockError(
            f"access sets of {access.n_tx} transactions and {access.n_keys} keys: "
            f"the block has {block.n_tx} and {block.n_keys}"
        )


def collect(job: Job, counters: dict[str, int], timings: dict[str, int], reason: str = "") -> Execution:
    """The execution that a job's buffers hold after a run; the job may be reset and run again."""
    space = job.space
    arrays: dict[str, Any] = {name: getattr(space.receipts, name).copy() for name in space.receipts._fields if name != "sink"}
    arrays["values"] = space.values.copy()
    for array in arrays.values():
        array.flags.writeable = False
    times = _times(space) if job.timed else None
    reason = "; ".join(text for text in (reason, job.reason) if text)
    return Execution(
        job.block, job.name, job.schedule, **arrays, counters=counters, timings=timings, times=times, reason=reason
    )


def _times(space: Workspace) -> TxTimes:
    times = space.times
    first = times.begin.min(initial=2**63 - 1)
    found = TxTimes(times.begin - first, times.end - first, times.worker.copy(), times.runs.copy(), space.workers)
    for array in (found.start, found.end, found.worker, found.runs):
        array.flags.writeable = False
    return found


def _with_changes(result: Execution, gas: str | GasSchedule | None) -> Execution:
    """Run once more, serially, noting changes; the receipts must be those of the first run."""
    job = SerialJob(result.block, gas, schedule=result.schedule)
    order = job.space.in_order(job.order)
    kernel, arguments = job.space.changes_call(order)
    total, _ = launch(kernel, arguments, job.space, threads=0)
    indptr, keys, values = arguments[3:6]
    result.check_equal(collect(job, {}, {}))
    inverse = np.empty(len(order), np.int64)
    inverse[order] = np.arange(len(order))
    offsets, places = door.take_ranges(indptr, inverse)
    changes = Changes(offsets, keys[:total][places], values[:total][places])
    for array in (changes.indptr, changes.keys, changes.values):
        array.flags.writeable = False
    arrays = {name: getattr(result, name) for name in Execution.__dataclass_fields__}
    return Execution(**(arrays | {"changes": changes}))
