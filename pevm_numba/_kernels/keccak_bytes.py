"""Keccak-256 of one message after the other; `keccak` hashes several at once, but leaves lanes empty for a lone message.

Its round is emitted here on 25 scalars, which LLVM keeps in registers and on the stack.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import DISABLED, U64, kernel
from .keccak import _CONSTANTS, RATE, _load, _round

__all__ = ["hash_bytes", "hash_many", "permute"]

_MASK = 2**64 - 1

if DISABLED:

    def permute(state):
        """Keccak-f[1600] on 25 lanes, with Python's integers."""
        a = [int(lane) for lane in state]

        def rotate(x, n):
            return ((x << n) | (x >> (64 - n))) & _MASK

        for constant in _CONSTANTS:
            a = _round(a, constant, rotate, lambda x, y: ~x & y, lambda x, y: x ^ y)
        for i in range(25):
            state[i] = a[i]

else:

    @intrinsic
    def permute(typingctx, state):
        """Keccak-f[1600] on state, a C-contiguous (25,) uint64 array, in place."""
        sig = types.void(state)

        def codegen(context, builder, signature, args):
            word = ir.IntType(64)

            def rotate(x, n):
                if n == 0:
                    return x
                return builder.or_(builder.shl(x, ir.Constant(word, n)), builder.lshr(x, ir.Constant(word, 64 - n)))

            def andnot(x, y):
                return builder.and_(builder.not_(x), y)

            array = context.make_array(signature.args[0])(context, builder, args[0])
            places = [builder.gep(array.data, [ir.Constant(word, i)]) for i in range(25)]
            start = [builder.load(place) for place in places]
            table = ir.Constant(ir.ArrayType(word, 24), [ir.Constant(word, c) for c in _CONSTANTS])
            constants = cgutils.global_constant(builder, "keccak_scalar_constants", table)
            before = builder.block
            loop, after = builder.append_basic_block("keccak_round"), builder.append_basic_block("keccak_done")
            builder.branch(loop)
            builder.position_at_end(loop)
            number = builder.phi(word)
            number.add_incoming(ir.Constant(word, 0), before)
            lanes = [builder.phi(word) for _ in range(25)]
            for lane, value in zip(lanes, start):
                lane.add_incoming(value, before)
            constant = builder.load(builder.gep(constants, [ir.Constant(word, 0), number]))
            out = _round(lanes, constant, rotate, andnot, builder.xor)
            following = builder.add(number, ir.Constant(word, 1))
            number.add_incoming(following, loop)
            for lane, value in zip(lanes, out):
                lane.add_incoming(value, loop)
            builder.cbranch(builder.icmp_unsigned("<", following, ir.Constant(word, 24)), loop, after)
            builder.position_at_end(after)
            for place, value in zip(places, out):
                builder.store(value, place)
            return context.get_dummy_value()

        return sig, codegen


@kernel(bare=True)
def hash_bytes(data, start, stop, state):
    """Absorb data[start:stop] into state, (25,) uint64; its first four lanes are then the digest, little-endian."""
    for i in range(25):
        state[i] = U64(0)
    at = start
    while stop - at >= RATE:
        for i in range(17):
            state[i] ^= _load(data, at + 8 * i)
        permute(state)
        at += RATE
    whole = (stop - at) >> 3
    for i in range(whole):
        state[i] ^= _load(data, at + 8 * i)
    at += 8 * whole
    tail = U64(1) << U64(8 * (stop - at))
    for b in range(stop - at):
        tail |= U64(data[at + b]) << U64(8 * b)
    state[whole] ^= tail
    state[16] ^= U64(0x8000000000000000)
    permute(state)


@kernel(bare=True)
def hash_many(data, indptr, state, digests):
    """digests[m], (n, 4) uint64: hash of data[indptr[m]:indptr[m + 1]] as `hash_bytes` has it."""
    for m in range(indptr.shape[0] - 1):
        hash_bytes(data, indptr[m], indptr[m + 1], state)
        for i in range(4):
            digests[m, i] = state[i]
