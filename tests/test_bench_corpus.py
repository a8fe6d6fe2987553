"""Tables on real blocks: each figure against a count by hand, and the folder as others have counted it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from rich.console import Console
from strategies import blocks
from test_cli import Command, in_process, one_line

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.access.sets import AccessSets
from pevm_numba.bench import __main__ as main
from pevm_numba.bench import tables
from pevm_numba.bench.bal import FIRST, LAST, bal_table, storage_writes
from pevm_numba.bench.corpus import definition_summary, model_rows, model_summary, worker_rows, worker_summary
from pevm_numba.block import Block
from pevm_numba.errors import FileFormatError
from pevm_numba.fields import TABLES
from pevm_numba.machine.ops import Mode
from pevm_numba.survey.definitions import DEFINITIONS, definition_row, misordered_pairs, net_access

pytestmark = pytest.mark.skipif(DISABLED, reason="thousands of schedules, and no kernel is compiled")

COLUMNS = ("block_number", "block_access_index", "address", "slot", "kind", "value", "has_reads", "encoding")


def bal_file(path: Path, rows: list[tuple[int, int | None, int, int | None, str]], **changes: object) -> Path:
    """A file of decoded lists: block, index, address, slot, kind."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "block_number": pa.array([r[0] for r in rows], pa.uint32()),
        "block_access_index": pa.array([r[1] for r in rows], pa.uint16()),
        "address": pa.array([bytes([r[2]]) * 20 for r in rows], pa.binary(20)),
        "slot": pa.array([None if r[3] is None else bytes([r[3]]) * 32 for r in rows], pa.binary(32)),
        "kind": pa.array([r[4] for r in rows]).dictionary_encode(),
        "value": pa.array([None] * len(rows), pa.binary()),
        "has_reads": pa.array([True] * len(rows)),
        "encoding": pa.array(["rlp"] * len(rows)).dictionary_encode(),
    }
    columns |= {name: pa.array(value) for name, value in changes.items() if value is not None}
    columns = {name: value for name, value in columns.items() if changes.get(name, "kept") is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


ROWS = [
    (FIRST, 0, 1, 5, "storage_write"), (FIRST, 2, 1, 5, "storage_write"), (FIRST, 3, 1, 5, "storage_write"),
    (FIRST, 1, 1, 6, "storage_write"), (FIRST, None, 1, 7, "storage_read"), (FIRST, 5, 9, None, "nonce_change"),
    (FIRST, 2, 2, 5, "storage_write"), (FIRST, None, 3, None, "account_access"),
    (LAST, 0, 1, 5, "balance_change"), (LAST + 1, 0, 1, 5, "storage_write"),
]  # fmt: skip


# -------------------------------------------------------------------- access lists


def test_consecutive_writers_of_a_slot_are_chains_and_the_highest_index_tells_the_transactions(tmp_path):
    path = bal_file(tmp_path / "x.parquet", ROWS)
    (first, access), (last, empty) = storage_writes(path)
    assert (first, last) == (FIRST, LAST)
    assert [len(entry) for entry in access] == [1, 1, 2, 1, 0, 0]
    assert set(access.modes) == {Mode.WRITE}
    assert access[0] == access[3]
    assert set(access[0]) < set(access[2])
    assert (empty.n_tx, empty.n_accesses) == (1, 0)
    one, other = bal_table(path)
    assert (one["n_tx"], one["critical_path"], one["isolated"], one["isolated_share"]) == (6, 3, 3, 0.5)
    assert (other["n_tx"], other["critical_path"], other["isolated_share"]) == (1, 1, 1.0)


@pytest.mark.parametrize(
    ("rows", "changes", "said"),
    [
        (ROWS[-1:], {}, "no RLP list with reads of blocks"),
        (ROWS[:2], {"encoding": ["ssz", "ssz"]}, "no RLP list"),
        (ROWS[:2], {"encoding": ["rlp", "xml"]}, "column 'encoding', row 1"),
        (ROWS[:2], {"slot": None}, "column 'slot' is there 0 times"),
        ([*ROWS[:1], (FIRST, None, 1, 5, "storage_write")], {}, "column 'block_access_index', row 1 = null"),
        ([*ROWS[:1], (FIRST, 1, 1, None, "storage_write")], {}, "column 'slot', row 1 = null"),
        ([(FIRST, 0, 1, 5, "write")], {}, "column 'kind', row 0 = 'write'"),
    ],
)
def test_a_bad_list_is_refused_by_column_row_and_value(tmp_path, rows, changes, said):
    path = bal_file(tmp_path / "x.parquet", rows, **changes)
    with pytest.raises(FileFormatError, match=said):
        bal_table(path)


@pytest.mark.corpus
def test_real_lists_give_the_chains_of_a_walk_in_plain_python(shared):
    path = shared / "corpus" / "bal" / "eip7928_accesses.parquet"
    rows = bal_table(path, last=FIRST + 4)
    assert [row["block_number"] for row in rows] == list(range(FIRST, FIRST + 5))
    for (_, access), row in zip(storage_writes(path, last=FIRST + 4), rows):
        depth, last, linked = [0] * access.n_tx, {}, set()
        for t, keys in enumerate(access):
            before = {last[k] for k in keys if k in last}
            depth[t] = 1 + max((depth[p] for p in before), default=0)
            linked |= before | ({t} if before else set())
            last |= dict.fromkeys(keys, t)
        assert row["critical_path"] == max(depth)
        assert row["isolated"] == access.n_tx - len(linked)


# -------------------------------------------------------------------- definitions


def naive_path(access: AccessSets, raw: bool, cost: list[float]) -> float:
    """The heaviest path over all conflicting pairs, or over those whose value flows from one to the other."""
    finish: list[float] = []
    sets = [{k: int(m) for k, m in entry.items()} for entry in access]
    for t in range(access.n_tx):
        start = 0.0
        for k, mode in sets[t].items():
            for p in range(t - 1, -1, -1):
                other = sets[p].get(k, 0)
                if raw:
                    if mode & Mode.READ and other & (Mode.WRITE | Mode.CREDIT):
                        start = max(start, finish[p])
                    if other & Mode.WRITE or other == Mode.READ | Mode.CREDIT:
                        break  # a later value hides the earlier ones
                elif other and not (mode == other and mode in (Mode.READ, Mode.CREDIT)):
                    start = max(start, finish[p])
        finish.append(start + cost[t])
    return max(finish, default=0.0)


@given(blocks())
@settings(max_examples=25)
def test_a_definition_row_is_what_a_walk_over_pairs_finds(block: Block):
    for definition in DEFINITIONS:
        access, row = definition.access(block), definition_row(block, definition)
        assert row["path_txs"] == naive_path(access, definition.edges == "raw", [1.0] * block.n_tx)
        if definition.edges == "all":
            order = pn.schedule(access, "mis", block=block).serial_order.tolist()
            at = {t: i for i, t in enumerate(order)}
            sets = list(access)
            pairs = [
                (i, j) for i in range(block.n_tx) for j in range(i + 1, block.n_tx)
                if any(not (m == sets[j].get(k) and m in (1, 4)) for k, m in sets[i].items() if k in sets[j])
            ]  # fmt: skip
            assert row["pairs"] == len(pairs)
            assert row["misordered"] == sum(at[j] < at[i] for i, j in pairs)
            assert row["levels_waves"] == row["path_txs"]


def test_block_order_misorders_nothing_and_its_reverse_everything():
    access = pn.access_sets(pn.generate(n_tx=300, key_space=50, conflict_ratio=0.9, seed=3))
    pairs = pn.conflict_counts(access).pairs
    order = np.arange(300, dtype=np.int32)
    assert misordered_pairs(access, order) == (0, pairs)
    assert misordered_pairs(access, order[::-1].copy()) == (pairs, pairs)
    assert pairs > 100


def test_net_access_reads_what_is_touched_and_writes_what_differs_afterwards():
    a, b = (1, 0, 0), (2, 0, 0)
    block = Block.from_programs([[("SSTORE", a, 5)], [("SSTORE", a, 5), ("SSTORE", b, 1)], [("TOUCH", b)]], {a: 4})
    assert [dict(entry) for entry in net_access(block)] == [{0: 3}, {0: 1, 1: 3}, {1: 1}]


@pytest.mark.corpus
def test_chains_of_the_real_blocks_are_those_that_were_counted_when_they_were_traced(shared):
    corpus = shared / "corpus"
    with (corpus / "conflicts.csv").open() as file:
        known = {int(row["number"]): row for row in csv.DictReader(file)}
    net = DEFINITIONS[0]
    for block in pn.read_blocks(corpus / "op_trace"):
        want, row = known[block.number], definition_row(block, net)
        assert row["path_txs"] == int(want["chain_storage_txs"]), block.number
        if block.n_tx:
            assert row["path_gas"] == int(want["chain_storage_gas"]), block.number
            assert row["work_span_gas"] == pytest.approx(float(want["gas_over_chain_storage"]), abs=6e-4), block.number


def test_a_summary_is_means_medians_and_sums_over_blocks_with_transactions():
    block = pn.generate(n_tx=40, key_space=20, conflict_ratio=0.9)
    rows = [definition_row(b, d) for b in (block, block.slice(0, 10), Block.from_programs([])) for d in DEFINITIONS]
    for one in definition_summary(rows):
        chosen = [row for row in rows[: 2 * len(DEFINITIONS)] if row["definition"] == one["definition"]]
        assert one["blocks"] == 2
        assert one["path_txs"]["mean"] == np.mean([row["path_txs"] for row in chosen])
        assert one["work_span_txs"]["most"] == max(row["work_span_txs"] for row in chosen)
        assert one["work_span_gas"] is None
        if chosen[0]["pairs"] is not None:
            assert one["misordered"] == sum(row["misordered"] for row in chosen)
            assert one["blocks_misordered"] == sum(row["misordered"] > 0 for row in chosen)


# -------------------------------------------------------------------- workers


@pytest.mark.corpus
def test_list_scheduling_lies_between_bound_and_waves_on_real_blocks(shared):
    found = []
    for number in (14029313, 15537393, 18988207):
        block = pn.read_block(shared / "corpus" / "op_trace", number)
        rows = worker_rows(block, (1, 8))
        found += rows
        total = int(block.chain_gas_used.sum())
        assert rows[0]["waves"] == rows[0]["list"] == rows[0]["bound"] == total
        path = naive_path(pn.access_sets(block), False, block.chain_gas_used.tolist()) if block.n_tx < 300 else 0
        assert rows[1]["bound"] >= max(total / 8, path)
        assert rows[1]["list"] <= total / 8 + 7 / 8 * rows[1]["bound"]
    by = {(one["workers"], one["way"]): one for one in worker_summary(found)}
    assert by[8, "bound"]["share_of_bound"] == 1
    assert by[8, "waves"]["total"] <= by[8, "list"]["total"] <= by[8, "bound"]["total"] <= 8
    assert by[8, "list"]["total"] == sum(r["gas"] for r in found[1::2]) / sum(r["list"] for r in found[1::2])


def test_a_block_without_gas_of_the_chain_cannot_be_simulated():
    with pytest.raises(FileFormatError, match="chain's gas is not known"):
        worker_rows(pn.generate("small"))


# -------------------------------------------------------------------- the command


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`python -m pevm_numba.bench WORDS` in this process."""
    return in_process(main.main, monkeypatch, capsys)


def test_a_folder_with_lists_alone_gives_their_table_alone(bench, tmp_path):
    folder = tmp_path / "folder"
    file = bal_file(folder / "bal" / "eip7928_accesses.parquet", ROWS)
    for given_path in (folder, folder / "bal", file):
        said = bench("corpus", given_path, "-v", "--json", tmp_path / "x.json")
        assert (said.code, said.err) == (0, "")
        assert "4 of all 7 transactions are isolated: 57.1 %" in said.out
        rows = json.loads((tmp_path / "x.json").read_text())
        assert [row["table"] for row in rows] == ["bal", "bal"]
        assert set(rows[0]) == {"table", *TABLES["bal"][1]}
    one_line(bench("corpus", folder, "--json", folder / "x.json"), 2, "is inside")
    one_line(bench("corpus", file, "--json", file), 2, "must be NAME.json")


@pytest.mark.corpus
def test_the_command_shows_three_tables_of_a_small_folder(bench, shared, tmp_path, monkeypatch):
    corpus, small = shared / "corpus", tmp_path / "small"
    (small / "op_trace").mkdir(parents=True)
    for folder in ("cryo", "state"):
        (small / folder).symlink_to(corpus / folder)
    for path in sorted((corpus / "op_trace").glob("*.parquet"))[:3]:
        (small / "op_trace" / path.name).symlink_to(path)
    bal_file(small / "bal" / "eip7928_accesses.parquet", ROWS)
    said = bench("corpus", small, "-v", "--json", tmp_path / "x.json")
    assert (said.code, said.err) == (0, "")
    for text in ("isolated", "misordered", "everything, credits commute", "16 workers", "list, longest path", "116525"):
        assert text in said.out
    rows = json.loads((tmp_path / "x.json").read_text())
    assert {row["table"] for row in rows} == {
        "bal", "definitions", "definitions summary", "workers", "workers summary", "models", "models summary",
    }  # fmt: skip
    for row in rows:
        assert set(row) == {"table", *TABLES[row["table"]][1]}
    for width in (80, 100):
        monkeypatch.setattr(tables, "_console", lambda width=width: Console(width=width, highlight=False))
        narrow = bench("corpus", small, "-v").out
        assert "…" not in narrow
        assert max(map(len, narrow.splitlines())) <= width


@pytest.mark.corpus
def test_blocks_of_any_kind_are_read_without_a_folder_around_them(bench, shared, tmp_path):
    number = 930196
    mine = tmp_path / "mine"
    mine.mkdir()
    for file in (shared / "corpus" / "cryo").glob(f"*__{number:08d}_to_{number:08d}.parquet"):
        (mine / file.name).symlink_to(file)
    said = bench("corpus", mine, "--json", tmp_path / "cryo.json")
    assert (said.code, said.err) == (0, "")
    assert "cryo, 1 blocks with transactions, by which dependencies count" in said.out
    pn.write_blocks(tmp_path / "same.parquet", list(pn.read_blocks(mine)))
    again = bench("corpus", tmp_path / "same.parquet", "--json", tmp_path / "same.json")
    assert "block files, 1 blocks with transactions" in again.out
    rows = json.loads((tmp_path / "cryo.json").read_text())
    assert {row["table"] for row in rows} >= {"definitions", "workers", "models"}
    assert {row["block_number"] for row in rows if "block_number" in row} == {number}
    assert rows == json.loads((tmp_path / "same.json").read_text())


def test_a_folder_without_either_is_bad_input(bench, tmp_path):
    one_line(bench("corpus", tmp_path), 1, "must be blocks, or a folder that holds bal/eip7928_accesses.parquet or")
    one_line(bench("corpus", tmp_path / "no"), 1, "no such file or folder")


def test_options_of_the_other_benchmark_are_refused_before_a_subcommand(bench, tmp_path):
    one_line(bench("--repeat", 3, "corpus", tmp_path), 2, "--repeat before corpus")


def test_model_sums_are_those_of_the_simulations_block_by_block():
    programs = [[("SSTORE", (1, 0), 1)], [("SLOAD", (1, 0))], [("NOOP", 9)]]
    pool = [pn.Block.from_programs(programs, meta={"chain_gas_used": [5, 3, n]}) for n in (1, 7)]
    rows = [row for block in pool for row in model_rows(block, (2,))]
    runs = [pn.simulate(block, "block-stm", workers=2, cost="chain-gas") for block in pool]
    (found,) = (one for one in model_summary(rows) if one["model"] == "block-stm")
    assert found["blocks"] == 2
    assert found["n_tx"] == 6
    assert found["total"] == sum(run.serial for run in runs) / sum(run.makespan for run in runs)
    assert found["reexecutions"] == sum(run.reexecutions for run in runs)
    assert found["wasted_share"] == sum(run.wasted for run in runs) / sum(run.busy for run in runs)
