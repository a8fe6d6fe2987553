"""States in arenas: all at once as key by key, and read out as they were put in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pevm_numba._kernels.evm import layout
from pevm_numba._kernels.evm.layout import CREDIT
from pevm_numba.evm import accesses
from pevm_numba.evm.arena import Arena, Room
from pevm_numba.evm.engine import Engine
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.hashing import EMPTY_HASH, keccak
from pevm_numba.evm.outcomes import NOTES, array_of, read_logs
from pevm_numba.evm.plans import CELLS, serial_plan
from pevm_numba.evm.workloads import generate_evm
from pevm_numba.evm.world import (
    AccountState,
    add_state,
    as_values,
    as_words,
    key_number,
    key_numbers,
    key_table,
    read_state,
    values_of,
    word,
    word_value,
)
from pevm_numba.machine.ops import Field

NUMBERS = st.one_of(st.integers(0, 2), st.integers(0, 2**256 - 1))
ADDRESSES = st.sampled_from([bytes(20), b"\x01" * 20, b"\xff" * 20, bytes(19) + b"\x02"])
WORLDS = st.dictionaries(
    ADDRESSES,
    st.builds(
        AccountState, NUMBERS, st.integers(0, 2**64 - 1), st.sampled_from([b"", b"\x00", b"\x5b" * 70]),
        st.dictionaries(NUMBERS, NUMBERS, max_size=4),
    ),
)  # fmt: skip
KEYS = st.lists(st.tuples(ADDRESSES, st.sampled_from(list(Field)), NUMBERS))


def add_one_by_one(arena: Arena, world: dict[bytes, AccountState], zeros: bool) -> None:
    """The slow twin of `add_state`."""
    values = arena.words("values")
    for address, account in world.items():
        key = key_number(arena, address, Field.BALANCE, 0)
        values[key], values[key + 1] = word(account.balance).view("u8"), word(account.nonce).view("u8")
        if account.code:
            arena.add_code(account.code)
            values[key + 2] = np.frombuffer(keccak(account.code)[::-1], "u8")
        elif arena.fork < Fork.SPURIOUS or not (account.balance or account.nonce):
            values[key + 2] = np.frombuffer(EMPTY_HASH[::-1], "u8")
        for slot, value in account.storage.items():
            if value or zeros:
                values[key_number(arena, address, Field.STORAGE, slot)] = word(value).view("u8")


def table(arena: Arena) -> dict[tuple[int, int], int]:
    """Value by owner's word (or -1, and which of its three) and own."""
    words, owners = key_table(arena)
    found, values, turn = {}, values_of(arena), 0
    for k, owner in enumerate(owners.tolist()):
        turn = turn % 3 + 1 if owner < 0 else 0
        place = (-turn, word_value(words[k])) if owner < 0 else (word_value(words[owner]), word_value(words[k]))
        found[place] = word_value(values[k].view("u1"))
    return found


@given(WORLDS, st.sampled_from([Fork.FRONTIER, Fork.CANCUN]), st.booleans())
@settings(deadline=None)
def test_a_state_is_put_in_at_once_as_one_by_one(world: dict[bytes, AccountState], fork: Fork, zeros: bool) -> None:
    at_once, slowly = Arena(fork), Arena(fork)
    heads, places = add_state(at_once, world, zeros=zeros)
    add_one_by_one(slowly, world, zeros)
    assert table(at_once) == table(slowly)
    assert heads.tolist() == [key_number(at_once, address, Field.BALANCE, 0) for address in world]
    assert len(places) == sum(1 for one in world.values() for value in one.storage.values() if value or zeros)
    assert at_once["bare_storage"] == any(one.storage and not one.nonce and not one.code for one in world.values())
    real = {
        address: one._replace(storage={slot: value for slot, value in one.storage.items() if value})
        for address, one in world.items()
    }
    assert read_state(at_once) == real
    before = values_of(at_once)
    at_once.words("values")[:] = 0
    key_number(at_once, b"\x77" * 20, Field.STORAGE, 5)
    assert read_state(at_once) == {}
    assert read_state(at_once, values=before) == real


@given(KEYS)
@settings(deadline=None)
def test_keys_are_numbered_at_once_as_one_by_one(keys: list[tuple[bytes, int, int]]) -> None:
    arena = Arena(Fork.CANCUN)
    numbers = key_numbers(arena, keys)
    assert numbers.tolist() == [key_number(arena, *key) for key in keys]
    assert len(set(numbers.tolist())) == len({(a, f, s if f == Field.STORAGE else 0) for a, f, s in keys})
    assert len(key_table(arena)[0]) == 3 * len({key[0] for key in keys}) + len({key for key in keys if key[1] == 0})


@given(st.lists(NUMBERS))
def test_numbers_are_words_and_back(values: list[int]) -> None:
    assert as_values(as_words(values)) == values
    assert [word_value(row) for row in as_words(values)] == values


@pytest.mark.parametrize("room", [3, 4, 8])
def test_a_state_that_does_not_fit_is_told(room: int) -> None:
    arena = Arena(Fork.CANCUN, Room(keys=room))
    add_state(arena, {bytes([i]) * 20: (5, 1, b"", {1: 2}) for i in range(3)})
    assert arena["status"] == layout.FULL
    arena = Arena(Fork.CANCUN, Room(code_bytes=64))
    add_state(arena, {b"\x01" * 20: (5, 1, b"\x5b" * 4000, {})})
    assert arena["status"] == layout.FULL


def test_what_transactions_leave_is_gathered_as_one_by_one() -> None:
    block = generate_evm("erc20", n_tx=12, seed=3)
    engine = Engine(block.env, block.transactions, block.state, records=True)
    for _ in range(2):  # what was gathered of one run is not taken for the next one's
        engine.run(serial_plan(block.n_tx))
        records = engine.records
        for name, dtype, got in (("notes", NOTES, engine.notes), ("cells", CELLS, engine.changes)):
            alone = [array_of(int(records[name][t]), int(records[f"n_{name}"][t]), dtype) for t in range(block.n_tx)]
            assert [one.tobytes() for one in got.each()] == [one.tobytes() for one in alone]
            assert [got.of(t).tobytes() for t in range(block.n_tx)] == [one.tobytes() for one in alone]
            assert got.tx.tolist() == [t for t, one in enumerate(alone) for _ in one]
            assert len(got.records) > block.n_tx
        assert engine.results.logs() == tuple(read_logs(record) for record in records)
        assert any(engine.results.logs())
        before = engine.notes.records
        engine.reset(serial_plan(block.n_tx))
        assert len(engine.notes.records) == 0 < len(before)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), NUMBERS), max_size=12).map(sorted),
    st.lists(NUMBERS, max_size=3),
)
def test_amounts_are_added_up_as_integers(given_: list[tuple[int, bool, int]], before: list[int]) -> None:
    changes = np.zeros(len(given_), accesses._CHANGE)
    expected, now = [], dict(enumerate(before))
    for i, (key, is_credit, value) in enumerate(given_):
        changes[i] = (key, i, CREDIT if is_credit else 0, word(value).view("u8"))
        now[key] = (now.get(key, 0) + value) % 2**256 if is_credit else value
        expected.append(now[key])
    accesses._add_credits(changes, as_words(before).view("u8").reshape(-1, 4))
    assert as_values(np.ascontiguousarray(changes["value"]).view("u1")) == expected
