"""What a transaction means, in plain Python: the authority that every kernel is tested against, slow and obvious.

It imports no kernel. State is a dict of ints, words are ints, and nothing is resolved ahead of time: warm sets, original
values and the undo log are kept exactly as the rules state them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .gas import GasItem, GasSchedule, gas_schedule
from .ops import MAX_STACK, Field, Mode, Op, Status

__all__ = ["Receipt", "execute", "fold", "intrinsic_gas", "keccak256", "run_transaction", "store_gas"]

_WORD = 2**256
_LIMB = 2**64


@dataclass
class Receipt:
    """What a transaction leaves behind, besides state.

    Parameters
    ----------
    status : Status
    gas_used : int
        After the capped refund.
    refund : int
        The counter before the cap; 0 if the transaction failed.
    output : int
        Stack top at the end, 0 if empty or failed.
    digest : int
        64-bit fold of every value that SLOAD and TOUCH read.
    observed : dict
        Key -> `Mode`: what was really accessed.
    """

    status: Status = Status.SUCCESS
    gas_used: int = 0
    refund: int = 0
    output: int = 0
    digest: int = 0
    observed: dict[Any, Mode] = field(default_factory=dict)


class _Failed(Exception):
    """Ends a transaction; carries the status."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


def _rotl(x: int, n: int) -> int:
    return ((x << n) | (x >> (64 - n))) % _LIMB


def fold(digest: int, value: int) -> int:
    """Fold a 256-bit value that was read into a 64-bit digest (DESIGN: so that a stale read shows).

    Examples
    --------
    >>> hex(fold(0, 1))
    '0x9e3779b97f4a7c15'
    """
    w0, w1, w2, w3 = (value >> shift & (_LIMB - 1) for shift in (0, 64, 128, 192))
    mixed = _rotl(digest, 5) ^ w0 ^ _rotl(w1, 17) ^ _rotl(w2, 31) ^ _rotl(w3, 47)
    return mixed * 0x9E3779B97F4A7C15 % _LIMB


def keccak256(data: bytes) -> bytes:
    """Keccak-256 as Ethereum uses it: rate 136 bytes, padding 0x01 … 0x80 (SHA3-256 would pad with 0x06).

    Examples
    --------
    >>> keccak256(b"").hex()[:16]
    'c5d2460186f7233c'

    References
    ----------
    The Keccak reference, version 3.0; Ethereum yellow paper, appendix.
    """
    padded = bytearray(data + b"\x01" + bytes(-(len(data) + 1) % 136))
    padded[-1] |= 0x80
    lanes = [[0] * 5 for _ in range(5)]  # lanes[x][y]
    for start in range(0, len(padded), 136):
        for i in range(17):
            lanes[i % 5][i // 5] ^= int.from_bytes(padded[start + 8 * i : start + 8 * i + 8], "little")
        _keccak_f(lanes)
    return b"".join(lanes[i][0].to_bytes(8, "little") for i in range(4))


def _keccak_f(lanes: list[list[int]]) -> None:
    lfsr = 1
    for _ in range(24):
        columns = [lanes[x][0] ^ lanes[x][1] ^ lanes[x][2] ^ lanes[x][3] ^ lanes[x][4] for x in range(5)]
        for x in range(5):
            mask = columns[(x + 4) % 5] ^ _rotl(columns[(x + 1) % 5], 1)
            for y in range(5):
                lanes[x][y] ^= mask
        x, y, current = 1, 0, lanes[1][0]
        for step in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            current, lanes[x][y] = lanes[x][y], _rotl(current, (step + 1) * (step + 2) // 2 % 64)
        for y in range(5):
            row = [lanes[x][y] for x in range(5)]
            for x in range(5):
                lanes[x][y] = row[x] ^ (~row[(x + 1) % 5] % _LIMB & row[(x + 2) % 5])
        for j in range(7):  # the round constant, bit by bit from its shift register
            if lfsr & 1:
                lanes[0][0] ^= 1 << ((1 << j) - 1)
            lfsr = (lfsr << 1 ^ (lfsr >> 7) * 0x171) & 0xFF


def store_gas(prices: GasSchedule, original: int, current: int, new: int) -> tuple[int, int]:
    """Gas and refund change of an SSTORE to storage, without the surcharge for a cold slot.

    Parameters
    ----------
    original, current, new : int
        Value at the start of the transaction, now, and after.

    Returns
    -------
    gas, refund : int
        In gas; refund may be negative.

    References
    ----------
    EIP-2200, EIP-2929, EIP-3529.

    Examples
    --------
    >>> store_gas(gas_schedule("london"), 1, 1, 0)
    (2900, 4800)
    """
    warm, clear = prices[GasItem.WARM_ACCESS], prices[GasItem.CLEAR_REFUND]
    if new == current:
        return warm, 0
    if current == original:
        if original == 0:
            return prices[GasItem.STORE_SET], 0
        return prices[GasItem.STORE_RESET], clear if new == 0 else 0
    refund = 0
    if original != 0:
        if current == 0:
            refund -= clear
        elif new == 0:
            refund += clear
    if new == original:
        refund += prices[GasItem.STORE_SET if original == 0 else GasItem.STORE_RESET] - warm
    return warm, refund


def intrinsic_gas(prices: GasSchedule, access_list: Iterable[tuple[Any, Sequence[Any]]]) -> int:
    """Gas before the first op: the transaction itself and each access-list entry, duplicates included (EIP-2930)."""
    gas = prices[GasItem.INTRINSIC]
    for _, slots in access_list:
        gas += prices[GasItem.LIST_ADDRESS] + len(slots) * prices[GasItem.LIST_KEY]
    return gas


class _Run:
    """One transaction under way."""

    def __init__(
        self, state: MutableMapping[Hashable, int], gas_limit: int, warm: set[Hashable], prices: GasSchedule
    ) -> None:
        self.state, self.warm, self.prices = state, warm, prices
        self.gas_left = gas_limit
        self.original: dict[Hashable, int | None] = {}  # before this transaction, of keys it has changed; None: absent
        self.stack: list[int] = []
        self.receipt = Receipt()

    def charge(self, gas: int) -> None:
        if gas > self.gas_left:
            raise _Failed(Status.OUT_OF_GAS)
        self.gas_left -= gas

    def saw(self, key: Hashable, mode: Mode) -> None:
        self.receipt.observed[key] = self.receipt.observed.get(key, Mode(0)) | mode

    def push(self, value: int) -> None:
        self.stack.append(value)

    def write(self, key: Hashable, value: int) -> None:
        self.original.setdefault(key, self.state.get(key))
        self.state[key] = value

    def undo(self) -> None:
        for key, value in self.original.items():
            if value is None:
                del self.state[key]
            else:
                self.state[key] = value

    def check_stack(self, pops: int, pushes: int) -> None:
        if len(self.stack) < pops:
            raise _Failed(Status.STACK_UNDERFLOW)
        if len(self.stack) - pops + pushes > MAX_STACK:
            raise _Failed(Status.STACK_OVERFLOW)

    def read(self, key: Any) -> int:
        if key[1] == Field.STORAGE:
            self.charge(self.prices[GasItem.WARM_ACCESS if key in self.warm else GasItem.COLD_LOAD])
            self.warm.add(key)
        self.saw(key, Mode.READ)
        value = self.state.get(key, 0)
        self.receipt.digest = fold(self.receipt.digest, value)
        return value

    def sload(self, key: Any) -> None:
        self.check_stack(0, 1)
        self.push(self.read(key))

    def touch(self, key: Any) -> None:
        self.read(key)

    def sstore(self, key: Any, value: int | str | None) -> None:
        from_top = value is None or isinstance(value, str)
        self.check_stack(1 if from_top else 0, 0)
        new = self.stack[-1] if from_top else value
        assert isinstance(new, int)
        if key[1] == Field.STORAGE:
            if self.gas_left <= self.prices[GasItem.SENTRY]:
                raise _Failed(Status.OUT_OF_GAS)
            self.charge(0 if key in self.warm else self.prices[GasItem.COLD_STORE])
            self.warm.add(key)
            self.saw(key, Mode.WRITE)  # should the rest be too dear, the failure turns this into the READ that it was
            current = self.state.get(key, 0)
            gas, refund = store_gas(self.prices, self.original.get(key, current) or 0, current, new)
            self.charge(gas)
            self.receipt.refund += refund
        if from_top:
            self.stack.pop()
        self.saw(key, Mode.WRITE)
        self.write(key, new)

    def arithmetic(self, value: int) -> None:
        self.check_stack(1, 1)
        self.charge(self.prices[GasItem.ARITHMETIC])
        self.stack[-1] = (self.stack[-1] + value) % _WORD

    def keccak(self, data: bytes) -> None:
        self.check_stack(0, 1)
        self.charge(self.prices[GasItem.KECCAK] + self.prices[GasItem.KECCAK_WORD] * ((len(data) + 31) // 32))
        self.push(int.from_bytes(keccak256(data), "big"))

    def credit(self, key: Any, value: int) -> None:
        self.saw(key, Mode.CREDIT)
        self.write(key, (self.state.get(key, 0) + value) % _WORD)

    def step(self, op: Sequence[Any]) -> None:
        code, operands = Op[op[0].upper()] if isinstance(op[0], str) else Op(op[0]), op[1:]
        match code:
            case Op.SLOAD:
                self.sload(*operands)
            case Op.SSTORE:
                self.sstore(*operands)
            case Op.ADD:
                self.arithmetic(operands[0])
            case Op.SUB:
                self.arithmetic(-operands[0])
            case Op.KECCAK:
                self.keccak(*operands)
            case Op.NOOP:
                self.charge(self.prices[GasItem.NOOP_STEP] * operands[0])
            case Op.TOUCH:
                self.touch(*operands)
            case Op.CREDIT:
                self.credit(*operands)
            case Op.BURN:
                self.charge(operands[0])


def run_transaction(
    program: Sequence[Sequence[Any]],
    state: MutableMapping[Any, int],
    gas_limit: int,
    access_list: Sequence[tuple[Any, Sequence[Any]]] = (),
    fork: str | GasSchedule = "london",
) -> Receipt:
    """Run one transaction on `state`, which it changes only if it succeeds.

    Parameters
    ----------
    program : sequence of ops
        As in `Block.from_programs`, keys as (address, field, slot).
    state : dict
        Key -> value; absent is 0.
    gas_limit : int
        In gas.
    access_list : sequence of (address, [slot, ...])
    fork : str or GasSchedule

    Examples
    --------
    >>> key, state = (b"a", 0, b"s"), {}
    >>> receipt = run_transaction([("SSTORE", key, 5), ("SLOAD", key)], state, 100_000)
    >>> receipt.gas_used, receipt.output, state
    (43200, 5, {(b'a', 0, b's'): 5})
    """
    prices = gas_schedule(fork)
    warm: set[Hashable] = {(address, int(Field.STORAGE), slot) for address, slots in access_list for slot in slots}
    run = _Run(state, gas_limit, warm, prices)
    receipt = run.receipt
    try:
        run.charge(intrinsic_gas(prices, access_list))
        for op in program:
            run.step(op)
    except _Failed as failure:
        run.undo()
        receipt.status, receipt.gas_used, receipt.refund = failure.status, gas_limit, 0
        seen = {k: (m | Mode.READ if m & Mode.WRITE else m) & Mode.READ for k, m in receipt.observed.items()}
        receipt.observed = {k: m for k, m in seen.items() if m}
        return receipt
    spent = gas_limit - run.gas_left
    receipt.gas_used = spent - min(receipt.refund, spent // prices[GasItem.REFUND_QUOTIENT])
    receipt.output = run.stack[-1] if run.stack else 0
    return receipt


def execute(
    programs: Sequence[Sequence[Sequence[Any]]],
    state: Mapping[Any, int],
    gas_limits: Sequence[int],
    access_lists: Sequence[Sequence[tuple[Any, Sequence[Any]]]],
    fork: str | GasSchedule = "london",
    order: Sequence[int] | None = None,
) -> tuple[list[Receipt], dict[Any, int]]:
    """Run transactions one after the other; returns receipts by block position and the state after.

    Parameters
    ----------
    order : sequence of int, optional
        Serial order of block positions; default block order.

    Returns
    -------
    receipts : list of Receipt
    state : dict
        Non-zero values only.
    """
    now = dict(state)
    receipts = [Receipt()] * len(programs)
    for t in range(len(programs)) if order is None else order:
        receipts[t] = run_transaction(programs[t], now, gas_limits[t], access_lists[t], fork)
    return receipts, {key: value for key, value in now.items() if value}
