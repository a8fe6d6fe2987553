"""Words at addresses against Python's integers, and what the checking build does with addresses outside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pevm_numba._kernels.evm import arithmetic, memory
from pevm_numba._kernels.evm.regions import REGIONS
from pevm_numba._kernels.jit import DISABLED, kernel

BITS = 256
TOP = 1 << BITS
MINUS_ONE = TOP - 1
LEAST = 1 << 255

#: Places in the arena: operands, results, scratch.
A, B, C, D, WIDE, SCRATCH = 0, 32, 64, 96, 128, 192
ARENA = np.zeros(SCRATCH + arithmetic.SCRATCH + 64, np.uint8)
BASE = ARENA.ctypes.data + -ARENA.ctypes.data % 8
REGIONS.add(BASE, SCRATCH + arithmetic.SCRATCH)

words = st.one_of(
    st.integers(0, MINUS_ONE),
    st.integers(0, 300),
    st.integers(0, 255).map(lambda n: 1 << n),
    st.integers(1, 300).map(lambda n: TOP - n),
    st.tuples(st.integers(0, 8), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)).map(
        lambda parts: ((parts[1] << 32 * parts[0]) + parts[2]) % TOP
    ),
)


def signed(x: int) -> int:
    return x - TOP if x >= LEAST else x


def toward_zero(a: int, b: int) -> int:
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def put(place: int, value: int, size: int = 32) -> None:
    offset = BASE - ARENA.ctypes.data + place
    ARENA[offset : offset + size] = np.frombuffer(value.to_bytes(size, "little"), np.uint8)


def get(place: int, size: int = 32) -> int:
    offset = BASE - ARENA.ctypes.data + place
    return int.from_bytes(ARENA[offset : offset + size].tobytes(), "little")


#: name -> the same on Python's integers, operands in the order in which the stack has them.
BINARY: dict[str, Callable[[int, int], int]] = {
    "word_add": lambda a, b: a + b,
    "word_subtract": lambda a, b: a - b,
    "word_multiply": lambda a, b: a * b,
    "word_and": lambda a, b: a & b,
    "word_or": lambda a, b: a | b,
    "word_xor": lambda a, b: a ^ b,
    "word_less": lambda a, b: int(a < b),
    "word_greater": lambda a, b: int(a > b),
    "word_less_signed": lambda a, b: int(signed(a) < signed(b)),
    "word_greater_signed": lambda a, b: int(signed(a) > signed(b)),
    "word_equals": lambda a, b: int(a == b),
    "word_shl": lambda a, b: b << a if a < 256 else 0,
    "word_shr": lambda a, b: b >> a if a < 256 else 0,
    "word_sar": lambda a, b: signed(b) >> min(a, 255),
}


def _compiled(names: list[str]) -> Callable[[int], None]:
    """A kernel that applies all binary operations: the results follow each other in the second half of `RESULTS`."""
    lines = [f"    memory.{name}(out + {32 * i}, base, base + 32)" for i, name in enumerate(names)]
    scope = {"memory": memory}
    exec("def apply(base, out):\n" + "\n".join(lines), scope)
    return kernel(bare=True)(scope["apply"]) if DISABLED else _uncached(scope["apply"])


def _uncached(function: Callable) -> Callable:
    import numba

    return numba.njit(nogil=True)(function)


RESULTS = np.zeros(32 * len(BINARY) + 8, np.uint8)
OUT = RESULTS.ctypes.data + -RESULTS.ctypes.data % 8
REGIONS.add(OUT, 32 * len(BINARY))
apply_all = _compiled(list(BINARY))


@given(words, words)
@example(256, MINUS_ONE)
@example(255, LEAST)
@example(MINUS_ONE, 0)
def test_operations_on_words_are_those_of_integers(a: int, b: int) -> None:
    put(A, a)
    put(B, b)
    apply_all(BASE, OUT)
    offset = OUT - RESULTS.ctypes.data
    for i, (name, exact) in enumerate(BINARY.items()):
        got = int.from_bytes(RESULTS[offset + 32 * i : offset + 32 * i + 32].tobytes(), "little")
        assert got == exact(a, b) % TOP, name


@given(words, words)
@example(LEAST, MINUS_ONE)
@example(1, 0)
@example((1 << 64) - 1, 1 << 63)
@example(0x80000000_00000000_00000003, 0x20000000_00000000_00000001)
def test_division_and_rest_unsigned_and_signed(a: int, b: int) -> None:
    put(A, a)
    put(B, b)
    arithmetic.divide(BASE + C, BASE + D, BASE + A, BASE + B, BASE + SCRATCH, False)
    assert (get(C), get(D)) == ((a // b, a % b) if b else (0, 0))
    arithmetic.divide_signed(BASE + C, BASE + D, BASE + A, BASE + B, BASE + SCRATCH)
    x, y = signed(a), signed(b)
    quotient = toward_zero(x, y) if y else 0
    assert (get(C), get(D)) == (quotient % TOP, (x - quotient * y) % TOP if y else 0)


@given(words, words, words)
@example(MINUS_ONE, MINUS_ONE, MINUS_ONE)
@example(MINUS_ONE, MINUS_ONE, (1 << 255) + 1)
@example(0, 0, 0)
def test_sums_and_products_of_64_bytes_are_reduced_exactly(a: int, b: int, m: int) -> None:
    for exact in (a + b, a * b):
        put(WIDE, exact, 64)
        put(B, m)
        arithmetic.divide(BASE + C, BASE + D, BASE + WIDE, BASE + B, BASE + SCRATCH, True)
        assert get(D) == (exact % m if m else 0)
        assert get(C) == (exact // m % TOP if m else 0)


@given(words, words)
@example(0, 0)
@example(3, MINUS_ONE)
def test_powers_and_the_bytes_of_an_exponent(a: int, b: int) -> None:
    put(A, a)
    put(B, b)
    arithmetic.power(BASE + C, BASE + A, BASE + B, BASE + SCRATCH)
    assert get(C) == pow(a, b, TOP)
    assert arithmetic.bytes_used(BASE + B) == (b.bit_length() + 7) // 8


@given(st.one_of(st.integers(0, 40), words), words)
def test_sign_extension(place: int, value: int) -> None:
    put(A, place)
    put(B, value)
    arithmetic.sign_extend(BASE + C, BASE + A, BASE + B)
    expected = value
    if place < 31:
        bits = 8 * (place + 1)
        low = value % (1 << bits)
        expected = (low - (1 << bits) if low >> (bits - 1) else low) % TOP
    assert get(C) == expected


@kernel(bare=True)
def _outside(p):
    memory.store(p, 7)
    memory.fill(p, 1, 64)
    return memory.load(p)


@pytest.mark.skipif(not memory.CHECKED, reason="addresses are checked with NUMBA_BOUNDSCHECK=1 or NUMBA_DISABLE_JIT=1 only")
def test_a_checking_build_notes_an_access_outside_and_touches_nothing() -> None:
    guard = np.zeros(16, np.int64)
    REGIONS.add(guard.ctypes.data + 32, 32)
    assert REGIONS.violation() == 0
    _outside(guard.ctypes.data + 64)
    assert REGIONS.violation() == guard.ctypes.data + 64
    assert not guard.any()
    _outside(guard.ctypes.data + 56)  # begins inside, ends outside
    assert REGIONS.violation() == guard.ctypes.data + 56
    assert guard.tolist().count(7) == 1  # the eight bytes fit; the 64 did not
    REGIONS.remove(guard.ctypes.data + 32)
    assert REGIONS.violation() == 0
