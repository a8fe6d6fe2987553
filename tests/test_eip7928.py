"""Block access lists on the wire: one encoding for each list, one rule for each fault, and what others write."""

from __future__ import annotations

import pickle
import random
import tracemalloc
from pathlib import Path
from typing import Any

import eip7928_naive as naive
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pevm_numba._kernels.eip7928 import Columns
from pevm_numba.access.eip7928 import AccountChanges, Eip7928List
from pevm_numba.access.eip7928_compare import check_reach, differences
from pevm_numba.access.eip7928_rules import ITEM_COST, Rule, RuleError
from pevm_numba.errors import AccessListError, BlockError
from pevm_numba.evm.accesses import BlockAccesses
from pevm_numba.evm.encoding import SYSTEM
from pevm_numba.evm.outcomes import NOTES
from pevm_numba.evm.plans import CELLS
from pevm_numba.evm.rlp import encode
from pevm_numba.evm.tx_accesses import RawAccesses
from pevm_numba.keys import KeyTable

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"

edges = st.sampled_from([0, 127, 128, 255, 256, 2**248, 2**256 - 1])
words = st.one_of(st.integers(0, 300), st.integers(0, 2**256 - 1), edges)
indices = st.one_of(st.integers(0, 5), st.sampled_from([0, 127, 128, 255, 256, 65_536, 2**32 - 1]))


def pairs(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.dictionaries(indices, values, max_size=3).map(lambda found: tuple(sorted(found.items())))


@st.composite
def accounts(draw: Any) -> list[AccountChanges]:
    """Any list."""
    found = []
    for address in sorted(draw(st.sets(st.one_of(st.binary(min_size=20, max_size=20), st.just(bytes(20))), max_size=4))):
        slots = draw(st.lists(words, unique=True, max_size=6))
        changed = sorted(slots[: len(slots) // 2])
        changes = tuple((slot, draw(pairs(words).filter(len))) for slot in changed)
        codes = st.one_of(st.binary(max_size=3), st.binary(min_size=50, max_size=60), st.just(b"\xfe" * 300))
        found.append(AccountChanges(
            address, changes, tuple(sorted(slots[len(slots) // 2 :])), draw(pairs(words)),
            draw(pairs(st.integers(0, 2**64 - 1))), draw(pairs(codes)),
        ))  # fmt: skip
    return found


def plain(one: Any) -> list[Any]:
    """An account as lists of lists."""
    address, slots, reads, *kinds = one
    changes = [[slot, [list(pair) for pair in its]] for slot, its in slots]
    return [address, changes, list(reads), *([list(pair) for pair in its] for its in kinds)]


@given(accounts())
@settings(max_examples=150, deadline=None)
def test_a_list_comes_back_and_is_what_another_writer_makes_of_it(listed: list[AccountChanges]) -> None:
    made = Eip7928List.from_accounts(listed)
    data = made.encode()
    assert data == encode([plain(one) for one in listed])
    again = Eip7928List.decode(data)
    assert again == made
    assert list(again) == listed
    assert Eip7928List(again.columns).encode() == data
    assert pickle.loads(pickle.dumps(again)) == made
    assert list(differences(made, again)) == []
    slots = sum(len(one.storage_changes) + len(one.storage_reads) for one in listed)
    assert (made.n_accounts, made.n_items) == (len(listed), len(listed) + slots)


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Encodings near this one: bytes changed, cut out, doubled, moved."""
    out = bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        at = draw.randrange(len(out) + 1)
        size = draw.choice([1, 1, 2, 21, 33])
        what = draw.randrange(6)
        if what == 0 and at < len(out):
            out[at] = draw.choice([0, 0x7F, 0x80, 0x81, 0xB8, 0xC0, 0xC1, 0xF8, 0xFF, draw.randrange(256)])
        elif what == 1 and at < len(out):
            out[at] = (out[at] + draw.choice([1, -1])) % 256
        elif what == 2:
            del out[at : at + size]
        elif what == 3:
            out[at:at] = out[at : at + size]
        elif what == 4:
            out[at:at] = bytes(draw.randrange(256) for _ in range(size))
        else:
            part = out[at : at + size]
            del out[at : at + size]
            place = draw.randrange(len(out) + 1)
            out[place:place] = part
    return bytes(out)


def shuffled(listed: list[AccountChanges], draw: random.Random) -> bytes:
    """The encoding of a list of which some part is out of order, twice there, or not what it should be."""
    items: Any = [plain(one) for one in listed]
    lists = [items]
    for one in items:
        lists += [one, one[1], one[2], one[3], one[4], one[5], *one[1], *(its for _, its in one[1])]
        lists += [pair for part in (*(its for _, its in one[1]), *one[3:]) for pair in part]
    part = draw.choice(lists)
    what = draw.randrange(5)
    if what == 0:
        draw.shuffle(part)
    elif part and what == 1:
        part.insert(draw.randrange(len(part) + 1), draw.choice(part))
    elif part and what == 2:
        del part[draw.randrange(len(part))]
    elif part and what == 3:
        part[draw.randrange(len(part))] = draw.choice([b"", b"\0", b"\0\1", [], b"\xff" * 9, b"\xff" * 33, 2**32, 2**64])
    else:
        part.append(draw.choice([b"", [], b"\5", [1, 2], [b"\1" * 20, [], [], [], [], []]]))
    return encode(items)


def outcome(data: bytes) -> tuple[str, Any]:
    """What the slow reader says."""
    try:
        return "", naive.decode(data)
    except naive.Broken as broken:
        return str(broken), None


@pytest.mark.parametrize("seed", range(12))
def test_damaged_lists_are_accepted_as_another_list_or_refused_by_the_right_rule(seed: int) -> None:
    draw = random.Random(seed)
    rules, accepted = set(), 0
    for _ in range(250):
        listed = []
        for address in sorted({bytes([draw.randrange(4)] * 20) for _ in range(3)}):
            slots = draw.sample(range(300), 4)
            values = [(slot, ((1, draw.randrange(300)), (3, 2**draw.randrange(256)))) for slot in sorted(slots[:2])]
            ends = ((1, draw.randrange(2**60)), (2, 5)), ((2, draw.randrange(300)),), ((2, bytes(draw.randrange(70))),)
            listed.append(AccountChanges(address, tuple(values), tuple(sorted(slots[2:])), *ends))
        data = shuffled(listed, draw) if draw.random() < 0.5 else mutated(Eip7928List.from_accounts(listed).encode(), draw)
        rule, items = outcome(data)
        if rule:
            with pytest.raises(RuleError) as caught:
                Eip7928List.decode(data)
            assert caught.value.rule.name == rule, data.hex()
            rules.add(rule)
        else:
            found = Eip7928List.decode(data)
            assert [plain(one) for one in found] == [plain(one) for one in items]
            assert encode([plain(one) for one in found]) == data == found.encode()
            accepted += 1
    assert len(rules) >= 10
    assert accepted > 5


ONE = AccountChanges(b"\x01" * 20, ((5, ((1, 7), (2, 8))),), (6,), ((1, 9),), ((1, 1),), ((1, b"\xfe"),))


def encoded(*items: Any) -> bytes:
    return encode(list(items))


def with_field(field: int, value: Any) -> bytes:
    items = plain(ONE)
    items[field] = value
    return encoded(items)


WRONG = {
    "TRUNCATED": encoded(plain(ONE))[:-1],
    "TRAILING_BYTES": encoded() + b"\0",
    "LENGTH_NOT_MINIMAL": b"\xf8\x01\xc0",
    "BYTE_NOT_MINIMAL": b"\xc2\x81\x05",
    "LIST_EXPECTED": encoded(b"\x05"),
    "STRING_EXPECTED": with_field(2, [[]]),
    "ACCOUNT_FIELDS": encoded(plain(ONE)[:5]),
    "SLOT_FIELDS": with_field(1, [[5]]),
    "CHANGE_FIELDS": with_field(3, [[1, 2, 3]]),
    "ADDRESS_SIZE": with_field(0, b"\x01" * 21),
    "LEADING_ZERO": with_field(2, [b"\x00\x05"]),
    "SLOT_RANGE": with_field(2, [b"\x01" * 33]),
    "VALUE_RANGE": with_field(3, [[1, b"\x01" * 33]]),
    "NONCE_RANGE": with_field(4, [[1, 2**64]]),
    "INDEX_RANGE": with_field(3, [[2**32, 1]]),
    "ACCOUNT_ORDER": encoded(plain(ONE), [b"\0" * 20, [], [], [], [], []]),
    "ACCOUNT_TWICE": encoded(plain(ONE), plain(ONE)),
    "SLOT_ORDER": with_field(1, [[5, [[1, 7]]], [4, [[1, 7]]]]),
    "SLOT_TWICE": with_field(1, [[5, [[1, 7]]], [5, [[1, 7]]]]),
    "SLOT_UNCHANGED": with_field(1, [[5, []]]),
    "READ_ORDER": with_field(2, [7, 6]),
    "READ_TWICE": with_field(2, [6, 6]),
    "READ_AND_CHANGED": with_field(2, [5]),
    "INDEX_ORDER": with_field(3, [[2, 1], [1, 1]]),
    "INDEX_TWICE": with_field(4, [[2, 1], [2, 1]]),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_rule_of_the_encoding_and_the_order_has_its_error(name: str) -> None:
    assert outcome(WRONG[name])[0] == name
    with pytest.raises(RuleError) as caught:
        Eip7928List.decode(WRONG[name])
    assert caught.value.rule.name == name
    assert caught.value.rule.text in str(caught.value)
    assert isinstance(caught.value, AccessListError)
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


def test_rules_that_need_the_block() -> None:
    made = Eip7928List.from_accounts([ONE])
    made.check(n_tx=1, gas_limit=3 * ITEM_COST)
    with pytest.raises(RuleError, match="1 at index 2 in a block of 0 transactions") as caught:
        made.check(n_tx=0)
    assert caught.value.rule is Rule.INDEX_BEYOND
    with pytest.raises(RuleError, match="3 items in a block of 5,999 gas") as caught:
        made.check(gas_limit=3 * ITEM_COST - 1)
    assert caught.value.rule is Rule.TOO_MANY_ITEMS
    assert len(WRONG) + 4 == len(Rule)  # with those that need an execution: SYSTEM_ADDRESS below, READS_OUT_OF_REACH


def test_the_caller_of_the_protocol_is_listed_only_if_the_block_looks_at_it() -> None:
    listed, bare = Eip7928List.from_accounts([ONE, AccountChanges(SYSTEM)]), Eip7928List.from_accounts([ONE])
    listed.check(n_tx=1)  # a transaction may ask for its balance, which only executing tells
    (phantom,) = differences(listed, bare)
    assert (phantom.address, phantom.what, phantom.kind, phantom.rule) == (SYSTEM, "account", "phantom", Rule.SYSTEM_ADDRESS)
    assert str(phantom) == f"0x{SYSTEM.hex()}: listed, but {Rule.SYSTEM_ADDRESS.text}"
    (missing,) = differences(bare, listed)
    assert (missing.kind, missing.rule) == ("missing", None)
    (value,) = differences(Eip7928List.from_accounts([AccountChanges(SYSTEM, (), (), ((1, 5),))]), Eip7928List.from_accounts(
        [AccountChanges(SYSTEM, (), (), ((1, 6),))]
    ))  # fmt: skip
    assert (value.kind, value.rule) == ("value", None)
    (other,) = differences(Eip7928List.from_accounts([ONE, AccountChanges(b"\x02" * 20)]), bare)
    assert (other.kind, other.rule) == ("phantom", None)


def test_the_empty_list() -> None:
    empty = Eip7928List.from_accounts([])
    assert empty.encode() == b"\xc0"
    assert empty.hash().hex() == "1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"
    assert Eip7928List.decode(b"\xc0") == empty
    empty.check(n_tx=0, gas_limit=0)


def test_arguments_that_cannot_be_meant() -> None:
    with pytest.raises(BlockError, match="address = b'\\\\x01': must be 20 bytes"):
        Eip7928List.from_accounts([AccountChanges(b"\x01")])
    with pytest.raises(BlockError, match="account 0, slot = -1"):
        Eip7928List.from_accounts([AccountChanges(bytes(20), ((-1, ((1, 1),)),))])
    with pytest.raises(BlockError, match=r"nonce = 18446744073709551616: must be in"):
        Eip7928List.from_accounts([AccountChanges(bytes(20), nonce_changes=((1, 2**64),))])
    with pytest.raises(BlockError, match="block access index = 4294967296"):
        Eip7928List.from_accounts([AccountChanges(bytes(20), balance_changes=((2**32, 0),))])
    for junk, told in (
        (5, r"accounts\[0\] = 5: must be an AccountChanges"), ((), r"accounts\[0\] = \(\): must be"),
        ((bytes(20),) * 7, r"accounts\[0\] = \(b'.*must be an AccountChanges"), (b"\x01" * 20, "must be an AccountChanges"),
        (AccountChanges(bytes(20), None), "account 0, storage_changes = None: must be a list of pairs of a slot and"),
        (AccountChanges(bytes(20), (5,)), r"storage_changes\[0\] = 5: must be a pair of a slot and its changes"),
        (AccountChanges(bytes(20), ((5, 7),)), "account 0, slot 0x5 = 7: must be a list of pairs of an index and a value"),
        (AccountChanges(bytes(20), ((80, ((1,),)),)), r"account 0, slot 0x50\[0\] = \(1,\): must be a pair of an index"),
        (AccountChanges(bytes(20), ((0, ((1, "2"),)),)), "account 0, slot 0x0 = '2': must be an integer"),
        (AccountChanges(bytes(20), (), 7), "account 0, storage_reads = 7: must be a list of slots"),
        (AccountChanges(bytes(20), (), ("7",)), "account 0, read = '7': must be an integer"),
        (AccountChanges(bytes(20), (), (), ((1, 2, 3),)), r"balance_changes\[0\] = \(1, 2, 3\): must be a pair of an index"),
        (AccountChanges(bytes(20), (), (), (), {1: 2}), r"nonce_changes = \{1: 2\}: must be a list of pairs"),
        (AccountChanges(bytes(20), code_changes=((1,),)), r"code_changes\[0\] = \(1,\): must be a pair of an index and a c"),
        (AccountChanges(bytes(20), code_changes=((1, "fe"),)), r"code_changes\[0\] code = 'fe': must be a bytes"),
        (AccountChanges(bytes(20), code_changes=((None, b"x"),)), "account 0, code, block access index = None: must be"),
    ):  # fmt: skip
        with pytest.raises(BlockError, match=told):
            Eip7928List.from_accounts([junk])  # type: ignore[list-item]  # the point of the test
    lists = [bytes(20), [[5, [[1, 7]]]], [6], np.array([[1, 9]]), [], [[1, b"x"]]]
    assert Eip7928List.from_accounts([lists])[0].balance_changes == ((1, 9),)  # type: ignore[list-item]  # lists will do
    with pytest.raises(BlockError, match="must be a bytes"):
        Eip7928List.decode("0xc0")  # type: ignore[arg-type]  # the point of the test
    good = Eip7928List.from_accounts([ONE]).columns
    with pytest.raises(BlockError, match="change_index and change_value: must have as many rows"):
        Eip7928List(good._replace(change_index=np.zeros(1, np.uint32)))
    with pytest.raises(BlockError, match="slot_indptr"):
        Eip7928List(good._replace(slot_indptr=np.array([0, 2])))
    with pytest.raises(BlockError, match="columns = 5"):
        Eip7928List(5)  # type: ignore[arg-type]  # the point of the test
    assert isinstance(good, Columns)


def test_an_account_is_had_without_the_code_of_others() -> None:
    """Each of n accounts copied the code of all: minutes for the list of a block that creates many contracts."""
    codes = {0: ((1, b"\xfe" * 9), (2, b"")), 2: ((1, b"\xaa" * 2**22),), 3: ((3, b"\x01"), (4, b"\x02\x03"))}
    accounts = [AccountChanges(bytes(19) + bytes([a]), code_changes=codes.get(a, ())) for a in range(5)]
    listed = Eip7928List.from_accounts(accounts)
    assert list(listed) == accounts
    tracemalloc.start()
    try:
        assert [listed[a] for a in (0, 1, 3, 4)] == [accounts[a] for a in (0, 1, 3, 4)]
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_what_is_unlike_is_told_in_order() -> None:
    other = ONE._replace(storage_changes=((5, ((1, 7),)), (9, ((2, 1),))), storage_reads=(), balance_changes=((1, 10),))
    more = AccountChanges(b"\x02" * 20)
    found = [
        (unlike.kind, unlike.what, unlike.slot, unlike.change_index, unlike.listed, unlike.found)
        for unlike in differences(Eip7928List.from_accounts([other]), Eip7928List.from_accounts([ONE, more]))
    ]
    assert found == [
        ("missing", "storage", 5, 2, None, 8), ("phantom", "storage", 9, 2, 1, None),
        ("missing", "read", 6, None, None, True), ("value", "balance", None, 1, 10, 9),
        ("missing", "account", None, None, None, True),
    ]  # fmt: skip


def test_what_cannot_be_compared_is_refused() -> None:
    listed = Eip7928List.from_accounts([ONE])
    for pair, told in (((listed, None), "found = None: must be an Eip7928List"), ((5, listed), "listed = 5: must be an Eip")):
        with pytest.raises(BlockError, match=told):
            differences(*pair)  # type: ignore[arg-type]  # the point of the test
    assert list(differences(listed, listed)) == []
    raw = RawAccesses(np.empty((0, 32), np.uint8), np.empty(0, np.int64), [np.empty(0, NOTES)] * 2, [np.empty(0, CELLS)] * 2)
    nothing, none = KeyTable.from_keys([]), np.empty(0, np.int64)
    accesses = BlockAccesses(2, nothing, none, none, np.empty((0, 32), np.uint8), np.empty((0, 20), np.uint8), {}, raw)
    check_reach(listed, accesses, [5, 7], ITEM_COST + 12)
    with pytest.raises(RuleError, match="1 reads to come after 1 transactions, with 1,999 gas"):
        check_reach(listed, accesses, [5, 7], ITEM_COST + 4)
    for arguments, told in (
        ((listed, accesses, [5], 9), r"gas_used has shape \(1,\): must be \(2\)"),
        ((listed, accesses, [5, 6, 7], 9), r"gas_used has shape \(3,\): must be \(2\)"),
        ((listed, accesses, [5, -6], 9), r"gas_used\[1\] = -6: must be in"), ((listed, accesses, "x", 9), "gas_used has"),
        ((listed, raw, [5, 6], 9), "must be a BlockAccesses"), ((None, accesses, [5, 6], 9), "listed = None: must be an Eip"),
        ((listed, accesses, [5, 6], -9), "gas_limit = -9"),
    ):  # fmt: skip
        with pytest.raises(BlockError, match=told):
            check_reach(*arguments)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.corpus
def test_lists_of_the_draft_of_2025_in_todays_form_and_back() -> None:
    """The corpus has rows of them; indices began at 0 with the first transaction then, and begin at 1 now."""
    table = pq.read_table(CORPUS / "bal" / "eip7928_accesses.parquet").to_pylist()
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in table:
        groups.setdefault((row["block_number"], row["encoding"], row["has_reads"]), []).append(row)
    assert len(groups) >= 90
    for rows in groups.values():
        listed: dict[bytes, Any] = {}
        for row in rows:
            slots, reads, *ends = listed.setdefault(row["address"], ({}, [], [], [], []))
            if row["kind"] == "storage_read":
                reads.append(int.from_bytes(row["slot"], "big"))
            elif row["kind"] != "account_access":
                pair = row["block_access_index"] + 1, row["value"]
                if row["kind"] != "code_change":
                    pair = pair[0], int.from_bytes(pair[1], "big")
                kinds = ("balance_change", "nonce_change", "code_change")
                if row["slot"]:
                    slots.setdefault(int.from_bytes(row["slot"], "big"), []).append(pair)
                else:
                    ends[kinds.index(row["kind"])].append(pair)
        items = []
        for one, (slots, reads, *ends) in sorted(listed.items()):
            changes = tuple((slot, tuple(its)) for slot, its in sorted(slots.items()))
            items.append(AccountChanges(one, changes, tuple(sorted(reads)), *map(tuple, ends)))
        made = Eip7928List.decode(encode([plain(one) for one in items]))
        assert list(made) == items
        entries = [len(one[2]) + sum(map(len, one[3:])) + sum(len(its) for _, its in one[1]) for one in made]
        assert sum(n or 1 for n in entries) == len(rows)
