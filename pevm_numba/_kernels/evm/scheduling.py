"""Which transaction runs next: of those that wait for nobody the first by rank, or the next of a wave.

Those who never had to wait are in a row by rank, from which workers take the next; who is ready later goes to a heap, or is
taken on by the worker for whom it waited, if it would be the first there. So the heap is small, and a worker seldom has to
fetch from another core what was moved about in it, or what its next transaction reads.
"""

from __future__ import annotations

from ..jit import kernel
from .interning import lock, unlock
from .layout import BLOCK, CONTEXT
from .memory import atomic_add, load, load_acquire, store, store_release

__all__ = ["DONE", "FINAL", "HELD", "IDLE", "RUNNING", "WINDOW", "claim", "finished", "judged", "lay_down", "take_up", "tell"]

_block, _context = BLOCK.at, CONTEXT.at
_NEXT, _DONE_AT, _N_QUEUE, _QUEUE_LOCK, _FRONTIER, _DOUBT = (
    BLOCK.numbers[name] for name in ("next", "done", "n_queue", "queue_lock", "frontier", "doubt")
)

#: State of a transaction: not run yet (0), in a worker's hands, run, and what has come out stands.
RUNNING, DONE, FINAL = 1, 2, 3

#: No task.
IDLE = -1

#: Transactions ahead of what stands that are run at first and at most, where nobody knows what they access; and how many
#: results have to stand in a row until it is twice as many again.
WINDOW = 128
_TRUST = 16

#: Most transactions that a worker takes along with the one that it claims.
HELD = 4


@kernel(bare=True)
def _less(ranks, t, u):
    return load(ranks + 8 * t) < load(ranks + 8 * u)


@kernel(bare=True)
def _push(b, t):
    """Put a transaction in the heap."""
    block = _block(b)
    lock(b + _QUEUE_LOCK)
    queue, i = block.queue, block.n_queue
    while i > 0:
        parent = (i - 1) >> 1
        if not _less(block.ranks, t, load(queue + 8 * parent)):
            break
        store(queue + 8 * i, load(queue + 8 * parent))
        i = parent
    store(queue + 8 * i, t)
    store_release(b + _N_QUEUE, block.n_queue + 1)
    unlock(b + _QUEUE_LOCK)


@kernel(bare=True)
def _ready(b):
    """How many wait for nobody; the lock is held."""
    block = _block(b)
    return block.n_firsts - block.next + block.n_queue


@kernel(bare=True)
def _first(b):
    """The first by rank of one or more that wait for nobody, and whether it is in the heap; the lock is held."""
    block = _block(b)
    if block.next == block.n_firsts:
        return load(block.queue), True
    t = load(block.firsts + 8 * block.next)
    if block.n_queue > 0 and _less(block.ranks, load(block.queue), t):
        return load(block.queue), True
    return t, False


@kernel(bare=True)
def _pop_heap(b):
    """Take out the first of the heap; the lock is held."""
    block = _block(b)
    size = block.n_queue - 1
    queue = block.queue
    t = load(queue + 8 * size)
    i = 0
    while 2 * i + 1 < size:
        child = 2 * i + 1
        if child + 1 < size and _less(block.ranks, load(queue + 8 * (child + 1)), load(queue + 8 * child)):
            child += 1
        if not _less(block.ranks, load(queue + 8 * child), t):
            break
        store(queue + 8 * i, load(queue + 8 * child))
        i = child
    store(queue + 8 * i, t)
    store_release(b + _N_QUEUE, size)


@kernel(bare=True)
def _pop(b):
    """Take out the first by rank of one or more that wait for nobody; the lock is held."""
    block = _block(b)
    first, in_heap = _first(b)
    if in_heap:
        _pop_heap(b)
    else:
        store_release(b + _NEXT, block.next + 1)
    return first


@kernel(bare=True)
def _more(b, left):
    """How many to take along of those that could be claimed."""
    return min(HELD, left // (32 * _block(b).n_workers))


@kernel(bare=True)
def _take(c, b):
    """The first of those that wait for nobody, or IDLE; of many, some more are taken along."""
    context, block = _context(c), _block(b)
    if context.n_held > 0:
        context.n_held -= 1
        return load(context.held + 8 * context.n_held)
    if load_acquire(b + _N_QUEUE) == 0 and load_acquire(b + _NEXT) == block.n_firsts:
        return IDLE
    lock(b + _QUEUE_LOCK)
    size = _ready(b)
    limit = load_acquire(b + _FRONTIER) + block.window if block.window and load_acquire(b + _DOUBT) else block.n_tx
    if size == 0 or _first(b)[0] >= limit:
        unlock(b + _QUEUE_LOCK)
        return IDLE
    first = _pop(b)
    more = _more(b, size)
    if block.window:
        more = min(more, block.window // 16)
    for i in range(more):
        store(context.held + 8 * (more - 1 - i), _pop(b))
    context.n_held = more
    unlock(b + _QUEUE_LOCK)
    return first


@kernel(bare=True)
def judged(b, stood):
    """How far ahead of what stands it is worth running, after one more result that stood or did not."""
    block = _block(b)
    if block.window == 0:
        return
    if not stood:
        block.window = max(1, block.window >> 1)
        block.good = 0
        return
    block.good += 1
    if block.good >= _TRUST:
        block.window = min(2 * block.window, WINDOW)
        block.good = 0


@kernel(bare=True)
def claim(c, b):
    """A transaction for the worker that asks, or IDLE. It may have to wait until `starts` of it are done."""
    context, block = _context(c), _block(b)
    if block.order == 0:
        return _take(c, b)
    if context.n_held > 0:
        context.n_held -= 1
        return load(context.held + 8 * context.n_held)
    claimed = load_acquire(b + _NEXT)
    if claimed >= block.n_tx:
        return IDLE
    # the first of a list are the largest
    more = min(_more(b, block.n_tx - claimed), claimed // (8 * block.n_workers)) if context.listed else 0
    i = atomic_add(b + _NEXT, 1 + more)
    if i >= block.n_tx:
        return IDLE
    context.n_held = min(more, block.n_tx - 1 - i)
    for k in range(context.n_held):
        store(context.held + 8 * k, load(block.order + 8 * (i + context.n_held - k)))
    return load(block.order + 8 * i)


@kernel(bare=True)
def lay_down(c, b, task):
    """Before a worker leaves: what it has claimed and not begun goes back to where others find it, or is kept for later."""
    context, block = _context(c), _block(b)
    if block.order == 0:
        for i in range(context.n_held):
            _push(b, load(context.held + 8 * i))
        context.n_held = 0
        if task >= 0:
            _push(b, task)
    elif task >= 0:
        store(context.held, task)
        context.n_held = 1


@kernel(bare=True)
def take_up(c, b):
    """What the worker had claimed when it left, or IDLE."""
    context = _context(c)
    if context.n_held == 0:
        return IDLE
    context.n_held = 0
    return load(context.held)


@kernel(bare=True)
def _would_be_next(c, b, t):
    """Whether the worker would take this one if it was ready, as far as can be told without the lock."""
    context, block = _context(c), _block(b)
    if context.n_held > 0 or block.window:
        return False
    following = load_acquire(b + _NEXT)
    if following < block.n_firsts and _less(block.ranks, load(block.firsts + 8 * following), t):
        return False
    return load_acquire(b + _N_QUEUE) == 0 or _less(block.ranks, t, load_acquire(block.queue))


@kernel(bare=True)
def _pass_on(c, b, t):
    """Have those who waited for a transaction, and for nobody else, run: the first of them here, if it would be the next."""
    context, block, first = _context(c), _block(b), IDLE
    for at in range(load(block.followers_at + 8 * t), load(block.followers_at + 8 * t + 8)):
        follower = load(block.followers + 8 * at)
        if atomic_add(block.awaited + 8 * follower, -1) == 1:
            if first != IDLE and _less(block.ranks, follower, first):
                follower, first = first, follower
            if first == IDLE:
                first = follower
            else:
                _push(b, follower)
    if first == IDLE:
        return
    if _would_be_next(c, b, first):
        store(context.held, first)
        context.n_held = 1
    else:
        _push(b, first)


@kernel(bare=True)
def finished(c, b, t):
    """The transaction has run for the first time: who waits for it, and nobody else, is ready."""
    if _block(b).order == 0:
        _context(c).untold += 1
        _pass_on(c, b, t)
    else:
        atomic_add(b + _DONE_AT, 1)


@kernel(bare=True)
def tell(c, b):
    """Have what this worker has done counted with what the others have."""
    context = _context(c)
    if context.untold:
        atomic_add(b + _DONE_AT, context.untold)
        context.untold = 0
