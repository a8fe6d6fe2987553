"""The micro-op interpreter: a bare loop for transactions that cannot fail, and a careful one for those that may.

`encode` has resolved what does not depend on values. `_run_careful` tests stack, sentry and gas at each op, in the order of
the specification. Values are changed in place: whoever calls sees to it that nobody else touches the same rows. Which rows
those are is the encoding's business: one for each key of the block, or one for each entry of the footprint, where
executors keep versions.
"""

from __future__ import annotations

import numpy as np

from .codes import (
    CAREFUL,
    CLEAR,
    CREDIT,
    E_ADD,
    E_AGAIN,
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
    MAX_STACK,
    OUT_OF_GAS,
    OVERFLOW,
    QUOTIENT,
    READ,
    RESET,
    SENTRY,
    SET,
    SUCCESS,
    UNDERFLOW,
    WARM,
)  # fmt: skip
from .context import value
from .control import POLL_FEW, POLL_STEPS, stopped
from .gas import capped, store_gas
from .jit import U64, kernel
from .shapes import run_native
from .system import now
from .words import add, fold, step, subtract

__all__ = ["observed_sets", "run", "run_here", "settle"]


@kernel(bare=True)
def settle(key, place, values, sums):
    """Add all workers' partial sums number `place` to values[key] and clear them."""
    for w in range(sums.shape[0]):
        values[key, 0], values[key, 1], values[key, 2], values[key, 3] = add(
            values[key, 0], values[key, 1], values[key, 2], values[key, 3],
            sums[w, place, 0], sums[w, place, 1], sums[w, place, 2], sums[w, place, 3],
        )  # fmt: skip
        for j in range(4):
            sums[w, place, j] = U64(0)


@kernel(bare=True)
def _work(x, count, control):
    """`count` steps of stand-in work after x; fewer if the run is stopped before or meanwhile."""
    if count > POLL_FEW and stopped(control):
        return x
    while count > POLL_STEPS and not stopped(control):
        for _ in range(POLL_STEPS):
            x = step(x)
        count -= POLL_STEPS
    for _ in range(min(count, POLL_STEPS)):
        x = step(x)
    return x


@kernel(bare=True)
def _run_careful(t, here, worker):
    """Run one transaction that may fail, testing everything where the spec does; undo its writes if it fails."""
    context = value(here)
    code, values, sums, scratch, receipts = context.code, context.values, context.sums, context.scratch, context.receipts
    digests, control = context.hashing.digests, context.control
    op_indptr, rows, op_gas, words, prices = code.op_indptr, code.rows, code.op_gas, code.words, code.prices
    stack, saved, saved_place = scratch.stack[worker], scratch.saved[worker], scratch.saved_place[worker]
    start, end = op_indptr[t], op_indptr[t + 1]
    gas_left = code.gas_limit[t] - code.intrinsic[t]
    result = SUCCESS
    refund = np.int64(0)
    digest = U64(0)
    x = U64(t + 1)
    depth, n_saved = 0, 0
    seen = start  # ops before this one have been observed
    if gas_left < 0:
        result = OUT_OF_GAS
        end = start
    for i in range(start, end):
        op, key, arg = rows[i, 0], rows[i, 1], rows[i, 2]
        store = op == E_NEW or op == E_SAVE or op == E_AGAIN or op == E_PLAIN
        # stack, then sentry, then gas
        if (op == E_ADD or op == E_SUB or (store and arg < 0)) and depth == 0:
            result = UNDERFLOW
            break
        if (op == E_LOAD or op == E_KECCAK) and depth == MAX_STACK:
            result = OVERFLOW
            break
        if store and op != E_PLAIN and gas_left <= prices[SENTRY]:
            result = OUT_OF_GAS
            break
        if gas_left < op_gas[i]:
            result = OUT_OF_GAS
            break
        gas_left -= op_gas[i]
        seen = i + 1
        if op == E_LOAD or op == E_TOUCH:
            digest = fold(digest, values[key, 0], values[key, 1], values[key, 2], values[key, 3])
            if op == E_LOAD:
                for j in range(4):
                    stack[depth, j] = values[key, j]
                depth += 1
        elif store:
            if arg < 0:
                n0, n1, n2, n3 = stack[depth - 1, 0], stack[depth - 1, 1], stack[depth - 1, 2], stack[depth - 1, 3]
            else:
                n0, n1, n2, n3 = words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3]
            c0, c1, c2, c3 = values[key, 0], values[key, 1], values[key, 2], values[key, 3]
            ordinal = rows[i, 3]
            if ordinal == n_saved:  # the first write to this key
                saved_place[ordinal] = key
                saved[ordinal, 0], saved[ordinal, 1], saved[ordinal, 2], saved[ordinal, 3] = c0, c1, c2, c3
                n_saved += 1
            if op != E_PLAIN:
                o0, o1, o2, o3 = saved[ordinal, 0], saved[ordinal, 1], saved[ordinal, 2], saved[ordinal, 3]
                cost, change = store_gas(o0, o1, o2, o3, c0, c1, c2, c3, n0, n1, n2, n3, prices)
                if gas_left < cost:
                    result = OUT_OF_GAS
                    break
                gas_left -= cost
                refund += change
            if arg < 0:
                depth -= 1
            values[key, 0], values[key, 1], values[key, 2], values[key, 3] = n0, n1, n2, n3
        elif op == E_ADD or op == E_SUB:
            d = depth - 1
            if op == E_ADD:
                stack[d, 0], stack[d, 1], stack[d, 2], stack[d, 3] = add(
                    stack[d, 0], stack[d, 1], stack[d, 2], stack[d, 3],
                    words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3],
                )  # fmt: skip
            else:
                stack[d, 0], stack[d, 1], stack[d, 2], stack[d, 3] = subtract(
                    stack[d, 0], stack[d, 1], stack[d, 2], stack[d, 3],
                    words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3],
                )  # fmt: skip
        elif op == E_KECCAK:
            for j in range(4):
                stack[depth, j] = digests[arg, j]
            depth += 1
        elif op == E_NOOP:
            x = _work(x, arg, control)
        elif op == E_CREDIT:
            ordinal = rows[i, 3]
            if ordinal == n_saved:
                saved_place[ordinal] = key
                for j in range(4):
                    saved[ordinal, j] = values[key, j]
                n_saved += 1
            values[key, 0], values[key, 1], values[key, 2], values[key, 3] = add(
                values[key, 0], values[key, 1], values[key, 2], values[key, 3],
                words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3],
            )  # fmt: skip
        elif op == E_SHARED:  # here the ordinal column holds the ordinal, the key column the number of the sum
            ordinal = rows[i, 3]
            if ordinal == n_saved:
                saved_place[ordinal] = -1 - key
                for j in range(4):
                    saved[ordinal, j] = sums[worker, key, j]
                n_saved += 1
            sums[worker, key, 0], sums[worker, key, 1], sums[worker, key, 2], sums[worker, key, 3] = add(
                sums[worker, key, 0], sums[worker, key, 1], sums[worker, key, 2], sums[worker, key, 3],
                words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3],
            )  # fmt: skip
    receipts.status[t] = result
    receipts.digest[t] = digest
    receipts.sink[t] = x
    receipts.stop[t] = seen
    if result == SUCCESS:
        receipts.refund[t] = refund
        receipts.gas_used[t] = capped(code.gas_limit[t] - gas_left, refund, prices[QUOTIENT])
        for j in range(4):
            receipts.output[t, j] = stack[depth - 1, j] if depth > 0 else U64(0)
        return
    for ordinal in range(n_saved):
        place = saved_place[ordinal]
        for j in range(4):
            if place >= 0:
                values[place, j] = saved[ordinal, j]
            else:
                sums[worker, -1 - place, j] = saved[ordinal, j]
    receipts.refund[t] = 0
    receipts.gas_used[t] = code.gas_limit[t]
    for j in range(4):
        receipts.output[t, j] = U64(0)


@kernel(inline=True, bare=True)
def run_here(first, last, order, context, here, worker):
    """Run transactions order[first:last] on `values`, one after the other: few at a time, for only long work asks for STOP.

    The caller guarantees that nobody else touches their rows meanwhile (credits to shared keys go to sums[worker]), and that
    partial sums of balances that they read or write are settled. Receipts of transaction t are written at t, and, where
    `times` is not empty, when it ran. `here` is a reference to the context. Inlined where it is called, which is worth its
    compile time where calls are short; else see `run`.
    """
    code, values, sums, scratch, receipts = context.code, context.values, context.sums, context.scratch, context.receipts
    digests, times, control = context.hashing.digests, context.times, context.control
    op_indptr, rows, words, flags, prices = code.op_indptr, code.rows, code.words, code.flags, code.prices
    stack, saved = scratch.stack[worker], scratch.saved[worker]
    warm, set_gas, reset_gas, clear = prices[WARM], prices[SET], prices[RESET], prices[CLEAR]
    timed, native = times.begin.shape[0] > 0, code.entry.shape[0] > 0
    position = first
    while position < last:
        if native:
            position = run_native(position, last, order, here, worker)
            if position >= last:
                break
        t = order[position]
        position += 1
        if timed:
            times.worker[t] = worker
            times.runs[t] += 1
            times.begin[t] = now()
        if flags[t] & CAREFUL:
            _run_careful(t, here, worker)
            if timed:
                times.end[t] = now()
            continue
        gas = code.static_gas[t]
        refund = np.int64(0)
        digest = U64(0)
        x = U64(t + 1)
        depth = 0  # the top of the stack is in t0..t3, the entries below it in stack[1:depth]
        t0, t1, t2, t3 = U64(0), U64(0), U64(0), U64(0)
        for i in range(op_indptr[t], op_indptr[t + 1]):
            op, key, arg = rows[i, 0], rows[i, 1], rows[i, 2]
            if op == E_LOAD:
                stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3] = t0, t1, t2, t3
                depth += 1
                t0, t1, t2, t3 = values[key, 0], values[key, 1], values[key, 2], values[key, 3]
                digest = fold(digest, t0, t1, t2, t3)
            elif op == E_NEW or op == E_SAVE:
                if arg < 0:
                    n0, n1, n2, n3 = t0, t1, t2, t3
                    depth -= 1
                    t0, t1, t2, t3 = stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3]
                else:
                    n0, n1, n2, n3 = words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3]
                c0, c1, c2, c3 = values[key, 0], values[key, 1], values[key, 2], values[key, 3]
                if op == E_SAVE:
                    o = rows[i, 3]
                    saved[o, 0], saved[o, 1], saved[o, 2], saved[o, 3] = c0, c1, c2, c3
                if ((n0 ^ c0) | (n1 ^ c1) | (n2 ^ c2) | (n3 ^ c3)) == U64(0):
                    gas += warm
                elif (c0 | c1 | c2 | c3) == U64(0):
                    gas += set_gas
                else:
                    gas += reset_gas
                    if (n0 | n1 | n2 | n3) == U64(0):
                        refund += clear
                values[key, 0], values[key, 1], values[key, 2], values[key, 3] = n0, n1, n2, n3
            elif op == E_ADD:
                t0, t1, t2, t3 = add(t0, t1, t2, t3, words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3])
            elif op == E_SUB:
                t0, t1, t2, t3 = subtract(t0, t1, t2, t3, words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3])
            elif op == E_KECCAK:
                stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3] = t0, t1, t2, t3
                depth += 1
                t0, t1, t2, t3 = digests[arg, 0], digests[arg, 1], digests[arg, 2], digests[arg, 3]
            elif op == E_NOOP:
                if arg <= POLL_FEW:
                    for _ in range(arg):
                        x = step(x)
                else:
                    x = _work(x, arg, control)
            elif op == E_TOUCH:
                digest = fold(digest, values[key, 0], values[key, 1], values[key, 2], values[key, 3])
            elif op == E_AGAIN or op == E_PLAIN:
                if arg < 0:
                    n0, n1, n2, n3 = t0, t1, t2, t3
                    depth -= 1
                    t0, t1, t2, t3 = stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3]
                else:
                    n0, n1, n2, n3 = words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3]
                if op == E_AGAIN:
                    o = rows[i, 3]
                    cost, change = store_gas(
                        saved[o, 0], saved[o, 1], saved[o, 2], saved[o, 3],
                        values[key, 0], values[key, 1], values[key, 2], values[key, 3], n0, n1, n2, n3, prices,
                    )  # fmt: skip
                    gas += cost
                    refund += change
                values[key, 0], values[key, 1], values[key, 2], values[key, 3] = n0, n1, n2, n3
            elif op == E_CREDIT:
                values[key, 0], values[key, 1], values[key, 2], values[key, 3] = add(
                    values[key, 0], values[key, 1], values[key, 2], values[key, 3],
                    words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3],
                )  # fmt: skip
            elif op == E_SHARED:
                sums[worker, key, 0], sums[worker, key, 1], sums[worker, key, 2], sums[worker, key, 3] = add(
                    sums[worker, key, 0], sums[worker, key, 1], sums[worker, key, 2], sums[worker, key, 3],
                    words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3],
                )  # fmt: skip
        receipts.status[t] = SUCCESS
        receipts.refund[t] = refund
        receipts.gas_used[t] = capped(gas, refund, prices[QUOTIENT])
        output = receipts.output
        output[t, 0], output[t, 1], output[t, 2], output[t, 3] = t0, t1, t2, t3
        receipts.digest[t] = digest
        receipts.sink[t] = x
        receipts.stop[t] = op_indptr[t + 1]
        if timed:
            times.end[t] = now()


@kernel(bare=True)
def run(first, last, order, here, worker):
    """`run_here`, not inlined."""
    run_here(first, last, order, value(here), here, worker)


@kernel
def observed_sets(
    op_indptr, op_code, op_key, n_keys, status, stop, footprint_indptr, footprint_keys, footprint_modes,
    indptr, keys, modes,
):  # fmt: skip
    """What was really accessed: the footprint of a success; of a failure the keys that ops before stop[t] read or wrote.

    keys and modes have room for the footprint; returns the number of entries.
    """
    reached = np.full(n_keys, -1, np.int32)
    total = 0
    for t in range(status.shape[0]):
        indptr[t] = total
        if status[t] != SUCCESS:
            for i in range(op_indptr[t], stop[t]):
                if op_key[i] >= 0 and op_code[i] != CREDIT:
                    reached[op_key[i]] = t
        for j in range(footprint_indptr[t], footprint_indptr[t + 1]):
            if status[t] == SUCCESS:
                keys[total] = footprint_keys[j]
                modes[total] = footprint_modes[j]
                total += 1
            elif reached[footprint_keys[j]] == t:
                keys[total] = footprint_keys[j]
                modes[total] = READ
                total += 1
    indptr[status.shape[0]] = total
    return total
