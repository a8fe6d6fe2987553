"""What the workers of one parallel region share: waiting without burning a core that others need, and hashing first.

A waiter looks again and again for some 20 microseconds, then yields its core to whoever is ready, then sleeps in short
naps: so a core taken away by another process does not stall the rest, and long chains cost little CPU time.

Threads that slept are woken where they slept. If that is the core of a thread that runs, the kernel takes milliseconds to
see it, longer than many blocks take: so whoever still misses another worker after a while leaves its core to that one.
"""

from __future__ import annotations

import numpy as np

from .atomics import fetch_add, load_acquire, pause
from .context import value
from .control import stopped
from .jit import kernel
from .keccak import hash_groups
from .system import leave_core, nap, now, yield_core

__all__ = ["all_here", "hash_together", "rest", "wait_for"]

#: Looks before a waiter yields its core, and before it sleeps; length of a nap in microseconds.
_SPINS, _YIELDS, _NAP_US = 600, 100, np.uint32(50)

#: Nanoseconds after which a thread that has not begun waits for a core in vain; waking one takes 20 to 100 microseconds.
_LATE = 150_000

#: Groups of payloads that a worker claims at a time.
_GROUPS = 4


@kernel(bare=True)
def rest(looks):
    """Wait a little, the longer the more often one has looked in vain."""
    if looks < _SPINS:
        pause()
    elif looks < _SPINS + _YIELDS:
        yield_core()
    else:
        nap(_NAP_US)


@kernel(bare=True)
def all_here(n_threads, begin, started, left, control):
    """Whether all of so many threads have begun, or nothing more can be done for those that have not.

    begin: when this worker began, in nanoseconds, 0 if it is about to end. Cells of the control array, zero before a run:
    `started` workers, and those that have `left` their core, no more than threads were missing.
    """
    here = load_acquire(control, started)
    if here >= n_threads:
        return True
    if now() - begin < _LATE:
        return False
    if fetch_add(control, left, np.int64(1)) < n_threads - here:
        leave_core()
    return True


@kernel(bare=True)
def wait_for(cell, value, control):
    """Wait until a cell of the control array has grown to `value`, or the run is stopped."""
    looks = 0
    while load_acquire(control, cell) < value and not stopped(control):
        rest(looks)
        looks += 1


@kernel(bare=True)
def hash_together(worker, claimed, done, here):
    """Hash all payloads together with the other workers; returns when all are hashed, or the run is stopped.

    claimed and done are cells of the control array, zero before: groups that somebody has taken, and groups hashed.
    """
    context = value(here)
    hashing, control = context.hashing, context.control
    n_groups = hashing.group_indptr.shape[0] - 1
    while not stopped(control):
        first = fetch_add(control, claimed, np.int64(_GROUPS))
        if first >= n_groups:
            break
        last = min(first + _GROUPS, n_groups)
        hash_groups(first, last, hashing, context.scratch.sponge[worker], control)
        fetch_add(control, done, last - first)
    wait_for(done, n_groups, control)
