"""Keccak-256 of one message after the other; `keccak` hashes several at once, but leaves lanes empty for a lone message.

Its round is emitted here on 25 scalars, which LLVM keeps in registers and on the stack.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import DISABLED, U64, kernel
from .keccak import RATE, emit_permutation, load_lane, permute_plainly

__all__ = ["hash_bytes", "hash_many", "permute_one"]

if DISABLED:

    def permute_one(state):
        """Keccak-f[1600] on 25 lanes, with Python's integers."""
        state[:] = permute_plainly([int(lane) for lane in state])

else:

    @intrinsic
    def permute_one(typingctx, state):
        """Keccak-f[1600] on state, a C-contiguous (25,) uint64 array, in place."""

        def codegen(context, builder, signature, args):
            array = context.make_array(signature.args[0])(context, builder, args[0])
            emit_permutation(builder, array.data, ir.IntType(64))
            return context.get_dummy_value()

        return types.void(state), codegen


@kernel(bare=True)
def hash_bytes(data, start, stop, state):
    """Absorb data[start:stop] into state, (25,) uint64; its first four lanes are then the digest, little-endian."""
    for i in range(25):
        state[i] = U64(0)
    at = start
    while stop - at >= RATE:
        for i in range(17):
            state[i] ^= load_lane(data, at + 8 * i)
        permute_one(state)
        at += RATE
    whole = (stop - at) >> 3
    for i in range(whole):
        state[i] ^= load_lane(data, at + 8 * i)
    at += 8 * whole
    tail = U64(1) << U64(8 * (stop - at))
    for b in range(stop - at):
        tail |= U64(data[at + b]) << U64(8 * b)
    state[whole] ^= tail
    state[16] ^= U64(0x8000000000000000)
    permute_one(state)


@kernel(bare=True)
def hash_many(data, indptr, state, digests):
    """digests[m], (n, 4) uint64: hash of data[indptr[m]:indptr[m + 1]] as `hash_bytes` has it."""
    for m in range(indptr.shape[0] - 1):
        hash_bytes(data, indptr[m], indptr[m + 1], state)
        for i in range(4):
            digests[m, i] = state[i]
