"""No barriers: a transaction starts when its predecessors have finished. Waits follow the footprint, never the estimate.

A schedule decides in which order transactions are claimed, and schedule or estimate what counts as a surprise: a transaction
that is found waiting for a predecessor though the schedule would not have ended that before, or the estimated access sets of
the two do not conflict, is counted (`runtime_conflicts`, `requeued`). It goes on as soon as that predecessor has finished.
Nothing runs twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels.control import PAD
from .._kernels.dataflow import COUNTS, run_dataflow
from .._kernels.flow import KEY_COLUMNS, Flow, Shared, start_cells
from .._kernels.jit import inputs, read_only
from ..schedule.dependencies import Dependencies, dependencies
from ..schedule.plan import Schedule
from .launch import launch
from .micro_op_job import MicroOpJob
from .sample import PathSampler
from .serial import SerialJob
from .workspace import Workspace

__all__ = ["LEAST_GAIN", "LEAST_WORK", "DataflowJob", "Tasks", "estimated_times", "tasks_of"]

#: Guessed work of a block in nanoseconds below which it runs serially, and the least speed-up that dependencies must allow.
LEAST_WORK: Final = 20_000
LEAST_GAIN: Final = 1.1

#: Guessed nanoseconds of work that a worker claims at a time, and the most transactions: enough for a cache line of
#: receipts, few enough that the last chunks end together.
_CHUNK_WORK: Final = 8_000
_CHUNK_MOST: Final = 16

#: Tasks whose predecessors are found at a time, for each worker, and at most.
_BATCH: Final = 32
_BATCH_MOST: Final = 512


#: Runs after which the rows of keys are cleared.
_EPOCHS: Final = 2**28


@dataclass(frozen=True, eq=False)
class Tasks:
    """Tasks in the order in which they are claimed: transactions, and joins of the dependency DAG (transaction -1).

    Parameters
    ----------
    tx : (n_tasks,) int32
    pred_indptr, preds : (n_tasks + 1,) int64, (n_edges,) int32
        The tasks that each one waits for.
    """

    tx: NDArray[np.int32]
    pred_indptr: NDArray[np.int64]
    preds: NDArray[np.int32]


def tasks_of(deps: Dependencies, order: NDArray[np.int32], start: NDArray[Any] | None = None) -> Tasks:
    """Tasks of a block whose dependencies are known.

    Parameters
    ----------
    deps : Dependencies
        Of the transactions in the promised order: node p is the p-th.
    order : (n_tx,) int32
        Transaction at each position.
    start : (n_tx,) numbers, optional
        When each transaction is planned to start; claimed in this order, after all joins. Default: the promised order, each
        join before the first transaction that waits for it.
    """
    n_tx, n_joins = deps.n_tx, deps.n_joins
    if not n_joins and start is None:
        return Tasks(order, deps.indptr, deps.indices)
    if start is None:
        when = np.concatenate([np.arange(n_tx), deps.join_before])
        nodes = np.lexsort((np.repeat([1, 0], [n_tx, n_joins]), when))
    else:
        nodes = np.concatenate([n_tx + np.arange(n_joins), np.argsort(start[order], kind="stable")])
    task = np.empty(len(nodes), np.int32)
    task[nodes] = np.arange(len(nodes), dtype=np.int32)
    tx = np.concatenate([order, np.full(n_joins, -1, np.int32)])[nodes]
    indptr, places = door.take_ranges(deps.indptr, nodes)
    return Tasks(tx, indptr, task[deps.indices[places]])


def _known(tasks: Tasks, flow: Flow) -> Flow:
    """The flow of tasks whose predecessors are all known."""
    n, awaited = len(tasks.tx), np.zeros(len(tasks.tx), bool)
    awaited[tasks.preds] = True
    state, following, passed, ready = (np.zeros(n, np.int32) for _ in range(4))
    return flow._replace(
        task_tx=read_only(tasks.tx), pred_indptr=tasks.pred_indptr.copy(), preds=tasks.preds.copy(),
        awaited=read_only(awaited), state=state, following=following, passed=passed, ready=ready,
    )  # fmt: skip


def estimated_times(estimate: Schedule, tx: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """When an estimate has each task start and end: by its timeline or its waves; joins (-1) are no surprise to anybody."""
    joins = tx < 0
    if estimate.timeline is None:
        wave = estimate.wave_of
        start, end = wave[tx].astype(np.float64), wave[tx] + 1.0
    else:
        start, end = estimate.timeline.start[tx], estimate.timeline.end[tx]
    start[joins], end[joins] = np.inf, -np.inf
    return start, end.astype(np.float64)


class DataflowJob(MicroOpJob):
    """Tasks claimed in turn, each handed on by whom it waits for."""

    name = "dataflow"

    def prepare(self) -> None:
        """Buffers for all workers."""
        block, n = self.block, len(self.block.footprint_keys)
        self.space = self.parallel = Workspace(
            block, self.gas, workers=self.workers, layout="sums", cells=start_cells(self.workers), timed=self.timed,
            engine=self.engine,
        )  # fmt: skip
        program = self.space.program
        locks = np.zeros(len(program.shared_keys), np.int32)
        indptr, keys, modes = self.space.footprint
        self.shared = Shared(program.shared_keys, program.shared, locks, indptr, keys, modes)
        self.counters = np.zeros((self.workers, PAD), np.int64)
        self.chunk = self.claim_size(_CHUNK_WORK, _CHUNK_MOST)
        self.batch = min(_BATCH_MOST, _BATCH * self.workers)
        #: The serial job that stands in where several workers cannot gain anything, once made; and whether it does now.
        self._serial: SerialJob | None = None
        self.alone = False
        self.epoch = 0
        self._sampler = PathSampler(block)
        state, following, passed, ready = (np.zeros(block.n_tx, np.int32) for _ in range(4))
        no_flags, no_times = read_only(np.zeros(0, bool)), read_only(np.zeros(0))
        no_indptr, no_keys, no_modes = inputs(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.uint8))
        self._unknown = Flow(
            self.space.block_order, np.zeros(block.n_tx + 1, np.int64), np.empty(2 * n + 1, np.int32), no_flags,
            no_times, no_times, no_indptr, no_keys, no_modes, state, following, passed, np.zeros(0, bool), ready,
            np.zeros(block.n_keys * KEY_COLUMNS, np.int32), np.empty(2 * n, np.int32),
        )  # fmt: skip

    def plan(self) -> None:
        """Whether several workers can gain anything, and with a schedule who waits for whom; without, a run finds that out.

        With all dependencies known a run is faster, but finding them beforehand takes longer than it saves: so this is for
        those who plan anyway. A schedule's timeline, if it has one, is the order of claiming.
        """
        order = self.parallel.in_order(self.order)
        self._decide(order)
        if self.alone:
            self.serial.plan()
            return
        flow = self._unknown._replace(task_tx=order)
        line = None if self.schedule is None else self.schedule.timeline
        if self.workers == 1 and line is None:  # in the promised order nobody is left to wait for
            nobody = Tasks(order, np.zeros(len(order) + 1, np.int64), np.zeros(0, np.int32))
            flow = _known(nobody, flow)
        elif self.schedule is not None:
            flow = _known(tasks_of(dependencies(self.promised), order, None if line is None else line.start), flow)
            if self.schedule.proved_for is not self.block:
                start, end = estimated_times(self.schedule, flow.task_tx)
                flow = flow._replace(start=read_only(start), end=read_only(end))
        elif self.access is not None and self.access.exact_for is not self.block:
            indptr, keys, modes = inputs(self.access.indptr, self.access.keys, self.access.modes)
            flow = flow._replace(hint_indptr=indptr, hint_keys=keys, hint_modes=modes)
        self.flow = flow._replace(put_off=np.zeros(len(flow.task_tx), bool))

    def _decide(self, order: NDArray[np.int32]) -> None:
        """Whether several workers can gain anything."""
        program = self.parallel.program
        total = program.total_work
        self.alone, self.reason = False, f"guessed work {total / 1e3:.0f} us on {self.workers} workers"
        if self.workers == 1:
            return
        if total < LEAST_WORK:
            self.alone = True
            self.reason = f"serial: guessed work {total / 1e3:.1f} us, less than {LEAST_WORK / 1e3:.0f}"
            return
        share = (self.shares or self._sampler.shares(order, program.work))[0]
        path = share * int(program.work.sum()) + program.hash_work / self.workers
        gain = total / path if path > 0 else float(self.workers)
        if gain < LEAST_GAIN:
            self.alone = True
            self.reason = f"serial: dependencies allow some {gain:.2f} times serial speed, less than {LEAST_GAIN}"

    @property
    def serial(self) -> SerialJob:
        """The serial job that stands in."""
        if self._serial is None:
            self._serial = SerialJob(self.block, self.gas, timed=self.timed, engine=self.engine)
        self._serial.schedule = self.schedule
        return self._serial

    def reset(self) -> None:
        """State before the block, nobody waiting."""
        if self.alone:
            self.serial.reset()
            return
        self.parallel.reset()
        self.counters[:] = 0
        self.shared.locks[:] = 0
        for array in (self.flow.state, self.flow.passed, self.flow.put_off):
            array[:] = 0

    def run(self) -> tuple[dict[str, int], dict[str, int]]:
        """Run all tasks in one parallel region, or serially where that was decided."""
        if self.alone:
            self.space = self.serial.space
            return self.serial.run()
        self.space = self.parallel
        self.epoch += 1
        if self.epoch == _EPOCHS:  # numbers of runs would wrap around
            self.epoch = 1
            self.flow.key_rows[:] = 0
        arguments = (
            self.workers, self.threads, self.chunk, self.batch, np.int32(self.epoch), self.flow, self.shared, self.counters,
            *self.space.context(),
        )  # fmt: skip
        _, timings = launch(run_dataflow, arguments, self.space, threads=self.workers)
        counts = dict(zip(COUNTS, self.counters.sum(axis=0).tolist()))
        timings["cpu_ns"] = counts["cpu_ns"]
        counters = self.counted(
            workers=self.workers, waits=counts["handed"], runtime_conflicts=counts["conflicts"], requeued=counts["put_off"]
        )
        return counters, timings
