"""LLVM's language for one shape: written as text, since Numba's front end takes some 2 s a shape, and LLVM some milliseconds.

A function takes ``(first, last, order, links)`` and runs transactions order[first:last], which all have the shape. What it
works on it finds by the addresses in `links`, loaded where they are used: loaded in advance they fill the registers, and one
transaction at a time is what most calls are about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .._kernels.codes import QUOTIENT
from .._kernels.shapes import LINKS
from .lowering import Lowering, Word

__all__ = ["DECLARATIONS", "function_text"]

_GOLDEN: Final = 0x9E3779B97F4A7C15

DECLARATIONS: Final = "declare i64 @llvm.fshl.i64(i64, i64, i64)\ndeclare i64 @llvm.smin.i64(i64, i64)\n"

#: Bytes to a row of each table, if not 8.
_ROW: Final = {"values": 32, "words": 32, "digests": 32, "sums": 32, "output": 32}


class _Function(Lowering):
    """One function. A word in memory is loaded as one vector where it is only copied and compared, which is cheaper."""

    def new(self, text: str) -> str:
        """A new value."""
        self.count += 1
        self.lines.append(f"  %v{self.count} = {text}")
        return f"%v{self.count}"

    def do(self, *lines: str) -> None:
        """Instructions without a value, and labels, which end with a colon."""
        self.lines += [line if line.endswith(":") else f"  {line}" for line in lines]

    def once(self, text: str) -> str:
        """A value computed once for the transaction, where it is first needed: all but the last blocks follow in line."""
        if text not in self.known:
            self.known[text] = self.new(text)
        return self.known[text]

    # ------------------------------------------------------------ memory

    def operand(self) -> str:
        """The transaction's next operand."""
        place = self.new(f"getelementptr i32, ptr %operands, i64 {self.taken}")
        self.taken += 1
        return self.new(f"zext i32 {self.new(f'load i32, ptr {place}')} to i64")

    def table(self, name: str) -> str:
        """The address of an array."""
        return self.new(f"load ptr, ptr {self.new(f'getelementptr i64, ptr %links, i64 {LINKS.index(name)}')}")

    def _kept(self, name: str) -> str:
        """The address of an array that is used often."""
        if name not in self.known:
            self.known[name] = self.table(name)
        return self.known[name]

    def row(self, table: str, index: str) -> str:
        """The address of a row of an array."""
        base = self._kept(table) if table in ("values", "words") else self.table(table)
        return self.new(f"getelementptr [{_ROW.get(table, 8)} x i8], ptr {base}, i64 {index}")

    def price(self, item: int) -> str:
        """A price of the schedule."""
        place = self.once(f"getelementptr i64, ptr {self._kept('prices')}, i64 {item}")
        return self.once(f"load i64, ptr {place}")

    def _limb(self, place: str, j: int) -> str:
        return self.new(f"getelementptr i64, ptr {place}, i64 {j}") if j else place

    def limbs(self, place: str) -> tuple[str, ...]:
        """The four limbs in memory."""
        return tuple(self.new(f"load i64, ptr {self._limb(place, j)}") for j in range(4))

    def stored(self, place: str) -> Word:
        """A word in memory, as it is now."""
        return Word(vector=self.new(f"load <4 x i64>, ptr {place}, align 8"))

    def read(self, place: str, copied: bool) -> Word:
        """A vector beside the limbs saves those from being kept until they are written."""
        return Word(self.limbs(place), self.stored(place).vector if copied else "")

    def parts(self, word: Word) -> tuple[str, ...]:
        """The limbs of a word."""
        if not word.limbs:
            word.limbs = self.split(self.new(f"bitcast <4 x i64> {word.vector} to i256"))
        return word.limbs

    def store(self, place: str, word: Word) -> None:
        """Write a word to memory."""
        if word.vector:
            self.do(f"store <4 x i64> {word.vector}, ptr {place}, align 8")
            return
        for j in range(4):
            self.do(f"store i64 {word.limbs[j]}, ptr {self._limb(place, j)}")

    # ---------------------------------------------------------- arithmetic

    def whole(self, limbs: Sequence[str]) -> str:
        """Four limbs as one number; LLVM makes chains of carries of what is done with it."""
        number = ""
        for j in range(4):
            part = self.new(f"zext i64 {limbs[j]} to i256")
            part = self.new(f"shl i256 {part}, {64 * j}") if j else part
            number = self.new(f"or i256 {number}, {part}") if number else part
        return number

    def split(self, number: str) -> tuple[str, ...]:
        """The inverse of `whole`."""
        parts = [self.new(f"lshr i256 {number}, {64 * j}") if j else number for j in range(4)]
        return tuple(self.new(f"trunc i256 {part} to i64") for part in parts)

    def total(self, a: Word, b: Sequence[str], minus: bool = False) -> Word:
        """a + b or a - b, modulo 2**256."""
        first, second = self.whole(self.parts(a)), self.whole(b)
        return Word(self.split(self.new(f"{'sub' if minus else 'add'} i256 {first}, {second}")))

    def zero(self, word: Word) -> str:
        """Whether a word is 0."""
        if word.vector:
            return self.new(f"icmp eq i256 {self.new(f'bitcast <4 x i64> {word.vector} to i256')}, 0")
        return self.new(f"icmp eq i64 {self._any(word.limbs)}, 0")

    def equal(self, a: Word, b: Word) -> str:
        """Whether two words are equal."""
        if a.vector and b.vector:
            mixed = self.new(f"xor <4 x i64> {a.vector}, {b.vector}")
            return self.new(f"icmp eq i256 {self.new(f'bitcast <4 x i64> {mixed} to i256')}, 0")
        differences = [self.new(f"xor i64 {x}, {y}") for x, y in zip(self.parts(a), self.parts(b))]
        return self.new(f"icmp eq i64 {self._any(differences)}, 0")

    def _any(self, limbs: Sequence[str]) -> str:
        low, high = self.new(f"or i64 {limbs[0]}, {limbs[1]}"), self.new(f"or i64 {limbs[2]}, {limbs[3]}")
        return self.new(f"or i64 {low}, {high}")

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

    # ---------------------------------------------------------------- ends

    def begin(self) -> str:
        """The loop's head; returns the transaction."""
        self.do("br label %loop", "loop:", "%p = phi i64 [ %first, %entry ], [ %next, %done ]")
        place = self.new("getelementptr i32, ptr %order, i64 %p")
        tx = self.new(f"zext i32 {self.new(f'load i32, ptr {place}')} to i64")
        start = self.new(f"load i64, ptr {self.row('operand_indptr', tx)}")
        self.do(f"%operands = getelementptr i32, ptr {self.table('operands')}, i64 {start}")
        self.gas = self.new(f"load i64, ptr {self.row('static_gas', tx)}")
        return tx

    def work(self, x: str) -> str:
        """The steps of stand-in work after x."""
        count = self.operand()
        self.do("br label %work", "work:", "br label %again", "again:")
        self.do("%i = phi i64 [ 0, %work ], [ %j, %step ]", f"%x = phi i64 [ {x}, %work ], [ %y, %step ]")
        self.do(f"%more = icmp ult i64 %i, {count}", "br i1 %more, label %step, label %end", "step:")
        mixed = self.new(f"xor i64 %x, {self.new('lshr i64 %x, 29')}")
        self.do(f"%y = mul i64 {mixed}, {_GOLDEN}", "%j = add i64 %i, 1", "br label %again", "end:")
        return "%x"

    def capped(self) -> str:
        """The gas used after the refund; ends in block `done`."""
        if self.refund == "0":
            self.do("br label %done", "done:")
            return self.gas
        earned = self.new(f"icmp sgt i64 {self.refund}, 0")
        self.do(f"br i1 {earned}, label %cap, label %done", "cap:")
        most = self.new(f"sdiv i64 {self.gas}, {self.price(QUOTIENT)}")
        less = self.new(f"call i64 @llvm.smin.i64(i64 {most}, i64 {self.refund})")
        less = self.new(f"sub i64 {self.gas}, {less}")
        self.do("br label %done", "done:")
        return self.new(f"phi i64 [ {self.gas}, %end ], [ {less}, %cap ]")

    def receipt(self, tx: str, x: str, used: str, output: Word | None) -> None:
        """Write what the transaction leaves."""
        for name, value in (("refund", self.refund), ("gas_used", used), ("digest", self.digest), ("sink", x)):
            self.do(f"store i64 {value}, ptr {self.row(name, tx)}")
        self.store(self.row("output", tx), output or Word(vector="zeroinitializer"))
        self.do("%next = add i64 %p, 1", "%left = icmp slt i64 %next, %last", "br i1 %left, label %loop, label %out", "out:")


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
    'define void @f(i64 %first, i64 %last, ptr %order, ptr %links) nounwind {'
    """
    function = _Function(tokens)
    tx = function.begin()
    output = function.body()
    x = function.work(function.new(f"add i64 {tx}, 1"))
    used = function.capped()
    function.receipt(tx, x, used, output)
    head = f"define void @{name}(i64 %first, i64 %last, ptr %order, ptr %links) nounwind {{\nentry:\n"
    return head + "\n".join(function.lines) + "\n  ret void\n}\n"
