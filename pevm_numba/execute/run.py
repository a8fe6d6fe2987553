"""`execute`: one call for every executor. A schedule fixes the serial order that counts; estimates are only hints."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import perf_counter_ns
from typing import Any, Final, NamedTuple, overload

from .. import door
from ..access.block_list import BlockAccessList
from ..access.eip7928 import Eip7928List
from ..access.sets import AccessSets
from ..block import Block
from ..engines.engine import Engine, engine_of
from ..errors import BlockError
from ..evm.block import AnyBlock, EvmBlock
from ..evm.observation import EvmAccessList
from ..machine.gas import GasSchedule
from ..schedule.plan import Schedule
from ..storage.base import StateStore, commit
from ..storage.prefetch import PrefetchList
from ..storage.world import StoreSource
from .evm_result import EvmExecution
from .job import Job, Outcome
from .launch import default_workers
from .machine import EXECUTORS
from .machines import machine_of
from .result import Execution

__all__ = ["Prepared", "advance", "execute", "prepare"]

log = logging.getLogger("pevm_numba")

_RECORDS: Final = ("changes", "times")


@overload
def execute(
    block: Block,
    executor: str = "auto",
    *,
    schedule: Schedule | None = None,
    access: AccessSets | None = None,
    access_list: BlockAccessList | Eip7928List | None = None,
    workers: int | None = None,
    gas: str | GasSchedule | None = None,
    store: StateStore | None = None,
    prefetch: PrefetchList | StoreSource | None = None,
    engine: str | Engine = "interpreter",
    record: str | Iterable[str] | None = None,
) -> Execution: ...
@overload
def execute(
    block: EvmBlock,
    executor: str = "auto",
    *,
    schedule: Schedule | None = None,
    access: AccessSets | None = None,
    access_list: EvmAccessList | Eip7928List | None = None,
    workers: int | None = None,
    gas: None = None,
    store: StateStore | None = None,
    prefetch: PrefetchList | StoreSource | None = None,
    engine: str | Engine = "interpreter",
    record: str | Iterable[str] | None = None,
) -> EvmExecution: ...
def execute(
    block: AnyBlock,
    executor: str = "auto",
    *,
    schedule: Schedule | None = None,
    access: AccessSets | None = None,
    access_list: BlockAccessList | EvmAccessList | Eip7928List | None = None,
    workers: int | None = None,
    gas: str | GasSchedule | None = None,
    store: StateStore | None = None,
    prefetch: PrefetchList | StoreSource | None = None,
    engine: str | Engine = "interpreter",
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
        optimistic. Default: exact, for optimistic none. Of an EVM block, exact is what a serial run beforehand observes,
        outside the timings; nothing but the schedule is known where there is one.
    access_list : BlockAccessList, EvmAccessList or Eip7928List, optional
        For ``"bal"``; default: that of a serial run beforehand, outside the timings. One of the last kind, as it comes over
        the wire, must be the block's in every entry, reads and what the protocol does included.
    workers : int, optional
        In [1, 1024]; default Numba's present number of threads. More than Numba has share its threads.
    gas : str or GasSchedule, optional
        Prices; default those of the block's fork, which an EVM block always has.
    store : StateStore, optional
        Where the state before the block is, instead of the block's own, and what the block changes is committed, as a whole
        and at the end. What the block and `access_list` name is read at once, other keys when they are first needed.
    prefetch : KeyTable, AccessSets, EvmAccessList, Eip7928List or StoreSource, optional
        With `store`, of an EVM block: what it is thought to need, read in one batch beforehand, such as the sets that
        `predict` gives; or what reads the store, such as a `Prefetched`. What that misses is read when it is met;
        `EvmExecution.fetches` counts how often, and how long it took. It need not be right. Keys of micro-ops are known, and
        read at once anyway.
    engine : {"interpreter", "jit", "wasm"} or Engine
        What runs programs of micro-ops: an interpreter, or compiled code for each shape of program that pays for it, with
        the interpreter for the rest. An EVM block has its interpreter only.
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
    recorded = _recorded(record)
    if store is not None:
        if not isinstance(store, StateStore):
            raise BlockError(f"store = {door.shown(store, 80)}: must be a StateStore")
        block = machine_of(block).on_store(block, store, prefetch)
    elif prefetch is not None:
        raise BlockError(f"prefetch = {door.shown(prefetch, 80)}: only from a store")
    made = prepare(
        block, executor, workers, schedule=schedule, access=access, access_list=access_list, gas=gas,
        timed="times" in recorded, engine=engine,
    )  # fmt: skip
    counters, times = made.job.run()
    result = made.job.collect(counters, made.timings | times, made.reason)
    if "changes" in recorded:
        result = machine_of(block).with_changes(result, gas)
    if store is not None:
        commit(store, block.number, machine_of(block).change(result))
    return result


def advance(
    block: AnyBlock, store: StateStore, executor: str = "auto", *, prefetch: PrefetchList | StoreSource | None = None,
    workers: int | None = None, engine: str | Engine = "interpreter",
) -> tuple[str, Outcome]:  # fmt: skip
    """As `execute` on a store, for those who want nothing but the state after the block: the executor that ran, and what
    counts for later blocks. Receipts, logs and access sets are not made.

    Examples
    --------
    >>> from ..storage.memory import MemoryStore
    >>> store, block = MemoryStore(), Block.from_programs([[("SSTORE", (1, 0, 0), 5)]], number=3)
    >>> advance(block, store, "serial")[1].gas_used, (store.last_block() or [None])[0]
    (43100, 3)
    """
    job = prepare(machine_of(block).on_store(block, store, prefetch), executor, workers, engine=engine).job
    job.bare()
    job.run()
    outcome = job.outcome()
    commit(store, block.number, outcome.change)
    return job.name, outcome


class Prepared(NamedTuple):
    """A job that is planned and may run, why its executor was picked, and what that took in nanoseconds."""

    job: Job
    reason: str
    timings: dict[str, int]


def prepare(
    block: AnyBlock, executor: str = "auto", workers: int | None = None, *, schedule: Schedule | None = None,
    access: AccessSets | None = None, access_list: Any = None, gas: Any = None, timed: bool = False,
    engine: str | Engine = "interpreter",
) -> Prepared:  # fmt: skip
    """All that `execute` does before the run; what it says of arguments and errors holds here.

    Examples
    --------
    >>> made = prepare(Block.from_programs([[("BURN", 5)]]), "serial")
    >>> made.job.collect(*made.job.run()).gas_used.tolist()
    [21005]
    """
    if executor not in EXECUTORS:
        raise BlockError(f"executor {door.shown(executor)} is unknown: one of {', '.join(EXECUTORS)}")
    machine, engine = machine_of(block), engine_of(engine)
    _check_fit(block, schedule, access)
    workers = default_workers() if workers is None else door.integer("workers", workers, 1, 1024)
    machine.check(block, schedule=schedule, access=access, gas=gas)
    known = {"schedule": schedule, "access": access, "access_list": access_list, "gas": gas}
    start, reason, shares = perf_counter_ns(), "", None
    if executor == "auto":
        choice = machine.pick(block, workers, **known)
        executor, reason, shares = choice.executor, f"auto: {choice.reason}", choice.shares
        log.info("block %d: auto picks %s (%s)", block.number, executor, choice.reason)
    picked = perf_counter_ns() - start
    if access_list is not None and executor != "bal":
        raise BlockError(f"access_list with executor {executor!r}: only bal runs from a list")
    hints = machine.hints(block, executor, **known)
    start = perf_counter_ns()
    job = machine.job(block, executor, gas, workers=workers, schedule=schedule, timed=timed, engine=engine, **hints)
    job.shares = shares
    prepared = perf_counter_ns()
    job.plan()
    timings = {"prepare_ns": picked + prepared - start, "schedule_ns": perf_counter_ns() - prepared}
    return Prepared(job, reason, timings)


def _recorded(record: str | Iterable[str] | None) -> set[str]:
    if record is not None and not isinstance(record, Iterable):
        raise BlockError(f"record = {door.shown(record)}: must be None, or among {', '.join(map(repr, _RECORDS))}")
    names = [record] if isinstance(record, str) else list(record or ())
    for name in names:
        if name not in _RECORDS:
            raise BlockError(f"record = {door.shown(record)}: must be None, or among {', '.join(map(repr, _RECORDS))}")
    return set(names)


def _check_fit(block: AnyBlock, schedule: Schedule | None, access: AccessSets | None) -> None:
    if schedule is not None:
        door.instance("schedule", schedule, Schedule)
    if access is not None:
        door.instance("access", access, AccessSets)
    if schedule is not None and schedule.n_tx != block.n_tx:
        raise BlockError(f"schedule has {schedule.n_tx} transactions: the block has {block.n_tx}")
