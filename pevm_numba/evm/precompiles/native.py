"""An address does not keep its library loaded: what is found here stays, and its context too, to the end of the process."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from . import bn128_mcl

__all__ = ["natives"]

_SECP256K1: Final = (
    "secp256k1_ecdsa_recoverable_signature_parse_compact",
    "secp256k1_ecdsa_recover",
    "secp256k1_ec_pubkey_serialize",
)
#: One-shot digests of OpenSSL: ``unsigned char *F(data, size_t size, out)``.
_DIGESTS: Final = ("SHA256", "RIPEMD160")
#: SECP256K1_CONTEXT_NONE.
_NO_FLAGS: Final = 1


def _coincurve_extension() -> Path | None:
    """File of the extension module with libsecp256k1 in it, found without importing it."""
    spec = find_spec("coincurve")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for suffix in EXTENSION_SUFFIXES:
            file = Path(folder) / f"_libsecp256k1{suffix}"
            if file.is_file():
                return file
    return None


def _address(library: ctypes.CDLL | None, name: str) -> int:
    """Where a function begins, 0 if there is none."""
    if library is None or not hasattr(library, name):
        return 0
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


@cache
def _secp256k1() -> tuple[ctypes.CDLL | None, int]:
    """The library and a context of its own, or None and 0."""
    file = _coincurve_extension()
    if file is None:
        return None, 0
    try:
        library = ctypes.CDLL(str(file))
        create = library.secp256k1_context_create
    except (OSError, AttributeError):
        return None, 0
    create.restype, create.argtypes = ctypes.c_void_p, [ctypes.c_uint]
    return library, create(_NO_FLAGS) or 0


@cache
def _openssl() -> ctypes.CDLL | None:
    """The library that Python's own hashes come from, if they do; its module finds what it was linked with."""
    spec = find_spec("_hashlib")
    try:
        return None if spec is None or spec.origin is None else ctypes.CDLL(spec.origin)
    except OSError:
        return None


@cache
def _found() -> dict[str, int]:
    """All addresses, shared by all who ask."""
    library, context = _secp256k1()
    found = {"secp256k1_context": context}
    found.update((name, _address(library, name)) for name in _SECP256K1)
    found.update((name, _address(_openssl(), name)) for name in _DIGESTS)
    mcl = bn128_mcl.library()
    found.update((name, _address(mcl, name)) for name in bn128_mcl.FUNCTIONS)
    return found


def natives() -> dict[str, int]:
    """C functions, by name, that any thread may call without the interpreter's lock.

    All but the creation of the context only read what they share. libsecp256k1 ends the process on a null pointer, or on a
    recovery id that is not 0, 1, 2 or 3: check before calling. mcl (see `bn128_mcl`) reads no number that it did not write
    itself: `mclBnFp_deserialize` takes 32 bytes little-endian and returns 0 for p or more.

    Returns
    -------
    dict
        Addresses; 0 where a library is missing. The digests are OpenSSL's: ``unsigned char *F(data, size, out)``.
        ``secp256k1_context`` is no function but the first argument of the three others of that library:
        ``int parse_compact(ctx, sig65, in64, recid)``, ``int recover(ctx, pubkey64, sig65, hash32)``,
        ``int serialize(ctx, out, size_t *length, pubkey64, flags)`` with flags 2 for 65 bytes; each returns 1 on success.
        A signature there is 65 bytes and a key 64, of libsecp256k1's own kind.

    References
    ----------
    bitcoin-core/secp256k1, include/secp256k1_recovery.h; herumi/mcl, include/mcl/bn.h.

    Examples
    --------
    >>> sorted(natives())[-2:]
    ['secp256k1_ecdsa_recover', 'secp256k1_ecdsa_recoverable_signature_parse_compact']
    """
    return dict(_found())
