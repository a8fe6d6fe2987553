"""Loads, stores and 256-bit arithmetic at addresses: the only place of the EVM that touches memory.

An operand is an int64: an address, or a number where the docstring says so. A *word* is the 32 bytes at an address,
little-endian; addresses of words are multiples of 8. Nothing is checked here, except in a build with NUMBA_BOUNDSCHECK=1
and in plain Python (NUMBA_DISABLE_JIT=1): there every access must lie inside one of `regions`, and one that does not goes
to a spare page and is reported by `Regions.violation`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from ..jit import DISABLED
from .regions import REGIONS, check_function

__all__ = [
    "CHECKED", "USABLE", "atomic_add", "call_native_3", "call_native_4", "call_native_5",
    "compare_swap", "copy", "fill", "hash_word", "load", "load_acquire", "load_byte", "load_digit", "load_u64",
    "load_u64_be", "shift_right", "store", "store_byte", "store_digit", "store_release", "store_u64", "store_u64_be",
    "wide_add", "wide_multiply", "word_add", "word_and", "word_copy", "word_equal", "word_equals", "word_fits",
    "word_fits_int64",
    "word_from_bytes", "word_from_short", "word_greater", "word_greater_signed", "word_is_zero", "word_less",
    "word_less_signed", "word_multiply", "word_negate", "word_negative", "word_not", "word_or", "word_sar", "word_set",
    "word_shl", "word_shr", "word_subtract", "word_to_address", "word_to_bytes", "word_under", "word_xor", "word_zero",
]  # fmt: skip

#: Whether every access is checked.
CHECKED = bool(config.BOUNDSCHECK) or DISABLED

#: Offsets and lengths of memory that a transaction could ever pay for are below this.
USABLE = 1 << 40

_I1, _I8, _I32, _I64, _I256, _I512 = (ir.IntType(n) for n in (1, 8, 32, 64, 256, 512))
_MASK = (1 << 256) - 1


def _at(b, address, kind, size=None):
    """Pointer to `kind` at an address, checked in a checking build."""
    if CHECKED:
        width = ir.Constant(_I64, kind.width // 8) if size is None else size
        address = b.call(check_function(b.module), [address, width])
    return b.inttoptr(address, kind.as_pointer())


def _get(b, address, kind=_I256, align=8):
    return b.load(_at(b, address, kind), align=align)


def _put(b, address, value, align=8):
    b.store(value, _at(b, address, value.type), align=align)


def _word(value):
    return ir.Constant(_I256, value)


def _primitive(name: str, doc: str, result: types.Type, emit: Callable, twin: Callable) -> Callable:
    """An operation on int64 operands: an intrinsic that emits code, or its plain twin.

    `emit` takes the builder and the operands; without a result it returns None. `twin` takes Python integers.
    """
    twin.__name__, twin.__doc__ = name, doc
    if DISABLED:
        return twin
    arity = twin.__code__.co_argcount
    signature = result(*[types.int64] * arity)

    def codegen(context, builder, signature, args):
        out = emit(builder, *args)
        return context.get_dummy_value() if out is None else out

    names = [f"x{i}" for i in range(arity)]
    scope: dict = {"signature": signature, "codegen": codegen}
    exec(f"def {name}(typingctx, {', '.join(names)}):\n    return signature, codegen", scope)
    function = scope[name]
    function.__doc__, function.__module__ = doc, __name__
    return intrinsic(function)


# Plain twins work on the same memory, byte by byte, checked.


def _read(address: int, size: int) -> int:
    return int.from_bytes(ctypes.string_at(REGIONS.checked(int(address), size), size), "little")


def _write(address: int, value: int, size: int) -> None:
    data = (int(value) % (1 << 8 * size)).to_bytes(size, "little")
    ctypes.memmove(REGIONS.checked(int(address), size), data, size)


def _signed(value: int, bits: int = 64) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _reader(kind, size, doc, name, result=types.int64, align=8, swap=False, extend=True):
    def emit(b, p):
        value = _get(b, p, kind, align)
        if swap:
            value = b.bswap(value)
        return b.zext(value, _I64) if kind.width < 64 else value

    def twin(p):
        value = _read(p, size)
        if swap:
            value = int.from_bytes(value.to_bytes(size, "little"), "big")
        return np.uint64(value) if result is types.uint64 else np.int64(_signed(value) if size == 8 else value)

    return _primitive(name, doc, result, emit, twin)


load = _reader(_I64, 8, "The int64 at p.", "load")
load_u64 = _reader(_I64, 8, "The uint64 at p.", "load_u64", types.uint64)
load_u64_be = _reader(_I64, 8, "Eight bytes at any p, big-endian, as int64.", "load_u64_be", align=1, swap=True)
load_byte = _reader(_I8, 1, "The byte at p.", "load_byte", align=1)
load_digit = _reader(_I32, 4, "The 32 bits at p, unsigned, as int64.", "load_digit", align=4)


def _writer(kind, size, doc, name, align=8, swap=False, unsigned=False):
    def emit(b, p, v):
        value = b.trunc(v, kind) if kind.width < 64 else v
        _put(b, p, b.bswap(value) if swap else value, align)

    def twin(p, v):
        value = int(v) % (1 << 8 * size)
        _write(p, int.from_bytes(value.to_bytes(size, "little"), "big") if swap else value, size)

    if unsigned and not DISABLED:

        @intrinsic
        def store_unsigned(typingctx, p, v):
            def codegen(context, builder, signature, args):
                emit(builder, *args)
                return context.get_dummy_value()

            return types.void(types.int64, types.uint64), codegen

        return store_unsigned
    return _primitive(name, doc, types.void, emit, twin)


store = _writer(_I64, 8, "Write int64 v at p.", "store")
store_u64 = _writer(_I64, 8, "Write uint64 v at p.", "store_u64", unsigned=True)
store_u64_be = _writer(_I64, 8, "Write int64 v as eight big-endian bytes at any p.", "store_u64_be", align=1, swap=True)
store_byte = _writer(_I8, 1, "Write the low byte of v at p.", "store_byte", align=1)
store_digit = _writer(_I32, 4, "Write the low 32 bits of v at p.", "store_digit", align=4)

shift_right = _primitive(
    "shift_right", "v >> n without sign, n in [0, 63].", types.int64,
    lambda b, v, n: b.lshr(v, n), lambda v, n: np.int64(_signed((int(v) % (1 << 64)) >> int(n))),
)  # fmt: skip


def _move(name, doc, from_byte):
    def emit(b, d, s, n):
        pointer = _I8.as_pointer()
        if CHECKED:
            ok = check_function(b.module)
            target = b.call(ok, [d, n])
            good = b.icmp_signed("==", target, d)
            if not from_byte:
                source = b.call(ok, [s, n])
                good = b.and_(good, b.icmp_signed("==", source, s))
            n = b.select(good, n, ir.Constant(_I64, 0))
        no = ir.Constant(_I1, 0)
        if from_byte:
            function = b.module.declare_intrinsic("llvm.memset", [pointer, _I64])
            b.call(function, [b.inttoptr(d, pointer), b.trunc(s, _I8), n, no])
        else:
            function = b.module.declare_intrinsic("llvm.memmove", [pointer, pointer, _I64])
            b.call(function, [b.inttoptr(d, pointer), b.inttoptr(s, pointer), n, no])

    def twin(d, s, n):
        d, s, n = int(d), int(s), int(n)
        if REGIONS.checked(d, n) != d or (not from_byte and REGIONS.checked(s, n) != s):
            return
        if from_byte:
            ctypes.memset(d, s, n)
        else:
            ctypes.memmove(d, s, n)

    return _primitive(name, doc, types.void, emit, twin)


copy = _move("copy", "Copy n bytes from s to d; they may overlap.", False)
fill = _move("fill", "Write n times the byte s from d on.", True)


# Words.


def _binary(name, doc, emit, twin):
    """dst := a op b."""
    return _primitive(
        name, doc, types.void,
        lambda b, d, p, q: _put(b, d, emit(b, _get(b, p), _get(b, q))),
        lambda d, p, q: _write(d, twin(_read(p, 32), _read(q, 32)), 32),
    )  # fmt: skip


def _flag(test):
    return lambda b, x, y: b.zext(test(b, x, y), _I256)


def _shift(inside, outside):
    """Shifts take the count first; a count above 255 has its own result."""

    def emit(b, s, v):
        big = b.icmp_unsigned(">", s, _word(255))
        return b.select(big, outside(b, v), inside(b, v, b.and_(s, _word(255))))

    return emit


word_add = _binary("word_add", "d := p + q.", lambda b, x, y: b.add(x, y), lambda x, y: x + y)
word_subtract = _binary("word_subtract", "d := p - q.", lambda b, x, y: b.sub(x, y), lambda x, y: x - y)
word_multiply = _binary("word_multiply", "d := p * q.", lambda b, x, y: b.mul(x, y), lambda x, y: x * y)
word_and = _binary("word_and", "d := p & q.", lambda b, x, y: b.and_(x, y), lambda x, y: x & y)
word_or = _binary("word_or", "d := p | q.", lambda b, x, y: b.or_(x, y), lambda x, y: x | y)
word_xor = _binary("word_xor", "d := p ^ q.", lambda b, x, y: b.xor(x, y), lambda x, y: x ^ y)
word_less = _binary(
    "word_less", "d := p < q, unsigned.", _flag(lambda b, x, y: b.icmp_unsigned("<", x, y)), lambda x, y: int(x < y)
)
word_greater = _binary(
    "word_greater", "d := p > q, unsigned.", _flag(lambda b, x, y: b.icmp_unsigned(">", x, y)), lambda x, y: int(x > y)
)
word_less_signed = _binary(
    "word_less_signed", "d := p < q, signed.", _flag(lambda b, x, y: b.icmp_signed("<", x, y)),
    lambda x, y: int(_signed(x, 256) < _signed(y, 256)),
)  # fmt: skip
word_greater_signed = _binary(
    "word_greater_signed", "d := p > q, signed.", _flag(lambda b, x, y: b.icmp_signed(">", x, y)),
    lambda x, y: int(_signed(x, 256) > _signed(y, 256)),
)  # fmt: skip
word_equals = _binary(
    "word_equals", "d := p == q.", _flag(lambda b, x, y: b.icmp_unsigned("==", x, y)), lambda x, y: int(x == y)
)
word_shl = _binary(
    "word_shl", "d := q << p.", _shift(lambda b, v, s: b.shl(v, s), lambda b, v: _word(0)),
    lambda s, v: v << s if s < 256 else 0,
)  # fmt: skip
word_shr = _binary(
    "word_shr", "d := q >> p, unsigned.", _shift(lambda b, v, s: b.lshr(v, s), lambda b, v: _word(0)),
    lambda s, v: v >> s if s < 256 else 0,
)  # fmt: skip
word_sar = _binary(
    "word_sar", "d := q >> p, signed.", _shift(lambda b, v, s: b.ashr(v, s), lambda b, v: b.ashr(v, _word(255))),
    lambda s, v: _signed(v, 256) >> min(s, 255),
)  # fmt: skip


def _wide(name, doc, emit, twin):
    def code(b, d, p, q):
        x, y = b.zext(_get(b, p), _I512), b.zext(_get(b, q), _I512)
        _put(b, d, emit(b, x, y))

    return _primitive(
        name, doc, types.void, code, lambda d, p, q: _write(d, twin(_read(p, 32), _read(q, 32)), 64)
    )  # fmt: skip


wide_add = _wide("wide_add", "The 64 bytes at d := p + q.", lambda b, x, y: b.add(x, y), lambda x, y: x + y)
wide_multiply = _wide("wide_multiply", "The 64 bytes at d := p * q.", lambda b, x, y: b.mul(x, y), lambda x, y: x * y)


def _unary(name, doc, emit, twin):
    """dst := op a."""
    return _primitive(
        name, doc, types.void,
        lambda b, d, p: _put(b, d, emit(b, _get(b, p))), lambda d, p: _write(d, twin(_read(p, 32)), 32),
    )  # fmt: skip


word_copy = _unary("word_copy", "d := p.", lambda b, x: x, lambda x: x)
word_not = _unary("word_not", "d := ~p.", lambda b, x: b.not_(x), lambda x: ~x)
word_negate = _unary("word_negate", "d := -p.", lambda b, x: b.neg(x), lambda x: -x)
word_is_zero = _unary(
    "word_is_zero", "d := p == 0.", lambda b, x: b.zext(b.icmp_unsigned("==", x, _word(0)), _I256), lambda x: int(x == 0)
)
word_to_address = _unary(
    "word_to_address", "d := the low 160 bits of p.", lambda b, x: b.and_(x, _word((1 << 160) - 1)),
    lambda x: x & ((1 << 160) - 1),
)  # fmt: skip


def _test(name, doc, emit, twin):
    return _primitive(
        name, doc, types.boolean, lambda b, p: emit(b, _get(b, p)), lambda p: twin(_read(p, 32))
    )  # fmt: skip


word_zero = _test("word_zero", "Whether p is 0.", lambda b, x: b.icmp_unsigned("==", x, _word(0)), lambda x: x == 0)
word_negative = _test(
    "word_negative", "Whether p is negative, as a signed number.", lambda b, x: b.icmp_signed("<", x, _word(0)),
    lambda x: x >> 255 == 1,
)  # fmt: skip
word_fits = _test(
    "word_fits", "Whether p is below USABLE, so that `load` gives it whole.",
    lambda b, x: b.icmp_unsigned("<", x, _word(USABLE)), lambda x: x < USABLE,
)  # fmt: skip
word_fits_int64 = _test(
    "word_fits_int64", "Whether p is below 2**63, so that `load` gives it whole.",
    lambda b, x: b.icmp_unsigned("<", x, _word(1 << 63)), lambda x: x < 1 << 63,
)  # fmt: skip
word_equal = _primitive(
    "word_equal", "Whether p and q are the same.", types.boolean,
    lambda b, p, q: b.icmp_unsigned("==", _get(b, p), _get(b, q)), lambda p, q: _read(p, 32) == _read(q, 32),
)  # fmt: skip
word_under = _primitive(
    "word_under", "Whether p < q, unsigned.", types.boolean,
    lambda b, p, q: b.icmp_unsigned("<", _get(b, p), _get(b, q)), lambda p, q: _read(p, 32) < _read(q, 32),
)  # fmt: skip
word_set = _primitive(
    "word_set", "d := the number v >= 0.", types.void,
    lambda b, d, v: _put(b, d, b.zext(v, _I256)), lambda d, v: _write(d, int(v) % (1 << 64), 32),
)  # fmt: skip
word_from_bytes = _primitive(
    "word_from_bytes", "d := 32 big-endian bytes at any s.", types.void,
    lambda b, d, s: _put(b, d, b.bswap(_get(b, s, _I256, 1))),
    lambda d, s: _write(d, int.from_bytes(_read(s, 32).to_bytes(32, "little"), "big"), 32),
)  # fmt: skip
word_to_bytes = _primitive(
    "word_to_bytes", "32 big-endian bytes at any d := the word s.", types.void,
    lambda b, d, s: _put(b, d, b.bswap(_get(b, s)), 1),
    lambda d, s: _write(d, int.from_bytes(_read(s, 32).to_bytes(32, "little"), "big"), 32),
)  # fmt: skip


def _emit_short(b, d, s, n):
    value = b.bswap(_get(b, s, _I256, 1))
    room = b.sub(_word(256), b.zext(b.shl(n, ir.Constant(_I64, 3)), _I256))
    _put(b, d, b.lshr(value, room))


word_from_short = _primitive(
    "word_from_short", "d := n big-endian bytes at any s, n in [1, 32]; 32 bytes are read.", types.void, _emit_short,
    lambda d, s, n: _write(d, int.from_bytes(_read(s, 32).to_bytes(32, "little")[: int(n)], "big"), 32),
)  # fmt: skip


def _emit_hash(b, p, salt):
    factor = ir.Constant(_I64, 0x9E3779B97F4A7C15)
    mixed = salt
    for i in range(4):
        limb = _get(b, b.add(p, ir.Constant(_I64, 8 * i)), _I64)
        mixed = b.mul(b.xor(mixed, limb), factor)
        mixed = b.xor(mixed, b.lshr(mixed, ir.Constant(_I64, 32)))
    return mixed


def _twin_hash(p, salt):
    mixed, word = int(salt) % (1 << 64), _read(p, 32)
    for i in range(4):
        mixed = (mixed ^ (word >> 64 * i)) % (1 << 64) * 0x9E3779B97F4A7C15 % (1 << 64)
        mixed ^= mixed >> 32
    return np.int64(_signed(mixed))


hash_word = _primitive("hash_word", "64 bits mixed from the word p and the number salt.", types.int64, _emit_hash, _twin_hash)


# Shared memory.


def _twin_add(p, v):
    old = _signed(_read(p, 8))
    _write(p, old + int(v), 8)
    return np.int64(old)


def _twin_swap(p, expected, new):
    if _signed(_read(p, 8)) != int(expected):
        return False
    _write(p, new, 8)
    return True


atomic_add = _primitive(
    "atomic_add", "Add the number v to the int64 at p; the old value.", types.int64,
    lambda b, p, v: b.atomic_rmw("add", _at(b, p, _I64), v, "seq_cst"), _twin_add,
)  # fmt: skip
load_acquire = _primitive(
    "load_acquire", "The int64 at p; what was written before its `store_release` is seen from here on.", types.int64,
    lambda b, p: b.load_atomic(_at(b, p, _I64), "acquire", 8), lambda p: np.int64(_signed(_read(p, 8))),
)  # fmt: skip
store_release = _primitive(
    "store_release", "Write the int64 v at p, after everything before.", types.void,
    lambda b, p, v: b.store_atomic(v, _at(b, p, _I64), "release", 8) and None, lambda p, v: _write(p, v, 8),
)  # fmt: skip
compare_swap = _primitive(
    "compare_swap", "Write int64 `new` at p if `expected` is there; whether it was.", types.boolean,
    lambda b, p, expected, new: b.extract_value(b.cmpxchg(_at(b, p, _I64), expected, new, "seq_cst", "seq_cst"), 1),
    _twin_swap,
)  # fmt: skip


def _native(arity):
    kind = ir.FunctionType(_I64, [_I64] * arity)
    foreign = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * arity)

    def emit(b, f, *args):
        return b.call(b.inttoptr(f, kind.as_pointer()), list(args))

    scope: dict = {"foreign": foreign, "np": np}
    names = ", ".join(f"x{i}" for i in range(arity))
    exec(f"def twin(f, {names}):\n    return np.int64(foreign(int(f))({names}))", scope)
    doc = f"Call the C function at address f with {arity} int64; its int64."
    return _primitive(f"call_native_{arity}", doc, types.int64, emit, scope["twin"])


call_native_3, call_native_4, call_native_5 = (_native(n) for n in (3, 4, 5))
