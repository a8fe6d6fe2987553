"""What every executor is to those who run and measure it, on either machine: a plan, and one run at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final, NamedTuple

from ..access.sets import AccessSets
from ..evm.block import AnyBlock
from ..evm.lazy import Fetches
from ..keys import StateChange
from ..schedule.plan import Schedule

__all__ = ["COUNTERS", "Job", "Outcome"]

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
    "compiled": "transactions whose programs have compiled code of their own, which runs instead of the interpreter",
    "fallback": "1 if the executor gave up its own way and ran the block by another",
}


class Outcome(NamedTuple):
    """What of a block counts for those after it: its gas, what it has changed, and what had to be fetched on the way."""

    gas_used: int
    change: StateChange
    fetches: Fetches


class Job(ABC):
    """One executor on one block, with everything that it needs for any number of runs; made by `Machine.job`.

    `plan` goes by `schedule` and `access`, which may be set anew; `access_list` is what ``bal`` runs from.
    """

    block: AnyBlock
    name: str
    workers: int
    schedule: Schedule | None
    access: AccessSets | None
    access_list: Any
    #: What `Machine.pick` has found out already; see `Choice`.
    shares: tuple[float, float] | None = None
    #: Why it runs as it does, for people.
    reason: str = ""

    @abstractmethod
    def plan(self) -> None:
        """Decide when what may run, from schedule and access sets, or work out what a run needs to know of their order.

        Needed before the first run, and after `schedule` or `access` is set anew.
        """

    @abstractmethod
    def reset(self) -> None:
        """Make ready for a run."""

    @abstractmethod
    def run(self) -> tuple[dict[str, int], dict[str, int]]:
        """Run once, planned and after a reset; returns counters (`COUNTERS`) and timings.

        Raises
        ------
        ExecutionError
            If a worker reports an error.
        AccessListError
            If an access list does not say what the transactions do.
        """

    @abstractmethod
    def outcome(self) -> Outcome:
        """What the last run, which may be bare, comes to for later blocks. Lists are compared no further than `run` did."""

    @abstractmethod
    def collect(self, counters: dict[str, int], timings: dict[str, int], reason: str = "") -> Any:
        """The execution that the buffers hold after a run; the job may be reset and run again.

        Raises
        ------
        ExecutionError
            If the job is bare and has kept no record.
        """

    @abstractmethod
    def bare(self) -> None:
        """From now on serial runs need keep only what running takes, for a baseline that owes nobody an outcome."""
