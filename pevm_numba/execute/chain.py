"""Many blocks on a store, one after the other; what the next one needs is read while the one before it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter_ns
from typing import Any, NamedTuple

from .. import door
from ..engines.engine import Engine
from ..errors import BlockError
from ..evm.block import AnyBlock, need_block
from ..evm.lazy import Fetches
from ..storage.base import StateStore
from ..storage.prefetch import PrefetchList
from ..storage.world import OneByOne
from .evm_result import EvmExecution
from .job import Outcome
from .machines import machine_of
from .result import Execution
from .run import advance, execute

__all__ = ["ChainStep", "run_chain"]

log = logging.getLogger("pevm_numba")


class ChainStep(NamedTuple):
    """One block of a chain.

    Attributes
    ----------
    number, n_tx, gas_used : int
    executor : str
    ns : int
        From its turn until it was committed.
    waited_ns : int
        Of these, for what was being read beforehand.
    prefetched : int
        Keys that had been read beforehand.
    fetches : Fetches
        What had to be read on the way.
    """

    number: int
    n_tx: int
    gas_used: int
    executor: str
    ns: int
    waited_ns: int
    prefetched: int
    fetches: Fetches


def _remaining(blocks: Iterable[AnyBlock], last: int | None) -> Iterator[AnyBlock]:
    """Blocks after the last one that the store has had, ascending."""
    before = -1
    for block in blocks:
        need_block("blocks", block)
        if block.number <= before:
            raise BlockError(f"block {block.number} after block {before}: blocks of a chain must ascend")
        before = block.number
        if last is None or block.number > last:
            yield block
        else:
            log.info("block %d: the store has had it", block.number)


def run_chain(
    blocks: Iterable[AnyBlock],
    store: StateStore,
    executor: str = "auto",
    *,
    lists: Callable[[AnyBlock], PrefetchList | None] | None = None,
    prefetch: bool = True,
    workers: int | None = None,
    engine: str | Engine = "interpreter",
    progress: Callable[[ChainStep], Any] | None = None,
    done: Callable[[ChainStep, Execution | EvmExecution], Any] | None = None,
) -> list[ChainStep]:
    """Execute blocks on a store, each on what those before it have left, and commit each.

    Parameters
    ----------
    blocks : iterable of Block or EvmBlock
        Ascending; taken one ahead. The store's state counts, not what they say of the state before them. Those that the
        store has had are left out: a run that was broken off goes on where it was.
    store : StateStore
    executor, workers, engine
        As of `execute`.
    lists : function of a block, optional
        What the block is thought to need besides what its transactions name, such as ``lambda block: predict(block,
        patterns)``; need not be right. Called in another thread, and not at all without `prefetch`.
    prefetch : bool
        Whether what is named is read in one batch, while the block before runs. Else each account and slot of an EVM block
        is read by itself, when it is needed.
    progress : function of a ChainStep, optional
        Called after each commit.
    done : function of a ChainStep and an execution, optional
        The same, for those who look at results: receipts, logs and access sets are made for nobody else.

    Returns
    -------
    list of ChainStep

    Raises
    ------
    BlockError
        If blocks do not ascend, or as `execute`; what was committed before stays.

    Notes
    -----
    What was read while a block ran is brought up to date with what that block has changed, so outcomes are those of
    executing and committing one block after the other.

    Examples
    --------
    >>> from ..evm.workloads import generate_evm
    >>> from ..storage.memory import MemoryStore
    >>> from ..storage.world import put_world
    >>> blocks = [generate_evm("transfers", n_tx=5, seed=n, number=n, n_users=10**6) for n in (1, 2, 3)]
    >>> store = MemoryStore()
    >>> for block in blocks:
    ...     put_world(store, block.state)
    >>> [step.number for step in run_chain(blocks[:2], store)], [step.number for step in run_chain(blocks, store)]
    ([1, 2], [3])
    """
    if not isinstance(store, StateStore):
        raise BlockError(f"store = {door.shown(store, 80)}: must be a StateStore")
    for name, value in (("lists", lists), ("progress", progress), ("done", done)):
        if value is not None and not callable(value):
            raise BlockError(f"{name} = {door.shown(value, 80)}: must be a function")
    if not isinstance(blocks, Iterable):
        raise BlockError(f"blocks = {door.shown(blocks, 80)}: must be several, such as a list")
    last = store.last_block()
    steps: list[ChainStep] = []
    coming = _remaining(blocks, None if last is None else last[0])
    with ThreadPoolExecutor(1, "pevm-prefetch") as pool:
        block, read = next(coming, None), None
        if block is not None and prefetch:
            read = pool.submit(_ahead, block, store, lists)
        while block is not None:
            start = perf_counter_ns()
            ahead = None if read is None else read.result()
            waited = perf_counter_ns() - start
            following = next(coming, None)
            read = pool.submit(_ahead, following, store, lists) if following is not None and prefetch else None
            source = ahead if prefetch else OneByOne(store)
            given: dict[str, Any] = {"store": store, "prefetch": source, "workers": workers, "engine": engine}
            result, name, outcome = _advanced(block, executor, given, whole=done is not None)
            if read is not None:
                read = _renewed(pool, read, outcome.change)
            n_ahead = 0 if ahead is None else ahead.n_keys
            numbers = block.number, block.n_tx, outcome.gas_used
            steps.append(ChainStep(*numbers, name, perf_counter_ns() - start, waited, n_ahead, outcome.fetches))
            if progress is not None:
                progress(steps[-1])
            if done is not None and result is not None:
                done(steps[-1], result)
            block = following
    return steps


def _ahead(block: AnyBlock, store: StateStore, lists: Callable[[AnyBlock], PrefetchList | None] | None) -> Any:
    return machine_of(block).ahead(block, store, None if lists is None else lists(block))


def _renewed(pool: ThreadPoolExecutor, read: Future[Any], change: Any) -> Future[Any]:
    """The same, up to date with what the block before has changed."""

    def renew() -> Any:
        ahead = read.result()
        if ahead is not None:
            ahead.renew(change)
        return ahead

    return pool.submit(renew)


def _advanced(
    block: AnyBlock, executor: str, given: dict[str, Any], whole: bool
) -> tuple[Execution | EvmExecution | None, str, Outcome]:
    """The execution if it is wanted, the executor that ran, and what counts for later blocks; committed."""
    if not whole:
        return (None, *advance(block, executor=executor, **given))
    result = execute(block, executor, **given)
    fetches = result.fetches if isinstance(result, EvmExecution) else Fetches()
    return result, result.executor, Outcome(int(result.gas_used.sum()), machine_of(block).change(result), fetches)
