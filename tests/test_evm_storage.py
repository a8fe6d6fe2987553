"""Gas and refunds of storage: the official tables of EIP-1283/2200 and 3529, and a plain restatement of each era's rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pevm_numba._kernels.evm import results, state, storage
from pevm_numba._kernels.evm.regions import REGIONS
from pevm_numba.evm.arena import Arena, Room
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.prices import prices

#: (original, values stored one after the other) -> gas of all stores, refund: EIP-2200 with EIP-2929 warm slots and EIP-3529.
#: The first store of a cold slot costs 2,100 more; the program's PUSHes, 3 each, are left out of EIP-3529's own figures.
EIP_3529 = [
    (0, (0, 0), 200, 0), (0, (0, 1), 20_100, 0), (0, (1, 0), 20_100, 19_900), (0, (1, 2), 20_100, 0), (0, (1, 1), 20_100, 0),
    (1, (0, 0), 3_000, 4_800), (1, (0, 1), 3_000, 2_800), (1, (0, 2), 3_000, 0), (1, (2, 0), 3_000, 4_800),
    (1, (2, 3), 3_000, 0), (1, (2, 1), 3_000, 2_800), (1, (2, 2), 3_000, 0), (1, (1, 0), 3_000, 4_800),
    (1, (1, 2), 3_000, 0), (1, (1, 1), 200, 0), (0, (1, 0, 1), 40_100, 19_900), (1, (0, 1, 0), 5_900, 7_600),
]  # fmt: skip
EIP_2200 = [
    (0, (0, 0), 1_600, 0), (0, (0, 1), 20_800, 0), (0, (1, 0), 20_800, 19_200), (0, (1, 2), 20_800, 0),
    (0, (1, 1), 20_800, 0), (1, (0, 0), 5_800, 15_000), (1, (0, 1), 5_800, 4_200), (1, (0, 2), 5_800, 0),
    (1, (2, 0), 5_800, 15_000), (1, (2, 3), 5_800, 0), (1, (2, 1), 5_800, 4_200), (1, (2, 2), 5_800, 0),
    (1, (1, 0), 5_800, 15_000), (1, (1, 2), 5_800, 0), (1, (1, 1), 1_600, 0), (0, (1, 0, 1), 40_800, 19_200),
    (1, (0, 1, 0), 10_800, 19_200),
]  # fmt: skip


class Storage:
    """One account's slot of a fork's machine."""

    def __init__(self, fork: Fork, original: int, slot: int = 3) -> None:
        self.arena = Arena(fork, Room(keys=16, codes=2, code_bytes=1 << 10, accounts=4, slots=8, journal=64))
        self.c, self.slot = self.arena.address, slot
        self.words = self.arena.allocate("test words", 96)
        state.new_transaction(self.c)
        self.account = state.account_of(self.c, self.put(0, 77))
        record = state.slot_of(self.c, self.account, self.put(0, slot))
        state.write_slot(self.c, record, self.put(1, original))
        results.commit(self.c)
        state.new_transaction(self.c)
        self.arena["refund"] = 0
        self.account = state.account_of(self.c, self.put(0, 77))

    def put(self, i: int, value: int) -> int:
        self.words[32 * i : 32 * i + 32] = np.frombuffer(value.to_bytes(32, "little"), np.uint8)
        return int(self.words.ctypes.data) + 32 * i

    def warm(self) -> None:
        state.warm_slot(self.c, state.slot_of(self.c, self.account, self.put(0, self.slot)))

    def store(self, value: int, gas: int) -> int:
        return int(storage.store_slot(self.c, self.account, self.put(0, self.slot), self.put(1, value), gas))

    def load(self, gas: int) -> tuple[int, int]:
        left = int(storage.load_slot(self.c, self.account, self.put(0, self.slot), gas))
        return left, int.from_bytes(self.words[:32].tobytes(), "little")


@pytest.mark.parametrize(
    ("fork", "rows"), [(Fork.ISTANBUL, EIP_2200), (Fork.LONDON, EIP_3529), (Fork.CANCUN, EIP_3529)], ids=lambda x: str(x)[:12]
)
def test_rows_of_the_eips(fork: Fork, rows: list) -> None:
    assert len(rows) == 17
    for original, values, gas, refund in rows:
        machine = Storage(fork, original)
        machine.warm()
        left = 10**6
        for value in values:
            left = machine.store(value, left)
        assert (10**6 - left, machine.arena["refund"]) == (gas, refund), (original, values)


def spec(fork: Fork, original: int, now: int, new: int, cold: bool) -> tuple[int, int]:
    """(gas, change of the refund) as the EIPs say it, in plain words."""
    p = prices(fork)
    if fork < Fork.ISTANBUL:
        gas = p["storage_set"] if now == 0 and new else p["storage_reset"]
        return gas, p["storage_clear_refund"] if now and not new else 0
    gas = p["cold_slot"] if cold and fork >= Fork.BERLIN else 0
    same, first = p["storage_same"], p["storage_set"] if original == 0 else p["storage_reset"]
    if now == new:
        return gas + same, 0
    refund = 0
    if original:
        refund -= p["storage_clear_refund"] * (original != now and now == 0)
        refund += p["storage_clear_refund"] * (new == 0)
    if original == now:
        return gas + first, refund
    if original == new:
        refund += first - same
    return gas + same, refund


values = st.integers(0, 2)


@given(st.sampled_from(list(Fork)), values, st.lists(values, min_size=1, max_size=5), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_sequence_of_stores_follows_the_rule_of_its_era(fork: Fork, original: int, stores: list[int], load: bool) -> None:
    machine = Storage(fork, original)
    p = prices(fork)
    now, cold, left, refund = original, True, 10**6, 0
    if load:
        cost = p["sload"] if fork < Fork.BERLIN else p["cold_slot"]
        assert machine.load(left) == (left - cost, now)
        left, cold = left - cost, False
    for new in stores:
        gas, change = spec(fork, original, now, new, cold)
        if left - gas > 0:
            assert machine.store(new, left) == left - gas
        left, refund, now, cold = left - gas, refund + change, new, False
    assert machine.arena["refund"] == refund
    cost = p["sload"] if fork < Fork.BERLIN else p["warm"]
    assert machine.load(left) == (left - cost, now)
    assert REGIONS.violation() == 0


@pytest.mark.parametrize("fork", list(Fork), ids=lambda fork: fork.name.lower())
def test_too_little_gas_changes_nothing_and_the_sentry_holds_from_istanbul_on(fork: Fork) -> None:
    machine = Storage(fork, 1)
    machine.warm()
    gas, _ = spec(fork, 1, 1, 2, False)
    assert machine.store(2, gas - 1) < 0
    assert machine.arena["refund"] == 0
    assert machine.load(10**6)[1] == 1
    if fork >= Fork.ISTANBUL:
        assert machine.store(1, 2_300) < 0
        assert machine.store(1, 2_301) == 2_301 - prices(fork)["storage_same"]
