"""Independent waves out of block order: a result equals serial execution of the waves, not of the block."""

from __future__ import annotations

from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from .._kernels import independent as _k
from .._kernels.jit import inputs

__all__ = ["independent_waves", "sender_chains"]

# A round looks at every candidate's row, one thread's pass only at those of the picked. On two busy cores rounds lost even
# at a million transactions (11.5 M entries: 470 to 620 ms against 315), so they are kept for rows with much in them.
_PARALLEL_FROM: Final = 4_000_000


def sender_chains(sender: NDArray[np.uint8], nonce: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Each sender's transactions in order of (nonce, index).

    Parameters
    ----------
    sender : (n_tx, 20) uint8
    nonce : (n_tx,) uint64

    Returns
    -------
    first : (n_senders,) int32
        First transaction of each sender, ascending.
    next_of : (n_tx,) int32
        The sender's next one, -1 for none.

    Examples
    --------
    >>> sender = np.zeros((3, 20), np.uint8)
    >>> sender[1] = 1
    >>> first, next_of = sender_chains(sender, np.array([5, 0, 4], np.uint64))
    >>> first.tolist(), next_of.tolist()
    ([1, 2], [-1, -1, 0])
    """
    n_tx = len(nonce)
    next_of = np.full(n_tx, -1, np.int32)
    if n_tx == 0:
        return np.zeros(0, np.int32), next_of
    who = np.unique(np.ascontiguousarray(sender).view("S20").ravel(), return_inverse=True)[1].ravel()
    order = np.lexsort((nonce, who)).astype(np.int32)  # stable: equal nonces stay in index order
    same = who[order[1:]] == who[order[:-1]]
    next_of[order[:-1][same]] = order[1:][same]
    return np.sort(order[np.concatenate([[True], ~same])]), next_of


def independent_waves(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    first: NDArray[np.int32],
    next_of: NDArray[np.int32],
    *,
    parallel: bool = False,
    parallel_from: int = _PARALLEL_FROM,
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Repeated maximal independent sets by minimum dynamic degree.

    Each wave: pick, again and again, the eligible and not blocked transaction with the fewest conflicting transactions
    that are *not yet scheduled* (blocked ones count), lowest index on ties; it blocks its partners for this wave.

    Parameters
    ----------
    indptr : (n_tx + 1,) int64
    indices : (n_entries,) int32
        Conflict graph, symmetric, no loops, ascending in each row, as `conflicts.adjacency` makes it.
    first, next_of : (n_senders,) and (n_tx,) int32
        Who is eligible: see `sender_chains`.
    parallel : bool
        Work in rounds on Numba's threads; the result is the same.
    parallel_from : int
        Entries in the candidates' rows from which a round uses the threads.

    Returns
    -------
    wave_indptr : (n_waves + 1,) int64
    wave_tx : (n_tx,) int32
        Ascending within a wave.

    Notes
    -----
    *A wave is one greedy pass.* A pick lowers the degree of its partners only, and those are blocked until the wave
    ends. So the degrees of the candidates do not change within a wave, and picking the minimum again and again is going
    through the eligible once in the order of (degree at the start of the wave, index), skipping the blocked: a counting
    sort and no queue.

    *The cost follows what remains.* Each eligible transaction that a wave leaves over was blocked by a pick, which used
    up one of its edges for good. So the eligible, summed over the waves, are at most n_tx + 2 * edges: O(n_tx + edges)
    in all, with a factor log n for waves whose degrees spread far.

    *Rounds.* For fixed priorities the greedy set is unique: a candidate is in it iff no conflicting candidate of better
    priority is. Deciding at once all that have no undecided rival of better priority gives that set for any number of
    threads [1]_. It takes about twice the work of one pass, so it wants several idle cores and a large graph.

    References
    ----------
    .. [1] Blelloch, Fineman, Shun: Greedy sequential maximal independent set and matching are parallel on average,
       SPAA 2012.

    Examples
    --------
    >>> path = np.array([0, 1, 3, 4]), np.array([1, 0, 2, 1], np.int32)  # 0 - 1 - 2
    >>> starts, tx = independent_waves(*path, np.arange(3, dtype=np.int32), np.full(3, -1, np.int32))
    >>> starts.tolist(), tx.tolist()
    ([0, 2, 3], [0, 2, 1])
    """
    n_tx = len(next_of)
    ready = np.empty(n_tx, np.int32)
    ready[: len(first)] = first
    degree = np.diff(indptr).astype(np.int32)
    wave_of, blocked = np.full(n_tx, -1, np.int32), np.full(n_tx, -1, np.int32)
    buckets = np.empty(4 * n_tx + 66, np.int64)
    order, fresh, wave_tx = (np.empty(n_tx, np.int32) for _ in range(3))
    wave_start = np.zeros(n_tx + 1, np.int64)
    graph = inputs(indptr, indices, next_of)
    state = (ready, len(first), wave_of, blocked, degree, buckets, order, fresh, wave_start, wave_tx)
    if parallel:
        rank = np.full(n_tx, 2**31 - 1, np.int32)
        active, winners, wins = np.empty(n_tx, np.int32), np.empty(n_tx, np.int32), np.empty(n_tx, np.uint8)
        threads = numba.get_num_threads()
        n_waves = _k.mis_parallel_waves(threads, parallel_from, *graph, *state, rank, active, wins, winners)
    else:
        n_waves = _k.mis_waves(*graph, *state)
    return wave_start[: n_waves + 1].copy(), wave_tx
