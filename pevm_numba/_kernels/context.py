"""What the kernels of execution work on, as named tuples of arrays, handed on by reference.

Which part is shared and which belongs to one worker is said here once, for all executors. By value, some thirty arrays are
two hundred words on the stack, 44 ns a call (measured); by reference they are one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from .jit import DISABLED

__all__ = ["Code", "Context", "Hashing", "Receipts", "Scratch", "Times", "reference", "value"]


class Code(NamedTuple):
    """An encoded block (see `encode`), read by all workers; ``op_indptr[t]:op_indptr[t + 1]`` are transaction t's ops."""

    op_indptr: NDArray[np.int64]
    #: (n_ops, 4): code, key, argument, ordinal of the written key.
    rows: NDArray[np.int32]
    op_gas: NDArray[np.int64]
    words: NDArray[np.uint64]
    gas_limit: NDArray[np.int64]
    intrinsic: NDArray[np.int64]
    static_gas: NDArray[np.int64]
    flags: NDArray[np.uint8]
    prices: NDArray[np.int64]
    #: (n_tx, 4): address of machine code for the shape of each transaction, 0 for none; of what it takes as operands; steps
    #: of stand-in work; static gas. (0, 4) without any machine code.
    entry: NDArray[np.int64]
    #: (n_workers, links): what that machine code works on, see `shapes.LINKS`.
    links: NDArray[np.int64]


class Hashing(NamedTuple):
    """KECCAK payloads in groups that are hashed at once, and the digest of each, (n_payloads, 4), written before use."""

    group_indptr: NDArray[np.int64]
    members: NDArray[np.int32]
    payload_indptr: NDArray[np.int64]
    payload_data: NDArray[np.uint8]
    digests: NDArray[np.uint64]


class Receipts(NamedTuple):
    """One entry for each transaction, written by whoever runs it."""

    status: NDArray[np.uint8]
    gas_used: NDArray[np.int64]
    refund: NDArray[np.int64]
    output: NDArray[np.uint64]
    digest: NDArray[np.uint64]
    #: Last value of the stand-in work, so that nothing is folded away.
    sink: NDArray[np.uint64]
    #: One past the last op that was observed.
    stop: NDArray[np.int64]


class Scratch(NamedTuple):
    """One entry for each worker: stack (1025, 4), values to restore with their places, the sponge of keccak."""

    stack: NDArray[np.uint64]
    saved: NDArray[np.uint64]
    saved_place: NDArray[np.int32]
    sponge: NDArray[np.uint64]


class Times(NamedTuple):
    """When each transaction's last run began and ended (monotonic nanoseconds), who ran it, how often; or empty arrays."""

    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    worker: NDArray[np.int32]
    runs: NDArray[np.int32]


class Context(NamedTuple):
    """All that running transactions needs."""

    code: Code
    hashing: Hashing
    #: One row for each key of the block, or for each entry of the footprint, as the code has it.
    values: NDArray[np.uint64]
    #: (n_workers, n_shared, 4): partial sums of balances, where the code has such.
    sums: NDArray[np.uint64]
    scratch: Scratch
    receipts: Receipts
    times: Times
    #: See `control`.
    control: NDArray[np.int64]


if DISABLED:

    def reference(tuple_of_arrays):
        """The tuple itself."""
        return tuple_of_arrays

    def value(pointer):
        """The tuple itself."""
        return pointer

else:

    def _store(context, builder, kind, item, place):
        """Store a tuple member by member, so that the optimiser sees single words and not one huge value."""
        if isinstance(kind, types.BaseTuple):
            for i, member in enumerate(kind.types):
                _store(context, builder, member, builder.extract_value(item, i), cgutils.gep_inbounds(builder, place, 0, i))
        else:
            builder.store(context.data_model_manager[kind].as_data(builder, item), place)

    def _load(context, builder, kind, place):
        if isinstance(kind, types.BaseTuple):
            out = ir.Constant(context.get_value_type(kind), ir.Undefined)
            for i, member in enumerate(kind.types):
                item = _load(context, builder, member, cgutils.gep_inbounds(builder, place, 0, i))
                out = builder.insert_value(out, item, i)
            return out
        model = context.data_model_manager[kind]
        raw_type = model.get_data_type()
        if not isinstance(raw_type, ir.LiteralStructType):
            return model.from_data(builder, builder.load(place))
        raw = ir.Constant(raw_type, ir.Undefined)
        for i in range(len(raw_type.elements)):
            word = _word(builder, raw_type.elements[i], cgutils.gep_inbounds(builder, place, 0, i))
            raw = builder.insert_value(raw, word, i)
        return model.from_data(builder, raw)

    def _word(builder, kind, place):
        """A word, or a short array of them (shape and strides)."""
        if not isinstance(kind, ir.ArrayType):
            return builder.load(place)
        out = ir.Constant(kind, ir.Undefined)
        for i in range(kind.count):
            out = builder.insert_value(out, builder.load(cgutils.gep_inbounds(builder, place, 0, i)), i)
        return out

    @intrinsic
    def reference(typingctx, tuple_of_arrays):
        """A pointer to a copy of the tuple, good until the calling kernel returns."""
        if not isinstance(tuple_of_arrays, types.BaseTuple):
            return None

        def codegen(context, builder, signature, args):
            kind = signature.args[0]
            place = cgutils.alloca_once(builder, context.data_model_manager[kind].get_data_type())
            _store(context, builder, kind, args[0], place)
            return place

        return types.CPointer(tuple_of_arrays)(tuple_of_arrays), codegen

    @intrinsic
    def value(typingctx, pointer):
        """The tuple that a `reference` points to; what is not used of it is not loaded."""
        if not isinstance(pointer, types.CPointer):
            return None

        def codegen(context, builder, signature, args):
            return _load(context, builder, signature.return_type, args[0])

        return pointer.dtype(pointer), codegen
