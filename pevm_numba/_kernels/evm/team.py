"""All workers of a block at once, on Numba's threads. If there are fewer of those, any one worker finishes what is left."""

from __future__ import annotations

from numba import prange

from ..jit import parallel_kernel
from .linking import call_kernel

__all__ = ["work_together"]


@parallel_kernel(bare=True)
def work_together(worker, contexts, b):
    """Have the kernel at the address `worker` take part in a block for each of the contexts."""
    for i in prange(contexts.shape[0]):
        call_kernel(worker, contexts[i], b)
