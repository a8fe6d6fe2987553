"""A block on its workers: everything made ready once, so that runs can be repeated and compared."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import perf_counter_ns
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .._kernels.evm import layout
from .._kernels.evm.blocks import INTERRUPTED, LISTED, SERIAL, UNLISTED, begin, work
from .._kernels.evm.linking import address_of_kernel
from .._kernels.evm.team import work_together
from .._kernels.jit import DISABLED, alone, entry_point
from ..errors import AccessListError, BlockError, ExecutionError
from ..machine.ops import Field
from ..patience import apart, interruptible
from .arena import Arena, Room
from .charges import beyond_limits, prices_of
from .encoding import encode_transactions
from .header import BlockEnv
from .lazy import Fetched, Source
from .machine import ENLARGED, refused
from .outcomes import NOTES, Gathered, Results
from .plans import CELLS, Plan, serial_plan
from .protocol import calls_after, calls_before, paid_out
from .protocol_calls import call_by_protocol
from .transaction import Transaction
from .worker import Worker
from .world import (
    AccountState,
    World,
    account_numbers,
    add_state,
    key_number,
    key_numbers,
    known_codes,
    read_state,
    replaced,
    room_for,
    values_of,
    word,
    word_value,
)

__all__ = ["Engine"]

#: Gas that all transactions together may use, from which on a run by one worker, or by more, may be interrupted; others end
#: by themselves in seconds. Several run on threads of Python's own then, which take 100 us to begin: if OpenMP was called by
#: two threads, its own would be slow to wake up ever after.
_LONG_GAS: Final = 200_000_000, 500_000_000

#: What kernels read of a plan as it is.
_PLANNED: Final = ("starts", "ranks", "followers_at", "followers", "awaited", "declared_at")


def _fetch(engine: weakref.ref[Engine], arena: Arena) -> None:
    """Have an engine fetch; a worker that held it would be a cycle, and keep the arenas until the collector comes by."""
    if (this := engine()) is not None:
        this.fetch(arena)


class Engine:
    """A block with everything that it needs to be run any number of times.

    Parameters
    ----------
    env : BlockEnv
    txs : sequence of Transaction
        With senders.
    state : mapping of address to (balance, nonce, code, storage)
        Before the block.
    workers : int
        Of them each has tables of its own, 60 MB that are mostly never touched.
    records : bool
        Whether serial runs keep what was read and changed; others always do.
    keys : iterable of (address, field, slot)
        To be interned beforehand; plans tell of them by their places in it.
    codes : iterable of bytes
        Code that an access list knows of, beside that of the state.
    source : Source, optional
        Where what `state` does not have is fetched from when it is first needed; without one it is absent, and zero.

    Raises
    ------
    BlockError
        Naming the transaction that no block of this environment may have, and why.

    Examples
    --------
    >>> from .forks import Fork
    >>> env = BlockEnv(number=1, timestamp=1, fork=Fork.SHANGHAI, base_fee=7)
    >>> tx = Transaction(gas_price=9, gas_limit=21_000, to=b"\\x02" * 20, value=5, sender=b"\\x01" * 20)
    >>> engine = Engine(env, [tx], {b"\\x01" * 20: (10**18, 0, b"", {})})
    >>> from .plans import serial_plan
    >>> _ = engine.run(serial_plan(1))
    >>> engine.records["gas_used"].tolist(), engine.state()[b"\\x02" * 20].balance
    ([21000], 5)
    """

    def __init__(
        self, env: BlockEnv, txs: Sequence[Transaction], state: World, *, workers: int = 1, records: bool = False,
        keys: Iterable[tuple[bytes, int, int]] = (), codes: Iterable[bytes] = (), source: Source | None = None,
    ) -> None:  # fmt: skip
        self._priced = prices_of(txs, env)
        self.env, self.txs, self._keys, self._codes = env, list(txs), list(keys), list(codes)
        #: What has been fetched, if the state is elsewhere.
        self.fetched = None if source is None else Fetched.for_block(source, state, env, self.txs, self._keys)
        self._state, self._fetching = state if self.fetched is None else self.fetched.world, threading.Lock()
        self.n_workers, self.keeps_records = (1 if DISABLED else workers), records
        gas = sum(tx.gas_limit for tx in txs if tx.gas_limit < env.gas_limit)
        self._make(room_for(self._state, len(self.txs), gas, len(self._keys)))

    # ---------------------------------------------------------------- making ready

    def _make(self, room: Room) -> None:
        self.before = np.empty((0, 4), np.uint64)
        #: What the protocol's calls read (`NOTES`), before the transactions and after them.
        self.around: dict[str, NDArray[Any]] = {}
        for _ in range(ENLARGED):
            first = Worker(self.env, room)
            if self.fetched is None:
                add_state(first.arena, self._state)
            else:
                self.fetched.fill(first.arena)
            if first.arena["status"] == layout.OK:
                #: The arena's numbers of the keys that were named, which are others in another arena.
                self._named = key_numbers(first.arena, self._keys)
                account_numbers(first.arena, [one.address for one in self.env.withdrawals])
                for code in self._codes:
                    first.arena.add_code(code)
            if first.arena["status"] == layout.OK:
                self._use(first, room)
                self.before = values_of(self.arena)
                if self._call_system(calls_before(self.env, self._has_code), "before"):
                    break
            room = room.doubled()
        else:
            raise ExecutionError(f"state of {len(self._state)} accounts: no room for it in {room}")
        #: Values before the transactions, (n, 4) uint64, of all keys known then; those before the block, where unlike.
        given, self.before = self.before, values_of(self.arena)
        self.given = replaced(given, self.before)

    def _use(self, first: Worker, room: Room) -> None:
        self.workers = [first, *(Worker(self.env, beside=first.arena, number=i) for i in range(1, self.n_workers))]
        self.arena = first.arena
        if self.fetched is not None:
            for worker in self.workers:
                worker.defer(partial(_fetch, weakref.ref(self)))
        self.results = Results(self.arena, len(self.txs))
        self._txs = encode_transactions(self.arena, self.txs, self.env, known=self._priced)
        self._block = self.arena.allocate("block", layout.BLOCK.size).view(np.int64)
        self._chains = self.arena.allocate("chains", 8 * (room.keys + 3)).view(np.int64)
        self._tables: dict[str, NDArray[np.uint8]] = {}
        self._ended, self._ending = False, False
        self._refused: tuple[type[Exception], str] | None = None

    def fetch(self, arena: Arena) -> None:
        """Fetch what a worker's transaction waits for: its value is that before the block."""
        assert self.fetched is not None
        keys = self.fetched.answer(arena)
        with self._fetching:
            more = max(0, max(keys, default=-1) + 1 - len(self.before))
            if more:
                self.before = np.concatenate([self.before, np.zeros((more, 4), np.uint64)])
            self.before[keys] = self.arena.words("values")[keys]

    def _table(self, name: str, given: NDArray[Any]) -> int:
        """Address of a copy of an array that kernels may change."""
        if name not in self._tables or self._tables[name].nbytes != given.nbytes:
            self._tables[name] = self.arena.allocate(name, given.nbytes)
        self._tables[name][:] = np.ascontiguousarray(given).reshape(-1).view(np.uint8)
        return int(self._tables[name].ctypes.data)

    def _set(self, **fields: int) -> None:
        for name, value in fields.items():
            self._block[layout.BLOCK.numbers[name] // 8] = value

    def _get(self, name: str) -> int:
        return int(self._block[layout.BLOCK.numbers[name] // 8])

    # ---------------------------------------------------------------- around the transactions

    def _has_code(self, address: bytes) -> bool:
        return address in self._state and bool(self._state[address][2])

    def _call_system(self, calls: list[Transaction], name: str, checked: bool = False) -> bool:
        """Whether there was room for them. Those that are `checked` must succeed."""
        notes = call_by_protocol(self.workers[0], calls, name, checked=checked)
        if notes is not None:
            self.around[name] = notes
        return notes is not None

    def _pay_out(self) -> None:
        """Withdrawals."""
        values = self.arena.words("values")
        for i, one in enumerate(self.env.withdrawals):
            key = key_number(self.arena, one.address, Field.BALANCE, 0)
            values[key] = word(paid_out(self.env, i, word_value(values[key].view(np.uint8)))).view(np.uint64)

    # ---------------------------------------------------------------- running

    def reset(self, plan: Plan) -> None:
        """The state before the block, and a plan for the next run."""
        values, n_tx = self.arena.words("values"), len(self.txs)
        values[: len(self.before)] = self.before
        values[len(self.before) :] = 0
        self._chains[:] = 0
        self.results.clear()
        for worker in self.workers:
            worker.arena.allow_opcodes()  # an interrupted run left none of them
            worker.forget()
        self._block[:] = 0
        self._ended, self._ending, self._refused = False, False, None
        tables = {name: self._table(f"plan {name}", getattr(plan, name)) for name in _PLANNED}
        ready = np.flatnonzero(plan.awaited == 0)
        ready = ready[np.argsort(plan.ranks[ready], kind="stable")]
        declared, credited = plan.declared_by(self._named)
        self._set(
            mode=plan.mode, n_tx=n_tx, n_workers=len(self.workers), txs=self._txs, results=self.results.address,
            records=int(self.keeps_records), window=plan.window, chains=int(self._chains.ctypes.data),
            queue=self._table("plan queue", np.zeros(n_tx + 1, np.int64)), n_firsts=len(ready),
            firsts=self._table("plan firsts", ready), declared=self._table("plan declared", declared), credited=credited,
            order=self._table("plan order", plan.order) if len(plan.order) else 0,
            doubt=not len(plan.declared_at), **tables,
        )  # fmt: skip
        if plan.mode == LISTED:
            self._fill(plan)

    def _fill(self, plan: Plan) -> None:
        """Chains of what an access list says."""
        cells = plan.cells.copy()
        cells["key"] = self._named[cells["key"]]
        cells = cells[np.lexsort((-cells["position"], cells["key"]))]
        places = self._table("plan cells", cells) + layout.CELL.size * np.arange(len(cells))
        view = self._tables["plan cells"].view(CELLS)
        heads = np.concatenate([[True], cells["key"][1:] != cells["key"][:-1]])[: len(cells)]
        starts = np.append(np.flatnonzero(heads), len(cells))
        view["next"] = np.repeat(starts[1:], np.diff(starts)) - 1 - np.arange(len(cells))
        self._chains[cells["key"][heads]] = places[heads]
        order = np.argsort(cells["position"], kind="stable")
        at = np.searchsorted(cells["position"][order], np.arange(len(self.txs) + 1)).astype(np.int64)
        self._set(finals=self._table("plan finals", places[heads]), n_finals=int(heads.sum()))
        self._set(listed_at=self._table("plan listed at", at), listed=self._table("plan listed", places[order]))

    def run(self, plan: Plan, ready: Callable[[], object] | None = None) -> dict[str, int]:
        """Run once; counts and times in nanoseconds. `ready` is called just before the clock starts.

        Raises
        ------
        BlockError
            If the block has a transaction that it may not have.
        AccessListError
            If what a transaction did is not what the access list says.
        ExecutionError
            If it needs more room than enlarged arenas have, or a library that is not installed.
        """
        self._last = plan
        for _ in range(ENLARGED):
            self.reset(plan)
            if ready is not None:
                ready()
                ready = None
            execute_ns, cpu_ns = self._launch(self.workers[:1] if plan.mode == SERIAL else self.workers)
            stop, failed = self._get("stop"), self._get("failed")
            if stop != layout.FULL:
                break
            self._make(self.arena.room.doubled())
        else:
            raise ExecutionError(f"block {self.env.number}: no room for what transaction {failed} does")
        if stop == UNLISTED:
            cause = self._problem(failed) if self.records["refusal"][failed] == layout.HOST else None
            raise AccessListError(f"{self._place(failed)}: what it does is not what the access list says") from cause
        if stop == layout.REJECTED:
            why = int(self.records["refusal"][failed])
            if why == layout.HOST:
                raise self._problem(failed)
            text = refused(self.txs[failed], self.env, why, self._state_at(failed))
            raise BlockError(f"{self._place(failed)} refused: {text}")
        problem = beyond_limits(self.txs, self.env, self.records["gas_used"].tolist())
        if problem is not None:
            raise BlockError(f"block {self.env.number}: {problem}")
        counts = {name: self._get(name) for name in ("aborts", "validations")} | {"execute_ns": execute_ns, "cpu_ns": cpu_ns}
        return counts | {"executions": sum(worker.arena["executions"] for worker in self.workers)}

    def _problem(self, t: int) -> Exception:
        """Why a transaction's precompile could not be run; kept no longer, for it keeps all that it has passed through."""
        return self.workers[int(self.records["worker"][t])].problems.pop(t)

    def _place(self, t: int) -> str:
        return f"block {self.env.number}: transaction {t}"

    def _state_at(self, t: int) -> dict[bytes, AccountState]:
        """Accounts before a transaction, by running those before it anew."""
        before = Engine(self.env, self.txs[:t], self._state, source=getattr(self.fetched, "source", None))
        before.run(serial_plan(t))
        return before.transaction_state()

    def _launch(self, workers: list[Worker]) -> tuple[int, int]:
        """Have them work; nanoseconds, and those of all threads' CPU time."""
        several = len(workers) > 1
        long = sum(tx.gas_limit for tx in self.txs) > _LONG_GAS[several]
        long &= threading.current_thread() is threading.main_thread()
        on_helper = long and not several
        taken = interruptible(lambda: self._work(workers), self._stop) if on_helper else self._work(workers, long)
        return taken, sum(worker.arena["cpu"] for worker in workers)

    def _work(self, workers: list[Worker], by_threads: bool = False) -> int:
        block = int(self._block.ctypes.data)
        self._set(apart=len(workers) == 1)
        if by_threads:
            start, taken = perf_counter_ns(), 0
            for worker in workers:
                begin(worker.arena.address, block)
        else:
            start, taken = self._one(workers[0], block) if len(workers) == 1 else self._together(workers, block)
        if by_threads or (any(worker.suspended for worker in workers) and not self._get("stop")):
            self._set(away=0, apart=1)
            apart([partial(worker.work, block) for worker in workers], self._stop)
            taken = perf_counter_ns() - start
        for worker in workers:
            worker.check()
        return taken

    def _one(self, worker: Worker, block: int) -> tuple[int, int]:
        """Have one worker work on this thread; when it began, and nanoseconds."""
        enter = entry_point(work, (worker.arena.address, block))
        begin(worker.arena.address, block)
        start = perf_counter_ns()
        enter(worker.arena.address, block)
        return start, perf_counter_ns() - start

    def _together(self, workers: list[Worker], block: int) -> tuple[int, int]:
        """Have all workers work, each on a thread that is awake; when they began, and nanoseconds."""
        contexts = self._table("contexts", np.array([worker.arena.address for worker in workers]))
        first, then = ((address_of_kernel(called), contexts, len(workers), block) for called in (begin, work))
        with alone():
            enter = entry_point(work_together, then, held=True)
            enter(*first)
            start = perf_counter_ns()
            enter(*then)
            return start, perf_counter_ns() - start

    def _stop(self) -> None:
        """Calls in progress end at their next opcode, as none is known any more."""
        self._set(stop=INTERRUPTED)
        for worker in self.workers:
            worker.arena.allow_opcodes(False)

    # ---------------------------------------------------------------- what came out

    @property
    def records(self) -> NDArray[Any]:
        """The results of the last run, one record a transaction; changed by the next one."""
        return self.results.records

    def finish(self) -> None:
        """Have the protocol do its part after the transactions, once a run: withdrawals, system calls.

        What `records` said of the run has to be taken before. Contracts of the protocol that the
        block's state does not know are not called; where there was no room for what they do, the block is run again.

        Raises
        ------
        BlockError
            If a call of the protocol after the transactions fails.
        """
        if self._refused is not None:
            raise self._refused[0](self._refused[1])
        for _ in range(ENLARGED):
            if self._ended:
                return
            if self._ending:  # interrupted half-way
                self.run(self._last)
            self._ending = True
            self.between = values_of(self.arena)  #: Values after the transactions, (n, 4) uint64.
            try:
                self._pay_out()
                self._ended = self._call_system(calls_after(self.env, self._has_code), "after", checked=True)
            except (BlockError, ExecutionError) as error:
                self._refused = type(error), str(error)
                raise
            if not self._ended:  # all anew, with more room
                self._make(self.arena.room.doubled())
                self.run(self._last)
        if not self._ended:
            raise ExecutionError(f"block {self.env.number}: no room for what the protocol's calls do")

    def state(self) -> dict[bytes, AccountState]:
        """All accounts after the last run and `finish`, which this calls; rewards for mining are not paid."""
        self.finish()
        return read_state(*(worker.arena for worker in self.workers))

    def transaction_state(self) -> dict[bytes, AccountState]:
        """All accounts after the last transaction."""
        return read_state(*(worker.arena for worker in self.workers), values=self.between if self._ended else None)

    @property
    def ends_with_transactions(self) -> bool:
        """Whether nothing changed after the last transaction, if `finish` has been called."""
        return self._ended and not len(replaced(self.between, values_of(self.arena))[0])

    def codes(self) -> dict[int, bytes]:
        """All code that the run has met or made, by its hash."""
        return known_codes(tuple(worker.arena for worker in self.workers))

    @property
    def notes(self) -> Gathered:
        """Keys that the transactions of the last run read, with what they found (`NOTES`)."""
        return self.results.gathered("notes", NOTES)

    @property
    def changes(self) -> Gathered:
        """Keys that the transactions of the last run changed, and how (`CELLS`)."""
        return self.results.gathered("cells", CELLS)
