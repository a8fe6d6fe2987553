"""What a transaction has touched, against a model of plain dictionaries: values, undoing, warmth, what is fetched, commit."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pevm_numba._kernels.evm import existence, layout, results, state
from pevm_numba._kernels.evm.regions import REGIONS
from pevm_numba.evm.arena import Arena, Room
from pevm_numba.evm.forks import Fork

TOP = 1 << 256
ADDRESSES = [1, 2, (1 << 160) - 1, 7 << 64]
SLOTS = [0, 1, TOP - 1]
CODES = [b"", b"\x00", b"\x5b" * 40]

numbers = st.one_of(st.integers(0, 3), st.integers(0, TOP - 1))
places = st.integers(0, len(ADDRESSES) - 1)
slots = st.integers(0, len(SLOTS) - 1)
steps = st.one_of(
    st.tuples(st.just("credit"), places, numbers),
    st.tuples(st.just("debit"), places, numbers),
    st.tuples(st.just("balance"), places),
    st.tuples(st.just("zero"), places),
    st.tuples(st.just("nonce"), places, st.integers(0, 2**40)),
    st.tuples(st.just("code"), places, st.integers(0, len(CODES) - 1)),
    st.tuples(st.just("write"), places, slots, numbers),
    st.tuples(st.just("transient"), places, slots, numbers),
    st.tuples(st.just("warm"), places),
    st.tuples(st.just("warm slot"), places, slots),
    st.tuples(st.just("empty"), places),
    st.tuples(st.just("call")),
    st.tuples(st.just("revert")),
    st.tuples(st.just("return")),
)


class Machine:
    """The kernels, with words handed over by number."""

    def __init__(self, room: Room | None = None) -> None:
        self.arena = Arena(Fork.CANCUN, room)
        self.c = self.arena.address
        self.word = self.arena.allocate("test word", 64)
        self.codes = [self.arena.add_code(code) for code in CODES]

    def put(self, value: int) -> int:
        self.word[:32] = np.frombuffer(value.to_bytes(32, "little"), np.uint8)
        return int(self.word.ctypes.data)

    def get(self, kind: layout.Layout | Any, table: str, record: int, field: str) -> int:
        at = record - self.arena[table] + (kind.words | kind.numbers)[field]
        size = 32 if field in kind.words else 8
        return int.from_bytes(self.arena.buffer(table)[at : at + size].tobytes(), "little")

    def account(self, i: int) -> int:
        return state.account_of(self.c, self.put(ADDRESSES[i]))

    def slot(self, i: int, j: int) -> int:
        a = self.account(i)
        return state.slot_of(self.c, a, self.put(SLOTS[j]))

    def transient(self, i: int, j: int) -> int:
        a = self.account(i)
        return state.transient_of(self.c, a, self.put(SLOTS[j]))

    def value(self, i: int, field: str) -> int:
        return self.get(layout.ACCOUNT, "accounts", self.account(i), field)


def fresh() -> dict[str, Any]:
    """The model of a transaction's changes."""
    return {"balance": {}, "nonce": {}, "code": {}, "slot": {}, "transient": {}, "warm": set(), "warm slot": set()}


def apply(machine: Machine, step: tuple, now: dict[str, Any], base: dict[str, Any]) -> None:
    """One step on both; `now` holds what the transaction sees, `base` the state before it."""
    kind, *rest = step
    i = rest[0]
    a = machine.account(i)
    balance = now["balance"].get(i, base["balance"].get(i, 0))
    if kind == "credit":
        state.add_balance(machine.c, a, machine.put(rest[1]), False)
        now["balance"][i] = (balance + rest[1]) % TOP
    elif kind == "debit":
        state.load_balance(machine.c, a)
        state.add_balance(machine.c, a, machine.put(rest[1]), True)
        now["balance"][i] = (balance - rest[1]) % TOP
    elif kind == "balance":
        state.load_balance(machine.c, a)
        assert machine.value(i, "balance") == balance
    elif kind == "zero":
        state.load_balance(machine.c, a)
        state.set_balance_zero(machine.c, a)
        now["balance"][i] = 0
    elif kind == "nonce":
        assert state.load_nonce(machine.c, a) == now["nonce"].get(i, base["nonce"].get(i, 0))
        state.set_nonce(machine.c, a, rest[1])
        now["nonce"][i] = rest[1]
    elif kind == "code":
        code = state.code_of(machine.c, a)
        expected = now["code"].get(i, base["code"].get(i, 0))
        assert (code - machine.arena["codes"]) // layout.CODE.size == machine.codes[expected]
        state.set_code(machine.c, a, machine.codes[rest[1]])
        now["code"][i] = rest[1]
    elif kind == "write":
        s = machine.slot(i, rest[1])
        key = i, rest[1]
        assert machine.get(layout.SLOT, "slots", s, "value") == now["slot"].get(key, base["slot"].get(key, 0))
        assert machine.get(layout.SLOT, "slots", s, "before") == base["slot"].get(key, 0)
        state.write_slot(machine.c, s, machine.put(rest[2]))
        now["slot"][key] = rest[2]
    elif kind == "transient":
        s = machine.transient(i, rest[1])
        assert machine.get(layout.SLOT, "slots", s, "value") == now["transient"].get((i, rest[1]), 0)
        state.write_slot(machine.c, s, machine.put(rest[2]))
        now["transient"][i, rest[1]] = rest[2]
    elif kind == "warm":
        assert state.warm_account(machine.c, a) == (i not in now["warm"])
        now["warm"].add(i)
    elif kind == "warm slot":
        assert state.warm_slot(machine.c, machine.slot(i, rest[1])) == ((i, rest[1]) not in now["warm slot"])
        now["warm slot"].add((i, rest[1]))
    else:
        nonce, code = (now[name].get(i, base[name].get(i, 0)) for name in ("nonce", "code"))
        assert existence.is_empty(machine.c, a) == (nonce == 0 and CODES[code] == b"" and balance == 0)


@given(st.lists(st.lists(steps, max_size=25), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_transactions_see_undo_and_leave_what_a_model_of_dictionaries_does(transactions: list[list[tuple]]) -> None:
    machine = Machine(Room(keys=64, codes=8, code_bytes=1 << 12, accounts=8, slots=32, journal=256))
    base: dict[str, Any] = fresh()
    for transaction in transactions:
        state.new_transaction(machine.c)
        now, calls = fresh(), []
        for step in transaction:
            if step[0] == "call":
                calls.append((machine.arena["n_journal"], copy.deepcopy(now)))
            elif step[0] in ("revert", "return"):
                if calls:
                    mark, before = calls.pop()
                    if step[0] == "revert":
                        state.unwind(machine.c, mark)
                        now = before
            else:
                apply(machine, step, now, base)
        results.commit(machine.c)
        assert machine.arena["status"] == layout.OK
        for name in ("balance", "nonce", "code", "slot"):
            base[name].update(now[name])
    state.new_transaction(machine.c)
    now = fresh()
    for i in range(len(ADDRESSES)):
        for step in (("balance", i), ("nonce", i, 0), ("code", i, 0), *(("write", i, j, 0) for j in range(len(SLOTS)))):
            apply(machine, step, now, base)
    assert REGIONS.violation() == 0


def test_a_balance_that_is_only_credited_is_not_fetched_and_one_that_is_reverted_after_a_fetch_is_right() -> None:
    machine = Machine()
    state.new_transaction(machine.c)
    a = machine.account(0)
    state.add_balance(machine.c, a, machine.put(40), False)
    assert machine.value(0, "loaded") == 0
    results.commit(machine.c)
    state.new_transaction(machine.c)
    a = machine.account(0)
    state.add_balance(machine.c, a, machine.put(2), False)
    mark = machine.arena["n_journal"]
    state.add_balance(machine.c, a, machine.put(5), False)  # noted while it is a sum of credits ...
    state.load_balance(machine.c, a)  # ... and fetched before it is undone
    assert machine.value(0, "balance") == 47
    state.unwind(machine.c, mark)
    assert machine.value(0, "balance") == 42
    assert machine.value(0, "loaded") == layout.BALANCE_LOADED


def test_a_full_table_sets_the_status_and_writes_nothing_beyond_it() -> None:
    for room in (Room(accounts=2), Room(slots=2), Room(journal=2), Room(keys=5)):
        machine = Machine(room)
        state.new_transaction(machine.c)
        for i in range(len(ADDRESSES)):
            for j in range(len(SLOTS)):
                s = machine.slot(i, j)
                state.write_slot(machine.c, s, machine.put(1))
        assert machine.arena["status"] == layout.FULL
        assert REGIONS.violation() == 0
    assert Room(keys=5).doubled().keys == 10
