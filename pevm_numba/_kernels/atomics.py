"""Atomic operations on elements of int64 arrays, as LLVM instructions; usable in kernels and kept by the disk cache."""

from __future__ import annotations

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import DISABLED

__all__ = ["fetch_add"]

if DISABLED:

    def fetch_add(array, index, value):
        """Add to ``array[index]`` and return the old value (plain Python, for one thread)."""
        old = array[index]
        array[index] = old + value
        return old

else:

    @intrinsic
    def fetch_add(typingctx, array, index, value):
        """Atomically add to ``array[index]`` (1-d int64) and return the old value; sequentially consistent."""
        sig = array.dtype(array, index, array.dtype)

        def codegen(context, builder, signature, args):
            struct = context.make_array(signature.args[0])(context, builder, args[0])
            place = context.cast(builder, args[1], signature.args[1], types.intp)
            pointer = cgutils.get_item_pointer(
                context, builder, signature.args[0], struct, [place], wraparound=False
            )
            return builder.atomic_rmw("add", pointer, args[2], "seq_cst")

        return sig, codegen
