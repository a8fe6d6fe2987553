"""Precompiles that need no Python: ecrecover by libsecp256k1, called at its address, and the identity."""

from __future__ import annotations

from ..jit import kernel
from .hashing import keccak
from .layout import CONTEXT, FULL
from .memory import (
    call_native_4,
    call_native_5,
    copy,
    fill,
    load,
    store,
    word_fits,
    word_from_bytes,
    word_to_address,
    word_to_bytes,
)  # fmt: skip

__all__ = ["NATIVE_ROOM", "run_natively"]

_context = CONTEXT.at

#: Bytes of the buffer that native functions work in.
NATIVE_ROOM = 512
#: Places in it: input, signature and key of the library's own kinds, the key's 65 bytes and their number, a word.
_INPUT, _SIGNATURE, _KEY, _POINT, _LENGTH, _WORD = 0, 128, 200, 264, 336, 352

_RECOVER_GAS, _COPY_GAS, _COPY_WORD_GAS = 3_000, 15, 3
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
def run_natively(c, number, data, size, gas):
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
    return -2
