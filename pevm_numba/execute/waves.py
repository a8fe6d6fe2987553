"""Barrier waves on all threads. No estimate is trusted: a transaction never starts before its predecessors have finished.

Before the first wave one linear pass over the footprints compares the plan with what the transactions could touch; a
transaction that the plan would start too early is put off (`requeued`) and the accesses that would have collided are
counted (`runtime_conflicts`). Nothing runs twice, so wrong estimates cost waves, never results. Only a schedule that this
package made from the exact access sets of the very same block goes without that pass.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .._kernels import policies as _k
from .._kernels.jit import inputs
from .._kernels.waves import WAVES_CELLS, run_waves
from ..access.sets import AccessSets
from ..block import Block
from ..engines.shapes import by_shape
from ..schedule.plan import Schedule
from ..schedule.policies import schedule
from .launch import all_threads_ns, launch
from .micro_op_job import MicroOpJob
from .program import footprint_of
from .workspace import Workspace

__all__ = ["LEAST_WORK", "Latest", "WavesJob", "settle"]

#: Guessed work in nanoseconds below which a wave runs on one thread: a parallel region costs 2-4 microseconds to launch.
LEAST_WORK: Final = 8_000


class Latest:
    """Scratch of `settle`: the latest waves of each key, kept so that nothing has to be cleared for the next one.

    Parameters
    ----------
    block : Block
    """

    def __init__(self, block: Block) -> None:
        self._rows, self._planned = np.zeros((block.n_keys, 4), np.int32), np.empty((block.n_keys, 4), np.int32)
        self._base, self._step = 0, 2 * block.n_tx + 2

    def rows(self) -> tuple[np.int32, NDArray[np.int32], NDArray[np.int32]]:
        """A number above all entries, from which a call counts its waves; the entries; scratch for those of the plan."""
        if self._base > 2**31 - 1 - 2 * self._step:
            self._rows[:], self._base = 0, 0
        base = np.int32(self._base)
        self._base += self._step
        return base, self._rows, self._planned


def settle(
    block: Block, schedule: Schedule, latest: Latest | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int32], int, int]:
    """Waves that keep every conflicting pair of the footprints in the promised order, as near the schedule as possible.

    Parameters
    ----------
    block : Block
    schedule : Schedule
    latest : Latest, optional
        To save making one.

    Returns
    -------
    wave_indptr : (n_waves + 1,) int64
    wave_tx : (n_tx,) int32
    runtime_conflicts, requeued : int
    """
    if schedule.proved_for is block:
        return schedule.wave_indptr, schedule.wave_tx, 0, 0
    wave = np.empty(block.n_tx, np.int32)
    plan = inputs(schedule.serial_order, schedule.wave_indptr, schedule.wave_tx)
    scratch = (Latest(block) if latest is None else latest).rows()
    n_waves, conflicts, put_off = _k.repair(*plan, *footprint_of(block), *scratch, wave)
    if put_off == 0:
        return schedule.wave_indptr, schedule.wave_tx, 0, 0
    start, tx = np.zeros(n_waves + 2, np.int64), np.empty(block.n_tx, np.int32)
    _k.group_by_wave(*inputs(schedule.serial_order, wave), start, tx)
    return np.unique(start[:-1]), tx, int(conflicts), int(put_off)  # a wave that was emptied vanishes


class WavesJob(MicroOpJob):
    """Wave after wave, a barrier between."""

    name = "waves"

    def prepare(self) -> None:
        """Buffers for all workers."""
        self.space = Workspace(
            self.block, self.gas, workers=self.workers, layout="sums", cells=WAVES_CELLS, timed=self.timed,
            engine=self.engine,
        )  # fmt: skip
        self._latest = Latest(self.block)
        self._groups: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]] | None = None

    def plan(self) -> None:
        """The schedule's waves, or levels of the access sets."""
        access = AccessSets.footprint(self.block) if self.access is None else self.access
        self.waves = schedule(access, "levels") if self.schedule is None else self.schedule

    def _grouped(self, wave_indptr: NDArray[np.int64], wave_tx: NDArray[np.int32]) -> NDArray[np.int32]:
        """The same waves with transactions of one shape beside each other, worked out once for the same waves."""
        found = self._groups
        if found is None or not (np.array_equal(found[0], wave_indptr) and np.array_equal(found[1], wave_tx)):
            found = self._groups = wave_indptr, wave_tx, by_shape(wave_indptr, wave_tx, self.space.program.shapes)
        return found[2]

    def run(self) -> tuple[dict[str, int], dict[str, int]]:
        """Check the waves, then run them; the check counts as execution, since it is what guards against estimates."""
        start = perf_counter_ns()
        wave_indptr, wave_tx, conflicts, put_off = settle(self.block, self.waves, self._latest)
        program, space = self.space.program, self.space
        total = np.zeros(len(wave_tx) + 1, np.int64)
        np.cumsum(program.work[wave_tx], out=total[1:])
        plan = inputs(wave_indptr, np.diff(total[wave_indptr]))
        if self.engine.group:
            wave_tx = self._grouped(wave_indptr, wave_tx)
        checked = perf_counter_ns() - start
        arguments = (
            self.workers, self.threads, *plan, LEAST_WORK, program.hash_work, program.shared_keys, program.shared,
            *space.footprint, *inputs(wave_tx), *space.context(),
        )  # fmt: skip
        launched, timings = launch(run_waves, arguments, space, threads=self.workers, clock=all_threads_ns)
        timings["execute_ns"] += checked
        counters = self.counted(
            workers=self.workers, runtime_conflicts=conflicts, requeued=put_off, waves=len(wave_indptr) - 1,
            parallel_waves=launched,
        )  # fmt: skip
        return counters, timings
