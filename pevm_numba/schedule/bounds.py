"""Bounds: what holds in block order need not hold once the order is free, and a bound in gas is not one in time."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from .._kernels import bounds as _loads
from .._kernels import policies as _k
from .._kernels.jit import inputs
from ..access.sets import AccessSets, need_access
from ..errors import BlockError
from .costs import cost_of, costs, total_of

__all__ = ["Bounds", "bounds", "compacted", "critical_path_cost", "speedup_bound"]

# Key ids that nobody uses cost little up to here, beside a few for each access.
_FEW_KEYS: Final = 2**16


@dataclass(frozen=True)
class Bounds:
    """What no schedule of a block can beat, for given costs and workers. Make one with `bounds`.

    Exact for whole costs that add up to less than 2**53. With others both sides of a comparison are rounded sums, which may
    differ by about n_tx * 2**-52 of the total: a schedule can seem to beat a bound by as much.

    All that is a time is a float in the unit of the costs. "Order free" holds for every order of the transactions, "block
    order" only for schedules whose result is that of the block.

    Parameters
    ----------
    workers : int
    total : float
        Work of all transactions: the makespan of one worker.
    longest, longest_tx : float, int
        The largest cost and the first transaction that has it (-1: no transactions).
    critical_path : float
        Block order: cost of the longest chain of conflicting transactions.
    levels : int
        Block order: fewest waves; the critical path counted in transactions.
    hot_key_load, hot_key : float, int
        Order free: the most work on one key of which no two pieces can overlap, and that key (-1: no accesses).
    ordered_key_load, ordered_key : float, int
        The same in block order; never above the critical path, which follows chains over several keys.
    waves, waves_key : int
        Order free: at least so many waves, because so many transactions conflict pairwise on that key.

    Examples
    --------
    >>> found = bounds(AccessSets.from_dicts([{0: 2}, {0: 1}, {0: 1}, {0: 2}, {1: 2}], n_keys=2), [3, 5, 4, 1, 2], workers=2)
    >>> found.total, found.critical_path, found.hot_key_load, found.waves, found.levels
    (15.0, 9.0, 9.0, 3, 3)
    >>> found.makespan, found.list_limit, found.share(10)
    (9.0, 12.0, 0.9)
    """

    workers: int
    total: float
    longest: float
    longest_tx: int
    critical_path: float
    levels: int
    hot_key_load: float
    hot_key: int
    ordered_key_load: float
    ordered_key: int
    waves: int
    waves_key: int

    @property
    def makespan(self) -> float:
        """Block order: no schedule on these workers is shorter than work per worker or the critical path."""
        return max(self.total / self.workers, self.critical_path, self.longest)

    @property
    def makespan_order_free(self) -> float:
        """Order free: no schedule on these workers is shorter than work per worker, the hot key, or the longest one."""
        return max(self.total / self.workers, self.hot_key_load, self.longest)

    @property
    def graham(self) -> float:
        """Block order: no list schedule takes more than this times the shortest makespan possible."""
        return 2.0 - 1.0 / self.workers

    @property
    def list_limit(self) -> float:
        """Block order: no list schedule takes longer, work / p + (1 - 1 / p) * critical path, dispatch costing nothing."""
        # Fractions: nothing overflows on the way, and a whole makespan exactly at the limit does not seem to exceed it.
        path = Fraction(self.critical_path)
        return float(path + (Fraction(self.total) - path) / self.workers)

    @property
    def max_speedup(self) -> float:
        """Block order: the most that can be gained over one worker; 1 if there is no work."""
        return self.total / self.makespan if self.makespan > 0 else 1.0

    def share(self, makespan: float, *, order_free: bool = False) -> float:
        """Share of the bound that a makespan reached: bound / makespan.

        Parameters
        ----------
        makespan : float
            At least 0, in the unit of the costs.
        order_free : bool
            Against `makespan_order_free` instead of `makespan`.

        Returns
        -------
        float
            1 is optimal. Above 1 it is no makespan of this block on these workers at these costs; inf if it is 0 and
            the bound is not.

        Raises
        ------
        BlockError
            If makespan is no such number.
        """
        reached = door.real("makespan", makespan, 0.0)
        bound = self.makespan_order_free if order_free else self.makespan
        if reached > 0:
            return bound / reached
        return 1.0 if bound == 0 else float("inf")

    def row(self) -> dict[str, float]:
        """All figures, as plain values for a table of several bounds."""
        worked_out = ("makespan", "makespan_order_free", "max_speedup")
        return {name: getattr(self, name) for name in (*self.__dataclass_fields__, *worked_out)}

    def rows(self) -> list[tuple[str, float, str]]:
        """For tables: (name, value, what it is or where it comes from), the strongest statements last."""
        return [
            ("total work", self.total, "one worker"),
            ("work / workers", self.total / self.workers, f"{self.workers:,} workers"),
            ("longest transaction", self.longest, f"transaction {self.longest_tx}"),
            ("hot key", self.hot_key_load, f"any order, key {self.hot_key}"),
            ("hot key in order", self.ordered_key_load, f"block order, key {self.ordered_key}"),
            ("critical path", self.critical_path, "block order"),
            ("waves", self.waves, f"any order, at least; key {self.waves_key}"),
            ("levels", self.levels, "block order, fewest waves"),
            ("makespan, any order", self.makespan_order_free, "at least"),
            ("makespan, block order", self.makespan, "at least"),
            ("list schedule", self.list_limit, "block order, at most"),
            ("speedup", self.max_speedup, "block order, at most"),
        ]


def bounds(access: AccessSets, cost: ArrayLike | str | None = None, workers: int = 1) -> Bounds:
    """Lower bounds of every schedule's makespan and number of waves, and Graham's upper bound of list schedules.

    Parameters
    ----------
    access : AccessSets
    cost : (n_tx,) integers or floats, or str, optional
        Finite, not negative, in any unit; default 1 each. By name as in `schedule`: ``"accesses"``, and for the exact
        sets of a block ``"ops"`` and ``"gas"``.
    workers : int
        At least 1.

    Returns
    -------
    Bounds

    Raises
    ------
    BlockError
        If cost or workers is not as described, or the costs add up to 1.79e308 or more.

    Notes
    -----
    *Order free.* All that write a key conflict with everybody on it, and a mere reader with a mere crediter. So its
    writers, one reader and one crediter are a clique of the conflict graph: each needs a wave of its own, and no two run
    at the same time; taking the longest reader and crediter gives the most. Cliques over several keys are not looked
    for (the largest is NP-hard), so more waves may be needed: T0 and T1 share one key, T1 and T2 a second, T2 and T0 a
    third give 2, and need 3.

    *Block order.* The critical path [1]_, and for list schedules makespan <= work / p + (1 - 1 / p) * critical path [2]_:
    whenever a worker idles, some chain of predecessors is being worked on. As the shortest makespan is at least either
    of work / p and the critical path, that is within 2 - 1 / p of it.

    O(n_accesses + n_keys) time, 64 bytes per key; if few of the keys are used, O(n_accesses log n_accesses) and those alone.

    References
    ----------
    .. [1] R. L. Graham: Bounds for certain multiprocessing anomalies, Bell System Technical Journal 45, 1966.
    .. [2] R. L. Graham: Bounds on multiprocessing timing anomalies, SIAM J. Appl. Math. 17, 1969.

    Examples
    --------
    >>> access = AccessSets.from_dicts([{0: 2, 1: 2}, {1: 1}, {1: 1}, {2: 2}], n_keys=3)
    >>> found = bounds(access, workers=2)
    >>> found.makespan, found.waves, found.waves_key, found.max_speedup
    (2.0, 2, 1, 2.0)
    """
    need_access("access", access)
    workers = door.integer("workers", workers, 1, 2**31 - 1)
    weight = cost_of(cost, access, access.exact_for)
    total = total_of(weight)
    access, ids = compacted(access)
    load, key_of, state = np.empty(3), np.empty(3, np.int64), np.zeros((access.n_keys, 8))
    _loads.key_loads(*inputs(access.indptr, access.keys, access.modes, weight), state, load, key_of)
    if ids is not None and len(ids):
        key_of[:] = ids[key_of]
    longest_tx = int(np.argmax(weight)) if access.n_tx else -1
    return Bounds(
        workers=workers,
        total=total,
        longest=float(weight[longest_tx]) if access.n_tx else 0.0,
        longest_tx=longest_tx,
        critical_path=_longest_chain(access, weight),
        levels=int(_longest_chain(access, np.ones(access.n_tx))),
        hot_key_load=float(load[0]),
        hot_key=int(key_of[0]),
        ordered_key_load=float(load[1]),
        ordered_key=int(key_of[1]),
        waves=max(int(load[2]), min(1, access.n_tx)),
        waves_key=int(key_of[2]),
    )


def compacted(access: AccessSets) -> tuple[AccessSets, NDArray[np.int32] | None]:
    """The access sets with only the keys that are used, where those are few; whoever has room for each key takes these.

    Parameters
    ----------
    access : AccessSets

    Returns
    -------
    access : AccessSets
        With keys renumbered in the same order; the one given if its keys are at most 65,536 and 8 for each access.
    ids : (n_keys,) int32 or None
        The old number of each new key; None if nothing is renumbered.

    Examples
    --------
    >>> few, ids = compacted(AccessSets.from_dicts([{7: 2}, {2**31 - 2: 1}], n_keys=2**31 - 1))
    >>> few.n_keys, few.keys.tolist(), ids.tolist()
    (2, [0, 1], [7, 2147483646])
    """
    if access.n_keys <= _FEW_KEYS + 8 * access.n_accesses:
        return access, None
    ids, keys = np.unique(access.keys, return_inverse=True)
    number = keys.ravel().astype(np.int32)
    return AccessSets.trusted(len(ids), access.indptr, number, access.modes, access.exact_for), ids


def _longest_chain(access: AccessSets, weight: NDArray[np.float64]) -> float:
    access, _ = compacted(access)
    finish, state = np.empty(access.n_tx), np.zeros((access.n_keys, 3))
    with np.errstate(over="ignore"):
        longest = float(_k.finish_times(*inputs(access.indptr, access.keys, access.modes, weight), state, finish))
    if longest == np.inf:
        raise BlockError("cost: the critical path is longer than a float can hold")
    return longest


def critical_path_cost(access: AccessSets, cost: ArrayLike | None = None) -> float:
    """Cost of the longest chain of conflicting transactions in block order, without building the DAG.

    Parameters
    ----------
    access : AccessSets
    cost : (n_tx,) integers or floats, optional
        Finite, not negative, in any unit (gas, nanoseconds, …); default 1 each, which gives the number of levels.

    Returns
    -------
    int or float
        In the unit of cost; an int for integer costs (exact below 2**53).

    Raises
    ------
    BlockError
        If cost is not as described, or the chain is longer than a float can hold.

    Notes
    -----
    O(n_accesses + n_keys); equals ``dependencies(access).critical_path(cost)[0]``.

    Examples
    --------
    >>> access = AccessSets.from_dicts([{0: 2}, {1: 2}, {0: 1, 1: 1}], n_keys=2)
    >>> critical_path_cost(access), critical_path_cost(access, [5, 1, 2])
    (2, 7)
    """
    need_access("access", access)
    longest = _longest_chain(access, costs(cost, access.n_tx))
    whole = cost is None or np.asarray(cost).dtype.kind in "iu"
    return int(longest) if whole else longest


def speedup_bound(access: AccessSets, cost: ArrayLike | None, workers: int) -> float:
    """Most that any schedule in block order can gain over one worker: min(workers, total cost / critical path).

    Parameters
    ----------
    access : AccessSets
    cost : (n_tx,) integers or floats, or None
        As in `critical_path_cost`. What holds for gas need not hold for time.
    workers : int
        At least 1.

    Returns
    -------
    float
        At least 1; exactly 1 if there is no work. Rounded as `Bounds` says.

    Raises
    ------
    BlockError
        If cost or workers is not as described, or the costs add up to 1.79e308 or more.

    Examples
    --------
    >>> speedup_bound(AccessSets.from_dicts([{0: 2}, {0: 2}, {1: 2}], n_keys=2), None, workers=8)
    1.5
    """
    need_access("access", access)
    workers = door.integer("workers", workers, 1, 2**31 - 1)
    total = total_of(costs(cost, access.n_tx))
    path = float(critical_path_cost(access, cost))
    return max(1.0, min(float(workers), total / path)) if path > 0 else 1.0
