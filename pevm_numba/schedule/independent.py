"""Independent waves out of block order: a result equals serial execution of the waves, not of the block."""

from __future__ import annotations

from typing import Final

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from .._kernels import colouring as _checks
from .._kernels import independent as _k
from .._kernels.jit import inputs
from ..errors import BlockError

__all__ = [
    "Graph", "checked_chains", "checked_graph", "checked_senders", "independent_waves", "sender_chains", "trusted_waves",
]  # fmt: skip

#: A conflict graph: indptr and indices of a CSR structure.
Graph = tuple[NDArray[np.int64], NDArray[np.int32]]

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

    Raises
    ------
    BlockError
        If an argument is not as described.

    Examples
    --------
    >>> sender = np.zeros((3, 20), np.uint8)
    >>> sender[1] = 1
    >>> first, next_of = sender_chains(sender, np.array([5, 0, 4], np.uint64))
    >>> first.tolist(), next_of.tolist()
    ([1, 2], [-1, -1, 0])
    """
    nonce = door.array("nonce", nonce, np.uint64, (None,))
    n_tx = len(nonce)
    sender = door.array("sender", sender, np.uint8, (n_tx, 20))
    next_of = np.full(n_tx, -1, np.int32)
    if n_tx == 0:
        return np.zeros(0, np.int32), next_of
    who = np.unique(sender.view("S20").ravel(), return_inverse=True)[1].ravel()
    order = np.lexsort((nonce, who)).astype(np.int32)  # stable: equal nonces stay in index order
    same = who[order[1:]] == who[order[:-1]]
    next_of[order[:-1][same]] = order[1:][same]
    return np.sort(order[np.concatenate([[True], ~same])]), next_of


def checked_chains(next_of: ArrayLike, n_tx: int) -> NDArray[np.int32]:
    """`next_of` as (n_tx,) int32, nobody the next of two; circles are left to the caller.

    Examples
    --------
    >>> checked_chains([2, 2, -1], 3)
    Traceback (most recent call last):
    pevm_numba.errors.BlockError: next_of[0] and next_of[1] are both 2: a transaction is the next of one at most
    """
    chains = door.array("next_of", next_of, np.int32, (n_tx,), low=-1, high=n_tx - 1)
    earlier = np.flatnonzero(chains >= 0)
    last = np.empty(n_tx, np.int32)
    last[chains[earlier]] = earlier
    wrong = earlier[last[chains[earlier]] != earlier]
    if len(wrong):
        t = int(wrong[0])
        other = int(earlier[chains[earlier] == chains[t]][1])
        raise BlockError(f"next_of[{t}] and next_of[{other}] are both {chains[t]}: a transaction is the next of one at most")
    return chains


def checked_senders(first: ArrayLike, next_of: ArrayLike) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """`first` and `next_of` as `sender_chains` makes them, together all transactions once; linear.

    Examples
    --------
    >>> checked_senders([0, 1], [1, -1])
    Traceback (most recent call last):
    pevm_numba.errors.BlockError: first[1] = 1: must not be there, it is the next of another
    """
    n_tx = len(door.array("next_of", next_of, np.int64, (None,)))
    chains = checked_chains(next_of, n_tx)
    heads = door.array("first", first, np.int32, (None,), low=0, high=n_tx - 1)
    follows = np.zeros(n_tx, bool)
    follows[chains[chains >= 0]] = True
    expected = np.flatnonzero(~follows)
    for rule, wrong in (
        ("must not be there, it is the next of another", follows[heads]),
        ("must be above the one before it", np.diff(heads, prepend=np.int32(-1)) <= 0),
    ):
        if wrong.any():
            i = int(np.argmax(wrong))
            raise BlockError(f"first[{i}] = {heads[i]}: {rule}")
    if len(heads) != len(expected):
        missing = np.setdiff1d(expected, heads)[0]
        raise BlockError(f"first has {len(heads)} entries: must hold transaction {missing} too, the next of nobody")
    if follows.any():
        scratch = np.full(n_tx, -1, np.int32), np.empty(n_tx, np.int32), np.empty(n_tx, np.int32)
        circular = _checks.keep_chains(*inputs(np.arange(n_tx, dtype=np.int32), chains), *scratch)
        if circular >= 0:
            raise BlockError(f"next_of leads from transaction {circular} back to itself: must end with -1")
    return heads, chains


def checked_graph(indptr: ArrayLike, indices: ArrayLike, n_tx: int) -> Graph:
    """A graph whose rows ascend, within range and without loops: one pass over the entries.

    Examples
    --------
    >>> checked_graph([0, 1, 2], [1, 1], 2)
    Traceback (most recent call last):
    pevm_numba.errors.BlockError: indices[1] = 1 in row 1: must not be the row itself
    """
    entries = door.array("indices", indices, np.int32, (None,))
    starts = door.csr("indptr", indptr, n_tx, len(entries))
    e = int(_checks.first_wrong_entry(*inputs(starts, entries)))
    if e < 0:
        return starts, entries
    row, u = int(np.searchsorted(starts, e, side="right")) - 1, int(entries[e])
    rule = f"must be above {entries[e - 1]}, the one before it"
    if not 0 <= u < n_tx:
        rule = f"must be in [0, {n_tx - 1}]"
    elif u == row:
        rule = "must not be the row itself"
    raise BlockError(f"indices[{e}] = {u} in row {row}: {rule}")


def independent_waves(
    indptr: ArrayLike,
    indices: ArrayLike,
    first: ArrayLike,
    next_of: ArrayLike,
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
        Conflict graph, no loops, ascending in each row, as `conflicts.adjacency` makes it. It has to be symmetric, which
        is not checked: from another one waves need not be independent.
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

    Raises
    ------
    BlockError
        If an argument is not as described.

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
    door.instance("parallel", parallel, bool)
    parallel_from = door.integer("parallel_from", parallel_from, 0, 2**62)
    heads, chains = checked_senders(first, next_of)
    return trusted_waves(checked_graph(indptr, indices, len(chains)), heads, chains, parallel, parallel_from)


def trusted_waves(
    graph: Graph,
    heads: NDArray[np.int32],
    chains: NDArray[np.int32],
    parallel: bool = False,
    parallel_from: int = _PARALLEL_FROM,
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """`independent_waves` of what this package has just made: nothing is checked, which saves half of the time.

    Examples
    --------
    >>> graph = np.array([0, 1, 2]), np.array([1, 0], np.int32)
    >>> trusted_waves(graph, np.arange(2, dtype=np.int32), np.full(2, -1, np.int32))[1].tolist()
    [0, 1]
    """
    starts, entries = graph
    n_tx = len(chains)
    ready = np.empty(n_tx, np.int32)
    ready[: len(heads)] = heads
    degree = np.diff(starts).astype(np.int32)
    wave_of, blocked = np.full(n_tx, -1, np.int32), np.full(n_tx, -1, np.int32)
    buckets = np.empty(4 * n_tx + 66, np.int64)
    order, fresh, wave_tx = (np.empty(n_tx, np.int32) for _ in range(3))
    wave_start = np.zeros(n_tx + 1, np.int64)
    given = inputs(starts, entries, chains)
    state = (ready, len(heads), wave_of, blocked, degree, buckets, order, fresh, wave_start, wave_tx)
    if parallel:
        rank = np.full(n_tx, 2**31 - 1, np.int32)
        active, winners, wins = np.empty(n_tx, np.int32), np.empty(n_tx, np.int32), np.empty(n_tx, np.uint8)
        threads = numba.get_num_threads()
        n_waves = _k.mis_parallel_waves(threads, parallel_from, *given, *state, rank, active, wins, winners)
    else:
        n_waves = _k.mis_waves(*given, *state)
    return wave_start[: n_waves + 1].copy(), wave_tx
