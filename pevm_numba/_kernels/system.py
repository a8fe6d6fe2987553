"""Clocks, and giving a core away: calls of the C library from kernels, found by name and so kept by the disk cache."""

from __future__ import annotations

import sys
import time

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import DISABLED

__all__ = ["leave_core", "nap", "now", "thread_cpu", "yield_core"]

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


#: 64-bit words of a set of cores: 1,024 of them, as the C library has it.
_SET = 16


def _leave(context, builder, signature, args):
    """Code that takes this core out of this thread's set of cores, and puts the set back as it was."""
    i32, i64 = ir.IntType(32), ir.IntType(64)
    if not sys.platform.startswith("linux"):
        return ir.Constant(i32, -1)
    kind = ir.FunctionType(i32, [i32, i64, i64.as_pointer()])
    read, write = (cgutils.get_or_insert_function(builder.module, kind, f"sched_{verb}affinity") for verb in ("get", "set"))
    where = cgutils.get_or_insert_function(builder.module, ir.FunctionType(i32, []), "sched_getcpu")
    here, size = ir.Constant(i32, 0), ir.Constant(i64, 8 * _SET)
    sets = [cgutils.alloca_once(builder, ir.ArrayType(i64, _SET)) for _ in range(2)]
    before, others = (cgutils.gep_inbounds(builder, place, 0, 0) for place in sets)
    result = cgutils.alloca_once_value(builder, ir.Constant(i32, -1))
    with builder.if_then(builder.icmp_signed("==", builder.call(read, [here, size, before]), ir.Constant(i32, 0))):
        builder.store(builder.load(sets[0]), sets[1])
        core = builder.zext(builder.call(where, []), i64)
        word = builder.gep(others, [builder.and_(builder.lshr(core, ir.Constant(i64, 6)), ir.Constant(i64, _SET - 1))])
        bit = builder.shl(ir.Constant(i64, 1), builder.and_(core, ir.Constant(i64, 63)))
        builder.store(builder.and_(builder.load(word), builder.not_(bit)), word)
        moved = builder.call(write, [here, size, others])  # an error, and nothing done, if no core is left
        with builder.if_then(builder.icmp_signed("==", moved, ir.Constant(i32, 0))):
            builder.call(write, [here, size, before])
        builder.store(moved, result)
    return builder.load(result)


if DISABLED:

    def leave_core():
        """Nothing, with one thread."""
        return -1

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
    def leave_core(typingctx):
        """Go on on another core: 0, or -1 if this is the only one allowed. The thread's set of cores is left as it was."""
        return types.int32(), _leave

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
