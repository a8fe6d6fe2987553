"""WebAssembly text for one shape: a module whose function ``run(count, batch, links)`` runs a batch of transactions.

Numbers of the transactions are at `batch`, addresses of arrays at `links`, all within a shared memory that is imported. Words
are four 64-bit locals, with carries by comparison: WebAssembly has no flags.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .._kernels.codes import QUOTIENT
from .._kernels.shapes import LINKS
from .lowering import Lowering, Word

__all__ = ["MOST_PAGES", "module_text"]

_GOLDEN: Final = 0x9E3779B97F4A7C15 - 2**64

#: Pages of 64 KiB that the memory may have: all that 32 bits can address.
MOST_PAGES: Final = 65_536

_ROW: Final = {"values": 32, "words": 32, "digests": 32, "sums": 32, "output": 32}


class _Module(Lowering):
    """One function; what `new` and `new32` return is the reading of a local."""

    nothing = "(i64.const 0)"

    def __init__(self, tokens: Sequence[int]) -> None:
        super().__init__(tokens)
        self.locals: list[str] = []

    def new(self, text: str) -> str:
        """A new 64-bit value."""
        return self._local(text, "i64")

    def new32(self, text: str) -> str:
        """A new 32-bit value: an address, an index, or a condition."""
        return self._local(text, "i32")

    def _local(self, text: str, kind: str) -> str:
        self.count += 1
        name = f"$v{self.count}"
        self.locals.append(f"(local {name} {kind})")
        self.lines.append(f"(local.set {name} {text})")
        return f"(local.get {name})"

    # ------------------------------------------------------------ memory

    def operand(self) -> str:
        """The transaction's next operand."""
        self.taken += 1
        return self.new32(f"(i32.load offset={4 * self.taken - 4} (local.get $operands))")

    def table(self, name: str) -> str:
        """The address of an array: the low half of its link."""
        return f"(i32.load offset={8 * LINKS.index(name)} (local.get $links))"

    def row(self, table: str, index: str) -> str:
        """The address of a row of an array."""
        if table in ("values", "words") and table not in self.known:
            self.known[table] = self.new32(self.table(table))
        base = self.known.get(table) or self.table(table)
        return self.new32(f"(i32.add {base} (i32.mul {index} (i32.const {_ROW.get(table, 8)})))")

    def price(self, item: int) -> str:
        """A price of the schedule."""
        name = f"price {item}"
        if name not in self.known:
            self.known[name] = self.new(f"(i64.load offset={8 * item} {self.table('prices')})")
        return self.known[name]

    def limbs(self, place: str) -> tuple[str, ...]:
        """The four limbs in memory."""
        return tuple(self.new(f"(i64.load offset={8 * j} {place})") for j in range(4))

    def stored(self, place: str) -> Word:
        """A word in memory, as it is now."""
        return Word(self.limbs(place))

    def counted(self, place: str) -> Word:
        """The same."""
        return self.stored(place)

    def read(self, place: str, copied: bool, summed: bool) -> Word:
        """The same, whatever it is for."""
        return self.stored(place)

    def store(self, place: str, word: Word) -> None:
        """Write a word to memory."""
        self.lines += [f"(i64.store offset={8 * j} {place} {limb})" for j, limb in enumerate(word.limbs)]

    # ---------------------------------------------------------- arithmetic

    def total(self, a: Word, place: str, minus: bool = False) -> Word:
        """a + b or a - b, modulo 2**256: there is a carry where a sum is below its summand, or the other way round."""
        b = self.limbs(place)
        op = "i64.sub" if minus else "i64.add"
        out, carry = [], ""
        for j in range(4):
            x = a.limbs[j]
            part = self.new(f"({op} {x} {b[j]})")
            over = self.new32(f"(i64.lt_u {x} {b[j]})" if minus else f"(i64.lt_u {part} {x})") if j < 3 else ""
            if carry:
                before, step = part, self.new(f"(i64.extend_i32_u {carry})")
                part = self.new(f"({op} {before} {step})")
                again = f"(i64.lt_u {before} {step})" if minus else f"(i64.lt_u {part} {step})"
                over = self.new32(f"(i32.or {over} {again})") if over else ""
            out.append(part)
            carry = over
        return Word(tuple(out))

    def _any(self, limbs: Sequence[str]) -> str:
        return f"(i64.or (i64.or {limbs[0]} {limbs[1]}) (i64.or {limbs[2]} {limbs[3]}))"

    def zero(self, word: Word) -> str:
        """Whether a word is 0."""
        return self.new32(f"(i64.eqz {self._any(word.limbs)})")

    def equal(self, a: Word, b: Word) -> str:
        """Whether two words are equal."""
        return self.new32(f"(i64.eqz {self._any([f'(i64.xor {x} {y})' for x, y in zip(a.limbs, b.limbs)])})")

    def choose(self, condition: str, yes: str, no: str) -> str:
        """One of two int64."""
        return self.new(f"(select {yes} {no} {condition})")

    def both(self, a: str, b: str) -> str:
        """Whether two conditions hold."""
        return self.new32(f"(i32.and {a} {b})")

    def either(self, a: str, b: str) -> str:
        """Whether at least one of two conditions holds."""
        return self.new32(f"(i32.or {a} {b})")

    def opposite(self, condition: str) -> str:
        """Not."""
        return self.new32(f"(i32.eqz {condition})")

    def plus(self, a: str, b: str) -> str:
        """Sum of two int64."""
        return self.new(f"(i64.add {a} {b})")

    def less(self, a: str, b: str) -> str:
        """Difference of two int64."""
        return self.new(f"(i64.sub {a} {b})")

    def fold(self, digest: str, word: Sequence[str]) -> str:
        """`words.fold`."""
        mixed = f"(i64.xor (i64.rotl {digest} (i64.const 5)) {word[0]})"
        for limb, by in zip(word[1:], (17, 31, 47)):
            mixed = f"(i64.xor {mixed} (i64.rotl {limb} (i64.const {by})))"
        return self.new(f"(i64.mul {mixed} (i64.const {_GOLDEN}))")

    # ---------------------------------------------------------------- ends

    def begin(self) -> str:
        """What a transaction begins with; returns its number."""
        tx = self.new32("(i32.load (i32.add (local.get $batch) (i32.shl (local.get $k) (i32.const 2))))")
        start = self.new32(f"(i32.load {self.row('operand_indptr', tx)})")
        self.locals.append("(local $operands i32)")
        address = f"(i32.add {self.table('operands')} (i32.shl {start} (i32.const 2)))"
        self.lines.append(f"(local.set $operands {address})")
        self.gas = self.new(f"(i64.load {self.row('static_gas', tx)})")
        return tx

    def work(self, tx: str) -> None:
        """The steps of stand-in work, in local x."""
        count = self.operand()
        self.locals += ["(local $x i64)", "(local $i i32)"]
        self.lines += [
            f"(local.set $x (i64.add (i64.extend_i32_u {tx}) (i64.const 1)))", f"(local.set $i {count})",
            "(block $worked (loop $step (br_if $worked (i32.eqz (local.get $i)))",
            "(local.set $x (i64.mul (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 29)))"
            f" (i64.const {_GOLDEN})))",
            "(local.set $i (i32.sub (local.get $i) (i32.const 1))) (br $step)))",
        ]  # fmt: skip

    def receipt(self, tx: str, output: Word | None) -> None:
        """Write what the transaction leaves, the gas after the refund among it."""
        used = self.gas
        if self.refund != self.nothing:
            most = self.new(f"(i64.div_s {self.gas} {self.price(QUOTIENT)})")
            least = f"(select {most} {self.refund} (i64.lt_s {most} {self.refund}))"
            earned = f"(select {least} (i64.const 0) (i64.gt_s {self.refund} (i64.const 0)))"
            used = self.new(f"(i64.sub {self.gas} {earned})")
        written = {"refund": self.refund, "gas_used": used, "digest": self.digest, "sink": "(local.get $x)"}
        for name, value in written.items():
            self.lines.append(f"(i64.store {self.row(name, tx)} {value})")
        self.store(self.row("output", tx), output or Word((self.nothing,) * 4))


def module_text(tokens: Sequence[int]) -> str:
    """The module of a shape.

    Parameters
    ----------
    tokens : sequence of int
        `machine.shapes.Token` and payload.

    Returns
    -------
    str
        In WebAssembly's text format.

    Examples
    --------
    >>> from pevm_numba.machine.shapes import Token
    >>> module_text([Token.OUTPUT]).splitlines()[0]
    '(module (import "box" "memory" (memory 1 65536 shared))'
    """
    module = _Module(tokens)
    tx = module.begin()
    output = module.body()
    module.work(tx)
    module.receipt(tx, output)
    return "\n".join([
        f'(module (import "box" "memory" (memory 1 {MOST_PAGES} shared))',
        '(func (export "run") (param $count i32) (param $batch i32) (param $links i32) (local $k i32)',
        *module.locals, "(loop $next", *module.lines, "(local.set $k (i32.add (local.get $k) (i32.const 1)))",
        "(br_if $next (i32.lt_u (local.get $k) (local.get $count))))))",
    ])  # fmt: skip
