"""A block means its content: the caller's numbering, repeats and sharing never show, and no bad array gets past the door."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import blocks

from pevm_numba import door, joining
from pevm_numba.block import Block, Header
from pevm_numba.errors import BlockError
from pevm_numba.generate import generate
from pevm_numba.machine.gas import gas_schedule
from pevm_numba.machine.ops import CREDIT_FIELD, MAX_COUNT, TOP, Mode, Op
from pevm_numba.programs import access_lists_of, limbs

A, B, C = (1, 0, 0), (2, 0, 7), (3, 1, 0)
Columns = dict[str, Any]


# -------------------------------------------------------------------- interning


def intern_twin(rows: list[bytes]) -> tuple[list[int], list[int]]:
    """Ids in order of first appearance, and the first row of each, by a dict."""
    known: dict[bytes, int] = {}
    first: list[int] = []
    for i, row in enumerate(rows):
        if row not in known:
            known[row] = len(known)
            first.append(i)
    return [known[row] for row in rows], first


def key_rows(rows: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of 53 bytes as the three arrays of a key table."""
    table = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 53)
    return tuple(np.ascontiguousarray(part) for part in (table[:, :20], table[:, 20], table[:, 21:]))


@st.composite
def some_rows(draw: st.DrawFn) -> list[bytes]:
    """Key rows of which many are equal, or differ in a single byte."""
    alike = draw(st.lists(st.tuples(st.integers(0, 52), st.sampled_from([1, 128, 255])), min_size=1, max_size=8))
    pool = [bytes(53)]
    for place, value in alike:
        row = bytearray(pool[draw(st.integers(0, len(pool) - 1))])
        row[place] = value
        pool.append(bytes(row))
    return draw(st.lists(st.sampled_from(pool), max_size=40))


@given(some_rows())
def test_interning_equals_a_dict_in_order_of_first_appearance(rows):
    ids, first = door.intern_rows(*key_rows(rows))
    assert (ids.tolist(), first.tolist()) == intern_twin(rows)


@pytest.mark.parametrize("distinct", [1, 300, 2**40])
def test_interning_a_hundred_thousand_rows_finds_as_many_keys_as_sorting_them(distinct):
    rng = np.random.default_rng(5)
    seeds = rng.integers(0, distinct, 100_000).astype(np.uint64)
    table = np.zeros((len(seeds), 7), np.uint64)
    for column, multiplier in enumerate((1, 3, 0, 0x9E3779B97F4A7C15, 0, 5, 7)):
        table[:, column] = seeds * np.uint64(multiplier)
    rows = np.ascontiguousarray(table.view(np.uint8).reshape(-1, 56)[:, :53])
    ids, first = door.intern_rows(*(np.ascontiguousarray(part) for part in (rows[:, :20], rows[:, 20], rows[:, 21:])))
    _, first_sorted, inverse = np.unique(rows.view("S53").ravel(), return_index=True, return_inverse=True)
    assert np.array_equal(np.sort(first), np.sort(first_sorted))
    assert (np.diff(first) > 0).all()  # ids in order of first appearance
    assert np.array_equal(first[ids], first_sorted[inverse])


@given(blocks(deep=False))
def test_key_ids_follow_the_first_touch_and_then_the_order_of_keys(block):
    touched = [block.op_key, block.list_entry, block.read_key, block.write_key]
    seen = list(dict.fromkeys(int(k) for part in touched for k in part if k >= 0))
    assert seen == list(range(len(seen)))
    rest = [block.key(k) for k in range(len(seen), block.n_keys)]
    assert rest == sorted(rest)
    assert block.pre_values[len(seen) :].any(axis=1).all()  # a key that is only in the pre-state is there for its value
    assert len({block.key(k) for k in range(block.n_keys)}) == block.n_keys


# -------------------------------------------------------------------- canonical form


def remade(block: Block, rng: random.Random) -> Block:
    """The same content, handed in another way: key rows shuffled and repeated, words and payloads shuffled or shared."""
    columns = joining.columns_of(block)
    order = list(range(block.n_keys)) * 2
    rng.shuffle(order)
    rows_of: list[list[int]] = [[] for _ in range(block.n_keys)]
    for row, k in enumerate(order):
        rows_of[k].append(row)

    def rows(ids: np.ndarray) -> np.ndarray:
        return np.array([k if k < 0 else rng.choice(rows_of[k]) for k in ids.tolist()], np.int32)

    for name in ("key_address", "key_field", "key_slot"):
        columns[name] = columns[name][order]
    for name in ("op_key", "list_entry", "state_key"):
        columns[name] = rows(np.asarray(columns[name]))
    for name in ("declared_reads", "declared_writes"):
        indptr, ids, declares = columns[name]
        columns[name] = (indptr, rows(ids), declares)
    state = rng.sample(range(block.n_keys), block.n_keys)
    columns["state_key"], columns["state_value"] = columns["state_key"][state], columns["state_value"][state]
    _share_literals(columns, rng)
    return Block.from_arrays(
        number=block.number, fork=block.fork, header=block.header, meta=block.meta, **columns
    )


def _share_literals(columns: Columns, rng: random.Random) -> None:
    code, arg = columns["op_code"], columns["op_arg"].copy()
    words = sorted({tuple(word) for word in columns["words"].tolist()}, reverse=True)
    data, ends = columns["payload_data"].tobytes(), columns["payload_indptr"].tolist()
    payloads = [data[a:b] for a, b in pairwise(ends)]
    shared = list(dict.fromkeys([b"not used", *payloads]))
    rng.shuffle(shared)
    for i, (op, value) in enumerate(zip(code.tolist(), arg.tolist())):
        if op == Op.KECCAK:
            arg[i] = shared.index(payloads[value])
        elif op in (Op.ADD, Op.SUB, Op.CREDIT) or (op == Op.SSTORE and value != TOP):
            arg[i] = words.index(tuple(columns["words"][value].tolist()))
    columns["op_arg"] = arg
    columns["words"] = np.array([*words, (9, 9, 9, 9)], np.uint64)
    columns["payload_data"] = np.frombuffer(b"".join(shared), np.uint8)
    columns["payload_indptr"] = np.cumsum([0, *map(len, shared)])
    named = columns["list_entry"] < 0
    table = columns["list_address"]
    columns["list_address"] = np.concatenate([np.full((1, 20), 200, np.uint8), table[::-1]])
    columns["list_entry"] = np.where(named, -1 - (len(table) + columns["list_entry"] + 1), columns["list_entry"])


@given(blocks(deep=False), st.randoms(use_true_random=False))
def test_numbering_order_and_sharing_of_the_caller_do_not_show(block, rng):
    other = remade(block, rng)
    for item in fields(Block):
        value = getattr(block, item.name)
        if isinstance(value, np.ndarray):
            assert np.array_equal(value, getattr(other, item.name)), item.name
            assert value.dtype == getattr(other, item.name).dtype
    assert other.digest() == block.digest()
    assert other == block
    assert hash(other) == hash(block)


def again(block: Block, **changed: Any) -> Block:
    """A block through plain Python and back."""
    plain = {
        "state": block.state(),
        "senders": [row.tobytes() for row in block.sender],
        "nonces": block.nonce,
        "gas_limits": block.gas_limit,
        "access_lists": access_lists_of(block),
        "declared_reads": _declared(block, block.read_indptr, block.read_key, block.declares_reads),
        "declared_writes": _declared(block, block.write_indptr, block.write_key, block.declares_writes),
        "number": block.number,
        "fork": block.fork,
        "header": block.header,
    }
    return Block.from_programs(block.to_programs(), **(plain | changed))


def _declared(block: Block, indptr: np.ndarray, key: np.ndarray, declares: np.ndarray) -> list[list[Any] | None]:
    return [
        [block.key(int(k)) for k in key[indptr[t] : indptr[t + 1]]] if declares[t] else None for t in range(block.n_tx)
    ]


@given(blocks())
def test_a_block_goes_to_plain_python_and_back(block):
    assert again(block) == block


@given(blocks(deep=False))
def test_the_footprint_is_the_union_of_what_the_ops_could_touch(block):
    modes = {Op.SLOAD: Mode.READ, Op.TOUCH: Mode.READ, Op.SSTORE: Mode.WRITE, Op.CREDIT: Mode.CREDIT}
    indptr, keys = block.footprint
    for t, program in enumerate(block.to_programs()):
        wanted: dict[Any, int] = {}
        for op in program:
            if op[0] in modes:
                wanted[op[1]] = wanted.get(op[1], 0) | modes[op[0]]
        part = slice(indptr[t], indptr[t + 1])
        assert {block.key(k): m for k, m in zip(keys[part], block.footprint_modes[part].tolist())} == wanted
        assert (np.diff(keys[part]) > 0).all()


# -------------------------------------------------------------------- concat and slice


@given(blocks(deep=False), st.lists(st.integers(0, 8), max_size=3))
def test_the_slices_of_a_block_join_to_the_block(block, cuts):
    ends = [0, *sorted(min(cut, block.n_tx) for cut in cuts), block.n_tx]
    parts = [block.slice(a, b) for a, b in pairwise(ends)]
    assert [part.n_tx for part in parts] == np.diff(ends).tolist()
    assert Block.concat(parts) == block
    assert block.slice(0) == block


@given(blocks(deep=False), st.integers(0, 8), st.integers(0, 8))
def test_a_slice_has_these_transactions_on_the_whole_pre_state(block, a, b):
    start, stop = sorted((min(a, block.n_tx), min(b, block.n_tx)))
    part = block.slice(start, stop)
    assert part.to_programs() == block.to_programs()[start:stop]
    assert part.state() == block.state()
    assert access_lists_of(part) == access_lists_of(block)[start:stop]
    for name in ("sender", "nonce", "gas_limit", "declares_reads", "declares_writes"):
        assert np.array_equal(getattr(part, name), getattr(block, name)[start:stop])


@given(blocks(deep=False, forks=["london"]), blocks(deep=False, forks=["london"]), blocks(deep=False, forks=["london"]))
def test_joining_is_associative_and_keeps_the_order(one, two, three):
    joined = Block.concat([one, two, three])
    assert joined == Block.concat([Block.concat([one, two]), three])
    assert joined.to_programs() == one.to_programs() + two.to_programs() + three.to_programs()
    assert (joined.number, joined.header) == (one.number, one.header)
    keys_of = [{block.key(k) for k in range(block.n_keys)} for block in (one, two, three)]
    wanted: dict[Any, int] = {}
    for block, keys in zip((three, two, one), reversed(keys_of)):
        wanted = {key: value for key, value in wanted.items() if key not in keys} | block.state()
    assert joined.state() == wanted


def test_a_key_of_joined_blocks_starts_with_the_value_of_the_first_block_that_has_it():
    one = Block.from_programs([[("SLOAD", A)]])  # has A, at zero
    two = Block.from_programs([[("SLOAD", A)], [("SLOAD", B)]], {A: 5, B: 6})
    three = Block.from_programs([[("SLOAD", B)]], {B: 7, C: 8})
    state = Block.concat([one, two, three]).state()
    assert {key[0][-1]: value for key, value in state.items()} == {2: 6, 3: 8}


def test_blocks_of_several_forks_are_joined_only_under_a_named_one():
    one, two = Block.from_programs([], fork="berlin"), Block.from_programs([], fork="london", number=3)
    with pytest.raises(BlockError, match=r"several forks \(berlin, london\).*fork="):
        Block.concat([one, two])
    header = Header(timestamp=5)
    joined = Block.concat([one, two], fork="free", number=9, header=header)
    assert (joined.fork, joined.number, joined.header) == ("free", 9, header)
    with pytest.raises(BlockError, match="concat of 0 blocks"):
        Block.concat([])


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (0, 4), (2, 1), (4, None), (0.0, 1)])
def test_a_slice_beyond_the_block_is_refused(start, stop):
    with pytest.raises(BlockError, match=r"(start|stop) = "):
        Block.from_programs([[]] * 3).slice(start, stop)


# -------------------------------------------------------------------- comparing and showing


def ops(first: str = "SLOAD", hashed: bytes = b"xyz", steps: int = 4, credited: int = 7) -> list[list[tuple[Any, ...]]]:
    """Two programs with most kinds of op."""
    one = [(first, A), ("SSTORE", B, "TOP"), ("KECCAK", hashed), ("NOOP", steps)]
    return [one, [("CREDIT", C, credited), ("BURN", 2)]]


def example(**changed: Any) -> Block:
    """A block with something in every array."""
    given_: dict[str, Any] = {
        "programs": ops(),
        "state": {A: 5, (9, 9): 1},
        "senders": [11, 12],
        "nonces": [0, 3],
        "gas_limits": [100_000, 90_000],
        "access_lists": [[(1, [0, 0])], []],
        "declared_reads": [[A], None],
        "declared_writes": [[B], []],
        "number": 8,
        "header": Header(bytes(20), 30_000_000, 1, bytes(32)),
        "meta": {"chain_gas_used": np.array([5, 6], np.uint64)},
    }
    return Block.from_programs(**(given_ | changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"programs": [[("SLOAD", A)], []]},
        {"programs": ops(hashed=b"xyZ")},
        {"programs": ops(credited=8)},
        {"programs": ops(steps=5)},
        {"programs": ops(first="TOUCH")},
        {"state": {A: 6, (9, 9): 1}},
        {"state": {A: 5, (9, 8): 1}},
        {"state": {A: 5}},
        {"senders": [11, 13]},
        {"nonces": [0, 4]},
        {"gas_limits": [100_001, 90_000]},
        {"access_lists": [[(1, [0])], []]},
        {"access_lists": [[(1, [0, 0])], [(1, [])]]},
        {"access_lists": [[(1, [0, 0]), (5, [])], []]},
        {"declared_reads": [[A], []]},
        {"declared_reads": [[A, A], None]},
        {"declared_writes": [[], []]},
        {"number": 9},
        {"fork": "berlin"},
        {"header": Header(bytes(20), 30_000_000, 2, bytes(32))},
        {"header": None},
        {"meta": {"chain_gas_used": np.array([5, 7], np.uint64)}},
        {"meta": {"gas_hint": np.array([5, 6], np.uint64)}},
        {"meta": None},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_blocks_that_differ_in_one_thing_are_not_equal(changed):
    one, other = example(), example(**changed)
    assert example() == one
    assert other != one
    assert other.digest() != one.digest()


def test_a_block_is_not_equal_to_anything_else():
    assert example() != "a block"
    assert len({example(), example()}) == 1


def test_a_zero_in_the_pre_state_is_the_same_as_nothing():
    assert example(state={A: 5, (9, 9): 1, B: 0, (77, 77): 0}) == example()


@given(blocks(deep=False))
def test_all_arrays_are_read_only_contiguous_and_of_their_type(block):
    types = {item.name: item.type for item in fields(Block)}
    for name, text in types.items():
        value = getattr(block, name)
        if isinstance(value, np.ndarray):
            assert not value.flags.writeable, name
            assert value.flags.c_contiguous, name
            assert value.dtype.name in text.replace("bool_", "bool"), name


def test_a_block_cannot_be_changed_by_its_maker_or_its_user():
    columns = joining.columns_of(example())
    columns = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in columns.items()}
    block = Block.from_arrays(**columns)
    before = block.digest()
    for value in columns.values():
        if isinstance(value, np.ndarray) and value.size:
            value[...] = 0
    block._derived.clear()
    assert block.digest() == before
    with pytest.raises(FrozenInstanceError):
        block.number = 5  # type: ignore[misc]  # the point of the test
    with pytest.raises(ValueError, match="read-only"):
        block.op_code[0] = 1


def test_a_block_shows_itself_in_one_line_and_as_a_table():
    block = example()
    assert repr(block) == "<Block 8: 2 txs, 6 ops, 4 keys, london>"
    html = block._repr_html_()
    assert html.startswith("<table>")
    assert html.endswith("</table>")
    assert "<caption>Block 8</caption>" in html
    assert "1 SLOAD, 1 SSTORE, 1 KECCAK, 1 NOOP, 1 CREDIT, 1 BURN" in html
    assert ">none<" in Block.from_programs([])._repr_html_()
    assert len(block) == block.n_tx == 2


def test_keys_have_names_for_people():
    keys = [(0x1234, 0, 0), (1, 0, 0xAB), (1, 1, 0), (1, 2, 0), (1, 3, 0)]
    block = Block.from_programs([[("TOUCH", key) for key in keys]])
    one = "0x" + "0" * 39 + "1"
    wanted = ["0x" + "0" * 36 + "1234 slot 0x0", f"{one} slot 0xab", f"{one} balance", f"{one} nonce", f"{one} code"]
    assert [block.key_name(k) for k in range(5)] == wanted


def test_the_state_holds_what_is_not_zero_as_ints():
    block = example()
    address = (1).to_bytes(20, "big")
    assert block.state() == {(address, 0, bytes(32)): 5, ((9).to_bytes(20, "big"), 0, (9).to_bytes(32, "big")): 1}
    top = Block.from_programs([], {A: 2**256 - 1})
    assert top.pre_values.tolist() == [[2**64 - 1] * 4]
    assert list(top.state().values()) == [2**256 - 1]


# -------------------------------------------------------------------- header and optional columns


def test_a_header_keeps_what_it_is_given_as_plain_ints():
    header = Header(b"\x01" * 20, np.int64(5), np.uint64(2**64 - 1), bytes(32))
    assert (header.block_gas_limit, header.timestamp) == (5, 2**64 - 1)
    assert type(header.block_gas_limit) is int
    assert Header() == Header(None, None, None, None)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"fee_recipient": bytes(19)}, "fee_recipient = .*20 bytes"),
        ({"fee_recipient": "0x" + "00" * 20}, "fee_recipient = .*20 bytes"),
        ({"parent_hash": bytes(33)}, "parent_hash = .*32 bytes"),
        ({"timestamp": -1}, r"timestamp = -1: must be in \[0, "),
        ({"timestamp": 2**64}, r"timestamp = 18446744073709551616: must be in"),
        ({"block_gas_limit": 1.5}, r"block_gas_limit = 1.5: must be an integer"),
        ({"block_gas_limit": True}, r"block_gas_limit = True"),
    ],
)
def test_a_header_names_what_is_wrong_with_it(given_, message):
    with pytest.raises(BlockError, match=message):
        Header(**given_)


def test_the_gas_of_the_chain_is_minus_one_where_it_is_unknown():
    assert example(meta=None).chain_gas_used is None
    assert example(meta={"gas_hint": np.array([1, 2], np.uint64)}).chain_gas_used is None
    assert example().chain_gas_used.tolist() == [5, 6]
    import pyarrow as pa

    block = example(meta={"chain_gas_used": pa.array([None, 2**63 - 1], pa.uint64())})
    assert block.chain_gas_used.tolist() == [-1, 2**63 - 1]
    assert block.chain_gas_used.dtype == np.int64
    assert example(meta={"chain_gas_used": pa.nulls(2, pa.uint64())}) == example(meta=None)


def test_optional_columns_come_out_in_one_order_and_type_and_are_cut_and_joined():
    meta = {
        "to": [b"\x01" * 20, None], "tx_hash": [bytes(32), b"\x02" * 32], "input": [b"", b"abc"],
        "chain_success": [True, None], "blob_count": [1, 2], "value": [bytes(32)] * 2,
    }  # fmt: skip
    block = example(meta=meta)
    assert block.meta.column_names == ["tx_hash", "to", "value", "input", "chain_success", "blob_count"]
    assert block.slice(1).meta["input"].to_pylist() == [b"abc"]
    assert Block.concat([block.slice(0, 1), block.slice(1)]) == block
    mixed = Block.concat([block, example(meta=None)])
    assert mixed.meta["blob_count"].to_pylist() == [1, 2, None, None]


# -------------------------------------------------------------------- the door


def columns() -> Columns:
    """Arguments of `Block.from_arrays` that are all right: 2 transactions, 8 ops, 4 key rows."""
    addresses = np.zeros((4, 20), np.uint8)
    addresses[:, 19] = (1, 2, 3, 1)
    slots = np.zeros((4, 32), np.uint8)
    slots[3, 31] = 5
    return {
        "sender": np.arange(40, dtype=np.uint8).reshape(2, 20),
        "nonce": np.array([0, 1], np.uint64),
        "gas_limit": np.array([21_000, 2**63 - 1], np.int64),
        "op_indptr": np.array([0, 5, 8], np.int64),
        "op_code": np.array([Op.SLOAD, Op.ADD, Op.SSTORE, Op.SSTORE, Op.KECCAK, Op.CREDIT, Op.TOUCH, Op.NOOP], np.uint8),
        "op_key": np.array([0, -1, 0, 1, -1, 2, 3, -1], np.int32),
        "op_arg": np.array([-1, 0, TOP, 1, 0, 0, -1, 9], np.int32),
        "words": limbs([7, 8]),
        "payload_indptr": np.array([0, 3], np.int64),
        "payload_data": np.array([1, 2, 3], np.uint8),
        "key_address": addresses,
        "key_field": np.array([0, 0, CREDIT_FIELD, 0], np.uint8),
        "key_slot": slots,
        "list_indptr": np.array([0, 3, 4], np.int64),
        "list_entry": np.array([-1, 0, 3, -2], np.int32),
        "list_address": addresses[:2],
        "declared_reads": (np.array([0, 1, 1]), np.array([0]), np.array([True, False])),
        "declared_writes": (np.array([0, 0, 2]), np.array([1, 2]), np.array([True, True])),
        "state_key": np.array([0, 2], np.int32),
        "state_value": limbs([5, 6]),
    }


def put(name: str, place: Any, value: Any) -> Callable[[Columns], None]:
    """Change one element."""

    def change(given_: Columns) -> None:
        given_[name] = given_[name].copy()
        given_[name][place] = value

    return change


def give(name: str, value: Any) -> Callable[[Columns], None]:
    """Change a whole array."""

    def change(given_: Columns) -> None:
        given_[name] = value(given_[name]) if callable(value) else value

    return change


def wide(name: str, place: Any, value: int) -> Callable[[Columns], None]:
    """Change one element to a value that needs a wider type."""

    def change(given_: Columns) -> None:
        given_[name] = given_[name].astype(object)
        given_[name][place] = value

    return change


def part(name: str, index: int, value: Any) -> Callable[[Columns], None]:
    """Change one array of a declared set."""

    def change(given_: Columns) -> None:
        members = list(given_[name])
        members[index] = value
        given_[name] = tuple(members)

    return change


def as_floats(array: np.ndarray) -> np.ndarray:
    return array.astype(float)


def flat(array: np.ndarray) -> np.ndarray:
    return array.ravel()


def longer(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, array[-1:]])


def key_of_wrong_address(given_: Columns) -> None:
    given_["list_entry"] = np.array([-1, 1, 3, -2], np.int32)


#: What is wrong -> (change, message that names array, place, value and rule).
BAD: dict[str, tuple[Callable[[Columns], None], str]] = {
    "sender: shape": (give("sender", flat), r"sender has shape \(40,\): must be \(any, 20\)"),
    "sender: width": (give("sender", np.zeros((2, 19), np.uint8)), r"sender has shape \(2, 19\): must be \(any, 20\)"),
    "sender: negative": (wide("sender", (1, 2), -1), r"sender, element 22 = -1: must be in \[0, 255\]"),
    "sender: too large": (wide("sender", (0, 2), 256), r"sender, element 2 = 256: must be in \[0, 255\]"),
    "sender: float": (give("sender", as_floats), "sender has dtype float64: must be uint8"),
    "nonce: length": (give("nonce", longer), r"nonce has shape \(3,\): must be \(2\)"),
    "nonce: float": (give("nonce", as_floats), "nonce has dtype float64: must be uint64"),
    "nonce: negative": (give("nonce", [0, -1]), r"nonce, element 1 = -1: must be in \[0, "),
    "nonce: too large": (give("nonce", [2**64, 0]), r"nonce, element 0 = 18446744073709551616: must be in"),
    "gas_limit: length": (give("gas_limit", longer), r"gas_limit has shape \(3,\): must be \(2\)"),
    "gas_limit: negative": (put("gas_limit", 0, -1), r"gas_limit\[0\] = -1: must be in \[0, "),
    "gas_limit: 2**63": (give("gas_limit", [1, 2**63]), r"gas_limit, element 1 = 9223372036854775808: must be in"),
    "gas_limit: float": (give("gas_limit", as_floats), "gas_limit has dtype float64: must be int64"),
    "gas_limit: text": (give("gas_limit", ["a", "b"]), "gas_limit has dtype <U1: must be int64"),
    "op_indptr: start": (put("op_indptr", 0, 1), r"op_indptr\[0\] = 1: must be 0"),
    "op_indptr: falls": (put("op_indptr", 1, 9), r"op_indptr\[2\] = 8: must not be below op_indptr\[1\] = 9"),
    "op_indptr: negative": (put("op_indptr", 1, -4), r"op_indptr\[1\] = -4: must not be below op_indptr\[0\] = 0"),
    "op_indptr: end": (put("op_indptr", 2, 7), r"op_indptr\[2\] = 7: must be 8, the number of entries"),
    "op_indptr: huge": (put("op_indptr", 2, 2**62), r"op_indptr\[2\] = 4611686018427387904: must be 8"),
    "op_indptr: length": (give("op_indptr", [0, 8]), r"op_indptr has shape \(2,\): must be \(3\)"),
    "op_indptr: empty": (give("op_indptr", []), r"op_indptr has shape \(0,\): must be \(3\)"),
    "op_indptr: float": (give("op_indptr", as_floats), "op_indptr has dtype float64: must be int64"),
    "op_code: 9": (put("op_code", 6, 9), r"op_code\[6\] = 9 \(transaction 1, op code 9\): an op code is in 0\.\.8"),
    "op_code: 256": (wide("op_code", 1, 256), r"op_code, element 1 = 256: must be in \[0, 255\]"),
    "op_code: negative": (wide("op_code", 1, -1), r"op_code, element 1 = -1: must be in \[0, 255\]"),
    "op_code: shape": (give("op_code", lambda a: a.reshape(2, 4)), r"op_code has shape \(2, 4\): must be \(any\)"),
    "op_code: float": (give("op_code", as_floats), "op_code has dtype float64: must be uint8"),
    "op_key: missing": (put("op_key", 0, -1), r"op_key\[0\] = -1 \(transaction 0, op code 0\): SLOAD, SSTORE, TOUCH"),
    "op_key: out of range": (put("op_key", 6, 4), r"op_key\[6\] = 4 \(transaction 1, op code 6\): .* row of the key table"),
    "op_key: negative": (put("op_key", 2, -2), r"op_key\[2\] = -2 \(transaction 0, op code 1\): .* row of the key table"),
    "op_key: surplus": (put("op_key", 7, 0), r"op_key\[7\] = 0 \(transaction 1, op code 5\): an op without a key has -1"),
    "op_key: surplus -2": (put("op_key", 1, -2), r"op_key\[1\] = -2 \(transaction 0, op code 2\): an op without a key"),
    "op_key: credit of storage": (put("op_key", 5, 0), r"op_key\[5\] = 0 \(transaction 1, op code 7\): CREDIT names a b"),
    "op_key: wide": (wide("op_key", 0, 2**31), r"op_key, element 0 = 2147483648: must be in"),
    "op_key: length": (give("op_key", longer), r"op_key has shape \(9,\): must be \(8\)"),
    "op_key: float": (give("op_key", as_floats), "op_key has dtype float64: must be int32"),
    "op_arg: of a load": (put("op_arg", 0, 0), r"op_arg\[0\] = 0 \(transaction 0, op code 0\): SLOAD and TOUCH have -1"),
    "op_arg: of a touch": (put("op_arg", 6, 5), r"op_arg\[6\] = 5 \(transaction 1, op code 6\): SLOAD and TOUCH have -1"),
    "op_arg: store": (put("op_arg", 3, 2), r"op_arg\[3\] = 2 \(transaction 0, op code 1\): SSTORE has a row of words"),
    "op_arg: store -2": (put("op_arg", 2, -2), r"op_arg\[2\] = -2 \(transaction 0, op code 1\): SSTORE has a row of words"),
    "op_arg: payload": (put("op_arg", 4, 1), r"op_arg\[4\] = 1 \(transaction 0, op code 4\): KECCAK has a payload"),
    "op_arg: no payload": (put("op_arg", 4, -1), r"op_arg\[4\] = -1 \(transaction 0, op code 4\): KECCAK has a payload"),
    "op_arg: count": (put("op_arg", 7, -1), rf"op_arg\[7\] = -1 .*NOOP and BURN have a count in 0\.\.{MAX_COUNT}"),
    "op_arg: count 2**31": (wide("op_arg", 7, 2**31), r"op_arg, element 7 = 2147483648: must be in"),
    "op_arg: word": (put("op_arg", 1, 2), r"op_arg\[1\] = 2 \(transaction 0, op code 2\): ADD, SUB and CREDIT"),
    "op_arg: credit of the top": (put("op_arg", 5, -1), r"op_arg\[5\] = -1 \(transaction 1, op code 7\): ADD, SUB"),
    "op_arg: length": (give("op_arg", longer), r"op_arg has shape \(9,\): must be \(8\)"),
    "op_arg: float": (give("op_arg", as_floats), "op_arg has dtype float64: must be int32"),
    "words: shape": (give("words", lambda a: a[:, :3]), r"words has shape \(2, 3\): must be \(any, 4\)"),
    "words: negative": (give("words", [[0, 0, 0, 0], [0, -1, 0, 0]]), r"words, element 5 = -1: must be in \[0, "),
    "words: float": (give("words", as_floats), "words has dtype float64: must be uint64"),
    "words: missing": (give("words", None), r"op_arg\[1\] = 0 .*row of words"),
    "payload_indptr: start": (put("payload_indptr", 0, 1), r"payload_indptr\[0\] = 1: must be 0"),
    "payload_indptr: falls": (give("payload_indptr", [0, 4, 3]), r"payload_indptr\[2\] = 3: must not be below"),
    "payload_indptr: end": (put("payload_indptr", 1, 2), r"payload_indptr\[1\] = 2: must be 3, the number of entries"),
    "payload_indptr: empty": (give("payload_indptr", []), r"payload_indptr\[0\] = missing: must be 0"),
    "payload_data: shape": (give("payload_data", np.zeros((1, 3), np.uint8)), r"payload_data has shape \(1, 3\)"),
    "payload_data: too large": (give("payload_data", [1, 2, 256]), r"payload_data, element 2 = 256: must be in \[0, 255\]"),
    "payload_data: float": (give("payload_data", as_floats), "payload_data has dtype float64: must be uint8"),
    "key_address: shape": (give("key_address", flat), r"key_address has shape \(80,\): must be \(any, 20\)"),
    "key_address: float": (give("key_address", as_floats), "key_address has dtype float64: must be uint8"),
    "key_field: 4": (put("key_field", 2, 4), r"key_field\[2\] = 4: must be in \[, 3\]"),
    "key_field: length": (give("key_field", longer), r"key_field has shape \(5,\): must be \(4\)"),
    "key_field: negative": (wide("key_field", 0, -1), r"key_field, element 0 = -1: must be in \[0, 255\]"),
    "key_slot: shape": (give("key_slot", lambda a: a[:, :31]), r"key_slot has shape \(4, 31\): must be \(4, 32\)"),
    "key_slot: of a balance": (put("key_slot", (2, 31), 1), r"key_slot\[2\] = 0x0+1 with field 1: only storage keys"),
    "key_slot: float": (give("key_slot", as_floats), "key_slot has dtype float64: must be uint8"),
    "list_indptr: start": (put("list_indptr", 0, 1), r"list_indptr\[0\] = 1: must be 0"),
    "list_indptr: falls": (put("list_indptr", 1, 5), r"list_indptr\[2\] = 4: must not be below list_indptr\[1\] = 5"),
    "list_indptr: end": (put("list_indptr", 2, 3), r"list_indptr\[2\] = 3: must be 4, the number of entries"),
    "list_indptr: length": (give("list_indptr", longer), r"list_indptr has shape \(4,\): must be \(3\)"),
    "list_indptr: missing": (give("list_indptr", None), r"list_indptr\[2\] = 0: must be 4"),
    "list_entry: key out of range": (put("list_entry", 1, 4), r"list_entry\[1\] = 4 \(transaction 0\): .*in the key table"),
    "list_entry: address out of range": (put("list_entry", 3, -3), r"list_entry\[3\] = -3 \(transaction 1\): .*list_address"),
    "list_entry: not storage": (put("list_entry", 1, 2), r"list_entry\[1\] = 2 \(transaction 0\): only storage keys"),
    "list_entry: key first": (put("list_entry", 3, 0), r"list_entry\[3\] = 0 \(transaction 1\): .*entry of its own address"),
    "list_entry: other address": (key_of_wrong_address, r"list_entry\[1\] = 1 \(transaction 0\): .*entry of its own address"),
    "list_entry: lowest": (put("list_entry", 0, -(2**31)), r"list_entry\[0\] = -2147483648 \(transaction 0\)"),
    "list_entry: float": (give("list_entry", as_floats), "list_entry has dtype float64: must be int32"),
    "list_address: shape": (give("list_address", flat), r"list_address has shape \(40,\): must be \(any, 20\)"),
    "list_address: missing": (give("list_address", None), r"list_entry\[0\] = -1 \(transaction 0\): .*list_address"),
    "declared_reads: row": (part("declared_reads", 1, [4]), r"declared_reads rows\[0\] = 4: must be in \[0, 3\]"),
    "declared_reads: negative": (part("declared_reads", 1, [-1]), r"declared_reads rows\[0\] = -1: must be in \[0, 3\]"),
    "declared_reads: start": (part("declared_reads", 0, [1, 1, 1]), r"declared_reads indptr\[0\] = 1: must be 0"),
    "declared_reads: falls": (part("declared_reads", 0, [0, 2, 1]), r"declared_reads indptr\[2\] = 1: must not be below"),
    "declared_reads: end": (part("declared_reads", 0, [0, 1, 2]), r"declared_reads indptr\[2\] = 2: must be 1"),
    "declared_reads: length": (part("declared_reads", 0, [0, 1]), r"declared_reads indptr has shape \(2,\): must be \(3\)"),
    "declared_reads: float": (part("declared_reads", 1, np.zeros(1)), "declared_reads rows has dtype float64: must be int32"),
    "declared_reads: declares": (part("declared_reads", 2, [1, 0]), "declared_reads declares has dtype int64: must be bool"),
    "declared_reads: declares length": (part("declared_reads", 2, [True]), r"declared_reads declares has shape \(1,\)"),
    "declared_reads: not declared": (
        part("declared_reads", 2, [False, True]), "declared_reads: transaction 0 has rows but declares is False"),
    "declared_writes: row": (part("declared_writes", 1, [1, 9]), r"declared_writes rows\[1\] = 9: must be in \[0, 3\]"),
    "declared_writes: start": (part("declared_writes", 0, [1, 1, 2]), r"declared_writes indptr\[0\] = 1: must be 0"),
    "declared_writes: end": (part("declared_writes", 0, [0, 0, 3]), r"declared_writes indptr\[2\] = 3: must be 2"),
    "declared_writes: not declared": (
        part("declared_writes", 2, [True, False]), "declared_writes: transaction 1 has rows but declares is False"),
    "state_key: out of range": (put("state_key", 1, 4), r"state_key\[1\] = 4: must be in \[0, 3\]"),
    "state_key: negative": (put("state_key", 0, -1), r"state_key\[0\] = -1: must be in \[0, 3\]"),
    "state_key: twice": (put("state_key", 1, 0), r"state_key\[1\] names the key of state_key\[0\] again \(0x0+1 field 0"),
    "state_key: float": (give("state_key", as_floats), "state_key has dtype float64: must be int32"),
    "state_key: missing": (give("state_key", None), r"state_value has shape \(2, 4\): must be \(0, 4\)"),
    "state_value: length": (give("state_value", longer), r"state_value has shape \(3, 4\): must be \(2, 4\)"),
    "state_value: shape": (give("state_value", flat), r"state_value has shape \(8,\): must be \(2, 4\)"),
    "state_value: float": (give("state_value", as_floats), "state_value has dtype float64: must be uint64"),
    "state_value: missing": (give("state_value", None), r"state_value has shape \(0, 4\): must be \(2, 4\)"),
    "state_value: empty list": (give("state_value", []), r"state_value has shape \(0,\): must be \(2, 4\)"),
    "number: negative": (give("number", -1), r"number = -1: must be in \[0, 18446744073709551615\]"),
    "number: too large": (give("number", 2**64), r"number = 18446744073709551616: must be in"),
    "number: float": (give("number", 1.0), r"number = 1\.0: must be an integer"),
    "fork: unknown": (give("fork", "serenity"), "fork 'serenity' is unknown: one of berlin, london"),
    "fork: no name": (give("fork", 5), "fork 5 is unknown"),
    "meta: unknown": (give("meta", {"colour": [1, 2]}), "meta has no column 'colour': one of tx_hash"),
    "meta: rows": (give("meta", {"gas_hint": [1]}), "meta column 'gas_hint' has 1 rows: must be 2"),
    "meta: type": (give("meta", {"gas_hint": ["a", "b"]}), "meta column 'gas_hint': must hold uint64"),
    "meta: width": (give("meta", {"to": [b"abc", None]}), r"meta column 'to': must hold fixed_size_binary\[20\]"),
    "meta: negative": (give("meta", {"blob_count": [0, -1]}), "meta column 'blob_count': must hold uint8"),
    "meta: gas": (
        give("meta", {"chain_gas_used": np.array([0, 2**63], np.uint64)}), r"'chain_gas_used': gas must be below 2\*\*63"),
}  # fmt: skip


def test_the_example_of_the_door_is_all_right():
    block = Block.from_arrays(**columns())
    assert (block.n_tx, block.n_ops, block.n_keys) == (2, 8, 4)
    ints = {k: v.tolist() for k, v in columns().items() if isinstance(v, np.ndarray)}
    assert Block.from_arrays(**(columns() | ints)) == block  # lists of ints, any integer type that fits


@pytest.mark.parametrize("name", BAD)
def test_the_door_names_array_place_value_and_rule(name):
    change, message = BAD[name]
    given_ = columns()
    change(given_)
    with pytest.raises(BlockError, match=message):
        Block.from_arrays(**given_)


def test_every_array_of_the_door_is_in_the_table_of_bad_input():
    assert {name.split(":")[0] for name in BAD} >= set(columns())


@pytest.mark.parametrize("name", sorted(columns()))
@pytest.mark.parametrize(
    "value", ["text", 5, [[1], [1, 2]], {"a": 1}, np.zeros((2, 2, 2)), object()], ids=lambda v: type(v).__name__
)
def test_nonsense_for_any_array_is_a_block_error(name, value):
    with pytest.raises(BlockError, match=name):
        Block.from_arrays(**(columns() | {name: value}))


@pytest.mark.parametrize(
    "name", ["sender", "op_indptr", "op_code", "op_key", "op_arg", "key_address", "key_field", "key_slot"]
)
def test_none_for_a_needed_array_is_a_block_error(name):
    with pytest.raises(BlockError, match=name):
        Block.from_arrays(**(columns() | {name: None}))


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        ([["SLOAD"]], r"transaction 0 op 0 = 'SLOAD': an op is a tuple"),
        ([[], [()]], r"transaction 1 op 0 = \(\): an op is a tuple"),
        ([[("JUMP", 1)]], r"transaction 0 op 0: op 'JUMP' is unknown: one of SLOAD"),
        ([[(9, 1)]], r"transaction 0 op 0: op 9 is unknown"),
        ([[("SLOAD",)]], "transaction 0 op 0: SLOAD has 0 operands: must be 1"),
        ([[("SSTORE", A)]], "transaction 0 op 0: SSTORE has 1 operands: must be 2"),
        ([[("SLOAD", (1, 4, 0))]], r"transaction 0 op 0 key field = 4: must be in \[0, 3\]"),
        ([[("SLOAD", (1,))]], r"transaction 0 op 0 key = \(1,\): a key is \(address, field, slot\)"),
        ([[("SLOAD", (2**160, 0, 0))]], "transaction 0 op 0 key address = .*: must be in"),
        ([[("SLOAD", (bytes(19), 0, 0))]], "transaction 0 op 0 key address = .*must be 20 bytes"),
        ([[("ADD", 2**256)]], "transaction 0 op 0 value = .*: must be in"),
        ([[("ADD", -1)]], "transaction 0 op 0 value = -1: must be in"),
        ([[("NOOP", 2**31)]], "transaction 0 op 0 count = 2147483648: must be in"),
        ([[("KECCAK", 5)]], "transaction 0 op 0: KECCAK of 5: must be bytes"),
        ([[("CREDIT", A, 5)]], "CREDIT names a balance"),
        ([[("SLOAD", (1, 1, 5))]], "only storage keys .*have a slot"),
    ],
)
def test_plain_programs_name_transaction_op_and_rule(programs, message):
    with pytest.raises(BlockError, match=message):
        Block.from_programs(programs)


@pytest.mark.parametrize("name", ["senders", "nonces", "gas_limits", "access_lists", "declared_reads", "declared_writes"])
def test_plain_lists_must_have_one_entry_a_transaction(name):
    with pytest.raises(BlockError, match=f"{name} has 1 entries: must be 2, one a transaction"):
        Block.from_programs([[], []], **{name: [[]]})


def test_an_empty_block_is_a_block():
    block = Block.from_programs([])
    assert (block.n_tx, block.n_ops, block.n_keys, block.state()) == (0, 0, 0, {})
    assert Block.concat([block, block]) == block == block.slice(0)
    assert Block.from_programs([[]]) != block


def test_addresses_and_slots_may_start_at_any_byte_of_memory():
    """Interning reads them as words: unaligned views must be copied, not misread."""
    block = generate(n_tx=30, seed=2)
    given_ = joining.columns_of(block)
    for name in ("key_address", "key_slot"):
        array = given_[name]
        room = np.zeros(array.size + 1, np.uint8)
        room[1:] = array.ravel()
        given_[name] = room[1:].reshape(array.shape)
    assert Block.from_arrays(**given_) == block


def test_a_gas_schedule_of_ones_own_is_for_execute_and_not_for_a_block():
    with pytest.raises(BlockError, match="fork"):
        Block.from_programs([], fork=gas_schedule("london").replace("dear", COLD_LOAD=5000))  # type: ignore[arg-type]
