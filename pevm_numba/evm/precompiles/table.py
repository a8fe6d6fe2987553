"""Which precompiles a fork has, and their gas: a row holds from its fork on, until a later row for the same address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

from ...errors import ExecutionError
from ..forks import Fork
from . import blake2, bls12, bn128, digests, kzg, modexp, signatures

__all__ = ["Precompile", "call", "precompiles"]


@dataclass(frozen=True, slots=True)
class Precompile:
    """A contract that the client itself provides.

    Attributes
    ----------
    address : int
        Where it is called.
    name : str
        As EIP-7910 spells it.
    gas : callable
        Gas for these input bytes; reads lengths and at most one word, and never does the work itself.
    run : callable
        Output for these input bytes, or None where the call fails and takes all gas it was given.
    """

    address: int
    name: str
    gas: Callable[[bytes], int]
    run: Callable[[bytes], bytes | None]


def _flat(amount: int) -> Callable[[bytes], int]:
    """Gas that does not depend on the input."""
    return lambda data: amount


def _by_word(base: int, word: int) -> Callable[[bytes], int]:
    """Gas of `base` and `word` for each begun 32 bytes."""
    return lambda data: base + word * ((len(data) + 31) // 32)


def _by_unit(base: int, unit: int, size: int) -> Callable[[bytes], int]:
    """Gas of `base` and `unit` for each complete `size` bytes."""
    return lambda data: base + unit * (len(data) // size)


_ROWS: Final[tuple[tuple[Fork, Precompile], ...]] = (
    (Fork.FRONTIER, Precompile(0x01, "ECREC", _flat(3000), signatures.ecrecover)),
    (Fork.FRONTIER, Precompile(0x02, "SHA256", _by_word(60, 12), digests.sha256)),
    (Fork.FRONTIER, Precompile(0x03, "RIPEMD160", _by_word(600, 120), digests.ripemd160)),
    (Fork.FRONTIER, Precompile(0x04, "ID", _by_word(15, 3), digests.identity)),
    (Fork.BYZANTIUM, Precompile(0x05, "MODEXP", modexp.gas_byzantium, modexp.power)),
    (Fork.BYZANTIUM, Precompile(0x06, "BN254_ADD", _flat(500), bn128.add)),
    (Fork.BYZANTIUM, Precompile(0x07, "BN254_MUL", _flat(40_000), bn128.multiply)),
    (Fork.BYZANTIUM, Precompile(0x08, "BN254_PAIRING", _by_unit(100_000, 80_000, 192), bn128.pairing)),
    (Fork.ISTANBUL, Precompile(0x06, "BN254_ADD", _flat(150), bn128.add)),
    (Fork.ISTANBUL, Precompile(0x07, "BN254_MUL", _flat(6000), bn128.multiply)),
    (Fork.ISTANBUL, Precompile(0x08, "BN254_PAIRING", _by_unit(45_000, 34_000, 192), bn128.pairing)),
    (Fork.ISTANBUL, Precompile(0x09, "BLAKE2F", blake2.gas, blake2.compress)),
    (Fork.BERLIN, Precompile(0x05, "MODEXP", modexp.gas_berlin, modexp.power)),
    (Fork.CANCUN, Precompile(0x0A, "KZG_POINT_EVALUATION", _flat(50_000), kzg.evaluate)),
    (Fork.PRAGUE, Precompile(0x0B, "BLS12_G1ADD", _flat(375), bls12.g1_add)),
    (Fork.PRAGUE, Precompile(0x0C, "BLS12_G1MSM", bls12.g1_msm_gas, bls12.g1_msm)),
    (Fork.PRAGUE, Precompile(0x0D, "BLS12_G2ADD", _flat(600), bls12.g2_add)),
    (Fork.PRAGUE, Precompile(0x0E, "BLS12_G2MSM", bls12.g2_msm_gas, bls12.g2_msm)),
    (Fork.PRAGUE, Precompile(0x0F, "BLS12_PAIRING_CHECK", _by_unit(37_700, 32_600, 384), bls12.pairing)),
    (Fork.PRAGUE, Precompile(0x10, "BLS12_MAP_FP_TO_G1", _flat(5500), bls12.map_to_g1)),
    (Fork.PRAGUE, Precompile(0x11, "BLS12_MAP_FP2_TO_G2", _flat(23_800), bls12.map_to_g2)),
    (Fork.OSAKA, Precompile(0x05, "MODEXP", modexp.gas_osaka, modexp.power_osaka)),
    (Fork.OSAKA, Precompile(0x100, "P256VERIFY", _flat(6900), signatures.p256_verify)),
)


@cache
def _active(fork: Fork) -> dict[int, Precompile]:
    """Precompiles by address, shared by all who ask."""
    return {entry.address: entry for since, entry in _ROWS if since <= fork}


def precompiles(fork: Fork) -> dict[int, Precompile]:
    """Precompiles of a fork, by address.

    Parameters
    ----------
    fork : Fork
        Whose rules hold.

    Returns
    -------
    dict
        From address to `Precompile`, in a dictionary of the caller's own.

    References
    ----------
    Ethereum Yellow Paper, appendix E; EIP-196, 197, 198, 152, 1108, 2565, 4844, 2537, 7823, 7883, 7951; names: EIP-7910.

    Examples
    --------
    >>> [hex(address) for address in precompiles(Fork.BYZANTIUM)]
    ['0x1', '0x2', '0x3', '0x4', '0x5', '0x6', '0x7', '0x8']
    >>> precompiles(Fork.FRONTIER)[2].gas(bytes(33))
    84
    >>> len(precompiles(Fork.CANCUN)), len(precompiles(Fork.PRAGUE)), precompiles(Fork.OSAKA)[0x100].name
    (10, 17, 'P256VERIFY')
    """
    return dict(_active(fork))


def call(fork: Fork, address: int, data: bytes, gas: int) -> tuple[bool, int, bytes]:
    """Call a precompile with so much gas.

    Parameters
    ----------
    fork : Fork
        Whose rules hold.
    address : int
        Of the precompile.
    data : bytes
        Its input.
    gas : int
        All that it may use; the work begins only after its price is known to be covered.

    Returns
    -------
    tuple
        (success, gas used, output); a failure is (False, gas, b"").

    Raises
    ------
    ExecutionError
        If the fork has no such precompile, or a library that it needs is not installed.

    References
    ----------
    Ethereum Yellow Paper, appendix E.

    Examples
    --------
    >>> call(Fork.FRONTIER, 4, b"same", 18), call(Fork.FRONTIER, 4, b"same", 17)
    ((True, 18, b'same'), (False, 17, b''))
    """
    entry = _active(fork).get(address)
    if entry is None:
        raise ExecutionError(f"address {address:#x} is no precompile of {fork.name}")
    price = entry.gas(data)
    output = entry.run(data) if price <= gas else None
    return (False, gas, b"") if output is None else (True, price, output)
