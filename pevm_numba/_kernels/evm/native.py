"""Precompiles that need no Python: libraries are called at their addresses, and the identity is a copy.

Where a library was not found, its first address is 0, and the host is asked, as it is for all others.
"""

from __future__ import annotations

from ...evm.forks import Fork
from ..jit import DISABLED, kernel
from .blake2 import BLAKE2_SIZE, blake2, last_flag
from .curve import curve_add, curve_multiply, curve_pairing
from .hashing import keccak
from .layout import ASKS_PRECOMPILE, CONTEXT, FULL, HOST_DONE, HOST_FAILED
from .memory import (
    call_native_3,
    call_native_4,
    call_native_5,
    copy,
    fill,
    load,
    load_byte,
    store,
    word_fits,
    word_from_bytes,
    word_to_address,
    word_to_bytes,
)  # fmt: skip
from .modular import modular_power

__all__ = ["NATIVE_ROOM", "run_precompile"]

_context = CONTEXT.at

#: Bytes of the buffer that native functions work in.
NATIVE_ROOM = 512
#: Places in it: input, signature and key of the library's own kinds, the key's 65 bytes and their number, a word.
_INPUT, _SIGNATURE, _KEY, _POINT, _LENGTH, _WORD = 0, 128, 200, 264, 336, 352

_RECOVER_GAS, _COPY_GAS, _COPY_WORD_GAS = 3_000, 15, 3
_SHA_GAS, _SHA_WORD_GAS, _RIPEMD_GAS, _RIPEMD_WORD_GAS = 60, 12, 600, 120
#: Of addition, multiplication, and of a pairing and each pair in it (EIP-196, 197), and from Istanbul on (EIP-1108).
_ADD_GAS, _MULTIPLY_GAS, _PAIRING_GAS, _PAIR_GAS = 500, 40_000, 100_000, 80_000
_ADD_GAS_1108, _MULTIPLY_GAS_1108, _PAIRING_GAS_1108, _PAIR_GAS_1108 = 150, 6_000, 45_000, 34_000
_ISTANBUL = int(Fork.ISTANBUL)
#: SECP256K1_EC_UNCOMPRESSED, and the low half of a register that a C function returns an int in.
_UNCOMPRESSED, _INT = 2, 0xFFFFFFFF


@kernel(bare=True)
def _recover(c, data, size):
    """Put the signer's address where calls return to, if there is one."""
    context = _context(c)
    room = context.native
    fill(room, 0, 128)
    copy(room, data, min(size, 128))
    word = room + _WORD
    word_from_bytes(word, room + 32)
    if not word_fits(word) or not 27 <= load(word) <= 28:
        return
    library, signature, key = context.secp256k1, room + _SIGNATURE, room + _KEY
    parity = load(word) - 27
    if call_native_4(context.parse_signature, library, signature, room + 64, parity) & _INT == 0:
        return
    if call_native_4(context.recover_key, library, key, signature, room) & _INT == 0:
        return
    store(room + _LENGTH, 65)
    call_native_5(context.write_key, library, room + _POINT, room + _LENGTH, key, _UNCOMPRESSED)
    keccak(word, room + _POINT + 1, 64, context.sponge)
    word_to_address(word, word)
    word_to_bytes(context.returned, word)
    context.returned_size = 32


@kernel(bare=True)
def _digest(c, number, data, size, gas):
    """SHA-256 or RIPEMD-160, the latter behind twelve zeros: the gas left."""
    context, words = _context(c), (size + 31) >> 5
    left = gas - (_SHA_GAS + _SHA_WORD_GAS * words if number == 2 else _RIPEMD_GAS + _RIPEMD_WORD_GAS * words)
    if left < 0:
        return -1
    fill(context.returned, 0, 32)
    if number == 2:
        done = call_native_3(context.sha256, data, size, context.returned)
    else:
        done = call_native_3(context.ripemd160, data, size, context.returned + 12)
    if done == 0:  # a null pointer: the library could not, so let the host try
        return -2
    context.returned_size = 32
    return left


@kernel(bare=True)
def _blake2(c, data, size, gas):
    """One for each round: the gas left, none of which a call with bad input leaves."""
    if size != BLAKE2_SIZE:
        return -1
    rounds = 0
    for i in range(4):
        rounds = 256 * rounds + load_byte(data + i)
    last = last_flag(data)
    if rounds > gas or last < 0:
        return -1
    blake2(c, data, rounds, last)
    return gas - rounds


@kernel(bare=True)
def _on_curve(c, number, data, size, gas):
    """A precompile of alt_bn128: the gas left, none of which a call with bad points leaves."""
    late = _context(c).fork >= _ISTANBUL
    if number == 6:
        left = gas - (_ADD_GAS_1108 if late else _ADD_GAS)
        return left if left >= 0 and curve_add(c, data, size) else -1
    if number == 7:
        left = gas - (_MULTIPLY_GAS_1108 if late else _MULTIPLY_GAS)
        return left if left >= 0 and curve_multiply(c, data, size) else -1
    pairs = size // 192
    left = gas - (_PAIRING_GAS_1108 + _PAIR_GAS_1108 * pairs if late else _PAIRING_GAS + _PAIR_GAS * pairs)
    return left if left >= 0 and curve_pairing(c, data, size) else -1


@kernel(bare=True)
def _natively(c, number, data, size, gas):
    """Run a precompile: the gas left, below 0 if there was too little; less than -1 if it is none of these."""
    context = _context(c)
    if number == 1 and context.secp256k1 != 0:
        if gas >= _RECOVER_GAS:
            _recover(c, data, size)
        return max(gas - _RECOVER_GAS, -1)
    if number == 4:
        left = gas - _COPY_GAS - _COPY_WORD_GAS * ((size + 31) >> 5)
        if left < 0:
            return -1
        if size > context.returned_room:
            context.status = FULL
            return left
        copy(context.returned, data, size)
        context.returned_size = size
        return left
    if number == 5:
        return modular_power(c, data, size, gas)
    if (number == 2 and context.sha256 != 0) or (number == 3 and context.ripemd160 != 0):
        return _digest(c, number, data, size, gas)
    if 6 <= number <= 8 and context.fp_read != 0:
        return _on_curve(c, number, data, size, gas)
    if number == 9 and not DISABLED:  # in plain Python additions of words would not wrap around
        return _blake2(c, data, size, gas)
    return -2


@kernel(bare=True)
def run_precompile(c):
    """Run the precompile that `host_address` says: whether it succeeded and the gas used are in the context, or `asks`."""
    context = _context(c)
    left = _natively(c, context.host_address, context.host_input, context.host_size, context.host_gas)
    if left == -2:
        context.asks = ASKS_PRECOMPILE
        return
    context.host_ok = HOST_DONE if left >= 0 else HOST_FAILED
    context.host_used = context.host_gas - max(left, 0)
