"""What a transaction of one shape does, token by token, in terms of a few primitives that each language spells its own way.

Nothing here branches on a value: prices are chosen, not jumped to, which is half of what compiling a shape is for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .._kernels.codes import CLEAR, RESET, SET, WARM
from ..machine.shapes import PAYLOAD, Token

__all__ = ["Lowering", "Word"]


_ADDED: Final = (Token.PLUS, Token.MINUS)


@dataclass
class Word:
    """A 256-bit word, by the names of what holds it: four limbs, least significant first; or, where a language has such, a
    vector, or one number; or several of them."""

    limbs: tuple[str, ...] = ()
    vector: str = ""
    number: str = ""


class Lowering(ABC):
    """A function being written, for a shape.

    Parameters
    ----------
    tokens : sequence of int
        `machine.shapes.Token` and payload.
    """

    #: How the language spells 0.
    nothing = "0"

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens, self.at, self.taken = [(Token(t % PAYLOAD), t // PAYLOAD) for t in tokens], 0, 0
        self.lines: list[str] = []
        self.count = 0
        self.known: dict[str, str] = {}
        self.reads: list[Word] = []
        self.saved: dict[int, Word] = {}
        self.gas = self.refund = self.digest = self.nothing
        #: Reads whose word goes somewhere as it is, and those to which something is added.
        self.copied, self.summed = set[int](), set[int]()
        for (kind, payload), (then, _) in zip(self.tokens, [*self.tokens[1:], (Token.OUTPUT, 0)]):
            if kind == Token.LOADED:
                (self.summed if then in _ADDED else self.copied).add(payload)

    @abstractmethod
    def new(self, text: str) -> str:
        """Note that a value is computed; returns its name."""

    @abstractmethod
    def operand(self) -> str:
        """The transaction's next operand."""

    @abstractmethod
    def row(self, table: str, index: str) -> str:
        """The address of a row of one of `LINKS`."""

    @abstractmethod
    def price(self, item: int) -> str:
        """A price of the schedule."""

    @abstractmethod
    def read(self, place: str, copied: bool, summed: bool) -> Word:
        """A word in memory, of which limbs are needed; to be copied and compared, if so, and to be added to, if so."""

    @abstractmethod
    def stored(self, place: str) -> Word:
        """A word in memory, to be copied and compared."""

    @abstractmethod
    def counted(self, place: str) -> Word:
        """A word in memory, to be added to."""

    @abstractmethod
    def store(self, place: str, word: Word) -> None:
        """Write a word to memory."""

    @abstractmethod
    def total(self, a: Word, place: str, minus: bool = False) -> Word:
        """a + b or a - b, modulo 2**256, where b is in memory."""

    @abstractmethod
    def zero(self, word: Word) -> str:
        """Whether a word is 0."""

    @abstractmethod
    def equal(self, a: Word, b: Word) -> str:
        """Whether two words are equal."""

    @abstractmethod
    def choose(self, condition: str, yes: str, no: str) -> str:
        """One of two int64."""

    @abstractmethod
    def both(self, a: str, b: str) -> str:
        """Whether two conditions hold."""

    @abstractmethod
    def either(self, a: str, b: str) -> str:
        """Whether at least one of two conditions holds."""

    @abstractmethod
    def opposite(self, condition: str) -> str:
        """Not."""

    @abstractmethod
    def plus(self, a: str, b: str) -> str:
        """Sum of two int64."""

    @abstractmethod
    def less(self, a: str, b: str) -> str:
        """Difference of two int64."""

    @abstractmethod
    def fold(self, digest: str, word: Sequence[str]) -> str:
        """`words.fold`."""

    def _adds(self, at: int) -> bool:
        return at < len(self.tokens) and self.tokens[at][0] in _ADDED

    def source(self) -> Word | None:
        """The word that the next tokens describe; None if they don't."""
        kind, payload = self.tokens[self.at] if self.at < len(self.tokens) else (Token.OUTPUT, 0)
        if kind in (Token.LITERAL, Token.HASHED):
            place = self.row("words" if kind == Token.LITERAL else "digests", self.operand())
            word = self.counted(place) if self._adds(self.at + 1) else self.stored(place)
        elif kind == Token.LOADED:
            word = self.reads[payload]
        else:
            return None
        self.at += 1
        while self._adds(self.at):
            word = self.total(word, self.row("words", self.operand()), self.tokens[self.at][0] == Token.MINUS)
            self.at += 1
        return word

    def body(self) -> Word | None:
        """Everything up to the output, which is returned."""
        while True:
            kind, payload = self.tokens[self.at]
            self.at += 1
            if kind == Token.OUTPUT:
                return self.source()
            if kind == Token.READ:
                number = len(self.reads)
                word = self.read(self.row("values", self.operand()), number in self.copied, number in self.summed)
                self.digest = self.fold(self.digest, word.limbs)
                self.reads.append(word)
            elif kind in (Token.CREDIT, Token.SHARED):
                place = self.row("values" if kind == Token.CREDIT else "sums", self.operand())
                self.store(place, self.total(self.counted(place), self.row("words", self.operand())))
            else:
                self._write(kind, payload)

    def _write(self, kind: Token, number: int) -> None:
        """A store, of whichever kind."""
        place = self.row("values", self.operand())
        new = self.source()
        assert new is not None  # the finder of shapes writes one after each store
        if kind == Token.AGAIN:
            self._later(self.saved[number], self.stored(place), new)
        elif kind != Token.PLAIN:
            current = self.stored(place)
            self._first(current, new)
            if kind == Token.SAVE:
                self.saved[number] = current
        self.store(place, new)

    def _first(self, current: Word, new: Word) -> None:
        """Gas and refund of the first store to a slot, whose original is its current value."""
        same, fresh, clears = self.equal(new, current), self.zero(current), self.zero(new)
        cost = self.choose(fresh, self.price(SET), self.price(RESET))
        self.gas = self.plus(self.gas, self.choose(same, self.price(WARM), cost))
        earns = self.both(self.opposite(self.either(same, fresh)), clears)
        self.refund = self.plus(self.refund, self.choose(earns, self.price(CLEAR), self.nothing))

    def _later(self, original: Word, current: Word, new: Word) -> None:
        """Gas and refund of a later store: `gas.store_gas`."""
        same, fresh, clears = self.equal(new, current), self.zero(original), self.zero(new)
        unchanged, back, empty = self.equal(original, current), self.equal(new, original), self.zero(current)
        warm, full, clear = self.price(WARM), self.choose(fresh, self.price(SET), self.price(RESET)), self.price(CLEAR)
        self.gas = self.plus(self.gas, self.choose(same, warm, self.choose(unchanged, full, warm)))
        kept = self.choose(clears, clear, self.nothing)
        dirty = self.choose(fresh, self.nothing, self.choose(empty, self.less(self.nothing, clear), kept))
        dirty = self.plus(dirty, self.choose(back, self.less(full, warm), self.nothing))
        clean = self.choose(self.both(self.opposite(fresh), clears), clear, self.nothing)
        self.refund = self.plus(self.refund, self.choose(same, self.nothing, self.choose(unchanged, clean, dirty)))
