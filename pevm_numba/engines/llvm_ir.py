"""LLVM's language for one shape: written as text, since Numba's front end takes some 2 s a shape, and LLVM some milliseconds.

A function takes ``(operands, values, words, prices, output, links)``, all addresses, and runs one transaction: it changes
values, writes the output's row, and returns gas beside the static, refund and digest. No loop, nothing that is the same for
all shapes: half of the time to compile was for those (measured), and `_kernels.shapes.run_native` has them compiled once.
What is used seldom is found by the addresses in `links`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .._kernels.shapes import GIVEN, LINKS
from .lowering import Lowering, Word

__all__ = ["DECLARATIONS", "function_text"]

_GOLDEN: Final = 0x9E3779B97F4A7C15

DECLARATIONS: Final = "declare i64 @llvm.fshl.i64(i64, i64, i64)\n"

#: What a function returns.
_RECEIPT: Final = "{ i64, i64, i64 }"


class _Function(Lowering):
    """One function. A word in memory is loaded as one vector where it is only copied and compared, which is cheaper."""

    def new(self, text: str) -> str:
        """A new value."""
        self.count += 1
        self.lines.append(f"  %v{self.count} = {text}")
        return f"%v{self.count}"

    def once(self, text: str) -> str:
        """A value computed once, where it is first needed."""
        if text not in self.known:
            self.known[text] = self.new(text)
        return self.known[text]

    # ------------------------------------------------------------ memory

    def operand(self) -> str:
        """The transaction's next operand."""
        place = self.new(f"getelementptr i32, ptr %operands, i64 {self.taken}")
        self.taken += 1
        return self.new(f"zext i32 {self.new(f'load i32, ptr {place}')} to i64")

    def row(self, table: str, index: str) -> str:
        """The address of a row of an array of words."""
        base = f"%{table}"
        if table not in GIVEN:
            base = self.new(f"load ptr, ptr {self.new(f'getelementptr i64, ptr %links, i64 {LINKS.index(table)}')}")
        return self.new(f"getelementptr [32 x i8], ptr {base}, i64 {index}")

    def price(self, item: int) -> str:
        """A price of the schedule."""
        return self.once(f"load i64, ptr {self.once(f'getelementptr i64, ptr %prices, i64 {item}')}")

    def _limb(self, place: str, j: int) -> str:
        return self.new(f"getelementptr i64, ptr {place}, i64 {j}") if j else place

    def stored(self, place: str) -> Word:
        """A word in memory, as it is now, as a vector."""
        return Word(vector=self.new(f"load <4 x i64>, ptr {place}, align 8"))

    def counted(self, place: str) -> Word:
        """A word in memory, as it is now, as one number."""
        return Word(number=self.new(f"load i256, ptr {place}, align 8"))

    def read(self, place: str, copied: bool, summed: bool) -> Word:
        """Each form is loaded, which is cheaper than to make one of another, and than to keep one until it is written."""
        limbs = tuple(self.new(f"load i64, ptr {self._limb(place, j)}") for j in range(4))
        return Word(limbs, self.stored(place).vector if copied else "", self.counted(place).number if summed else "")

    def number(self, word: Word) -> str:
        """A word as one number."""
        if not word.number:
            word.number = self.new(f"bitcast <4 x i64> {word.vector} to i256")
        return word.number

    def store(self, place: str, word: Word) -> None:
        """Write a word to memory."""
        self.lines.append(f"  store <4 x i64> {word.vector}, ptr {place}, align 8")

    # ---------------------------------------------------------- arithmetic

    def total(self, a: Word, place: str, minus: bool = False) -> Word:
        """a + b or a - b, modulo 2**256; LLVM makes a chain of carries of it."""
        first, second = self.number(a), self.counted(place).number
        number = self.new(f"{'sub' if minus else 'add'} i256 {first}, {second}")
        return Word(vector=self.new(f"bitcast i256 {number} to <4 x i64>"), number=number)

    def zero(self, word: Word) -> str:
        """Whether a word is 0."""
        return self.new(f"icmp eq i256 {self.number(word)}, 0")

    def equal(self, a: Word, b: Word) -> str:
        """Whether two words are equal."""
        return self.zero(Word(vector=self.new(f"xor <4 x i64> {a.vector}, {b.vector}")))

    def choose(self, condition: str, yes: str, no: str) -> str:
        """One of two int64."""
        return self.new(f"select i1 {condition}, i64 {yes}, i64 {no}")

    def both(self, a: str, b: str) -> str:
        """Whether two conditions hold."""
        return self.new(f"and i1 {a}, {b}")

    def either(self, a: str, b: str) -> str:
        """Whether at least one of two conditions holds."""
        return self.new(f"or i1 {a}, {b}")

    def opposite(self, condition: str) -> str:
        """Not."""
        return self.new(f"xor i1 {condition}, true")

    def plus(self, a: str, b: str) -> str:
        """Sum of two int64."""
        return self.new(f"add i64 {a}, {b}")

    def less(self, a: str, b: str) -> str:
        """Difference of two int64."""
        return self.new(f"sub i64 {a}, {b}")

    def fold(self, digest: str, word: Sequence[str]) -> str:
        """`words.fold`."""
        mixed = word[0] if digest == "0" else self.new(f"xor i64 {self._turned(digest, 5)}, {word[0]}")
        for limb, by in zip(word[1:], (17, 31, 47)):
            mixed = self.new(f"xor i64 {mixed}, {self._turned(limb, by)}")
        return self.new(f"mul i64 {mixed}, {_GOLDEN}")

    def _turned(self, limb: str, by: int) -> str:
        return self.new(f"call i64 @llvm.fshl.i64(i64 {limb}, i64 {limb}, i64 {by})")

    def receipt(self) -> str:
        """What is returned."""
        whole = "undef"
        for number, part in enumerate((self.gas, self.refund, self.digest)):
            whole = self.new(f"insertvalue {_RECEIPT} {whole}, i64 {part}, {number}")
        return whole


def function_text(tokens: Sequence[int], name: str) -> str:
    """The function of a shape.

    Parameters
    ----------
    tokens : sequence of int
        `machine.shapes.Token` and payload.
    name : str

    Returns
    -------
    str
        A definition in LLVM's language; needs `DECLARATIONS` beside it.

    Examples
    --------
    >>> from pevm_numba.machine.shapes import Token
    >>> function_text([Token.READ, Token.OUTPUT, Token.LOADED], "f").splitlines()[0]
    'define { i64, i64, i64 } @f(ptr %operands, ptr %values, ptr %words, ptr %prices, ptr %output, ptr %links) nounwind {'
    """
    function = _Function(tokens)
    output = function.body()
    function.store("%output", output or Word(vector="zeroinitializer"))
    taken = ", ".join(f"ptr %{name}" for name in ("operands", *GIVEN, "links"))
    function.lines.append(f"  ret {_RECEIPT} {function.receipt()}")
    return "\n".join([f"define {_RECEIPT} @{name}({taken}) nounwind {{", *function.lines, "}"]) + "\n"
