"""What the transactions of a block make of the keys, while others run: for each key a chain of cells, the last one first.

A cell stays where it is: whoever runs again adds a new one and declares the old one dead. So chains only grow, and readers
and writers need no lock. A transaction reads what the nearest live cell before its own position says, or the state before the
block. Without chains there is one worker, and the state is that of now.
"""

from __future__ import annotations

from ..jit import kernel
from ..system import yield_core
from .layout import APART, BLOCK, CELL, CONTEXT, DEAD, ESTIMATE, FULL, WRITE
from .memory import compare_swap, load, load_acquire, store, store_release, word_add, word_copy, word_set

__all__ = ["FINGERS", "add_cell", "declare", "earn", "fetch", "link_cells", "settle"]

_context, _cell = CONTEXT.at, CELL.at
_CELL_SIZE, _NEXT, _KIND, _AWAY = CELL.size, CELL.numbers["next"], CELL.numbers["kind"], BLOCK.numbers["away"]
_STOP = BLOCK.numbers["stop"]

#: Keys of which a worker remembers where it put the last cell.
FINGERS = 256

#: How often a worker looks whether a value has been made before it gives its core away.
_LOOKS = 200


@kernel(bare=True)
def _decided(b, at):
    """Kind of a cell, once it is no estimate any more: whoever makes it anew is at a lower position and at work.

    If he has to leave, and with him everybody, or all are to stop, the value that was there is taken for now: it will be
    found to be stale, or nobody will look for it.
    """
    looks = 0
    while True:
        kind = load_acquire(at + _KIND)
        if kind != ESTIMATE:
            return kind
        if load_acquire(b + _AWAY) or load_acquire(b + _STOP):
            return WRITE
        looks += 1
        if looks > _LOOKS:
            looks = 0
            yield_core()


@kernel(bare=True)
def listed_value(chains, values, position, key, word):
    """The word := the value of a key as the transaction at that position finds it, by an access list.

    Its cells of a key are new values that follow each other in memory, and `next` tells how many are left.
    """
    first = load(chains + 8 * key)
    low, high = 0, 0
    if first != 0:
        high = _cell(first).next + 1
    count = high
    while low < high:  # the first cell before the position
        middle = (low + high) >> 1
        if _cell(first + _CELL_SIZE * middle).position < position:
            high = middle
        else:
            low = middle + 1
    if low < count:
        word_copy(word, first + _CELL_SIZE * low)
    else:
        word_copy(word, values + 32 * key)


@kernel(bare=True)
def value_at(b, chains, values, position, key, word):
    """The word := the value of a key as the transaction at that position of the block finds it."""
    at = load_acquire(chains + 8 * key)
    if at == 0:
        word_copy(word, values + 32 * key)
        return
    word_set(word, 0)
    while at != 0:
        if _cell(at).position < position:
            kind = _decided(b, at)
            if kind != DEAD:
                word_add(word, word, at)  # a cell begins with its value
                if kind == WRITE:
                    return
        at = load_acquire(at + _NEXT)
    word_add(word, word, values + 32 * key)


@kernel(bare=True)
def fetch(c, key, word):
    """The word := the value of a key, as the transaction in hand finds it."""
    context = _context(c)
    if context.chains == 0:
        word_copy(word, context.values + 32 * key)
    elif context.listed:
        listed_value(context.chains, context.values, context.position, key, word)
    else:
        value_at(context.block, context.chains, context.values, context.position, key, word)


@kernel(bare=True)
def add_cell(c, kind, key, word):
    """Keep what the transaction in hand makes of a key: a value (WRITE), or an amount (CREDIT)."""
    context = _context(c)
    at = context.cells
    if at + _CELL_SIZE > context.cell_end:
        context.status = FULL
        return
    cell = _cell(at)
    cell.next = 0
    cell.position = context.position
    cell.kind = kind
    cell.key = key
    word_copy(cell.value, word)
    context.cells = at + _CELL_SIZE


@kernel(bare=True)
def link_cells(c, first, count, apart):
    """Put cells where readers find them: those that are APART, or the others.

    Each worker remembers behind which cell it put the last one of a key: where much is changed by transactions that run out
    of order, as the fee recipient's balance is, most cells belong just there, and the way from the head is long.
    """
    context = _context(c)
    for at in range(first, first + _CELL_SIZE * count, _CELL_SIZE):
        cell = _cell(at)
        if (cell.next == APART) != apart:
            continue
        place = context.fingers + 8 * (cell.key & (FINGERS - 1))
        before = load(place)
        if before != 0 and (_cell(before).key != cell.key or _cell(before).position <= cell.position):
            before = 0
        linked = False
        while not linked:
            link = before + _NEXT if before != 0 else context.chains + 8 * cell.key
            following = load_acquire(link)
            while following != 0 and _cell(following).position > cell.position:
                before = following
                link = following + _NEXT
                following = load_acquire(link)
            cell.next = following
            linked = compare_swap(link, following, at)
        if before != 0:
            store(place, before)


@kernel(bare=True)
def earn(c, credited, first, count):
    """Add up what transactions credit where nobody looks."""
    context = _context(c)
    for at in range(first, first + _CELL_SIZE * count, _CELL_SIZE):
        if _cell(at).key == credited:
            word_add(context.earned, context.earned, at)


@kernel(bare=True)
def declare(first, count, kind):
    """Say what cells are from now on."""
    for at in range(first, first + _CELL_SIZE * count, _CELL_SIZE):
        store_release(at + _KIND, kind)


@kernel(bare=True)
def settle(c, credited, n_tx):
    """The state of all keys that this worker changed last := that after all transactions.

    What is in no chain is its own affair, but for the key that is `credited` by all.
    """
    context = _context(c)
    word = context.scratch + 256
    context.position = n_tx
    for at in range(context.first_cell, context.cells, _CELL_SIZE):
        cell = _cell(at)
        place = context.values + 32 * cell.key
        if cell.next == APART:
            if cell.kind == WRITE:
                word_copy(place, at)
            elif cell.kind != DEAD and cell.key != credited:
                word_add(place, place, at)
        elif load(context.chains + 8 * cell.key) == at:
            fetch(c, cell.key, word)
            word_copy(place, word)
