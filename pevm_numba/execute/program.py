"""A block encoded for the interpreter: made once for block and prices, and kept on the block.

There are three layouts of the state that programs work on: one row for each key (serial), the same with partial sums for
balances that several transactions credit (in place on several threads), and one row for each entry of the footprint
(versions).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from .._kernels import codes, encode, keccak, versions
from .._kernels.context import Code, Hashing
from .._kernels.jit import inputs, read_only
from ..block import Block
from ..engines.shapes import Shapes, shapes_of
from ..machine.gas import GasSchedule, gas_schedule
from ..machine.ops import Mode, Op

__all__ = ["Layout", "Program", "footprint_of", "hash_share", "program_of", "reads_behind_credits"]

Layout = Literal["keys", "sums", "entries"]

#: Guessed nanoseconds of one permutation of keccak, of which several run at once.
_PERMUTATION_NS: Final = 60


@dataclass(frozen=True, eq=False)
class Program:
    """A block encoded for the interpreter under given prices, in one of the layouts.

    Parameters
    ----------
    code : Code
    hashing : Hashing
        Payloads in groups that are hashed at once; the digests are those of a run, and empty here.
    shared_keys : (n_shared,) int32
        Keys whose credits go to partial sums; none but in the layout "sums".
    shared : (n_keys,) int32
        The number of each key's partial sum, or -1.
    most_written : int
        Largest number of keys that one transaction writes.
    work : (n_tx,) int64
        Guessed run time in nanoseconds, hashing left out.
    hash_work : int
        Guessed time of hashing in nanoseconds.
    """

    code: Code
    hashing: Hashing
    shared_keys: NDArray[np.int32]
    shared: NDArray[np.int32]
    most_written: int
    work: NDArray[np.int64]
    hash_work: int

    @cached_property
    def total_work(self) -> int:
        """Guessed run time of the block on one core in nanoseconds."""
        return int(self.work.sum()) + self.hash_work

    @cached_property
    def shapes(self) -> Shapes:
        """Of its transactions."""
        return shapes_of(self.code)


def program_of(block: Block, gas: str | GasSchedule | None = None, layout: Layout = "keys") -> Program:
    """The encoded block; equal layouts of one block are one object."""
    prices = gas_schedule(block.fork if gas is None else gas)
    if layout == "entries":
        return _once(block, ("entries", prices.costs), lambda: _by_entry(block, program_of(block, prices)))
    credited = _credited_by_several(block) if layout == "sums" else np.zeros(0, np.int32)
    return _once(block, ("program", prices.costs, len(credited) > 0), lambda: _encode(block, prices, credited))


def footprint_of(block: Block) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]]:
    """Offsets, keys and modes of the block's footprint, for kernels."""
    return inputs(block.footprint_indptr, block.footprint_keys, block.footprint_modes)  # type: ignore[return-value]


def _once(block: Block, tag: Any, make: Any) -> Any:
    if tag not in block._derived:
        block._derived[tag] = make()
    return block._derived[tag]


def _credited_by_several(block: Block) -> NDArray[np.int32]:
    """Keys that at least two transactions only credit."""

    def find() -> NDArray[np.int32]:
        credited = block.footprint_keys[block.footprint_modes == Mode.CREDIT]
        return np.flatnonzero(np.bincount(credited, minlength=block.n_keys) > 1).astype(np.int32)

    found: NDArray[np.int32] = _once(block, "credited", find)
    return found


def reads_behind_credits(block: Block, order: NDArray[np.int32]) -> int:
    """How many credits the versioned reads of a block add up in the serial `order`, if each transaction runs once."""
    if not len(_credited_by_several(block)):
        return 0
    return int(versions.credit_walks(read_only(order), *footprint_of(block), np.zeros(block.n_keys, np.int32)))


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
    encoded = inputs(
        block.op_indptr, rows, op_gas, block.words, block.gas_limit, intrinsic, static_gas, flags, prices.array,
        np.zeros((0, 4), np.int64), np.zeros((0, 0), np.int64),
    )  # fmt: skip
    code = Code(*encoded)
    hashing = Hashing(
        read_only(indptr), read_only(members), read_only(block.payload_indptr), read_only(block.payload_data),
        np.zeros((0, 4), np.uint64),
    )  # fmt: skip
    shared_keys, shared, work = inputs(shared_keys, shared, work)
    return Program(code, hashing, shared_keys, shared, int(most), work, _PERMUTATION_NS * n_blocks)


def _by_entry(block: Block, program: Program) -> Program:
    code = program.code
    rows = np.empty_like(code.rows)
    footprint = inputs(block.footprint_indptr, block.footprint_keys)
    versions.key_rows_to_entries(*inputs(code.op_indptr, code.rows), *footprint, block.n_keys, rows)
    return replace(program, code=code._replace(rows=read_only(rows)))


def _hash_groups(payload_indptr: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Payloads in groups of at most LANES with the same number of rate blocks: (group offsets, members)."""
    n_blocks = np.diff(payload_indptr) // keccak.RATE
    members = np.argsort(n_blocks, kind="stable").astype(np.int32)
    ordered = n_blocks[members]
    class_start = np.flatnonzero(np.diff(ordered, prepend=-1))
    rank = np.arange(len(members)) - np.repeat(class_start, np.diff(np.append(class_start, len(members))))
    starts = np.flatnonzero(rank % keccak.LANES == 0)
    return np.append(starts, len(members)).astype(np.int64), members


def hash_share(block: Block, hashing: int) -> NDArray[np.int64]:
    """(n_tx,) int64: the nanoseconds of hashing a block's payloads shared out by permutations."""
    n_blocks = np.diff(block.payload_indptr) // keccak.RATE + 1
    hashed = np.flatnonzero(block.op_code == Op.KECCAK)
    tx = np.searchsorted(block.op_indptr, hashed, side="right") - 1
    each = np.bincount(tx, weights=n_blocks, minlength=block.n_tx)
    return (each * (hashing / max(1, int(n_blocks.sum())))).astype(np.int64)
