"""What the workers of one parallel region share: waiting without burning a core that others need, and hashing first.

A waiter looks again and again for some 20 microseconds, then yields its core to whoever is ready, then sleeps in short
naps: so a core taken away by another process does not stall the rest, and long chains cost little CPU time.
"""

from __future__ import annotations

import numpy as np

from .atomics import fetch_add, load_acquire, pause
from .context import value
from .control import stopped
from .jit import kernel
from .keccak import hash_groups
from .system import nap, yield_core

__all__ = ["hash_together", "rest", "wait_for"]

#: Looks before a waiter yields its core, and before it sleeps; length of a nap in microseconds.
_SPINS, _YIELDS, _NAP_US = 600, 100, np.uint32(50)

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
