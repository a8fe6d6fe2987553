"""The precompiles of alt_bn128 by mcl, called at its addresses. Numbers are big-endian outside and little-endian there.

A point is in mcl x, y and z, each in a form that only mcl reads: all zero is infinity, and z is 1 in what is read here.
"""

from __future__ import annotations

from ..jit import kernel
from .layout import CONTEXT
from .memory import call_native_4, copy, fill, load, word_fits, word_from_bytes, word_set, word_to_bytes

__all__ = ["CURVE_ROOM", "curve_add", "curve_multiply", "curve_pairing"]

_context = CONTEXT.at

#: Bytes of a coordinate, of points of both groups and of a pairing's value.
_SIZE, _G1, _G2, _GT = 32, 96, 192, 384
#: Pairs whose loops run together.
_PAIRS = 8
#: Places in the buffer: the twist's constant (real part first, little-endian; put there by the host), a word, two coordinates
#: of G2, input, points, and the two values of a pairing.
_TWIST, _WORD, _RIGHT, _LEFT, _INPUT, _ONE = 0, 64, 96, 160, 224, 352
_OTHER = _ONE + _PAIRS * _G1
_TWO = _OTHER + _PAIRS * _G2
_TOTAL = _TWO + _GT
CURVE_ROOM = _TOTAL + _GT

#: The low half of a register that a C function returns an int in.
_INT = 0xFFFFFFFF


@kernel(bare=True)
def _coordinate(c, place, data):
    """Read 32 bytes as a coordinate: whether they are below p."""
    context = _context(c)
    word = context.curve + _WORD
    word_from_bytes(word, data)
    return call_native_4(context.fp_read, place, word, _SIZE, 0) == _SIZE


@kernel(bare=True)
def _small(c, place, value):
    """A small number, as mcl has it."""
    context = _context(c)
    word = context.curve + _WORD
    word_set(word, value)
    call_native_4(context.fp_read, place, word, _SIZE, 0)


@kernel(bare=True)
def _nothing(c, data, words):
    """Whether all words are zero: infinity."""
    word, equal = _context(c).curve + _WORD, True
    for i in range(words):
        word_from_bytes(word, data + i * _SIZE)
        equal = equal and word_fits(word) and load(word) == 0
    return equal


@kernel(bare=True)
def _point(c, place, data):
    """Read x and y of a point of G1: whether there is such a point."""
    fill(place, 0, _G1)
    if _nothing(c, data, 2):
        return True
    if not (_coordinate(c, place, data) and _coordinate(c, place + _SIZE, data + _SIZE)):
        return False
    _small(c, place + 2 * _SIZE, 1)
    # all points of this curve are of the right order, which isValid of mcl would prove anew, in 80 us
    context, x, y = _context(c), place, place + _SIZE
    right, left = context.curve + _RIGHT, context.curve + _LEFT
    call_native_4(context.fp_multiply, right, x, x, 0)
    call_native_4(context.fp_multiply, right, right, x, 0)
    _small(c, left, 3)
    call_native_4(context.fp_add, right, right, left, 0)
    call_native_4(context.fp_multiply, left, y, y, 0)
    return call_native_4(context.fp_equal, left, right, 0, 0) & _INT != 0


@kernel(bare=True)
def _twisted(c, place, data):
    """Read a point of G2, whose coordinates have their imaginary parts first: whether there is one, of the right order."""
    context = _context(c)
    fill(place, 0, _G2)
    if _nothing(c, data, 4):
        return True
    for i in range(4):
        if not _coordinate(c, place + i * _SIZE, data + (i ^ 1) * _SIZE):
            return False
    _small(c, place + 4 * _SIZE, 1)
    x, y, right, left, b = place, place + 2 * _SIZE, context.curve + _RIGHT, context.curve + _LEFT, context.curve + _TWIST
    call_native_4(context.fp2_multiply, right, x, x, 0)
    call_native_4(context.fp2_multiply, right, right, x, 0)
    for i in range(2):
        call_native_4(context.fp_read, left + i * _SIZE, b + i * _SIZE, _SIZE, 0)
    call_native_4(context.fp2_add, right, right, left, 0)
    call_native_4(context.fp2_multiply, left, y, y, 0)
    equal = call_native_4(context.fp2_equal, left, right, 0, 0) & _INT
    return equal != 0 and call_native_4(context.g2_order, place, 0, 0, 0) & _INT != 0


@kernel(bare=True)
def _return_point(c, place):
    """Put x and y of a point of G1 where calls return to."""
    context = _context(c)
    word, out = context.curve + _WORD, context.returned
    fill(out, 0, 2 * _SIZE)
    context.returned_size = 2 * _SIZE
    if call_native_4(context.g1_zero, place, 0, 0, 0) & _INT != 0:
        return
    call_native_4(context.g1_normalize, place, place, 0, 0)
    for i in range(2):
        call_native_4(context.fp_write, word, _SIZE, place + i * _SIZE, 0)
        word_to_bytes(out + i * _SIZE, word)


@kernel(bare=True)
def _take(c, data, size, wanted):
    """Copy the input, with zeros after its end."""
    place = _context(c).curve + _INPUT
    fill(place, 0, wanted)
    copy(place, data, min(size, wanted))
    return place


@kernel(bare=True)
def curve_add(c, data, size):
    """Sum of two points (EIP-196): whether they are points."""
    context = _context(c)
    place = _take(c, data, size, 4 * _SIZE)
    one, other = context.curve + _ONE, context.curve + _OTHER
    if not (_point(c, one, place) and _point(c, other, place + 2 * _SIZE)):
        return False
    call_native_4(context.g1_add, one, one, other, 0)
    _return_point(c, one)
    return True


@kernel(bare=True)
def curve_multiply(c, data, size):
    """Multiple of a point (EIP-196): whether it is one."""
    context = _context(c)
    place = _take(c, data, size, 3 * _SIZE)
    one, factor, word = context.curve + _ONE, context.curve + _OTHER, context.curve + _WORD
    if not _point(c, one, place):
        return False
    word_from_bytes(word, place + 2 * _SIZE)
    call_native_4(context.fr_read, factor, word, _SIZE, 0)
    call_native_4(context.g1_multiply, one, one, factor, 0)
    _return_point(c, one)
    return True


@kernel(bare=True)
def curve_pairing(c, data, size):
    """Whether the product of pairings is 1 (EIP-197), a word where calls return to: whether all are of their groups."""
    context = _context(c)
    if size % (6 * _SIZE) != 0:
        return False
    room = context.curve
    ones, others, value, total = room + _ONE, room + _OTHER, room + _TWO, room + _TOTAL
    n, any_value = 0, False
    for at in range(data, data + size, 6 * _SIZE):
        one, other = ones + n * _G1, others + n * _G2
        if not (_point(c, one, at) and _twisted(c, other, at + 2 * _SIZE)):
            return False
        if not (_nothing(c, at, 2) or _nothing(c, at + 2 * _SIZE, 4)):
            n += 1
        if n == _PAIRS or (n > 0 and at + 6 * _SIZE == data + size):
            call_native_4(context.miller_loop, value, ones, others, n)
            if any_value:
                call_native_4(context.gt_multiply, total, total, value, 0)
            else:
                copy(total, value, _GT)
            n, any_value = 0, True
    equal = 1
    if any_value:
        call_native_4(context.final_power, total, total, 0, 0)
        equal = int(call_native_4(context.gt_one, total, 0, 0, 0) & _INT != 0)
    word = context.curve + _WORD
    word_set(word, equal)
    word_to_bytes(context.returned, word)
    context.returned_size = _SIZE
    return True
