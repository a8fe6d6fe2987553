"""Lowering of traced state operations to micro-ops: one pass over the rows of a block, in order."""

from __future__ import annotations

import numpy as np

from .codes import (
    BURN,
    COLD_LOAD,
    COLD_STORE,
    CREDIT,
    INTRINSIC,
    KECCAK,
    LIST_ADDRESS,
    LIST_KEY,
    MAX_STACK,
    NOOP,
    SENTRY,
    SSTORE,
    TOUCH,
    WARM,
)
from .gas import store_gas
from .jit import U64, kernel

__all__ = ["lower"]

#: What a row is to the lowering; `io.op_trace` maps the traced op names to these.
_IGNORE, _OTHER, _HASH, _READ, _WRITE, _CREDITING, _DELETE = range(7)


@kernel(inline=True)
def _is_zero(a, i):
    return (a[i, 0] | a[i, 1] | a[i, 2] | a[i, 3]) == U64(0)


@kernel(inline=True)
def _price(original, current, k, value, i, costs):
    """Gas of a warm SSTORE of word i to key k."""
    price, _ = store_gas(
        original[k, 0], original[k, 1], original[k, 2], original[k, 3],
        current[k, 0], current[k, 1], current[k, 2], current[k, 3],
        value[i, 0], value[i, 1], value[i, 2], value[i, 3], costs,
    )  # fmt: skip
    return price


@kernel
def lower(
    indptr, action, key, value, delta, falls, gas, count, payload, hash_gas, reverted,
    key_field, key_account, account_indptr, account_keys, total_gas, costs,
    current, out_indptr, out_code, out_key, out_arg, out_words, list_indptr, list_key, need,
):  # fmt: skip
    """Turn the rows indptr[t]:indptr[t + 1] of each transaction into ops, and return (n_ops, n_words, n_list).

    Row i: action (above), key id or -1, value (and its growth `delta`; `falls` where it is negative), traced gas,
    opcode count, payload number and hashing gas, and whether it was rolled back. value has one more row, of zeros.
    current (n_keys, 4) is the state before the block and becomes the state after it. total_gas[t] is the gas before
    refunds, which the ops are made to add up to where they can. Writes out_* (room for every row, two more for each
    hash, every key of an account for each row that deletes it, and one op a transaction), the keys that were warm when
    first touched to list_key, and to need[t] the least gas limit with which the machine succeeds.

    The machine has no POP: a hash that would fill the stack is popped into an account field that the transaction has
    written before, which at once gets its value back. Neither costs gas, and the transaction's net writes stay.
    """
    n_keys, n_rows = key_field.shape[0], action.shape[0]
    live = np.full(n_keys, -1, np.int64)  # the last transaction with a live access
    plain = np.full(n_keys, -1, np.int64)  # ... in which a balance is not only credited
    warm = np.full(n_keys, -1, np.int64)
    dirty = np.full(n_keys, -1, np.int64)
    listed = np.full(account_indptr.shape[0] - 1, -1, np.int64)
    original = current.copy()
    op_gas = np.zeros(out_code.shape[0], np.int64)
    n_ops, n_words, n_list = 0, 0, 0
    for t in range(indptr.shape[0] - 1):
        out_indptr[t], list_indptr[t] = n_ops, n_list
        for i in range(indptr[t], indptr[t + 1]):
            a, k = action[i], key[i]
            if a == _DELETE:
                for j in range(account_indptr[key_account[k]], account_indptr[key_account[k] + 1]):
                    if key_field[account_keys[j]] != 0:
                        live[account_keys[j]] = t
            elif a >= _READ:
                if not reverted[i]:
                    live[k] = t
                    if falls[i]:
                        plain[k] = t
                if a == _READ:
                    plain[k] = t
        start, spent, depth, spare = n_ops, costs[INTRINSIC], 0, -1
        for i in range(indptr[t], indptr[t + 1]):
            a, k = action[i], key[i]
            if a == _IGNORE:
                continue
            if a == _OTHER:
                if count[i] == 0:
                    continue
                if n_ops > start and out_code[n_ops - 1] == NOOP:
                    out_arg[n_ops - 1] += count[i]
                    op_gas[n_ops - 1] += count[i]
                else:
                    out_code[n_ops], out_key[n_ops], out_arg[n_ops], op_gas[n_ops] = NOOP, -1, count[i], count[i]
                    n_ops += 1
                continue
            if a == _HASH:
                if depth == MAX_STACK - 1 and spare < 0:  # nothing to pop it into: no real transaction is like that
                    continue
                out_code[n_ops], out_key[n_ops], out_arg[n_ops], op_gas[n_ops] = KECCAK, -1, payload[i], hash_gas[i]
                n_ops += 1
                depth += 1
                if depth == MAX_STACK:
                    out_code[n_ops], out_key[n_ops], out_arg[n_ops], op_gas[n_ops] = SSTORE, spare, -1, 0
                    n_ops += 1
                    out_code[n_ops], out_key[n_ops], out_arg[n_ops], op_gas[n_ops] = SSTORE, spare, n_words, 0
                    n_ops += 1
                    for limb in range(4):
                        out_words[n_words, limb] = current[spare, limb]
                    n_words += 1
                    depth -= 1
                continue
            if reverted[i] and (a >= _CREDITING or live[k] == t):
                continue
            first, last = (0, 1)
            if a == _DELETE:
                first, last = account_indptr[key_account[k]], account_indptr[key_account[k] + 1]
            for j in range(first, last):
                kk, word = (k, i)
                if a == _DELETE:
                    kk, word = account_keys[j], n_rows
                    if key_field[kk] == 0 and _is_zero(current, kk):
                        continue
                cost = np.int64(0)
                writes = a != _READ and not reverted[i]
                if key_field[kk] == 0:
                    if dirty[kk] != t:
                        for limb in range(4):
                            original[kk, limb] = current[kk, limb]
                    base, cold = costs[WARM], costs[COLD_LOAD] - costs[WARM]
                    if a != _READ:
                        base, cold = _price(original, current, kk, value, word, costs), costs[COLD_STORE]
                    if warm[kk] == t:
                        cold = np.int64(0)
                    elif a != _DELETE and gas[i] < base + cold:
                        list_key[n_list] = kk
                        n_list += 1
                        spent += costs[LIST_KEY]
                        if listed[key_account[kk]] != t:
                            listed[key_account[kk]] = t
                            spent += costs[LIST_ADDRESS]
                        cold = np.int64(0)
                    elif not writes:
                        cold = costs[COLD_LOAD] - costs[WARM]
                    warm[kk] = t
                    cost = (base if writes else costs[WARM]) + cold
                out_key[n_ops], op_gas[n_ops] = kk, cost
                if not writes:
                    out_code[n_ops], out_arg[n_ops] = TOUCH, -1
                else:
                    credit = a == _CREDITING and plain[kk] != t
                    out_code[n_ops] = CREDIT if credit else SSTORE
                    out_arg[n_ops] = n_words
                    dirty[kk] = t
                    if key_field[kk] != 0 and not credit:
                        spare = kk
                    for limb in range(4):
                        out_words[n_words, limb] = delta[word, limb] if credit else value[word, limb]
                        current[kk, limb] = value[word, limb]
                    n_words += 1
                n_ops += 1
        missing = total_gas[t] - spent
        for o in range(start, n_ops):
            missing -= op_gas[o]
        if missing > 0:
            out_code[n_ops], out_key[n_ops], out_arg[n_ops], op_gas[n_ops] = BURN, -1, missing, missing
            n_ops += 1
        for o in range(start, n_ops):  # from the first on, which leaves the most gas to the SSTOREs behind
            if missing >= 0:
                break
            if out_code[o] == NOOP:
                less = min(-missing, op_gas[o])
                op_gas[o] -= less
                out_arg[o] -= less
                missing += less
        least = spent
        for o in range(start, n_ops):
            if out_code[o] == SSTORE and key_field[out_key[o]] == 0:
                least = max(least, spent + costs[SENTRY] + 1)
            spent += op_gas[o]
        need[t] = max(least, spent)
    out_indptr[indptr.shape[0] - 1], list_indptr[indptr.shape[0] - 1] = n_ops, n_list
    return n_ops, n_words, n_list
