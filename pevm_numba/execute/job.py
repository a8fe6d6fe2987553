"""What every executor is to those who run and measure it: a plan, buffers to reset, and one run at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from .._kernels.jit import most_threads
from ..access.sets import AccessSets
from ..block import Block
from ..machine.gas import GasSchedule
from ..schedule.plan import Schedule
from .workspace import Workspace

__all__ = ["COUNTERS", "Job"]

#: Counters of an execution, the same for every executor; what has no meaning for one is 0.
COUNTERS: Final = {
    "workers": "workers that were launched: 1 where launching more could not pay",
    "executions": "runs of transactions, those whose result was thrown away included",
    "reexecuted": "runs beyond one for each transaction",
    "validations": "checks whether what a transaction read is still so",
    "aborts": "results that a validation threw away",
    "waits": "times that a transaction was found waiting for an earlier one",
    "runtime_conflicts": "accesses that estimate or schedule would have run, or did find, before a predecessor was done",
    "requeued": "transactions put off because of those",
    "waves": "waves run",
    "parallel_waves": "waves run on several threads",
    "fallback": "1 if the executor gave up its own way and ran the block by another",
}


class Job(ABC):
    """One executor on one block, with everything that it needs for any number of runs.

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
    timed : bool
        Whether to note when each transaction ran.
    """

    name: ClassVar[str]
    space: Workspace

    def __init__(
        self,
        block: Block,
        gas: str | GasSchedule | None = None,
        *,
        workers: int = 1,
        schedule: Schedule | None = None,
        access: AccessSets | None = None,
        timed: bool = False,
    ) -> None:
        self.block, self.gas, self.workers, self.timed = block, gas, workers, timed
        #: How many of Numba's threads run the workers.
        self.threads = min(workers, most_threads())
        #: What `plan` goes by; may be set anew.
        self.schedule, self.access = schedule, access
        #: Shares of the longest paths, if somebody has looked already; see `PathSampler.shares`.
        self.shares: tuple[float, float] | None = None
        #: Why it runs as it does, for people.
        self.reason = ""
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Make what depends on block, prices and workers only: encoded programs, buffers."""

    @abstractmethod
    def plan(self) -> None:
        """Decide when what may run, from schedule and access sets, or work out what a run needs to know of their order.

        Needed before the first run, and after `schedule` or `access` is set anew.
        """

    def reset(self) -> None:
        """Make ready for a run."""
        self.space.reset()

    @abstractmethod
    def run(self) -> tuple[dict[str, int], dict[str, int]]:
        """Run once, planned and after a reset; returns counters and timings.

        Raises
        ------
        ExecutionError
            If a worker reports an error.
        """

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
        zeros = dict.fromkeys(COUNTERS, 0) | {"workers": 1, "executions": self.block.n_tx}
        return zeros | {name: int(value) for name, value in counters.items()}
