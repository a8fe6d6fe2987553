"""Block, blocks and state files: what is written comes back equal, also through other libraries, or a rule is named."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pevm_numba.block import Block, Header
from pevm_numba.errors import BlockError, FileFormatError
from pevm_numba.io import files, parquet
from pevm_numba.io.parquet_file import TableFile
from pevm_numba.machine.ops import Op

A = [bytes([i]) * 20 for i in range(10)]
KEY, BALANCE = (A[1], 0, b"\x02" * 32), (A[2], 1, bytes(32))
EVERY_OP = [
    ("SLOAD", KEY), ("SSTORE", KEY, "TOP"), ("SSTORE", (A[1], 0, bytes(32)), 2**255 + 7), ("KECCAK", b"abc"),
    ("KECCAK", b""), ("ADD", 2**256 - 1), ("SUB", 0), ("NOOP", 2**31 - 1), ("NOOP", 0), ("TOUCH", (A[3], 2, 0)),
    ("CREDIT", BALANCE, 10), ("BURN", 5), ("SSTORE", (A[4], 3, 0), 0),
]  # fmt: skip


def full_block(number: int = 12) -> Block:
    """Every op, list form, null and limit of the format in one block."""
    meta = {
        "tx_hash": [b"h" * 32, None, b"i" * 32], "to": [None, A[5], A[6]], "value": [b"v" * 32, None, bytes(32)],
        "input": [b"", None, b"data"], "chain_gas_used": [0, None, 2**63 - 1], "chain_success": [True, None, False],
        "blob_count": [None, 255, 0], "max_fee_per_blob_gas": np.array([1, 2, 2**64 - 1], np.uint64),
        "gas_hint": [5, 6, None], "blob_size": [None, None, 131072],
    }  # fmt: skip
    return Block.from_programs(
        [EVERY_OP, [], [("KECCAK", b"x" * 137), ("SLOAD", KEY)]],
        {KEY: 77, BALANCE: 2**256 - 1, (A[9], 0, b"\x09" * 32): 1, (A[8], 2, 0): 2**64},
        nonces=np.array([0, 2**64 - 1, 3], np.uint64),
        gas_limits=[0, 2**63 - 1, 5],
        access_lists=[[(A[1], [1, 2, 2]), (A[1], []), (A[7], [0])], [], [(A[1], [])]],
        declared_reads=[[], None, [BALANCE, BALANCE, KEY]],
        declared_writes=[None, None, [KEY]],
        number=number,
        fork="berlin",
        header=Header(fee_recipient=A[3], block_gas_limit=0, timestamp=2**64 - 1, parent_hash=b"p" * 32),
        meta=meta,
    )


def small_block(number: int, n_tx: int = 2) -> Block:
    return Block.from_programs([[("SSTORE", (A[1], t), number % 1000)] for t in range(n_tx)], {KEY: 3}, number=number)


def oracle_rows(block: Block) -> list[dict[str, Any]]:
    """The rows of a block file, spelled out op by op in plain Python."""
    out = []
    for t, program in enumerate(block.to_programs()):
        ops = []
        for op in program:
            code = Op(op[0])
            row: dict[str, Any] = dict.fromkeys(("address", "slot", "word", "data"))
            row |= {"op": int(code), "field": 0, "count": 0}
            if code.takes_key:
                row |= {"address": op[1][0], "field": op[1][1], "slot": op[1][2] if op[1][1] == 0 else None}
            if code.takes_word and op[-1] != "TOP":
                row["word"] = op[-1].to_bytes(32, "big")
            if code.takes_count:
                row["count"] = op[1]
            if code is Op.KECCAK:
                row["data"] = op[1]
            ops.append(row)
        out.append({"block_number": block.number, "tx_index": t, "sender": block.sender[t].tobytes(), "program": ops})
    return out


# -------------------------------------------------------------------- round trips


def test_a_block_with_every_op_and_null_comes_back_equal(tmp_path: Path) -> None:
    block = full_block()
    parquet.write_blocks(tmp_path / "one.parquet", block)
    again = parquet.read_block(tmp_path / "one.parquet")
    assert again == block
    assert again.header == block.header
    assert again.fork == "berlin"
    assert again.state() == block.state()
    assert again.meta.equals(block.meta)
    assert again.declares_reads.tolist() == [True, False, True]
    assert files.read_block(tmp_path / "one.parquet", 12) == block


def test_rows_written_are_those_of_the_plain_python_twin(tmp_path: Path) -> None:
    parquet.write_blocks(tmp_path / "one.parquet", full_block())
    columns = ["block_number", "tx_index", "sender", "program"]
    assert pq.read_table(tmp_path / "one.parquet", columns=columns).to_pylist() == oracle_rows(full_block())


def test_the_plain_python_rows_alone_are_read_as_the_same_programs(tmp_path: Path) -> None:
    block = full_block()
    rows = oracle_rows(block)
    for row in rows:
        for op in row["program"]:
            op["slot"] = None if op["slot"] == bytes(32) else op["slot"]  # null is slot zero
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "bare.parquet")
    again = parquet.read_block(tmp_path / "bare.parquet")
    assert again.to_programs() == block.to_programs()
    assert again.gas_limit.tolist() == [2**24] * 3
    assert not again.nonce.any()
    assert (again.fork, again.header, again.meta) == ("london", Header(), None)


def _block_strategy() -> st.SearchStrategy[Block]:
    address = st.integers(1, 4)
    key = st.tuples(address, st.just(0), st.integers(0, 5)) | st.tuples(address, st.integers(1, 3), st.just(0))
    word = st.integers(0, 2**256 - 1)
    op = st.one_of(
        st.tuples(st.sampled_from(["SLOAD", "TOUCH"]), key),
        st.tuples(st.just("SSTORE"), key, word | st.just("TOP")),
        st.tuples(st.sampled_from(["ADD", "SUB"]), word),
        st.tuples(st.just("KECCAK"), st.binary(max_size=40)),
        st.tuples(st.sampled_from(["NOOP", "BURN"]), st.integers(0, 2**31 - 1)),
        st.tuples(st.just("CREDIT"), st.tuples(address, st.just(1), st.just(0)), word),
    )
    lists = st.lists(st.tuples(address, st.lists(st.integers(0, 3), max_size=3)), max_size=2)
    declared = st.none() | st.lists(key, max_size=3)
    row = st.tuples(st.lists(op, max_size=6), lists, declared, declared)

    def build(rows: list[Any], state: dict[Any, int], number: int, fork: str) -> Block:
        programs, access, reads, writes = zip(*rows) if rows else ((), (), (), ())
        return Block.from_programs(
            programs, state, access_lists=access, declared_reads=reads, declared_writes=writes, number=number, fork=fork
        )

    state = st.dictionaries(key, word, max_size=4)
    forks = st.sampled_from(["london", "free", "cancun"])
    return st.builds(build, st.lists(row, max_size=4), state, st.integers(0, 2**64 - 1), forks)


@settings(max_examples=60, deadline=None)
@given(st.lists(_block_strategy(), min_size=1, max_size=3, unique_by=lambda block: block.number))
def test_any_blocks_come_back_equal_in_order_of_number(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[Block]
) -> None:
    path = tmp_path_factory.mktemp("any") / "b.parquet"
    parquet.write_blocks(path, blocks)
    ascending = sorted(blocks, key=lambda block: block.number)
    assert list(parquet.read_blocks(path)) == ascending
    assert parquet.block_numbers(path) == [block.number for block in ascending]
    for block in blocks:
        assert parquet.read_block(path, block.number) == block


def test_empty_blocks_keep_fork_and_header(tmp_path: Path) -> None:
    blocks = [Block.from_programs([], number=n, fork="cancun", header=Header(timestamp=n)) for n in (1, 3)]
    parquet.write_blocks(tmp_path / "e.parquet", [*blocks, small_block(2)])
    assert [block.n_tx for block in parquet.read_blocks(tmp_path / "e.parquet")] == [0, 2, 0]
    assert parquet.read_block(tmp_path / "e.parquet", 3) == blocks[1]


def test_a_block_cut_into_many_row_groups_comes_back_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pevm_numba.io.parquet_tables._GROUP_ROWS", 3)
    monkeypatch.setattr("pevm_numba.io.parquet_tables._GROUP_OPS", 4)
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 1)
    block = Block.concat([full_block(), small_block(12, 10), full_block()], fork="london")
    parquet.write_blocks(tmp_path / "b.parquet", block)
    assert pq.ParquetFile(tmp_path / "b.parquet").num_row_groups > 5
    assert parquet.read_block(tmp_path / "b.parquet") == block


def test_small_blocks_share_row_groups_and_large_ones_have_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [small_block(n) for n in range(6)]
    parquet.write_blocks(tmp_path / "b.parquet", blocks)
    for name in ("b.parquet", "b.state.parquet"):
        assert pq.ParquetFile(tmp_path / name).num_row_groups == 1
    size = pq.read_table(tmp_path / "b.parquet").nbytes / 6
    monkeypatch.setattr(parquet, "_GROUP_BYTES", int(2.5 * size))
    parquet.write_blocks(tmp_path / "b.parquet", blocks)
    assert pq.ParquetFile(tmp_path / "b.parquet").num_row_groups == 3
    assert list(parquet.read_blocks(tmp_path / "b.parquet")) == blocks


def test_many_ops_that_share_keys_words_and_payloads_come_back_equal(tmp_path: Path) -> None:
    n = 20_000
    block = Block.from_arrays(
        sender=np.zeros((n, 20), np.uint8), op_indptr=np.arange(n + 1) * 5, op_code=np.tile([0, 2, 1, 4, 5], n),
        op_key=np.tile([0, -1, 1, -1, -1], n), op_arg=np.tile([-1, 0, -1, 0, 3], n),
        words=np.ones((1, 4), np.uint64), payload_indptr=[0, 4], payload_data=[1, 2, 3, 4],
        key_address=np.zeros((2, 20), np.uint8), key_field=[0, 1], key_slot=np.zeros((2, 32), np.uint8),
    )  # fmt: skip
    parquet.write_blocks(tmp_path / "b.parquet", block)
    assert parquet.read_block(tmp_path / "b.parquet") == block


# -------------------------------------------------------------------- choosing blocks


def test_numbers_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "b.parquet"
    parquet.write_blocks(path, [small_block(n) for n in (9, 5, 7)])
    assert [b.number for b in parquet.read_blocks(path)] == [5, 7, 9]
    assert [b.number for b in parquet.read_blocks(path, (n for n in (9, 5, 9)))] == [9, 5, 9]
    assert [b.number for b in parquet.read_blocks(path, np.array([7, 5]))] == [7, 5]
    assert list(parquet.read_blocks(path, [])) == []


def test_an_absent_number_is_named_with_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "b.parquet"
    parquet.write_blocks(path, [small_block(n) for n in (5, 7)])
    with pytest.raises(FileFormatError, match=r"b\.parquet: block 6 is not there: it has blocks 5, 7"):
        parquet.read_blocks(path, [5, 6])
    with pytest.raises(FileFormatError, match=r"holds blocks 5, 7: say which"):
        parquet.read_block(path)
    parquet.write_blocks(path, [small_block(n) for n in range(100, 120)])
    with pytest.raises(FileFormatError, match=r"block 6 is not there: it has 20 blocks: 100, .*117, 118, 119$"):
        parquet.read_block(path, 6)
    with pytest.raises(BlockError, match="block number = 'x'"):
        parquet.read_blocks(path, ["x"])  # type: ignore[list-item]  # on purpose


def test_only_the_row_groups_of_the_blocks_asked_for_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, loaded = tmp_path / "b.parquet", []
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 1)
    parquet.write_blocks(path, [small_block(n) for n in range(20)])
    original = TableFile._group

    def counted(self: TableFile, g: int) -> pa.Table:
        loaded.append((self.kind, g))
        return original(self, g)

    monkeypatch.setattr(TableFile, "_group", counted)
    blocks = parquet.read_blocks(path, [4, 11])
    assert loaded == []
    assert next(blocks).number == 4
    assert loaded == [("block", 4), ("state", 4)]
    assert next(blocks).number == 11
    assert loaded[2:] == [("block", 11), ("state", 11)]


def test_neighbours_in_one_row_group_load_it_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "b.parquet"
    parquet.write_blocks(path, [small_block(n) for n in range(6)])
    pq.write_table(pq.read_table(path), path)  # one row group, as other libraries write
    with caplog.at_level(logging.DEBUG, "pevm_numba"):
        assert [b.number for b in parquet.read_blocks(path)] == list(range(6))
    assert sum("b.parquet: loading row group" in r.getMessage() for r in caplog.records) == 1
    assert sum("read block" in r.getMessage() for r in caplog.records if r.levelno == logging.INFO) == 6


def test_a_folder_gives_the_blocks_of_all_its_block_files(tmp_path: Path) -> None:
    parquet.write_blocks(tmp_path / "z.parquet", [small_block(1), full_block(4)])
    parquet.write_blocks(tmp_path / "a.parquet", [small_block(2)])
    pq.write_table(pa.table({"other": [1]}), tmp_path / "other.parquet")
    (tmp_path / "notes.txt").write_text("not a block")
    assert [b.number for b in parquet.read_blocks(tmp_path)] == [1, 2, 4]
    assert [b.number for b in parquet.read_blocks(tmp_path, [4, 2])] == [4, 2]
    assert parquet.read_block(tmp_path, 4) == full_block(4)
    parquet.write_blocks(tmp_path / "b.parquet", [small_block(2)])
    with pytest.raises(FileFormatError, match=r"b\.parquet: block 2 is in .*a\.parquet too"):
        parquet.read_blocks(tmp_path)


# -------------------------------------------------------------------- writing


def test_an_iterator_is_written_as_it_comes_and_must_ascend(tmp_path: Path) -> None:
    path = tmp_path / "b.parquet"
    parquet.write_blocks(path, (small_block(n) for n in (1, 2)))
    with pytest.raises(FileFormatError, match=r"block 1 after block 2: must have ascending numbers"):
        parquet.write_blocks(path, (small_block(n) for n in (2, 1)))
    assert parquet.block_numbers(path) == [1, 2]


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([small_block(3), small_block(3)], "block 3 after block 3: must have no number twice"),
        ([], "no block to write"),
        ([small_block(3), "x"], "blocks: str among them"),
        (iter([small_block(3), 7]), "blocks: int among them"),
    ],
)
def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path, blocks: Any, message: str) -> None:
    with pytest.raises(BlockError, match=message):
        parquet.write_blocks(tmp_path / "b.parquet", blocks)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["b.txt", "b.state.parquet", "b.blocks.parquet"])
def test_block_files_have_names_that_leave_room_for_companions(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileFormatError, match=r"is named NAME\.parquet"):
        parquet.write_blocks(tmp_path / name, small_block(1))


def _stop(*_: Any, **__: Any) -> None:
    raise OSError("disk full")


@pytest.mark.parametrize("where", ["os.replace", "os.fsync", "pyarrow.parquet.ParquetWriter.write_table"])
def test_an_interrupted_write_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    path = tmp_path / "b.parquet"
    parquet.write_blocks(path, full_block())
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(where, _stop)
        with pytest.raises(FileFormatError, match=r"b\.parquet: cannot be written: disk full"):
            parquet.write_blocks(path, small_block(1))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_an_error_in_the_callers_iterator_leaves_the_old_files(tmp_path: Path) -> None:
    path = tmp_path / "b.parquet"
    parquet.write_blocks(path, full_block())
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def broken() -> Iterator[Block]:
        yield small_block(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parquet.write_blocks(path, broken())
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_state_file_of_an_earlier_write_does_not_leak_into_the_new_block(tmp_path: Path) -> None:
    path = tmp_path / "b.parquet"
    parquet.write_blocks(path, full_block())
    assert (tmp_path / "b.state.parquet").exists()
    stateless = Block.from_programs([[("SLOAD", KEY)]], number=12)
    parquet.write_blocks(path, stateless)
    assert not (tmp_path / "b.state.parquet").exists()
    assert parquet.read_block(path) == stateless


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="there is no folder"):
        parquet.write_blocks(tmp_path / "no" / "b.parquet", small_block(1))


# -------------------------------------------------------------------- other libraries


def test_pandas_polars_and_duckdb_read_the_files(tmp_path: Path) -> None:
    path = str(tmp_path / "b.parquet")
    parquet.write_blocks(path, [full_block(12), small_block(13)])
    rows = [0, 1, 2, 0, 1]
    frame = pd.read_parquet(path)
    assert frame["tx_index"].tolist() == rows
    assert frame["program"][0][0]["address"] == A[1]
    table = pl.read_parquet(path)
    assert table["tx_index"].to_list() == rows
    assert table["program"][0][2]["word"] == (2**255 + 7).to_bytes(32, "big")
    assert table["declared_reads"].is_null().to_list()[:3] == [False, True, False]
    query = f"select block_number, count(*), sum(len(program)) from '{path}' group by 1 order by 1"
    assert duckdb.sql(query).fetchall() == [(12, 3, 15), (13, 2, 2)]
    state = str(tmp_path / "b.state.parquet")
    assert duckdb.sql(f"select count(*) from '{state}' where block_number = 12").fetchall() == [(4,)]


def _pandas(source: Path, target: Path) -> None:
    pd.read_parquet(source, dtype_backend="pyarrow").to_parquet(target)


def _polars(source: Path, target: Path) -> None:
    pl.read_parquet(source).write_parquet(target)


def _duckdb(source: Path, target: Path) -> None:
    duckdb.sql(f"copy (select * from '{source}') to '{target}' (format parquet)")


def _large(source: Path, target: Path) -> None:
    table = pq.read_table(source)
    table = table.select(table.column_names[::-1]).append_column("extra", pa.array(range(len(table))))
    pq.write_table(table.cast(pa.schema([pa.field(f.name, _widened(f.type)) for f in table.schema])), target)


def _widened(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.large_list(_widened(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _widened(f.type)) for f in kind])
    return pa.large_binary() if pa.types.is_fixed_size_binary(kind) or pa.types.is_binary(kind) else kind


def _inferred(rows: list[dict[str, Any]]) -> pa.Table:
    """A table whose types are those that Python values suggest."""
    columns = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        large = any(isinstance(value, int) and value >= 2**63 for value in values)
        columns[name] = pa.array(values, pa.uint64() if large else None)
    return pa.table(columns)


def _objects(source: Path, target: Path) -> None:
    """As pandas does with object columns: types are inferred from Python values."""
    rows = pq.read_table(source).to_pylist()
    pq.write_table(_inferred(rows), target)


@pytest.mark.parametrize("copy", [_pandas, _polars, _duckdb, _large, _objects])
def test_copies_made_by_other_libraries_read_back_equal(tmp_path: Path, copy: Callable[[Path, Path], None]) -> None:
    blocks = [full_block(12), small_block(13), Block.from_programs([], number=14)]
    parquet.write_blocks(tmp_path / "b.parquet", blocks)
    (tmp_path / "copy").mkdir()
    for name in ("b.parquet", "b.blocks.parquet", "b.state.parquet"):
        copy(tmp_path / name, tmp_path / "copy" / name)
    assert list(files.read_blocks(tmp_path / "copy")) == blocks


def test_state_rows_may_be_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "b.state.parquet"
    blocks = [full_block(3), full_block(12)]
    parquet.write_blocks(tmp_path / "b.parquet", blocks)
    table = pq.read_table(path)
    pq.write_table(table.take(pa.array(range(len(table) - 1, -1, -1))), path, row_group_size=3)
    assert list(parquet.read_blocks(tmp_path / "b.parquet")) == blocks


# -------------------------------------------------------------------- bad input

Rows = list[dict[str, Any]]


def _set(row: int, name: str, value: Any) -> Callable[[Rows], Any]:
    return lambda rows: rows[row].__setitem__(name, value)


def _op(row: int, at: int, /, **values: Any) -> Callable[[Rows], Any]:
    return lambda rows: rows[row]["program"][at].update(values)


def _gone(name: str) -> Callable[[Rows], Any]:
    return lambda rows: [row.pop(name) for row in rows]


def _list(*entries: tuple[bytes | None, bytes | None]) -> Callable[[Rows], Any]:
    return _set(1, "access_list", [{"address": a, "slot": s} for a, s in entries])


S = b"\x01" * 32
BLOCK_FAULTS: dict[str, tuple[Callable[[Rows], Any], str]] = {
    "missing column": (_gone("sender"), r"column sender: missing: a block file needs"),
    "null number": (_set(1, "block_number", None), r"column block_number, row 1 = None: must not be null"),
    "unsorted": (_set(1, "block_number", 11), r"column block_number, row 1 = 11: rows must be sorted"),
    "gap": (_set(2, "tx_index", 3), r"column tx_index, row 2 = 3: must be 2 in block 12: .*no gap"),
    "twice": (_set(2, "tx_index", 1), r"column tx_index, row 2 = 1: must be 2 in block 12: .*no row twice"),
    "not from 0": (_set(0, "tx_index", 1), r"column tx_index, row 0 = 1: must be 0 in block 12"),
    "tx_index too large": (_set(2, "tx_index", 2**40), r"column tx_index, row 2 = 1099511627776: must be in \[0, "),
    "negative": (_set(0, "gas_limit", -1), r"column gas_limit, row 0 = -1: must be in \[0, 9223"),
    "gas limit": (_set(2, "gas_limit", 2**63), r"column gas_limit, row 2 = 9223372036854775808: must be in \[0, 9223"),
    "chain gas": (_set(2, "chain_gas_used", 2**63), r"column chain_gas_used, row 2 = 922337203685477\d*: must be"),
    "short sender": (_set(1, "sender", b"x" * 19), r"column sender, row 1 = 0x7878[78]*: must be 20 bytes"),
    "null sender": (_set(1, "sender", None), r"column sender, row 1 = None: must not be null"),
    "null program": (_set(1, "program", None), r"column program, row 1 = None: must not be null"),
    "null op": (lambda rows: rows[0]["program"].__setitem__(3, None), r"column program, row 0, item 3 = None: must"),
    "op code": (_op(2, 1, op=9), r"column program\.op, row 2, item 1 = 9: must be in \[0, 8\]"),
    "op code null": (_op(2, 1, op=None), r"column program\.op, row 2, item 1 = None: must not be null"),
    "no address": (_op(0, 0, address=None), r"column program\.address, row 0, item 0 = None: SLOAD, SSTORE"),
    "short address": (_op(0, 0, address=b"x"), r"column program\.address, row 0, item 0 = 0x78: must be 20 bytes"),
    "stray address": (_op(0, 5, address=A[1]), r"column program\.address, row 0, item 5 = 0x[01]*: an op without"),
    "field": (_op(0, 9, field=4), r"column program\.field, row 0, item 9 = 4: must be in \[0, 3\]"),
    "field null": (_op(0, 9, field=None), r"column program\.field, row 0, item 9 = None: SLOAD"),
    "stray field": (_op(0, 7, field=1), r"column program\.field, row 0, item 7 = 1: an op without a key"),
    "credit of a slot": (_op(0, 10, field=0), r"column program\.field, row 0, item 10 = 0: CREDIT names a balance"),
    "slot of a balance": (_op(0, 10, slot=S), r"column program\.slot, row 0, item 10 = 0x01[01]*: only storage keys"),
    "long slot": (_op(0, 0, slot=b"x" * 33), r"column program\.slot, row 0, item 0 = 0x[78]*: must be 32 bytes"),
    "stray slot": (_op(0, 3, slot=S), r"column program\.slot, row 0, item 3 = 0x01[01]*: an op without a key"),
    "no word": (_op(0, 5, word=None), r"column program\.word, row 0, item 5 = None: ADD, SUB and CREDIT need a word"),
    "short word": (_op(0, 2, word=b"x" * 31), r"column program\.word, row 0, item 2 = 0x[78]*: must be 32 bytes"),
    "stray word": (_op(0, 0, word=S), r"column program\.word, row 0, item 0 = 0x01[01]*: an op without a literal"),
    "no count": (_op(0, 7, count=None), r"column program\.count, row 0, item 7 = None: NOOP and BURN need a count"),
    "count": (_op(0, 11, count=2**31), r"column program\.count, row 0, item 11 = 2147483648: must be in \[0, 2147"),
    "stray count": (_op(0, 1, count=1), r"column program\.count, row 0, item 1 = 1: an op without a count"),
    "no data": (_op(2, 0, data=None), r"column program\.data, row 2, item 0 = None: KECCAK needs data"),
    "stray data": (_op(2, 1, data=b"x"), r"column program\.data, row 2, item 1 = 0x78: an op without a payload"),
    "key first": (_list((A[1], S)), r"column access_list\.address, row 1, item 0 = 0x[01]*: a key row .* must follow"),
    "other address": (_list((A[1], None), (A[2], S)), r"column access_list\.address, row 1, item 1 = 0x[02]*: a key"),
    "list address": (_list((None, None)), r"column access_list\.address, row 1, item 0 = None: must not be null"),
    "declared field": (
        _set(2, "declared_reads", [{"address": A[1], "field": 9, "slot": S}]),
        r"column declared_reads\.field, row 2, item 0 = 9: must be in \[0, 3\]",
    ),
    "declared slot": (
        _set(2, "declared_writes", [{"address": A[1], "field": 1, "slot": S}]),
        r"column declared_writes\.slot, row 2, item 0 = 0x01[01]*: only storage keys",
    ),
    "hash": (_set(1, "tx_hash", b"x"), r"column tx_hash, row 1 = 0x78: must be 32 bytes"),
    "blob count": (_set(1, "blob_count", 256), r"column blob_count, row 1 = 256: must be in \[0, 255\]"),
}


@pytest.mark.parametrize("name", BLOCK_FAULTS)
def test_a_bad_block_row_is_named_with_its_column_value_and_rule(tmp_path: Path, name: str) -> None:
    fault, message = BLOCK_FAULTS[name]
    path = tmp_path / "b.parquet"
    parquet.write_blocks(path, full_block())
    rows = pq.read_table(path).to_pylist()
    fault(rows)
    pq.write_table(_inferred(rows), path)
    with pytest.raises(FileFormatError, match=r"b\.parquet: " + message):
        parquet.read_block(path)


def _replaced(name: str, values: pa.Array) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, values)


N = 3
TABLE_FAULTS: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "version": (
        lambda t: t.replace_schema_metadata({"pevm_numba.schema": "pevm_numba.block/2"}),
        r"schema 'pevm_numba\.block/2' is unknown: one of pevm_numba\.block/1",
    ),
    "other kind": (
        lambda t: t.replace_schema_metadata({"pevm_numba.schema": "pevm_numba.state/1"}),
        r"is a state file by its metadata: must be a block file",
    ),
    "float number": (_replaced("block_number", pa.array([12.0] * N)), r"column block_number: type double: must be"),
    "text index": (_replaced("tx_index", pa.array(["0", "1", "2"])), r"column tx_index: type string: must be integers"),
    "text sender": (_replaced("sender", pa.array(["x" * 20] * N)), r"column sender: type string: must be binary"),
    "19 bytes": (
        _replaced("sender", pa.array([b"x" * 19] * N, pa.binary(19))),
        r"column sender: type fixed_size_binary\[19\]: must be binary of 20 bytes",
    ),
    "flat program": (_replaced("program", pa.array([1] * N)), r"column program: type int64: must be a list"),
    "program of ints": (_replaced("program", pa.array([[1]] * N)), r"column program: type int64: must be a list of"),
    "member missing": (
        _replaced("program", pa.array([[{"op": 5}]] * N)),
        r"column program\.(address|word|count): missing, or there twice: a required member of program",
    ),
    "bool success": (_replaced("chain_success", pa.array([1] * N)), r"column chain_success: type int64: must be bool"),
    "bool nonce": (_replaced("nonce", pa.array([True] * N)), r"column nonce: type bool: must be integers"),
    "column twice": (lambda t: t.append_column("sender", t["sender"]), r"column sender: 2 times|more than once|sender"),
    "nothing": (lambda t: t.select([]), r"block_number|no columns|rows"),
}


@pytest.mark.parametrize("name", TABLE_FAULTS)
def test_a_bad_column_or_schema_is_named_with_its_type_and_rule(tmp_path: Path, name: str) -> None:
    fault, message = TABLE_FAULTS[name]
    path = tmp_path / "b.parquet"
    parquet.write_blocks(path, full_block())
    pq.write_table(fault(pq.read_table(path)), path)
    with pytest.raises(FileFormatError, match=r"b\.parquet: .*(" + message + ")"):
        parquet.read_block(path)


COMPANION_FAULTS: dict[str, tuple[str, Callable[[Rows], Any], str]] = {
    "state twice": ("state", lambda rows: rows.append(dict(rows[1])), r"column address, row 4 = 0x.*: row 1 has"),
    "state field": ("state", _set(2, "field", 200), r"column field, row 2 = 200: must be in \[0, 3\]"),
    "state slot": ("state", _set(0, "field", 1), r"column slot, row \d = 0x.*: only storage keys"),
    "state value": ("state", _set(2, "value", b"x"), r"column value, row 2 = 0x78: must be 32 bytes"),
    "state value null": ("state", _set(2, "value", None), r"column value, row 2 = None: must not be null"),
    "state address": ("state", _set(2, "address", b""), r"column address, row 2 = 0x: must be 20 bytes"),
    "state block": ("state", _set(2, "block_number", 13), r"column block_number, row 2 = 13: must be a block of b"),
    "state column": ("state", _gone("value"), r"column value: missing: a state file needs"),
    "fork": ("blocks", _set(0, "fork", "tangerine"), r"column fork, row 0 = 'tangerine': one of berlin, london"),
    "fork null": ("blocks", _set(0, "fork", None), r"column fork, row 0 = None: must not be null"),
    "fork number": ("blocks", _set(0, "fork", 3), r"column fork: type int64: must be string"),
    "fork gone": ("blocks", _gone("fork"), r"column fork: missing: a blocks file needs"),
    "block twice": ("blocks", lambda rows: rows.append(dict(rows[0])), r"column block_number, row 1 = 12: .* already"),
    "recipient": ("blocks", _set(0, "fee_recipient", b"x"), r"column fee_recipient, row 0 = 0x78: must be 20 bytes"),
    "timestamp": ("blocks", _set(0, "timestamp", -5), r"column timestamp, row 0 = -5: must be in"),
}


@pytest.mark.parametrize("name", COMPANION_FAULTS)
def test_a_bad_companion_is_named_with_its_column_row_and_rule(tmp_path: Path, name: str) -> None:
    kind, fault, message = COMPANION_FAULTS[name]
    path = tmp_path / f"b.{kind}.parquet"
    parquet.write_blocks(tmp_path / "b.parquet", full_block())
    rows = pq.read_table(path).to_pylist()
    fault(rows)
    pq.write_table(_inferred(rows), path)
    with pytest.raises(FileFormatError, match=rf"b\.{kind}\.parquet: {message}"):
        parquet.read_block(tmp_path / "b.parquet")


@pytest.mark.parametrize("keep", [0, 1, 3, 11, 200, -9, -1])
def test_a_truncated_file_is_one_error(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "b.parquet"
    parquet.write_blocks(path, full_block())
    path.write_bytes(path.read_bytes()[:keep])
    for read in (parquet.read_block, files.read_block):
        with pytest.raises(FileFormatError, match=r"b\.parquet: not a readable Parquet file"):
            read(path)
        with pytest.raises(FileFormatError, match=r"b\.parquet: not a readable Parquet file"):
            read(tmp_path)


def test_a_damaged_page_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "b.parquet"
    parquet.write_blocks(path, full_block())
    data = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(2)
    data[column.dictionary_page_offset + column.total_compressed_size - 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=r"b\.parquet: damaged: .*(CRC|checksum|orrupt)"):
        parquet.read_block(path)


def test_a_footer_that_claims_absurd_sizes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.parquet"
    parquet.write_blocks(path, full_block())
    data = path.read_bytes()
    path.write_bytes(data[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(FileFormatError, match=r"b\.parquet: not a readable Parquet file"):
        parquet.read_block(path)


# -------------------------------------------------------------------- the one door for all kinds


def test_every_wrong_path_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("x")
    (tmp_path / "foreign").mkdir()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "foreign" / "x.parquet")
    (tmp_path / "x.bin").write_bytes(b"\x00\x01")
    parquet.write_blocks(tmp_path / "b.parquet", full_block())
    name = "ethereum__storage_diffs__00000001_to_00000001.parquet"
    pq.write_table(pa.table({"x": [1]}), tmp_path / name)
    cases = {
        "gone.parquet": "no such file or folder",
        "empty": "empty folder: expected a block file",
        "notes": "no Parquet file in folder: expected a block file",
        "foreign": "no block file in this folder",
        "foreign/x.parquet": "column block_number: missing: a block file needs",
        "x.bin": "starts with .*: expected a block file",
        "b.state.parquet": r"companion of a block file: expected b\.parquet",
        "b.blocks.parquet": r"companion of a block file: expected b\.parquet",
        name: "one file of a cryo dataset: expected its folder",
    }
    for path, message in cases.items():
        for read in (files.read_block, files.read_blocks, files.block_numbers):
            with pytest.raises(FileFormatError, match=message) as caught:
                read(tmp_path / path)
            assert str(tmp_path) in str(caught.value)
    for odd in (None, 3.5, "a\0b"):
        with pytest.raises(FileFormatError, match=r"not a path|no such file"):
            files.read_block(odd)  # type: ignore[arg-type]  # on purpose


def test_folders_are_told_apart_by_the_names_of_their_files(tmp_path: Path) -> None:
    for folder, name, kind in (
        ("trace", "ethereum__op_trace__1_to_1.parquet", files.FileKind.OP_TRACE),
        ("cryo", "ethereum__nonce_diffs__1_to_1.parquet", files.FileKind.CRYO),
        ("blocks", "some.parquet", files.FileKind.BLOCKS),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(b"PAR1")
        assert files.kind_of(tmp_path / folder) is kind
    assert files.kind_of(tmp_path / "trace" / "ethereum__op_trace__1_to_1.parquet") is files.FileKind.OP_TRACE


def test_a_file_that_the_system_will_not_open_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b.parquet"
    parquet.write_blocks(path, full_block())

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pyarrow.parquet.ParquetFile", refused)
    with pytest.raises(FileFormatError, match=r"b\.parquet: not a readable Parquet file: .*Permission denied"):
        files.read_block(path)
