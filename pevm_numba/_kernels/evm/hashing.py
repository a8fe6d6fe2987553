"""Keccak-256 of bytes at an address, one message at a time: what a contract hashes is known only when it runs."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..jit import DISABLED, kernel
from ..keccak import _CONSTANTS, RATE, _round
from .memory import _read, _write, copy, fill, load, load_byte, store, store_byte, word_from_bytes

__all__ = ["SPONGE", "keccak"]

#: Bytes of scratch space: the state of the sponge, and the last block.
SPONGE = 200 + RATE

_MASK = (1 << 64) - 1


def _plain_permute(p):
    lanes = [_read(p + 8 * i, 8) for i in range(25)]

    def rotate(x, n):
        return (x << n | x >> (64 - n)) & _MASK if n else x

    for constant in _CONSTANTS:
        lanes = _round(lanes, constant, rotate, lambda x, y: ~x & y & _MASK, lambda x, y: x ^ y)
    for i, lane in enumerate(lanes):
        _write(p + 8 * i, lane, 8)


if DISABLED:
    _permute = _plain_permute
else:

    @intrinsic
    def _permute(typingctx, p):
        """Keccak-f[1600] on the 25 lanes at p, in place; a loop of 24 rounds, since unrolled it does not fit the cache."""

        def codegen(context, builder, signature, args):
            i64 = ir.IntType(64)
            base = builder.inttoptr(args[0], i64.as_pointer())
            places = [builder.gep(base, [ir.Constant(i64, i)]) for i in range(25)]
            table = ir.Constant(ir.ArrayType(i64, 24), [ir.Constant(i64, c) for c in _CONSTANTS])
            constants = cgutils.global_constant(builder, "evm_keccak_round_constants", table)

            def rotate(x, n):
                return builder.or_(builder.shl(x, ir.Constant(i64, n)), builder.lshr(x, ir.Constant(i64, 64 - n))) if n else x

            def andnot(x, y):
                return builder.and_(builder.xor(x, ir.Constant(i64, _MASK)), y)

            start = [builder.load(place) for place in places]
            before = builder.block
            loop, after = builder.append_basic_block("keccak_round"), builder.append_basic_block("keccak_done")
            builder.branch(loop)
            builder.position_at_end(loop)
            number = builder.phi(i64)
            number.add_incoming(ir.Constant(i64, 0), before)
            lanes = [builder.phi(i64) for _ in range(25)]
            for lane, value in zip(lanes, start):
                lane.add_incoming(value, before)
            constant = builder.load(builder.gep(constants, [ir.Constant(i64, 0), number]))
            out = _round(lanes, constant, rotate, andnot, builder.xor)
            following = builder.add(number, ir.Constant(i64, 1))
            number.add_incoming(following, loop)
            for lane, value in zip(lanes, out):
                lane.add_incoming(value, loop)
            builder.cbranch(builder.icmp_unsigned("<", following, ir.Constant(i64, 24)), loop, after)
            builder.position_at_end(after)
            for place, value in zip(places, out):
                builder.store(value, place)
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
