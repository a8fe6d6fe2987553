"""Kernels of the generator: every draw is a hash of (seed, transaction, draw number), so no draw depends on another.

Only integers decide: probabilities are thresholds on 63 bits, ranges come from the high half of a 128-bit product. The
numbers of the draws are part of the format: changing one changes every generated block.
"""

from __future__ import annotations

import numpy as np

from .jit import U64, kernel

__all__ = ["blob_draws", "fill_blocks", "pre_values", "sender_draws", "shape_blocks"]

_SLOAD, _SSTORE, _ADD, _SUB, _KECCAK, _NOOP = 0, 1, 2, 3, 4, 5
_TOP = -1

#: Draws of a transaction.
_D_DEPENDS, _D_LOADS, _D_STORES, _D_NOOPS, _D_KECCAK, _D_SUB, _D_ADDEND, _D_SENDER, _D_PAYLOAD = range(9)
#: Of its blobs; the payload has four numbers.
_D_BLOB, _D_BLOB_COUNT, _D_BLOB_CAP = 12, 13, 14
#: Draws of its access number a begin at _FIRST_ACCESS + _PER_ACCESS * a.
_FIRST_ACCESS, _PER_ACCESS = 16, 8
_D_SHARED, _D_POOL, _D_COLD, _D_TOP, _D_ZERO, _D_LITERAL = range(6)

#: Streams of the pre-state, apart from those of transactions (whose numbers stay below 2**31).
_POOL_STREAM, _PRIVATE_STREAM = 1 << 62, 1 << 61

#: Positions in the array of thresholds and in the array of sizes.
P_SHARED, P_COLD, P_KECCAK, P_SUB, P_TOP, P_ZERO, P_DEPENDS, P_FILLED = range(8)
(
    S_LOADS_LOW, S_LOADS_HIGH, S_STORES_LOW, S_STORES_HIGH, S_NOOPS_LOW, S_NOOPS_HIGH, S_NOOP_COUNT, S_KEY_SPACE,
    S_DISTANCE, S_STAR, S_GROUP, S_SLOTS,
) = range(12)  # fmt: skip

#: Largest literal of an SSTORE and of an ADD or SUB, and the range of pre-state values.
MAX_LITERAL, MAX_ADDEND, MAX_PRE_VALUE = 999, 99, 1000


@kernel(inline=True)
def _mix(z):
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection of 64 bits."""
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return z ^ (z >> U64(31))


@kernel(inline=True)
def _stream(seed, number):
    """Start of the stream of a transaction."""
    return _mix(_mix(seed) + U64(0x9E3779B97F4A7C15) * (U64(number) + U64(1)))


@kernel(inline=True)
def _draw(stream, i):
    """Draw number i of a stream: 64 bits."""
    return _mix(stream + U64(0x9E3779B97F4A7C15) * (U64(i) + U64(1)))


@kernel(inline=True)
def _chance(bits, threshold):
    """True with probability threshold / 2**63."""
    return (bits >> U64(1)) < threshold


@kernel(inline=True)
def _below(bits, n):
    """High half of bits * n: an integer in [0, n), each equally likely up to n / 2**64."""
    low = U64(0xFFFFFFFF)
    half = U64(32)
    a0, a1 = bits & low, bits >> half
    b0, b1 = n & low, n >> half
    middle = a1 * b0 + ((a0 * b0) >> half)
    other = a0 * b1 + (middle & low)
    return a1 * b1 + (middle >> half) + (other >> half)


@kernel(inline=True)
def _between(bits, low, high):
    return low + np.int64(_below(bits, U64(high - low + 1)))


@kernel(inline=True)
def _depends(seed, t, p, s):
    """Whether transaction t reads what t - distance writes."""
    if t < s[S_DISTANCE] or p[P_DEPENDS] == U64(0):
        return False
    return _chance(_draw(_stream(seed, t), _D_DEPENDS), p[P_DEPENDS])


@kernel(inline=True)
def _structure(seed, t, n_tx, p, s):
    """What the pattern asks for: (read the predecessor's link, write the own link, read the group's key, write it)."""
    reads_link = _depends(seed, t, p, s)
    writes_link = t + s[S_DISTANCE] < n_tx and _depends(seed, t + s[S_DISTANCE], p, s)
    reads_group = s[S_GROUP] > 0 or (s[S_STAR] > 0 and t > 0)
    writes_group = s[S_GROUP] > 0 or (s[S_STAR] > 0 and t == 0)
    return reads_link, writes_link, reads_group, writes_group


@kernel
def shape_blocks(seed, n_tx, p, s, op_indptr, load_indptr, store_indptr, hash_indptr):
    """Count ops, loads, stores and hashes of each transaction, as CSR offsets: entry t + 1 belongs to transaction t."""
    op_indptr[0] = load_indptr[0] = store_indptr[0] = hash_indptr[0] = 0
    for t in range(n_tx):
        stream = _stream(seed, t)
        reads_link, writes_link, reads_group, writes_group = _structure(seed, t, n_tx, p, s)
        loads = _between(_draw(stream, _D_LOADS), s[S_LOADS_LOW], s[S_LOADS_HIGH])
        loads = max(loads, np.int64(reads_link) + np.int64(reads_group))
        stores = _between(_draw(stream, _D_STORES), s[S_STORES_LOW], s[S_STORES_HIGH])
        stores = max(stores, np.int64(writes_link) + np.int64(writes_group))
        noops = _between(_draw(stream, _D_NOOPS), s[S_NOOPS_LOW], s[S_NOOPS_HIGH])
        hashes = np.int64(_chance(_draw(stream, _D_KECCAK), p[P_KECCAK]))
        op_indptr[t + 1] = op_indptr[t] + loads + np.int64(loads > 0) + stores + hashes + noops
        load_indptr[t + 1] = load_indptr[t] + loads
        store_indptr[t + 1] = store_indptr[t] + stores
        hash_indptr[t + 1] = hash_indptr[t] + hashes


@kernel(inline=True)
def _key(stream, a, own, p, s, zipf):
    """Key code of access a: a pool index, or -1 - own for the private key that this access alone has."""
    base = _FIRST_ACCESS + _PER_ACCESS * a
    if not _chance(_draw(stream, base + _D_SHARED), p[P_SHARED]):
        return -1 - own
    bits = _draw(stream, base + _D_POOL)
    n = zipf.shape[0]
    if n == 0:
        return np.int64(_below(bits, U64(s[S_KEY_SPACE])))
    target = _below(bits, zipf[n - 1])
    low, high = 0, n - 1
    while low < high:  # the first index whose cumulative weight exceeds the target
        middle = (low + high) // 2
        if zipf[middle] > target:
            high = middle
        else:
            low = middle + 1
    return np.int64(low)


@kernel(inline=True)
def _contract(code, s):
    """Equal for keys of one address: -1 for the transaction's own contract; pool and other keys never share one."""
    if code < 0:
        return np.int64(-1)
    if code < s[S_KEY_SPACE]:
        return code // s[S_SLOTS]
    return s[S_KEY_SPACE] + (code - s[S_KEY_SPACE]) // s[S_SLOTS]


@kernel
def _list_keys(stream, code, first, stop, p, s, warm, listed, n_listed):
    """Append the access list of one transaction, whose accesses are code[first:stop]; returns the new length.

    An entry is an access number a (the key of that access) or -1 - a (its address). warm is scratch for stop - first
    entries. Keys are grouped under their address, both in order of first access.
    """
    n_warm = 0
    for a in range(first, stop):
        repeated = False
        for b in range(first, a):
            if code[b] == code[a]:
                repeated = True
        cold = _chance(_draw(stream, _FIRST_ACCESS + _PER_ACCESS * (a - first) + _D_COLD), p[P_COLD])
        if not repeated and not cold:
            warm[n_warm] = a
            n_warm += 1
    for i in range(n_warm):
        if warm[i] < 0:
            continue
        contract = _contract(code[warm[i]], s)
        listed[n_listed] = -1 - warm[i]
        n_listed += 1
        for j in range(i, n_warm):
            if warm[j] >= 0 and _contract(code[warm[j]], s) == contract:
                listed[n_listed] = warm[j]
                n_listed += 1
                warm[j] = -1
    return n_listed


@kernel
def fill_blocks(
    seed, n_tx, p, s, zipf, op_indptr, load_indptr, store_indptr, hash_indptr,
    op_code, op_key, op_arg, code, payload, list_indptr, listed, warm,
):  # fmt: skip
    """Write programs, key codes, payloads and access lists; returns the number of access-list entries.

    Accesses are numbered through the block, per transaction its loads and then its stores; op_key and listed name
    accesses, code[access] is the key: a pool index, key_space + number for structural keys (links 0..n_tx-1, then
    groups), or -1 - access for private ones. op_arg of ops with a literal is the literal itself. Sequential: nothing
    here depends on a thread count.
    """
    n_listed = 0
    list_indptr[0] = 0
    for t in range(n_tx):
        stream = _stream(seed, t)
        reads_link, writes_link, reads_group, writes_group = _structure(seed, t, n_tx, p, s)
        loads = load_indptr[t + 1] - load_indptr[t]
        stores = store_indptr[t + 1] - store_indptr[t]
        first = load_indptr[t] + store_indptr[t]
        group = s[S_KEY_SPACE] + n_tx + (t // s[S_GROUP] if s[S_GROUP] > 0 else 0)
        for a in range(loads + stores):
            code[first + a] = _key(stream, a, first + a, p, s, zipf)
        if reads_group:
            code[first + loads - 1] = group
        if reads_link:  # last of the loads, so that the arithmetic works on it
            code[first + loads - 1] = s[S_KEY_SPACE] + t - s[S_DISTANCE]
            if reads_group:
                code[first + loads - 2] = group
        structural = 0
        if writes_link:
            code[first + loads] = s[S_KEY_SPACE] + t
            structural = 1
        if writes_group:
            code[first + loads + structural] = group
            structural += 1

        i = op_indptr[t]
        for a in range(loads):
            op_code[i], op_key[i], op_arg[i] = _SLOAD, first + a, -1
            i += 1
        if loads > 0:
            op_code[i] = _SUB if _chance(_draw(stream, _D_SUB), p[P_SUB]) else _ADD
            op_key[i] = -1
            op_arg[i] = _between(_draw(stream, _D_ADDEND), 1, MAX_ADDEND)
            i += 1
        depth = loads
        for b in range(stores):
            base = _FIRST_ACCESS + _PER_ACCESS * (loads + b)
            op_code[i], op_key[i] = _SSTORE, first + loads + b
            if depth > 0 and (b < structural or _chance(_draw(stream, base + _D_TOP), p[P_TOP])):
                op_arg[i] = _TOP
                depth -= 1
            elif _chance(_draw(stream, base + _D_ZERO), p[P_ZERO]):
                op_arg[i] = 0
            else:
                op_arg[i] = _between(_draw(stream, base + _D_LITERAL), 1, MAX_LITERAL)
            i += 1
        for h in range(hash_indptr[t], hash_indptr[t + 1]):
            op_code[i], op_key[i], op_arg[i] = _KECCAK, -1, h
            for w in range(4):
                payload[h, w] = _draw(stream, _D_PAYLOAD + w)
            i += 1
        while i < op_indptr[t + 1]:
            op_code[i], op_key[i], op_arg[i] = _NOOP, -1, s[S_NOOP_COUNT]
            i += 1
        n_listed = _list_keys(stream, code, first, first + loads + stores, p, s, warm, listed, n_listed)
        list_indptr[t + 1] = n_listed
    return n_listed


@kernel
def pre_values(seed, codes, tx, place, threshold, out):
    """Value before the block of each key, 0 with probability 1 - threshold / 2**63, else in 1..MAX_PRE_VALUE.

    codes >= 0 are shared keys; a negative one is the private key of access number `place` of transaction `tx`.
    """
    for i in range(codes.shape[0]):
        if codes[i] >= 0:
            stream = _stream(seed, _POOL_STREAM + codes[i])
            base = 0
        else:
            stream = _stream(seed, _PRIVATE_STREAM + tx[i])
            base = 2 * place[i]
        out[i] = 0
        if _chance(_draw(stream, base), threshold):
            out[i] = _between(_draw(stream, base + 1), 1, MAX_PRE_VALUE)


@kernel
def sender_draws(seed, n_senders, out):
    """Sender number of each transaction, uniform in [0, n_senders)."""
    for t in range(out.shape[0]):
        out[t] = _below(_draw(_stream(seed, t), _D_SENDER), U64(n_senders))


@kernel
def blob_draws(seed, threshold, low, high, least_cap, most_cap, count, cap):
    """Blobs of each transaction, and their fee cap: both 0 for those without.

    threshold of 2**63 is the share that has blobs, low to high each; caps are from least_cap to most_cap (uint64).
    """
    for t in range(count.shape[0]):
        stream = _stream(seed, t)
        has = _chance(_draw(stream, _D_BLOB), threshold)
        count[t] = np.uint8(_between(_draw(stream, _D_BLOB_COUNT), low, high)) if has else np.uint8(0)
        cap[t] = least_cap + _below(_draw(stream, _D_BLOB_CAP), most_cap - least_cap + U64(1)) if has else U64(0)
