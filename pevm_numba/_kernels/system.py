"""Clocks, and giving a core away: calls of the C library from kernels, found by name and so kept by the disk cache."""

from __future__ import annotations

import time

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import DISABLED

__all__ = ["nap", "now", "thread_cpu", "yield_core"]

_NS_PER_S = 1_000_000_000


def _clock(number):
    """Code for the time of a clock in nanoseconds, as int64 (a timespec is two 64-bit numbers on 64-bit systems)."""
    i32, i64 = ir.IntType(32), ir.IntType(64)

    def codegen(context, builder, signature, args):
        pair = ir.ArrayType(i64, 2)
        place = cgutils.alloca_once(builder, pair)
        kind = ir.FunctionType(i32, [i32, pair.as_pointer()])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "clock_gettime"), [ir.Constant(i32, number), place])
        parts = [builder.load(cgutils.gep_inbounds(builder, place, 0, i)) for i in range(2)]
        return builder.add(builder.mul(parts[0], ir.Constant(i64, _NS_PER_S)), parts[1])

    return codegen


if DISABLED:

    def now():
        """Monotonic time in nanoseconds."""
        return time.monotonic_ns()

    def thread_cpu():
        """CPU time of this thread in nanoseconds."""
        return time.thread_time_ns()

    def yield_core():
        """Nothing, with one thread."""

    def nap(microseconds):
        """Nothing, with one thread."""

else:

    @intrinsic
    def now(typingctx):
        """Monotonic time in nanoseconds, that of `time.monotonic_ns`; about 20 ns a call."""
        return types.int64(), _clock(time.CLOCK_MONOTONIC)

    @intrinsic
    def thread_cpu(typingctx):
        """CPU time of this thread in nanoseconds; a system call, some 0.2 microseconds."""
        return types.int64(), _clock(time.CLOCK_THREAD_CPUTIME_ID)

    #: Let another thread that is ready run on this core.
    yield_core = types.ExternalFunction("sched_yield", types.int32())

    #: Sleep for so many microseconds (uint32), and some 50 more by the kernel's timer slack.
    nap = types.ExternalFunction("usleep", types.int32(types.uint32))
