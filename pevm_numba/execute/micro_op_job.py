"""What every executor of micro-ops has: encoded programs, buffers to reset, and a footprint known before it runs."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels.jit import most_threads
from ..access.block_list import BlockAccessList
from ..access.sets import AccessSets
from ..block import Block
from ..engines.engine import Engine
from ..evm.lazy import Fetches
from ..keys import KeyTable, StateChange
from ..machine.gas import GasSchedule
from ..schedule.plan import Schedule
from .job import COUNTERS, Job, Outcome
from .result import Execution, TxTimes
from .workspace import Workspace

__all__ = ["MicroOpJob", "changed_state"]


def changed_state(block: Block, values: NDArray[np.uint64]) -> StateChange:
    """Keys of a block whose values, (n_keys, 4) uint64, differ from those before it."""
    k = np.flatnonzero((values != block.pre_values).any(axis=1))
    keys = KeyTable(block.key_address[k], block.key_field[k], block.key_slot[k])
    return StateChange(keys, np.ascontiguousarray(values[k]).view(np.uint8)[:, ::-1].copy())


class MicroOpJob(Job):
    """One executor on one block of micro-ops.

    Parameters
    ----------
    block : Block
    gas : str, GasSchedule or None
    workers : int
        Largest number of workers.
    schedule : Schedule or None
        Whose serial order is promised; block order without one.
    access : AccessSets or None
        An estimate; exact without one.
    access_list : BlockAccessList or None
        What ``bal`` runs from.
    timed : bool
        Whether to note when each transaction ran.
    engine : Engine or None
        What runs programs; the interpreter without one.
    """

    block: Block
    space: Workspace

    def __init__(
        self,
        block: Block,
        gas: str | GasSchedule | None = None,
        *,
        workers: int = 1,
        schedule: Schedule | None = None,
        access: AccessSets | None = None,
        access_list: BlockAccessList | None = None,
        timed: bool = False,
        engine: Engine | None = None,
    ) -> None:
        self.block, self.gas, self.workers, self.timed = block, gas, workers, timed
        self.engine = Engine() if engine is None else engine
        #: How many of Numba's threads run the workers.
        self.threads = min(workers, most_threads())
        self.schedule, self.access, self.access_list = schedule, access, access_list
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Make what depends on block, prices and workers only: encoded programs, buffers."""

    def reset(self) -> None:
        """Make ready for a run."""
        self.space.reset()

    def bare(self) -> None:
        """Nothing to leave out: what was accessed is worked out from the receipts, in `collect`."""

    @property
    def order(self) -> NDArray[np.int32] | None:
        """The serial order that is promised; None for that of the block."""
        return None if self.schedule is None else self.schedule.serial_order

    @property
    def promised(self) -> AccessSets:
        """The footprint of each transaction, in the promised order."""
        footprint = AccessSets.footprint(self.block)
        return footprint if self.order is None else footprint.reordered(self.order)

    def claim_size(self, nanoseconds: int, most: int) -> int:
        """How many transactions a worker claims at a time: about so much guessed work, and enough claims for all."""
        n, work = self.block.n_tx, int(self.space.program.work.sum())
        most = max(1, min(most, n // (4 * self.workers)))
        return int(np.clip(nanoseconds * n // max(1, work), 1, most))

    def counted(self, **counters: Any) -> dict[str, int]:
        """All counters, in one order; those not named are 0, and each transaction ran once."""
        attached = self.space.attached
        compiled = 0 if attached is None else attached.n_compiled_tx
        zeros = dict.fromkeys(COUNTERS, 0) | {"workers": 1, "executions": self.block.n_tx, "compiled": compiled}
        return zeros | {name: int(value) for name, value in counters.items()}

    def outcome(self) -> Outcome:
        """Nothing is ever fetched: all keys are known."""
        gas = int(self.space.receipts.gas_used.sum())
        return Outcome(gas, changed_state(self.block, self.space.values), Fetches())

    def collect(self, counters: dict[str, int], timings: dict[str, int], reason: str = "") -> Execution:
        """The execution that the buffers hold after a run; the job may be reset and run again."""
        space = self.space
        kept = [name for name in space.receipts._fields if name != "sink"]
        arrays: dict[str, Any] = {name: getattr(space.receipts, name).copy() for name in kept}
        arrays["values"] = space.values.copy()
        for array in arrays.values():
            array.flags.writeable = False
        times = _times(space) if self.timed else None
        summary = "" if space.attached is None else space.attached.summary
        reason = "; ".join(text for text in (reason, self.reason, summary) if text)
        return Execution(
            self.block, self.name, self.schedule, **arrays, counters=counters, timings=timings, times=times, reason=reason
        )


def _times(space: Workspace) -> TxTimes:
    times = space.times
    first = times.begin.min(initial=2**63 - 1)
    found = TxTimes(times.begin - first, times.end - first, times.worker.copy(), times.runs.copy(), space.workers)
    for array in (found.start, found.end, found.worker, found.runs):
        array.flags.writeable = False
    return found
