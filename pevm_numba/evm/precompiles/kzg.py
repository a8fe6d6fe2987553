"""One point of the ceremony is enough to check an opening, τ G2; blobs and their 4,096 powers of τ are not needed."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any, Final

from .bls12 import backend

__all__ = ["evaluate"]

#: Order of the groups of BLS12-381, and the length of a blob in elements: the whole output.
_ORDER: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
_OUTPUT: Final = (4096).to_bytes(32, "big") + _ORDER.to_bytes(32, "big")
#: Second of the points of G2 of Ethereum's trusted setup, compressed.
_TAU_G2: Final = bytes.fromhex(
    "b5bfd7dd8cdeb128843bc287230af38926187075cbfbefa81009a2ce615ac53d2914e5870cb452d2afaaab24f3499f72"
    "185cbfee53492714734429b7b38608e23926c911cceceac9a36851477ba4c60b087041de621000edc98edada20c1def2"
)


def _commitment(data: bytes) -> Any:
    """The point of G1 in 48 compressed bytes; ValueError if it is none, or infinity in any spelling but the one allowed."""
    if data[0] & 0x40 and data != b"\xc0" + bytes(47):
        raise ValueError("infinity has no other bits")
    return backend().G1Point.from_compressed_bytes(data)


@cache
def _tau() -> Any:
    """τ G2."""
    return backend().G2Point.from_compressed_bytes(_TAU_G2)


def evaluate(data: bytes) -> bytes | None:
    """Whether a committed polynomial has the value y at z.

    Parameters
    ----------
    data : bytes
        192 bytes: versioned hash, z and y, 32 bytes each, commitment and proof, 48 bytes each.

    Returns
    -------
    bytes or None
        4096 and the order of the groups, 32 bytes each; None if anything is wrong, the proof included.

    References
    ----------
    EIP-4844; consensus-specs, deneb/polynomial-commitments.md, verify_kzg_proof_impl.

    Examples
    --------
    The polynomial 0 has the value 0 everywhere, and infinity as its commitment and as every proof.

    >>> infinity = b"\\xc0" + bytes(47)
    >>> versioned = b"\\1" + hashlib.sha256(infinity).digest()[1:]
    >>> evaluate(versioned + bytes(64) + infinity * 2).hex()[60:64]
    '1000'
    >>> evaluate(versioned + bytes(63) + b"\\1" + infinity * 2) is None
    True
    """
    if len(data) != 192 or data[:32] != b"\x01" + hashlib.sha256(data[96:144]).digest()[1:]:
        return None
    ark = backend()
    try:
        z, y = ark.Scalar.from_be_bytes(data[32:64]), ark.Scalar.from_be_bytes(data[64:96])
        commitment, proof = _commitment(data[96:144]), _commitment(data[144:])
    except ValueError:
        return None
    shifted = _tau() - ark.G2Point() * z
    rest = commitment - ark.G1Point() * y
    return _OUTPUT if ark.GT.pairing_check([rest, -proof], [ark.G2Point(), shifted]) else None
