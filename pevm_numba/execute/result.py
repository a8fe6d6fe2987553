"""What an execution leaves behind. Receipts are indexed by block position, whatever order the schedule promised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import door, html, programs
from .._kernels import interpreter
from .._kernels.jit import inputs
from ..access.block_list import BlockAccessList
from ..access.eip7928 import Eip7928List
from ..access.eip7928_build import list_of_block
from ..access.sets import AccessSets
from ..block import Block, KeyTuple
from ..errors import BlockError, ExecutionError
from ..machine.ops import Status
from ..schedule.plan import Schedule
from ..schedule.timeline import Timeline
from ..tabular import Tabular, big_endian
from .difference import ExecutionDiff, micro_op_diff

__all__ = ["Changes", "Execution", "TxTimes"]


@dataclass(frozen=True, eq=False)
class Changes:
    """Net changes of each transaction: keys whose value after it differs from the value before it.

    Parameters
    ----------
    indptr : (n_tx + 1,) int64
        CSR offsets by block position.
    keys : (n,) int32
        Key ids, ascending within a transaction.
    values : (n, 4) uint64
        Values after the transaction, as limbs.
    """

    indptr: NDArray[np.int64]
    keys: NDArray[np.int32]
    values: NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class TxTimes(Tabular):
    """When each transaction ran, measured: reading the clock takes some 20 ns before it and after it.

    Parameters
    ----------
    start, end : (n_tx,) int64
        By block position, in nanoseconds from the first start; of the last run, where a transaction ran several times. All
        payloads are hashed before.
    worker : (n_tx,) int32
        Who ran it last.
    runs : (n_tx,) int32
        How often it ran; at least 1. After a fallback, in the run that counts.
    n_workers : int
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    worker: NDArray[np.int32]
    runs: NDArray[np.int32]
    n_workers: int

    def columns(self) -> dict[str, NDArray[Any]]:
        """One row for each transaction: ``tx_index``, ``worker``, ``start_ns``, ``end_ns`` and ``runs``."""
        made: dict[str, NDArray[Any]] = {"tx_index": np.arange(len(self.start), dtype=np.uint32), "worker": self.worker}
        return made | {"start_ns": self.start, "end_ns": self.end, "runs": self.runs}

    def timeline(self) -> Timeline:
        """As a timeline in nanoseconds, for Gantt charts and parallelism profiles."""
        last = float(self.end.max(initial=0))
        return Timeline(self.n_workers, self.worker, self.start.astype(float), self.end.astype(float), last)

    def latency(self, percent: float) -> float:
        """Percentile of end - start over the transactions, in nanoseconds.

        Parameters
        ----------
        percent : float in [0, 100]

        Raises
        ------
        BlockError
            If percent is out of range, or there is no transaction.
        """
        percent = door.real("percent", percent, 0.0, 100.0)
        if not len(self.start):
            raise BlockError("latency of 0 transactions: needs at least one")
        return float(np.percentile(self.end - self.start, percent))


@dataclass(frozen=True, eq=False, repr=False)
class Execution(Tabular):
    """Receipts, state, counters and times of one execution; made by `execute`.

    Parameters
    ----------
    block : Block
    executor : str
        Which one ran (for ``auto``: the one picked).
    schedule : Schedule or None
        What was followed; None = block order.
    status : (n_tx,) uint8
        `Status`.
    gas_used, refund : (n_tx,) int64
        In gas; refund is the counter before its cap.
    output : (n_tx, 4) uint64
        Stack top at the end as limbs, least significant first; 0 if empty or failed.
    digest : (n_tx,) uint64
        Fold of every value that SLOAD and TOUCH read.
    values : (n_keys, 4) uint64
        State after the block.
    stop : (n_tx,) int64
        One past the last op that was observed: the end of the program, or where it failed.
    changes : Changes or None
        With ``record="changes"``.
    counters : dict
        See `execute.job.COUNTERS`: `workers`, `executions`, `reexecuted`, `validations`, `aborts`, `waits`,
        `runtime_conflicts`, `requeued`, `waves`, `parallel_waves`, `fallback`.
    timings : dict
        Nanoseconds: `prepare_ns` (what auto needs to pick, encoding, buffers), `schedule_ns`, `execute_ns`, and `cpu_ns`
        that all threads spent on the last. The first execution in a process includes loading or compiling kernels;
        `python -m pevm_numba.bench` measures properly.
    times : TxTimes or None
        With ``record="times"``.
    reason : str
        Why this executor was picked, or ran as it did.

    Notes
    -----
    All arrays are read-only.
    """

    block: Block
    executor: str
    schedule: Schedule | None
    status: NDArray[np.uint8]
    gas_used: NDArray[np.int64]
    refund: NDArray[np.int64]
    output: NDArray[np.uint64]
    digest: NDArray[np.uint64]
    values: NDArray[np.uint64]
    stop: NDArray[np.int64]
    changes: Changes | None = None
    counters: dict[str, int] = field(default_factory=dict)
    timings: dict[str, int] = field(default_factory=dict)
    times: TxTimes | None = None
    reason: str = ""

    @property
    def success(self) -> NDArray[np.bool_]:
        """(n_tx,) bool: which transactions the machine did not fail."""
        return self.status == 0

    @cached_property
    def observed(self) -> AccessSets:
        """What was really accessed: in a failed transaction only reads, up to the op that failed."""
        block = self.block
        size = len(block.footprint_keys)
        indptr, keys, modes = np.empty(block.n_tx + 1, np.int64), np.empty(size, np.int32), np.empty(size, np.uint8)
        given = inputs(block.op_indptr, block.op_code, block.op_key)
        more = inputs(
            self.status, self.stop, block.footprint_indptr, block.footprint_keys, block.footprint_modes
        )
        total = interpreter.observed_sets(*given, block.n_keys, *more, indptr, keys, modes)
        return AccessSets.trusted(block.n_keys, indptr, keys[:total].copy(), modes[:total].copy())

    def block_access_list(self) -> BlockAccessList:
        """What each transaction leaves behind, and which keys are only read, as EIP-7928 has it.

        Raises
        ------
        BlockError
            If the execution did not record its changes.

        Examples
        --------
        >>> from pevm_numba.execute.run import execute
        >>> a, b = (1, 0, 0), (2, 0, 0)
        >>> block = Block.from_programs([[("SSTORE", a, 5)], [("SLOAD", a), ("SLOAD", b)]])
        >>> listed = execute(block, "serial", record="changes").block_access_list()
        >>> listed[0], listed[1], listed.reads.tolist()
        ({0: 5}, {}, [1])
        """
        if self.changes is None:
            raise BlockError('changes = None: must be recorded, by execute(..., record="changes")')
        touched = np.zeros(self.block.n_keys, bool)
        touched[self.observed.keys] = True
        touched[self.changes.keys] = False
        reads = np.flatnonzero(touched).astype(np.int32)
        changes = self.changes
        return BlockAccessList(self.block.n_keys, changes.indptr, changes.keys, changes.values, reads)

    def eip7928_list(self, codes: Mapping[bytes, bytes] | None = None) -> Eip7928List:
        """The list as clients exchange it (EIP-7928).

        Parameters
        ----------
        codes : mapping of bytes to bytes, optional
            Code by its hash, of all code that is put somewhere: the block knows no more than hashes.

        Raises
        ------
        BlockError
            If the execution did not record its changes, or code is not known.

        Examples
        --------
        >>> from pevm_numba.execute.run import execute
        >>> block = Block.from_programs([[("SSTORE", (1, 0, 0), 5)], [("SLOAD", (1, 0, 0))]])
        >>> execute(block, "serial", record="changes").eip7928_list()[0].storage_changes
        ((0, ((1, 5),)),)
        """
        changes = self.block_access_list()
        return list_of_block(self.block, changes, np.unique(self.observed.keys), codes or {})

    def state(self) -> dict[KeyTuple, int]:
        """All non-zero keys after the block, untouched ones included, as {(address, field, slot): value}."""
        return programs.state_of(self.block, self.values)

    def summary(self) -> list[tuple[str, str]]:
        """What it comes to, as names and texts; the block first."""
        block = self.block
        return [
            ("block", f"{block.number}: {block.n_tx:,} transactions, {block.n_ops:,} ops, {block.n_keys:,} keys"),
            ("failed", f"{int(np.count_nonzero(self.status)):,}"),
            ("gas used", f"{int(self.gas_used.sum()):,}"),
            ("state", f"{int(self.values.any(axis=1).sum()):,} keys not zero"),
        ]

    def difference(self, other: Execution) -> str | None:
        """Where two executions of one block differ first, in words; None if nowhere."""
        if self.block is not other.block and self.block != other.block:
            return f"different blocks: {self.block!r} and {other.block!r}"
        for name in ("status", "gas_used", "refund", "output", "digest"):
            mine, theirs = getattr(self, name), getattr(other, name)
            differs = mine != theirs
            bad = np.flatnonzero(differs.any(axis=1) if differs.ndim > 1 else differs)
            if len(bad):
                t = int(bad[0])
                return f"{name} of transaction {t}: {mine[t]} ({self.executor}), {theirs[t]} ({other.executor})"
        bad = np.flatnonzero((self.values != other.values).any(axis=1))
        if len(bad):
            k = int(bad[0])
            one, two = programs.integers(self.values[k]), programs.integers(other.values[k])
            return f"{self.block.key_name(k)}: {one[0]} ({self.executor}), {two[0]} ({other.executor})"
        if self.observed != other.observed:
            return "observed access sets"
        return None

    def check_equal(self, other: Execution) -> None:
        """Raise unless receipts, observed sets and state are the same.

        Raises
        ------
        ExecutionError
            Naming the first difference.
        """
        text = self.difference(other)
        if text is not None:
            raise ExecutionError(f"block {self.block.number}: {self.executor} differs from {other.executor}: {text}")

    def diff(self, other: Execution) -> ExecutionDiff:
        """All transactions, accesses and keys in which another execution of the block differs; false if there are none.

        Raises
        ------
        BlockError
            If `other` is no execution of this block.

        Examples
        --------
        >>> from pevm_numba.execute.run import execute
        >>> block = Block.from_programs([[("SSTORE", (1, 0, 0), 5)]])
        >>> execute(block, "serial").diff(execute(block, "waves"))
        <ExecutionDiff of block 0, serial and waves: no difference>
        """
        door.instance("other", other, Execution)
        return micro_op_diff(self, other)

    def columns(self) -> dict[str, NDArray[Any]]:
        """One row for each transaction: its receipt; when it ran, where times were recorded.

        Returns
        -------
        dict
            ``tx_index`` uint32, ``status`` uint8, ``success`` bool, ``gas_used`` and ``refund`` int64, ``output`` (n_tx, 32)
            uint8 big-endian, ``digest`` uint64; with times those of `TxTimes.columns`.

        Examples
        --------
        >>> from pevm_numba.execute.run import execute
        >>> execute(Block.from_programs([[], []]), "serial").to_arrow()["gas_used"].to_pylist()
        [21000, 21000]
        """
        made: dict[str, NDArray[Any]] = {"tx_index": np.arange(self.block.n_tx, dtype=np.uint32)}
        made |= {"status": self.status, "success": self.success, "gas_used": self.gas_used, "refund": self.refund}
        made["output"] = big_endian(self.output)
        made["digest"] = self.digest
        return made if self.times is None else made | self.times.columns()

    def _repr_html_(self) -> str:
        facts: list[tuple[str, Any]] = [
            ("executor", self.executor), ("reason", self.reason), ("transactions", self.block.n_tx),
            ("failed", int(np.count_nonzero(self.status))), ("gas used", int(self.gas_used.sum())),
            ("time", f"{self.timings.get('execute_ns', 0) / 1e6:.3f} ms"),
        ]  # fmt: skip
        facts += [(name, count) for name, count in self.counters.items() if count]
        rows = (
            (t, Status(self.status[t]).name, int(self.gas_used[t]), int(self.refund[t]),
             f"0x{programs.integers(self.output[t])[0]:x}")
            for t in range(self.block.n_tx)
        )  # fmt: skip
        heads = ("transaction", "status", "gas used", "refund", "output")
        caption = f"Execution of block {self.block.number}"
        return html.table(caption, [one for one in facts if one[1] != ""], heads, rows, self.block.n_tx, "transactions")

    def __repr__(self) -> str:
        failed, gas = int(np.count_nonzero(self.status)), int(self.gas_used.sum())
        return f"<Execution of block {self.block.number} by {self.executor}: {failed:,} failed, {gas:,} gas>"
