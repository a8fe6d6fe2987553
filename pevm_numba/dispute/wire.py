"""Moves and proofs as JSON: whatever does not have exactly the form that we write is refused, by name and value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from ..errors import DisputeError

__all__ = [
    "MOST_CHARACTERS", "MOST_DEPTH", "NotPlain", "check_list", "hexed", "instance", "integer", "octets", "parts", "plain",
    "shown",
]  # fmt: skip

#: Characters of an answer as JSON: twice those of the longest op and of five proofs of 256 siblings each, and more.
MOST_CHARACTERS: Final = 2**20
#: Lists and objects within each other, at most, in an answer; a move of the game has five.
MOST_DEPTH: Final = 32


class NotPlain(DisputeError):
    """An answer is too long, or nested too deep."""


def plain(answer: Any) -> Any:
    """A copy of an answer that has nothing in it but what JSON has.

    Raises
    ------
    NotPlain
        If it has more than `MOST_CHARACTERS` as JSON, or is nested deeper than `MOST_DEPTH`.
    TypeError, ValueError, RecursionError
        If it is no JSON; what else its own methods raise passes too.

    Examples
    --------
    >>> plain({"state": ("0x00", 5)})
    {'state': ['0x00', 5]}
    """
    text = json.dumps(answer, allow_nan=False)
    if len(text) > MOST_CHARACTERS:
        raise NotPlain(f"{len(text)} characters: must be at most {MOST_CHARACTERS}")
    made = json.loads(text)
    level, depth = [made], 0
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        if depth > MOST_DEPTH:
            raise NotPlain(f"nested more than {MOST_DEPTH} deep")
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return made


def shown(value: Any) -> str:
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
        raise DisputeError(f"{name} = {shown(value)}: must be an object with {', '.join(names)}")
    if value.keys() != set(names):
        odd = sorted(map(str, value.keys() ^ set(names)))
        raise DisputeError(f"{name}: {shown(odd[0])} is missing or unknown: must have exactly {', '.join(names)}")
    return [value[one] for one in names]


def instance(name: str, value: Any, wanted: type) -> None:
    """Refuse what is not of the type; `door.instance` does so where kernels may be imported.

    Raises
    ------
    DisputeError
    """
    if not isinstance(value, wanted):
        raise DisputeError(f"{name} = {shown(value)}: must be of type {wanted.__name__}")


def integer(name: str, value: Any, low: int, high: int) -> int:
    """A number in [low, high].

    Raises
    ------
    DisputeError
    """
    if type(value) is not int or not low <= value <= high:
        raise DisputeError(f"{name} = {shown(value)}: must be an integer in [{low}, {high}]")
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
        raise DisputeError(f"{name} = {shown(value)}: must be 0x and an even number of digits 0-9, a-f")
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
        raise DisputeError(f"{name} = {shown(value)}: must be a list of at most {most}")
    return value


def hexed(data: bytes) -> str:
    """Bytes as `octets` reads them."""
    return f"0x{data.hex()}"
