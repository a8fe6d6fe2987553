"""The machine of micro-ops, as `execute.machine` has it."""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import door, joining
from ..access.block_list import BlockAccessList
from ..access.eip7928 import Eip7928List
from ..access.sets import AccessSets
from ..block import Block
from ..engines.engine import Engine
from ..errors import BlockError
from ..keys import KeyTable, StateChange
from ..machine.gas import GasSchedule
from ..schedule.plan import Schedule
from ..storage.base import StateStore
from .auto import pick
from .bal import BalJob
from .dataflow import DataflowJob
from .launch import launch
from .machine import Choice, Machine
from .micro_op_job import MicroOpJob, changed_state
from .optimistic import OptimisticJob
from .program import hash_share
from .result import Changes, Execution
from .serial import SerialJob
from .waves import WavesJob
from .workspace import Workspace

__all__ = ["JOBS", "MicroOps", "timed_serial"]

JOBS: Final[dict[str, type[MicroOpJob]]] = {
    job.name: job for job in (SerialJob, WavesJob, DataflowJob, OptimisticJob, BalJob)
}


class MicroOps(Machine):
    """Programs of nine ops on keys that are known beforehand."""

    block_type = Block

    def check(self, block: Block, *, schedule: Schedule | None, access: AccessSets | None, gas: Any) -> None:
        """Estimates must be about the block's keys."""
        if access is not None and (access.n_tx, access.n_keys) != (block.n_tx, block.n_keys):
            raise BlockError(
                f"access sets of {access.n_tx} transactions and {access.n_keys} keys: "
                f"the block has {block.n_tx} and {block.n_keys}"
            )

    def pick(
        self, block: Block, workers: int, *, schedule: Schedule | None = None, access: AccessSets | None = None,
        access_list: Any = None, gas: Any = None,
    ) -> Choice:  # fmt: skip
        """By expected times: see `auto.pick`."""
        order = None if schedule is None else schedule.serial_order
        return pick(block, workers, order=order, gas=gas, listed=access_list is not None)

    def hints(
        self, block: Block, executor: str, *, schedule: Schedule | None = None, access: AccessSets | None = None,
        access_list: Any = None, gas: Any = None,
    ) -> dict[str, Any]:  # fmt: skip
        """A list for ``bal``; all else is known from the programs."""
        if executor == "bal":
            if access_list is None:
                access_list = self.with_changes(_serial(block, gas, schedule), gas).block_access_list()
            if isinstance(access_list, Eip7928List):
                access_list.check(n_tx=block.n_tx)
            else:
                door.instance("access_list", access_list, BlockAccessList, " or an Eip7928List")
        return {"access": access, "access_list": access_list}

    def job(
        self, block: Block, executor: str, gas: str | GasSchedule | None = None, *, workers: int = 1,
        schedule: Schedule | None = None, access: AccessSets | None = None, access_list: Any = None,
        cost: NDArray[Any] | None = None, timed: bool = False, engine: Engine | None = None,
    ) -> MicroOpJob:  # fmt: skip
        """One of `JOBS`; costs are guessed from the programs, whatever `cost` says."""
        return JOBS[executor](
            block, gas, workers=workers, schedule=schedule, access=access, access_list=access_list, timed=timed,
            engine=engine,
        )  # fmt: skip

    def with_changes(self, result: Execution, gas: str | GasSchedule | None) -> Execution:
        """Run once more, serially, noting changes; the receipts must be those of the first run."""
        job = SerialJob(result.block, gas, schedule=result.schedule)
        order = job.space.in_order(job.order)
        kernel, arguments = job.space.changes_call(order)
        total, _ = launch(kernel, arguments, job.space, threads=0)
        indptr, keys, values = arguments[3:6]
        result.check_equal(job.collect({}, {}))
        inverse = np.empty(len(order), np.int64)
        inverse[order] = np.arange(len(order))
        offsets, places = door.take_ranges(indptr, inverse)
        changes = Changes(offsets, keys[:total][places], values[:total][places])
        for array in (changes.indptr, changes.keys, changes.values):
            array.flags.writeable = False
        arrays = {name: getattr(result, name) for name in Execution.__dataclass_fields__}
        return Execution(**(arrays | {"changes": changes}))

    def on_store(self, block: Block, store: StateStore, ahead: Any = None) -> Block:
        """All its keys are known beforehand, and read at once."""
        words = store.get_many(KeyTable(block.key_address, block.key_field, block.key_slot))
        state = {"state_key": np.arange(block.n_keys), "state_value": words[:, ::-1].copy().view(np.uint64)}
        columns = joining.slice_columns(block, 0, block.n_tx) | state
        return Block.from_arrays(number=block.number, fork=block.fork, header=block.header, meta=block.meta, **columns)

    def change(self, result: Execution) -> StateChange:
        """Keys whose values differ from those before."""
        return changed_state(result.block, result.values)

    def transaction_ns(self, block: Block, order: NDArray[np.int32] | None = None, repeat: int = 1) -> NDArray[np.int64]:
        """Payloads are hashed before the first transaction; each one's share of that is in its time."""
        space, times = Workspace(block, timed=True), np.empty((repeat, block.n_tx), np.int64)
        timed_serial(space, order)
        for row in times:
            space.reset()
            begin, end = timed_serial(space, order)
            np.subtract(end, begin, out=row)
        return times

    def facts(self, block: Block, reference: Execution) -> dict[str, Any]:
        """Of the programs; giving ids to one raw key row for each of their accesses is timed, best of three."""
        keys, chain = block.op_key[block.op_key >= 0], block.chain_gas_used
        rows, times = (block.key_address[keys], block.key_field[keys], block.key_slot[keys]), []
        for _ in range(3):
            start = perf_counter_ns()
            door.intern_rows(*rows)
            times.append(perf_counter_ns() - start)
        exact = None if chain is None else int(np.count_nonzero(chain == reference.gas_used))
        return {"n_ops": block.n_ops, "n_keys": block.n_keys, "chain_gas_exact": exact, "intern_ms": min(times) / 1e6}


def _serial(block: Block, gas: str | GasSchedule | None, schedule: Schedule | None) -> Execution:
    job = SerialJob(block, gas, schedule=schedule)
    return job.collect(*job.run())


def timed_serial(
    space: Workspace, order: NDArray[np.int32] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Run serially and return when each transaction began and ended, in nanoseconds from an arbitrary zero.

    All payloads are hashed before the first transaction; each one's share of that time, by permutations, is added to its end.

    Parameters
    ----------
    space : Workspace
        Timed, and reset.
    order : (n_tx,) int32, optional
        Default block order.
    """
    hashing, _ = launch(*space.serial_call(order), space, threads=0)
    return space.times.begin.copy(), space.times.end + hash_share(space.block, int(hashing))
