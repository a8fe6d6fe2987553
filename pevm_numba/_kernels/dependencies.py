"""Kernels behind `schedule.dependencies`: one walk over the accesses, at most four edges each, whatever is hot."""

from __future__ import annotations

from .conflicts import access_group
from .jit import kernel

__all__ = ["all_edges", "earliest_start", "raw_edges", "remaining", "transpose"]

_READ, _WRITE, _CREDIT = 1, 2, 4
_RAW, _WAW, _WAR = 1, 2, 4
# Columns of `state` in all_edges; list heads hold entry + 1, so that zero-filled means empty.
_GROUP, _HEAD, _SIZE, _PREV_HEAD, _PREV_SIZE, _JOIN = range(6)
# Columns of `state` in raw_edges.
_BASE, _PENDING, _N_PENDING, _TAKEN = range(4)


@kernel(inline=True)
def _kinds(earlier, later):
    kinds = 0
    earlier_writes = (earlier & (_WRITE | _CREDIT)) != 0
    later_writes = (later & (_WRITE | _CREDIT)) != 0
    if earlier_writes and (later & _READ) != 0:
        kinds |= _RAW
    if earlier_writes and later_writes:
        kinds |= _WAW
    if (earlier & _READ) != 0 and later_writes:
        kinds |= _WAR
    return kinds


@kernel(inline=True)
def _add(p, t, kinds, n_edges, stamp, place, pred, pred_kind):
    """Add the edge p -> t, or its kinds to the edge that is there; returns the number of edges."""
    if stamp[p] == t:
        pred_kind[place[p]] |= kinds
        return n_edges
    stamp[p] = t
    place[p] = n_edges
    pred[n_edges] = p
    pred_kind[n_edges] = kinds
    return n_edges + 1


@kernel
def all_edges(
    indptr, keys, modes, state, following, owner, stamp, place,
    tx_start, pred, pred_kind, join_start, join_pred, join_kind, join_before,
):  # fmt: skip
    """Edges for every conflict, transitive ones left out; returns (edges into transactions, edges into joins, joins).

    Per key the accesses fall into runs: of pure readers, of pure crediters, single writers. Every member of a run comes
    after every member of the run before. Only a run of readers next to one of crediters can have several members on
    both sides: its second member makes a join node of the run before (its first took direct edges), so each access is
    the source of at most two edges and the target of one, besides those of a run's first member.

    state (n_keys, 6) int32 and stamp - 1 start as zero and -1; following, owner (n_accesses,) int32 hold the runs as
    linked lists. Node n_tx + q is join q, to be evaluated before transaction join_before[q].
    """
    n_tx = indptr.shape[0] - 1
    n_edges = n_join_edges = n_joins = 0
    for t in range(n_tx):
        tx_start[t] = n_edges
        for i in range(indptr[t], indptr[t + 1]):
            key = keys[i]
            mode = modes[i]
            group = access_group(mode) + 1
            owner[i] = t
            if state[key, _GROUP] == group and group != 2:
                before = state[key, _PREV_HEAD]
                if state[key, _PREV_SIZE] == 1:
                    kinds = _kinds(modes[before - 1], mode)
                    n_edges = _add(owner[before - 1], t, kinds, n_edges, stamp, place, pred, pred_kind)
                elif state[key, _PREV_SIZE] > 1:
                    kinds = _kinds(modes[before - 1], mode)
                    if state[key, _JOIN] == 0:
                        join_start[n_joins] = n_join_edges
                        join_before[n_joins] = t
                        while before > 0:
                            join_pred[n_join_edges] = owner[before - 1]
                            join_kind[n_join_edges] = kinds
                            n_join_edges += 1
                            before = following[before - 1]
                        n_joins += 1
                        state[key, _JOIN] = n_joins
                    pred[n_edges] = n_tx + state[key, _JOIN] - 1
                    pred_kind[n_edges] = kinds
                    n_edges += 1
                following[i] = state[key, _HEAD]
                state[key, _SIZE] += 1
            else:
                before = state[key, _HEAD]
                state[key, _PREV_HEAD] = before
                state[key, _PREV_SIZE] = state[key, _SIZE]
                state[key, _JOIN] = 0
                while before > 0:
                    kinds = _kinds(modes[before - 1], mode)
                    n_edges = _add(owner[before - 1], t, kinds, n_edges, stamp, place, pred, pred_kind)
                    before = following[before - 1]
                state[key, _GROUP] = group
                state[key, _SIZE] = 1
                following[i] = 0
            state[key, _HEAD] = i + 1
    tx_start[n_tx] = n_edges
    join_start[n_joins] = n_join_edges
    return n_edges, n_join_edges, n_joins


@kernel(inline=True)
def _collapse(
    t, key, n_tx, n_joins, n_join_edges, state, following, owner, join_start, join_pred, join_kind, join_before
):  # fmt: skip
    """Make one node of a key's base and pending credits; returns (edges into joins, joins)."""
    i = state[key, _PENDING]
    if state[key, _BASE] == 0 and state[key, _N_PENDING] == 1:
        state[key, _BASE] = owner[i - 1] + 1
    else:
        join_start[n_joins] = n_join_edges
        join_before[n_joins] = t
        if state[key, _BASE] > 0:
            join_pred[n_join_edges] = state[key, _BASE] - 1
            join_kind[n_join_edges] = _RAW
            n_join_edges += 1
        while i > 0:
            join_pred[n_join_edges] = owner[i - 1]
            join_kind[n_join_edges] = _RAW
            n_join_edges += 1
            i = following[i - 1]
        state[key, _BASE] = n_tx + n_joins + 1
        n_joins += 1
    state[key, _PENDING] = state[key, _N_PENDING] = state[key, _TAKEN] = 0
    return n_join_edges, n_joins


@kernel
def raw_edges(
    indptr, keys, modes, state, following, owner, stamp, place,
    tx_start, pred, pred_kind, join_start, join_pred, join_kind, join_before,
):  # fmt: skip
    """Edges from each reader of a key to whatever makes its value: the last writer and the credits since.

    Arguments and result as `all_edges`; state (n_keys, 6) int32 zero-filled. Per key: a base node (last writer or
    join), the credits since, and whether a reader has taken direct edges from them; the next reader, or the next
    credit, then folds base and credits into a join, so that no credit has more than two edges.
    """
    n_tx = indptr.shape[0] - 1
    n_edges = n_join_edges = n_joins = 0
    for t in range(n_tx):
        tx_start[t] = n_edges
        for i in range(indptr[t], indptr[t + 1]):
            key = keys[i]
            mode = modes[i]
            owner[i] = t
            if state[key, _TAKEN] and (mode & _READ or mode == _CREDIT):
                n_join_edges, n_joins = _collapse(
                    t, key, n_tx, n_joins, n_join_edges,
                    state, following, owner, join_start, join_pred, join_kind, join_before,
                )  # fmt: skip
            if mode & _READ:
                base = state[key, _BASE] - 1
                if base >= n_tx:
                    pred[n_edges] = base
                    pred_kind[n_edges] = _RAW
                    n_edges += 1
                elif base >= 0:
                    n_edges = _add(base, t, _RAW, n_edges, stamp, place, pred, pred_kind)
                p = state[key, _PENDING]
                if p > 0:
                    state[key, _TAKEN] = 1
                while p > 0:
                    n_edges = _add(owner[p - 1], t, _RAW, n_edges, stamp, place, pred, pred_kind)
                    p = following[p - 1]
            if mode & _WRITE or mode == (_READ | _CREDIT):
                state[key, _BASE] = t + 1
                state[key, _PENDING] = state[key, _N_PENDING] = state[key, _TAKEN] = 0
            elif mode == _CREDIT:
                following[i] = state[key, _PENDING]
                state[key, _PENDING] = i + 1
                state[key, _N_PENDING] += 1
    tx_start[n_tx] = n_edges
    join_start[n_joins] = n_join_edges
    return n_edges, n_join_edges, n_joins


@kernel
def transpose(indptr, indices, kinds, out_start, out, out_kind):
    """Predecessors to successors by counting sort; out_start (n_nodes + 2,) int64 zero-filled, the last one unused."""
    for e in range(indices.shape[0]):
        out_start[indices[e] + 2] += 1
    for v in range(1, out_start.shape[0]):
        out_start[v] += out_start[v - 1]
    for v in range(indptr.shape[0] - 1):
        for e in range(indptr[v], indptr[v + 1]):
            u = indices[e] + 1
            out[out_start[u]] = v
            out_kind[out_start[u]] = kinds[e]
            out_start[u] += 1


@kernel(inline=True)
def _latest(v, indptr, indices, finish):
    """(latest finish of a predecessor, which), (0, -1) without any; the first on ties."""
    start = 0.0
    critical = -1
    for e in range(indptr[v], indptr[v + 1]):
        p = indices[e]
        if critical < 0 or finish[p] > start:
            start = finish[p]
            critical = p
    return start, critical


@kernel
def earliest_start(indptr, indices, join_before, cost, start, finish, critical):
    """Longest paths: start and finish of each node, and the predecessor that fixes it (-1 none). O(nodes + edges)."""
    n_tx = cost.shape[0]
    q = 0
    for t in range(n_tx):
        while q < join_before.shape[0] and join_before[q] <= t:
            v = n_tx + q
            start[v], critical[v] = _latest(v, indptr, indices, finish)
            finish[v] = start[v]
            q += 1
        start[t], critical[t] = _latest(t, indptr, indices, finish)
        finish[t] = start[t] + cost[t]


@kernel(inline=True)
def _highest(v, succ_start, succ, height):
    highest = 0.0
    for e in range(succ_start[v], succ_start[v + 1]):
        highest = max(highest, height[succ[e]])
    return highest


@kernel
def remaining(succ_start, succ, join_before, cost, height):
    """height[v] = the longest path from node v on, its own cost included (joins cost nothing). O(nodes + edges)."""
    n_tx = cost.shape[0]
    q = join_before.shape[0] - 1
    for t in range(n_tx - 1, -1, -1):
        height[t] = _highest(t, succ_start, succ, height) + cost[t]
        while q >= 0 and join_before[q] >= t:
            height[n_tx + q] = _highest(n_tx + q, succ_start, succ, height)
            q -= 1
