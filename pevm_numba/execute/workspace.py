"""Arrays that a run works on: encoded programs, which depend on block and prices only, and buffers, reset before each run.

A time that counts for a speed-up is that of one kernel call on a ready workspace, the same for every executor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels import codes, encode, keccak, serial, waves
from .._kernels.jit import inputs
from ..block import Block
from ..machine.gas import GasSchedule, gas_schedule
from ..machine.ops import Mode, Op

__all__ = ["Call", "Program", "Workspace", "program_of"]

#: A kernel and its arguments: callers that measure time the call itself.
Call = tuple[Callable[..., Any], tuple[Any, ...]]


@dataclass(frozen=True, eq=False)
class Program:
    """A block encoded for the interpreter under given prices; made once, kept on the block.

    Parameters
    ----------
    hashing : tuple of arrays
        Payloads in groups that are hashed at once: group offsets, members, payload offsets, payload bytes.
    fixed : tuple of arrays
        Read-only arguments of the kernels, in their order.
    shared_keys : (n_shared,) int32
        Keys whose credits go to partial sums; none in the encoding for serial runs.
    most_written : int
        Largest number of keys that one transaction writes.
    work : (n_tx,) int64
        Guessed run time in nanoseconds.
    hash_work : int
        Guessed time of hashing in nanoseconds.
    """

    hashing: tuple[NDArray[Any], ...]
    rows: NDArray[np.int32]
    op_gas: NDArray[np.int64]
    intrinsic: NDArray[np.int64]
    static_gas: NDArray[np.int64]
    flags: NDArray[np.uint8]
    prices: NDArray[np.int64]
    shared: NDArray[np.int32]
    shared_keys: NDArray[np.int32]
    most_written: int
    work: NDArray[np.int64]
    hash_work: int


def program_of(block: Block, gas: str | GasSchedule | None = None, *, partial_sums: bool = False) -> Program:
    """The encoded block; with `partial_sums`, credits to balances that several transactions credit need no order."""
    prices = gas_schedule(block.fork if gas is None else gas)
    credited = _credited_by_several(block) if partial_sums else np.zeros(0, np.int32)
    tag = ("program", prices.costs, len(credited) > 0)
    if tag not in block._derived:
        block._derived[tag] = _encode(block, prices, credited)
    program: Program = block._derived[tag]
    return program


def _credited_by_several(block: Block) -> NDArray[np.int32]:
    """Keys that at least two transactions only credit."""
    if "credited" not in block._derived:
        credited = block.footprint_keys[block.footprint_modes == Mode.CREDIT]
        several = np.flatnonzero(np.bincount(credited, minlength=block.n_keys) > 1)
        block._derived["credited"] = several.astype(np.int32)
    found: NDArray[np.int32] = block._derived["credited"]
    return found


def _encode(block: Block, prices: GasSchedule, shared_keys: NDArray[np.int32]) -> Program:
    shared = np.full(block.n_keys, -1, np.int32)
    shared[shared_keys] = np.arange(len(shared_keys), dtype=np.int32)
    rows = np.empty((block.n_ops, codes.ENCODED_WIDTH), np.int32)
    op_gas, intrinsic = np.empty(block.n_ops, np.int64), np.empty(block.n_tx, np.int64)
    static_gas, flags = np.empty(block.n_tx, np.int64), np.empty(block.n_tx, np.uint8)
    work = np.empty(block.n_tx, np.int64)
    given = inputs(
        block.op_indptr, block.op_code, block.op_key, block.op_arg, block.key_field, block.payload_indptr,
        block.list_indptr, block.list_entry, block.gas_limit, prices.array,
        block.footprint_indptr, block.footprint_keys, block.footprint_modes, shared,
    )  # fmt: skip
    most = encode.encode(*given, rows, op_gas, intrinsic, static_gas, flags, work)
    indptr, members = _hash_groups(block.payload_indptr)
    n_blocks = int((np.diff(block.payload_indptr) // keccak.RATE + 1).sum())
    arrays: dict[str, NDArray[Any]] = {
        "rows": rows, "op_gas": op_gas, "intrinsic": intrinsic, "static_gas": static_gas, "flags": flags,
        "prices": prices.array, "shared": shared, "shared_keys": shared_keys, "work": work,
    }  # fmt: skip
    frozen: dict[str, Any] = dict(zip(arrays, inputs(*arrays.values())))
    hashing = inputs(indptr, members, block.payload_indptr, block.payload_data)
    return Program(hashing=hashing, most_written=int(most), hash_work=60 * n_blocks, **frozen)


def _hash_groups(payload_indptr: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Payloads in groups of at most LANES with the same number of rate blocks: (group offsets, members)."""
    n_blocks = np.diff(payload_indptr) // keccak.RATE
    members = np.argsort(n_blocks, kind="stable").astype(np.int32)
    ordered = n_blocks[members]
    class_start = np.flatnonzero(np.diff(ordered, prepend=-1))
    rank = np.arange(len(members)) - np.repeat(class_start, np.diff(np.append(class_start, len(members))))
    starts = np.flatnonzero(rank % keccak.LANES == 0)
    return np.append(starts, len(members)).astype(np.int64), members


class Workspace:
    """Buffers of one run at a time; `reset`, then one of the run methods.

    Parameters
    ----------
    block : Block
    gas : str or GasSchedule, optional
        Prices; default those of the block's fork.
    workers : int
        Largest number of workers of a parallel run.
    partial_sums : bool
        Whether parallel runs are wanted (see `program_of`).
    """

    def __init__(
        self, block: Block, gas: str | GasSchedule | None = None, *, workers: int = 1, partial_sums: bool = False
    ) -> None:
        self.block, self.workers = block, workers
        self.program = program_of(block, gas, partial_sums=partial_sums)
        n_tx, p = block.n_tx, self.program
        self.values = np.empty((block.n_keys, 4), np.uint64)
        self.status = np.zeros(n_tx, np.uint8)
        self.gas_used, self.refund = np.zeros(n_tx, np.int64), np.zeros(n_tx, np.int64)
        self.output, self.digest = np.zeros((n_tx, 4), np.uint64), np.zeros(n_tx, np.uint64)
        self.sink, self.stop = np.zeros(n_tx, np.uint64), np.zeros(n_tx, np.int64)
        self._sums = np.zeros((workers, len(p.shared_keys) + 4, 4), np.uint64)  # +4 rows: workers on lines of their own
        self._stack = np.zeros((workers, 1025, 4), np.uint64)
        self._saved = np.zeros((workers, p.most_written + 1, 4), np.uint64)
        self._saved_place = np.zeros((workers, p.most_written + 16), np.int32)
        self._counter = np.zeros(waves.PAD, np.int64)
        self._digests = np.zeros((len(block.payload_indptr) - 1, 4), np.uint64)
        self.block_order = np.arange(n_tx, dtype=np.int32)
        self._footprint = inputs(block.footprint_indptr, block.footprint_keys, block.footprint_modes)
        self._fixed = (
            *inputs(block.op_indptr, p.rows, p.op_gas, block.words),
            self._digests,
            *inputs(block.gas_limit, p.intrinsic, p.static_gas, p.flags, p.prices),
            self.values,
            self._sums,
        )
        self.reset()

    def reset(self) -> None:
        """State before the block."""
        self.values[:] = self.block.pre_values

    def _arguments(self, order: NDArray[np.int32] | None) -> tuple[Any, ...]:
        """Arguments that all run kernels share, up to `values`."""
        return (*inputs(self.block_order if order is None else order), *self._fixed)

    @property
    def _receipts(self) -> tuple[Any, ...]:
        return self.status, self.gas_used, self.refund, self.output, self.digest, self.sink, self.stop

    @property
    def _one_worker(self) -> tuple[Any, ...]:
        return self._stack[0], self._saved[0], self._saved_place[0]

    def serial_call(self, order: NDArray[np.int32] | None = None) -> Call:
        """A serial run in `order` (default: block order)."""
        return serial.run_serial, (*self.program.hashing, *self._arguments(order), *self._one_worker, *self._receipts)

    def waves_call(self, wave_indptr: NDArray[np.int64], wave_tx: NDArray[np.int32], least_work: int) -> Call:
        """A run in waves; those whose guessed work is below `least_work` nanoseconds run on one thread."""
        total = np.zeros(len(wave_tx) + 1, np.int64)
        np.cumsum(self.program.work[wave_tx], out=total[1:])
        plan = inputs(wave_indptr, np.diff(total[wave_indptr]))
        head = (self._counter, self.workers, *plan, least_work, *self.program.hashing, self.program.hash_work)
        scratch = (self._stack, self._saved, self._saved_place)
        shared = inputs(self.program.shared_keys, self.program.shared)
        common = (*self._footprint, *self._arguments(wave_tx))
        return waves.run_waves, (*head, *shared, *common, *scratch, *self._receipts)

    def timed_serial(self, order: NDArray[np.int32] | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Run serially and return when each transaction began and ended, in nanoseconds from an arbitrary zero.

        All payloads are hashed before the first transaction; a transaction's share of that time is in `hash_share`.
        """
        begin, end = np.zeros(self.block.n_tx, np.int64), np.zeros(self.block.n_tx, np.int64)
        arguments = (*self.program.hashing, *self._arguments(order), *self._one_worker, *self._receipts)
        hashing = serial.run_timed(begin, end, *arguments)
        return begin, end + self._hash_share(int(hashing))

    def _hash_share(self, hashing: int) -> NDArray[np.int64]:
        """(n_tx,) int64: the time of hashing shared out by permutations."""
        block = self.block
        n_blocks = np.diff(block.payload_indptr) // keccak.RATE + 1
        hashed = np.flatnonzero(block.op_code == Op.KECCAK)
        tx = np.searchsorted(block.op_indptr, hashed, side="right") - 1
        each = np.bincount(tx, weights=n_blocks, minlength=block.n_tx)
        return (each * (hashing / max(1, int(n_blocks.sum())))).astype(np.int64)

    def changes(
        self, order: NDArray[np.int32] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint64]]:
        """Run serially and return the net changes of each transaction: CSR by position in `order`, keys, values."""
        block = self.block
        size, widest = len(block.footprint_keys), int(np.diff(block.footprint_indptr).max(initial=0))
        indptr, keys = np.zeros(block.n_tx + 1, np.int64), np.empty(size, np.int32)
        values, before = np.empty((size, 4), np.uint64), np.empty((widest, 4), np.uint64)
        arguments = (*self.program.hashing, *self._arguments(order), *self._one_worker, *self._receipts)
        total = serial.run_changes(*self._footprint, indptr, keys, values, before, *arguments)
        return indptr, keys[:total].copy(), values[:total].copy()
