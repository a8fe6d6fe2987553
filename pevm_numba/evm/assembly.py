"""A small assembler: programs as text that people can read, to bytes that the machine runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..door import instance, integer
from ..errors import BlockError
from .opcodes import OPCODES

__all__ = ["assemble"]

#: Bytes of opcodes without operands in the code.
_MNEMONICS: Final = {op.name: bytes((op.code,)) for op in OPCODES if op.handler not in ("PUSH", "PUSH_LONG")}

_JUMPDEST: Final = _MNEMONICS["JUMPDEST"]

#: A label is pushed as two bytes, so that its own place does not depend on where others are.
_PUSH1, _PUSH2, _MOST = 0x60, 0x61, 2**16


def assemble(text: str, **names: int) -> bytes:
    """Code of a program.

    Parameters
    ----------
    text : str
        Words apart by blanks, from ``#`` on to the end of a line a comment: an opcode's name; a number, decimal or from
        ``0x`` on, or ``$name`` for one of `names`, pushed with as few bytes as it takes, zero with one; ``name:`` for a place
        to jump to, and ``@name`` to push that.
    names : int in [0, 2**256)
        Numbers by name.

    Raises
    ------
    BlockError
        Naming the line, the word and the rule.

    Examples
    --------
    >>> assemble("@end JUMP  end: $seven 0x100 SSTORE  # keeps a seven", seven=7).hex()
    '610004565b600761010055'
    """
    instance("text", text, str)
    for name, value in names.items():
        integer(f"${name}", value, 0, 2**256 - 1)
    parts: list[tuple[int, bytes | str]] = []
    places: dict[str, int] = {}
    size = 0
    for line, word in _words(text):
        if word.endswith(":"):
            if word[:-1] in places:
                raise BlockError(f"line {line}, {word!r}: a place must have a name of its own")
            places[word[:-1]] = size
        part = word[1:] if word.startswith("@") else _code(line, word, names)
        parts.append((line, part))
        size += 3 if isinstance(part, str) else len(part)
    return b"".join(part if isinstance(part, bytes) else _jump(line, part, places) for line, part in parts)


def _words(text: str) -> Iterator[tuple[int, str]]:
    """Words, each with the number of its line."""
    for number, line in enumerate(text.splitlines(), 1):
        for word in line.partition("#")[0].split():
            yield number, word


def _code(line: int, word: str, names: dict[str, int]) -> bytes:
    """Bytes of any word but that of a jump."""
    if word.endswith(":"):
        return _JUMPDEST
    if word in _MNEMONICS:
        return _MNEMONICS[word]
    if word.startswith("$") and word[1:] in names:
        value = names[word[1:]]
    else:
        try:
            value = int(word, 0)
        except ValueError:
            raise BlockError(f"line {line}, {word!r}: must be an opcode, a number, or a name that is known") from None
    return _push(integer(f"line {line}, {word!r}", value, 0, 2**256 - 1))


def _push(value: int) -> bytes:
    size = max(1, (value.bit_length() + 7) // 8)
    return bytes((_PUSH1 + size - 1,)) + value.to_bytes(size, "big")


def _jump(line: int, name: str, places: dict[str, int]) -> bytes:
    place = places.get(name)
    if place is None or place >= _MOST:
        raise BlockError(f"line {line}, '@{name}': must be a place of the program, below {_MOST}")
    return bytes((_PUSH2,)) + place.to_bytes(2, "big")
