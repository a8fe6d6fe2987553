"""Kernels behind `survey`: many blocks in one call. Keys are numbered block by block, so no block sees another's.

Longest paths need no edges here: for each key it is enough to know when the runs before were done.
"""

from __future__ import annotations

import numpy as np

from .block import mix
from .codes import BALANCE, STORAGE
from .conflicts import access_group, pair_kinds
from .jit import U64, kernel

__all__ = ["number_keys", "split_keys", "survey_blocks"]

_READ, _WRITE, _CREDIT = 1, 2, 4
_WW, _RW, _WR = 1, 2, 4
_PLAIN, _IGNORED = 1, 2


@kernel
def split_keys(starts, keys, seen, new_keys, origin, key_start):
    """Number the keys anew in each block, in order of first use; returns how many there are in all.

    starts (n_blocks + 1,): where each block's `keys` begin; negative ones stay. seen (n_given,) int32, filled with -1.
    Writes new_keys, origin[new] = given, key_start (n_blocks + 1,).
    """
    total = 0
    for b in range(starts.shape[0] - 1):
        key_start[b] = total
        first = total
        for i in range(starts[b], starts[b + 1]):
            key = keys[i]
            if key < 0:
                new_keys[i] = key
                continue
            if seen[key] < first:
                seen[key] = total
                origin[total] = key
                total += 1
            new_keys[i] = seen[key]
    key_start[starts.shape[0] - 1] = total
    return total


@kernel(inline=True)
def _same_address(address, i, j):
    return (
        address[i, 0] == address[j, 0] and address[i, 1] == address[j, 1] and address[i, 2] == address[j, 2]
        and address[i, 3] == address[j, 3] and address[i, 4] == address[j, 4]
    )  # fmt: skip


@kernel
def number_keys(
    starts, has_key, address, field, slot, payee, has_payee, seed, op_key, key_start, first, accounts, fee,
):  # fmt: skip
    """Number the keys, and their accounts, anew in each block, in order of first use; returns how many keys there are.

    starts (n_blocks + 1,): where the ops of each block begin. has_key (n_ops,), address (n_ops, 5) uint32, field (n_ops,),
    slot (n_ops, 4) uint64 are views of the bytes; only storage keys have a slot. payee (n_blocks, 5) uint32,
    has_payee (n_blocks,): fee recipients, where they are known.
    Writes op_key (n_ops,), -1 without a key; key_start (n_blocks + 1,); and, with room for every op that has a key: first,
    the op that named a key first; accounts, the number of its account within the block; fee, whether it is the balance of
    the block's fee recipient. Open addressing in tables of one block, which stay in the cache.
    """
    most = 0
    for b in range(starts.shape[0] - 1):
        most = max(most, starts[b + 1] - starts[b])
    size = 16
    while size < 2 * most:
        size *= 2
    table, tags = np.empty(size, np.int32), np.empty(size, np.uint32)
    owners, owner_key = np.empty(size, np.int32), np.empty(most, np.int32)
    total = 0
    for b in range(starts.shape[0] - 1):
        key_start[b] = total
        size = 16
        while size < 2 * (starts[b + 1] - starts[b]):
            size *= 2
        mask = U64(size - 1)
        table[:size] = -1
        owners[:size] = -1
        n_accounts = 0
        for i in range(starts[b], starts[b + 1]):
            if not has_key[i]:
                op_key[i] = -1
                continue
            whose = mix(seed, U64(address[i, 0]) | (U64(address[i, 1]) << U64(32)))
            whose = mix(whose, U64(address[i, 2]) | (U64(address[i, 3]) << U64(32)))
            whose = mix(whose, U64(address[i, 4]))
            h = mix(whose, U64(field[i]))
            if field[i] == STORAGE:
                h = mix(mix(mix(mix(h, slot[i, 0]), slot[i, 1]), slot[i, 2]), slot[i, 3])
            tag = np.uint32(h >> U64(32))
            place = (h >> U64(1)) & mask
            while table[place] >= 0:
                if tags[place] == tag:
                    j = first[table[place]]
                    if field[i] == field[j] and _same_address(address, i, j) and (field[i] != STORAGE or (
                        slot[i, 0] == slot[j, 0] and slot[i, 1] == slot[j, 1]
                        and slot[i, 2] == slot[j, 2] and slot[i, 3] == slot[j, 3]
                    )):  # fmt: skip
                        break
                place = (place + U64(1)) & mask
            if table[place] >= 0:
                op_key[i] = table[place]
                continue
            table[place] = total
            tags[place] = tag
            op_key[i] = total
            first[total] = i
            place = (whose >> U64(1)) & mask
            while owners[place] >= 0 and not _same_address(address, i, first[owner_key[owners[place]]]):
                place = (place + U64(1)) & mask
            if owners[place] < 0:
                owners[place] = n_accounts
                owner_key[n_accounts] = total
                n_accounts += 1
            accounts[total] = owners[place]
            fee[total] = has_payee[b] and field[i] == BALANCE and (
                address[i, 0] == payee[b, 0] and address[i, 1] == payee[b, 1] and address[i, 2] == payee[b, 2]
                and address[i, 3] == payee[b, 3] and address[i, 4] == payee[b, 4]
            )  # fmt: skip
            total += 1
    key_start[starts.shape[0] - 1] = total
    return total


@kernel
def _choose(
    first, last, indptr, keys, modes, key_first, names, fields, fee, keep_fields, fee_rule, by_name, place,
    to_indptr, to_keys, to_modes,
):  # fmt: skip
    """The accesses of transactions first:last that a definition counts, as a CSR over keys (or names) from 0.

    place (n,) int64 is scratch: -1 before and after. Repeats of a name are joined.
    """
    total = 0
    for t in range(first, last):
        begin = total
        to_indptr[t - first] = begin
        for i in range(indptr[t], indptr[t + 1]):
            key = keys[i]
            mode = modes[i]
            if not (keep_fields >> fields[key]) & 1 or (fee_rule == _IGNORED and fee[key]):
                continue
            if fee_rule == _PLAIN and mode & _CREDIT:
                mode = _READ | _WRITE
            k = names[key] if by_name else key - key_first
            if by_name and place[k] >= begin:
                to_modes[place[k]] |= mode
                continue
            if by_name:
                place[k] = total
            to_keys[total] = k
            to_modes[total] = mode
            total += 1
    to_indptr[last - first] = total
    if by_name:
        for i in range(total):
            place[to_keys[i]] = -1
    return total


@kernel
def _paths(indptr, keys, modes, raw, cost, group, now, before, finish):
    """The longest path at `cost`; finish (n_tx,) is when each transaction ends at the earliest.

    Of a key, `now` is when its present run (of readers, of crediters, one writer) is done, `before` the one before that;
    by read-after-write alone `now` is when its value is there. group, now, before: one each key, zero-filled.
    """
    longest = 0.0
    for t in range(indptr.shape[0] - 1):
        start = 0.0
        for i in range(indptr[t], indptr[t + 1]):
            k = keys[i]
            if raw:
                if modes[i] & _READ:
                    start = max(start, now[k])
            elif access_group(modes[i]) + 1 == group[k] and group[k] != 2:
                start = max(start, before[k])
            else:
                start = max(start, now[k])
        end = start + cost[t]
        finish[t] = end
        longest = max(longest, end)
        for i in range(indptr[t], indptr[t + 1]):
            k = keys[i]
            mode = modes[i]
            if raw:
                if mode & _WRITE or mode == _READ | _CREDIT:
                    now[k] = end
                elif mode == _CREDIT:
                    now[k] = max(now[k], end)
                continue
            g = access_group(mode) + 1
            if g == group[k] and g != 2:
                now[k] = max(now[k], end)
            else:
                before[k] = now[k]
                now[k] = end
                group[k] = g
    return longest


@kernel
def _contention(indptr, keys, modes, kinds, out):
    """out = transactions that conflict with any, keys with a conflict, most transactions on such a key.

    kinds (n_keys, 3) int64, zero-filled: accesses by group (only reads, writes, only credits).
    """
    for i in range(keys.shape[0]):
        kinds[keys[i], access_group(modes[i])] += 1
    contended = hottest = 0
    for k in range(kinds.shape[0]):
        reads, writes, credits = kinds[k, 0], kinds[k, 1], kinds[k, 2]
        if writes >= 2 or (writes == 1 and reads + credits >= 1) or (reads >= 1 and credits >= 1):
            contended += 1
            hottest = max(hottest, reads + writes + credits)
    involved = 0
    for t in range(indptr.shape[0] - 1):
        for i in range(indptr[t], indptr[t + 1]):
            k = keys[i]
            g = access_group(modes[i])
            others = kinds[k, 0] + kinds[k, 1] + kinds[k, 2] - 1
            if g != 1:
                others -= kinds[k, g] - 1
            if others > 0:
                involved += 1
                break
    out[0] = involved
    out[1] = contended
    out[2] = hottest


@kernel
def _pairs(indptr, keys, modes, begin, fill, tx, tx_mode, stamp, limit, out):
    """out = conflicting pairs, WW, RW, WR; all -1 if that would take more than `limit` steps.

    begin, fill (3 * n_keys + 1,) int64, zero-filled; tx, tx_mode as long as keys; stamp (n_tx,) int64, filled with -1.
    The transactions before t lie by key and group in tx[begin[g]:fill[g]], each put there when it has been compared.
    """
    for i in range(keys.shape[0]):
        begin[3 * np.int64(keys[i]) + access_group(modes[i]) + 1] += 1
    steps = 0
    for g in range(1, begin.shape[0], 3):
        reads, writes, credits = begin[g], begin[g + 1], begin[g + 2]
        steps += writes * (writes - 1) // 2 + writes * (reads + credits) + reads * credits
    if steps > limit:
        out[:] = -1
        return
    for g in range(1, begin.shape[0]):
        begin[g] += begin[g - 1]
        fill[g] = begin[g]
    pairs = ww = rw = wr = 0
    for t in range(indptr.shape[0] - 1):
        for i in range(indptr[t], indptr[t + 1]):
            mode = modes[i]
            base = 3 * np.int64(keys[i])
            for g in range(base + (1 if mode == _READ else 0), base + (2 if mode == _CREDIT else 3)):
                for j in range(begin[g], fill[g]):
                    u = tx[j]
                    seen = stamp[u]
                    if seen >> 3 != t:
                        seen = np.int64(t) << 3
                        pairs += 1
                    new = pair_kinds(tx_mode[j], mode) & ~seen
                    stamp[u] = seen | new
                    ww += (new & _WW) != 0
                    rw += (new & _RW) != 0
                    wr += (new & _WR) != 0
        for i in range(indptr[t], indptr[t + 1]):
            g = 3 * np.int64(keys[i]) + access_group(modes[i])
            tx[fill[g]] = t
            tx_mode[fill[g]] = modes[i]
            fill[g] += 1
    out[0] = pairs
    out[1] = ww
    out[2] = rw
    out[3] = wr


@kernel
def _widest(finish, counts):
    """Most transactions that end at the same level; finish is 1, 2, …; counts (n_tx + 1,) int64 zero-filled."""
    widest = 0
    for t in range(finish.shape[0]):
        level = np.int64(finish[t])
        counts[level] += 1
        widest = max(widest, counts[level])
    return widest


@kernel
def survey_blocks(
    tx_start, indptr, keys, modes, key_start, fields, accounts, fee, gas, has_gas,
    keep_fields, fee_rule, by_account, raw, counted, limit, paths, widths, counts,
):  # fmt: skip
    """Every definition in every block.

    tx_start, key_start (n_blocks + 1,): transactions and keys of each block; keys of a block lie in its range, ascending
    within a transaction. fields, accounts, fee (n_keys,): field, number of the account within the block, whether it is the
    fee recipient's balance. gas (n_tx,) float64, has_gas (n_blocks,).
    keep_fields, fee_rule, by_account, raw (n_definitions,): bits of fields; 0 as it is, 1 plain, 2 ignored. counted: the
    definition whose conflicts are counted, or -1.
    Writes paths (n_blocks, n_definitions, 2) float64 in transactions and gas (nan where not known), widths (n_blocks,
    n_definitions), counts (n_blocks, 7): pairs, WW, RW, WR (-1: more than `limit` steps), transactions in conflict,
    contended keys, most transactions on one.
    """
    for b in range(tx_start.shape[0] - 1):
        first, last = tx_start[b], tx_start[b + 1]
        n_tx, n_keys = last - first, key_start[b + 1] - key_start[b]
        size = indptr[last] - indptr[first]
        c_indptr = np.empty(n_tx + 1, np.int64)
        c_keys, c_modes = np.empty(size, np.int32), np.empty(size, np.uint8)
        place = np.full(n_keys, -1, np.int64)
        ones, finish = np.ones(n_tx), np.empty(n_tx)
        for d in range(keep_fields.shape[0]):
            total = _choose(
                first, last, indptr, keys, modes, key_start[b], accounts, fields, fee,
                keep_fields[d], fee_rule[d], by_account[d], place, c_indptr, c_keys, c_modes,
            )  # fmt: skip
            ids, bits = c_keys[:total], c_modes[:total]
            if has_gas[b]:
                group, now, before = np.zeros(n_keys, np.uint8), np.zeros(n_keys), np.zeros(n_keys)
                paths[b, d, 1] = _paths(c_indptr, ids, bits, raw[d], gas[first:last], group, now, before, finish)
            else:
                paths[b, d, 1] = np.nan
            group, now, before = np.zeros(n_keys, np.uint8), np.zeros(n_keys), np.zeros(n_keys)
            paths[b, d, 0] = _paths(c_indptr, ids, bits, raw[d], ones, group, now, before, finish)
            widths[b, d] = _widest(finish, np.zeros(n_tx + 1, np.int64))
            if d == counted:
                _contention(c_indptr, ids, bits, np.zeros((n_keys, 3), np.int64), counts[b, 4:])
                begin, fill = np.zeros(3 * n_keys + 1, np.int64), np.zeros(3 * n_keys + 1, np.int64)
                tx, tx_mode = np.empty(total, np.int32), np.empty(total, np.uint8)
                stamp = np.full(n_tx, -1, np.int64)
                _pairs(c_indptr, ids, bits, begin, fill, tx, tx_mode, stamp, limit, counts[b, :4])
