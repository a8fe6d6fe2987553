"""What is measured: presets and files as named blocks, and stand-in work added to them so that parallelism can matter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import door, joining
from ..access.sets import AccessSets
from ..block import Block
from ..errors import BlockError
from ..evm.block import AnyBlock, EvmBlock
from ..evm.forks import Fork
from ..evm.header import BlockEnv
from ..evm.transaction import Transaction
from ..evm.world import AccountState
from ..execute.serial import SerialJob
from ..generate import generate
from ..io.any_block import read_any_blocks
from ..io.evm_tables import is_evm_folder
from ..io.files import FileKind, kind_of
from ..machine.ops import MAX_COUNT, Mode, Op

__all__ = [
    "DEFAULT_PRESETS", "Scenario", "add_noops", "block_of", "from_path", "from_presets", "kind_name", "nanoseconds_per_step",
    "tiny_evm_block", "with_work",
]  # fmt: skip

_KIND_NAMES = {FileKind.BLOCKS: "block", FileKind.CRYO: "cryo", FileKind.OP_TRACE: "op_trace", FileKind.SEED_JSON: "seed"}

#: Presets of a run without arguments.
DEFAULT_PRESETS = ("small", "medium", "large")


@dataclass(frozen=True, eq=False)
class Scenario:
    """A named block."""

    name: str
    block: AnyBlock


def from_presets(names: tuple[str, ...], seed: int = 42) -> Iterator[Scenario]:
    """Generated blocks."""
    for name in names:
        yield Scenario(name, generate(name, seed=seed))


def from_path(path: Path) -> Iterator[Scenario]:
    """Blocks of a file or folder, named after the kind of file and their number."""
    kind = kind_name(path)
    for block in read_any_blocks(path):
        yield Scenario(f"{kind} {block.number}", block)


def kind_name(path: Path) -> str:
    """The kind of file or folder, as the name of a scenario begins."""
    return "evm" if is_evm_folder(path) else _KIND_NAMES[kind_of(path)]


def tiny_evm_block() -> EvmBlock:
    """Calls that have nothing in common, and just so many that no executor stays serial."""
    who = [bytes([i]) * 20 for i in range(1, 100)]
    state = {sender: AccountState(10**18, 0, b"", {}) for sender in who} | {b"\xcc" * 20: AccountState(0, 1, b"\0", {})}
    txs = [Transaction(gas_price=9, gas_limit=30_000, to=b"\xcc" * 20, sender=sender) for sender in who]
    return EvmBlock(BlockEnv(number=1, timestamp=1, fork=Fork.BERLIN), txs, state)


def add_noops(block: Block, count: int) -> Block:
    """The block with one NOOP of `count` steps at the end of every program, and as much more gas to pay for it.

    Raises
    ------
    BlockError
        If count is not in [1, 2**31).

    Examples
    --------
    >>> add_noops(Block.from_programs([[("BURN", 1)]]), 1000).to_programs()
    [[(<Op.BURN: 8>, 1), (<Op.NOOP: 5>, 1000)]]
    """
    count = door.integer("count", count, 1, MAX_COUNT)
    columns = joining.columns_of(block)
    ends = block.op_indptr[1:]
    for name, value in (("op_code", int(Op.NOOP)), ("op_key", -1), ("op_arg", count)):
        columns[name] = np.insert(columns[name], ends, value)
    columns["op_indptr"] = block.op_indptr + np.arange(block.n_tx + 1)
    columns["gas_limit"] = np.minimum(block.gas_limit, 2**63 - 1 - count) + count
    return Block.from_arrays(number=block.number, fork=block.fork, header=block.header, meta=block.meta, **columns)


def nanoseconds_per_step() -> float:
    """Measured cost of one NOOP step on this machine, now: the fastest of some runs."""
    steps = 20_000
    return _fastest_ns(Block.from_programs([[("NOOP", steps)]] * 10)) / (10 * steps)


def _fastest_ns(block: Block, runs: int = 15) -> float:
    """Time of a serial run in nanoseconds, the least of some."""
    job, times = SerialJob(block), []
    for _ in range(runs + 1):
        job.reset()
        times.append(job.run()[1]["execute_ns"])
    return float(min(times))


def block_of(access: AccessSets) -> Block:
    """A block that accesses just these keys: an SLOAD of each that is read, and an SLOAD, ADD, SSTORE of each written.

    Raises
    ------
    BlockError
        If an access is a CREDIT.

    Examples
    --------
    >>> [op.name for op, *_ in block_of(AccessSets.from_dicts([{0: 1, 1: 2}], n_keys=2)).to_programs()[0]]
    ['SLOAD', 'SLOAD', 'ADD', 'SSTORE']
    """
    credits = np.flatnonzero(access.modes & Mode.CREDIT)
    if len(credits):
        raise BlockError(f"modes[{credits[0]}] = {access.modes[credits[0]]}: must be READ or WRITE, without CREDIT")
    written = (access.modes & Mode.WRITE) != 0
    length = np.where(written, 3, 1)
    start = np.concatenate([[0], np.cumsum(length)])
    code, key = np.empty(start[-1], np.uint8), np.full(start[-1], -1, np.int32)
    arg = np.full(start[-1], -1, np.int32)
    loads, adds = start[:-1], start[:-1][written] + 1
    code[loads], key[loads] = Op.SLOAD, access.keys
    code[adds], arg[adds] = Op.ADD, 0
    code[adds + 1], key[adds + 1] = Op.SSTORE, access.keys[written]
    slot, sender = np.zeros((access.n_keys, 32), np.uint8), np.zeros((access.n_tx, 20), np.uint8)
    slot[:, 24:] = _big_endian(access.n_keys)
    sender[:, 12:] = _big_endian(access.n_tx)
    return Block.from_arrays(
        sender=sender, op_indptr=start[access.indptr], op_code=code, op_key=key, op_arg=arg,
        words=np.array([[7, 0, 0, 0]], np.uint64), key_address=np.zeros((access.n_keys, 20), np.uint8),
        key_field=np.zeros(access.n_keys, np.uint8), key_slot=slot,
    )  # fmt: skip


def _big_endian(n: int) -> NDArray[np.uint8]:
    return np.arange(n, dtype=">u8").view(np.uint8).reshape(-1, 8)


def with_work(block: Block, microseconds: float) -> Block:
    """The block with so much serial work in each transaction in the mean, on this machine: by its NOOPs, or by new ones.

    Where programs have NOOPs, as those of real blocks, all are made longer or shorter in proportion, so that light and heavy
    transactions stay what they are; else every transaction gets one. Never less than without any.
    """
    steps = np.where(block.op_code == Op.NOOP, block.op_arg, 0).astype(np.int64)
    bare = _with_steps(block, np.zeros_like(steps)) if steps.any() else block
    wanted = max(0.0, microseconds * 1e3 * block.n_tx - _fastest_ns(bare)) / nanoseconds_per_step()
    if not steps.any():
        count = round(wanted / max(1, block.n_tx))
        return add_noops(block, count) if count else block
    return _with_steps(block, np.minimum(np.rint(steps * (wanted / steps.sum())), MAX_COUNT).astype(np.int64))


def _with_steps(block: Block, steps: NDArray[np.int64]) -> Block:
    """The block with these counts for its NOOPs, and as much more gas."""
    columns = joining.columns_of(block)
    noop = block.op_code == Op.NOOP
    columns["op_arg"] = np.where(noop, steps, block.op_arg)
    more = np.concatenate([[0], np.cumsum(np.where(noop, steps - block.op_arg, 0))])
    extra = np.maximum(np.diff(more[block.op_indptr]), 0)
    columns["gas_limit"] = np.minimum(block.gas_limit, 2**63 - 1 - extra) + extra
    return Block.from_arrays(number=block.number, fork=block.fork, header=block.header, meta=block.meta, **columns)
