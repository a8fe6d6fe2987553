"""Ethereum's hash is Keccak-256 with the padding of 2011, so ``hashlib.sha3_256`` gives other digests.

An address is the end of the hash of a public key, so keys are recovered from signatures here too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from .._kernels import keccak_bytes as _k
from .._kernels.jit import entry_point, inputs
from ..errors import BlockError
from .rlp import sized

__all__ = ["CURVE_ORDER", "EMPTY_HASH", "keccak", "keccak_many", "public_key", "recover_address"]

#: Hash of no bytes: the code hash of an account without code.
EMPTY_HASH: Final = bytes.fromhex("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470")


@functools.cache
def _one() -> Callable:
    """The kernel for one message, looked up once: the types of its arguments never change."""
    return entry_point(_k.hash_bytes, (*inputs(np.empty(0, np.uint8)), 0, 0, np.empty(25, np.uint64)))


@functools.cache
def _many() -> Callable:
    """The kernel for many messages, looked up once."""
    samples = inputs(np.empty(0, np.uint8), np.empty(1, np.int64))
    return entry_point(_k.hash_many, (*samples, np.empty(25, np.uint64), np.empty((0, 4), np.uint64)))


def keccak(data: bytes) -> bytes:
    """Keccak-256 digest, 32 bytes, in about a microsecond for a short message.

    Parameters
    ----------
    data : bytes

    Raises
    ------
    BlockError
        If `data` is not bytes.

    References
    ----------
    Yellow Paper, section 3 (KEC); Keccak reference 3.0, without the domain bits of FIPS 202.

    Examples
    --------
    >>> keccak(b"").hex()
    'c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470'
    """
    if not isinstance(data, bytes):
        raise BlockError(f"data = {data!r:.80}: must be bytes")
    state = np.empty(25, np.uint64)
    _one()(np.frombuffer(data, np.uint8), 0, len(data), state)
    return state.tobytes()[:32]


def keccak_many(messages: Sequence[bytes]) -> list[bytes]:
    """Keccak-256 digest of each message, in one call of a kernel.

    Parameters
    ----------
    messages : sequence of bytes

    Raises
    ------
    BlockError
        Naming the message that is not bytes.

    References
    ----------
    Yellow Paper, section 3 (KEC).

    Examples
    --------
    >>> [digest.hex()[:8] for digest in keccak_many([b"", b"abc"])]
    ['c5d24601', '4e03657a']
    """
    n = len(messages)
    try:
        joined = b"".join(messages)
        sizes = np.fromiter(map(len, messages), np.int64, n)
    except TypeError:
        i = next(i for i, message in enumerate(messages) if not isinstance(message, bytes))
        raise BlockError(f"message {i} = {messages[i]!r:.80}: must be bytes") from None
    ends = np.zeros(n + 1, np.int64)
    np.cumsum(sizes, out=ends[1:])
    digests = np.empty((n, 4), np.uint64)
    ends.flags.writeable = False
    _many()(np.frombuffer(joined, np.uint8), ends, np.empty(25, np.uint64), digests)
    raw = digests.tobytes()
    return [raw[i : i + 32] for i in range(0, 32 * n, 32)]


# -------------------------------------------------------------------- signatures, on secp256k1: y * y = x**3 + 7 modulo _P

_P: Final = 2**256 - 2**32 - 977
#: Of the point G, so that r and s of a signature lie below it.
CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_G: Final = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def _add(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    """Sum of two points in Jacobian coordinates; z = 0 is infinity."""
    if not a[2] or not b[2]:
        return a if a[2] else b
    u, w = a[0] * b[2] ** 2 % _P, a[1] * b[2] ** 3 % _P
    h, slope = (b[0] * a[2] ** 2 - u) % _P, (b[1] * a[2] ** 3 - w) % _P
    if h == 0:
        return _double(a) if slope == 0 else (0, 1, 0)
    cube, shift = h * h * h % _P, u * h * h % _P
    x = (slope * slope - cube - 2 * shift) % _P
    return x, (slope * (shift - x) - w * cube) % _P, h * a[2] * b[2] % _P


def _double(a: tuple[int, int, int]) -> tuple[int, int, int]:
    square = a[1] * a[1] % _P
    shift, slope = 4 * a[0] * square % _P, 3 * a[0] * a[0] % _P
    x = (slope * slope - 2 * shift) % _P
    return x, (slope * (shift - x) - 8 * square * square) % _P, 2 * a[1] * a[2] % _P


def _recover_plain(digest: bytes, parity: int, r: int, s: int) -> bytes | None:
    """The public key, 64 bytes, with Python's integers: some milliseconds."""
    y = pow(square := (pow(r, 3, _P) + 7) % _P, (_P + 1) // 4, _P)
    if y * y % _P != square:
        return None
    inverse = pow(r, -1, CURVE_ORDER)
    for_g, for_r = -int.from_bytes(digest, "big") * inverse % CURVE_ORDER, s * inverse % CURVE_ORDER
    base, point = (*_G, 1), (r, y if y % 2 == parity else _P - y, 1)
    sums, total = ((0, 1, 0), base, point, _add(base, point)), (0, 1, 0)
    for i in range(255, -1, -1):
        total = _add(_double(total), sums[(for_g >> i & 1) + 2 * (for_r >> i & 1)])
    if not total[2]:
        return None
    scale = pow(total[2], -1, _P)
    return b"".join((c * pow(scale, n, _P) % _P).to_bytes(32, "big") for c, n in ((total[0], 2), (total[1], 3)))


@functools.cache
def _recovery() -> Callable[[bytes, int, int, int], bytes | None]:
    """The way to recover public keys: by libsecp256k1 if coincurve is installed."""
    try:
        from coincurve import PublicKey
    except ImportError:
        return _recover_plain

    def recover(digest: bytes, parity: int, r: int, s: int) -> bytes | None:
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes((parity,))
        try:
            return PublicKey.from_signature_and_message(signature, digest, hasher=None).format(compressed=False)[1:]
        except ValueError:  # r is no x of a point, or the key would be infinity
            return None

    return recover


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
    possible = y_parity in (0, 1) and 0 < r < CURVE_ORDER and 0 < s < CURVE_ORDER
    return _recovery()(digest, y_parity, r, s) if possible else None


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
