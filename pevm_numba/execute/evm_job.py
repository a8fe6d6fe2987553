"""Executors of EVM blocks. All promise the block's own order; hints decide only how fast it goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .._kernels.evm.blocks import SERIAL, WAVES
from .._kernels.evm.scheduling import WINDOW
from ..access.eip7928 import Eip7928List
from ..access.eip7928_build import changes_of_evm
from ..access.eip7928_compare import differences
from ..access.sets import AccessSets
from ..errors import AccessListError, BlockError, ExecutionError
from ..evm.accesses import block_accesses
from ..evm.block import EvmBlock
from ..evm.engine import Engine
from ..evm.lazy import Fetches
from ..evm.observation import EvmAccessList, observe, state_change
from ..evm.plans import CELLS, Plan, flow_plan, listed_plan, serial_plan, waves_plan
from ..evm.world import known_hashes
from ..keys import KeyTable
from ..machine.ops import Field
from ..schedule.costs import costs
from ..schedule.dependencies import Dependencies, dependencies
from ..schedule.plan import Schedule
from ..schedule.timeline import Timeline
from .evm_result import EvmExecution
from .job import COUNTERS, Job, Outcome
from .result import TxTimes

__all__ = ["LEAST_GAIN", "LEAST_WORK", "EvmJob", "ended_before", "guessed_ns", "predecessors", "senders_known"]

#: Guessed nanoseconds of a transfer, and of a call that runs code (on mainnet some 5 to 100 us).
_TRANSFER_NS, _CALL_NS = 1_500, 30_000

#: Guessed work of a block in nanoseconds below which it runs serially, and the least speed-up that dependencies must allow.
LEAST_WORK: Final = 300_000
LEAST_GAIN: Final = 1.1

#: Gas of a transaction beyond which more tells nothing of how long it takes.
_MOST_GAS: Final = 2**62

#: Parts of a worker's share of the block: way still to go counts in these.
_STEPS: Final = 20


def senders_known(block: EvmBlock) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Who waits for whom as far as senders tell before anything runs: a CSR of each sender's transaction before.

    Examples
    --------
    >>> from ..evm.forks import Fork
    >>> from ..evm.header import BlockEnv
    >>> from ..evm.transaction import Transaction
    >>> sent = [(b"a" * 20, 0), (b"b" * 20, 0), (b"a" * 20, 1)]
    >>> txs = [Transaction(gas_price=9, to=bytes(20), sender=sender, nonce=nonce) for sender, nonce in sent]
    >>> [part.tolist() for part in senders_known(EvmBlock(BlockEnv(number=1, timestamp=1, fork=Fork.BERLIN), txs, {}))]
    [[0, 0, 0, 1], [0]]
    """
    last: dict[bytes | None, int] = {}
    indptr, indices = [0], []
    for i, tx in enumerate(block.transactions):
        if tx.sender in last:
            indices.append(last[tx.sender])
        last[tx.sender] = i
        indptr.append(len(indices))
    return np.array(indptr, np.int64), np.array(indices, np.int64)


def guessed_ns(block: EvmBlock) -> int:
    """Time that a block will take on one core, as far as can be told before: by which transactions run code at all."""
    plain = sum(tx.to is not None and (tx.to not in block.state or not block.state[tx.to].code) for tx in block.transactions)
    return _TRANSFER_NS * plain + _CALL_NS * (block.n_tx - plain)


def predecessors(deps: Dependencies) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Who waits for whom as a CSR of transactions alone: joins are written out."""
    joined = {
        n: deps.indices[deps.indptr[n] : deps.indptr[n + 1]].tolist() for n in range(deps.n_tx, deps.n_tx + deps.n_joins)
    }
    rows: list[set[int]] = []
    for t in range(deps.n_tx):
        row: set[int] = set()
        for p in deps.indices[deps.indptr[t] : deps.indptr[t + 1]].tolist():
            row.update(joined.get(p, (p,)))
        rows.append(row)
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return indptr, np.array([p for row in rows for p in sorted(row)], np.int64)


def ended_before(line: Timeline) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Who waits for whom as a CSR, if nobody may start before those that the timeline has ended by then.

    Of each worker's transactions the last such one stands for those before it.

    Examples
    --------
    >>> line = Timeline(2, [0, 1, 0, 1], [0, 0, 2, 3], [2, 3, 4, 4], 4)
    >>> [part.tolist() for part in ended_before(line)]
    [[0, 0, 0, 1, 3], [0, 0, 1]]
    """
    n, order = line.n_tx, np.lexsort((line.end, line.start))
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n)
    waits, for_whom = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for worker in np.unique(line.worker):
        lane = order[line.worker[order] == worker]
        last = np.searchsorted(line.end[lane], line.start, "right") - 1
        last = np.minimum(last, np.searchsorted(rank[lane], rank) - 1)  # what takes no time may start as it ends
        waiting = np.flatnonzero(last >= 0)
        waits.append(waiting)
        for_whom.append(lane[last[waiting]])
    by = np.argsort(np.concatenate(waits), kind="stable")
    indptr = np.searchsorted(np.concatenate(waits)[by], np.arange(n + 1))
    return indptr.astype(np.int64), np.concatenate(for_whom)[by]


def _cells(engine: Engine, listed: EvmAccessList) -> NDArray[Any]:
    """What a list says as records of the engine, which was made with its keys."""
    coded = np.flatnonzero(listed.keys.field[listed.key] == Field.CODE).tolist()
    known = known_hashes(engine.arena) if coded else set()
    for i in coded:
        digest = listed.values[i].tobytes()
        if digest not in known:
            t, key = int(np.searchsorted(listed.indptr, i, "right")) - 1, listed.keys.key_name(int(listed.key[i]))
            what = f"transaction {t}, {key}: listed is 0x{digest.hex()}"
            raise AccessListError(f"{what}, the hash of code that is neither in the list's codes nor in the block's state")
    cells = np.zeros(listed.n_changes, CELLS)
    cells["key"] = listed.key
    cells["position"] = np.repeat(np.arange(listed.n_tx), np.diff(listed.indptr))
    cells["kind"], cells["value"] = 1, listed.values[:, ::-1]
    return cells


class EvmJob(Job):
    """One executor on one block, with everything that it needs for any number of runs.

    Parameters
    ----------
    block : EvmBlock
    executor : str
        One of `machine.EXECUTORS` but ``auto``.
    workers : int
    schedule : Schedule, optional
        What ``waves`` follows, and ``dataflow`` where `access` is not given: its timeline, if it has one, or its waves. With
        `access`, the timeline decides who goes first of those who wait for nobody.
    access : AccessSets, optional
        What waves and dataflow take for known, hints for optimistic. All check that it is so, unless the state is elsewhere,
        and look again at all results where it is not.
    cost : (n_tx,) numbers, optional
        Guessed times of the transactions: whoever has the longest way to go behind him runs first; of a list the longest.
    access_list : EvmAccessList or Eip7928List, optional
        Needed for ``bal``. Of the second `collect` compares what a run alone does not tell: what is only read, and what the
        protocol does around the transactions.
    """

    block: EvmBlock

    def __init__(
        self, block: EvmBlock, executor: str, *, workers: int = 1, schedule: Schedule | None = None,
        access: AccessSets | None = None, access_list: EvmAccessList | Eip7928List | None = None,
        cost: NDArray[Any] | None = None,
    ) -> None:  # fmt: skip
        self.block, self.name, self.schedule, self.access, self.cost = block, executor, schedule, access, cost
        self.wire = access_list if isinstance(access_list, Eip7928List) else None
        if isinstance(access_list, Eip7928List):
            access_list = changes_of_evm(access_list, block.n_tx)
        self.access_list = access_list
        self._names = self._names_known()
        self.engine = Engine(
            block.env, block.transactions, block.state, workers=1 if executor == "serial" else workers, records=True,
            keys=() if self._names is None else self._names, codes=() if access_list is None else access_list.codes,
            source=block.source,
        )  # fmt: skip
        self.workers = self.engine.n_workers

    def plan(self) -> None:
        """Decide who may run when, or that one worker does it all: where there is too little to share out."""
        self.reason = ""
        self._plan = self._planned()
        if self._plan.mode != SERIAL:
            self.workers = self.engine.n_workers

    def _serial(self, why: str) -> Plan:
        self.reason, self.workers = f"serial: {why}", 1
        return serial_plan(self.block.n_tx)

    def _names_known(self) -> KeyTable | None:
        """Keys that a list or access sets name. Where the state is elsewhere, what sets name is not fetched for that."""
        if self.access_list is not None:
            return self.access_list.keys
        used = self.name in ("dataflow", "optimistic") or (self.name == "waves" and self.schedule is None)
        access = self.access if used and self.block.source is None else None
        return None if access is None or access.table is None or access.table.whole else access.table

    def _knowing(self, plan: Plan, access: AccessSets) -> Plan:
        """The plan, which has put all that conflict by these sets in order, and what it has taken for known.

        That is nothing if the sets are new since the engine was made, the state is elsewhere, or one key may have two names.
        """
        names = access.table
        if names is None or names is not self._names or self.block.source is not None:
            return plan
        if names.slot[names.field != Field.STORAGE].any():
            return plan
        return plan.knowing(access.indptr, access.keys.astype(np.int64), access.modes, names)

    def _planned(self) -> Plan:
        block = self.block
        if self.name == "serial":
            return serial_plan(block.n_tx)
        if self.name == "bal":
            if self.access_list is None:
                raise BlockError("executor 'bal' without access_list: needs one")
            limits = np.array([min(tx.gas_limit, _MOST_GAS) for tx in block.transactions], np.int64)
            cost = limits if self.cost is None else costs(self.cost, block.n_tx)
            return listed_plan(cost, _cells(self.engine, self.access_list))
        guess = guessed_ns(block)
        if guess < LEAST_WORK and self.engine.n_workers > 1:
            return self._serial(f"guessed work {guess / 1e3:,.0f} us, less than {LEAST_WORK / 1e3:,.0f}")
        if self.access is not None and self.access.n_tx != block.n_tx:
            raise BlockError(f"access sets of {self.access.n_tx} transactions: the block has {block.n_tx}")
        if self.schedule is not None and (self.name == "waves" or (self.name == "dataflow" and self.access is None)):
            line = self.schedule.timeline
            if self.name == "waves" or line is None:
                return waves_plan(self.schedule.wave_of)
            return flow_plan(*ended_before(line), self._ranks_by(line.start))
        if self.access is None:
            if self.name == "waves":
                raise BlockError("executor 'waves' without schedule or access: needs one")
            return flow_plan(*senders_known(block))._replace(window=WINDOW)
        deps = dependencies(self.access)
        gain = self._gain(deps)
        if gain < LEAST_GAIN and self.name != "optimistic" and self.engine.n_workers > 1:
            return self._serial(f"dependencies allow {gain:.2f} times serial speed, less than {LEAST_GAIN}")
        if self.name == "waves":
            return self._knowing(waves_plan(deps.earliest_start()), self.access)
        plan = self._knowing(flow_plan(*predecessors(deps), self._ranks(deps)), self.access)
        return plan._replace(window=WINDOW) if self.name == "optimistic" else plan

    def _gain(self, deps: Dependencies) -> float:
        """Most that any number of workers could gain, by the guessed costs."""
        path = float(deps.critical_path(self.cost)[0])
        total = float(self.block.n_tx if self.cost is None else np.sum(self.cost))
        return total / path if path > 0 else float(self.engine.n_workers)

    def _ranks(self, deps: Dependencies) -> NDArray[np.int64] | None:
        """First whoever starts first by the schedule, or has most behind him; optimistic: block order."""
        n = self.block.n_tx
        if self.name == "optimistic":
            return None
        if self.schedule is not None and self.schedule.timeline is not None:
            return self._ranks_by(self.schedule.timeline.start)
        behind = deps.remaining(self.cost)[:n]
        total = float(n if self.cost is None else np.sum(self.cost))
        # else in block order, in which results are settled and chains of changes grow at their head
        step = max(total / (_STEPS * self.workers), 1e-9)
        return self._ranks_by(-np.floor(behind / step))

    def _ranks_by(self, when: NDArray[Any]) -> NDArray[np.int64]:
        ranks = np.empty(self.block.n_tx, np.int64)
        ranks[np.argsort(when, kind="stable")] = np.arange(self.block.n_tx)
        return ranks

    def reset(self) -> None:
        """Nothing: a run resets the engine, anew where it turns out to need more room."""

    def run(self, ready: Callable[[], object] | None = None) -> tuple[dict[str, int], dict[str, int]]:
        """Run once, untimed resetting included; `ready` is called between the two."""
        try:
            found = self.engine.run(self._plan, ready)
        except AccessListError as error:
            wrong = self._difference()
            if wrong is None and error.__cause__ is not None:  # the list is right
                raise error.__cause__ from None
            raise AccessListError(f"block {self.block.number}: access list rejected: {wrong or error}") from None
        executions = found["executions"] or self.block.n_tx
        waves = len(np.unique(self._plan.starts)) if self._plan.mode == WAVES else 0
        counters = dict.fromkeys(COUNTERS, 0) | {
            "workers": self.workers, "executions": executions, "validations": found["validations"],
            "aborts": found["aborts"], "reexecuted": max(0, executions - self.block.n_tx),
            "waves": waves, "parallel_waves": waves,
        }  # fmt: skip
        return counters, {name: found[name] for name in ("execute_ns", "cpu_ns")}

    def _difference(self) -> str | None:
        """The first (transaction, key) in which a serial run and the list differ, in words."""
        job = EvmJob(self.block, "serial")
        job.plan()
        mine = job.collect(*job.run()).block_access_list()
        done, said = (
            {(t, one.keys[int(k)]): one.values[i].tobytes() for t in range(one.n_tx) for i, k in one.entries(t)}
            for one in (mine, self.access_list)
        )
        for t, key in sorted(done.keys() | said.keys()):
            left, listed = done.get((t, key)), said.get((t, key))
            if left == listed:
                continue
            head = f"transaction {t}, {KeyTable.from_keys([key]).key_name(0)}"
            if left is None:
                return f"{head}: listed, but the transaction does not change it"
            said_of = "which is not listed" if listed is None else f"listed is 0x{listed.hex()}"
            return f"{head}: the transaction leaves 0x{left.hex()}, {said_of}"
        return None

    def bare(self) -> None:
        """Serial runs keep neither what was read nor what was changed; others need both."""
        self.engine.keeps_records = False

    def durations(self) -> NDArray[np.int64]:
        """(n_tx,) nanoseconds of each transaction in the last run."""
        return self.engine.records["end"] - self.engine.records["begin"]

    def opcodes(self) -> int:
        """Opcodes that a run executes, by one more."""
        arena = self.engine.arena
        arena.step()
        self.run()
        steps = self.engine.arena["steps"]
        self.engine.arena.step(False)
        return int(steps)

    def outcome(self) -> Outcome:
        """The protocol's part after the transactions included."""
        gas = int(self.engine.records["gas_used"].sum())
        self.engine.finish()
        return Outcome(gas, state_change(self.engine), self._fetches())

    def _fetches(self) -> Fetches:
        return Fetches() if self.engine.fetched is None else self.engine.fetched.fetches

    def collect(self, counters: dict[str, int], timings: dict[str, int], reason: str = "") -> EvmExecution:
        """The outcome of the last run."""
        engine = self.engine
        if not engine.keeps_records and self._plan.mode == SERIAL:
            raise ExecutionError(f"block {self.block.number}: a bare job keeps no record of what was accessed")
        records = engine.records
        success, gas = records["success"] == 1, records["gas_used"].copy()
        first = records["begin"].min(initial=2**63 - 1)
        times = TxTimes(
            records["begin"] - first, records["end"] - first, records["worker"].astype(np.int32),
            records["runs"].astype(np.int32), self.workers,
        )  # fmt: skip
        for array in (success, gas, times.start, times.end, times.worker, times.runs):
            array.flags.writeable = False
        seen, logs, after = observe(engine), engine.results.logs(), engine.state()
        between = after if engine.ends_with_transactions else engine.transaction_state()
        result = EvmExecution(
            self.block, self.name, self.schedule, success, gas, logs, seen, between, after, times, block_accesses(engine),
            state_change(engine), self._fetches(), counters, timings,
            "; ".join(text for text in (reason, self.reason) if text),
        )  # fmt: skip
        for unlike in () if self.wire is None else differences(self.wire, result.eip7928_list()):
            raise AccessListError(f"block {self.block.number}: access list rejected: {unlike}")
        return result
