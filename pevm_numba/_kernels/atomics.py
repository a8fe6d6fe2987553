"""Atomic operations on array elements, and hints about them, as LLVM instructions: usable in kernels, kept by the disk cache.

`array` is an array of int32, int64 or uint64, `index` an integer, or a tuple of integers for more dimensions; nothing is
checked. Values must have the array's type. Under NUMBA_DISABLE_JIT plain Python stands in, for one thread.
"""

from __future__ import annotations

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import DISABLED

__all__ = [
    "compare_and_swap", "exchange", "fence", "fence_reads", "fetch_add", "load_acquire", "load_relaxed", "pause",
    "prefetch", "store_release",
]  # fmt: skip

#: The instruction that tells a core that it waits in a loop; elsewhere a fence does.
_PAUSES = {"x86_64": "llvm.x86.sse2.pause", "AMD64": "llvm.x86.sse2.pause", "aarch64": "yield"}


def _element(context, builder, signature, args):
    """Pointer to array[index], for a signature that begins with array and index, and the element's size in bytes."""
    array, index = signature.args[0], signature.args[1]
    struct = context.make_array(array)(context, builder, args[0])
    if isinstance(index, types.BaseTuple):
        parts = [(builder.extract_value(args[1], i), kind) for i, kind in enumerate(index.types)]
    else:
        parts = [(args[1], index)]
    place = [context.cast(builder, value, kind, types.intp) for value, kind in parts]
    pointer = cgutils.get_item_pointer(context, builder, array, struct, place, wraparound=False)
    return pointer, array.dtype.bitwidth // 8


if DISABLED:

    def fetch_add(array, index, value):
        """Add to ``array[index]`` and return the old value."""
        old = array[index]
        array[index] = old + value
        return old

    def exchange(array, index, value):
        """Write ``array[index]`` and return the old value."""
        old = array[index]
        array[index] = value
        return old

    def compare_and_swap(array, index, expected, new):
        """Write `new` if ``array[index]`` is `expected`; returns whether it was."""
        if array[index] != expected:
            return False
        array[index] = new
        return True

    def load_acquire(array, index):
        """``array[index]``."""
        return array[index]

    def load_relaxed(array, index):
        """``array[index]``."""
        return array[index]

    def store_release(array, index, value):
        """Write ``array[index]``."""
        array[index] = value

    def fence():
        """Nothing, with one thread."""

    def fence_reads():
        """Nothing, with one thread."""

    def pause():
        """Nothing, with one thread."""

    def prefetch(array, index):
        """Nothing: a hint."""

else:

    @intrinsic
    def fetch_add(typingctx, array, index, value):
        """Atomically add to ``array[index]`` and return the old value; sequentially consistent."""

        def codegen(context, builder, signature, args):
            pointer, _ = _element(context, builder, signature, args)
            return builder.atomic_rmw("add", pointer, args[2], "seq_cst")

        return array.dtype(array, index, array.dtype), codegen

    @intrinsic
    def exchange(typingctx, array, index, value):
        """Atomically write ``array[index]`` and return the old value; sequentially consistent."""

        def codegen(context, builder, signature, args):
            pointer, _ = _element(context, builder, signature, args)
            return builder.atomic_rmw("xchg", pointer, args[2], "seq_cst")

        return array.dtype(array, index, array.dtype), codegen

    @intrinsic
    def compare_and_swap(typingctx, array, index, expected, new):
        """Atomically write `new` if ``array[index]`` is `expected`; returns whether it was. Sequentially consistent."""

        def codegen(context, builder, signature, args):
            pointer, _ = _element(context, builder, signature, args)
            result = builder.cmpxchg(pointer, args[2], args[3], "seq_cst", "seq_cst")
            return builder.extract_value(result, 1)

        return types.boolean(array, index, array.dtype, array.dtype), codegen

    @intrinsic
    def load_acquire(typingctx, array, index):
        """Read ``array[index]``; what was written before the matching `store_release` is seen from here on."""

        def codegen(context, builder, signature, args):
            pointer, size = _element(context, builder, signature, args)
            return builder.load_atomic(pointer, "acquire", size)

        return array.dtype(array, index), codegen

    @intrinsic
    def load_relaxed(typingctx, array, index):
        """Read ``array[index]`` anew each time, and promise nothing about other memory: for flags that only say "stop"."""

        def codegen(context, builder, signature, args):
            pointer, size = _element(context, builder, signature, args)
            return builder.load_atomic(pointer, "monotonic", size)

        return array.dtype(array, index), codegen

    @intrinsic
    def store_release(typingctx, array, index, value):
        """Write ``array[index]``; whoever reads the value by `load_acquire` sees all that was written before."""

        def codegen(context, builder, signature, args):
            pointer, size = _element(context, builder, signature, args)
            builder.store_atomic(args[2], pointer, "release", size)
            return context.get_dummy_value()

        return types.void(array, index, array.dtype), codegen

    @intrinsic
    def fence(typingctx):
        """Everything before is seen by all threads before anything after (sequentially consistent)."""

        def codegen(context, builder, signature, args):
            builder.fence("seq_cst")
            return context.get_dummy_value()

        return types.void(), codegen

    @intrinsic
    def fence_reads(typingctx):
        """Reads before are done before any after (acquire): between copying a value and asking whether it still stands."""

        def codegen(context, builder, signature, args):
            builder.fence("acquire")
            return context.get_dummy_value()

        return types.void(), codegen

    @intrinsic
    def pause(typingctx):
        """Tell the core that this is a waiting loop."""

        def codegen(context, builder, signature, args):
            name = _PAUSES.get(platform.machine())
            nothing = ir.FunctionType(ir.VoidType(), [])
            if name is None:
                builder.fence("seq_cst")
            elif name.startswith("llvm."):
                builder.call(cgutils.get_or_insert_function(builder.module, nothing, name), [])
            else:
                builder.asm(nothing, name, "", [], side_effect=True)
            return context.get_dummy_value()

        return types.void(), codegen

    @intrinsic
    def prefetch(typingctx, array, index):
        """Begin to bring the cache line of ``array[index]`` in, for reading; the place need not exist."""

        def codegen(context, builder, signature, args):
            pointer, _ = _element(context, builder, signature, args)
            place = builder.bitcast(pointer, ir.PointerType(ir.IntType(8)))
            number = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
            hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            builder.call(hint, [place, number(0), number(3), number(1)])  # to read, keep near, data
            return context.get_dummy_value()

        return types.void(array, index), codegen
