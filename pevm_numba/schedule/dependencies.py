"""The dependency DAG is linear in accesses: a conflict is a *path*, not always an edge; joins are not transactions."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from .._kernels import dependencies as _k
from .._kernels.jit import inputs
from ..access.sets import AccessSets, need_access
from ..errors import BlockError
from ..machine.ops import Mode
from .bounds import compacted
from .costs import costs

__all__ = ["Dependencies", "EdgeKind", "dependencies"]

_EDGES: Final = ("all", "raw", "waw")
# What remains of each mode where only writers count: reads go, and a READ with a CREDIT fixes the value like a WRITE.
_AS_WRITER: Final = np.array([0, 0, 2, 2, 4, 2, 6, 6], np.uint8)
# Relative slack of float costs that is taken for rounding.
_ROUNDING: Final = 1e-12


class EdgeKind(IntFlag):
    """Why a transaction comes after an earlier one. CREDIT counts as a write."""

    RAW = 1
    WAW = 2
    WAR = 4


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Dependencies:
    """Which transactions come before which, in block order. Make one with `dependencies`; the constructor refuses.

    Parameters
    ----------
    n_tx : int
        Nodes ``0..n_tx-1`` are the transactions.
    edges : str
        ``"all"``, ``"raw"`` or ``"waw"``; after `only` with the kinds kept.
    indptr : (n_tx + n_joins + 1,) int64
        CSR offsets of each node's predecessors.
    indices : (n_edges,) int32
        Predecessors, distinct in each row, in no particular order.
    kinds : (n_edges,) uint8
        `EdgeKind` bits.
    join_before : (n_joins,) int32
        Node ``n_tx + q`` is join q: no work, it stands for "all of these are done". Its predecessors are transactions
        below ``join_before[q]`` and lower joins, its successors are that transaction, later ones, and higher joins.

    Examples
    --------
    >>> deps = dependencies(AccessSets.from_dicts([{0: 2}, {0: 2, 1: 2}, {1: 2}, {2: 1}], n_keys=3))
    >>> deps
    <Dependencies all: 4 txs, 2 edges, 0 joins>
    >>> deps.critical_path()
    (3, [0, 1, 2])
    """

    n_tx: int
    edges: str
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    kinds: NDArray[np.uint8]
    join_before: NDArray[np.int32]
    _derived: dict[str, Any] = field(default_factory=dict)

    def __init__(self, *_: Any, **__: Any) -> None:
        raise BlockError("make a Dependencies with dependencies(access)")

    @property
    def n_joins(self) -> int:
        """Number of join nodes. For ``"all"`` 0 unless several readers and several crediters of a key meet; ``"raw"`` also
        makes one where a credit follows a reader of credits, and nobody need wait for it.
        """
        return len(self.join_before)

    @property
    def n_edges(self) -> int:
        """Number of edges, those of joins included."""
        return len(self.indices)

    def predecessors(self, node: int) -> dict[int, EdgeKind]:
        """Direct predecessors of a transaction or join, with the kinds of each edge."""
        node = door.integer("node", node, 0, self.n_tx + self.n_joins - 1)
        part = slice(self.indptr[node], self.indptr[node + 1])
        return {int(p): EdgeKind(int(k)) for p, k in sorted(zip(self.indices[part], self.kinds[part]))}

    def successors(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]]:
        """The same edges by source: (n_nodes + 1,) int64 offsets, int32 successors, uint8 kinds. O(edges), once."""
        if "successors" not in self._derived:
            start = np.zeros(len(self.indptr) + 1, np.int64)
            out, kinds = np.empty(self.n_edges, np.int32), np.empty(self.n_edges, np.uint8)
            _k.transpose(*inputs(self.indptr, self.indices, self.kinds), start, out, kinds)
            self._derived["successors"] = inputs(start[:-1], out, kinds)
        return self._derived["successors"]

    def only(self, kinds: EdgeKind) -> Dependencies:
        """The edges of *this* DAG that have one of the kinds, all other kinds struck out; the nodes stay.

        Parameters
        ----------
        kinds : EdgeKind
            One or several, joined by ``|``.

        Returns
        -------
        Dependencies

        Raises
        ------
        BlockError
            If kinds is not a combination of `EdgeKind`.

        Notes
        -----
        A DAG of all conflicts has no edge that follows from others, and those others may be of kinds that go: of write,
        write, read by three transactions ``only(EdgeKind.RAW)`` keeps 1 -> 2; of write, read-and-write, read it keeps both
        steps. Of write, read, write there is no WAW edge 0 -> 2 to keep. So this tells *why* transactions stand where they
        do, and gives a precedence that is at most that of `dependencies` with ``edges="raw"`` or ``"waw"``, which are the
        definitions. All edges of a join have the same kind: it stays as it is, or without any edge, a node without work.

        Examples
        --------
        >>> access = AccessSets.from_dicts([{0: 2}, {0: 1}, {0: 2}], n_keys=1)
        >>> dependencies(access).only(EdgeKind.RAW)
        <Dependencies all, only RAW: 3 txs, 1 edges, 0 joins>
        >>> dependencies(access).only(EdgeKind.WAW).n_edges, dependencies(access, edges="waw").n_edges
        (0, 1)
        """
        mask = door.integer("kinds", kinds, 1, int(EdgeKind.RAW | EdgeKind.WAW | EdgeKind.WAR))
        kept = (self.kinds & np.uint8(mask)) != 0
        before = np.zeros(self.n_edges + 1, np.int64)
        np.cumsum(kept, out=before[1:])
        name = f"{self.edges}, only {EdgeKind(mask).name}"
        left = self.kinds[kept] & np.uint8(mask)
        return _made(self.n_tx, name, before[self.indptr], self.indices[kept], left, self.join_before)

    @property
    def isolated(self) -> NDArray[np.bool_]:
        """(n_tx,) bool: transactions that neither wait for another nor are waited for."""
        # A join may lead nowhere, but whoever leads to one leads to a transaction as well: the first of the later run, or
        # the reader before which there was no join. Whoever waits for a join waits for the transactions before it.
        n = self.n_tx
        used = np.bincount(self.indices, minlength=n)[:n] > 0
        return ~(used | (np.diff(self.indptr)[:n] > 0))

    def components(self) -> NDArray[np.int32]:
        """Groups of transactions with no edge between them, directions ignored.

        Returns
        -------
        (n_tx,) int32
            Labels from 0, in order of each group's first transaction.

        Examples
        --------
        >>> dependencies(AccessSets.from_dicts([{0: 2}, {1: 2}, {0: 1}, {2: 1}], n_keys=3)).components().tolist()
        [0, 1, 0, 2]
        """
        if not self.n_tx:
            return np.zeros(0, np.int32)
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import connected_components

        n = self.n_tx + self.n_joins
        graph = csr_array((np.ones(self.n_edges, np.int8), self.indices, self.indptr), shape=(n, n), copy=True)
        labels = connected_components(graph, directed=False)[1][: self.n_tx]
        _, first, group = np.unique(labels, return_index=True, return_inverse=True)
        number = np.empty(len(first), np.int32)
        number[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
        return number[group.ravel()]

    def earliest_start(self, cost: ArrayLike | None = None) -> NDArray[np.float64]:
        """When each transaction could start on unlimited workers: the longest path before it.

        Parameters
        ----------
        cost : (n_tx,) integers or floats, optional
            Finite, not negative, in any unit; default 1 each.

        Returns
        -------
        (n_tx,) float64
            In the unit of cost. With unit cost and ``edges="all"`` these are the levels.

        Raises
        ------
        BlockError
            If cost is not as described, or a path is longer than a float can hold.
        """
        return self._longest(costs(cost, self.n_tx))[0][: self.n_tx].copy()

    def critical_path(self, cost: ArrayLike | None = None) -> tuple[float, list[int]]:
        """Length of a longest path and the transactions on it, first to last.

        Parameters
        ----------
        cost : (n_tx,) integers or floats, optional
            Finite, not negative, in any unit; default 1 each.

        Returns
        -------
        length : int or float
            Sum of cost on the path; an int for integer costs (exact below 2**53).
        path : list of int
            Empty for a block without transactions.

        Raises
        ------
        BlockError
            If cost is not as described, or a path is longer than a float can hold.
        """
        weight = costs(cost, self.n_tx)
        _, finish, critical = self._longest(weight)
        if not self.n_tx:
            return 0, []
        node = int(np.argmax(finish[: self.n_tx]))
        length, path = float(finish[node]), []
        while node >= 0:
            if node < self.n_tx:
                path.append(node)
            node = int(critical[node])
        whole = cost is None or np.asarray(cost).dtype.kind in "iu"
        return (int(length) if whole else length), path[::-1]

    def remaining(self, cost: ArrayLike | None = None) -> NDArray[np.float64]:
        """The longest path from each transaction on, its own cost included: the classic priority of list scheduling.

        Parameters
        ----------
        cost : (n_tx,) integers or floats, optional
            Finite, not negative, in any unit; default 1 each.

        Returns
        -------
        (n_tx,) float64
            In the unit of cost.

        Raises
        ------
        BlockError
            If cost is not as described, or a path is longer than a float can hold.
        """
        height = np.empty(self.n_tx + self.n_joins)
        succ_start, succ, _ = self.successors()
        with np.errstate(over="ignore"):
            _k.remaining(*inputs(succ_start, succ, self.join_before, costs(cost, self.n_tx)), height)
        _need_finite(height)
        return height[: self.n_tx].copy()

    def slack(self, cost: ArrayLike | None = None) -> NDArray[np.float64]:
        """How much later than its earliest start each transaction may start without making the critical path longer.

        Parameters
        ----------
        cost : (n_tx,) integers or floats, optional
            Finite, not negative, in any unit; default 1 each.

        Returns
        -------
        (n_tx,) float64
            Latest start minus earliest start, in the unit of cost; on unlimited workers, and if no other is late.

        Raises
        ------
        BlockError
            If cost is not as described, or a path is longer than a float can hold.

        Notes
        -----
        Exact where costs are whole numbers, of whatever type, and the critical path is below 2**53. Otherwise sums made
        from the front and from the back differ by rounding, at most about n_tx * 2**-52 of the critical path: slack up
        to that share, or up to 1e-12 if that is more, is given as 0.

        Examples
        --------
        >>> dependencies(AccessSets.from_dicts([{0: 2}, {0: 2}, {1: 2}], n_keys=2)).slack([3, 2, 1]).tolist()
        [0.0, 0.0, 4.0]
        """
        weight = costs(cost, self.n_tx)
        start, finish = (times[: self.n_tx] for times in self._longest(weight)[:2])
        longest = float(finish.max(initial=0.0))
        slack = np.maximum(longest - self.remaining(weight) - start, 0.0)
        if longest >= 2**53 or (weight != np.rint(weight)).any():
            slack[slack <= longest * max(_ROUNDING, self.n_tx * 2.0**-52)] = 0.0
        return slack

    def on_critical_path(self, cost: ArrayLike | None = None) -> NDArray[np.bool_]:
        """Which transactions are on some longest path: those without slack, rounding aside as in `slack`.

        Parameters
        ----------
        cost : (n_tx,) integers or floats, optional
            Finite, not negative, in any unit; default 1 each.

        Returns
        -------
        (n_tx,) bool
            True for all of `critical_path`, and for those of every other path of that length.

        Raises
        ------
        BlockError
            As `slack`.
        """
        return self.slack(cost) == 0.0

    def _longest(self, cost: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]:
        n = self.n_tx + self.n_joins
        start, finish, critical = np.zeros(n), np.zeros(n), np.empty(n, np.int32)
        with np.errstate(over="ignore"):
            _k.earliest_start(*inputs(self.indptr, self.indices, self.join_before, cost), start, finish, critical)
        _need_finite(finish)
        return start, finish, critical

    def __repr__(self) -> str:
        return f"<Dependencies {self.edges}: {self.n_tx:,} txs, {self.n_edges:,} edges, {self.n_joins:,} joins>"


def _need_finite(lengths: NDArray[np.float64]) -> None:
    if not np.isfinite(lengths).all():
        raise BlockError("cost: the critical path is longer than a float can hold")


def dependencies(access: AccessSets, *, edges: str = "all") -> Dependencies:
    """Dependency DAG of a block in block order.

    Parameters
    ----------
    access : AccessSets
    edges : "all", "raw" or "waw"
        ``"all"``: a path leads from i to j iff a chain of conflicting pairs does. ``"raw"``: only true data flow, from
        the last writer of a key and the credits since to each reader (what remains where versions make overwriting
        harmless). ``"waw"``: only the order of writers, from each to the next of the key; credits count as writes, and
        commute, unless the transaction reads the key too; reads count for nothing.

    Returns
    -------
    Dependencies
        At most four edges per access.

    Raises
    ------
    BlockError
        If `edges` is none of these.

    Notes
    -----
    Per key, with ``"all"``: the accesses in block order fall into runs of pure readers, runs of pure crediters, and
    single writers (anything else). All of a run depend on all of the run before; what lies further back follows by
    transitivity. Where m readers meet m' crediters that would be m * m' edges, and no smaller set of edges between
    transactions alone would do without ordering some that are free. So from the second member of the later run on a
    *join* node stands between: m edges in, one out for each. Joins take no time, so longest paths and precedence
    between transactions are exactly those of the conflicts. O(n_accesses + n_keys) time and memory.

    Examples
    --------
    >>> access = AccessSets.from_dicts([{0: 2}, {0: 1}, {0: 1}, {0: 2}], n_keys=1)
    >>> dependencies(access).predecessors(3)
    {1: <EdgeKind.WAR: 4>, 2: <EdgeKind.WAR: 4>}
    >>> dependencies(access, edges="raw").critical_path()
    (2, [0, 1])
    """
    need_access("access", access)
    door.choice("edges", edges, _EDGES)
    access, _ = compacted(access)
    starts, keys, modes = _writers(access) if edges == "waw" else (access.indptr, access.keys, access.modes)
    n_tx, n_accesses, room = access.n_tx, len(keys), 2 * len(keys)
    state = np.zeros((access.n_keys, 6), np.int32)
    following, owner = np.empty(n_accesses, np.int32), np.empty(n_accesses, np.int32)
    stamp, place = np.full(n_tx, -1, np.int32), np.empty(n_tx, np.int64)
    tx_start, join_start = np.empty(n_tx + 1, np.int64), np.empty(n_accesses + 1, np.int64)
    # Room for the most edges that there can be; pages that are never written cost nothing.
    pred, pred_kind = np.empty(room, np.int32), np.empty(room, np.uint8)
    join_pred, join_kind = np.empty(room, np.int32), np.empty(room, np.uint8)
    join_before = np.empty(n_accesses, np.int32)
    walk = _k.raw_edges if edges == "raw" else _k.all_edges
    n, m, joins = walk(
        *inputs(starts, keys, modes), state, following, owner, stamp, place,
        tx_start, pred, pred_kind, join_start, join_pred, join_kind, join_before,
    )  # fmt: skip
    indptr = np.concatenate([tx_start, n + join_start[1 : joins + 1]])
    indices, kinds = np.concatenate([pred[:n], join_pred[:m]]), np.concatenate([pred_kind[:n], join_kind[:m]])
    return _made(n_tx, edges, indptr, indices, kinds, join_before[:joins].copy())


def _writers(access: AccessSets) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]]:
    """The accesses that write or credit, with the modes that count between writers: (indptr, keys, modes)."""
    kept = access.modes != Mode.READ
    before = np.zeros(access.n_accesses + 1, np.int64)
    np.cumsum(kept, out=before[1:])
    return before[access.indptr], access.keys[kept], _AS_WRITER[access.modes[kept]]


def _made(
    n_tx: int,
    edges: str,
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    kinds: NDArray[np.uint8],
    join_before: NDArray[np.int32],
) -> Dependencies:
    indptr, indices, kinds, join_before = inputs(indptr, indices, kinds, join_before)
    arrays = {"indptr": indptr, "indices": indices, "kinds": kinds, "join_before": join_before}
    made = object.__new__(Dependencies)
    door.freeze(made, n_tx=n_tx, edges=edges, **arrays, _derived={})
    return made
