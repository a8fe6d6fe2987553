"""Keccak-256 of many independent messages, several at a time: one SIMD lane a message, sponge (25, LANES) uint64.

LLVM does not vectorise the permutation by itself (measured: lane loops run at scalar speed), so the round is emitted as
vector instructions. Messages in one group have the same number of 136-byte blocks.
"""

from __future__ import annotations

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .control import CONTROL_CELLS, POLL_BLOCKS, stopped
from .jit import DISABLED, U64, kernel

__all__ = ["LANES", "RATE", "emit_permutation", "hash_all", "hash_groups", "load_lane", "permute_lanes", "permute_plainly"]

#: Bytes absorbed per permutation.
RATE = 136
#: Messages hashed at once: as many 64-bit lanes as a vector register holds (AVX-512: 8, else 4, as two NEON pairs on ARM).
LANES = 8 if llvm.get_host_cpu_features().get("avx512f") else 4


def _rotations_and_constants() -> tuple[list[int], list[int]]:
    """Rotation of lane x + 5y, and the 24 round constants, from their definitions in the Keccak reference."""
    rotation = [0] * 25
    x, y = 1, 0
    for step in range(24):
        rotation[x + 5 * y] = (step + 1) * (step + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    constants, lfsr = [], 1
    for _ in range(24):
        constant = 0
        for j in range(7):
            if lfsr & 1:
                constant |= 1 << ((1 << j) - 1)
            lfsr = (lfsr << 1 ^ (lfsr >> 7) * 0x171) & 0xFF
        constants.append(constant)
    return rotation, constants


_ROTATION, _CONSTANTS = _rotations_and_constants()
_ONES = 2**64 - 1


def _round(a, constant, rotate, andnot, xor):
    """One round on 25 lane values, by whatever xor, rotate and and-not are given."""
    columns = [xor(a[x], xor(a[x + 5], xor(a[x + 10], xor(a[x + 15], a[x + 20])))) for x in range(5)]
    masks = [xor(columns[(x + 4) % 5], rotate(columns[(x + 1) % 5], 1)) for x in range(5)]
    b = [None] * 25
    for x in range(5):
        for y in range(5):
            b[y + 5 * ((2 * x + 3 * y) % 5)] = rotate(xor(a[x + 5 * y], masks[x]), _ROTATION[x + 5 * y])
    out = [xor(b[i], andnot(b[i - i % 5 + (i + 1) % 5], b[i - i % 5 + (i + 2) % 5])) for i in range(25)]
    out[0] = xor(out[0], constant)
    return out


def permute_plainly(lanes: list[int]) -> list[int]:
    """Keccak-f[1600] on 25 numbers of 64 bits."""

    def rotate(x, n):
        return (x << n | x >> (64 - n)) & _ONES if n else x

    for constant in _CONSTANTS:
        lanes = _round(lanes, constant, rotate, lambda x, y: ~x & y & _ONES, lambda x, y: x ^ y)
    return lanes


def emit_permutation(builder, base, kind):
    """Code for Keccak-f[1600] in place on the 25 values at base, of `kind`: 64-bit integers or vectors of them.

    A loop of 24 rounds, since unrolled they do not fit the instruction cache (measured).
    """
    word = ir.IntType(64)

    def splat(value):
        return ir.Constant(kind, [value] * kind.count if isinstance(kind, ir.VectorType) else value)

    def rotate(x, n):
        return builder.or_(builder.shl(x, splat(n)), builder.lshr(x, splat(64 - n))) if n else x

    def andnot(x, y):
        return builder.and_(builder.xor(x, splat(_ONES)), y)

    places = [builder.gep(base, [ir.Constant(word, i)]) for i in range(25)]
    start = [builder.load(place, align=8) for place in places]
    table = ir.Constant(ir.ArrayType(word, 24), [ir.Constant(word, c) for c in _CONSTANTS])
    constants = cgutils.global_constant(builder, "keccak_round_constants", table)
    before = builder.block
    loop, after = builder.append_basic_block("keccak_round"), builder.append_basic_block("keccak_done")
    builder.branch(loop)
    builder.position_at_end(loop)
    number = builder.phi(word)
    number.add_incoming(ir.Constant(word, 0), before)
    lanes = [builder.phi(kind) for _ in range(25)]
    for lane, value in zip(lanes, start):
        lane.add_incoming(value, before)
    constant = builder.load(builder.gep(constants, [ir.Constant(word, 0), number]))
    if isinstance(kind, ir.VectorType):
        unknown, first = ir.Constant(kind, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
        constant = builder.shuffle_vector(builder.insert_element(unknown, constant, first), unknown, zeros)
    out = _round(lanes, constant, rotate, andnot, builder.xor)
    following = builder.add(number, ir.Constant(word, 1))
    number.add_incoming(following, loop)
    for lane, value in zip(lanes, out):
        lane.add_incoming(value, loop)
    builder.cbranch(builder.icmp_unsigned("<", following, ir.Constant(word, 24)), loop, after)
    builder.position_at_end(after)
    for place, value in zip(places, out):
        builder.store(value, place, align=8)


if DISABLED:

    def permute_lanes(state):
        """Keccak-f[1600] on every column of state (25, LANES), with NumPy."""
        a = [state[i].copy() for i in range(25)]

        def rotate(x, n):
            return (x << U64(n)) | (x >> U64(64 - n)) if n else x

        for constant in _CONSTANTS:
            a = _round(a, U64(constant), rotate, lambda x, y: ~x & y, lambda x, y: x ^ y)
        for i in range(25):
            state[i] = a[i]

else:

    @intrinsic
    def permute_lanes(typingctx, state):
        """Keccak-f[1600] on every column of state, a C-contiguous (25, LANES) uint64 array, in place."""
        sig = types.void(state)

        def codegen(context, builder, signature, args):
            vector = ir.VectorType(ir.IntType(64), LANES)
            array = context.make_array(signature.args[0])(context, builder, args[0])
            emit_permutation(builder, builder.bitcast(array.data, vector.as_pointer()), vector)
            return context.get_dummy_value()

        return sig, codegen


@kernel(inline=True)
def _swap(x):
    """Reverse the bytes of a word."""
    x = ((x & U64(0x00FF00FF00FF00FF)) << U64(8)) | ((x >> U64(8)) & U64(0x00FF00FF00FF00FF))
    x = ((x & U64(0x0000FFFF0000FFFF)) << U64(16)) | ((x >> U64(16)) & U64(0x0000FFFF0000FFFF))
    return (x << U64(32)) | (x >> U64(32))


@kernel(inline=True)
def load_lane(data, at):
    """Eight bytes from `at`, little-endian: one load, since an index that has no sign needs no look at it."""
    a = U64(at)
    return (
        U64(data[a]) | U64(data[a + U64(1)]) << U64(8) | U64(data[a + U64(2)]) << U64(16) | U64(data[a + U64(3)]) << U64(24)
        | U64(data[a + U64(4)]) << U64(32) | U64(data[a + U64(5)]) << U64(40)
        | U64(data[a + U64(6)]) << U64(48) | U64(data[a + U64(7)]) << U64(56)
    )  # fmt: skip


@kernel(bare=True)
def hash_groups(start, stop, hashing, sponge, control):
    """Hash the messages of groups start:stop; writes digests[message] (4 limbs of the big-endian hash) of their members.

    members[group_indptr[g]:group_indptr[g + 1]] are at most LANES messages with the same number of blocks; message m is
    payload_data[payload_indptr[m]:payload_indptr[m + 1]]. sponge (25, LANES) is scratch. Ends early if the run is stopped.
    """
    group_indptr, members, digests = hashing.group_indptr, hashing.members, hashing.digests
    indptr, data = hashing.payload_indptr, hashing.payload_data
    for g in range(start, stop):
        first = group_indptr[g]
        used = group_indptr[g + 1] - first
        for i in range(25):
            for j in range(LANES):
                sponge[i, j] = U64(0)
        n_blocks = (indptr[members[first] + 1] - indptr[members[first]]) // RATE + 1
        for block in range(n_blocks):
            if block % POLL_BLOCKS == 0 and stopped(control):
                return
            for j in range(used):
                at = indptr[members[first + j]] + block * RATE
                left = indptr[members[first + j] + 1] - at
                if left >= RATE:
                    for i in range(17):
                        sponge[i, j] ^= load_lane(data, at + 8 * i)
                else:
                    whole = left >> 3
                    for i in range(whole):
                        sponge[i, j] ^= load_lane(data, at + 8 * i)
                    tail = U64(1) << U64(8 * (left & 7))
                    for b in range(left & 7):
                        tail |= U64(data[at + 8 * whole + b]) << U64(8 * b)
                    sponge[whole, j] ^= tail
                    sponge[16, j] ^= U64(0x8000000000000000)
            permute_lanes(sponge)
        for j in range(used):
            for i in range(4):
                digests[members[first + j], 3 - i] = _swap(sponge[i, j])


@kernel
def hash_all(hashing):
    """Hash every message, where no run is under way that could be stopped."""
    sponge, control = np.empty((25, LANES), np.uint64), np.zeros(CONTROL_CELLS, np.int64)
    hash_groups(0, hashing.group_indptr.shape[0] - 1, hashing, sponge, control)
