"""Encoding: programs have no jumps, so warmth, static gas and stack depth are resolved here, once for block and prices.

What stays for run time is the price of an SSTORE, which depends on values. A transaction that provably cannot fail is
flagged so, and runs the interpreter's bare loop.
"""

from __future__ import annotations

import numpy as np

from .codes import (
    ADD,
    ARITHMETIC,
    CAREFUL,
    COLD_LOAD,
    COLD_STORE,
    CREDIT,
    CREDITED,
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
    HASH,
    HASH_WORD,
    INTRINSIC,
    KECCAK,
    LIST_ADDRESS,
    LIST_KEY,
    MAX_STACK,
    NOOP,
    RESET,
    SENTRY,
    SET,
    SETTLES,
    SLOAD,
    SSTORE,
    STEP,
    SUB,
    TOO_MUCH,
    TOUCH,
    WARM,
)  # fmt: skip
from .jit import kernel

__all__ = ["encode"]


@kernel
def encode(
    op_indptr, op_code, op_key, op_arg, key_field, payload_indptr, list_indptr, list_entry, gas_limit, prices,
    footprint_indptr, footprint_keys, footprint_modes, shared, rows, op_gas, intrinsic, static_gas, flags, work,
):  # fmt: skip
    """Resolve what does not depend on values; returns the largest number of distinct keys that one transaction writes.

    Writes rows (n_ops, 4) int32; op_gas (n_ops,) int64: gas of each op but for the part of a store that depends on
    values; intrinsic and static_gas (n_tx,): gas before the first op, and with the sum of op_gas; flags (n_tx,) uint8;
    work (n_tx,) int64: a guess of the run time in nanoseconds, hashing left out. shared[k] numbers the partial sum of key k,
    -1 for none. O(ops + list entries).
    """
    n_keys = key_field.shape[0]
    # per key, valid if the stamp is this transaction's: warm stamp, written stamp, ordinal, first op that wrote it,
    # stamp of keys that it only credits
    mark = np.zeros((n_keys, 5), np.int32)
    dearest = max(prices[SET], max(prices[RESET], prices[WARM]))
    most_written = 0
    for t in range(op_indptr.shape[0] - 1):
        stamp = np.int32(t + 1)
        gas = prices[INTRINSIC]
        for i in range(list_indptr[t], list_indptr[t + 1]):
            if list_entry[i] < 0:
                gas += prices[LIST_ADDRESS]
            else:
                gas += prices[LIST_KEY]
                mark[list_entry[i], 0] = stamp
        intrinsic[t] = gas
        worst = gas
        depth, written, guess = 0, 0, 20
        flag = np.uint8(0)
        for j in range(footprint_indptr[t], footprint_indptr[t + 1]):
            key = footprint_keys[j]
            if shared[key] >= 0:
                if footprint_modes[j] == CREDITED:
                    mark[key, 4] = stamp
                else:
                    flag |= SETTLES
        for i in range(op_indptr[t], op_indptr[t + 1]):
            code, key, arg = op_code[i], op_key[i], op_arg[i]
            extra = np.int32(0)
            cost = np.int64(0)
            spare = np.int64(0)
            if code == SLOAD or code == TOUCH:
                guess += 6
                if key_field[key] == 0:
                    if mark[key, 0] == stamp:
                        cost = prices[WARM]
                    else:
                        cost = prices[COLD_LOAD]
                        mark[key, 0] = stamp
                if code == SLOAD:
                    new_code = E_LOAD
                    depth += 1
                else:
                    new_code = E_TOUCH
            elif code == SSTORE or code == CREDIT:
                guess += 8
                first = mark[key, 1] != stamp
                if first:
                    mark[key, 1] = stamp
                    mark[key, 2] = written
                    mark[key, 3] = i
                    written += 1
                extra = mark[key, 2]
                if code == CREDIT:
                    new_code = E_CREDIT
                    if shared[key] >= 0 and mark[key, 4] == stamp:
                        new_code = E_SHARED
                elif key_field[key] != 0:
                    new_code = E_PLAIN
                else:
                    spare = dearest
                    if mark[key, 0] != stamp:
                        cost = prices[COLD_STORE]
                        mark[key, 0] = stamp
                    if first:
                        new_code = E_NEW
                    else:
                        new_code = E_AGAIN
                        if rows[mark[key, 3], 0] == E_NEW:
                            rows[mark[key, 3], 0] = E_SAVE
                if code == SSTORE and arg < 0:
                    if depth == 0:
                        flag |= CAREFUL
                    else:
                        depth -= 1
            elif code == ADD or code == SUB:
                guess += 3
                new_code = E_ADD if code == ADD else E_SUB
                cost = prices[ARITHMETIC]
                if depth == 0:
                    flag |= CAREFUL
            elif code == KECCAK:
                size = payload_indptr[arg + 1] - payload_indptr[arg]
                guess += 3  # the digest is ready by then
                new_code = E_KECCAK
                cost = prices[HASH] + prices[HASH_WORD] * ((size + 31) // 32)
                depth += 1
            elif code == NOOP:
                guess += arg + 3 * np.int64(arg) // 8
                new_code = E_NOOP
                cost = prices[STEP] * np.int64(arg)
            else:
                new_code = E_BURN
                cost = np.int64(arg)
            if depth > MAX_STACK:
                flag |= CAREFUL
            rows[i, 0] = new_code
            rows[i, 1] = shared[key] if new_code == E_SHARED else key
            rows[i, 2] = arg
            rows[i, 3] = extra
            op_gas[i] = cost
            gas = min(gas + cost, TOO_MUCH)
            worst = min(worst + cost + spare, TOO_MUCH)
        if worst >= TOO_MUCH or gas_limit[t] < worst or gas_limit[t] - worst <= prices[SENTRY]:
            flag |= CAREFUL
        static_gas[t] = gas
        flags[t] = flag
        work[t] = guess
        most_written = max(most_written, written)
    return most_written
