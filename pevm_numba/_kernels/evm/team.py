"""All workers of a block at once, on Numba's threads. If there are fewer of those, one thread is several workers
one after the other: the first finishes what is to run, but each has to come by, to settle what it has made."""

from __future__ import annotations

from numba import prange

from ..jit import parallel_kernel
from .linking import call_kernel
from .memory import load

__all__ = ["work_together"]


@parallel_kernel(bare=True)
def work_together(worker, contexts, n_workers, b):
    """Have the kernel at the address `worker` take part in a block for each of the contexts, whose addresses are in a row."""
    for i in prange(n_workers):
        call_kernel(worker, load(contexts + 8 * i), b)
