"""Chains of real blocks on stores: what cold reads cost, and what reading ahead saves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final, NamedTuple

import numpy as np

from ..access.sets import AccessSets
from ..errors import ExecutionError
from ..evm.block import EvmBlock
from ..evm.world import AccountState
from ..execute.chain import ChainStep, run_chain
from ..execute.run import execute
from ..storage.base import StateStore
from ..storage.delayed import DelayedStore
from ..storage.opening import open_store
from ..storage.world import put_world, read_world

__all__ = ["DELAYS_US", "KINDS", "Chain", "backend_rows", "delay_rows", "in_parts"]

#: Microseconds that a read takes more.
DELAYS_US: Final = (0, 10, 100, 1000)
#: How blocks are read for: each account and slot when it is needed; what the transactions name, ahead; all that the block's
#: access list names, ahead.
KINDS: Final = ("on demand", "named", "listed")


class Chain(NamedTuple):
    """Blocks in order, the accounts before them and after them, and what each accesses."""

    name: str
    blocks: list[EvmBlock]
    before: Any
    after: dict[bytes, AccountState]
    sets: dict[int, AccessSets]


def in_parts(block: EvmBlock, n: int) -> Chain:
    """A block's transactions in several blocks, one after the other: a chain whose state is known.

    Examples
    --------
    >>> from ..evm.workloads import generate_evm
    >>> chain = in_parts(generate_evm("transfers", n_tx=9, number=5), 3)
    >>> [(one.number, one.n_tx) for one in chain.blocks]
    [(5, 3), (6, 3), (7, 3)]
    """
    size, parts, sets, state = max(1, -(-block.n_tx // n)), list[EvmBlock](), dict[int, AccessSets](), block.state
    for i in range(n):
        number = block.number + i
        hashes = {k: k.to_bytes(32, "big") for k in range(max(0, number - 256), number)} | dict(block.env.block_hashes)
        env = replace(block.env, number=number, block_hashes=hashes)
        txs = block.transactions[i * size : (i + 1) * size]
        done = execute(EvmBlock(env, txs, state), "serial")
        parts.append(EvmBlock(env, txs, {}))
        sets[number], state = done.observed, done.state
    return Chain(f"{block.number}", parts, block.state, dict(state), sets)


def _run(chain: Chain, store: StateStore, behind: StateStore, kind: str) -> tuple[float, list[ChainStep]]:
    """Run a chain, and compare all accounts: nanoseconds.

    Raises
    ------
    ExecutionError
        If they are others than in memory.
    """
    lists: Callable[[Any], Any] | None = (lambda block: chain.sets[block.number]) if kind == "listed" else None
    start = perf_counter_ns()
    steps = run_chain(chain.blocks, store, "serial", lists=lists, prefetch=kind != "on demand")
    taken = float(perf_counter_ns() - start)
    if read_world(behind) != chain.after:
        raise ExecutionError(f"chain of block {chain.name}, {kind}: accounts are others than in memory")
    return taken, steps


def _row(chain: Chain, backend: str, delay: int, kind: str, times: Sequence[float], steps: list[ChainStep]) -> dict[str, Any]:
    return {
        "table": "chain", "chain": chain.name, "blocks": len(chain.blocks), "n_tx": sum(b.n_tx for b in chain.blocks),
        "backend": backend, "delay_us": delay, "kind": kind, "rounds": len(times), "ms": float(np.median(times)) / 1e6,
        "ms_low": min(times) / 1e6, "ms_high": max(times) / 1e6,
        "prefetched": sum(step.prefetched for step in steps), "met": sum(sum(step.fetches[:3]) for step in steps),
        "met_ms": sum(step.fetches.ns for step in steps) / 1e6, "waited_ms": sum(step.waited_ns for step in steps) / 1e6,
        "verified": True,
    }  # fmt: skip


def delay_rows(chain: Chain, rounds: int, delays: Sequence[int] = DELAYS_US) -> Iterator[dict[str, Any]]:
    """A chain on memory that reads so much later, every kind in turn.

    Yields
    ------
    dict
        Of the table "chain".
    """
    for delay in delays:
        runs: dict[str, list[tuple[float, list[ChainStep]]]] = {kind: [] for kind in KINDS}
        for _ in range(rounds):
            for kind, made in runs.items():
                memory = open_store()
                put_world(memory, chain.before)
                made.append(_run(chain, DelayedStore(memory, 1000 * delay), memory, kind))
        for kind, made in runs.items():
            yield _row(chain, "memory", delay, kind, [taken for taken, _ in made], made[-1][1])


def backend_rows(chain: Chain, folder: Path, backends: Sequence[str], rounds: int) -> Iterator[dict[str, Any]]:
    """A chain on a store of each backend, newly made each time, every commit synced.

    Yields
    ------
    dict
        Of the table "chain".
    """
    runs: dict[tuple[str, str], list[tuple[float, list[ChainStep]]]] = {}
    for turn in range(rounds):
        for backend in backends:
            for kind in ("on demand", "listed"):
                place = None if backend == "memory" else folder / f"chain {chain.name} {backend} {kind} {turn}"
                with open_store(place, "c", backend=backend) as store:
                    put_world(store, chain.before)
                    runs.setdefault((backend, kind), []).append(_run(chain, store, store, kind))
    for (backend, kind), made in runs.items():
        yield _row(chain, backend, 0, kind, [taken for taken, _ in made], made[-1][1])
