"""A hash table of 256-bit words by key, in pages of 4,096 bytes: the same in memory and in a file that is mapped.

A page has a header of one cache line and room for `SLOTS` entries, which lie without gaps. Limbs of the header: `SUM`, the
page's checksum where it lies in a file; `COUNT`, entries in it, and `SPILLED` once an entry found no room here and went to
the next page; from `TAGS` on one byte an entry, of its hash, never 0 (0 where there is none). An entry is `KEY` limbs of key
(20 bytes of address, the field, 3 of nothing, 32 of slot) and `WORD` limbs of value, bytes as in files.

A lookup ends at the first page that has not spilled, so a page must not look emptier than it is: a page of a file is summed
up before it is first looked at, and `seen` says which have been.
"""

from __future__ import annotations

import numpy as np

from .atomics import prefetch
from .bits import trailing_zeros
from .jit import U64, kernel

__all__ = [
    "COUNT",
    "ENTRY",
    "KEY",
    "LIMBS",
    "SLOTS",
    "SPILLED",
    "SUM",
    "TAGS",
    "WORD",
    "add_all",
    "copy_page",
    "count_all",
    "count_storage",
    "find_all",
    "find_storage",
    "pack_keys",
    "page_sums",
    "put_all",
    "unpack_entries",
]  # fmt: skip

#: Limbs of a page, of a key, of a word, of both; entries a page has room for.
LIMBS = 512
KEY = 7
WORD = 4
ENTRY = KEY + WORD
SLOTS = 45

#: Limbs of a page's header, and the first of its entries.
SUM = 0
COUNT = 1
TAGS = 2
FIRST = 8
#: Bit of `COUNT`.
SPILLED = 1 << 32

_FEW = U64(0xFFFFFFFF)
_ODD = U64(0x9E3779B97F4A7C15)
_OTHER = U64(0xD6E8FEB86659FD93)
_ONES = U64(0x0101010101010101)
_FOURTH = U64(0x8080808080808080)
_LOWS = U64(0x7F7F7F7F7F7F7F7F)
#: Multiplied by it, the lowest bits of eight bytes come together in the highest byte.
_GATHER = U64(0x0102040810204080)
_ENTRIES = U64((1 << SLOTS) - 1)
#: Keys whose pages are fetched from memory at the same time.
_AHEAD = 16


@kernel
def pack_keys(address, field, slot, out):
    """Keys in `KEY` limbs each: (n, 5) uint32, (n,) uint8, (n, 4) uint64 of bytes as they lie -> (n, KEY) uint64."""
    for i in range(len(field)):
        out[i, 0] = U64(address[i, 0]) | (U64(address[i, 1]) << U64(32))
        out[i, 1] = U64(address[i, 2]) | (U64(address[i, 3]) << U64(32))
        out[i, 2] = U64(address[i, 4]) | (U64(field[i]) << U64(32))
        for k in range(4):
            out[i, 3 + k] = slot[i, k]


@kernel
def _hash(keys, i, seed):
    """Of one key; who does not know the seed cannot tell beforehand which keys meet."""
    h = seed
    for k in range(KEY):
        h = (h ^ keys[i, k]) * _ODD
        h ^= h >> U64(29)
    h *= _OTHER
    return h ^ (h >> U64(32))


@kernel
def _page_of(h, n_pages):
    """The page where a key with that hash belongs; below 2**32 of them."""
    return np.int64(((h >> U64(32)) * U64(n_pages)) >> U64(32))


@kernel
def _tag_of(h):
    """Of an entry with that hash: a byte that is not 0."""
    tag = h & U64(0xFF)
    return tag if tag != U64(0) else U64(0x5A)


@kernel
def _same(pages, page, at, keys, i):
    """Whether the entry at limb `at` of a page has that key."""
    differ = U64(0)
    for k in range(KEY):
        differ |= pages[page, at + k] ^ keys[i, k]
    return differ == U64(0)


@kernel
def _matches(pages, page, tag):
    """Bits of the entries of a page that have that tag."""
    wanted, found = tag * _ONES, U64(0)
    for t in range(6):
        differ = pages[page, TAGS + t] ^ wanted
        same = ~(((differ & _LOWS) + _LOWS) | differ | _LOWS)  # the highest bit of each byte that is 0
        found |= (((same >> U64(7)) * _GATHER) >> U64(56)) << U64(8 * t)
    return found & _ENTRIES


@kernel
def _in_page(pages, page, tag, keys, i):
    """Limb where the entry of a key begins in a page; -1 if it has none there."""
    found = _matches(pages, page, tag)
    while found != U64(0):
        at = FIRST + ENTRY * trailing_zeros(found)
        if _same(pages, page, at, keys, i):
            return at
        found &= found - U64(1)
    return -1


@kernel
def _prefetch_entry(pages, page, at):
    """Begin to bring in the two or three cache lines of an entry."""
    for k in (0, KEY, ENTRY - 1):
        prefetch(pages, (page, at + k))


@kernel
def _sum_of(pages, page):
    """Checksum of all limbs of a page but the first; of the page's number, too, so that pages do not change places."""
    a, b, c, d = _ODD ^ U64(page), _OTHER, _ONES, _FOURTH
    for k in range(COUNT, LIMBS - 3, 4):
        a = (a ^ pages[page, k]) * _ODD
        b = (b ^ pages[page, k + 1]) * _ODD
        c = (c ^ pages[page, k + 2]) * _ODD
        d = (d ^ pages[page, k + 3]) * _ODD
        a ^= a >> U64(31)
        b ^= b >> U64(31)
        c ^= c >> U64(31)
        d ^= d >> U64(31)
    for k in range(LIMBS - 3, LIMBS):
        a = (a ^ pages[page, k]) * _OTHER
        a ^= a >> U64(31)
    for lane in (b, c, d):
        a = (a ^ lane) * _OTHER
        a ^= a >> U64(31)
    return a


@kernel
def page_sums(pages):
    """Write the checksum of every page into it."""
    for page in range(len(pages)):
        pages[page, SUM] = _sum_of(pages, page)


@kernel
def _right(pages, page, seen):
    """Whether a page is what was written; looked at once."""
    if seen[page] == 0:
        if pages[page, SUM] != _sum_of(pages, page) or (pages[page, COUNT] & _FEW) > U64(SLOTS):
            return False
        seen[page] = 1
    return True


@kernel
def _find(pages, seen, home, tag, keys, i):
    """Page and limb of a key's entry, -1 for the limb if it has none, or -1 - the number of a page that is damaged."""
    p, at = home, -1
    for _ in range(len(pages)):
        if not _right(pages, p, seen):
            return -1 - p, -1
        at = _in_page(pages, p, tag, keys, i)
        if at >= 0 or pages[p, COUNT] & U64(SPILLED) == U64(0):
            break
        p = p + 1 if p + 1 < len(pages) else 0
    return p, at


@kernel
def find_all(pages, seen, seed, keys, out):
    """Words of keys, 0 for what is not there: (n, KEY) uint64 -> (n, WORD) uint64.

    Returns how many are there, or -1 - the number of a page that is damaged. Keys are looked up `_AHEAD` at a time, so that
    their pages come from memory together.
    """
    n, n_pages = len(keys), len(pages)
    found = 0
    page = np.empty(_AHEAD, np.int64)
    tag = np.empty(_AHEAD, np.uint64)
    matches = np.empty(_AHEAD, np.uint64)
    for start in range(0, n, _AHEAD):
        some = min(_AHEAD, n - start)
        for j in range(some):
            h = _hash(keys, start + j, seed)
            page[j], tag[j] = _page_of(h, n_pages), _tag_of(h)
            prefetch(pages, (page[j], 0))
            prefetch(seen, page[j])
        for j in range(some):
            matches[j] = _matches(pages, page[j], tag[j])
            at = FIRST + ENTRY * trailing_zeros(matches[j])
            _prefetch_entry(pages, page[j], at)
        for j in range(some):
            i, p = start + j, page[j]
            at = -1
            if seen[p] != 0 and matches[j] != U64(0):
                at = FIRST + ENTRY * trailing_zeros(matches[j])
                if not _same(pages, p, at, keys, i):
                    at = -1
            if at < 0:
                p, at = _find(pages, seen, p, tag[j], keys, i)
                if p < 0:
                    return p
            if at >= 0:
                found += 1
                for k in range(WORD):
                    out[i, k] = pages[p, at + KEY + k]
            else:
                for k in range(WORD):
                    out[i, k] = U64(0)
    return found


@kernel
def _set_tag(pages, page, e, tag):
    """Of entry `e` of a page."""
    limb, shift = TAGS + (e >> 3), U64(8 * (e & 7))
    pages[page, limb] = (pages[page, limb] & ~(U64(0xFF) << shift)) | (tag << shift)


@kernel
def _tag_at(pages, page, e):
    """Of entry `e` of a page."""
    return (pages[page, TAGS + (e >> 3)] >> U64(8 * (e & 7))) & U64(0xFF)


@kernel
def _remove(pages, page, at):
    """Take out the entry at limb `at`: the page's last takes its place."""
    last = np.int64(pages[page, COUNT] & _FEW) - 1
    e, end = (at - FIRST) // ENTRY, FIRST + ENTRY * last
    _set_tag(pages, page, e, _tag_at(pages, page, last))
    _set_tag(pages, page, last, U64(0))
    for k in range(ENTRY):
        pages[page, at + k] = pages[page, end + k]
        pages[page, end + k] = U64(0)
    pages[page, COUNT] -= U64(1)


@kernel
def _put(pages, seen, h, keys, i, words):
    """One word: by how much the number of entries has changed, or -2 - the number of a page that is damaged."""
    n_pages, tag = len(pages), _tag_of(h)
    home = _page_of(h, n_pages)
    zero = (words[i, 0] | words[i, 1] | words[i, 2] | words[i, 3]) == U64(0)
    p, at = _find(pages, seen, home, tag, keys, i)
    if p < 0:
        return p - 1
    if zero:
        if at < 0:
            return 0
        _remove(pages, p, at)
        return -1
    grown = 0
    if at < 0:
        p = home
        while np.int64(pages[p, COUNT] & _FEW) == SLOTS:
            pages[p, COUNT] |= U64(SPILLED)
            p = p + 1 if p + 1 < n_pages else 0
            if not _right(pages, p, seen):
                return -2 - p
        e = np.int64(pages[p, COUNT] & _FEW)
        at = FIRST + ENTRY * e
        _set_tag(pages, p, e, tag)
        for k in range(KEY):
            pages[p, at + k] = keys[i, k]
        pages[p, COUNT] += U64(1)
        grown = 1
    for k in range(WORD):
        pages[p, at + KEY + k] = words[i, k]
    return grown


@kernel
def put_all(pages, seen, seed, keys, words):
    """Give keys words, one after the other; a word of 0 takes the entry out. There must be room, page for page.

    Returns by how much the number of entries has grown plus the number of keys (so 0 to 2 n), or -1 - the number of a
    page that is damaged; entries before that are put.
    """
    n, n_pages, total = len(keys), len(pages), 0
    hashes = np.empty(_AHEAD, np.uint64)
    for start in range(0, n, _AHEAD):
        some = min(_AHEAD, n - start)
        for j in range(some):
            hashes[j] = _hash(keys, start + j, seed)
            prefetch(pages, (_page_of(hashes[j], n_pages), 0))
        for j in range(some):
            p = _page_of(hashes[j], n_pages)
            matches = _matches(pages, p, _tag_of(hashes[j]))
            e = trailing_zeros(matches) if matches != U64(0) else np.int64(pages[p, COUNT] & _FEW)
            _prefetch_entry(pages, p, FIRST + ENTRY * e)
        for j in range(some):
            grown = _put(pages, seen, hashes[j], keys, start + j, words)
            if grown <= -2:
                return 1 + grown
            total += grown + 1
    return total


@kernel
def add_all(pages, seen, seed, old, old_seen):
    """Put every entry of other pages into these, which must have room: how many, or -1 - an old page that is damaged."""
    total = 0
    keys, words = np.empty((SLOTS, KEY), np.uint64), np.empty((SLOTS, WORD), np.uint64)
    for page in range(len(old)):
        if not _right(old, page, old_seen):
            return -1 - page
        n = copy_page(old, page, keys, words, 0)
        put_all(pages, seen, seed, keys[:n], words[:n])
        total += n
    return total


@kernel
def copy_page(pages, page, keys, words, first):
    """Copy the entries of a page to rows from `first` on: how many."""
    n = np.int64(pages[page, COUNT] & _FEW)
    for e in range(n):
        at = FIRST + ENTRY * e
        for k in range(KEY):
            keys[first + e, k] = pages[page, at + k]
        for k in range(WORD):
            words[first + e, k] = pages[page, at + KEY + k]
    return n


@kernel
def unpack_entries(pages, seen, start, stop, keys, words):
    """Copy all entries of pages start:stop, for which there must be room: how many, or -1 - a page that is damaged."""
    n = 0
    for page in range(start, stop):
        if not _right(pages, page, seen):
            return -1 - page
        n += copy_page(pages, page, keys, words, n)
    return n


@kernel
def count_all(pages, seen):
    """How many entries there are, all pages looked at; -1 - a page that is damaged."""
    n = 0
    for page in range(len(pages)):
        if not _right(pages, page, seen):
            return -1 - page
        n += np.int64(pages[page, COUNT] & _FEW)
    return n


@kernel
def _is_storage(pages, page, e, address):
    """Whether entry `e` of a page is a slot of the account whose packed key that is."""
    at = FIRST + ENTRY * e
    return pages[page, at] == address[0] and pages[page, at + 1] == address[1] and pages[page, at + 2] == address[2]


@kernel
def count_storage(pages, seen, address):
    """How many slots of an account there are, by looking at all entries; -1 - a page that is damaged."""
    n = 0
    for page in range(len(pages)):
        if not _right(pages, page, seen):
            return -1 - page
        for e in range(np.int64(pages[page, COUNT] & _FEW)):
            n += _is_storage(pages, page, e, address)
    return n


@kernel
def find_storage(pages, address, slots):
    """Copy the slots of an account, (n, 4) uint64, as many as there are."""
    n = 0
    for page in range(len(pages)):
        for e in range(np.int64(pages[page, COUNT] & _FEW)):
            if _is_storage(pages, page, e, address) and n < len(slots):
                at = FIRST + ENTRY * e
                for k in range(4):
                    slots[n, k] = pages[page, at + 3 + k]
                n += 1
    return n
