"""Keys that patterns derive from transactions: words of the call, hashed as Solidity and Vyper lay out their storage.

Words are 32 bytes, big-endian. A transaction has groups of expressions, and each gives one key, or none where the call has
no such word or a layout is not known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import U64, kernel
from .keccak_bytes import hash_bytes

__all__ = [
    "ARRAY", "CALLEE", "CONST", "EACH", "EACH_NEXT", "EACH_POOL", "FACTORIES", "HOP", "LAST", "LAST_POOL", "MAPPING",
    "PLACES", "POOL", "ROLE", "SENDER", "STEPS", "VYPER", "WORD", "Expressions", "derive", "find_places",
]  # fmt: skip

#: Where a word comes from: a constant; the sender; whom he calls; a word of the call data, from its begin or its end; the
#: exchange of the tokens in that word and the next, by the number of the factory that makes it and the place of the word.
CONST, SENDER, CALLEE, WORD, LAST, POOL, LAST_POOL = 0, 1, 2, 3, 4, 6, 7

#: The same wherever in the data: an expression with such words gives a key for each place at which they are addresses. EACH
#: is the word at the place, EACH_NEXT the one after it, EACH_POOL their exchange by a factory. Calls within the data, as of
#: `multicall`, have words behind selectors of their own; a path of Uniswap V3 has addresses of 20 bytes with fees of 3
#: between them, and its places are complements (~) of their offsets.
EACH, EACH_NEXT, EACH_POOL = 8, 9, 10

#: Bytes from a token of a path to the next one.
HOP = 23

#: Places of a call that are tried.
PLACES = 256

#: Where a slot begins, beside a constant: with what the layout of the address says of a role.
ROLE = 5

#: Makers of exchanges: 0xff, the address, and the hash of the code that it deploys (EIP-1014). The salt of the last has the
#: fee, too, in the word after the tokens.
FACTORIES = 3

#: Steps: keccak(word, slot), as Solidity has mappings; keccak(slot, word), as Vyper has them; keccak(slot) + word, an array.
MAPPING, VYPER, ARRAY = 1, 2, 3
STEPS = 3


class Expressions(NamedTuple):
    """Expressions as columns: kinds and arguments, which are rows of `constants` or numbers of words or roles."""

    address: np.ndarray  # (n, 2)
    start: np.ndarray  # (n, 2)
    steps: np.ndarray  # (n, STEPS, 3): step, kind, argument; 0 for no more steps
    offset: np.ndarray  # (n,), added in the end
    anywhere: np.ndarray  # (n,), whether words of it are EACH
    constants: np.ndarray  # (m, 32)
    factories: np.ndarray  # (FACTORIES, 53)


@kernel(bare=True)
def _hash(pair, size, state, slot):
    """slot := keccak of the first bytes of a pair of words."""
    hash_bytes(pair, 0, size, state)
    for i in range(4):
        lane = state[i]
        for j in range(8):
            slot[8 * i + j] = np.uint8((lane >> U64(8 * j)) & U64(0xFF))


@kernel(bare=True)
def _is_address(data, at):
    """Whether a word looks like an address: 12 bytes of 0, and then no small number."""
    for i in range(12):
        if data[at + i] != 0:
            return False
    small = True
    for i in range(12, 20):
        small = small and data[at + i] == 0
    return not small


@kernel(bare=True)
def _size_behind(data, at, stop):
    """Bytes that follow a word of the data, if that may be their number; else 0."""
    for i in range(28):
        if data[at + i] != 0:
            return 0
    size = 0
    for i in range(28, 32):
        size = size * 256 + np.int64(data[at + i])
    return size if at + 32 + size <= stop else 0


@kernel(bare=True)
def _load_pool(factory, at, stop, calls, expressions, buffer, state, word):
    """word := the address of the exchange of the tokens at a place of the data; whether these are addresses."""
    fee = factory == FACTORIES - 1
    if at + (96 if fee else 64) > stop:
        return False
    if not _is_address(calls.data, at) or not _is_address(calls.data, at + 32):
        return False
    _find_pool(factory, at + 12, at + 44, at + 64, 32, calls, expressions, buffer, state, word)
    return True


@kernel(bare=True)
def _load_packed(kind, factory, at, calls, expressions, buffer, state, word):
    """word := what an expression names of a hop in a path; whether there is such a word."""
    if kind == EACH_POOL:
        if factory != FACTORIES - 1:
            return False
        _find_pool(factory, at, at + HOP, at + 20, 3, calls, expressions, buffer, state, word)
        return True
    at += HOP if kind == EACH_NEXT else 0
    for i in range(20):
        word[12 + i] = calls.data[at + i]
    return True


@kernel(bare=True)
def _find_pool(factory, first, second, fee_at, fee_size, calls, expressions, buffer, state, word):
    """word := the address of the exchange of two tokens; the last factory's have a fee, too."""
    for i in range(20):
        a, b = calls.data[first + i], calls.data[second + i]
        if a != b:
            if a > b:
                first, second = second, first
            break
    if factory == FACTORIES - 1:  # three whole words
        for i in range(96):
            buffer[i] = 0
        for i in range(20):
            buffer[12 + i], buffer[44 + i] = calls.data[first + i], calls.data[second + i]
        for i in range(fee_size):
            buffer[96 - fee_size + i] = calls.data[fee_at + i]
        _hash(buffer, 96, state, word)
    else:
        for i in range(20):
            buffer[i], buffer[20 + i] = calls.data[first + i], calls.data[second + i]
        _hash(buffer, 40, state, word)
    for i in range(21):
        buffer[i] = expressions.factories[factory, i]
    for i in range(32):
        buffer[21 + i] = word[i]
        buffer[53 + i] = expressions.factories[factory, 21 + i]
    _hash(buffer, 85, state, word)
    for i in range(12):
        word[i] = 0


@kernel(bare=True)
def _load(kind, argument, calls, t, place, expressions, buffer, state, word):
    """word := what an expression names of a transaction; whether there is such a word."""
    for i in range(32):
        word[i] = 0
    if kind == CONST:
        for i in range(32):
            word[i] = expressions.constants[argument, i]
        return True
    if kind == SENDER or kind == CALLEE:
        rows = calls.sender if kind == SENDER else calls.to
        for i in range(20):
            word[12 + i] = rows[t, i]
        return True
    if kind >= EACH and place < 0:
        return _load_packed(kind, argument, ~place, calls, expressions, buffer, state, word)
    start, stop = calls.data_indptr[t] + 4, calls.data_indptr[t + 1]
    n_words = (stop - start) // 32
    number = argument // FACTORIES if kind == POOL or kind == LAST_POOL else argument
    at = start + 32 * (n_words - 1 - number if kind == LAST or kind == LAST_POOL else number)
    if kind >= EACH:
        at = place + 32 if kind == EACH_NEXT else place
        if at + 32 > stop:
            return False
    elif number < 0 or number >= n_words:
        return False
    if kind == POOL or kind == LAST_POOL or kind == EACH_POOL:
        return _load_pool(argument % FACTORIES, at, stop, calls, expressions, buffer, state, word)
    if kind >= EACH and not _is_address(calls.data, at):
        return False
    for i in range(32):
        word[i] = calls.data[at + i]
    return True


@kernel(bare=True)
def _add(slot, word):
    """slot += word, modulo 2**256."""
    carry = 0
    for i in range(31, -1, -1):
        total = np.int64(slot[i]) + np.int64(word[i]) + carry
        slot[i] = total & 0xFF
        carry = total >> 8


@kernel(bare=True)
def _find_layout(addresses, address):
    """Row of an address among those in order, -1 if it is not there."""
    low, high = 0, addresses.shape[0]
    while low < high:
        middle = (low + high) // 2
        side = 0
        for i in range(20):
            if addresses[middle, i] != address[i]:
                side = -1 if addresses[middle, i] < address[i] else 1
                break
        if side == 0:
            return middle
        if side < 0:
            low = middle + 1
        else:
            high = middle
    return -1


@kernel(bare=True)
def _begin_slot(e, t, place, calls, expressions, layouts, address, buffer, state, slot):
    """slot := where an expression begins; whether that is known."""
    kind, argument = expressions.start[e, 0], expressions.start[e, 1]
    if kind != ROLE:
        return _load(kind, argument, calls, t, place, expressions, buffer, state, slot)
    layout_address, layout_slot, layout_known = layouts
    row = _find_layout(layout_address, address[12:])
    if row < 0 or not layout_known[row, argument]:
        row = layout_address.shape[0]  # what is usual
        if not layout_known[row, argument]:
            return False
    for i in range(32):
        slot[i] = layout_slot[row, argument, i]
    return True


@kernel(bare=True)
def _derive_one(e, t, place, calls, expressions, layouts, words, state):
    """words[0], words[1] := address and slot that an expression gives at a place of a call; whether it gives any."""
    address, slot, word = words[0], words[1], words[2]
    pair, buffer = words[3:5].reshape(64), words[5:8].reshape(96)
    kind, argument = expressions.address[e, 0], expressions.address[e, 1]
    if not _load(kind, argument, calls, t, place, expressions, buffer, state, address) or not _is_address(address, 0):
        return False
    if not _begin_slot(e, t, place, calls, expressions, layouts, address, buffer, state, slot):
        return False
    for s in range(STEPS):
        step = expressions.steps[e, s, 0]
        if step == 0:
            break
        kind, argument = expressions.steps[e, s, 1], expressions.steps[e, s, 2]
        if not _load(kind, argument, calls, t, place, expressions, buffer, state, word):
            return False
        first, second = (slot, word) if step == VYPER else (word, slot)
        if step == ARRAY:
            first = slot
        for i in range(32):
            pair[i] = first[i]
            pair[32 + i] = second[i]
        _hash(pair, 32 if step == ARRAY else 64, state, slot)
        if step == ARRAY:
            _add(slot, word)
    offset = expressions.offset[e]
    if offset:
        for i in range(24):
            word[i] = 0
        for i in range(8):
            word[24 + i] = (offset >> (8 * (7 - i))) & 0xFF
        _add(slot, word)
    return True


@kernel(bare=True)
def find_places(calls, wanted, indptr, places):
    """Where in the data of calls there are addresses; with no room in `places` they are only counted.

    Parameters
    ----------
    calls : named tuple of columns
    wanted : (n_tx,) bool
        Calls of which that is asked.
    indptr : (n_tx + 1,) int64
        Places of each: filled.
    places : (indptr[n_tx],) int64 or none
        Offsets in `calls.data`: filled.
    """
    n = 0
    indptr[0] = 0
    for t in range(wanted.shape[0]):
        at, stop = calls.data_indptr[t] + 4, calls.data_indptr[t + 1]
        most = n + PLACES
        inner = at  # where the call within the data ends that we are in
        while wanted[t] and at + 32 <= stop and n < most:
            if _is_address(calls.data, at):
                if places.shape[0]:
                    places[n] = at
                n += 1
            size = _size_behind(calls.data, at, inner if at < inner else stop)
            at += 32
            if size > 20 and (size - 20) % HOP == 0:  # a path, filled up to whole words
                for hop in range(min((size - 20) // HOP, most - n)):
                    if places.shape[0]:
                        places[n] = ~(at + HOP * hop)
                    n += 1
                at += (size + 31) // 32 * 32
            elif size > 4 and size % 32 == 4 and at > inner:  # a call within the data
                inner = at + size
                at += 4
            if at == inner:
                at = inner + 28
        indptr[t + 1] = n


@kernel(bare=True)
def derive(calls, groups, group_indptr, expressions, layouts, place_rows, scratch, out):
    """Keys of all transactions.

    Parameters
    ----------
    calls : named tuple of columns
    groups : (n_tx,) int64
        Group of each transaction, -1 for none.
    group_indptr : (groups + 1,) int64
        Expressions of each group.
    expressions : Expressions
    layouts : (addresses, slots, known)
        Addresses in order, (n, 20); where roles begin, (n + 1, roles, 32), the last row being what is usual; whether that is
        known, (n + 1, roles).
    place_rows : (places, indptr)
        As `find_places` gives them.
    scratch : (words, state)
        (8, 32) uint8; (25,) uint64.
    out : (tx, expression, address, slot)
        Columns with room for each expression of each transaction's group, for those with EACH at each place.

    Returns
    -------
    n : int
        Keys derived.
    """
    words, state = scratch
    out_tx, out_expression, out_address, out_slot = out
    places, place_indptr = place_rows
    n = 0
    for t in range(groups.shape[0]):
        g = groups[t]
        if g < 0:
            continue
        first, n_places = place_indptr[t], place_indptr[t + 1] - place_indptr[t]
        for e in range(group_indptr[g], group_indptr[g + 1]):
            for i in range(n_places if expressions.anywhere[e] else 1):
                place = places[first + i] if expressions.anywhere[e] else 0
                if not _derive_one(e, t, place, calls, expressions, layouts, words, state):
                    continue
                out_tx[n], out_expression[n] = t, e
                for j in range(20):
                    out_address[n, j] = words[0, 12 + j]
                for j in range(32):
                    out_slot[n, j] = words[1, j]
                n += 1
    return n
