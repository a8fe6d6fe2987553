"""Kernels behind `schedule.models`: who is thrown away after a speculative phase, and Block-STM as discrete events.

Block-STM finds the newest lower version of a key in trees over *changes*: the WRITE and CREDIT accesses, grouped by key,
ascending in transaction. Leaf e of a tree with `half` leaves is place half + e, the children of node i are 2 i and 2 i + 1,
and half is a power of two above the number of leaves in use. A node tells whether any leaf below it is set; in the row
of versions it is their sum.
"""

from __future__ import annotations

from .heap import pop_time, push_time
from .jit import kernel

__all__ = ["block_stm", "group_by_key", "keep_unconflicted", "reads_of_changed"]

_READ, _WRITE, _CREDIT = 1, 2, 4
_CHANGES = _WRITE | _CREDIT
# Rows of `trees`.
_VERSIONS, _WRITTEN, _ESTIMATES = range(3)
_READY, _EXECUTING, _EXECUTED, _WAITING = range(4)


@kernel
def keep_unconflicted(indptr, keys, modes, state, kept):
    """kept[t] = 1 iff t conflicts with no earlier kept one. state (n_keys,) uint8, zero-filled: groups of the kept."""
    for t in range(indptr.shape[0] - 1):
        free = True
        for i in range(indptr[t], indptr[t + 1]):
            mode = modes[i]
            others = 7 - mode if mode == _READ or mode == _CREDIT else 7
            free = free and (state[keys[i]] & others) == 0
        kept[t] = free
        if free:
            for i in range(indptr[t], indptr[t + 1]):
                mode = modes[i]
                state[keys[i]] |= mode if mode == _READ or mode == _CREDIT else _WRITE


@kernel
def reads_of_changed(indptr, keys, modes, changed, stale):
    """stale[t] = 1 iff t reads a key that an earlier transaction writes or credits. changed (n_keys,) uint8, zero-filled."""
    for t in range(indptr.shape[0] - 1):
        late = False
        for i in range(indptr[t], indptr[t + 1]):
            late = late or ((modes[i] & _READ) != 0 and changed[keys[i]] != 0)
        stale[t] = late
        for i in range(indptr[t], indptr[t + 1]):
            if (modes[i] & _CHANGES) != 0:
                changed[keys[i]] = 1


@kernel
def group_by_key(indptr, keys, modes, mask, start, fill, place, owner):
    """Group the accesses with a bit of mask by key: entries start[k]:start[k + 1] of owner, ascending in transaction.

    place[i] (n_accesses,) int64 is the first such entry of access i's key that is not of a lower transaction: its own, if it
    has one. start (n_keys + 1,) int64, zero-filled; owner (n_entries,) int32. Scratch: fill (n_keys,) int64.
    """
    for i in range(keys.shape[0]):
        if (modes[i] & mask) != 0:
            start[keys[i] + 1] += 1
    for key in range(fill.shape[0]):
        start[key + 1] += start[key]
        fill[key] = start[key]
    for t in range(indptr.shape[0] - 1):
        for i in range(indptr[t], indptr[t + 1]):
            place[i] = fill[keys[i]]
            if (modes[i] & mask) != 0:
                owner[fill[keys[i]]] = t
                fill[keys[i]] += 1


# -------------------------------------------------------------------- trees


@kernel
def _set(trees, row, half, leaf):
    i = half + leaf
    while i > 0 and trees[row, i] == 0:
        trees[row, i] = 1
        i >>= 1


@kernel
def _clear(trees, row, half, leaf):
    i = half + leaf
    trees[row, i] = 0
    while i > 1 and trees[row, i ^ 1] == 0:
        i >>= 1
        trees[row, i] = 0


@kernel
def _before(trees, row, half, leaf):
    """The highest leaf below `leaf` that is set, -1 if there is none."""
    i = half + leaf
    while i > 1:
        if (i & 1) == 1 and trees[row, i - 1] > 0:
            i -= 1
            while i < half:
                i = 2 * i + 1 if trees[row, 2 * i + 1] > 0 else 2 * i
            return i - half
        i >>= 1
    return -1


@kernel
def _after(trees, row, half, leaf):
    """The lowest leaf above `leaf` that is set, -1 if there is none."""
    i = half + leaf
    while i > 1:
        if (i & 1) == 0 and trees[row, i + 1] > 0:
            i += 1
            while i < half:
                i = 2 * i if trees[row, 2 * i] > 0 else 2 * i + 1
            return i - half
        i >>= 1
    return -1


@kernel
def _lowest(trees, row, half):
    """The lowest leaf that is set, -1 if there is none."""
    if trees[row, 1] == 0:
        return -1
    i = 1
    while i < half:
        i = 2 * i if trees[row, 2 * i] > 0 else 2 * i + 1
    return i - half


@kernel
def _sum(trees, row, half, first, end):
    total = 0
    low, high = half + first, half + end
    while low < high:
        if (low & 1) == 1:
            total += trees[row, low]
            low += 1
        if (high & 1) == 1:
            high -= 1
            total += trees[row, high]
        low >>= 1
        high >>= 1
    return total


# -------------------------------------------------------------------- Block-STM


@kernel
def _newest(key, here, key_start, credited, owner, estimated, trees, half):
    """What a reader whose changes begin at `here` sees: (base, versions, transaction whose estimate it meets or -1).

    base is the newest lower write there is, -1 for the state before the block. versions counts the publications of base
    and of the credits since: publications only ever grow, so equal counts on an equal base mean the very same versions.
    """
    first = key_start[key]
    base = _before(trees, _WRITTEN, half, here)
    if base < first:
        base = -1
    low = first if base < 0 else base
    if credited[key]:
        mark = _before(trees, _ESTIMATES, half, here)
        return base, _sum(trees, _VERSIONS, half, low, here), owner[mark] if mark >= low else -1
    if base < 0:
        return base, 0, -1
    return base, trees[_VERSIONS, half + base], owner[base] if estimated[owner[base]] else -1


@kernel
def _read(t, indptr, keys, modes, place, key_start, credited, owner, estimated, trees, half, seen_base, seen_count):
    """Note what t reads now; returns the transaction whose estimate it meets on its first such key, -1 if none."""
    for i in range(indptr[t], indptr[t + 1]):
        if (modes[i] & _READ) != 0:
            base, versions, mark = _newest(keys[i], place[i], key_start, credited, owner, estimated, trees, half)
            if mark >= 0:
                return mark
            seen_base[i] = base
            seen_count[i] = versions
    return -1


@kernel
def _still_right(t, indptr, keys, modes, place, key_start, credited, owner, estimated, trees, half, seen_base, seen_count):
    for i in range(indptr[t], indptr[t + 1]):
        if (modes[i] & _READ) != 0:
            base, versions, mark = _newest(keys[i], place[i], key_start, credited, owner, estimated, trees, half)
            if mark >= 0 or base != seen_base[i] or versions != seen_count[i]:
                return False
    return True


@kernel
def _publish(t, first_time, indptr, keys, modes, place, credited, estimated, trees, half):
    """Make the changes of t visible and lift its estimates; returns whether it changes anything."""
    changes = False
    for i in range(indptr[t], indptr[t + 1]):
        if (modes[i] & _CHANGES) != 0:
            changes = True
            if credited[keys[i]]:
                node = half + place[i]
                while node > 0:
                    trees[_VERSIONS, node] += 1
                    node >>= 1
                if estimated[t]:
                    _clear(trees, _ESTIMATES, half, place[i])
            else:  # never summed over
                trees[_VERSIONS, half + place[i]] += 1
            if first_time and (modes[i] & _WRITE) != 0:
                _set(trees, _WRITTEN, half, place[i])
    estimated[t] = 0
    return changes


@kernel
def _mark(t, indptr, keys, modes, place, credited, estimated, trees, half):
    """Turn the changes of t into estimates."""
    estimated[t] = 1
    for i in range(indptr[t], indptr[t + 1]):
        if (modes[i] & _CHANGES) != 0 and credited[keys[i]]:
            _set(trees, _ESTIMATES, half, place[i])


@kernel
def _recheck(
    t, indptr, keys, modes, place, key_start, owner, reader_place, reader_start, reader, trees, half, status, tasks
):  # fmt: skip
    """Give a validation to each executed transaction above t to which its changes are, or were, the newest."""
    for i in range(indptr[t], indptr[t + 1]):
        if (modes[i] & _CHANGES) != 0:
            over = _after(trees, _WRITTEN, half, place[i])
            last = owner[over] if 0 <= over < key_start[keys[i] + 1] else status.shape[0]
            for r in range(reader_place[i], reader_start[keys[i] + 1]):
                if reader[r] > last:
                    break
                if reader[r] > t and status[reader[r]] == _EXECUTED:
                    _set(tasks, 0, tasks.shape[1] // 2, reader[r])


@kernel
def block_stm(
    indptr, keys, modes, place, key_start, credited, owner, reader_place, reader_start, reader, cost, paid, release,
    n_workers, dispatch, validation, trees, tasks, status, estimated, executions, seen_base, seen_count,
    waiter, next_waiter, free, free_at, busy, busy_until, task, version, start, end, worker,
):  # fmt: skip
    """Simulate Block-STM as `schedule.simulate` defines it; returns (makespan, validations).

    Writes executions (n_tx,) int32, zero-filled, and start, end, worker of each transaction's last execution.
    task[w], version[w] is what worker w does: version 0 executes, v validates the v-th execution.
    tasks is a tree of one row over transactions: those ready to execute, and of those executed the ones to validate.

    Zero-filled: trees (3, 2 * half), tasks (1, 2 * half') int32, status, estimated (n_tx,) uint8. Filled with -1: waiter
    (n_tx,) int32, heads of the lists of those that wait for a transaction. Scratch: next_waiter (n_tx,) int32, seen_base,
    seen_count (n_accesses,) int64, free, busy, task, version (n_workers,) int32, free_at, busy_until (n_workers,) float64.
    """
    n_tx = indptr.shape[0] - 1
    half, half_tx = trees.shape[1] // 2, tasks.shape[1] // 2
    now = 0.0
    validations = 0
    n_busy, n_free = 0, 0
    for w in range(n_workers):
        n_free = push_time(free_at, free, n_free, 0.0, w)
    for t in range(n_tx):
        _set(tasks, 0, half_tx, t)
    while True:
        while n_busy > 0 and busy_until[0] <= now:
            w = busy[0]
            n_busy = pop_time(busy_until, busy, n_busy)
            n_free = push_time(free_at, free, n_free, 0.0, w)
            t = task[w]
            changed = False
            if version[w] == 0:
                first_time = executions[t] == 1
                changed = _publish(t, first_time, indptr, keys, modes, place, credited, estimated, trees, half) and first_time
                status[t] = _EXECUTED
                _set(tasks, 0, half_tx, t)
                u = waiter[t]
                while u >= 0:
                    status[u] = _READY
                    _set(tasks, 0, half_tx, u)
                    u = next_waiter[u]
                waiter[t] = -1
            elif status[t] == _EXECUTED and executions[t] == version[w]:
                changed = not _still_right(
                    t, indptr, keys, modes, place, key_start, credited, owner, estimated, trees, half, seen_base, seen_count
                )  # fmt: skip
                if changed:
                    _mark(t, indptr, keys, modes, place, credited, estimated, trees, half)
                    status[t] = _READY
                    _set(tasks, 0, half_tx, t)
            if changed:
                _recheck(
                    t, indptr, keys, modes, place, key_start, owner, reader_place, reader_start, reader, trees, half,
                    status, tasks,
                )  # fmt: skip
        while n_free > 0:
            t = _lowest(tasks, 0, half_tx)
            if t < 0:
                break
            _clear(tasks, 0, half_tx, t)
            w = free[0]
            until = now + validation
            if status[t] == _EXECUTED:
                validations += 1
                version[w] = executions[t]
            else:
                mark = _read(
                    t, indptr, keys, modes, place, key_start, credited, owner, estimated, trees, half, seen_base, seen_count
                )  # fmt: skip
                if mark >= 0:
                    status[t] = _WAITING
                    next_waiter[t] = waiter[mark]
                    waiter[mark] = t
                    continue
                status[t] = _EXECUTING
                executions[t] += 1
                start[t] = max(now, release[t])
                until = start[t] + (dispatch + (cost[t] + paid[t] if executions[t] == 1 else cost[t]))
                end[t] = until
                worker[t] = w
                version[w] = 0
            n_free = pop_time(free_at, free, n_free)
            task[w] = t
            n_busy = push_time(busy_until, busy, n_busy, until, w)
            if until <= now:  # over at once: ends come before starts, and may free or take away the next task
                break
        if n_busy == 0:
            return now, validations
        now = busy_until[0]
