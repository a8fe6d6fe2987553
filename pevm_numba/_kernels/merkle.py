"""Merkle trees whose shape is that of all keys that could be there: keys without a value are passed over, not hashed.

A tree branches only where its leaves differ, so a node says at which bit. Leaves are 0..n - 1 in the order of their paths,
node n + i parts leaves i and i + 1. Digests and paths are four lanes as the sponge has them (little-endian views of 32
bytes); values are lanes of 32 big-endian bytes. A message is one lane that says what it is, then eight: one permutation.
"""

from __future__ import annotations

import numpy as np

from .jit import U64, kernel
from .keccak import LANES, permute_lanes
from .keccak_bytes import hash_bytes, permute_one

__all__ = ["apply_changes", "chain_claims", "forest_roots", "hash_leaves", "hash_nodes", "shape"]

_NODE = 1
_PAD_END = U64(0x8000000000000000)
_ZERO = U64(0)


@kernel(inline=True)
def _first_difference(path, a, b):
    """First bit, from the most significant of the first byte on, at which two paths differ; 256 if they are equal."""
    for lane in range(4):
        differ = path[a, lane] ^ path[b, lane]
        if differ != _ZERO:
            for byte in range(8):
                part = (differ >> U64(8 * byte)) & U64(255)
                if part != _ZERO:
                    bit = 0
                    while part < U64(128):
                        part <<= U64(1)
                        bit += 1
                    return 64 * lane + 8 * byte + bit
    return 256


@kernel
def shape(path, left, right, parent, bit, stack):
    """Fill the tree over distinct, ascending paths (n, 4); returns its top.

    left, right (n - 1,): children of node n + i; parent (2n - 1,): -1 for the top; bit (n - 1,): where node n + i branches.
    stack (n,) is scratch.
    """
    n = path.shape[0]
    parent[:] = -1
    size = 0
    for i in range(n - 1):
        bit[i] = _first_difference(path, i, i + 1)
        last = i
        while size > 0 and bit[stack[size - 1] - n] > bit[i]:
            size -= 1
            last = stack[size]
        left[i] = last
        parent[last] = n + i
        if size > 0:
            right[stack[size - 1] - n] = n + i
            parent[n + i] = stack[size - 1]
        right[i] = i + 1
        parent[i + 1] = n + i
        stack[size] = n + i
        size += 1
    return stack[0] if n > 1 else 0


@kernel(bare=True)
def hash_leaves(chosen, count, path, value, live, digest, sponge):
    """Digest and life of leaves chosen[:count]: those with value zero are dead."""
    for first in range(0, count, LANES):
        used = min(LANES, count - first)
        for i in range(25):
            for j in range(LANES):
                sponge[i, j] = _ZERO
        for j in range(used):
            k = chosen[first + j]
            for i in range(4):
                sponge[1 + i, j] = path[k, i]
                sponge[5 + i, j] = value[k, i]
            sponge[9, j] = U64(1)
            sponge[16, j] = _PAD_END
        permute_lanes(sponge)
        for j in range(used):
            k = chosen[first + j]
            live[k] = (value[k, 0] | value[k, 1] | value[k, 2] | value[k, 3]) != _ZERO
            for i in range(4):
                digest[k, i] = sponge[i, j]


@kernel(bare=True)
def hash_nodes(chosen, count, n, left, right, bit, live, digest, sponge):
    """Digest and number of live leaves (0, 1, or 2 for more) of nodes chosen[:count], of which none is below another.

    A node with one live child is passed over: it has that child's digest.
    """
    filled = 0
    for c in range(count):
        node = chosen[c]
        a, b = left[node - n], right[node - n]
        live[node] = min(2, live[a] + live[b])
        if live[a] == 0 or live[b] == 0:
            only = b if live[a] == 0 else a
            for i in range(4):
                digest[node, i] = digest[only, i]
        else:
            chosen[filled] = node
            filled += 1
    for first in range(0, filled, LANES):
        used = min(LANES, filled - first)
        for i in range(25):
            for j in range(LANES):
                sponge[i, j] = _ZERO
        for j in range(used):
            node = chosen[first + j]
            a, b = left[node - n], right[node - n]
            sponge[0, j] = U64(_NODE) | U64(bit[node - n]) << U64(8)
            for i in range(4):
                sponge[1 + i, j] = digest[a, i]
                sponge[5 + i, j] = digest[b, i]
            sponge[9, j] = U64(1)
            sponge[16, j] = _PAD_END
        permute_lanes(sponge)
        for j in range(used):
            node = chosen[first + j]
            for i in range(4):
                digest[node, i] = sponge[i, j]


@kernel
def apply_changes(
    indptr, leaf, new, path, left, right, parent, bit, top, value, live, digest, chosen, following, stamp, past, roots
):
    """Apply batches of changes one after the other: batch t sets leaves leaf[indptr[t]:indptr[t + 1]] to rows of new.

    Each node above a changed leaf is hashed once a batch, those at one bit together. roots[t] is the root after batch t.
    chosen, following (n,) are scratch; so is stamp (n,), below `past` on entry and below past + number of batches after it.
    """
    n = path.shape[0]
    sponge = np.empty((25, LANES), np.uint64)
    first = np.full(256, -1, np.int32)
    for t in range(indptr.shape[0] - 1):
        count, low, high = 0, 256, -1
        for c in range(indptr[t], indptr[t + 1]):
            k = leaf[c]
            for i in range(4):
                value[k, i] = new[c, i]
            chosen[count] = k
            count += 1
            node = parent[k]
            while node >= 0 and stamp[node - n] != past + t:
                stamp[node - n] = past + t
                at = bit[node - n]
                following[node - n] = first[at]
                first[at] = node
                low, high = min(low, at), max(high, at)
                node = parent[node]
        hash_leaves(chosen, count, path, value, live, digest, sponge)
        for at in range(high, low - 1, -1):
            count, node = 0, first[at]
            first[at] = -1
            while node >= 0:
                chosen[count] = node
                count += 1
                node = following[node - n]
            hash_nodes(chosen, count, n, left, right, bit, live, digest, sponge)
        for i in range(4):
            roots[t, i] = digest[top, i] if live[top] > 0 else _ZERO


@kernel
def forest_roots(indptr, path, leaf_digest, roots):
    """roots[t]: root of the tree over leaves indptr[t]:indptr[t + 1], whose paths ascend; zero if there are none."""
    state = np.empty(25, np.uint64)
    open_bit, open_digest = np.empty(257, np.int64), np.empty((257, 4), np.uint64)
    now = np.empty(4, np.uint64)
    for t in range(indptr.shape[0] - 1):
        size = 0
        now[:] = _ZERO
        for k in range(indptr[t], indptr[t + 1]):
            now[:] = leaf_digest[k]
            bit = -1 if k + 1 == indptr[t + 1] else _first_difference(path, k, k + 1)
            while size > 0 and open_bit[size - 1] > bit:
                size -= 1
                state[:] = _ZERO
                state[0] = U64(_NODE) | U64(open_bit[size]) << U64(8)
                state[1:5] = open_digest[size]
                state[5:9] = now
                state[9] = U64(1)
                state[16] = _PAD_END
                permute_one(state)
                now[:] = state[:4]
            open_bit[size] = bit
            open_digest[size] = now
            size += 1
        roots[t] = now


@kernel
def chain_claims(rows, width, start, links):
    """links[p] (n, 4): hash of rows[p, :width] with the link before it (at first `start`) in bytes 8 to 39, written there."""
    state = np.empty(25, np.uint64)
    for p in range(rows.shape[0]):
        for i in range(4):
            word = start[i] if p == 0 else links[p - 1, i]
            for b in range(8):
                rows[p, 8 + 8 * i + b] = np.uint8((word >> U64(8 * b)) & U64(255))
        hash_bytes(rows[p], 0, width, state)
        links[p] = state[:4]
