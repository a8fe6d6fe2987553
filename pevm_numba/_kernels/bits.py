"""Bits of 64-bit numbers, by the instructions that processors have for them."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import DISABLED

__all__ = ["trailing_zeros"]

if DISABLED:

    def trailing_zeros(value):
        """Place of the lowest bit of a uint64 that is 1; 64 if none is."""
        number = int(value)
        return (number & -number).bit_length() - 1 if number else 64

else:

    @intrinsic
    def trailing_zeros(typingctx, value):
        """Place of the lowest bit of a uint64 that is 1; 64 if none is."""

        def codegen(context, builder, signature, args):
            return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

        return types.int64(types.uint64), codegen
