"""Finding the shapes of programs, and running transactions whose shape has machine code.

A shape is a list of tokens (`machine.shapes`), found by following the stack: an entry is where a word comes from and what is
added to it. Equal lists are found by hash and then compared, so two shapes are never taken for one.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..machine.shapes import PAYLOAD, Token
from .codes import (
    CAREFUL,
    E_ADD,
    E_AGAIN,
    E_BURN,
    E_CREDIT,
    E_KECCAK,
    E_LOAD,
    E_NEW,
    E_NOOP,
    E_PLAIN,
    E_SAVE,
    E_SHARED,
    E_SUB,
    E_TOUCH,
)  # fmt: skip
from .context import value
from .control import POLL_FEW
from .jit import DISABLED, U64, kernel
from .system import now

__all__ = ["LINKS", "find_shapes", "run_native"]

#: What machine code finds in its worker's row of `Code.links`: addresses, and offsets for machine code in a box of its own.
LINKS = (
    "values", "words", "operands", "operand_indptr", "digests", "sums", "static_gas", "prices", "gas_used", "refund",
    "output", "digest", "sink", "store", "functions", "box", "batch", "failed",
)  # fmt: skip

_READ, _NEW, _SAVE, _AGAIN, _PLAIN, _CREDIT, _SHARED = (int(token) for token in list(Token)[:7])
_LITERAL, _LOADED, _HASHED, _PLUS, _MINUS, _OUTPUT = (int(token) for token in list(Token)[7:])
_PAYLOAD = int(PAYLOAD)


@kernel
def _same(tokens, a, b, count):
    """Whether two runs of tokens, from a and from b, are equal."""
    for i in range(count):  # noqa: SIM110  # kernels have no generators
        if tokens[a + i] != tokens[b + i]:
            return False
    return True


@kernel
def _place(tokens, start, end, token_indptr, table):
    """Where in the hash table the tokens from start to end are, or belong."""
    h = U64(end - start)
    for i in range(start, end):
        h = (h ^ U64(tokens[i])) * U64(0x9E3779B97F4A7C15)
        h ^= h >> U64(29)
    mask = table.shape[0] - 1
    place = np.int64(h & U64(mask))
    while table[place] > 0:
        other = table[place] - 1
        begin = token_indptr[other]
        if token_indptr[other + 1] - begin == end - start and _same(tokens, begin, start, end - start):
            return place
        place = (place + 1) & mask
    return place


@kernel
def _word(entry, kind, argument, first, chain, added, tokens, n_tokens, operands, n_operands):
    """Write where an entry of the stack comes from, and what is added to it; returns the new counts."""
    tokens[n_tokens] = kind[entry]
    n_tokens += 1
    if kind[entry] % _PAYLOAD != _LOADED:
        operands[n_operands] = argument[entry]
        n_operands += 1
    node = first[entry]
    while node >= 0:
        tokens[n_tokens] = added[node, 0]
        operands[n_operands] = added[node, 1]
        n_tokens += 1
        n_operands += 1
        node = chain[node]
    return n_tokens, n_operands


@kernel
def find_shapes(op_indptr, rows, flags, most_tokens, table, token_indptr, tokens, operand_indptr, operands, shape):
    """Give each transaction that cannot fail, has few tokens and little stand-in work the number of its shape, others -1.

    Writes token_indptr (n_tx + 1,) and tokens of each shape, in order of first appearance; operand_indptr (n_tx + 1,) and
    operands; shape (n_tx,). table is zero and a power of two of more than n_tx entries; tokens and operands have room for
    two an op and three a transaction. Returns the number of shapes. O(ops).
    """
    n_tx = op_indptr.shape[0] - 1
    widest = 1
    for t in range(n_tx):
        widest = max(widest, op_indptr[t + 1] - op_indptr[t])
    # entries of the stack: token, argument, first and last of what is added; what is added: next, and (token, row)
    kind, argument = np.empty(widest + 1, np.int32), np.empty(widest + 1, np.int32)
    first, last = np.empty(widest + 1, np.int32), np.empty(widest + 1, np.int32)
    chain, added = np.empty(widest + 1, np.int32), np.empty((widest + 1, 2), np.int32)
    save = np.empty(widest + 1, np.int32)
    n_shapes, n_operands = 0, 0
    token_indptr[0] = 0
    for t in range(n_tx):
        operand_indptr[t] = n_operands
        shape[t] = -1
        if flags[t] & CAREFUL:
            continue
        begin = token_indptr[n_shapes]
        n_tokens, at = begin, n_operands
        depth, reads, saves, nodes = 0, 0, 0, 0
        steps = np.int64(0)
        for i in range(op_indptr[t], op_indptr[t + 1]):
            op, key, arg, ordinal = rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3]
            if op == E_LOAD or op == E_TOUCH:
                tokens[n_tokens], operands[at] = _READ, key
                n_tokens += 1
                at += 1
                if op == E_LOAD:
                    kind[depth], argument[depth], first[depth] = _LOADED + _PAYLOAD * reads, 0, -1
                    depth += 1
                reads += 1
            elif op == E_KECCAK:
                kind[depth], argument[depth], first[depth] = _HASHED, arg, -1
                depth += 1
            elif op == E_ADD or op == E_SUB:
                added[nodes, 0], added[nodes, 1], chain[nodes] = _PLUS if op == E_ADD else _MINUS, arg, -1
                if first[depth - 1] < 0:
                    first[depth - 1] = nodes
                else:
                    chain[last[depth - 1]] = nodes
                last[depth - 1] = nodes
                nodes += 1
            elif op == E_NEW or op == E_SAVE or op == E_AGAIN or op == E_PLAIN:
                if op == E_SAVE:
                    save[ordinal] = saves
                    saves += 1
                if op == E_NEW:
                    tokens[n_tokens] = _NEW
                elif op == E_PLAIN:
                    tokens[n_tokens] = _PLAIN
                else:
                    tokens[n_tokens] = (_SAVE if op == E_SAVE else _AGAIN) + _PAYLOAD * save[ordinal]
                operands[at] = key
                n_tokens += 1
                at += 1
                if arg < 0:
                    depth -= 1
                    n_tokens, at = _word(depth, kind, argument, first, chain, added, tokens, n_tokens, operands, at)
                else:
                    tokens[n_tokens], operands[at] = _LITERAL, arg
                    n_tokens += 1
                    at += 1
            elif op == E_CREDIT or op == E_SHARED:
                tokens[n_tokens] = _CREDIT if op == E_CREDIT else _SHARED
                operands[at], operands[at + 1] = key, arg
                n_tokens += 1
                at += 2
            elif op == E_NOOP:
                steps += arg
            elif op != E_BURN:
                steps = np.int64(POLL_FEW) + 1  # not known here: left to the interpreter
        tokens[n_tokens] = _OUTPUT
        n_tokens += 1
        if depth > 0:
            n_tokens, at = _word(depth - 1, kind, argument, first, chain, added, tokens, n_tokens, operands, at)
        if n_tokens - begin > most_tokens or steps > POLL_FEW:
            continue
        operands[at] = steps
        n_operands = at + 1
        place = _place(tokens, begin, n_tokens, token_indptr, table)
        if table[place] == 0:
            n_shapes += 1
            token_indptr[n_shapes] = n_tokens
            table[place] = n_shapes
        shape[t] = table[place] - 1
    operand_indptr[n_tx] = n_operands
    return n_shapes


if DISABLED:

    def _call(address, first, last, order, links, worker):
        """There is no machine code in plain Python, so nobody has an address."""
        raise RuntimeError("machine code in plain Python")

else:

    @intrinsic
    def _call(typingctx, address, first, last, order, links, worker):
        """Call the function at an address with (first, last, order, links[worker]); all int64 and C-contiguous arrays."""

        def codegen(context, builder, signature, args):
            word, byte = ir.IntType(64), ir.IntType(8)
            row_kind, link_kind = signature.args[3], signature.args[4]
            rows = context.make_array(row_kind)(context, builder, args[3])
            table = context.make_array(link_kind)(context, builder, args[4])
            width = builder.extract_value(table.shape, 1)
            row = builder.gep(table.data, [builder.mul(args[5], width)])
            pointer = byte.as_pointer()
            function = ir.FunctionType(ir.VoidType(), [word, word, pointer, pointer])
            place = builder.inttoptr(args[0], function.as_pointer())
            builder.call(place, [args[1], args[2], builder.bitcast(rows.data, pointer), builder.bitcast(row, pointer)])
            return context.get_dummy_value()

        signature = types.void(types.int64, types.int64, types.int64, order, links, types.int64)
        return signature, codegen


@kernel(bare=True)
def run_native(position, last, order, here, worker):
    """Run transactions from order[position] on as long as they have machine code, those of one shape by one call.

    Returns the first position that is left.
    """
    context = value(here)
    entry, links, times = context.code.entry, context.code.links, context.times
    timed = times.begin.shape[0] > 0
    while position < last:
        t = order[position]
        address = entry[t]
        if address == 0:
            return position
        end = position + 1
        if timed:
            times.worker[t] = worker
            times.runs[t] += 1
            times.begin[t] = now()
        else:
            while end < last and entry[order[end]] == address:
                end += 1
        _call(address, np.int64(position), np.int64(end), order, links, np.int64(worker))
        if timed:
            times.end[t] = now()
        position = end
    return position
