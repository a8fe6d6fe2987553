"""Access lists of transactions: what an entry saves is what the machine charges less, and no other list is cheaper."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_keys.datatypes import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.access.eip2930 import (
    EIP_7981,
    Entries,
    ListPrices,
    cheapest_list,
    encode_list,
    encode_lists,
    expected_lists,
    list_difference,
    list_prices,
    with_list,
)
from pevm_numba.access.eip2930_tried import accessed_lists, optimal_access_lists
from pevm_numba.errors import BlockError, FileFormatError
from pevm_numba.evm.block import EvmBlock
from pevm_numba.evm.forks import Fork
from pevm_numba.evm.hashing import keccak
from pevm_numba.evm.header import BlockEnv
from pevm_numba.evm.machine import Evm
from pevm_numba.evm.rlp import decode, encode
from pevm_numba.evm.transaction import Authorization, Transaction
from pevm_numba.io.access_lists import access_list_json, access_list_of
from pevm_numba.io.evm_tables import evm_numbers, read_evm_blocks
from pevm_numba.io.json_reader import JsonReader

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
SENDER, CODE, OTHER = b"\x01" * 20, b"\x02" * 20, b"\x03" * 20
POINTS, LOOKS = b"\x04" * 20, b"\x05" * 20
#: Asks for the balances of two accounts that were no precompiles in Shanghai; one is in Prague.
LOOKING = bytes.fromhex("600b31605031")
PRICES = ListPrices(2_400, 1_900)


def block_of(code: str, fork: Fork = Fork.SHANGHAI, other: str = "00", **fields: object) -> EvmBlock:
    """One call of a contract."""
    state = {SENDER: (10**18, 0, b"", {}), CODE: (0, 1, bytes.fromhex(code), {}), OTHER: (5, 1, bytes.fromhex(other), {})}
    tx = Transaction(gas_price=9, gas_limit=2_000_000, to=CODE, sender=SENDER)
    blobs = {"excess_blob_gas": 0} if fork >= Fork.CANCUN else {}
    env = BlockEnv(number=7, timestamp=1, fork=fork, base_fee=7 if fork >= Fork.LONDON else None, **blobs)
    return EvmBlock(env, [replace(tx, **fields)], state)


def loads(n: int) -> str:
    """Load n slots."""
    return "".join(f"60{slot:02x}54 50" for slot in range(n)).replace(" ", "")


def stores(n: int) -> str:
    """Store to n slots."""
    return "".join(f"600160{slot:02x}55" for slot in range(n))


CALL_OTHER = "5f5f5f5f5f73" + OTHER.hex() + "5af150"


@pytest.mark.parametrize(("code", "n_listed", "saved"), [
    (loads(24), 0, 0), (loads(25), 25, 100), (loads(30), 30, 600), (stores(12), 0, 0), (stores(13), 13, 200), ("00", 0, 0),
])  # fmt: skip
def test_slots_of_the_contract_that_is_called_pay_from_25_loads_on(code: str, n_listed: int, saved: int) -> None:
    (found,) = optimal_access_lists(block_of(code))
    assert sum(len(slots) for _, slots in found.entries) == n_listed
    assert (found.saved, found.expected) == (saved, saved)
    done = pn.execute(block_of(code), "serial")
    assert done.gas_used[0] == found.gas_without
    listed = block_of(code, type=1, chain_id=1, access_list=found.entries)
    assert pn.execute(listed, "serial").gas_used[0] == found.gas_used


@pytest.mark.parametrize(("code", "saved"), [
    (CALL_OTHER, 100), ("73" + OTHER.hex() + "31", 100), ("73" + OTHER.hex() + "3b", 100), ("73" + OTHER.hex() + "3f", 100),
    ("5f5f5f73" + OTHER.hex() + "3c", 100), (CALL_OTHER * 3, 100), ("73" + OTHER.hex() + "ff", 200),
    (CALL_OTHER.replace("f150", "f250"), 100), ("5f5f5f5f73" + OTHER.hex() + "5af4", 100),
    ("5f5f5f5f73" + OTHER.hex() + "5afa", 100),
])  # fmt: skip
def test_an_account_pays_by_itself_once(code: str, saved: int) -> None:
    (found,) = optimal_access_lists(block_of(code))
    assert found.entries == ((OTHER, ()),)
    assert (found.saved, found.expected) == (saved, saved)


@pytest.mark.parametrize("address", [SENDER, CODE, (4).to_bytes(20, "big"), bytes(20)])
def test_what_is_warm_anyhow_is_not_listed(address: bytes) -> None:
    """The sender, whom he calls, a precompile, the fee recipient from Shanghai on."""
    code = "73" + address.hex() + "31"
    (found,) = optimal_access_lists(block_of(code))
    assert found.entries == ()
    if address == bytes(20):
        (before,) = optimal_access_lists(block_of(code, Fork.LONDON))
        assert (before.entries, before.saved) == (((address, ()),), 100)


def test_slots_of_another_contract_pay_with_its_address() -> None:
    (found,) = optimal_access_lists(block_of(CALL_OTHER, other=loads(2) + "6001600555"))
    assert found.entries == ((OTHER, (0, 1, 5)),)
    assert found.saved == found.expected == 100 + 2 * 100 + 200


def test_a_cold_access_of_a_call_that_fails_is_paid_for_again_and_again() -> None:
    """It is warm only as long as nothing is undone: a listed one stays so."""
    (found,) = optimal_access_lists(block_of(CALL_OTHER * 3, other="5f545f5ffd"))
    assert found.entries == ((OTHER, (0,)),)
    assert found.saved == found.expected == 100 + 3 * 2_000 - 1_900


def test_a_list_that_pays_nothing_is_none() -> None:
    """Data so long that its floor decides what is paid (EIP-7623)."""
    block = block_of(CALL_OTHER, Fork.PRAGUE, data=b"\1" * 3_000)
    (found,) = optimal_access_lists(block)
    assert (found.entries, found.saved, found.expected) == ((), 0, 100)


@pytest.mark.parametrize("carried", [((CODE, (0,)),), ((OTHER, ()), (CODE, (0,)), (OTHER, ()))])
def test_the_list_that_a_transaction_carries_is_tried(carried: Entries) -> None:
    """By prices a slot of the recipient does not pay, but here all gas of a call burns unless it is warm."""
    needs = "5f545061c0005a11600c57fe5b00"  # loads slot 0, fails with 0xc000 gas or less left
    code = f"5f5f5f5f73{OTHER.hex()}61c400f450"
    block = block_of(code, other=needs, type=1, chain_id=1, access_list=carried)
    real = int(pn.execute(block, "serial").gas_used[0])
    (found,) = optimal_access_lists(block)
    assert (found.entries, found.gas_used) == (carried, real)
    assert found.saved > 40_000 > found.expected == gain_of(carried, found.accessed, PRICES)
    (bare,) = optimal_access_lists(block_of(code, other=needs))
    assert (bare.entries, bare.expected, bare.gas_without) == (((OTHER, ()),), 100, found.gas_without)


@pytest.mark.parametrize("carried", [((OTHER, ()),), ((OTHER, ()), (CODE, ())), ((SENDER, (1,)),)])
def test_a_list_that_is_no_better_is_not_kept(carried: Entries) -> None:
    (found,) = optimal_access_lists(block_of(CALL_OTHER, type=1, chain_id=1, access_list=carried))
    assert (found.entries, found.saved, found.expected) == (((OTHER, ()),), 100, 100)


def test_prices_of_other_rules() -> None:
    assert EIP_7981 == (3_680, 3_948)
    (found,) = optimal_access_lists(block_of(loads(40) + CALL_OTHER), EIP_7981)
    assert (found.entries, found.saved) == ((), 0)
    assert list_prices(Fork.CANCUN) == PRICES
    with pytest.raises(BlockError, match="from Berlin on"):
        next(optimal_access_lists(block_of("00", Fork.ISTANBUL)))


def test_trying_leaves_the_state_as_it_was() -> None:
    block = block_of(stores(3) + CALL_OTHER)
    machine = Evm(block.env, block.state)
    before = machine.state()
    outcome, accesses = machine.try_out(block.transactions[0])
    assert machine.state() == before
    assert machine.run(block.transactions[0]) == outcome
    assert [(address, slot) for address, slot, _ in accesses.of(0)][-1] == (OTHER, None)
    refused = replace(block.transactions[0], nonce=5)
    with pytest.raises(BlockError, match="nonce"):
        machine.try_out(refused)


def gain_of(listed: Entries, accessed: Sequence[tuple[bytes, int | None, int]], cost: ListPrices) -> int:
    """Gas that a list saves, entry by entry: one that is there twice saves once."""
    saves = {(address, slot): gas for address, slot, gas in accessed}
    keys = [(address, slot) for address, its in listed for slot in (None, *its)]
    return sum(saves.get(key, 0) for key in set(keys)) - sum(cost.address if key[1] is None else cost.slot for key in keys)


def entries_of(listed: Entries) -> Counter[tuple[bytes, int | None]]:
    return Counter((address, slot) for address, its in listed for slot in (None, *its))


slots = st.dictionaries(st.integers(0, 3), st.sampled_from([0, 2_000, 2_100, 4_000]), max_size=3)
accesses = st.lists(st.tuples(st.sampled_from([0, 2_500, 2_600, 5_000]), slots), max_size=2)
costs = st.sampled_from([PRICES, EIP_7981, ListPrices(2_400, 2_000), ListPrices(100, 100)])


def rows_of(made: list[tuple[int, dict[int, int]]]) -> list[tuple[bytes, int | None, int]]:
    rows: list[tuple[bytes, int | None, int]] = []
    for a, (gas, its) in enumerate(made):
        rows += [(bytes([a + 1]) * 20, None, gas), *((bytes([a + 1]) * 20, slot, saved) for slot, saved in its.items())]
    return rows


@given(accesses, costs)
@settings(max_examples=120, deadline=None)
def test_no_list_is_cheaper(made: list[tuple[int, dict[int, int]]], cost: ListPrices) -> None:
    accessed = rows_of(made)
    entries, saved = cheapest_list(accessed, cost)
    each = []
    for a, (_, its) in enumerate(made):
        chosen = [part for n in range(len(its) + 1) for part in itertools.combinations(its, n)]
        each.append([(), *(((bytes([a + 1]) * 20, part),) for part in chosen)])
    best = max(gain_of(sum(parts, ()), accessed, cost) for parts in itertools.product(*each))
    assert gain_of(entries, accessed, cost) == saved == best
    assert list_difference(entries, accessed, cost) == ((), ())
    missing, surplus = list_difference((), accessed, cost)
    assert {(address, slot) for address, slot, _ in missing} == set(entries_of(entries))
    assert surplus == ()


lists = st.lists(st.tuples(st.integers(1, 3), st.lists(st.integers(0, 4), max_size=4)), max_size=4)


@given(accesses, lists, costs)
@settings(max_examples=300, deadline=None)
def test_a_difference_is_what_a_list_loses(
    made: list[tuple[int, dict[int, int]]], drawn: list[tuple[int, list[int]]], cost: ListPrices
) -> None:
    """To drop the surplus and to add what is missing makes the list cheapest, and gains the gas of the difference."""
    accessed, listed = rows_of(made), tuple((bytes([a]) * 20, tuple(its)) for a, its in drawn)
    best, found = cheapest_list(accessed, cost)[1], list_difference(listed, accessed, cost)
    assert found.gas == best - gain_of(listed, accessed, cost)
    assert (found == ((), ())) is (found.gas == 0)
    missing, surplus = (Counter((address, slot) for address, slot, _ in part) for part in found)
    assert surplus <= entries_of(listed)
    assert not missing & entries_of(listed)
    mended = entries_of(listed) - surplus + missing
    grouped = {address: [slot for owner, slot in mended.elements() if owner == address] for address, _ in mended}
    assert all(its.count(None) == 1 for its in grouped.values())
    again = tuple((address, tuple(slot for slot in its if slot is not None)) for address, its in grouped.items())
    assert gain_of(again, accessed, cost) == best
    for part in found:
        for address in {one[0] for one in part}:
            assert sum(gas for owner, _, gas in part if owner == address) > 0


def test_what_a_list_has_too_much_and_too_little() -> None:
    accessed = [(CODE, None, 0), (CODE, 5, 2_000), (OTHER, None, 2_500), (OTHER, 3, 2_000)]
    found = list_difference(((OTHER, (5, 6, 5)), (SENDER, ()), (OTHER, ())), accessed, PRICES)
    assert found.missing == ((OTHER, 3, 100),)
    assert found.surplus == (
        (OTHER, 5, 1_900), (OTHER, 6, 1_900), (OTHER, 5, 1_900), (SENDER, None, 2_400), (OTHER, None, 2_400),
    )  # fmt: skip
    assert found.gas == 100 + 3 * 1_900 + 2 * 2_400


def test_an_address_is_settled_with_its_slots() -> None:
    """One that is warm anyhow is surplus; a slot of it is neither missing nor worth its address, but 25 are."""
    few, many = ([(CODE, None, 0), *((CODE, slot, 2_000) for slot in range(n))] for n in (2, 25))
    assert list_difference(((CODE, ()),), few[:1], PRICES) == ((), ((CODE, None, 2_400),))
    assert list_difference(((OTHER, ()),), [*few, (OTHER, None, 2_500)], PRICES) == ((), ())
    found = list_difference(((CODE, (0,)),), few, PRICES)
    assert found == ((), ((CODE, None, 2_400), (CODE, 0, -100)))
    assert found.gas == 2_300
    assert list_difference(((CODE, tuple(range(24))),), many, PRICES) == (((CODE, 24, 100),), ())
    missing = list_difference((), many, PRICES).missing
    assert missing == ((CODE, None, -2_400), *((CODE, slot, 100) for slot in range(25)))


def test_lists_before_and_after() -> None:
    block = block_of(loads(2) + CALL_OTHER)
    done = pn.execute(block, "serial")
    (after,) = accessed_lists(block)
    assert after.entries == ((CODE, (0, 1)), (OTHER, ()))
    before = expected_lists(pn.access_sets(block, "static"))
    assert {address for address, _ in before[0]} == {SENDER, CODE, bytes(20)}
    assert dict(expected_lists(done.observed)[0])[CODE] == (0, 1)
    text = access_list_json(*after)
    assert access_list_of(JsonReader("it"), "accessList", text["accessList"]) == after.entries
    assert decode(encode_list(after.entries)) == [
        [address, [slot.to_bytes(32, "big") for slot in its]] for address, its in after.entries
    ]
    assert decode(encode_lists([after.entries, ()])) == [decode(encode_list(after.entries)), []]
    for wrong in (((b"\x01", ()),), ((CODE, (2**256,)),), (5,)):
        with pytest.raises(BlockError, match=r"access_list\[0\]"):
            encode_list(wrong)
    with pytest.raises(BlockError, match="cost = 5: must be"):
        next(optimal_access_lists(block, 5))
    with pytest.raises(FileFormatError, match=r"accessList\[0\].address"):
        access_list_of(JsonReader("it"), "accessList", [{"address": "0x1", "storageKeys": []}])
    with pytest.raises(BlockError, match="without a table"):
        expected_lists(pn.access_sets(pn.generate(n_tx=3)))
    with pytest.raises(BlockError, match="without a table"):
        expected_lists(pn.access_sets(pn.generate(n_tx=3)), pn.generate(n_tx=50))
    with pytest.raises(BlockError, match="whole accounts"):
        expected_lists(pn.access_sets(block, granularity="account"))


def balance_of(address: bytes) -> str:
    return f"73{address.hex()}31"


@pytest.mark.parametrize(("fork", "fields", "listed"), [
    (Fork.SHANGHAI, {"to": None, "data": bytes.fromhex("00")}, ()),  # the contract that it creates
    (Fork.SHANGHAI, {"to": None, "data": bytes.fromhex("600554")}, "created"),
    (Fork.SHANGHAI, {"to": POINTS}, ((CODE, ()),)), (Fork.PRAGUE, {"to": POINTS}, ()),  # to whom `to` delegates
    (Fork.SHANGHAI, {"to": LOOKS}, (((0x0B).to_bytes(20, "big"), ()), ((0x50).to_bytes(20, "big"), ()))),
    (Fork.PRAGUE, {"to": LOOKS}, (((0x50).to_bytes(20, "big"), ()),)),  # 0x0b is a precompile since then
    (Fork.SHANGHAI, {"to": CODE, "type": 1, "chain_id": 1, "access_list": ((OTHER, ()), (SENDER, ()))}, ((OTHER, ()),)),
])  # fmt: skip
def test_an_address_without_slots_is_listed_if_it_is_cold(fork: Fork, fields: dict[str, Any], listed: Any) -> None:
    """So the rules of a fork decide, and not what it carries already."""
    block = block_of(CALL_OTHER, fork, **fields)
    codes = {POINTS: b"\xef\x01\x00" + CODE if fork >= Fork.PRAGUE else bytes.fromhex(balance_of(CODE)), LOOKS: LOOKING}
    state = {**block.state, **{address: (0, 1, code, {}) for address, code in codes.items()}}
    if fork >= Fork.PRAGUE:
        state[CODE] = (0, 1, b"\0", {})
    found = next(accessed_lists(EvmBlock(block.env, block.transactions, state)))
    if listed == "created":
        listed = ((keccak(encode([SENDER, b""]))[12:], (5,)),)
    assert found.entries == listed


def test_who_authorizes_is_warm() -> None:
    """The account that is told to delegate (EIP-7702), whether or not somebody looks at it."""
    key = PrivateKey(bytes(31) + b"\x05")
    signed = Authorization(1, OTHER, 0, *key.sign_msg_hash(keccak(b"\x05" + encode([1, OTHER, 0]))).vrs)
    fees = {"type": 4, "chain_id": 1, "gas_price": None, "max_fee_per_gas": 9, "max_priority_fee_per_gas": 1}
    for code in ("00", balance_of(key.public_key.to_canonical_address())):
        (found,) = accessed_lists(block_of(code, Fork.PRAGUE, authorization_list=(signed,), **fees))
        assert found.entries == ()


@pytest.mark.parametrize("carried", [(), ((OTHER, (7,)),)])
def test_gas_is_that_of_a_run_with_what_was_accessed(carried: Entries) -> None:
    """In place of what it carries, and after the transactions before it, as they are."""
    fields = {"type": 1, "chain_id": 1, "access_list": carried}
    first = block_of("5f5460010180" + "5f55" + loads(2) + CALL_OTHER, **fields)  # another way each time: slot 0 counts
    block = EvmBlock(first.env, [first.transactions[0], replace(first.transactions[0], nonce=1)], first.state)
    for t, found in enumerate(accessed_lists(block)):
        listed = [*block.transactions[:t], replace(block.transactions[t], access_list=found.entries)]
        assert found.entries == ((CODE, (0, 1)), (OTHER, ()))
        assert found.gas_used == pn.execute(EvmBlock(block.env, listed, block.state), "serial").gas_used[t]
        assert found.gas_used != pn.execute(block, "serial").gas_used[t]


def test_gas_is_not_known_where_there_is_too_little_for_the_list() -> None:
    (found,) = accessed_lists(block_of(loads(2), gas_limit=26_000))
    assert found == (((CODE, (0, 1)),), None)


def test_there_are_no_lists_before_berlin() -> None:
    with pytest.raises(BlockError, match="from Berlin on"):
        next(accessed_lists(block_of("00", Fork.ISTANBUL)))


@pytest.mark.corpus
@pytest.mark.parametrize("position", [0.3, 0.6, 0.9])
def test_on_real_blocks_the_gas_is_what_the_prices_say(position: float) -> None:
    """But where a refund is capped, or a call that runs out of gas burns what it was given."""
    numbers = [one for one in evm_numbers(CORPUS) if one >= 12_244_000]
    number = numbers[int(position * len(numbers))]
    if DISABLED:
        pytest.skip("a real block takes minutes in plain Python")
    (block,) = read_evm_blocks(CORPUS, [number])
    done = pn.execute(block, "serial")
    found = list(optimal_access_lists(block))
    assert len(found) == block.n_tx
    for tx, gas, one in zip(block.transactions, done.gas_used.tolist(), found):
        assert one.gas_used <= one.gas_without
        assert bool(one.entries) == (one.saved > 0)
        assert one.gas_used <= gas
        if not tx.access_list:
            assert one.gas_without == gas
    unlike = sum(one.saved != one.expected for one in found)
    assert unlike <= 0.05 * len(found)
    swapped = [with_list(tx, one.entries, block.env) if one.entries else tx for tx, one in zip(block.transactions, found)]
    last = max((t for t, one in enumerate(found) if one.entries), default=None)
    if last is not None:  # those before it as they were
        again = EvmBlock(block.env, [*block.transactions[:last], swapped[last]], block.state)
        assert pn.execute(again, "serial").gas_used[last] == found[last].gas_used
