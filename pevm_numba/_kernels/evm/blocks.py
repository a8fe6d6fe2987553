"""A block: its transactions one after the other on one core, or on all cores so that the outcome is the same.

Workers run transactions in whatever order `scheduling` hands them out, each on a view of its own: the state before the
block, and the changes of those before it as far as they are known. Then, in block order, every result is looked at: if what
it read is still what it would find, it stands; else the transaction runs again at once, when all before it is known. So the
outcome is that of serial execution, however wrong the hints were. Workers with nothing to do look further ahead, and run
again what has become stale.

Where a plan has taken for known what transactions access, and put all that conflict in order, no result needs a look as long
as there is no *doubt*: everybody has run once and kept to what was known of him. Then whoever changes what one reads was
among those that one waited for; and a change that nobody else will look for stays with its worker, until there is doubt.

A transaction that asks the host for something is left in the midst of it. Who works on a thread of Python's own goes and asks
alone, and the others work on (`apart`); Numba's threads come back all together or not at all, so there all go between two
transactions, and all are called again.
"""

from __future__ import annotations

from ..jit import kernel
from ..system import nap, now, thread_cpu, yield_core
from .interning import lock, unlock
from .layout import (
    BLOCK,
    CELL,
    CONTEXT,
    DEAD,
    ESTIMATE,
    FULL,
    OK,
    OPEN,
    REJECTED,
    RESULT,
    SURE,
    SUSPENDED,
    TX,
    UNKNOWN,
)  # fmt: skip
from .linking import call_kernel
from .memory import (
    atomic_add,
    compare_swap,
    load,
    load_acquire,
    store,
    store_release,
    word_add,
    word_copy,
    word_set,
)  # fmt: skip
from .results import as_declared, commit, is_listed, keep_logs, keep_notes, stale
from .scheduling import DONE, FINAL, IDLE, RUNNING, claim, finished, judged, lay_down, take_up, tell
from .versions import FINGERS, declare, earn, link_cells, settle

__all__ = ["FLOW", "INTERRUPTED", "LISTED", "SERIAL", "UNLISTED", "WAVES", "begin", "work"]

_context, _block, _result, _cell = CONTEXT.at, BLOCK.at, RESULT.at, CELL.at
_TX_SIZE, _RESULT_SIZE, _CELL_SIZE = TX.size, RESULT.size, CELL.size
_FRONTIER, _FRONTIER_LOCK, _QUEUE_LOCK, _VERSION, _STOP, _DONE, _AWAY, _DOUBT, _OPENED, _ABORTS, _VALIDATIONS = (
    BLOCK.numbers[name]
    for name in (
        "frontier", "frontier_lock", "queue_lock", "version", "stop", "done", "away", "doubt", "opened", "aborts",
        "validations",
    )
)
_STATE = RESULT.numbers["state"]

#: How a block is run: on one core; by tasks that become ready; wave by wave; all at once from an access list.
SERIAL, FLOW, WAVES, LISTED = 0, 1, 2, 3

#: Why a block was stopped, beside the statuses of contexts: what a transaction did is not what the access list says; somebody
#: asked for it.
UNLISTED, INTERRUPTED = 3, 4

#: How far beyond the results that stand idle workers look.
_AHEAD = 64
#: After how many transactions of its own a worker sees which results stand, if it has more to do.
_PACE = 3
#: How often a worker finds nothing to do before it gives its core away; how often it does that before it sleeps for some
#: microseconds, if transactions are run one by one anyway.
_LOOKS, _PATIENCE, _NAP = 50, 20, 20


@kernel(bare=True)
def _record_of(b, t):
    return _block(b).results + _RESULT_SIZE * t


@kernel(bare=True)
def _stop(b, why, t):
    """Have all workers end; the first reason counts."""
    if compare_swap(b + _STOP, OK, why):
        _block(b).failed = t


@kernel(bare=True)
def _run(c, b, t):
    """Run a transaction, or go on with it; whether it has an outcome. What it changes is in the context."""
    context, r = _context(c), _record_of(b, t)
    result = _result(r)
    if context.status != SUSPENDED:
        context.position = t
        result.begin = now()
        result.worker = context.worker
        result.runs += 1
        result.n_logs = 0
        result.notes = context.notes
    call_kernel(context.runner, c, _block(b).txs + _TX_SIZE * t)
    if context.status == SUSPENDED:
        return False
    if context.status == FULL or context.status == UNKNOWN:
        _stop(b, FULL if context.status == FULL else UNLISTED, t)
        return False
    result.refusal = context.refusal
    result.success = context.success
    result.gas_used = context.gas_used
    if context.status == OK:
        keep_logs(c, r)
    return True


@kernel(bare=True)
def _serial(c, b):
    context, block = _context(c), _block(b)
    for t in range(block.frontier, block.n_tx):
        if load_acquire(b + _STOP):
            return
        r = _record_of(b, t)
        if not _run(c, b, t):
            block.frontier = t  # where to go on
            return
        if context.status == REJECTED:
            _stop(b, REJECTED, t)
            return
        if block.records:
            keep_notes(c, r)
            if context.status == FULL:
                _stop(b, FULL, t)
                return
        commit(c)
        _result(r).state = FINAL
        _result(r).end = now()
    block.frontier = block.n_tx


@kernel(bare=True)
def _undoubted(c, b, t):
    """Whether all is as it was taken to be, with what the transaction in hand has done."""
    r = _record_of(b, t)
    if load_acquire(b + _DOUBT):
        return False
    if _result(r).runs > 1 or _result(r).refusal or not as_declared(c, b, r, t):
        store_release(b + _DOUBT, 1)  # before the result is seen
        return False
    linked = _result(r).stands != OPEN
    while not linked:
        _result(r).checked = load_acquire(b + _OPENED)
        linked = compare_swap(b + _OPENED, _result(r).checked, t + 1)
    return load_acquire(b + _DOUBT) == 0


@kernel(bare=True)
def _end_undoubted(c, b):
    """When all have run without doubt: see whether what is OPEN stands, too; then all does. False if others are at it."""
    if not compare_swap(b + _FRONTIER_LOCK, 0, 1):
        return False
    t = load_acquire(b + _OPENED) - 1 if load_acquire(b + _FRONTIER) < _block(b).n_tx else -1  # else another has seen to it
    while t >= 0 and load_acquire(b + _DOUBT) == 0:
        _context(c).position = t
        atomic_add(b + _VALIDATIONS, 1)
        if stale(c, _record_of(b, t)):
            store_release(b + _DOUBT, 1)
        t = _result(_record_of(b, t)).checked - 1
    if load_acquire(b + _DOUBT) == 0:
        store_release(b + _FRONTIER, _block(b).n_tx)
    unlock(b + _FRONTIER_LOCK)
    return True


@kernel(bare=True)
def _execute(c, b, t):
    """Run a transaction that is this worker's, or go on with it, and let others see what it changes; whether it has ended."""
    context, block, r = _context(c), _block(b), _record_of(b, t)
    result = _result(r)
    if context.status != SUSPENDED:
        context.old_cells = result.cells
        context.n_old_cells = result.n_cells
        declare(context.old_cells, context.n_old_cells, ESTIMATE)
        result.stands = SURE if load_acquire(b + _FRONTIER) >= t else 0
    if _run(c, b, t):
        keep_notes(c, r)
        if context.status == FULL:
            _stop(b, FULL, t)
    if context.status == SUSPENDED:
        return False
    if block.mode != LISTED and context.status != FULL and context.status != UNKNOWN:
        undoubted = _undoubted(c, b, t)
        link_cells(c, result.cells, result.n_cells, False)
        if undoubted:
            earn(c, block.credited, result.cells, result.n_cells)
        else:
            link_cells(c, result.cells, result.n_cells, True)
    declare(context.old_cells, context.n_old_cells, DEAD)
    context.executions += 1
    if block.mode != LISTED and load_acquire(b + _DOUBT):  # a list is compared by whoever runs
        atomic_add(b + _VERSION, 1)
    result.end = now()
    return context.status != FULL and context.status != UNKNOWN


@kernel(bare=True)
def _again(c, b, t):
    """Run a transaction again if its result does not stand, and it is this worker's."""
    r = _record_of(b, t)
    if _result(r).stands == SURE:
        return True
    _context(c).position = t
    atomic_add(b + _VALIDATIONS, 1)
    if stale(c, r):
        atomic_add(b + _ABORTS, 1)
        return _execute(c, b, t)
    return True


@kernel(bare=True)
def _advance(c, b):
    """When there is doubt: settle, in block order, which results stand; whether something was done."""
    block = _block(b)
    n = block.n_tx
    t = load_acquire(b + _FRONTIER)
    if t >= n or load_acquire(_record_of(b, t) + _STATE) != DONE or not compare_swap(b + _FRONTIER_LOCK, 0, 1):
        return False
    t = load_acquire(b + _FRONTIER)
    moved = False
    while t < n and compare_swap(_record_of(b, t) + _STATE, DONE, RUNNING):
        runs = _result(_record_of(b, t)).runs
        if not _again(c, b, t):
            moved = True  # it may be suspended: nothing else may be begun
            break
        judged(b, _result(_record_of(b, t)).runs == runs)
        link_cells(c, _result(_record_of(b, t)).cells, _result(_record_of(b, t)).n_cells, True)
        if _result(_record_of(b, t)).refusal:
            _stop(b, REJECTED, t)
            break
        store_release(_record_of(b, t) + _STATE, FINAL)
        t += 1
        store_release(b + _FRONTIER, t)
        moved = True
    unlock(b + _FRONTIER_LOCK)
    return moved


@kernel(bare=True)
def _look_ahead(c, b):
    """Run again one transaction that has become stale, or see that none has; whether something was done."""
    if load_acquire(b + _DOUBT) == 0:
        return False
    block = _block(b)
    version = load_acquire(b + _VERSION)
    first = load_acquire(b + _FRONTIER) + 1
    for t in range(first, min(first + _AHEAD, block.n_tx)):
        r = _record_of(b, t)
        if load_acquire(r + _STATE) == DONE and _result(r).checked != version and compare_swap(r + _STATE, DONE, RUNNING):
            runs = _result(r).runs
            if not _again(c, b, t):
                return True
            _result(r).checked = version
            store_release(r + _STATE, DONE)
            if _result(r).runs != runs:
                return True
    return False


@kernel(bare=True)
def _has_to_go(c, b):
    """Whether this worker has to leave: its transaction asks for something, or another's does and no one can go alone."""
    if _context(c).status == SUSPENDED:
        if _block(b).apart == 0:
            store_release(b + _AWAY, 1)
        return True
    return load_acquire(b + _AWAY) != 0


@kernel(bare=True)
def _listed(c, b):
    """All at once: each transaction finds in the list what those before it will have made of the state."""
    context, block, done = _context(c), _block(b), 0
    goes_on = context.status == SUSPENDED
    while load_acquire(b + _STOP) == OK and (goes_on or not _has_to_go(c, b)):
        t = context.position if goes_on else claim(c, b)
        goes_on = False
        if t < 0:
            break
        if not _execute(c, b, t):
            continue
        result = _result(_record_of(b, t))
        if result.refusal:
            _stop(b, UNLISTED, t)  # whether it is to blame or the list, a serial run tells
        elif not is_listed(c, b, _record_of(b, t), t):
            _stop(b, UNLISTED, t)
        result.state = FINAL
        done += 1
    atomic_add(b + _DONE, done)
    while load_acquire(b + _STOP) == OK and not _has_to_go(c, b):
        if load_acquire(b + _DONE) >= block.n_tx:
            store_release(b + _FRONTIER, block.n_tx)
            return
        yield_core()


@kernel(bare=True)
def _first_run(c, b, t):
    """Run a transaction for the first time, or go on with it, and have those go ahead that wait for it."""
    if _execute(c, b, t):
        first = _result(_record_of(b, t)).runs == 1
        store_release(_record_of(b, t) + _STATE, DONE)
        if first:
            finished(c, b, t)


@kernel(bare=True)
def _share(c, b):
    """Take part until every result stands, or this worker has to go."""
    context, block = _context(c), _block(b)
    n, looks, task, run = block.n_tx, 0, take_up(c, b), _PACE
    if context.status == SUSPENDED:
        _first_run(c, b, context.position)
    while load_acquire(b + _STOP) == OK:
        if load_acquire(b + _FRONTIER) >= n:
            break
        if _has_to_go(c, b):
            lay_down(c, b, task)
            break
        if run >= _PACE and load_acquire(b + _DOUBT) and _advance(c, b):
            looks = 0
            run = 0
            continue
        if task == IDLE:
            task = claim(c, b)
        if task >= 0 and load_acquire(b + _DONE) >= load(block.starts + 8 * task):
            _first_run(c, b, task)
            task = IDLE
            looks = 0
            run += 1
            continue
        run = _PACE
        tell(c, b)
        if load_acquire(b + _DONE) == n and load_acquire(b + _DOUBT) == 0 and _end_undoubted(c, b):
            continue
        if _look_ahead(c, b):
            looks = 0
            continue
        looks += 1
        if looks % _LOOKS == 0:
            if looks > _PATIENCE * _LOOKS and block.window == 1:
                nap(_NAP)
            else:
                yield_core()
    tell(c, b)


@kernel(bare=True)
def _settle(c, b):
    """Take part in making the state after the block, when every result stands."""
    context, block = _context(c), _block(b)
    if block.mode == LISTED:
        first = block.n_finals * context.worker // block.n_workers
        for i in range(first, block.n_finals * (context.worker + 1) // block.n_workers):
            final = load(block.finals + 8 * i)
            word_copy(context.values + 32 * _cell(final).key, final)
        return
    settle(c, block.credited, block.n_tx)
    if block.credited >= 0 and load_acquire(b + _DOUBT) == 0:
        lock(b + _QUEUE_LOCK)
        word_add(context.values + 32 * block.credited, context.values + 32 * block.credited, context.earned)
        unlock(b + _QUEUE_LOCK)


@kernel(bare=True)
def begin(c, b):
    """Forget where the last run put cells, and what it earned. That all do so at once wakes the threads that then work."""
    for i in range(FINGERS):
        store(_context(c).fingers + 8 * i, 0)
    word_set(_context(c).earned, 0)


@kernel(bare=True)
def work(c, b):
    """One worker's part of a block, all of it if it is run serially; less, if the host is asked for something."""
    context, block = _context(c), _block(b)
    start = thread_cpu()
    context.block = b
    context.chains = 0 if block.mode == SERIAL else block.chains
    context.listed = 1 if block.mode == LISTED else 0
    if block.mode == SERIAL:
        _serial(c, b)
    else:
        if block.mode == LISTED:
            _listed(c, b)
        else:
            _share(c, b)
        if load_acquire(b + _FRONTIER) >= block.n_tx:
            _settle(c, b)
    context.cpu += thread_cpu() - start
