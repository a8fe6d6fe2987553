"""Order-fixed policies keep the block's result; order-free ones build another block, namely `Schedule.serial_order`."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from .._kernels import policies as _k
from .._kernels.jit import inputs, most_threads
from ..access.sets import AccessSets
from ..block import Block
from ..errors import ScheduleError
from ..evm.block import AnyBlock, need_block
from .colouring import colour_waves, transaction_order
from .conflicts import GRAPH_LIMIT, adjacency
from .costs import cost_of
from .dependencies import dependencies
from .independent import trusted_waves
from .listing import PRIORITIES, list_timeline, priority_order, wave_timeline
from .plan import Schedule
from .senders import chains_of
from .timeline import Timeline

__all__ = ["GRAPH_POLICIES", "POLICIES", "POLICY_PRIORITIES", "schedule"]

#: Policies by name, and whether they keep block order.
POLICIES: Final[dict[str, bool]] = {
    "levels": True, "list": True, "mis": False, "mis-parallel": False, "first-fit": False, "largest-first": False,
}  # fmt: skip

#: Policies that, with their default priority, build the conflict graph.
GRAPH_POLICIES: Final = ("mis", "mis-parallel", "largest-first")

#: The priorities that a policy knows, its default first; policies not named here have none to choose.
POLICY_PRIORITIES: Final[dict[str, tuple[str, ...]]] = {
    "list": ("longest-path", *(name for name in PRIORITIES if name != "longest-path")),
    "first-fit": ("block", "random"),
    "largest-first": ("degree", "estimated-degree"),
}


def schedule(
    block_or_access: AnyBlock | AccessSets,
    policy: str = "levels",
    *,
    workers: int | None = None,
    cost: ArrayLike | str | None = None,
    priority: str | None = None,
    seed: int = 0,
    block: AnyBlock | None = None,
    limit: int = GRAPH_LIMIT,
) -> Schedule:
    """Decide when each transaction may run: waves, the serial order they equal and, for given workers, a timeline.

    Parameters
    ----------
    block_or_access : Block, EvmBlock or AccessSets
        A block is scheduled by its exact access sets, as `access_sets` makes them: of an EVM block by a serial run.
    policy : str
        Block order kept: ``"levels"``, the fewest waves possible with barriers; ``"list"``, no barriers, each transaction
        on one of `workers` as soon as its predecessors are done.
        Order free, waves that are independent sets, each maximal among the eligible (of each sender the lowest
        remaining nonce): ``"mis"``, minimum dynamic degree; ``"mis-parallel"``, the same made in rounds on Numba's threads;
        ``"first-fit"``, each transaction in the first wave that has no conflicting one, in the order of `priority`;
        ``"largest-first"``, the same with most conflicts first.
    workers : int, optional
        At least 1. With it the schedule has a `Timeline` on so many workers (waves: the largest first in each, the
        barrier itself takes no time). ``list`` always has one; by default for the threads that Numba has.
    cost : (n_tx,) integers or floats, or str, optional
        What transactions cost, for timelines and for the priorities of ``list``; default 1 each. By name: ``"unit"``,
        ``"accesses"``, ``"ops"``, and ``"gas"`` where the block knows the chain's. Gas of a run, and measured time, come
        from `pevm_numba.transaction_costs`.
    priority : str, optional
        ``list``: ``"longest-path"`` (of remaining cost; the default), ``"block"`` or ``"largest"``. ``first-fit``:
        ``"block"`` (the default) or ``"random"``. ``largest-first``: ``"degree"`` (the default) or
        ``"estimated-degree"``, the other accessors summed over keys, which needs no graph.
    seed : int
        Of ``"random"``.
    block : Block or EvmBlock, optional
        Whose transactions the access sets are about, for senders and nonces. Without it, with bare access sets, an
        order-free policy takes every transaction to have its own sender.
    limit : int
        Most entries of the conflict graph, for ``mis``, ``mis-parallel`` and the exact degree of ``largest-first``.

    Returns
    -------
    Schedule
        With `serial_order` block order, or for order-free policies the order of the waves.

    Raises
    ------
    ScheduleError
        If policy or priority is unknown.
    BlockError
        If another argument is not as described, or block and access sets differ in size.
    TooLargeError
        If the policy needs a conflict graph over the limit; names the hot key.

    Notes
    -----
    What an EVM block accesses is observed in block order. Run in an order of their own, its transactions may access other
    keys: order-free policies build a block of it as far as those accesses tell, and nothing proves it.

    ``levels``: O(n_accesses + n_keys). ``list``: O(n_accesses + n_tx log n_tx). ``first-fit`` and ``largest-first`` by
    estimated degree work on the keys and build no graph. The others: O(n_tx + edges) beside the graph.

    Examples
    --------
    >>> access = AccessSets.from_dicts([{0: 2}, {0: 2, 1: 2}, {1: 2}], n_keys=2)
    >>> schedule(access).waves(), schedule(access, "mis").waves()
    ([[0], [1], [2]], [[0, 2], [1]])
    >>> schedule(access, "mis").serial_order.tolist()
    [0, 2, 1]
    >>> schedule(access, "list", workers=2, cost=[5, 1, 2]).timeline
    <Timeline: 3 txs on 2 workers, makespan 8>
    """
    priority = _known(policy, priority)
    if block is not None:
        need_block("block", block)
    limit, seed = door.integer("limit", limit, 0, 2**62), door.integer("seed", seed, 0, 2**63 - 1)
    access, block = _access_of(block_or_access, block)
    if workers is not None or policy == "list":
        workers = door.integer("workers", most_threads() if workers is None else workers, 1, 2**31 - 1)
    weight = cost_of(cost, access, block)
    if POLICIES[policy]:
        wave_indptr, wave_tx = _levels(access)
        order = np.arange(access.n_tx, dtype=np.int32)
    else:
        wave_indptr, wave_tx = _order_free(access, block, policy, priority, seed, limit)
        order = wave_tx.copy()
    timeline: Timeline | None = None
    if policy == "list" and workers is not None:
        deps = dependencies(access)
        timeline = list_timeline(deps, priority_order(deps, weight, priority), workers, weight)
    elif workers is not None:
        timeline = wave_timeline(wave_indptr, wave_tx, workers, weight)
    kept = bool((order == np.arange(access.n_tx)).all())
    proved = access.exact_for if kept or isinstance(access.exact_for, Block) else None
    return Schedule.trusted(policy, wave_indptr, wave_tx, order, proved, timeline)


def _known(policy: str, priority: str | None) -> str:
    """The priority, or the policy's default."""
    if not isinstance(policy, str) or policy not in POLICIES:
        raise ScheduleError(f"policy = {door.shown(policy)}: must be one of {', '.join(POLICIES)}")
    known = POLICY_PRIORITIES.get(policy, ())
    if priority is None:
        return known[0] if known else ""
    if not isinstance(priority, str) or priority not in known:
        rule = f"must be one of {', '.join(known)}" if known else "this policy has no priorities to choose from"
        raise ScheduleError(f"priority = {door.shown(priority)} with policy {policy}: {rule}")
    return priority


def _access_of(given: AnyBlock | AccessSets, block: AnyBlock | None) -> tuple[AccessSets, AnyBlock | None]:
    if isinstance(given, AnyBlock):
        from ..access.oracles import access_sets

        return access_sets(given), given
    if not isinstance(given, AccessSets):
        what = f"block_or_access = {door.shown(given)}: {type(given).__name__} cannot be scheduled"
        raise ScheduleError(f"{what}: must be a Block or AccessSets")
    block = given.exact_for if block is None else block
    if block is not None:
        door.integer("number of transactions of the access sets", given.n_tx, block.n_tx, block.n_tx)
    return given, block


def _levels(access: AccessSets) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    n_tx = access.n_tx
    level, state = np.empty(n_tx, np.int32), np.zeros((access.n_keys, 4), np.int32)
    n_levels = _k.levels(*inputs(access.indptr, access.keys, access.modes), state, level)
    wave_start: NDArray[np.int64] = np.zeros(n_levels + 2, np.int64)
    wave_tx = np.empty(n_tx, np.int32)
    _k.group_by_wave(*inputs(np.arange(n_tx, dtype=np.int32), level), wave_start, wave_tx)
    return wave_start[:-1].copy(), wave_tx


def _order_free(
    access: AccessSets, block: AnyBlock | None, policy: str, priority: str, seed: int, limit: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    first, next_of = chains_of(access.n_tx, block)
    if policy in ("mis", "mis-parallel"):
        graph = adjacency(access, limit=limit, block=block)
        return trusted_waves(graph, first, next_of, policy == "mis-parallel")
    if priority == "degree":
        indptr, indices = adjacency(access, limit=limit, block=block)
        order = transaction_order(access, priority, next_of, degree=np.diff(indptr))
        return colour_waves(access, order, next_of, graph=(indptr, indices))
    return colour_waves(access, transaction_order(access, priority, next_of, seed=seed), next_of)
