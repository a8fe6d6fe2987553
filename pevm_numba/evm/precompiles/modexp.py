"""Lengths are 256-bit words that the caller makes up: with a modulus of no bytes, an exponent of 2²⁵⁶ - 1 bytes is cheap."""

from __future__ import annotations

from typing import Final

from ...errors import ExecutionError

__all__ = ["gas_berlin", "gas_byzantium", "gas_osaka", "power", "power_osaka"]

#: Osaka's limit for each of the three numbers, in bytes.
_LIMIT: Final = 1024
#: Bytes of a base or modulus, and of an exponent that is not 0, beyond which there is not the memory. They would cost some
#: 10¹³ and, in the cheapest case, which is Byzantium's, 430 million gas.
_MOST: Final = 2**27
_MOST_EXPONENT: Final = 2**30


def _lengths(data: bytes) -> tuple[int, int, int]:
    """Bytes of base, exponent and modulus."""
    words = data[:96].ljust(96, b"\0")
    return int.from_bytes(words[:32], "big"), int.from_bytes(words[32:64], "big"), int.from_bytes(words[64:], "big")


def _number(data: bytes, at: int, size: int) -> int:
    """The big-endian number of `size` bytes at a place, zeros after the data's end; a 0 takes no memory of that size."""
    part = data[at : at + size]
    value = int.from_bytes(part, "big")
    return value << 8 * (size - len(part)) if value else 0


def _iterations(data: bytes, base: int, exponent: int, per_byte: int) -> int:
    """Squarings to pay for, from the length of the exponent and its first 32 bytes."""
    head = _number(data, 96 + base, min(exponent, 32))
    return max(1, per_byte * max(0, exponent - 32) + max(0, head.bit_length() - 1))


def gas_byzantium(data: bytes) -> int:
    """Price of `power` from Byzantium to Muir Glacier.

    Parameters
    ----------
    data : bytes
        The input of `power`.

    References
    ----------
    EIP-198.

    Examples
    --------
    >>> gas_byzantium(bytes([*bytes(31), 1, *bytes(31), 32, *bytes(31), 32, 3]) + b"\\xff" * 64)
    13056
    """
    base, exponent, modulus = _lengths(data)
    x = max(base, modulus)
    if x <= 64:
        complexity = x * x
    elif x <= 1024:
        complexity = x * x // 4 + 96 * x - 3072
    else:
        complexity = x * x // 16 + 480 * x - 199_680
    return complexity * _iterations(data, base, exponent, 8) // 20


def gas_berlin(data: bytes) -> int:
    """Price of `power` from Berlin to Prague.

    Parameters
    ----------
    data : bytes
        The input of `power`.

    References
    ----------
    EIP-2565.

    Examples
    --------
    >>> gas_berlin(bytes([*bytes(31), 1, *bytes(31), 32, *bytes(31), 32, 3]) + b"\\xff" * 64)
    1360
    """
    base, exponent, modulus = _lengths(data)
    words = (max(base, modulus) + 7) // 8
    return max(200, words * words * _iterations(data, base, exponent, 8) // 3)


def gas_osaka(data: bytes) -> int:
    """Price of `power` from Osaka on.

    Parameters
    ----------
    data : bytes
        The input of `power`.

    References
    ----------
    EIP-7883.

    Examples
    --------
    >>> gas_osaka(bytes([*bytes(31), 1, *bytes(31), 32, *bytes(31), 32, 3]) + b"\\xff" * 64)
    4080
    """
    base, exponent, modulus = _lengths(data)
    size = max(base, modulus)
    complexity = 2 * ((size + 7) // 8) ** 2 if size > 32 else 16
    return max(500, complexity * _iterations(data, base, exponent, 16))


def power(data: bytes) -> bytes:
    """base ** exponent % modulus: input their lengths (32 bytes each), then the numbers; short input is filled with zeros.

    Parameters
    ----------
    data : bytes
        Bytes after the modulus are not looked at.

    Returns
    -------
    bytes
        In the modulus's length, all zeros for a modulus of 0.

    Raises
    ------
    ExecutionError
        If a number has too many bytes for a machine's memory. Gas has been paid: no block had so much.

    References
    ----------
    EIP-198.

    Examples
    --------
    >>> power(bytes([*bytes(31), 1, *bytes(31), 1, *bytes(31), 2, 3, 5, 1, 0])).hex()
    '00f3'
    >>> power(bytes(32) + b"\\xff" * 32 + bytes(32))
    b''
    """
    base, exponent, modulus = _lengths(data)
    if modulus == 0:
        return b""
    for name, size in (("base", base), ("modulus", modulus)):
        if size > _MOST:
            raise ExecutionError(f"modexp: {name} of {size} bytes: more than {_MOST}")
    divisor = _number(data, 96 + base + exponent, modulus)
    if divisor == 0:
        return bytes(modulus)
    if exponent > _MOST_EXPONENT and any(data[96 + base : 96 + base + exponent]):
        raise ExecutionError(f"modexp: exponent of {exponent} bytes, not all 0: more than {_MOST_EXPONENT}")
    result = pow(_number(data, 96, base), _number(data, 96 + base, exponent), divisor)
    return result.to_bytes(modulus, "big")


def power_osaka(data: bytes) -> bytes | None:
    """`power` with numbers of at most 1,024 bytes: a longer one is a failure, whatever the others are.

    Parameters
    ----------
    data : bytes
        As for `power`.

    Returns
    -------
    bytes or None
        As for `power`, None for a number that is too long.

    References
    ----------
    EIP-7823.

    Examples
    --------
    >>> power_osaka(bytes(32) + b"\\xff" * 32 + bytes(32)) is None
    True
    """
    return None if max(_lengths(data)) > _LIMIT else power(data)
