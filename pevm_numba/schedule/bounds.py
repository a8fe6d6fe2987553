"""Bounds in block order: no number of workers beats the critical path, and a bound in gas is not a bound in time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .. import door
from .._kernels import policies as _k
from .._kernels.jit import inputs
from ..access.sets import AccessSets, need_access
from .costs import costs

__all__ = ["critical_path_cost", "speedup_bound"]


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
        If cost is not as described.

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
    weight = costs(cost, access.n_tx)
    finish, state = np.empty(access.n_tx), np.zeros((access.n_keys, 3))
    longest = _k.finish_times(*inputs(access.indptr, access.keys, access.modes, weight), state, finish)
    whole = cost is None or np.asarray(cost).dtype.kind in "iu"
    return int(longest) if whole else float(longest)


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
        At least 1; exactly 1 if there is no work.

    Raises
    ------
    BlockError
        If cost or workers is not as described.

    Examples
    --------
    >>> speedup_bound(AccessSets.from_dicts([{0: 2}, {0: 2}, {1: 2}], n_keys=2), None, workers=8)
    1.5
    """
    need_access("access", access)
    workers = door.integer("workers", workers, 1, 2**31 - 1)
    total = float(costs(cost, access.n_tx).sum())
    path = float(critical_path_cost(access, cost))
    return max(1.0, min(float(workers), total / path)) if path > 0 else 1.0
