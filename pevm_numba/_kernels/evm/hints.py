"""What LLVM cannot know: it decides what stays in registers, and where a branch is laid out."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..jit import DISABLED

__all__ = ["unlikely"]

if DISABLED:

    def unlikely(condition):
        """The condition, which hardly ever holds."""
        return condition

else:

    @intrinsic
    def unlikely(typingctx, condition):
        """The condition, which hardly ever holds."""

        def codegen(context, builder, signature, args):
            bit = ir.IntType(1)
            expect = cgutils.get_or_insert_function(builder.module, ir.FunctionType(bit, [bit, bit]), "llvm.expect.i1")
            return builder.call(expect, [args[0], ir.Constant(bit, 0)])

        return types.boolean(types.boolean), codegen
