"""The EVM as a machine that runs blocks, as `execute.machine` has it. All executors promise the block's own order."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..access.eip7928 import Eip7928List
from ..access.sets import AccessSets
from ..engines.engine import Engine
from ..errors import AccessListError, BlockError, ExecutionError
from ..evm.block import EvmBlock
from ..evm.forks import Fork
from ..evm.observation import EvmAccessList
from ..keys import StateChange
from ..schedule.plan import Schedule
from ..storage.base import StateStore
from ..storage.prefetch import Prefetched
from ..storage.world import StoreSource
from .evm_job import EvmJob
from .evm_result import EvmExecution
from .machine import Choice, Machine

__all__ = ["EvmMachine"]

#: Transactions for each worker below which sharing a block out is not tried.
_LEAST_TXS: Final = 4


class EvmMachine(Machine):
    """Code of the EVM; its keys are met as it runs."""

    block_type = EvmBlock

    def check(self, block: EvmBlock, *, schedule: Schedule | None, access: AccessSets | None, gas: Any) -> None:
        """Nonces forbid any order but the block's, and its fork decides the prices."""
        if gas is not None:
            raise BlockError(f"gas = {door.shown(gas, 80)}: the fork of an EVM block decides its prices")
        if access is not None and access.n_tx != block.n_tx:
            raise BlockError(f"access sets of {access.n_tx} transactions: the block has {block.n_tx}")
        if schedule is not None and not schedule.block_order:
            raise BlockError(f"schedule by {schedule.policy!r} promises an order of its own: EVM blocks run in block order")

    def pick(
        self, block: EvmBlock, workers: int, *, schedule: Schedule | None = None, access: AccessSets | None = None,
        access_list: Any = None, gas: Any = None,
    ) -> Choice:  # fmt: skip
        """By what is known of the block."""
        if access_list is not None:
            return Choice("bal", "an access list is given")
        if workers < 2 or block.n_tx < _LEAST_TXS * workers:
            return Choice("serial", f"{block.n_tx:,} transactions on {workers} workers: too few to share out")
        if access is not None:
            return Choice("dataflow", "what transactions access is given")
        if schedule is not None:
            return Choice("waves" if schedule.timeline is None else "dataflow", "a schedule is given")
        return Choice("optimistic", "nothing is known of what transactions access")

    def hints(
        self, block: EvmBlock, executor: str, *, schedule: Schedule | None = None, access: AccessSets | None = None,
        access_list: Any = None, gas: Any = None,
    ) -> dict[str, Any]:  # fmt: skip
        """What waves, dataflow and bal have to know beforehand, of a serial run."""
        if access_list is not None:
            if isinstance(access_list, Eip7928List):
                access_list.check(n_tx=block.n_tx)
                if block.env.fork < Fork.BYZANTIUM:  # from Spurious Dragon on, empty accounts go when they are next touched
                    why = "accounts may exist and be empty before Byzantium, which no such list tells"
                    raise AccessListError(f"access_list of a block of {block.fork}: {why}")
            else:
                door.instance("access_list", access_list, EvmAccessList, " or an Eip7928List")
            if isinstance(access_list, EvmAccessList) and access_list.n_tx != block.n_tx:
                raise AccessListError(f"access_list of {access_list.n_tx} transactions: the block has {block.n_tx}")
        unknown = access is None and schedule is None and executor in ("waves", "dataflow")
        if not unknown and (executor != "bal" or access_list is not None):
            return {"access": access, "access_list": access_list}
        job = self.job(block, "serial")
        job.plan()
        first = job.collect(*job.run())
        if executor == "bal":
            return {"access": access, "access_list": first.block_access_list()}
        return {"access": first.observed, "cost": first.gas_used}

    def job(
        self, block: EvmBlock, executor: str, gas: Any = None, *, workers: int = 1, schedule: Schedule | None = None,
        access: AccessSets | None = None, access_list: Any = None, cost: NDArray[Any] | None = None, timed: bool = False,
        engine: Engine | None = None,
    ) -> EvmJob:  # fmt: skip
        """With an interpreter of its own for each job; when transactions ran is always noted."""
        if engine is not None and engine.name != "interpreter":
            raise BlockError(f"engine {engine.name!r}: compiles programs of micro-ops; code of the EVM is interpreted")
        return EvmJob(
            block, executor, workers=workers, schedule=schedule, access=access, access_list=access_list, cost=cost
        )

    def with_changes(self, result: EvmExecution, gas: Any) -> EvmExecution:
        """The same: every execution knows them."""
        return result

    def on_store(self, block: EvmBlock, store: StateStore, ahead: Any = None) -> EvmBlock:
        """Its state is fetched: what the block, its transactions and `ahead` name at once, the rest when first needed."""
        if ahead is not None and not isinstance(ahead, StoreSource):
            ahead = self.ahead(block, store, ahead)
        return EvmBlock(block.env, block.transactions, {}, source=StoreSource(store) if ahead is None else ahead)

    def ahead(self, block: EvmBlock, store: StateStore, listed: Any = None) -> Prefetched:
        """What the block and a list name, in one batch."""
        return Prefetched(store, block, listed)

    def change(self, result: EvmExecution) -> StateChange:
        """System calls and withdrawals included."""
        return result.change

    def transaction_ns(self, block: EvmBlock, order: NDArray[np.int32] | None = None, repeat: int = 1) -> NDArray[np.int64]:
        """In block order, which is the only one."""
        job, times = self._bare(block), np.empty((repeat, block.n_tx), np.int64)
        for row in times:
            job.run()
            row[:] = job.durations()
        return times

    def facts(self, block: EvmBlock, reference: EvmExecution) -> dict[str, Any]:
        """Opcodes executed and keys accessed; gas is known to be the chain's in every transaction if the root is.

        Raises
        ------
        ExecutionError
            If something is not as the block's header and the state after it say.
        """
        found = reference.differences_from_chain()
        if found:
            raise ExecutionError(f"block {block.number}: {found[0]}")
        exact = block.n_tx if reference.root_is_chains else None
        opcodes = self._bare(block).opcodes() if block.n_tx else 0
        return {"n_ops": opcodes, "n_keys": reference.observed.n_keys, "chain_gas_exact": exact, "intern_ms": None}

    def _bare(self, block: EvmBlock) -> EvmJob:
        """A serial job that has run once."""
        job = self.job(block, "serial")
        job.bare()
        job.plan()
        job.run()
        return job
