"""Buffers of one run at a time, reset before each; a time that counts for a speed-up is that of one kernel call on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .._kernels import keccak
from .._kernels.codes import SUCCESS
from .._kernels.context import Code, Context, Receipts, Scratch, Times
from .._kernels.control import ERROR, STOP
from .._kernels.jit import read_only
from .._kernels.serial import run_changes, run_serial
from ..block import Block
from ..engines.attached import Attached, attach
from ..engines.engine import Engine
from ..machine.gas import GasSchedule
from .program import Layout, footprint_of, program_of

__all__ = ["Workspace"]

#: Rows left unused after each worker's own, so that no two workers write the same pair of cache lines.
_GAP: Final = 4


class Workspace:
    """What one run reads and writes; `reset`, then one kernel call.

    Parameters
    ----------
    block : Block
    gas : str or GasSchedule, optional
        Prices; default those of the block's fork.
    workers : int
        Largest number of workers.
    layout : {"keys", "sums", "entries"}
        What programs work on, see `program`.
    cells : int
        Number of int64 in the control array; two cells are those of `control`.
    timed : bool
        Whether to note when each transaction ran.
    engine : Engine, optional
        What runs programs; default the interpreter.
    """

    def __init__(
        self,
        block: Block,
        gas: str | GasSchedule | None = None,
        *,
        workers: int = 1,
        layout: Layout = "keys",
        cells: int = ERROR + 1,
        timed: bool = False,
        engine: Engine | None = None,
    ) -> None:
        self.block, self.workers, self.program = block, workers, program_of(block, gas, layout)
        #: The engine at work here; None for the interpreter.
        self.attached = None if engine is None else attach(engine)
        #: Makes the arrays that programs work on, which an engine may want to have in a place of its own.
        self.zeros: Callable[..., NDArray[Any]] = np.zeros if self.attached is None else self.attached.zeros
        n_tx, p, zeros = block.n_tx, self.program, self.zeros
        self.values = zeros((block.n_keys, 4), np.uint64)
        self.sums = zeros((workers, len(p.shared_keys) + _GAP, 4), np.uint64)
        self.receipts = Receipts(
            zeros(n_tx, np.uint8), zeros(n_tx, np.int64), zeros(n_tx, np.int64), zeros((n_tx, 4), np.uint64),
            zeros(n_tx, np.uint64), zeros(n_tx, np.uint64), zeros(n_tx, np.int64),
        )  # fmt: skip
        self.scratch = Scratch(
            np.zeros((workers, 1025, 4), np.uint64), np.zeros((workers, p.most_written + 1 + _GAP, 4), np.uint64),
            np.zeros((workers, p.most_written + 8 * _GAP), np.int32),
            np.zeros((workers, 25 + _GAP, keccak.LANES), np.uint64),
        )  # fmt: skip
        self.hashing = p.hashing._replace(digests=zeros((len(block.payload_indptr) - 1, 4), np.uint64))
        n = n_tx if timed else 0
        self.times = Times(np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int32), np.zeros(n, np.int32))
        self.control = np.zeros(cells, np.int64)
        self.block_order = read_only(np.arange(n_tx, dtype=np.int32))
        #: Kernels that have run here, and from the second run on their machine code; see `launch`.
        self.entries: dict[Callable[..., Any], Callable[..., Any] | None] = {}
        self.footprint = footprint_of(block)
        self.code = p.code if self.attached is None else self._linked(self.attached)
        self.reset()

    def _linked(self, attached: Attached) -> Code:
        """The encoded block with an address for each transaction that has machine code, which cannot fail.

        How each of them ends is written once, here: nobody ever writes anything else there.
        """
        code, shapes = self.program.code, self.program.shapes
        arrays = {name: getattr(code, name) for name in ("words", "static_gas", "prices")}
        arrays |= {"operands": shapes.operands, "operand_indptr": shapes.operand_indptr, "digests": self.hashing.digests}
        written = ("gas_used", "refund", "output", "digest", "sink")
        arrays |= {"values": self.values, **{name: getattr(self.receipts, name) for name in written}}
        entry, links = attached.link(shapes, arrays, self.sums)
        native = np.flatnonzero(entry[:, 0])
        self.receipts.status[native], self.receipts.stop[native] = SUCCESS, code.op_indptr[native + 1]
        return code._replace(entry=read_only(entry), links=read_only(links))

    def reset(self) -> None:
        """State before the block, nothing claimed, nothing noted."""
        self.values[:] = self.block.pre_values
        self.control[:] = 0
        self.sums[:] = 0
        for array in self.times:
            array[:] = 0
        if self.attached is not None:
            self.attached.reset()

    def stop(self) -> None:
        """Make the kernels that run on this workspace return soon; what they leave is to be thrown away."""
        self.control[STOP] = 1

    def in_order(self, order: NDArray[np.int32] | None) -> NDArray[np.int32]:
        """The serial order, or that of the block."""
        return self.block_order if order is None else read_only(order)

    def context(self, rows: NDArray[np.uint64] | None = None) -> Context:
        """What running transactions needs, on the state's values or on other rows."""
        if self.attached is not None:
            self.attached.use_values(self.values if rows is None else rows)
        return Context(
            self.code, self.hashing, self.values if rows is None else rows, self.sums, self.scratch, self.receipts,
            self.times, self.control,
        )  # fmt: skip

    def serial_call(self, order: NDArray[np.int32] | None = None) -> tuple[Any, tuple[Any, ...]]:
        """Kernel and arguments of a serial run in `order` (default: block order)."""
        return run_serial, (self.in_order(order), self.context())

    def changes_call(self, order: NDArray[np.int32] | None = None) -> tuple[Any, tuple[Any, ...]]:
        """Kernel and arguments of a serial run that returns the number of net changes.

        Arguments 3 to 5 are written: the changes of each transaction as CSR by position in `order`, keys, values.
        """
        block = self.block
        size, widest = len(block.footprint_keys), int(np.diff(block.footprint_indptr).max(initial=0))
        indptr, keys = np.zeros(block.n_tx + 1, np.int64), np.empty(size, np.int32)
        values, before = np.empty((size, 4), np.uint64), np.empty((widest, 4), np.uint64)
        return run_changes, (*self.footprint, indptr, keys, values, before, self.in_order(order), self.context())
