"""First fit along an order *is* repeated maximal independent sets by that priority, made one transaction at a time."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from .._kernels import colouring as _k
from .._kernels import policies as _grouping
from .._kernels.jit import inputs
from ..access.sets import AccessSets, need_access
from ..errors import BlockError
from .independent import Graph, checked_chains, checked_graph
from .index import KeyIndex

__all__ = ["ORDERS", "colour_waves", "estimated_degree", "transaction_order"]

#: Priorities of `transaction_order`.
ORDERS: Final = ("block", "random", "estimated-degree", "degree")

# Measured from 1 to 8 accesses per row and 32 to 1,024 accesses of a hot key: within 10 % of each other, 24 to 48 bytes an
# access on zipf keys.
_ACCESSES_PER_ROW: Final = 4
_HOT_FROM: Final = 256
_MOST_HOT: Final = 2**12
_MOST_SIGNATURES: Final = 2**16
_FIRST_TABLE: Final = 2**10
# Hot accesses of a transaction whose union is scanned; the others are looked up where that leaves a word open. Most words
# scanned in one go: 2 KB of scratch.
_MOST_SCANNED: Final = 16
_STRETCH: Final = 256


def transaction_order(
    access: AccessSets, priority: str, next_of: ArrayLike, *, seed: int = 0, degree: ArrayLike | None = None
) -> NDArray[np.int32]:
    """The transactions best first, each sender's in nonce order.

    Parameters
    ----------
    access : AccessSets
    priority : str
        ``"block"``, block order; ``"random"``, by a hash of (seed, index), the same in every version;
        ``"estimated-degree"``, most conflicts summed over keys first (a pair counts once per key that it shares, so no
        graph is needed); ``"degree"``, highest `degree` first. The lowest index on ties.
    next_of : (n_tx,) int32
        The sender's next transaction, -1 for none, as `sender_chains` makes it.
    seed : int in [0, 2**63)
        Of ``"random"``.
    degree : (n_tx,) int, optional
        For ``"degree"``.

    Returns
    -------
    (n_tx,) int32
        A sender's positions are those of all its transactions by priority, refilled in chain order.

    Raises
    ------
    BlockError
        If an argument is not as described.

    Notes
    -----
    O(n_accesses + n_keys + n_tx log n_tx); the refill is linear.

    Examples
    --------
    >>> access = AccessSets.from_dicts([{0: 1}, {0: 2}, {0: 1, 1: 2}, {1: 2}], n_keys=2)
    >>> transaction_order(access, "estimated-degree", [-1, -1, -1, -1]).tolist()
    [1, 2, 0, 3]
    >>> transaction_order(access, "estimated-degree", [1, 3, -1, -1]).tolist()  # one sender: 0, then 1, then 3
    [0, 2, 1, 3]
    """
    need_access("access", access)
    door.choice("priority", priority, ORDERS)
    n_tx = access.n_tx
    chains = checked_chains(next_of, n_tx)
    if priority == "block":
        order = np.arange(n_tx, dtype=np.int32)
    elif priority == "random":
        order = np.argsort(_hashes(door.integer("seed", seed, 0, 2**63 - 1), n_tx), kind="stable").astype(np.int32)
    elif priority == "estimated-degree":
        order = _most_first(estimated_degree(access))
    elif degree is None:
        raise BlockError("degree = None: priority 'degree' needs one number for each transaction")
    else:
        order = _most_first(door.array("degree", degree, np.int64, (n_tx,)))
    if n_tx == 0 or chains.max() < 0:
        return order
    head, cursor, out = np.full(n_tx, -1, np.int32), np.empty(n_tx, np.int32), np.empty(n_tx, np.int32)
    circular = _k.keep_chains(*inputs(order, chains), head, cursor, out)
    if circular >= 0:
        raise BlockError(f"next_of leads from transaction {circular} back to itself: must end with -1")
    return out


def colour_waves(
    access: AccessSets, order: ArrayLike, next_of: ArrayLike, *, graph: Graph | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Put each transaction, along `order`, into its first wave that holds no conflicting one.

    Parameters
    ----------
    access : AccessSets
    order : (n_tx,) int32
        A permutation with each sender's transactions in chain order: see `transaction_order`.
    next_of : (n_tx,) int32
        The sender's next transaction, -1 for none; it goes to a later wave. Nobody is the next of two.
    graph : (indptr, indices), optional
        The conflict graph of `access`, as `conflicts.adjacency` makes it, to work on that. The result is the same. Of its
        form all is checked but that it is symmetric; that it belongs to `access` is the caller's word.

    Returns
    -------
    wave_indptr : (n_waves + 1,) int64
    wave_tx : (n_tx,) int32
        Ascending within a wave.

    Raises
    ------
    BlockError
        If access is no AccessSets, or `order`, `next_of` or `graph` not as described.

    Notes
    -----
    *Each wave is maximal among the eligible.* A transaction misses a wave after its sender's previous one only because
    an earlier one of the order is in it and conflicts. So wave w is the greedy independent set, by the priority
    `order`, of those that are left and whose sender's previous one is in a wave before w [1]_.

    *No edges.* Each key keeps 64 waves in a word, one each for those forbidden to its readers, writers and crediters; the
    first zero bit of a transaction's words is the answer. A key has words for its first waves in place, one for each
    four accesses, and later ones in a hash table, so memory is linear in accesses; keys that never constrain anybody have
    none. Waves of hot keys run to n_tx, and the union of several of them may be full for thousands of words while no
    single one is. Two things help: the first free wave of a set of accesses never falls, so it is remembered for the one
    to four hottest of each transaction, and for up to eight of five and more; and the walk on from there ORs the words of
    up to 16 hot keys (256 accesses or more), which lie in sequence, a stretch at a time.

    *Cost.* At most n_accesses * n_waves / 64 words are looked at, which is quadratic where waves grow with n_tx; nearly
    all of a set's full words are skipped where the same hot accesses come together again and again. Measured, ns an
    access on one core of two, by number of transactions:

    =======================  ======  ======  =========
    accesses                 10,000  80,000  1,000,000
    =======================  ======  ======  =========
    6 keys of 20 n_tx            10      12         42
    6 keys of 2 n_tx             13      32         89
    6 keys, zipf 1.2             89     151        230
    one key written by 30 %      30      29         77
    writes 6 of 12 keys         123     173        217
    writes 8 of 20 keys         123     159        654
    writes 20 of 60 keys         83     169        660
    =======================  ======  ======  =========

    On the graph: O(n_tx + edges).

    References
    ----------
    .. [1] Welsh, Powell: An upper bound for the chromatic number of a graph, The Computer Journal 10, 1967.

    Examples
    --------
    >>> access = AccessSets.from_dicts([{0: 2}, {0: 2, 1: 2}, {1: 2}], n_keys=2)
    >>> starts, tx = colour_waves(access, [0, 1, 2], [-1, -1, -1])
    >>> starts.tolist(), tx.tolist()
    ([0, 2, 3], [0, 2, 1])
    >>> colour_waves(access, [0, 1, 2], [2, -1, -1])[1].tolist()  # 2 is the same sender's, so after 0
    [0, 1, 2]
    """
    need_access("access", access)
    n_tx = access.n_tx
    along, chains = door.permutation("order", order, n_tx), checked_chains(next_of, n_tx)
    _check_order(along, chains)
    wave = _on_accesses(access, along, chains) if graph is None else _on_graph(_pair(graph, n_tx), along, chains)
    n_waves = int(wave.max(initial=-1)) + 1
    wave_start, wave_tx = np.zeros(n_waves + 2, np.int64), np.empty(n_tx, np.int32)
    _grouping.group_by_wave(*inputs(np.arange(n_tx, dtype=np.int32), wave), wave_start, wave_tx)
    return wave_start[:-1].copy(), wave_tx


def estimated_degree(access: AccessSets) -> NDArray[np.int64]:
    """(n_tx,) int64: for each access the other transactions that it conflicts with, summed over the keys.

    Raises
    ------
    BlockError
        If access is no AccessSets.

    Examples
    --------
    >>> estimated_degree(AccessSets.from_dicts([{0: 1}, {0: 2}, {0: 1, 1: 2}, {1: 2}], n_keys=2)).tolist()
    [1, 2, 2, 1]
    """
    need_access("access", access)
    degree = np.empty(access.n_tx, np.int64)
    starts = KeyIndex.of(access).starts
    _k.estimated_degree(*inputs(access.indptr, access.keys, access.modes, starts), degree)
    return degree


def _check_order(order: NDArray[np.int32], chains: NDArray[np.int32]) -> None:
    """No transaction before its sender's previous one: its lower bound would come too late. Refuses circles too."""
    earlier = np.flatnonzero(chains >= 0)
    if len(earlier) == 0:
        return
    position = np.empty(len(order), np.int32)
    position[order] = np.arange(len(order), dtype=np.int32)
    wrong = earlier[position[chains[earlier]] <= position[earlier]]
    if len(wrong):
        t = int(wrong[0])
        rule = "must come after it, as the same sender's next one"
        raise BlockError(f"order: transaction {chains[t]} comes before transaction {t}: {rule}")


def _pair(graph: Graph, n_tx: int) -> Graph:
    if not isinstance(graph, tuple | list) or len(graph) != 2:
        raise BlockError(f"graph = {door.shown(graph)}: must be a pair (indptr, indices), see conflicts.adjacency")
    return checked_graph(*graph, n_tx)


def _hashes(seed: int, n: int) -> NDArray[np.uint64]:
    """Output 1..n of splitmix64 from a seed that is itself mixed once, so that near seeds give unrelated streams."""
    start = _mixed(np.array([seed], np.uint64))
    steps: NDArray[np.uint64] = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return _mixed(start + steps)


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _most_first(degree: NDArray[np.int64]) -> NDArray[np.int32]:
    return np.argsort(-degree, kind="stable").astype(np.int32)


def _on_graph(graph: Graph, order: NDArray[np.int32], chains: NDArray[np.int32]) -> NDArray[np.int32]:
    n_tx = len(order)
    stamp, lower, wave = np.full(n_tx + 1, -1, np.int32), np.zeros(n_tx, np.int32), np.full(n_tx, -1, np.int32)
    _k.first_fit_graph(*inputs(order, *graph, chains), stamp, lower, wave)
    return wave


def _on_accesses(access: AccessSets, order: NDArray[np.int32], chains: NDArray[np.int32]) -> NDArray[np.int32]:
    n_tx, n_keys = access.n_tx, access.n_keys
    indptr, keys, modes = inputs(access.indptr, access.keys, access.modes)
    seen, base = np.zeros(n_keys, np.int64), np.empty(n_keys + 1, np.int64)
    _k.count_accessors(keys, modes, seen)
    near: NDArray[np.uint64] = np.zeros(4 * _k.lay_out(*inputs(seen), _ACCESSES_PER_ROW, base), np.uint64)
    hot_from = _HOT_FROM // _ACCESSES_PER_ROW + 1
    hot = np.flatnonzero(np.diff(base) >= hot_from)
    hot = hot[np.argsort(-seen[hot], kind="stable")][:_MOST_HOT].astype(np.int32)
    del seen
    rank = np.full(n_keys if len(hot) else 0, -1, np.int16)
    rank[hot] = np.arange(len(hot))
    single = np.zeros(8 * len(hot), np.int64)
    slots = min(_MOST_SIGNATURES, 1 << max(4, n_tx.bit_length() - 2)) if len(hot) else 1
    known, top = np.full((4, slots, 3), -1, np.int64), np.zeros((3, _MOST_SCANNED), np.int64)
    union: NDArray[np.uint64] = np.zeros(_STRETCH, np.uint64)
    lower, wave = np.zeros(n_tx, np.int32), np.full(n_tx, -1, np.int32)
    tables = inputs(order, indptr, keys, modes, chains, base, rank, hot)
    room = max(_FIRST_TABLE, 1 << (2 * int(np.diff(indptr).max(initial=0)) + 1).bit_length())
    far = np.zeros((room, 4), np.uint64)
    done = n_far = 0
    while True:
        done, n_far = _k.first_fit_accesses(done, n_far, *tables, hot_from, near, far, single, known, top, union, lower, wave)
        if done == n_tx:
            return wave
        wider = np.zeros((4 * len(far), 4), np.uint64)
        _k.move_rows(*inputs(far), wider)
        far = wider
