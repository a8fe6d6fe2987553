"""Block-STM: transactions run before it is known what they depend on, and again if that turns out wrong.

Access sets are hints: whoever meets a key that they say an earlier, not yet executed transaction will change, waits for it
instead of speculating. When too much is thrown away, the block is run by dataflow instead (`fallback`).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from .._kernels.control import ERROR, PAD
from .._kernels.jit import inputs, read_only
from .._kernels.optimistic import COUNTS, GAVE_UP, Queue, optimistic_cells, run_optimistic
from .._kernels.versions import Versions, chain_entries
from ..access.sets import AccessSets
from ..machine.ops import Mode
from .dataflow import DataflowJob
from .job import COUNTERS
from .launch import launch
from .micro_op_job import MicroOpJob
from .program import reads_behind_credits
from .workspace import Workspace

__all__ = ["FREE_SHARE", "LARGEST_SHARE", "LONGEST_WALKS", "SLACK", "OptimisticJob"]

#: Results thrown away, as a share of the transactions begun, above which the block is run otherwise; so many are free, and
#: such a share of the block: threads that start one after the other, up to 4 ms apart, make one avalanche of early reads.
LARGEST_SHARE: Final = 0.25
SLACK: Final = 64
FREE_SHARE: Final = 1 / 16

#: Credits that reads may have to add up, for each entry of the footprint, above which dataflow runs the block: each reader
#: walks over all credits since the last write.
LONGEST_WALKS: Final = 4

#: Guessed nanoseconds of work that a worker claims at a time, and the most transactions.
_CHUNK_WORK: Final = 4_000
_CHUNK_MOST: Final = 8


class OptimisticJob(MicroOpJob):
    """Block-STM on all workers."""

    name = "optimistic"

    def prepare(self) -> None:
        """Buffers for all workers, one row for each entry of the footprint among them."""
        block = self.block
        self.space = self.versioned = Workspace(
            block, self.gas, workers=self.workers, layout="entries", cells=optimistic_cells(self.workers), timed=self.timed,
            engine=self.engine,
        )  # fmt: skip
        self.counters = np.zeros((self.workers, PAD), np.int64)
        n = len(block.footprint_keys)
        self.cells, self.seen = self.space.zeros((n, 4), np.uint64), np.zeros((n, 4), np.uint64)
        self.state, self.contended = np.zeros(block.n_tx, np.int32), np.zeros(block.n_keys, np.int32)
        self._free_ring = np.arange(1 << (block.n_tx + self.workers).bit_length(), dtype=np.int64) << 32
        ring = self._free_ring.copy()
        waiting, following = np.zeros(block.n_tx, np.int32), np.zeros(block.n_tx, np.int32)
        self.queue = Queue(waiting, following, ring, np.zeros(block.n_keys, np.int32))
        self.chunk = self.claim_size(_CHUNK_WORK, _CHUNK_MOST)
        self.instead: DataflowJob | None = None

    def plan(self) -> None:
        """Link the possible versions of each key in the promised order, and mark those that an estimate names."""
        block, n = self.block, len(self.block.footprint_keys)
        tx_of, before, after = (np.empty(n, np.int32) for _ in range(3))
        place, follows = np.empty(block.n_tx, np.int32), np.zeros(block.n_tx, bool)
        last, latest = np.full(block.n_keys, -1, np.int32), np.full(block.n_keys, -1, np.int32)
        order, (indptr, keys, modes) = self.versioned.in_order(self.order), self.versioned.footprint
        chain_entries(order, indptr, keys, modes, latest, tx_of, place, before, after, last, follows)
        tx_of, place, before, after, last, follows = inputs(tx_of, place, before, after, last, follows)
        self.versions = Versions(
            indptr, keys, modes, tx_of, place, before, after, last, follows, read_only(self._hints()),
            read_only(block.pre_values), self.cells, self.seen, self.state, self.contended,
        )  # fmt: skip
        self.instead = None
        walks = reads_behind_credits(block, order)
        self.declined = walks > LONGEST_WALKS * n
        self._why = f"dataflow: reads would add up {walks:,} credits" if self.declined else ""

    def _hints(self) -> np.ndarray:
        """Whether each entry of the footprint is estimated to change its key; empty without an estimate."""
        if self.access is None:
            return np.zeros(0, bool)
        block, access = self.block, self.access
        if access.exact_for is block:
            return block.footprint_modes != Mode.READ
        writes = access.modes != Mode.READ
        tx = np.repeat(np.arange(block.n_tx), np.diff(access.indptr))[writes]
        known = tx * block.n_keys + access.keys[writes]
        mine = AccessSets.footprint(block)
        own = np.repeat(np.arange(block.n_tx), np.diff(mine.indptr)) * block.n_keys + mine.keys
        found: np.ndarray = np.isin(own, known) & (mine.modes != Mode.READ)
        return found

    def reset(self) -> None:
        """State before the block, nothing run or waiting."""
        self.versioned.reset()
        self.counters[:] = 0
        self.state[:] = 0
        self.contended[:] = 0
        for array in (self.queue.waiting, self.queue.following, self.queue.reach):
            array[:] = 0
        self.queue.ring[:] = self._free_ring
        if self.instead is not None:
            self.instead.reset()

    def run(self) -> tuple[dict[str, int], dict[str, int]]:
        """Run speculatively; by dataflow, from the start, if that is given up or declined."""
        self.reason = self._why
        if self.declined:
            return self._otherwise(dict.fromkeys(COUNTERS, 0), {"execute_ns": 0, "cpu_ns": 0})
        self.space = self.versioned
        slack = SLACK + int(FREE_SHARE * self.block.n_tx)
        arguments = (
            self.workers, self.threads, self.chunk, slack, LARGEST_SHARE, self.versions, self.queue,
            self.space.in_order(self.order), self.space.values, self.counters, *self.space.context(self.cells),
        )  # fmt: skip
        _, timings = launch(run_optimistic, arguments, self.space, threads=self.workers)
        counts = dict(zip(COUNTS, self.counters.sum(axis=0).tolist()))
        timings["cpu_ns"] = counts.pop("cpu_ns")
        counters = self.counted(workers=self.workers, **counts)
        counters["reexecuted"] = max(0, counters["executions"] - self.block.n_tx)
        if self.space.control[ERROR] != GAVE_UP:
            return counters, timings
        self.reason = f"dataflow, after {counters['aborts']:,} results had been thrown away"
        return self._otherwise(counters, timings)

    def _otherwise(self, counters: dict[str, int], timings: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
        """Run by dataflow; what was thrown away counts too."""
        if self.instead is None:
            self.instead = DataflowJob(
                self.block, self.gas, workers=self.workers, schedule=self.schedule, access=self.access, timed=self.timed,
                engine=self.engine,
            )  # fmt: skip
            self.instead.plan()
        more, times = self.instead.run()
        self.space = self.instead.space
        for name in ("executions", "waits", "runtime_conflicts", "requeued"):
            counters[name] += more[name]
        counters |= {"fallback": 1, "reexecuted": counters["executions"] - self.block.n_tx}
        counters["workers"] = max(counters["workers"], more["workers"])
        return counters, {name: timings[name] + times[name] for name in timings}
