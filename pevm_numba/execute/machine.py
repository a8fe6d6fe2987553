"""Where the machines meet: whoever runs, measures or compares blocks asks the block's machine for jobs, and knows no more.

A machine encodes a block and runs its transactions, each on whatever view of the storage the executor gives it, into
receipts and observed access sets. How the view is reached is the machine's own affair: micro-ops know their keys beforehand
and take so little time that the view is compiled in (a call through a pointer would cost more than a transaction); code of
the EVM meets its keys as it runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ..access.sets import AccessSets
from ..engines.engine import Engine
from ..keys import StateChange
from ..schedule.plan import Schedule
from ..storage.base import StateStore
from .job import Job

__all__ = ["EXECUTORS", "PARALLEL", "Choice", "Machine"]

#: Executors that every machine has, but for ``auto``, which picks one.
PARALLEL: Final = ("waves", "dataflow", "optimistic", "bal")
EXECUTORS: Final = ("auto", "serial", *PARALLEL)


@dataclass(frozen=True)
class Choice:
    """What was picked, why, and what is known of the block since.

    Parameters
    ----------
    executor : str
    reason : str
    shares : tuple of float or None
        See `PathSampler.shares`; None if nobody looked.
    """

    executor: str
    reason: str
    shares: tuple[float, float] | None = None


class Machine(ABC):
    """What runs blocks of one kind. Blocks, lists and executions are those of the machine; all else is common."""

    #: The blocks that it runs.
    block_type: ClassVar[type]

    @abstractmethod
    def check(self, block: Any, *, schedule: Schedule | None, access: AccessSets | None, gas: Any) -> None:
        """Refuse arguments of `execute` that do not fit the block.

        Raises
        ------
        BlockError
        """

    @abstractmethod
    def pick(
        self, block: Any, workers: int, *, schedule: Schedule | None = None, access: AccessSets | None = None,
        access_list: Any = None, gas: Any = None,
    ) -> Choice:  # fmt: skip
        """The executor that ``auto`` takes, and why."""

    @abstractmethod
    def hints(
        self, block: Any, executor: str, *, schedule: Schedule | None = None, access: AccessSets | None = None,
        access_list: Any = None, gas: Any = None,
    ) -> dict[str, Any]:  # fmt: skip
        """What a job takes as `access`, `access_list`, `cost`: as given, or made by a serial run where it cannot do without.

        Raises
        ------
        BlockError
            If the access list for ``bal`` is none of this machine's.
        AccessListError
            If it is for another number of transactions.
        """

    @abstractmethod
    def job(
        self, block: Any, executor: str, gas: Any = None, *, workers: int = 1, schedule: Schedule | None = None,
        access: AccessSets | None = None, access_list: Any = None, cost: NDArray[Any] | None = None, timed: bool = False,
        engine: Engine | None = None,
    ) -> Job:  # fmt: skip
        """The block encoded for an executor, with its buffers.

        Parameters
        ----------
        block
        executor : str
            One of `EXECUTORS` but ``auto``.
        gas : str or GasSchedule, optional
        workers : int
        schedule, access, access_list
            As in `execute`.
        cost : (n_tx,) numbers, optional
            What is known of the times that transactions take: a hint, for machines that cannot guess them.
        timed : bool
            Whether to note when each transaction runs.
        engine : Engine, optional
            What runs programs; default the interpreter.

        Raises
        ------
        BlockError
            If the machine has no such engine.
        """

    @abstractmethod
    def with_changes(self, result: Any, gas: Any) -> Any:
        """The same execution with each transaction's net changes."""

    @abstractmethod
    def on_store(self, block: Any, store: StateStore, ahead: Any = None) -> Any:
        """The same block, on the state that a store has; what the block itself says of the state before it counts no more.

        `ahead` is what `ahead` has made of it, or of whatever names keys that it needs.
        """

    def ahead(self, block: Any, store: StateStore, listed: Any = None) -> Any:
        """What a block needs of a store, read before it runs: a `Prefetched`; None where all keys are known anyway."""
        return None

    @abstractmethod
    def change(self, result: Any) -> StateChange:
        """What an execution has changed of the state."""

    @abstractmethod
    def transaction_ns(self, block: Any, order: NDArray[np.int32] | None = None, repeat: int = 1) -> NDArray[np.int64]:
        """(repeat, n_tx) nanoseconds of each transaction in serial runs, warm, in block order or the order given."""

    @abstractmethod
    def facts(self, block: Any, reference: Any) -> dict[str, Any]:
        """What reports say of a block, given a serial execution of it: `n_ops`, `n_keys`, `chain_gas_exact`, `intern_ms`.

        See `fields.FIELDS`; None for what the machine does not know.
        """
