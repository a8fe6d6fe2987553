"""Calls of kernels by address. Who calls one by name is compiled together with it, and everything above it anew each time:
with the interpreter at the bottom that took 58 s instead of 17 (measured)."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..jit import DISABLED

__all__ = ["address_of_kernel", "call_kernel", "call_kernel_1"]

_ADDRESSES: dict[int, object] = {}

if DISABLED:

    def address_of_kernel(kernel, arity=2):
        """Something that `call_kernel` finds the kernel by."""
        _ADDRESSES[id(kernel)] = kernel
        return id(kernel)

    def call_kernel(address, c, t):
        """Call the kernel at an address with two int64; it returns nothing."""
        _ADDRESSES[int(address)](c, t)

    def call_kernel_1(address, c):
        """Call the kernel at an address with one int64; it returns nothing."""
        _ADDRESSES[int(address)](c)

else:

    def address_of_kernel(kernel, arity=2):
        """Where the machine code of a kernel of so many int64 begins; it is compiled, or loaded, if need be, and stays."""
        if id(kernel) not in _ADDRESSES:
            signature = (types.int64,) * arity
            kernel.compile(signature)
            compiled = kernel.overloads[signature]
            _ADDRESSES[id(kernel)] = compiled.library.get_pointer_to_function(compiled.fndesc.mangled_name)
        return _ADDRESSES[id(kernel)]

    def _call(context, builder, signature, args):
        """Code of a call with Numba's own convention: where the result goes, where an error goes, then the arguments."""
        i64, pointer = ir.IntType(64), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.IntType(32), [pointer.as_pointer()] * 2 + [i64] * (len(args) - 1))
        result, problem = cgutils.alloca_once(builder, pointer), cgutils.alloca_once(builder, pointer)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [result, problem, *args[1:]])
        return context.get_dummy_value()

    @intrinsic
    def call_kernel(typingctx, address, c, t):
        """Call the kernel at an address with two int64; it returns nothing."""
        return types.void(types.int64, types.int64, types.int64), _call

    @intrinsic
    def call_kernel_1(typingctx, address, c):
        """Call the kernel at an address with one int64; it returns nothing."""
        return types.void(types.int64, types.int64), _call
