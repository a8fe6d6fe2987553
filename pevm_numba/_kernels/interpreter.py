"""The micro-op interpreter. Programs have no jumps, so warmth, static gas and stack depth are resolved by `encode`, once.

What stays for run time is the price of an SSTORE, which depends on values. A transaction that provably cannot fail runs
the bare loop; every other one runs `_run_careful`, which tests stack, sentry and gas at each op in the order of the spec.
"""

from __future__ import annotations

import numpy as np

from .jit import U64, kernel

__all__ = ["ENCODED_WIDTH", "encode", "observed_sets", "run", "settle"]

_SLOAD, _SSTORE, _ADD, _SUB, _KECCAK, _NOOP, _TOUCH, _CREDIT, _BURN = range(9)

# Encoded ops, dense from 0 so that LLVM makes a jump table of the loop. A store is NEW if it is the transaction's first to
# its slot (original = current then), SAVE if a later store needs the original, AGAIN if it is such a later store, and
# PLAIN if its field costs no gas. SHARED adds to the worker's own partial sum of a balance that many transactions credit.
LOAD, STORE_NEW, ADD, SUB, KECCAK, NOOP, TOUCH, STORE_SAVE, STORE_AGAIN, STORE_PLAIN, CREDIT, SHARED, BURN = range(13)

#: Columns of an encoded op: code, key id (SHARED: number of the partial sum), argument, ordinal of the written key.
ENCODED_WIDTH = 4

# positions in the price array: those of machine.gas.GasItem
_INTRINSIC, _LIST_ADDRESS, _LIST_KEY, _COLD_LOAD, _WARM, _COLD_STORE, _SET, _RESET, _CLEAR = range(9)
_QUOTIENT, _SENTRY, _ARITHMETIC, _HASH, _HASH_WORD, _STEP = range(9, 15)

_READ, _WRITE, _CREDITED = np.uint8(1), np.uint8(2), np.uint8(4)
_SUCCESS, _OUT_OF_GAS, _UNDERFLOW, _OVERFLOW = np.uint8(0), np.uint8(1), np.uint8(2), np.uint8(3)
_MAX_STACK = 1024
_TOO_MUCH = np.int64(1) << np.int64(62)  # sums of gas are cut off here; such a transaction is always a careful one

#: Bits of `flags`: the transaction may fail; it needs partial sums to be settled before it starts.
CAREFUL, SETTLES = np.uint8(1), np.uint8(2)

_GOLDEN = 0x9E3779B97F4A7C15


@kernel
def encode(
    op_indptr, op_code, op_key, op_arg, key_field, payload_indptr, list_indptr, list_entry, gas_limit, prices,
    footprint_indptr, footprint_keys, footprint_modes, shared, rows, op_gas, intrinsic, static_gas, flags, work,
):  # fmt: skip
    """Resolve what does not depend on values; returns the largest number of distinct keys that one transaction writes.

    Writes rows (n_ops, 4) int32; op_gas (n_ops,) int64: gas of each op but for the part of a store that depends on values;
    intrinsic (n_tx,) and static_gas (n_tx,): gas before the first op, and with the sum of op_gas; flags (n_tx,) uint8; work (n_tx,) int64: a guess of the run
    time in nanoseconds. shared[k] numbers the partial sum of key k, -1 for none. O(ops + list entries).
    """
    n_keys = key_field.shape[0]
    # per key, valid if the stamp is this transaction's: warm stamp, written stamp, ordinal, first op that wrote it
    mark = np.zeros((n_keys, 4), np.int32)
    dearest = max(prices[_SET], max(prices[_RESET], prices[_WARM]))
    most_written = 0
    for t in range(op_indptr.shape[0] - 1):
        stamp = np.int32(t + 1)
        gas = prices[_INTRINSIC]
        for i in range(list_indptr[t], list_indptr[t + 1]):
            if list_entry[i] < 0:
                gas += prices[_LIST_ADDRESS]
            else:
                gas += prices[_LIST_KEY]
                mark[list_entry[i], 0] = stamp
        intrinsic[t] = gas
        worst = gas
        depth, written, guess = 0, 0, 20
        flag = np.uint8(0)
        for i in range(op_indptr[t], op_indptr[t + 1]):
            code, key, arg = op_code[i], op_key[i], op_arg[i]
            extra = np.int32(0)
            cost = np.int64(0)
            spare = np.int64(0)
            if code == _SLOAD or code == _TOUCH:
                guess += 6
                if key_field[key] == 0:
                    if mark[key, 0] == stamp:
                        cost = prices[_WARM]
                    else:
                        cost = prices[_COLD_LOAD]
                        mark[key, 0] = stamp
                if code == _SLOAD:
                    new_code = LOAD
                    depth += 1
                else:
                    new_code = TOUCH
            elif code == _SSTORE or code == _CREDIT:
                guess += 8
                first = mark[key, 1] != stamp
                if first:
                    mark[key, 1] = stamp
                    mark[key, 2] = written
                    mark[key, 3] = i
                    written += 1
                extra = mark[key, 2]
                if code == _CREDIT:
                    new_code = CREDIT
                    if shared[key] >= 0:
                        for j in range(footprint_indptr[t], footprint_indptr[t + 1]):
                            if footprint_keys[j] == key and footprint_modes[j] == _CREDITED:
                                new_code = SHARED
                elif key_field[key] != 0:
                    new_code = STORE_PLAIN
                else:
                    spare = dearest
                    if mark[key, 0] != stamp:
                        cost = prices[_COLD_STORE]
                        mark[key, 0] = stamp
                    if first:
                        new_code = STORE_NEW
                    else:
                        new_code = STORE_AGAIN
                        if rows[mark[key, 3], 0] == STORE_NEW:
                            rows[mark[key, 3], 0] = STORE_SAVE
                if code == _SSTORE and arg < 0:
                    if depth == 0:
                        flag |= CAREFUL
                    else:
                        depth -= 1
            elif code == _ADD or code == _SUB:
                guess += 3
                new_code = ADD if code == _ADD else SUB
                cost = prices[_ARITHMETIC]
                if depth == 0:
                    flag |= CAREFUL
            elif code == _KECCAK:
                size = payload_indptr[arg + 1] - payload_indptr[arg]
                guess += 60 * (1 + size // 136)
                new_code = KECCAK
                cost = prices[_HASH] + prices[_HASH_WORD] * ((size + 31) // 32)
                depth += 1
            elif code == _NOOP:
                guess += arg
                new_code = NOOP
                cost = prices[_STEP] * np.int64(arg)
            else:
                new_code = BURN
                cost = np.int64(arg)
            if depth > _MAX_STACK:
                flag |= CAREFUL
            rows[i, 0] = new_code
            rows[i, 1] = shared[key] if new_code == SHARED else key
            rows[i, 2] = arg
            rows[i, 3] = extra
            op_gas[i] = cost
            gas = min(gas + cost, _TOO_MUCH)
            worst = min(worst + cost + spare, _TOO_MUCH)
        if worst >= _TOO_MUCH or gas_limit[t] < worst or gas_limit[t] - worst <= prices[_SENTRY]:
            flag |= CAREFUL
        for j in range(footprint_indptr[t], footprint_indptr[t + 1]):
            if shared[footprint_keys[j]] >= 0 and footprint_modes[j] != _CREDITED:
                flag |= SETTLES
        static_gas[t] = gas
        flags[t] = flag
        work[t] = guess
        most_written = max(most_written, written)
    return most_written


@kernel(inline=True)
def _rotate(x, n):
    return (x << U64(n)) | (x >> U64(64 - n))


@kernel(inline=True)
def _fold(digest, w0, w1, w2, w3):
    mixed = _rotate(digest, 5) ^ w0 ^ _rotate(w1, 17) ^ _rotate(w2, 31) ^ _rotate(w3, 47)
    return mixed * U64(_GOLDEN)


@kernel(inline=True)
def _step(x):
    """One step of stand-in work: depends on the one before, and no closed form for n of them is known to a compiler."""
    x = (x ^ (x >> U64(29))) * U64(_GOLDEN)
    return x


@kernel(inline=True)
def _add(a0, a1, a2, a3, b0, b1, b2, b3):
    """256-bit sum modulo 2**256, limb by limb; a carry is a sum below its summand."""
    s0 = a0 + b0
    carry = U64(s0 < a0)
    s1 = a1 + b1
    over = U64(s1 < a1)
    s1 += carry
    carry = over | U64(s1 < carry)
    s2 = a2 + b2
    over = U64(s2 < a2)
    s2 += carry
    carry = over | U64(s2 < carry)
    return s0, s1, s2, a3 + b3 + carry


@kernel(inline=True)
def _subtract(a0, a1, a2, a3, b0, b1, b2, b3):
    """256-bit difference modulo 2**256."""
    d0 = a0 - b0
    borrow = U64(a0 < b0)
    d1 = a1 - b1
    under = U64(a1 < b1)
    borrow, d1 = under | U64(d1 < borrow), d1 - borrow
    d2 = a2 - b2
    under = U64(a2 < b2)
    borrow, d2 = under | U64(d2 < borrow), d2 - borrow
    return d0, d1, d2, a3 - b3 - borrow


@kernel(inline=True)
def _store_gas(o0, o1, o2, o3, c0, c1, c2, c3, n0, n1, n2, n3, prices):
    """Price and refund of a store with original o, current c and new n, without the cold surcharge (EIP-2200, 3529)."""
    if n0 == c0 and n1 == c1 and n2 == c2 and n3 == c3:
        return prices[_WARM], np.int64(0)
    fresh = (o0 | o1 | o2 | o3) == U64(0)
    clears = (n0 | n1 | n2 | n3) == U64(0)
    if o0 == c0 and o1 == c1 and o2 == c2 and o3 == c3:
        if fresh:
            return prices[_SET], np.int64(0)
        if clears:
            return prices[_RESET], prices[_CLEAR]
        return prices[_RESET], np.int64(0)
    refund = np.int64(0)
    if not fresh:
        if (c0 | c1 | c2 | c3) == U64(0):
            refund -= prices[_CLEAR]
        elif clears:
            refund += prices[_CLEAR]
    if n0 == o0 and n1 == o1 and n2 == o2 and n3 == o3:
        if fresh:
            refund += prices[_SET] - prices[_WARM]
        else:
            refund += prices[_RESET] - prices[_WARM]
    return prices[_WARM], refund


@kernel
def settle(key, place, values, sums):
    """Add all workers' partial sums number `place` to values[key] and clear them."""
    for w in range(sums.shape[0]):
        values[key, 0], values[key, 1], values[key, 2], values[key, 3] = _add(
            values[key, 0], values[key, 1], values[key, 2], values[key, 3],
            sums[w, place, 0], sums[w, place, 1], sums[w, place, 2], sums[w, place, 3],
        )  # fmt: skip
        for j in range(4):
            sums[w, place, j] = U64(0)


@kernel
def _run_careful(
    t, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic, prices, values, sums, worker,
    stack, saved, saved_place, status, gas_used, refunds, output, digest_out, sink, stop,
):  # fmt: skip
    """Run one transaction that may fail, testing everything where the spec does; undo its writes if it fails."""
    start, end = op_indptr[t], op_indptr[t + 1]
    gas_left = gas_limit[t] - intrinsic[t]
    result = _SUCCESS
    refund = np.int64(0)
    digest = U64(0)
    x = U64(t + 1)
    depth, n_saved = 0, 0
    seen = start  # ops before this one have been observed
    if gas_left < 0:
        result = _OUT_OF_GAS
        end = start
    for i in range(start, end):
        code, key, arg = rows[i, 0], rows[i, 1], rows[i, 2]
        store = code == STORE_NEW or code == STORE_SAVE or code == STORE_AGAIN or code == STORE_PLAIN
        # stack, then sentry, then gas
        if (code == ADD or code == SUB or (store and arg < 0)) and depth == 0:
            result = _UNDERFLOW
            break
        if (code == LOAD or code == KECCAK) and depth == _MAX_STACK:
            result = _OVERFLOW
            break
        if store and code != STORE_PLAIN and gas_left <= prices[_SENTRY]:
            result = _OUT_OF_GAS
            break
        if gas_left < op_gas[i]:
            result = _OUT_OF_GAS
            break
        gas_left -= op_gas[i]
        seen = i + 1
        if code == LOAD or code == TOUCH:
            digest = _fold(digest, values[key, 0], values[key, 1], values[key, 2], values[key, 3])
            if code == LOAD:
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
            if code != STORE_PLAIN:
                o0, o1, o2, o3 = saved[ordinal, 0], saved[ordinal, 1], saved[ordinal, 2], saved[ordinal, 3]
                cost, change = _store_gas(o0, o1, o2, o3, c0, c1, c2, c3, n0, n1, n2, n3, prices)
                if gas_left < cost:
                    result = _OUT_OF_GAS
                    break
                gas_left -= cost
                refund += change
            if arg < 0:
                depth -= 1
            values[key, 0], values[key, 1], values[key, 2], values[key, 3] = n0, n1, n2, n3
        elif code == ADD or code == SUB:
            d = depth - 1
            if code == ADD:
                stack[d, 0], stack[d, 1], stack[d, 2], stack[d, 3] = _add(
                    stack[d, 0], stack[d, 1], stack[d, 2], stack[d, 3],
                    words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3],
                )  # fmt: skip
            else:
                stack[d, 0], stack[d, 1], stack[d, 2], stack[d, 3] = _subtract(
                    stack[d, 0], stack[d, 1], stack[d, 2], stack[d, 3],
                    words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3],
                )  # fmt: skip
        elif code == KECCAK:
            for j in range(4):
                stack[depth, j] = digests[arg, j]
            depth += 1
        elif code == NOOP:
            for _ in range(arg):
                x = _step(x)
        elif code == CREDIT:
            ordinal = rows[i, 3]
            if ordinal == n_saved:
                saved_place[ordinal] = key
                for j in range(4):
                    saved[ordinal, j] = values[key, j]
                n_saved += 1
            values[key, 0], values[key, 1], values[key, 2], values[key, 3] = _add(
                values[key, 0], values[key, 1], values[key, 2], values[key, 3],
                words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3],
            )  # fmt: skip
        elif code == SHARED:  # here the ordinal column holds the ordinal, the key column the number of the sum
            ordinal = rows[i, 3]
            if ordinal == n_saved:
                saved_place[ordinal] = -1 - key
                for j in range(4):
                    saved[ordinal, j] = sums[worker, key, j]
                n_saved += 1
            sums[worker, key, 0], sums[worker, key, 1], sums[worker, key, 2], sums[worker, key, 3] = _add(
                sums[worker, key, 0], sums[worker, key, 1], sums[worker, key, 2], sums[worker, key, 3],
                words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3],
            )  # fmt: skip
    status[t] = result
    digest_out[t] = digest
    sink[t] = x
    stop[t] = seen
    if result == _SUCCESS:
        used = gas_limit[t] - gas_left
        refunds[t] = refund
        gas_used[t] = used - min(refund, used // prices[_QUOTIENT])
        for j in range(4):
            output[t, j] = stack[depth - 1, j] if depth > 0 else U64(0)
        return
    for ordinal in range(n_saved):
        place = saved_place[ordinal]
        for j in range(4):
            if place >= 0:
                values[place, j] = saved[ordinal, j]
            else:
                sums[worker, -1 - place, j] = saved[ordinal, j]
    refunds[t] = 0
    gas_used[t] = gas_limit[t]
    for j in range(4):
        output[t, j] = U64(0)


@kernel
def run(
    first, last, order, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic, static_gas, flags, prices,
    footprint_indptr, footprint_keys, shared, values, sums, worker, stack, saved, saved_place,
    status, gas_used, refunds, output, digest_out, sink, stop,
):  # fmt: skip
    """Run transactions order[first:last] on `values`, one after the other.

    The caller guarantees that nobody else touches their keys meanwhile (credits to shared keys go to sums[worker]).
    Writes the receipt entries of each transaction t at t; stack (1025, 4), saved (most written, 4) and saved_place
    belong to the worker. digests[m] is the hash of payload m.
    """
    warm, set_gas, reset_gas, clear = prices[_WARM], prices[_SET], prices[_RESET], prices[_CLEAR]
    for position in range(first, last):
        t = order[position]
        if flags[t]:
            if flags[t] & SETTLES:
                for j in range(footprint_indptr[t], footprint_indptr[t + 1]):
                    if shared[footprint_keys[j]] >= 0:
                        settle(footprint_keys[j], shared[footprint_keys[j]], values, sums)
            if flags[t] & CAREFUL:
                _run_careful(
                    t, op_indptr, rows, op_gas, words, digests, gas_limit, intrinsic, prices, values, sums, worker,
                    stack, saved, saved_place, status, gas_used, refunds, output, digest_out, sink, stop,
                )  # fmt: skip
                continue
        gas = static_gas[t]
        refund = np.int64(0)
        digest = U64(0)
        x = U64(t + 1)
        depth = 0  # the top of the stack is in t0..t3, the entries below it in stack[1:depth]
        t0, t1, t2, t3 = U64(0), U64(0), U64(0), U64(0)
        for i in range(op_indptr[t], op_indptr[t + 1]):
            code, key, arg = rows[i, 0], rows[i, 1], rows[i, 2]
            if code == LOAD:
                stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3] = t0, t1, t2, t3
                depth += 1
                t0, t1, t2, t3 = values[key, 0], values[key, 1], values[key, 2], values[key, 3]
                digest = _fold(digest, t0, t1, t2, t3)
            elif code == STORE_NEW or code == STORE_SAVE:
                if arg < 0:
                    n0, n1, n2, n3 = t0, t1, t2, t3
                    depth -= 1
                    t0, t1, t2, t3 = stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3]
                else:
                    n0, n1, n2, n3 = words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3]
                c0, c1, c2, c3 = values[key, 0], values[key, 1], values[key, 2], values[key, 3]
                if code == STORE_SAVE:
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
            elif code == ADD:
                t0, t1, t2, t3 = _add(t0, t1, t2, t3, words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3])
            elif code == SUB:
                t0, t1, t2, t3 = _subtract(t0, t1, t2, t3, words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3])
            elif code == KECCAK:
                stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3] = t0, t1, t2, t3
                depth += 1
                t0, t1, t2, t3 = digests[arg, 0], digests[arg, 1], digests[arg, 2], digests[arg, 3]
            elif code == NOOP:
                for _ in range(arg):
                    x = _step(x)
            elif code == TOUCH:
                digest = _fold(digest, values[key, 0], values[key, 1], values[key, 2], values[key, 3])
            elif code == STORE_AGAIN or code == STORE_PLAIN:
                if arg < 0:
                    n0, n1, n2, n3 = t0, t1, t2, t3
                    depth -= 1
                    t0, t1, t2, t3 = stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3]
                else:
                    n0, n1, n2, n3 = words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3]
                if code == STORE_AGAIN:
                    o = rows[i, 3]
                    cost, change = _store_gas(
                        saved[o, 0], saved[o, 1], saved[o, 2], saved[o, 3],
                        values[key, 0], values[key, 1], values[key, 2], values[key, 3], n0, n1, n2, n3, prices,
                    )  # fmt: skip
                    gas += cost
                    refund += change
                values[key, 0], values[key, 1], values[key, 2], values[key, 3] = n0, n1, n2, n3
            elif code == CREDIT:
                values[key, 0], values[key, 1], values[key, 2], values[key, 3] = _add(
                    values[key, 0], values[key, 1], values[key, 2], values[key, 3],
                    words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3],
                )  # fmt: skip
            elif code == SHARED:
                sums[worker, key, 0], sums[worker, key, 1], sums[worker, key, 2], sums[worker, key, 3] = _add(
                    sums[worker, key, 0], sums[worker, key, 1], sums[worker, key, 2], sums[worker, key, 3],
                    words[arg, 0], words[arg, 1], words[arg, 2], words[arg, 3],
                )  # fmt: skip
        status[t] = _SUCCESS
        refunds[t] = refund
        if refund > 0:
            gas -= min(refund, gas // prices[_QUOTIENT])
        gas_used[t] = gas
        output[t, 0], output[t, 1], output[t, 2], output[t, 3] = t0, t1, t2, t3
        digest_out[t] = digest
        sink[t] = x
        stop[t] = op_indptr[t + 1]


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
        if status[t] != _SUCCESS:
            for i in range(op_indptr[t], stop[t]):
                if op_key[i] >= 0 and op_code[i] != _CREDIT:
                    reached[op_key[i]] = t
        for j in range(footprint_indptr[t], footprint_indptr[t + 1]):
            if status[t] == _SUCCESS:
                keys[total] = footprint_keys[j]
                modes[total] = footprint_modes[j]
                total += 1
            elif reached[footprint_keys[j]] == t:
                keys[total] = footprint_keys[j]
                modes[total] = _READ
                total += 1
    indptr[status.shape[0]] = total
    return total
