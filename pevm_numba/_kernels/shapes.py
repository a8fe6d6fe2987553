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
    QUOTIENT,
)  # fmt: skip
from .context import value
from .control import POLL_FEW
from .gas import capped
from .jit import DISABLED, U64, kernel
from .system import now
from .words import step

__all__ = ["GIVEN", "LINKS", "find_shapes", "run_native"]

#: What machine code finds in its worker's row of `Code.links`: addresses, and offsets for machine code in a box of its own;
#: `batched` if functions take batches of transactions and write all of their receipts, 0 if they take one, and return most.
LINKS = (
    "values", "words", "operands", "operand_indptr", "digests", "sums", "static_gas", "prices", "gas_used", "refund",
    "output", "digest", "sink", "store", "functions", "box", "batch", "batched", "failed",
)  # fmt: skip

#: Of these, what a function that takes one transaction is given between its operands and the row: the last by its own row.
GIVEN = ("values", "words", "prices", "output")

_BATCHED = LINKS.index("batched")

#: Operands of a transaction are asked for so many transactions before it runs; where transactions are grouped, the next one's
#: are anywhere. Without, groups take up to a quarter longer (measured).
_AHEAD = 6

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

    def _run_one(entry, t, links, worker):
        """There is no machine code in plain Python, so nobody has an address."""
        raise RuntimeError("machine code in plain Python")

    def _run_batch(address, first, last, order, links, worker):
        """There is no machine code in plain Python, so nobody has an address."""
        raise RuntimeError("machine code in plain Python")

    def _prefetch(entry, t):
        """There is no machine code in plain Python, so nobody has operands for it."""
        raise RuntimeError("machine code in plain Python")

else:

    _WORD, _POINTER = ir.IntType(64), ir.IntType(8).as_pointer()

    def _row(context, builder, kind, array, index):
        """The address of a row of a C-contiguous (n, m) int64 array, as bytes' and as words'."""
        view = context.make_array(kind)(context, builder, array)
        row = builder.gep(view.data, [builder.mul(index, builder.extract_value(view.shape, 1))])
        return builder.bitcast(row, _POINTER), row

    @intrinsic
    def _run_one(typingctx, entry, t, links, worker):
        """Run transaction t by entry[t], which has an address there; links[worker] tells where arrays are.

        Returns the gas beside the static, refund, digest: see `engines.llvm_ir`.
        """

        def codegen(context, builder, signature, args):
            _, place = _row(context, builder, signature.args[0], args[0], args[1])
            passed, table = _row(context, builder, signature.args[2], args[2], args[3])
            address, operands = (builder.load(builder.gep(place, [_WORD(i)])) for i in range(2))
            *shared, output = (builder.load(builder.gep(table, [_WORD(LINKS.index(name))])) for name in GIVEN)
            output = builder.add(output, builder.shl(args[1], _WORD(5)))
            given = [builder.inttoptr(part, _POINTER) for part in (operands, *shared, output)]
            function = ir.FunctionType(ir.LiteralStructType([_WORD] * 3), [_POINTER] * (len(GIVEN) + 2))
            found = builder.call(builder.inttoptr(address, function.as_pointer()), [*given, passed])
            parts = [builder.extract_value(found, i) for i in range(3)]
            return context.make_tuple(builder, signature.return_type, parts)

        parts = types.Tuple((types.int64, types.int64, types.uint64))
        return parts(entry, types.int64, links, types.int64), codegen

    @intrinsic
    def _prefetch(typingctx, entry, t):
        """Ask for the operands of transaction t, which must be in range, and may have no machine code."""

        def codegen(context, builder, signature, args):
            _, place = _row(context, builder, signature.args[0], args[0], args[1])
            operands = builder.inttoptr(builder.load(builder.gep(place, [_WORD(1)])), _POINTER)
            number = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [_POINTER, number, number, number])
            prefetch = builder.module.declare_intrinsic("llvm.prefetch", [_POINTER], kind)
            builder.call(prefetch, [operands, number(0), number(3), number(1)])  # to read, soon and again, data
            return context.get_dummy_value()

        return types.void(entry, types.int64), codegen

    @intrinsic
    def _run_batch(typingctx, address, first, last, order, links, worker):
        """Call the function at an address with (first, last, order, links[worker]); all int64 and C-contiguous arrays."""

        def codegen(context, builder, signature, args):
            rows = context.make_array(signature.args[3])(context, builder, args[3])
            passed, _ = _row(context, builder, signature.args[4], args[4], args[5])
            function = ir.FunctionType(ir.VoidType(), [_WORD, _WORD, _POINTER, _POINTER])
            place = builder.inttoptr(args[0], function.as_pointer())
            builder.call(place, [args[1], args[2], builder.bitcast(rows.data, _POINTER), passed])
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64, order, links, types.int64), codegen


@kernel(bare=True)
def run_native(position, last, order, here, worker):
    """Run transactions from order[position] on as long as they have machine code.

    Returns the first position that is left.
    """
    context = value(here)
    code, times, receipts = context.code, context.times, context.receipts
    entry, links, quotient = code.entry, code.links, code.prices[QUOTIENT]
    timed, batched = times.begin.shape[0] > 0, links[worker, _BATCHED] != 0
    while position < last:
        t = U64(order[position])  # unsigned: nobody asks whether an index is counted from the end
        address = entry[t, U64(0)]
        if address == 0:
            return position
        end = position + 1
        if timed:
            times.worker[t] = worker
            times.runs[t] += 1
            times.begin[t] = now()
        if batched:  # those of one function by one call, which writes the receipts
            while not timed and end < last and entry[order[end], 0] == address:
                end += 1
            _run_batch(address, np.int64(position), np.int64(end), order, links, np.int64(worker))
        else:
            _prefetch(entry, np.int64(order[min(position + _AHEAD, last - 1)]))
            gas, refund, digest = _run_one(entry, np.int64(t), links, np.int64(worker))
            receipts.gas_used[t] = capped(entry[t, U64(3)] + gas, refund, quotient)
            receipts.refund[t] = refund
            receipts.digest[t] = digest
            x = t + U64(1)
            for _ in range(entry[t, U64(2)]):
                x = step(x)
            receipts.sink[t] = x
        if timed:
            times.end[t] = now()
        position = end
    return position
