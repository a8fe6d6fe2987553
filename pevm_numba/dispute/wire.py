"""Moves and proofs as JSON: whatever does not have exactly the form that we write is refused, by name and value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import DisputeError

__all__ = ["check_list", "hexed", "integer", "octets", "parts"]


def _shown(value: Any) -> str:
    """Text of a value for a complaint; numbers of more digits than Python writes are told by their kind."""
    try:
        return repr(value)[:80]
    except ValueError:
        return f"a {type(value).__name__} of many digits"


def parts(name: str, value: Any, names: Sequence[str]) -> list[Any]:
    """Members of a JSON object that has exactly these names.

    Raises
    ------
    DisputeError
        Naming what is missing or not known.

    Examples
    --------
    >>> parts("a move", {"b": 2, "a": 1}, ["a", "b"])
    [1, 2]
    """
    if not isinstance(value, dict):
        raise DisputeError(f"{name} = {_shown(value)}: must be an object with {', '.join(names)}")
    if value.keys() != set(names):
        odd = sorted(map(str, value.keys() ^ set(names)))
        raise DisputeError(f"{name}: {_shown(odd[0])} is missing or unknown: must have exactly {', '.join(names)}")
    return [value[one] for one in names]


def integer(name: str, value: Any, low: int, high: int) -> int:
    """A number in [low, high].

    Raises
    ------
    DisputeError
    """
    if type(value) is not int or not low <= value <= high:
        raise DisputeError(f"{name} = {_shown(value)}: must be an integer in [{low}, {high}]")
    return value


def octets(name: str, value: Any, size: int | None = None) -> bytes:
    """Bytes from 0x and lower-case hexadecimal digits: so many bytes, if that is said.

    Raises
    ------
    DisputeError

    Examples
    --------
    >>> octets("root", "0x00ff")
    b'\\x00\\xff'
    """
    digits = value[2:] if isinstance(value, str) and value.startswith("0x") else None
    if digits is None or len(digits) % 2 or not set(digits) <= set("0123456789abcdef"):
        raise DisputeError(f"{name} = {_shown(value)}: must be 0x and an even number of digits 0-9, a-f")
    if size is not None and len(digits) != 2 * size:
        raise DisputeError(f"{name} has {len(digits) // 2} bytes: must have {size}")
    return bytes.fromhex(digits)


def check_list(name: str, value: Any, most: int) -> list[Any]:
    """A JSON array of at most so many members.

    Raises
    ------
    DisputeError
    """
    if not isinstance(value, list) or len(value) > most:
        raise DisputeError(f"{name} = {_shown(value)}: must be a list of at most {most}")
    return value


def hexed(data: bytes) -> str:
    """Bytes as `octets` reads them."""
    return f"0x{data.hex()}"
