"""A wrong signature is no failure: both precompiles then succeed with no output, at the same price.

ecrecover takes any s below the group's order, the upper half too, which transactions may not use since Homestead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from ..hashing import keccak
from ..rlp import sized
from .curves import P256, SECP256K1, combine

__all__ = ["ecrecover", "p256_verify", "public_key", "recover_address", "recover_plainly"]


@cache
def _coincurve() -> Any:
    """Class of public keys of coincurve (libsecp256k1), or None where it is not installed."""
    try:
        from coincurve import PublicKey
    except ImportError:
        return None
    return PublicKey


def recover_plainly(message: bytes, parity: int, r: int, s: int) -> bytes | None:
    """Public key of a secp256k1 signature, in plain Python integers.

    Parameters
    ----------
    message : bytes
        Its 32-byte hash.
    parity : int
        0 or 1, of the y of the nonce's point.
    r, s : int
        The signature.

    Returns
    -------
    bytes or None
        64 bytes, x and y; None if there is no such key.

    References
    ----------
    SEC 1, section 4.1.6; Ethereum Yellow Paper, appendix F.

    Examples
    --------
    The nonce 1 has the generator as its point; with s = x and the hash 0 the key is that point again.

    >>> x, y = SECP256K1.generator
    >>> recover_plainly(bytes(32), y % 2, x, x) == x.to_bytes(32, "big") + y.to_bytes(32, "big")
    True
    >>> recover_plainly(bytes(32), 0, 0, 1) is None
    True
    """
    order = SECP256K1.order
    if not (0 < r < order and 0 < s < order):
        return None
    nonce = SECP256K1.lift(r, parity)
    if nonce is None:
        return None
    inverse = pow(r, -1, order)
    key = combine(SECP256K1, [(-int.from_bytes(message, "big") * inverse, SECP256K1.generator), (s * inverse, nonce)])
    return None if key is None else key[0].to_bytes(32, "big") + key[1].to_bytes(32, "big")


def _recover(message: bytes, parity: int, signature: bytes) -> bytes | None:
    """Public key (64 bytes) of a signature (r and s, 64 bytes), by libsecp256k1 if it is there."""
    keys = _coincurve()
    if keys is None:
        return recover_plainly(message, parity, int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    try:
        key = keys.from_signature_and_message(signature + bytes([parity]), message, hasher=None)
    except ValueError:
        return None
    point: bytes = key.format(compressed=False)
    return point[1:]


def public_key(digest: bytes, y_parity: int, r: int, s: int) -> bytes | None:
    """Key, 64 bytes, that signed `digest` (32 bytes), with s of either half; None if no key can have.

    By libsecp256k1 (some 50 microseconds) if coincurve is installed, else with Python's integers (2 milliseconds).

    Raises
    ------
    BlockError
        If `digest` is not 32 bytes.

    References
    ----------
    Yellow Paper, appendix F; SEC 1, section 4.1.6.

    Examples
    --------
    >>> public_key(bytes(32), 0, 1, 1)[:32] == (1).to_bytes(32, "big")  # of digest 0 with s = r it is the point of r itself
    True
    """
    sized("digest", digest, 32)
    possible = y_parity in (0, 1) and 0 < r < SECP256K1.order and 0 < s < SECP256K1.order
    return _recover(digest, y_parity, r.to_bytes(32, "big") + s.to_bytes(32, "big")) if possible else None


def recover_address(digest: bytes, y_parity: int, r: int, s: int) -> bytes | None:
    """Address whose key signed `digest` (32 bytes), with s of either half; None if no key can have.

    Raises
    ------
    BlockError
        If `digest` is not 32 bytes.

    References
    ----------
    Yellow Paper, appendix F.

    Examples
    --------
    >>> recover_address(bytes(32), 0, 5, 1) is None  # no point of the curve has x = 5
    True
    """
    key = public_key(digest, y_parity, r, s)
    return None if key is None else keccak(key)[12:]


def ecrecover(data: bytes) -> bytes:
    """Address that signed a hash: input hash, v (27 or 28), r, s, each 32 bytes; short input is filled with zeros.

    Parameters
    ----------
    data : bytes
        Bytes after the first 128 are not looked at.

    Returns
    -------
    bytes
        The address in 32 bytes, or nothing if there is none.

    References
    ----------
    Ethereum Yellow Paper, appendix E.1.

    Examples
    --------
    >>> ecrecover(bytes(128))
    b''
    >>> x, y = SECP256K1.generator
    >>> ecrecover(bytes(31 + 32) + bytes([27 + y % 2]) + 2 * x.to_bytes(32, "big")).hex()
    '0000000000000000000000007e5f4552091a69125d5dfcb7b8c2659029395bdf'
    """
    data = data[:128].ljust(128, b"\0")
    v = int.from_bytes(data[32:64], "big")
    key = _recover(data[:32], v - 27, data[64:]) if v in (27, 28) else None
    return b"" if key is None else bytes(12) + keccak(key)[12:]


@cache
def _p256_library() -> Callable[[bytes, int, int, int, int], bool] | None:
    """Verification by the package cryptography, a hundred times as fast as ours; None if it is not installed."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec, utils
        from cryptography.hazmat.primitives.hashes import SHA256
    except ImportError:
        return None
    curve, by_digest = ec.SECP256R1(), ec.ECDSA(utils.Prehashed(SHA256()))

    def verify(digest: bytes, r: int, s: int, x: int, y: int) -> bool:
        key = ec.EllipticCurvePublicNumbers(x, y, curve).public_key()
        try:
            key.verify(utils.encode_dss_signature(r, s), digest, by_digest)
        except InvalidSignature:
            return False
        return True

    return verify


def p256_verify(data: bytes) -> bytes:
    """Whether a secp256r1 signature fits: input hash, r, s, and the key's x and y, each 32 bytes, 160 in all and no others.

    Parameters
    ----------
    data : bytes
        Of any other length there is no signature in it.

    Returns
    -------
    bytes
        1 in 32 bytes, or nothing.

    References
    ----------
    EIP-7951; FIPS 186-5, section 6.4.2.

    Examples
    --------
    >>> x, y = P256.generator
    >>> p256_verify(bytes(32) + x.to_bytes(32, "big") * 3 + y.to_bytes(32, "big")).hex()[-2:]
    '01'
    >>> p256_verify(bytes(160)), p256_verify(b"")
    (b'', b'')
    """
    if len(data) != 160:
        return b""
    message, r, s, x, y = (int.from_bytes(data[at : at + 32], "big") for at in range(0, 160, 32))
    order = P256.order
    if not (0 < r < order and 0 < s < order and P256.contains(x, y)):
        return b""
    found = _p256_library()
    if found is not None:
        return (1).to_bytes(32, "big") if found(data[:32], r, s, x, y) else b""
    inverse = pow(s, -1, order)
    nonce = combine(P256, [(message * inverse, P256.generator), (r * inverse, (x, y))])
    return (1).to_bytes(32, "big") if nonce is not None and nonce[0] % order == r else b""
