"""What is measured: presets and files as named blocks, and stand-in work added to them so that parallelism can matter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns

import numpy as np

from .. import door, joining
from ..block import Block
from ..execute.workspace import Workspace
from ..generate import generate
from ..io.files import FileKind, kind_of, read_blocks
from ..machine.ops import MAX_COUNT, Op

__all__ = ["DEFAULT_PRESETS", "Scenario", "add_noops", "from_path", "from_presets", "nanoseconds_per_step"]

_KIND_NAMES = {FileKind.BLOCKS: "block", FileKind.CRYO: "cryo", FileKind.OP_TRACE: "op_trace", FileKind.SEED_JSON: "seed"}

#: Presets of a run without arguments.
DEFAULT_PRESETS = ("small", "medium", "large")


@dataclass(frozen=True, eq=False)
class Scenario:
    """A named block."""

    name: str
    block: Block


def from_presets(names: tuple[str, ...], seed: int = 42) -> Iterator[Scenario]:
    """Generated blocks."""
    for name in names:
        yield Scenario(name, generate(name, seed=seed))


def from_path(path: Path) -> Iterator[Scenario]:
    """Blocks of a file or folder, named after the kind of file and their number."""
    kind = _KIND_NAMES[kind_of(path)]
    for block in read_blocks(path):
        yield Scenario(f"{kind} {block.number}", block)


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
    space = Workspace(Block.from_programs([[("NOOP", steps)]] * 10))
    kernel, arguments = space.serial_call()
    kernel(*arguments)
    best = min(_elapsed(kernel, arguments) for _ in range(15))
    return best / (10 * steps)


def _elapsed(kernel: object, arguments: tuple[object, ...]) -> int:
    start = perf_counter_ns()
    kernel(*arguments)  # type: ignore[operator]  # a Numba dispatcher
    return perf_counter_ns() - start
