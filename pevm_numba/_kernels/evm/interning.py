"""Numbers of the keys of a block's state, found by hashing. What is found stays; several workers may look and add at once."""

from __future__ import annotations

from ..jit import kernel
from ..system import yield_core
from .layout import CONTEXT, FULL, KEY, UNFETCHED
from .memory import compare_swap, hash_word, load, load_acquire, store, store_release, word_copy, word_equal

__all__ = ["find_key", "find_keys", "know", "lock", "unlock"]

_context, _key = CONTEXT.at, KEY.at
_KEY_SIZE, _FETCHED = KEY.size, KEY.numbers["fetched"]

#: How often a worker looks whether a lock is free before it gives its core away.
_LOOKS = 200


@kernel(bare=True)
def lock(at):
    """Wait for a lock, and take it."""
    looks = 0
    while not compare_swap(at, 0, 1):
        looks += 1
        if looks > _LOOKS:
            looks = 0
            yield_core()


@kernel(bare=True)
def unlock(at):
    """Give a lock back."""
    store_release(at, 0)


@kernel(bare=True)
def _probe(c, owner, word):
    """Number of a key, or -1 - the place where it would be."""
    context = _context(c)
    place = hash_word(word, owner) & context.key_mask
    while True:
        known = load_acquire(context.key_table + 8 * place)
        if known == 0:
            return -1 - place
        key = _key(context.keys + _KEY_SIZE * (known - 1))
        if key.owner == owner and word_equal(key.word, word):
            return known - 1
        place = (place + 1) & context.key_mask


@kernel(bare=True)
def find_key(c, owner, word, width):
    """Number of the key (owner, word) of the block's state; a new one gets `width` numbers, and the value 0."""
    context = _context(c)
    found = _probe(c, owner, word)
    if found >= 0:
        return found
    lock(context.lock)
    found = _probe(c, owner, word)  # another worker may have added it
    if found < 0:
        number = load(context.n_keys)
        if number + width > context.key_room:
            context.status = FULL
            unlock(context.lock)
            return 0
        for i in range(width):
            key = _key(context.keys + _KEY_SIZE * (number + i))
            key.owner = owner
            key.fetched = UNFETCHED
            word_copy(key.word, word)
        store(context.n_keys, number + width)
        store_release(context.key_table + 8 * (-1 - found), number + 1)
        found = number
    unlock(context.lock)
    return found


@kernel(bare=True)
def find_keys(c, owners, words, n, width, numbers):
    """The same of `n` keys: int64 at `owners`, words at `words`; int64 to `numbers`."""
    for i in range(n):
        store(numbers + 8 * i, find_key(c, load(owners + 8 * i), words + 32 * i, width))


@kernel(bare=True)
def know(c, key, how):
    """Say what of a key has been fetched (KNOWN, WHOLE), after its value has been put in place."""
    store_release(_context(c).keys + _KEY_SIZE * key + _FETCHED, how)
