"""Order-fixed policies keep the block's result; order-free ones build another block, namely `Schedule.serial_order`."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from .._kernels import policies as _k
from .._kernels.jit import inputs
from ..access.sets import AccessSets
from ..block import Block
from ..errors import ScheduleError
from .conflicts import GRAPH_LIMIT, adjacency
from .dependencies import costs
from .independent import independent_waves, sender_chains
from .plan import Schedule

__all__ = ["POLICIES", "schedule"]

#: Policies by name, and whether they keep block order.
POLICIES: Final[dict[str, bool]] = {"levels": True, "mis": False, "mis-parallel": False}


def schedule(
    block_or_access: Block | AccessSets,
    policy: str = "levels",
    *,
    workers: int | None = None,
    cost: ArrayLike | None = None,
    block: Block | None = None,
    limit: int = GRAPH_LIMIT,
) -> Schedule:
    """Group transactions into waves that may run one after the other, each wave at once.

    Parameters
    ----------
    block_or_access : Block or AccessSets
        A block is scheduled by its static access sets.
    policy : str
        ``"levels"``: block order, the fewest waves possible with barriers. ``"mis"``: order free; waves are independent
        sets by minimum dynamic degree. ``"mis-parallel"``: the same schedule, made in rounds on Numba's threads.
    workers : int, optional
        At least 1. Checked; none of these policies depends on it.
    cost : (n_tx,) integers or floats, optional
        Checked; none of these policies depends on it.
    block : Block, optional
        Whose transactions the access sets are about, for senders and nonces. Without it, with bare access sets, an
        order-free policy takes every transaction to have its own sender.
    limit : int
        Most entries of the conflict graph, for the order-free policies.

    Returns
    -------
    Schedule
        With `serial_order` block order (``levels``), or the order of the waves.

    Raises
    ------
    ScheduleError
        If the policy is unknown.
    BlockError
        If workers, cost or limit is not as described, or block and access sets differ in size.
    TooLargeError
        If an order-free policy needs a conflict graph over the limit; names the hot key.

    Notes
    -----
    ``levels``: O(n_accesses + n_keys); never builds a graph. The others: O(n_tx + edges) beside the graph.

    Examples
    --------
    >>> access = AccessSets.from_dicts([{0: 2}, {0: 2, 1: 2}, {1: 2}], n_keys=2)
    >>> schedule(access).waves(), schedule(access, "mis").waves()
    ([[0], [1], [2]], [[0, 2], [1]])
    >>> schedule(access, "mis").serial_order.tolist()
    [0, 2, 1]
    """
    if not isinstance(policy, str) or policy not in POLICIES:
        raise ScheduleError(f"policy = {policy!r:.200}: must be one of {', '.join(POLICIES)}")
    if block is not None:
        door.instance("block", block, Block)
    limit = door.integer("limit", limit, 0, 2**62)
    access, block = _access_of(block_or_access, block)
    if workers is not None:
        door.integer("workers", workers, 1, 2**31 - 1)
    costs(cost, access.n_tx)
    if policy == "levels":
        return _levels(access)
    if block is None:
        first, next_of = np.arange(access.n_tx, dtype=np.int32), np.full(access.n_tx, -1, np.int32)
    else:
        first, next_of = sender_chains(block.sender, block.nonce)
    graph = adjacency(access, limit=limit, block=block)
    wave_indptr, wave_tx = independent_waves(*graph, first, next_of, parallel=policy == "mis-parallel")
    return Schedule.trusted(policy, wave_indptr, wave_tx, wave_tx.copy(), access.exact_for)


def _access_of(given: Block | AccessSets, block: Block | None) -> tuple[AccessSets, Block | None]:
    if isinstance(given, Block):
        from ..access.oracles import access_sets

        return access_sets(given), given
    if not isinstance(given, AccessSets):
        what = f"block_or_access = {given!r:.200}: {type(given).__name__} cannot be scheduled"
        raise ScheduleError(f"{what}: must be a Block or AccessSets")
    block = given.exact_for if block is None else block
    if block is not None:
        door.integer("number of transactions of the access sets", given.n_tx, block.n_tx, block.n_tx)
    return given, block


def _levels(access: AccessSets) -> Schedule:
    n_tx = access.n_tx
    level, state = np.empty(n_tx, np.int32), np.zeros((access.n_keys, 4), np.int32)
    n_levels = _k.levels(*inputs(access.indptr, access.keys, access.modes), state, level)
    wave_start: NDArray[np.int64] = np.zeros(n_levels + 2, np.int64)
    wave_tx = np.empty(n_tx, np.int32)
    order = np.arange(n_tx, dtype=np.int32)
    _k.group_by_wave(*inputs(order, level), wave_start, wave_tx)
    return Schedule.trusted("levels", wave_start[:-1].copy(), wave_tx, order, access.exact_for)
