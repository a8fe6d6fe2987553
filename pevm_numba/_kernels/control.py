"""How the threads of one run tell each other to stop: cells of an int64 array, each on cache lines of its own.

Whoever works for long asks `stopped` in between. What a run leaves behind after a stop is incomplete and must be thrown
away.
"""

from __future__ import annotations

import numpy as np

from .atomics import compare_and_swap, load_relaxed, store_release
from .jit import kernel

__all__ = [
    "CONTROL_CELLS", "ERROR", "INTERRUPTED", "PAD", "POLL_BLOCKS", "POLL_FEW", "POLL_STEPS", "POLL_TXS", "STALLED", "STOP",
    "fail", "stopped",
]  # fmt: skip

#: Distance between cells that different threads write, in int64: two cache lines, since lines are fetched in pairs.
PAD = 16

#: Cells: not zero = stop; what went wrong.
STOP, ERROR = 0, PAD

#: Number of int64 in a control array, beside the cells of an executor's own.
CONTROL_CELLS = 2 * PAD

#: Steps of work, blocks of a hash, and transactions run one after the other, between two looks at STOP; and steps of work
#: before which there is one.
POLL_STEPS, POLL_BLOCKS, POLL_TXS, POLL_FEW = 1 << 20, 1 << 13, 64, 1 << 11

#: Errors: stopped from outside; transactions are left, and nobody will ever run them.
INTERRUPTED, STALLED = 1, 2


@kernel(inline=True)
def stopped(control):
    """Whether the run is to end."""
    return load_relaxed(control, STOP) != 0


@kernel(inline=True)
def fail(control, error):
    """End the run for all threads; the first error is the one reported."""
    compare_and_swap(control, ERROR, np.int64(0), np.int64(error))
    store_release(control, STOP, np.int64(1))
