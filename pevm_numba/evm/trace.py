"""Every step of one transaction, as EIP-3155 has it: the machine stops before each and goes on, and runs nothing twice."""

from __future__ import annotations

import ctypes
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from .._kernels.evm import layout
from ..door import integer
from .arena import Arena
from .block import EvmBlock
from .engine import Engine
from .forks import Fork
from .machine import Evm, Outcome
from .opcodes import name_of
from .outcomes import dtype_of
from .plans import serial_plan
from .trie import world_root
from .world import World

__all__ = ["Step", "Trace", "known_state", "trace"]

_FRAME: Final = dtype_of(layout.FRAME)


class Step(NamedTuple):
    """One opcode before it runs.

    `pc` and `memory_size` are in bytes, `stack` has its top last, `depth` is 1 in the outermost call, `returned` is what the
    last call within this one gave back. `cost` is all gas that was gone when the caller went on: with a call also what was
    given to it, of a step that fails all that was left.
    """

    pc: int
    op: int
    gas: int
    cost: int
    memory_size: int
    stack: tuple[int, ...]
    depth: int
    returned: bytes
    refund: int


class Trace(NamedTuple):
    """Steps and outcome of one transaction."""

    fork: Fork
    steps: list[Step]
    outcome: Outcome
    #: Root of the accounts known after the transaction: the chain's only where all are.
    state_root: bytes

    def lines(self) -> Iterator[str]:
        """JSON lines of EIP-3155: one for each step, and the summary."""
        for step in self.steps:
            yield json.dumps({
                "pc": step.pc, "op": step.op, "gas": hex(step.gas), "gasCost": hex(step.cost), "memSize": step.memory_size,
                "stack": [hex(value) for value in step.stack], "depth": step.depth,
                "returnData": "0x" + step.returned.hex(), "refund": hex(step.refund), "opName": name_of(step.op, self.fork),
            })  # fmt: skip
        done = self.outcome
        yield json.dumps({
            "stateRoot": "0x" + self.state_root.hex(), "output": "0x" + done.output.hex(), "gasUsed": hex(done.gas_used),
            "pass": done.success,
        })  # fmt: skip


def _seen(arena: Arena) -> dict[str, Any]:
    """The step that the machine has stopped before."""
    depth = arena["depth"]
    frames = arena.buffer("frames")[: (depth + 1) * layout.FRAME.size].view(_FRAME)
    frame = frames[depth]
    pc, count = int(frame["pc"]), int(frame["sp"] - frame["stack"]) // 32
    words = np.frombuffer(ctypes.string_at(int(frame["stack"]), 32 * count), np.uint8).reshape(-1, 32)
    return {
        "pc": pc - int(frame["code"]), "op": ctypes.string_at(pc, 1)[0], "gas": int(frame["gas"]),
        "memory_size": int(frame["memory_size"]), "depth": depth + 1, "refund": arena["refund"],
        "stack": tuple(int.from_bytes(word.tobytes(), "little") for word in words),
        "returned": arena.buffer("returned")[: arena["returned_size"]].tobytes(),
        "outer": int(frames[depth - 1]["gas"]) if depth else 0,
    }  # fmt: skip


def _costed(steps: list[dict[str, Any]], left: int) -> Iterator[Step]:
    """What each step took: the difference to when its own call went on, `left` being what the outermost one ended with."""
    for i, step in enumerate(steps):
        after = steps[i + 1] if i + 1 < len(steps) else None
        if after is None:
            rest = left if step["depth"] == 1 else 0
        elif after["depth"] == step["depth"]:
            rest = after["gas"]
        elif after["depth"] > step["depth"]:
            rest = after["outer"]
        else:  # the call ends here: what its caller got back is what was left, if it went on at once
            rest = after["gas"] - step["outer"] if after["depth"] == step["depth"] - 1 else 0
        fields = {name: value for name, value in step.items() if name != "outer"}
        yield Step(**fields, cost=max(0, step["gas"] - max(0, rest)))


def known_state(block: EvmBlock, n_tx: int) -> World:
    """The state before a block, as far as its first transactions need it."""
    if block.source is None:
        return block.state
    engine = Engine(block.env, block.transactions[:n_tx], block.state, source=block.source)
    engine.run(serial_plan(n_tx))
    return engine.fetched.world if engine.fetched is not None else {}


def trace(block: EvmBlock, index: int) -> Trace:
    """Run the transactions before one, then that one step by step.

    Parameters
    ----------
    block : EvmBlock
    index : int
        Of the transaction in its block.

    Raises
    ------
    BlockError
        If there is no such transaction, or the block may not have one of them.

    References
    ----------
    EIP-3155.

    Examples
    --------
    >>> from .header import BlockEnv
    >>> from .transaction import Transaction
    >>> state = {b"\\x01" * 20: (10**18, 0, b"", {}), b"\\x02" * 20: (0, 1, bytes.fromhex("6003600401"), {})}
    >>> tx = Transaction(gas_price=9, gas_limit=50_000, to=b"\\x02" * 20, sender=b"\\x01" * 20)
    >>> found = trace(EvmBlock(BlockEnv(number=7, timestamp=1, fork=Fork.BERLIN), [tx], state), 0)
    >>> [(step.op, step.cost, step.stack) for step in found.steps]
    [(96, 3, ()), (96, 3, (3,)), (1, 3, (3, 4)), (0, 0, (7,))]
    """
    integer("index", index, 0, block.n_tx - 1)
    engine = Engine(block.env, block.transactions[:index], known_state(block, index + 1))
    engine.run(serial_plan(index))
    machine, steps = Evm(block.env, engine.transaction_state()), defaultdict[Arena, list[dict[str, Any]]](list)
    outcome = machine.run(block.transactions[index], lambda arena: steps[arena].append(_seen(arena)))
    costed = _costed(steps[machine.arena], machine.arena["gas_left"])
    return Trace(block.env.fork, [*costed], outcome, world_root(machine.state()))
