"""What an execution leaves behind. Receipts are indexed by block position, whatever order the schedule promised."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import programs
from .._kernels import interpreter
from .._kernels.jit import inputs
from ..access.sets import AccessSets
from ..block import Block, KeyTuple
from ..errors import ExecutionError
from ..schedule.plan import Schedule

__all__ = ["Changes", "Execution"]


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


@dataclass(frozen=True, eq=False, repr=False)
class Execution:
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
        `runtime_conflicts` (accesses that the schedule would have run before a predecessor), `requeued` (transactions
        put off to a later wave), `reexecuted`, `waves`, `parallel_waves`, `workers`.
    timings : dict
        Nanoseconds: `prepare_ns` (encoding, buffers), `schedule_ns`, `execute_ns`. The first execution in a process
        includes loading or compiling kernels; `python -m pevm_numba.bench` measures properly.

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

    def state(self) -> dict[KeyTuple, int]:
        """All non-zero keys after the block, untouched ones included, as {(address, field, slot): value}."""
        return programs.state_of(self.block, self.values)

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

    def _repr_html_(self) -> str:
        rows: list[tuple[str, Any]] = [
            ("executor", self.executor), ("transactions", f"{self.block.n_tx:,}"),
            ("failed", int(np.count_nonzero(self.status))), ("gas used", f"{int(self.gas_used.sum()):,}"),
            ("time", f"{self.timings.get('execute_ns', 0) / 1e6:.3f} ms"),
        ]  # fmt: skip
        body = "".join(f"<tr><th style='text-align:left'>{name}</th><td>{text}</td></tr>" for name, text in rows)
        return f"<table><caption>Execution of block {self.block.number}</caption>{body}</table>"

    def __repr__(self) -> str:
        failed, gas = int(np.count_nonzero(self.status)), int(self.gas_used.sum())
        return f"<Execution of block {self.block.number} by {self.executor}: {failed:,} failed, {gas:,} gas>"
