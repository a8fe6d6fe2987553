"""Keccak-256 of bytes at an address, one message at a time: what a contract hashes is known only when it runs."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..jit import DISABLED, kernel
from ..keccak import RATE, emit_permutation, permute_plainly
from .memory import copy, fill, load, load_byte, load_u64, store, store_byte, word_from_bytes

__all__ = ["SPONGE", "keccak"]

#: Bytes of scratch space: the state of the sponge, and the last block.
SPONGE = 200 + RATE

if DISABLED:

    def _permute(p):
        """Keccak-f[1600] on the 25 lanes at p, with Python's integers."""
        for i, lane in enumerate(permute_plainly([int(load_u64(p + 8 * i)) for i in range(25)])):
            store(p + 8 * i, lane)

else:

    @intrinsic
    def _permute(typingctx, p):
        """Keccak-f[1600] on the 25 lanes at p, in place; the caller has had them checked."""

        def codegen(context, builder, signature, args):
            word = ir.IntType(64)
            emit_permutation(builder, builder.inttoptr(args[0], word.as_pointer()), word)
            return context.get_dummy_value()

        return types.void(types.int64), codegen


@kernel(bare=True)
def _absorb(sponge, block):
    for i in range(RATE // 8):
        store(sponge + 8 * i, load(sponge + 8 * i) ^ load(block + 8 * i))
    _permute(sponge)


@kernel(bare=True)
def keccak(target, source, size, sponge):
    """The word target := keccak-256 of `size` bytes at any source, its first byte the most significant one."""
    fill(sponge, 0, 200)
    block = sponge + 200
    while size >= RATE:
        copy(block, source, RATE)
        _absorb(sponge, block)
        source += RATE
        size -= RATE
    fill(block, 0, RATE)
    copy(block, source, size)
    store_byte(block + size, 1)
    store_byte(block + RATE - 1, load_byte(block + RATE - 1) | 0x80)
    _absorb(sponge, block)
    word_from_bytes(target, sponge)
