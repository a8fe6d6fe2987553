"""JSON as nodes give it, checked as it is read: every complaint names the source and the place in it."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from .. import door
from ..errors import FileFormatError, TooLargeError
from .paths import existing, reading

__all__ = ["JsonReader", "opened"]

#: Bytes of JSON read at most, so that a small gzip file cannot fill the memory.
_MAX_BYTES: Final = 2**31
_U256: Final = 2**256 - 1

_QUANTITY: Final = re.compile(r"0[xX][0-9a-fA-F]{1,64}")
_OCTETS: Final = re.compile(r"0[xX](?:[0-9a-fA-F]{2})*")


class JsonReader:
    """Checks values of parsed JSON; every complaint names the file and the place, e.g. ``transactions[3].nonce``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def wrong(self, place: str, value: Any, rule: str) -> FileFormatError:
        """A complaint that names the place."""
        text = door.shown(value)
        return FileFormatError(f"{self.name}: {place} = {text if len(text) <= 80 else text[:77] + '...'}: {rule}")

    def object(self, place: str, value: Any) -> Mapping[str, Any]:
        """An object."""
        if not isinstance(value, Mapping):
            raise self.wrong(place, value, "must be an object")
        return value

    def array(self, place: str, value: Any) -> list[Any]:
        """An array."""
        if not isinstance(value, list):
            raise self.wrong(place, value, "must be an array")
        return value

    def integer(self, place: str, value: Any, high: int = _U256) -> int:
        """A quantity, in hexadecimal or as a number of JSON."""
        number = value
        if isinstance(value, str) and _QUANTITY.fullmatch(value):
            number = int(value, 16)
        if type(number) is not int or not 0 <= number <= high:
            raise self.wrong(place, value, f"must be a quantity in hexadecimal ('0x1f') in [0, {high:#x}]")
        return number

    def octets(self, place: str, value: Any, size: int | None = None) -> bytes:
        """Bytes in hexadecimal, of a given length if there is one."""
        if not isinstance(value, str) or not _OCTETS.fullmatch(value):
            raise self.wrong(place, value, "must be bytes in hexadecimal ('0x00ff')")
        out = bytes.fromhex(value[2:])
        if size is not None and len(out) != size:
            raise self.wrong(place, value, f"has {len(out)} bytes: must be {size}")
        return out

    def member(self, place: str, parent: Mapping[str, Any], *names: str) -> tuple[str, Any]:
        """Place and value of the first member there is of these names; a null counts as missing."""
        for name in names:
            if parent.get(name) is not None:
                return f"{place}.{name}" if place else name, parent[name]
        raise self.wrong(place or "block", sorted(parent), f"member {' or '.join(map(repr, names))} is missing")

    def answer(self, place: str, envelope: Mapping[str, Any]) -> tuple[str, Any]:
        """Place and value of a node's result."""
        if envelope.get("error") is not None:
            raise self.wrong(f"{place}.error" if place else "error", envelope["error"], "the node could not answer")
        return self.member(place, envelope, "result")

    def need_integer(self, place: str, parent: Mapping[str, Any], *names: str, high: int = _U256) -> int:
        """A member that is a quantity."""
        return self.integer(*self.member(place, parent, *names), high)

    def need_octets(self, place: str, parent: Mapping[str, Any], *names: str, size: int | None = None) -> bytes:
        """A member that is bytes."""
        return self.octets(*self.member(place, parent, *names), size)

    def may_integer(self, place: str, parent: Mapping[str, Any], name: str, high: int = _U256) -> int | None:
        """The same, if it is there."""
        return None if parent.get(name) is None else self.need_integer(place, parent, name, high=high)

    def may_octets(self, place: str, parent: Mapping[str, Any], name: str, size: int) -> bytes | None:
        """The same, if it is there."""
        return None if parent.get(name) is None else self.need_octets(place, parent, name, size=size)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a name given twice would silently lose the first value."""
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError(f"object has the member {next(n for n in names if names.count(n) > 1)!r} twice")
    return dict(pairs)


def _parsed(path: Path) -> Any:
    """JSON of a file, gzipped or not."""
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with reading(path, "not readable JSON"), opener(path, "rb") as source:
        data = source.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise TooLargeError(f"{path}: more than {_MAX_BYTES} bytes of JSON")
        return json.loads(data, object_pairs_hook=_object)


def opened(name: str, source: Any) -> tuple[JsonReader, Any]:
    """What names the source in complaints, and its JSON, out of the envelope of JSON-RPC."""
    value = source
    if isinstance(source, str | os.PathLike):
        path = existing(source)
        name, value = str(path), _parsed(path)
    reader = JsonReader(name)
    if isinstance(value, Mapping) and ("result" in value or "error" in value):
        value = reader.answer("", value)[1]
    return reader, value
