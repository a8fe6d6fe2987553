"""A survey counts what the slow way counts, whatever the input's form, the number of blocks at once, or who does it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import access_dicts, blocks
from test_cli import Command, in_process

import pevm_numba as pn
from pevm_numba import cli
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.access.sets import AccessSets
from pevm_numba.block import Block, Header
from pevm_numba.errors import BlockError, FileFormatError, PevmError
from pevm_numba.io import parquet_access
from pevm_numba.io.columns import Column
from pevm_numba.io.parquet_access import Accesses, read_accesses
from pevm_numba.io.parquet_rows import program_keys
from pevm_numba.schedule.conflicts import ConflictCounts
from pevm_numba.survey import metrics as measures
from pevm_numba.survey import partitions as parts_module
from pevm_numba.survey import parts as parts_files
from pevm_numba.survey.batch import Batch
from pevm_numba.survey.definitions import DEFINITIONS, definition_row, net_access
from pevm_numba.survey.metrics import METRICS, columns_of, measure
from pevm_numba.survey.partitions import partitions_of

ALL = tuple(METRICS)


def rows_of(table: Any) -> list[dict[str, Any]]:
    """Rows of an Arrow table."""
    return table.to_pylist()


def counted_by_hand(sets: Sequence[dict[int, int]], gas: Sequence[float] | None) -> dict[str, Any]:
    """The columns of `conflicts` and `dependencies`, and sizes, by trying every pair."""
    pairs = naive.pair_kinds(sets)
    n = len(sets)
    users = {k: [s[k] for s in sets if k in s] for s in sets for k in s}
    hot = {k: len(modes) for k, modes in users.items() if any(naive.conflict(a, b) for a, b in combinations(modes, 2))}
    before = [{u for u in range(t) if (u, t) in pairs} for t in range(n)]
    waves = naive.levels(sets)
    path = max(naive.longest(before, [1.0] * n), default=0)
    heaviest = None if gas is None else max(naive.longest(before, gas), default=0.0)
    return {
        "n_tx": n, "n_accesses": sum(map(len, sets)), "gas": None if gas is None else sum(gas),
        "pairs": len(pairs), **{f"{kind}_pairs": sum(kind in s for s in pairs.values()) for kind in ("ww", "rw", "wr")},
        "conflict_rate": len(pairs) / math.comb(n, 2) if n > 1 else 0.0, "conflicts_exact": True,
        "conflicting_txs": len({t for pair in pairs for t in pair}),
        "contended_keys": len(hot), "hottest_key_txs": max(hot.values(), default=0),
        "path_txs": path, "path_gas": heaviest, "widest_level": max(map(len, waves), default=0),
        "work_span_txs": n / path if path else None, "work_span_gas": sum(gas) / heaviest if gas and heaviest else None,
    }  # fmt: skip


def batch_of(given: Sequence[tuple[list[dict[int, int]], int]], gas: Sequence[Sequence[float] | None]) -> Batch:
    """A batch of access sets whose keys are all balances of accounts of their own."""
    made = [AccessSets.from_dicts(sets, n_keys=n_keys) for sets, n_keys in given]
    sizes = [[one.n_tx, one.n_keys, one.n_accesses] for one in made]
    tx, key, at = np.vstack([np.zeros((1, 3), np.int64), np.cumsum(np.array(sizes), axis=0)]).T.copy()
    indptr = np.concatenate([*(one.indptr[:-1] + a for one, a in zip(made, at)), at[-1:]])
    keys = np.concatenate([one.keys + k for one, k in zip(made, key)]).astype(np.int32)
    n_keys = int(key[-1])
    return Batch(
        list(range(len(made))), tx, key, indptr, keys, np.concatenate([one.modes for one in made]),
        np.ones(n_keys, np.uint8), np.concatenate([np.arange(one.n_keys, dtype=np.int32) for one in made]),
        np.zeros(n_keys, bool), np.concatenate([np.zeros(len(sets)) if g is None else np.array(g, float)
                                                for (sets, _), g in zip(given, gas)]),
        np.array([g is not None for g in gas]), np.zeros(len(made), bool),
    )  # fmt: skip


@st.composite
def several(draw: st.DrawFn) -> tuple[list[tuple[list[dict[int, int]], int]], list[list[float] | None]]:
    """Access sets of a few blocks, with gas in some."""
    found = draw(st.lists(access_dicts(), min_size=1, max_size=4))
    gas = [draw(st.none() | st.lists(st.integers(0, 9).map(float), min_size=len(s), max_size=len(s))) for s, _ in found]
    return found, gas


@given(several())
def test_every_count_is_that_of_trying_all_pairs(made):
    found, gas = made
    table = measure(batch_of(found, gas), ("size", "conflicts", "dependencies"))
    for row, (sets, n_keys), paid in zip(rows_of(table), found, gas):
        wanted = counted_by_hand(sets, paid)
        assert row["n_keys"] == len({key for one in sets for key in one}) <= n_keys
        assert {name: row[name] for name in wanted} == pytest.approx(wanted)


@given(st.lists(blocks(failures=False), min_size=1, max_size=3))
def test_paths_by_definition_are_those_of_the_definitions(made):
    table = measure(Batch.of_blocks(made), ALL)
    for row, block in zip(rows_of(table), made):
        for one in DEFINITIONS:
            if one.source is net_access:
                continue
            deps = pn.dependencies(one.access(block), edges=one.edges)
            assert row[f"{one.slug}_path_txs"] == deps.critical_path()[0], one.name
        assert row["all_path_txs"] == row["path_txs"]


@given(st.lists(blocks(), min_size=1, max_size=4))
def test_a_file_read_by_columns_gives_what_its_blocks_give(tmp_path_factory, made):
    path = tmp_path_factory.mktemp("survey") / "blocks.parquet"
    made = [Block.concat([block], number=i, header=block.header) for i, block in enumerate(made)]
    pn.write_blocks(path, made)
    assert pn.survey(path, ALL).to_arrow().equals(measure(Batch.of_blocks(made), ALL))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`python -m pevm_numba WORDS` in this process."""
    return in_process(cli.main, monkeypatch, capsys)


def many(n: int = 7, n_tx: int = 30) -> list[Block]:
    """Synthetic blocks whose fee recipient is known in every other one."""
    made = [pn.generate(n_tx=n_tx, key_space=60, conflict_ratio=0.5, seed=i, number=100 + i) for i in range(n)]
    payee = Header(fee_recipient=bytes(19) + b"\1")
    return [Block.concat([block], header=payee) if i % 2 else block for i, block in enumerate(made)]


def test_how_many_blocks_are_read_at_once_does_not_matter(tmp_path, monkeypatch):
    made = many()
    pn.write_blocks(tmp_path / "blocks.parquet", made)
    whole = pn.survey(tmp_path, ALL).to_arrow()
    assert whole.equals(measure(Batch.of_blocks(made), ALL))
    for size in (1, 400):
        monkeypatch.setattr(parquet_access, "_OPS", size)
        monkeypatch.setattr(parts_module, "_BLOCKS", 3)
        again = pn.survey(tmp_path, ALL, workers=3)
        assert again.partitions == 3
        assert again.to_arrow().equals(whole)


def test_a_file_in_one_row_group_and_without_a_schema_is_read_alike(tmp_path):
    import pyarrow.parquet as pq

    made = many()
    pn.write_blocks(tmp_path / "blocks.parquet", made)
    table = pq.read_table(tmp_path / "blocks.parquet").replace_schema_metadata(None)
    (tmp_path / "other").mkdir()
    pq.write_table(table, tmp_path / "other" / "blocks.parquet", use_compliant_nested_type=False)
    (tmp_path / "blocks.blocks.parquet").rename(tmp_path / "other" / "blocks.blocks.parquet")
    assert pn.survey(tmp_path / "other", ALL).to_arrow().equals(measure(Batch.of_blocks(made), ALL))


def test_a_null_slot_of_storage_is_slot_zero_and_bytes_under_other_nulls_do_not_count(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    zero, balance, other = (7, 0, 0), (7, 1, 0), (8, 0, 5)
    calls = [
        [("SSTORE", zero, 1), ("NOOP", 3)],
        [("SLOAD", zero), ("CREDIT", balance, 1)],
        [("CREDIT", balance, 2), ("SLOAD", other)],
    ]
    made = Block.from_programs(calls, number=4, header=Header(fee_recipient=(7).to_bytes(20, "big")))
    pn.write_blocks(tmp_path / "blocks.parquet", made)
    wanted = measure(Batch.of_blocks([made]), ALL)
    table = pq.read_table(tmp_path / "blocks.parquet")
    lists = table["program"].combine_chunks()
    ops = lists.values
    names = [field.name for field in ops.type]
    members = dict(zip(names, ops.flatten()))
    slots = [None if slot is None or not any(slot) else slot for slot in members["slot"].to_pylist()]
    assert slots.count(None) == len(ops) - 1
    members["slot"] = pa.array(slots, pa.binary(32))
    ops = pa.StructArray.from_arrays([members[name] for name in names], names)
    table = table.set_column(table.column_names.index("program"), "program", pa.ListArray.from_arrays(lists.offsets, ops))
    pq.write_table(table.replace_schema_metadata(None), tmp_path / "blocks.parquet")
    assert pn.survey(tmp_path / "blocks.parquet", ALL).to_arrow().equals(wanted)

    validity = np.packbits([slot is not None for slot in slots], bitorder="little")
    dirt = np.frombuffer(b"".join(slot or bytes([i + 1]) * 32 for i, slot in enumerate(slots)), np.uint8)
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(slots), [pa.py_buffer(validity), pa.py_buffer(dirt)])
    members["slot"] = column
    ops = pa.StructArray.from_arrays([members[name] for name in names], names)
    listed = Column("file", "program", pa.ListArray.from_arrays(lists.offsets, ops), str)
    found = program_keys(listed)
    gas, payee = np.full(3, -1), [made.header.fee_recipient]
    batch = Batch.of_accesses(Accesses([4], np.array([0, 3]), *found, gas=gas, fee_recipients=payee))
    assert measure(batch, ALL).equals(wanted)


@pytest.mark.parametrize("payee", [None, bytes(20), bytes(19) + b"\1"])
def test_only_a_known_fee_recipients_balance_is_one(tmp_path, payee):
    who = 0 if payee is None else int.from_bytes(payee, "big")
    calls = [[("CREDIT", (who, 1, 0), 1), ("TOUCH", (9, 1, 0))]] * 3
    made = Block.from_programs(calls, number=4, header=Header(fee_recipient=payee))
    pn.write_blocks(tmp_path / "blocks.parquet", made)
    (read,) = (Batch.of_accesses(given) for given in read_accesses(tmp_path / "blocks.parquet", [4]))
    assert read.fee.tolist() == [payee is not None, False]
    assert read.accounts.tolist() == [0, 1]
    assert read.has_fee.tolist() == [payee is not None]


@pytest.fixture
def indexed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are indexed for their columns, as often as they are."""
    seen: list[str] = []

    class Watched(parquet_access.BlockFile):
        def __init__(self, path: Path, *, state: bool = True) -> None:
            seen.append(path.name)
            time.sleep(0.05)  # others come meanwhile
            super().__init__(path, state=state)

    monkeypatch.setattr(parquet_access, "BlockFile", Watched)
    return seen


def test_a_file_in_many_partitions_is_indexed_once_and_again_when_it_changes(tmp_path, monkeypatch, indexed):
    monkeypatch.setattr(parts_module, "_BLOCKS", 2)
    path = tmp_path / "blocks.parquet"
    for n in (9, 8):
        pn.write_blocks(path, many(n, 10))
        found = pn.survey(path, ALL, workers=4)
        assert found.partitions > 3
        assert found.to_arrow().equals(measure(Batch.of_blocks(many(n, 10)), ALL))
    assert indexed == ["blocks.parquet"] * 2
    pn.write_blocks(tmp_path / "other.parquet", [Block.concat([one], header=Header()) for one in many(8, 10)])
    (tmp_path / "other.blocks.parquet").replace(tmp_path / "blocks.blocks.parquet")  # another blocks file: no fee recipients
    assert not any(batch.has_fee.any() for batch in map(Batch.of_accesses, read_accesses(path, [100, 101])))


def test_only_so_many_indices_are_kept(tmp_path, monkeypatch, indexed):
    paths = [tmp_path / f"b{i}.parquet" for i in range(3)]
    for path in paths:
        pn.write_blocks(path, many(1, 10))

    def read(order: str) -> list[str]:
        indexed.clear()
        for i in order:
            assert list(read_accesses(paths[int(i)], [100]))
        return [name[1] for name in indexed]

    monkeypatch.setattr(parquet_access, "_FILES", 2)
    assert read("01012") == ["0", "1", "2"]
    assert read("120") == ["0"]
    monkeypatch.setattr(parquet_access, "_TRANSACTIONS", 15)
    assert read("001122") == ["1", "2"]


def test_an_index_that_cannot_be_made_is_tried_again(tmp_path, indexed):
    path = tmp_path / "blocks.parquet"
    path.write_bytes(b"no Parquet")
    for _ in range(2):
        with pytest.raises(FileFormatError, match=r"blocks\.parquet"):
            list(read_accesses(path, [1]))
    assert len(indexed) == 2


def test_a_block_with_too_many_pairs_is_counted_by_signatures(monkeypatch):
    block = pn.generate(n_tx=60, key_space=4, conflict_ratio=1.0, seed=1)
    exact = rows_of(measure(Batch.of_blocks([block]), ALL))
    monkeypatch.setattr(measures, "_PAIR_STEPS", 10)
    assert rows_of(measure(Batch.of_blocks([block]), ALL)) == exact
    assert exact[0]["pairs"] > 100


@pytest.mark.corpus
@pytest.mark.skipif(DISABLED, reason="thousands of transactions as plain Python")
def test_real_blocks_have_the_paths_of_the_tables(shared):
    table = rows_of(pn.survey(shared / "corpus" / "op_trace", ALL).to_arrow())
    assert len(table) == 65
    for row, block in zip(table[::9], list(pn.read_blocks(shared / "corpus" / "op_trace"))[::9]):
        access = pn.access_sets(block)
        counts = pn.conflict_counts(access)
        assert (row["block_number"], row["n_tx"], row["pairs"]) == (block.number, block.n_tx, counts.pairs)
        assert (row["ww_pairs"], row["rw_pairs"], row["wr_pairs"]) == (counts.ww, counts.rw, counts.wr)
        for one in DEFINITIONS:
            if one.source is not net_access:
                deps = pn.dependencies(one.access(block), edges=one.edges)
                assert row[f"{one.slug}_path_txs"] == deps.critical_path()[0]
                if block.chain_gas_used is not None:
                    assert row[f"{one.slug}_path_gas"] == deps.critical_path(block.chain_gas_used)[0]


@pytest.mark.corpus
@pytest.mark.skipif(DISABLED, reason="real bytecode as plain Python")
def test_blocks_with_state_are_executed_for_what_they_touch(shared, monkeypatch):
    monkeypatch.setattr(parts_module, "any_block_numbers", lambda path: [12244000, 19932148])
    table = rows_of(pn.survey(shared / "corpus", ALL).to_arrow())
    for row, block in zip(table, pn.read_evm_blocks(shared / "corpus", [12244000, 19932148])):
        done = pn.execute(block, "serial")
        deps = pn.dependencies(done.observed)
        gas = done.gas_used.astype(float)
        assert (row["block_number"], row["gas"]) == (block.number, gas.sum())
        assert (row["path_txs"], row["path_gas"]) == (deps.critical_path()[0], deps.critical_path(gas)[0])
        assert row["storage_path_txs"] < row["account_path_txs"]


# -------------------------------------------------------------------- partitions and their files


@pytest.fixture
def folder(tmp_path):
    """Three files of two blocks each."""
    source = tmp_path / "source"
    source.mkdir()
    made = many(6, 10)
    for i in range(3):
        pn.write_blocks(source / f"b{i}.parquet", made[2 * i : 2 * i + 2])
    return source


def test_a_survey_with_an_output_is_that_without(folder, tmp_path):
    inside = pn.survey(folder)
    outside = pn.survey(folder, output=tmp_path / "out")
    assert inside.to_arrow().equals(outside.to_arrow())
    assert len(list((tmp_path / "out").glob("part-*.parquet"))) == 3
    again = pn.read_survey(tmp_path / "out")
    assert again.to_arrow().sort_by("block_number").equals(inside.to_arrow())
    assert again.metrics == inside.metrics == ("size", "conflicts", "dependencies")
    meta = pn.survey(folder, "conflicts").to_arrow().schema.field("pairs").metadata
    assert meta[b"unit"] == b"pairs"


def test_what_is_done_is_not_done_again_unless_its_source_changed(folder, tmp_path, monkeypatch):
    first = pn.survey(folder, output=tmp_path / "out")
    assert first.resumed == 0
    asked = []
    real = parts_module.survey_partition
    monkeypatch.setattr(parts_files, "survey_partition", lambda one, names: asked.append(one) or real(one, names))
    assert pn.survey(folder, output=tmp_path / "out").resumed == 3
    assert asked == []
    pn.write_blocks(folder / "b1.parquet", many(4, 12)[2:])
    changed = pn.survey(folder, output=tmp_path / "out")
    assert changed.resumed == 2
    assert [Path(one.source).name for one in asked] == ["b1.parquet"]
    assert changed.to_arrow().equals(pn.survey(folder).to_arrow())


def test_what_another_version_made_or_another_blocks_file_told_is_done_again(folder, tmp_path, monkeypatch):
    pn.survey(folder, "size", output=tmp_path / "out")
    os.utime(folder / "b0.blocks.parquet", ns=(1, 1))  # fee recipients are in it
    assert pn.survey(folder, "size", output=tmp_path / "out").resumed == 2
    monkeypatch.setattr(parts_files, "__version__", "0.0.1")
    assert pn.survey(folder, "size", output=tmp_path / "out").resumed == 0


def test_a_summary_has_the_percentiles_it_names(tmp_path):
    pn.write_blocks(tmp_path / "b.parquet", [Block.from_programs([[]] * n, number=n) for n in range(101)])
    row = pn.survey(tmp_path / "b.parquet", "size").summary()[0]
    assert {name: row[name] for name in ("p5", "median", "p95", "most", "mean", "sum", "blocks")} == {
        "p5": 5, "median": 50, "p95": 95, "most": 100, "mean": 50, "sum": 5050, "blocks": 101,
    }  # fmt: skip


def test_bad_input_does_not_stop_the_others_where_there_is_an_output(folder, tmp_path):
    import pyarrow.parquet as pq

    bad = folder / "b1.parquet"
    whole = bad.read_bytes()
    broken = bytearray(whole)
    about = pq.ParquetFile(bad).metadata.row_group(0)
    at = next(about.column(i) for i in range(about.num_columns) if about.column(i).path_in_schema.endswith("element.address"))
    broken[at.data_page_offset + at.total_compressed_size // 2] ^= 255
    bad.write_bytes(broken)
    with pytest.raises(FileFormatError, match=r"b1\.parquet.*; all other partitions are done"):
        pn.survey(folder, output=tmp_path / "out")
    assert len(list((tmp_path / "out").glob("part-*.parquet"))) == 2
    with pytest.raises(FileFormatError, match=r"b1\.parquet"):
        pn.survey(folder)
    bad.write_bytes(whole)
    mended = pn.survey(folder, output=tmp_path / "out")
    assert (mended.resumed, len(mended)) == (2, 6)


def test_a_folder_of_another_survey_is_refused(folder, tmp_path):
    pn.survey(folder, "size", output=tmp_path / "out")
    with pytest.raises(FileFormatError, match="is of the metrics size, not conflicts"):
        pn.survey(folder, "conflicts", output=tmp_path / "out")
    with pytest.raises(FileFormatError, match="is of no partition of this survey: each survey needs a folder of its own"):
        pn.survey(folder / "b0.parquet", "size", output=tmp_path / "out")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileFormatError, match="must be a folder"):
        pn.survey(folder, output=tmp_path / "file")


def test_a_source_that_has_other_blocks_than_before_is_named(folder, tmp_path):
    pn.survey(folder, "size", output=tmp_path / "out")
    pn.write_blocks(folder / "b1.parquet", many(5)[2:])
    with pytest.raises(FileFormatError, match=r"part-b1-102_103.*b1\.parquet has other blocks now, so remove the file"):
        pn.survey(folder, "size", output=tmp_path / "out")
    next((tmp_path / "out").glob("part-b1-*")).unlink()
    assert pn.survey(folder, "size", output=tmp_path / "out").resumed == 2


def test_results_may_lie_beside_the_blocks_and_are_none(folder):
    first = pn.survey(folder, output=folder)
    assert pn.survey(folder, output=folder).resumed == 3
    assert [block.number for block in pn.read_blocks(folder)] == first.to_arrow()["block_number"].to_pylist()


@pytest.mark.corpus
def test_an_output_inside_a_folder_that_is_read_as_one_is_refused(shared, tmp_path):
    cryo = tmp_path / "cryo"  # a copy: the folder of all must stay as it is if this fails
    cryo.mkdir()
    for path in (shared / "corpus" / "cryo").glob("*__00046147_to_00046147.parquet"):
        (cryo / path.name).write_bytes(path.read_bytes())
    assert len(pn.survey(cryo, "size")) == 1
    with pytest.raises(BlockError, match=r"output = .*found.*: must not lie inside the input .*cryo"):
        pn.survey(cryo, "size", output=cryo / "found")
    assert not (cryo / "found").exists()


def test_what_a_result_says_of_itself_is_doubted(folder, tmp_path):
    import pyarrow.parquet as pq

    pn.survey(folder, "size", output=tmp_path)
    path = sorted(tmp_path.glob("part-*.parquet"))[0]
    table = pq.read_table(path)
    known = dict(table.schema.metadata)
    about = json.loads(known[b"pevm_numba.survey"])
    for wrong in ({"metrics": ["size", "newer"]}, {"metrics": [["size"]]}, {"metrics": "size"}, {"metrics": []}, {"of": None},
                  {"of": {"source": 3}}):  # fmt: skip
        known[b"pevm_numba.survey"] = json.dumps({**about, **wrong}).encode()
        pq.write_table(table.replace_schema_metadata(known), path)
        with pytest.raises(FileFormatError, match=path.name):
            pn.read_survey(tmp_path)


def test_gas_that_is_not_known_of_every_transaction_is_not_known_of_the_block(tmp_path):
    import pyarrow as pa

    gas = [[21000, 30000], [21000, None], [None, None]]
    rows = [[("SSTORE", (1, 0, 0), 1)], [("SLOAD", (1, 0, 0))]]
    made = [
        Block.from_programs(rows, number=i, meta={"chain_gas_used": pa.array(one, pa.uint64())})
        for i, one in enumerate(gas)
    ]
    pn.write_blocks(tmp_path / "b.parquet", made)
    table = pn.survey(tmp_path / "b.parquet", ALL).to_arrow()
    assert table["gas"].to_pylist() == table["path_gas"].to_pylist() == [51000, None, None]
    assert measure(Batch.of_blocks(made), ALL).equals(table)
    assert [definition_row(one, DEFINITIONS[-1])["path_gas"] for one in made] == [51000, None, None]


def test_after_an_error_no_thread_is_left(folder, monkeypatch):
    def refused(one: Any, names: Any) -> Any:
        raise FileFormatError("the file is bad")

    monkeypatch.setattr(parts_files, "survey_partition", refused)
    with pytest.raises(FileFormatError, match="the file is bad") as held:
        pn.survey(folder, workers=2)
    assert held.value.__traceback__ is not None  # it holds the frames of the survey
    assert not [one.name for one in threading.enumerate() if one.name.startswith("survey")]


def test_a_damaged_result_is_an_error(folder, tmp_path):
    pn.survey(folder, output=tmp_path / "out")
    path = sorted((tmp_path / "out").glob("part-*.parquet"))[1]
    whole = path.read_bytes()
    for where in (10, len(whole) // 2, len(whole) - 9):
        broken = bytearray(whole)
        broken[where] ^= 255
        path.write_bytes(broken)
        with pytest.raises(FileFormatError, match=path.name):
            pn.read_survey(tmp_path / "out").to_arrow()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match=path.name):
        pn.read_survey(tmp_path / "out")
    with pytest.raises(FileFormatError, match="has no file of a survey"):
        pn.read_survey(folder)


def test_what_the_system_refuses_is_tried_again(folder, tmp_path, monkeypatch):
    left = {"b0.parquet": 2, "b2.parquet": 1}
    real = parts_module.survey_partition

    def sometimes(one: Any, names: Any) -> Any:
        name = Path(one.source).name
        if left.get(name, 0):
            left[name] -= 1
            raise OSError("the network is away")
        return real(one, names)

    monkeypatch.setattr(parts_files, "survey_partition", sometimes)
    assert len(pn.survey(folder)) == 6
    left["b0.parquet"] = 3
    with pytest.raises(FileFormatError, match=r"b0\.parquet: the network is away \(3 times\)"):
        pn.survey(folder)


def test_paths_may_be_files_folders_and_several(folder, tmp_path):
    files = sorted(folder.glob("b?.parquet"))
    assert pn.survey(files).to_arrow().equals(pn.survey(folder).to_arrow())
    with pytest.raises(FileFormatError, match="twice among the paths"):
        pn.survey([folder, files[0]])
    with pytest.raises(FileFormatError, match="no such file"):
        pn.survey(tmp_path / "nothing")
    with pytest.raises(BlockError, match="paths: empty"):
        pn.survey([])
    pn.write_blocks(tmp_path / "one.json.gz", Block.from_programs([[("SSTORE", (1, 0, 0), 1)]]))
    assert len(pn.survey([tmp_path / "one.json.gz", files[0]])) == 3
    (tmp_path / "again").mkdir()
    pn.write_blocks(tmp_path / "again" / "b0.parquet", many(1, 10))
    two = pn.survey([files[0], tmp_path / "again"]).to_arrow()
    assert two["block_number"].to_pylist() == [100, 101, 100]


def test_wrong_arguments_are_named(folder):
    with pytest.raises(BlockError, match="metrics"):
        pn.survey(folder, "everything")
    with pytest.raises(BlockError, match="metrics: empty"):
        pn.survey(folder, [])
    with pytest.raises(BlockError, match="retries"):
        pn.survey(folder, retries=-1)
    with pytest.raises(BlockError, match="workers"):
        pn.survey(folder, workers=0)
    assert columns_of(["conflicts", "size", "size"]) == ("size", "conflicts")


def test_blocks_without_transactions_have_a_row(tmp_path):
    pn.write_blocks(tmp_path / "e.parquet", [Block.from_programs([], number=5), *many(1, 3)])
    row = rows_of(pn.survey(tmp_path / "e.parquet", ALL).to_arrow())[0]
    assert (row["block_number"], row["n_tx"], row["path_txs"], row["pairs"]) == (5, 0, 0, 0)
    assert row["work_span_txs"] is None
    assert pn.survey(tmp_path / "e.parquet").summary()[0]["blocks"] == 2


def test_names_of_parts_are_readable_and_distinct(folder):
    names = [one.name for one in partitions_of(folder)]
    assert [name.rsplit("-", 1)[0] for name in names] == ["part-b0-100_101", "part-b1-102_103", "part-b2-104_105"]
    assert len(set(names)) == 3


# -------------------------------------------------------------------- addresses


def test_addresses_are_read_and_written_through_fsspec(folder):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for path in folder.glob("*.parquet"):
        memory.put_file(str(path), f"/bucket/in/{path.name}")
    found = pn.survey("memory://bucket/in/b*.parquet", output="memory://bucket/out")
    assert found.to_arrow().equals(pn.survey(folder).to_arrow())
    assert pn.survey("memory://bucket/in/b*.parquet", output="memory://bucket/out").resumed == 3
    assert pn.read_survey("memory://bucket/out").to_arrow().num_rows == 6
    changed = (folder / "b0.blocks.parquet").read_bytes()
    memory.pipe_file("/bucket/in/b0.blocks.parquet", changed)  # fee recipients are in it
    assert pn.survey("memory://bucket/in/b*.parquet", output="memory://bucket/out").resumed == 2
    assert not [name for name in memory.ls("/bucket/out", detail=False) if not name.endswith(".parquet")]
    with pytest.raises(FileFormatError, match="nothing there"):
        pn.survey("memory://bucket/none/*.parquet")
    with pytest.raises(PevmError, match="nothing://x"):
        pn.survey("nothing://x")
    memory.rm("/bucket", recursive=True)


def test_what_an_address_has_instead_of_blocks_is_said_in_its_words(folder, bucket):
    import fsspec

    fsspec.filesystem("memory").pipe_file("/flaky/in/bad.parquet", b"no Parquet")
    fsspec.filesystem("memory").pipe_file("/flaky/in/below/notes.txt", b"")
    with pytest.raises(FileFormatError, match=r"^memory://flaky/in/: is a folder: .* memory://flaky/in/\*\.parquet$"):
        pn.survey("memory://flaky/in/")
    with pytest.raises(FileFormatError, match=r"^memory:///flaky/in/bad\.parquet: not a readable Parquet file"):
        pn.survey("memory://flaky/in/b*.parquet")
    for nothing in ("memory://", "memory://flaky/nothing"):
        with pytest.raises(FileFormatError, match=f"^{nothing}: nothing there$"):
            pn.survey(nothing)
    fsspec.filesystem("memory").rm_file("/flaky/in/bad.parquet")
    assert pn.survey("memory://flaky/in/b*").partitions == 3  # without the folder


class NoNetworkError(Exception):
    """As libraries of cloud storage raise them: no OSError."""


@pytest.fixture
def bucket(folder, monkeypatch):
    """Blocks in memory; calls that are named in what is yielded fail so many times."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for path in folder.glob("*.parquet"):
        memory.put_file(str(path), f"/flaky/in/{path.name}")
    left: dict[str, int] = {}

    def failing(name: str) -> None:
        real = getattr(type(memory), name)

        def call(self: Any, *given: Any, **more: Any) -> Any:
            if left.get(name, 0):
                left[name] -= 1
                raise NoNetworkError("the network\nis away")
            return real(self, *given, **more)

        monkeypatch.setattr(type(memory), name, call)  # each thread has an instance of its own

    for name in ("get_file", "mv", "cat_file", "ls", "glob"):
        failing(name)
    yield left
    memory.rm("/flaky", recursive=True)


def test_what_a_library_of_cloud_storage_raises_is_tried_again(folder, bucket):
    bucket |= {"get_file": 1, "mv": 1}
    found = pn.survey("memory://flaky/in/b*.parquet", output="memory://flaky/out", workers=1)
    assert not any(bucket.values())
    assert found.to_arrow().equals(pn.survey(folder).to_arrow())
    bucket["get_file"] = 3
    with pytest.raises(FileFormatError, match=r"in/b0\.parquet: .*NoNetworkError: the network is away \(3 times\)"):
        pn.survey("memory://flaky/in/b*.parquet", workers=1)
    for name in ("cat_file", "ls"):
        bucket[name] = 1
        with pytest.raises((OSError, PevmError), match="NoNetworkError: the network is away"):
            pn.read_survey("memory://flaky/out").to_arrow()


def test_what_goes_wrong_here_is_not_tried_again(folder, bucket, monkeypatch):
    tried: list[str] = []

    def wrong(batch: Any, names: Any) -> Any:
        tried.append("once")
        raise TypeError("a slip of ours")

    monkeypatch.setattr(parts_module, "measure", wrong)
    with pytest.raises(TypeError, match="a slip of ours"):
        pn.survey("memory://flaky/in/b0.parquet")
    assert tried == ["once"]


def test_a_write_elsewhere_that_fails_leaves_nothing_behind(bucket):
    import fsspec

    memory = fsspec.filesystem("memory")
    bucket["mv"] = 3
    with pytest.raises(FileFormatError, match="mv: NoNetworkError"):
        pn.survey("memory://flaky/in/b0.parquet", output="memory://flaky/left")
    assert memory.ls("/flaky/left", detail=False) == []


# -------------------------------------------------------------------- Dask


@pytest.fixture(scope="module")
def cluster():
    """A client of two worker processes."""
    pytest.importorskip("distributed")
    from pevm_numba.survey.cluster import local_cluster

    with local_cluster(2) as client:
        yield client


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(DISABLED, reason="worker processes compile nothing then, and take minutes")
class TestOnDask:
    def test_it_gives_what_this_process_gives(self, cluster, folder, tmp_path):
        here = pn.survey(folder, ALL).to_arrow()
        assert pn.survey(folder, ALL, cluster).to_arrow().equals(here)
        address = cluster.scheduler.address
        assert pn.survey(folder, ALL, address, output=tmp_path / "out").to_arrow().equals(here)
        assert pn.survey(folder, ALL, cluster, output=tmp_path / "out").resumed == 3

    def test_bad_input_is_the_same_error(self, cluster, folder, tmp_path):
        (folder / "b1.parquet").write_bytes(b"PAR1 but no more")
        with pytest.raises(FileFormatError, match=r"b1\.parquet"):
            pn.survey([folder / "b0.parquet", folder / "b1.parquet"], client=cluster)

    def test_a_killed_worker_loses_nothing(self, cluster, tmp_path):
        source, out = tmp_path / "source", tmp_path / "out"
        source.mkdir()
        for i in range(16):
            pn.write_blocks(source / f"b{i:02}.parquet", many(20, 200))
        pids = list(cluster.run(os.getpid).values())
        done_before: list[int] = []

        def kill_one() -> None:
            while not done_before:
                names = [name for name in (os.listdir(out) if out.exists() else []) if name.startswith("part-")]
                if names:
                    os.kill(pids[0], signal.SIGKILL)
                    done_before.append(len(names))
                time.sleep(0.001)

        killer = threading.Thread(target=kill_one, daemon=True)
        killer.start()
        found = pn.survey(source, ALL, cluster, output=out)
        killer.join(10)
        assert 0 < done_before[0] < 16
        assert pids[0] not in cluster.run(os.getpid).values()
        assert found.to_arrow().equals(pn.survey(source, ALL).to_arrow())

    def test_what_is_no_cluster_is_refused(self, folder):
        with pytest.raises(PevmError, match=r"must be a distributed\.Client or the address"):
            pn.survey(folder, client=7)
        with pytest.raises(PevmError, match="no scheduler there"):
            pn.survey(folder, client="tcp://127.0.0.1:9")
        with pytest.raises(PevmError, match="workers: of threads here"):
            pn.survey(folder, client="tcp://127.0.0.1:9", workers=2)

    def test_a_client_that_was_closed_is_refused(self, cluster, folder):
        from distributed import Client

        client = Client(cluster.scheduler.address, set_as_default=False)
        client.close()
        with pytest.raises(PevmError, match="is closed: must be connected"):
            pn.survey(folder, client=client)

    def test_a_cluster_here_asks_for_no_port_that_another_may_have(self):
        from pevm_numba.survey.cluster import local_cluster

        with socket.socket() as taken, warnings.catch_warnings():
            with contextlib.suppress(OSError):  # somebody has it already
                taken.bind(("", 8787))
                taken.listen()
            warnings.simplefilter("error")
            with local_cluster(1) as client:
                assert client.submit(int, "5").result() == 5


def test_without_its_libraries_the_error_names_the_extra(folder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(PevmError, match=r"pip install \"pevm-numba\[distributed\]\""):
        pn.survey(folder, client="tcp://127.0.0.1:9")
    with pytest.raises(PevmError, match=r"pip install \"pevm-numba\[distributed\]\""):
        pn.survey("s3://bucket/x.parquet")


# -------------------------------------------------------------------- the command


def test_the_command_shows_a_summary_and_writes_rows(folder, tmp_path, command):
    words = ("survey", folder, "--metrics", "size, conflicts", "--output", tmp_path / "out")
    said = command(*words, "--csv", tmp_path / "a.csv")
    assert (said.code, said.err) == (0, "")
    assert "6, in 3 partitions, 0 of them done before" in said.out
    assert any(line.split()[:3] == ["n_tx", "transactions", "6"] for line in said.out.splitlines())
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert len(lines) == 7
    assert json.loads(lines[1].split(",")[0]) == 100
    assert "3 of them done before" in command(*words).out
    assert "estimates" not in said.out


def test_the_command_says_of_how_many_blocks_pairs_are_estimated(folder, command, monkeypatch):
    monkeypatch.setattr(measures, "_PAIR_STEPS", 0)
    exact = iter([False, True, False, True, True, True])
    monkeypatch.setattr(measures, "conflict_counts", lambda sets: ConflictCounts(sets.n_tx, 3, 1, 1, 1, exact=next(exact)))
    said = command("survey", folder)
    assert "pairs  of 2 of 6 blocks are estimates: a million drawn pairs" in said.out
    assert "estimates" not in command("survey", folder, "--metrics", "size").out


def test_the_result_of_a_survey_given_as_blocks_is_told_from_them(folder, tmp_path, command):
    pn.survey(folder, "size", output=tmp_path / "out")
    one = next((tmp_path / "out").glob("*.parquet"))
    for words in product((("inspect", "--input"), ("survey",)), (tmp_path / "out", one)):
        said = command(*words[0], words[1])
        assert said.code == 1
        assert "results of a survey, which pevm_numba.read_survey reads; give the blocks" in said.err
        assert said.err.count("\n") == 1


def test_a_file_system_that_does_not_answer_is_one_line(bucket, command):
    bucket["glob"] = 1
    said = command("survey", "memory://flaky/in/*.parquet")
    assert (said.code, said.err) == (1, "error: /flaky/in/*.parquet: glob: NoNetworkError: the network is away\n")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--metrics", "all"], 2, "--metrics 'all' is unknown: one of size, conflicts, dependencies, definitions"),
        (["--workers", "0"], 2, "--workers 0: must be in [1, 4096]"),
        (["--workers", "1", "--dask", "local:1"], 2, "a cluster has its own"),
        (["--dask", "local:x"], 2, "must be an address, or local:N"),
        (["--csv", "x.txt"], 2, "--csv x.txt: must be NAME.csv"),
    ],
)
def test_misuse_of_the_command_is_one_line(folder, command, words, code, text):
    said = command("survey", folder, *words)
    assert said.code == code
    assert text in said.err
    assert said.err.count("\n") == 1
