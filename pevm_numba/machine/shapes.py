"""The shape of a program: what is left when keys, words and counts are taken out. One compiled function serves one shape.

Programs of different ops can have the same shape, since only what shows in receipts and state counts: a word that nobody
takes from the stack, or adding to it, leaves no trace, hashing is done beforehand, and steps of work are counted together.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

__all__ = ["PAYLOAD", "Token", "spelled"]

#: A token is its kind plus this many times its payload.
PAYLOAD: Final = 32


class Token(IntEnum):
    """A part of a shape; what it takes from the operands is said beside it.

    READ is SLOAD or TOUCH; the stores are those of the encoder (to a slot for the first time; the same where a later store
    needs the original, number `payload`; that later store; to a field without gas). A store, and OUTPUT, is followed by where
    its word comes from: a literal, the `payload`-th read, a digest, and what is added to it and subtracted from it.

    Examples
    --------
    >>> spelled([Token.READ, Token.NEW, Token.LOADED, Token.PLUS, Token.OUTPUT])
    'read new(loaded0 plus) output'
    """

    #: Key.
    READ = 0
    #: Key, then what the source takes.
    NEW = 1
    SAVE = 2
    AGAIN = 3
    PLAIN = 4
    #: Key, or number of the partial sum; word.
    CREDIT = 5
    SHARED = 6
    #: Row of the word.
    LITERAL = 7
    #: Nothing.
    LOADED = 8
    #: Number of the digest.
    HASHED = 9
    #: Row of the word.
    PLUS = 10
    MINUS = 11
    #: Always last: what the source takes, if there is one; then the steps of work.
    OUTPUT = 12


_SOURCES: Final = (Token.LITERAL, Token.LOADED, Token.HASHED, Token.PLUS, Token.MINUS)
_NUMBERED: Final = (Token.SAVE, Token.AGAIN, Token.LOADED)


def spelled(tokens: Iterable[int]) -> str:
    """A shape in words, for people.

    Examples
    --------
    >>> spelled([Token.READ, Token.NEW, Token.LITERAL, Token.OUTPUT, Token.LOADED, Token.MINUS])
    'read new(literal) output(loaded0 minus)'
    """
    heads: list[tuple[str, list[str]]] = []
    for token in tokens:
        kind, payload = Token(token % PAYLOAD), token // PAYLOAD
        name = f"{kind.name.lower()}{payload}" if kind in _NUMBERED else kind.name.lower()
        if kind in _SOURCES:
            heads[-1][1].append(name)
        else:
            heads.append((name, []))
    return " ".join(f"{name}({' '.join(of)})" if of else name for name, of in heads)
