"""Execution files: what is written comes back equal, and what is damaged, altered or of another block is refused.

This file is also the program that reads damaged files, in a process of its own (see test_fuzz_files.py).
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import traceback
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from strategies import blocks
from test_fuzz_files import mutations, peak_memory, survives, table_mutation

import pevm_numba as pn
from pevm_numba.errors import BlockError, FileFormatError, PevmError
from pevm_numba.execute.result import Execution
from pevm_numba.io.execution_file import SCHEMA, read_execution, write_execution

_MEMORY = 4 * 2**30
A, B, C = (1, 0, 0), (2, 0, 0), (3, 1, 0)


def example() -> Execution:
    """A schedule with a timeline in an order of its own, changes, times, refunds and a failure: all that a file can hold."""
    sums = [("SLOAD", A), ("ADD", 2), ("SSTORE", B, "TOP")]
    programs = [[("SSTORE", A, 0)], sums, [("ADD", 1)], [("CREDIT", C, 2**255)]]
    block = pn.Block.from_programs(programs, {A: 5, C: 1}, number=9)
    line = pn.Timeline(2, [0, 0, 1, 1], [0, 1.5, 0, 1], [1, 2.5, 1, 2], 3)
    plan = pn.Schedule.from_waves("by hand ✓", [[0, 2], [3, 1]], [0, 2, 3, 1], line)
    return pn.execute(block, "waves", schedule=plan, workers=2, record=("changes", "times"))


def same(one: Execution, two: Execution) -> bool:
    """Whether all that two executions hold is the same, to the bit."""
    for name in ("status", "gas_used", "refund", "output", "digest", "stop", "values"):
        mine, theirs = getattr(one, name), getattr(two, name)
        if mine.dtype != theirs.dtype or not np.array_equal(mine, theirs) or theirs.flags.writeable:
            return False
    for part, names in ("changes", ("indptr", "keys", "values")), ("times", ("start", "end", "worker", "runs", "n_workers")):
        mine, theirs = getattr(one, part), getattr(two, part)
        if (mine is None) != (theirs is None):
            return False
        if mine is not None and not all(np.array_equal(getattr(mine, name), getattr(theirs, name)) for name in names):
            return False
    rest = ("executor", "schedule", "counters", "timings", "reason", "observed")
    return one.block == two.block and all(getattr(one, name) == getattr(two, name) for name in rest)


# -------------------------------------------------------------------- round trips


@given(block=blocks())
def test_any_execution_comes_back_equal(block: pn.Block, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("any") / "done.parquet"
    for options in ({}, {"record": ("changes", "times")}):
        done = pn.execute(block, "serial", **options)
        write_execution(path, done)
        back = read_execution(path, block)
        assert back.difference(done) is None
        assert same(done, back)


@pytest.mark.parametrize("executor", ["serial", "waves", "dataflow", "optimistic", "bal"])
def test_executions_by_every_executor_come_back_equal(executor: str, tmp_path: Path) -> None:
    block = pn.generate("medium", seed=8)
    done = pn.execute(block, executor, workers=2, record=("changes", "times"))
    pn.write_execution(tmp_path / "done.parquet", done)
    back = pn.read_execution(tmp_path / "done.parquet", pn.generate("medium", seed=8))
    assert same(done, back)
    assert not back.diff(done)


def test_schedule_changes_times_and_texts_come_back(tmp_path: Path) -> None:
    done = replace(example(), reason="because “so”\ud800")
    assert done.status.tolist() == [0, 0, 2, 0]
    assert done.refund[0] > 0
    assert done.schedule is not None
    assert not done.schedule.block_order
    path = tmp_path / "done.parquet"
    write_execution(path, done)
    assert same(done, read_execution(path, done.block))


def test_a_wrong_result_can_be_kept_and_compared(tmp_path: Path) -> None:
    done = example()
    values = done.values.copy()
    values[2] = [7, 7, 7, 7]
    wrong = replace(done, values=values)
    write_execution(tmp_path / "wrong.parquet", wrong)
    back = read_execution(tmp_path / "wrong.parquet", done.block)
    assert back.difference(wrong) is None
    assert back.diff(done).keys == [done.block.key_name(2)]


def test_empty_blocks_have_files(tmp_path: Path) -> None:
    done = pn.execute(pn.Block.from_programs([], {A: 3}), "serial", record=("changes", "times"))
    write_execution(tmp_path / "none.parquet", done)
    assert same(done, read_execution(tmp_path / "none.parquet", done.block))
    values = done.values + np.uint64(1)
    with pytest.raises(FileFormatError, match="a block without transactions changes its state"):
        write_execution(tmp_path / "none.parquet", replace(done, values=values))


def test_other_programs_read_the_table(tmp_path: Path) -> None:
    done = example()
    path = tmp_path / "done.parquet"
    write_execution(path, done)
    query = f"select tx_index, gas_used, len(state) as n from '{path}' order by tx_index"
    assert duckdb.sql(query).fetchall() == list(zip(range(4), done.gas_used.tolist(), [1, 1, 0, 1]))
    keys = [[entry["key"] for entry in each] for each in pq.read_table(path)["state"].to_pylist()]
    last = {0: 0, 1: 1, 2: 3}  # A by the first, B by the second, C credited by the last
    assert keys == [[k for k in last if last[k] == t] for t in range(4)]


def test_the_readers_of_blocks_pass_by_execution_files(tmp_path: Path) -> None:
    done = example()
    write_execution(tmp_path / "done.parquet", done)
    pn.write_blocks(tmp_path / "blocks.parquet", done.block)
    assert [block.number for block in pn.read_blocks(tmp_path)] == [9]
    with pytest.raises(FileFormatError, match=r"done\.parquet"):
        pn.read_block(tmp_path / "done.parquet")


# -------------------------------------------------------------------- arguments


def test_only_executions_are_written_and_only_under_a_parquet_name(tmp_path: Path) -> None:
    with pytest.raises(BlockError, match="execution = 5: must be an Execution or an EvmExecution"):
        write_execution(tmp_path / "x.parquet", 5)  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(FileFormatError, match=r"x\.json: an execution file is named NAME\.parquet"):
        write_execution(tmp_path / "x.json", example())
    with pytest.raises(FileFormatError, match="no such file"):
        read_execution(tmp_path / "x.parquet", example().block)
    write_execution(tmp_path / "x.parquet", example())
    with pytest.raises(BlockError, match="block = 5: must be a Block or an EvmBlock"):
        read_execution(tmp_path / "x.parquet", 5)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize("kind", ["blocks", "state"])
def test_no_companion_of_a_block_file_is_replaced(kind: str, tmp_path: Path) -> None:
    block = pn.Block.from_programs([[("SSTORE", A, 1)]], {A: 3})
    pn.write_blocks(tmp_path / "b.parquet", block)
    name, done = tmp_path / f"b.{kind}.parquet", pn.execute(block, "serial")
    with pytest.raises(FileFormatError, match=r"an execution file is named NAME\.parquet \(not \.blocks\.parquet or"):
        pn.write_execution(name, done)
    with pytest.raises(FileFormatError, match=r"NAME\.json \(not \.blocks\.parquet or \.state\.parquet\)"):
        pn.write_schedule(name, pn.schedule(block, "levels"), block_number=0)
    assert pn.read_block(tmp_path / "b.parquet") == block


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "done.parquet"
    done = example()
    write_execution(path, done)

    def fail(table: pa.Table, where: Path, **options: Any) -> None:
        where.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(FileFormatError, match="cannot be written: no space left"):
        write_execution(path, replace(done, reason="new"))
    assert same(done, read_execution(path, done.block))
    assert [item.name for item in tmp_path.iterdir()] == ["done.parquet"]


def test_counters_that_are_no_integers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BlockError, match=r"counters\['waves'\] = 1.5: must be an integer"):
        write_execution(tmp_path / "x.parquet", replace(example(), counters={"waves": 1.5}))
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------- files that break a rule


def stored(folder: Path, **changes: Any) -> pa.Table:
    """The table of a sound file, with columns replaced (None: dropped) and metadata (`about_…`: members of it) as well."""
    path = folder / "sound.parquet"
    write_execution(path, example())
    table = pq.read_table(path)
    named = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    about = json.loads(named["about"])
    for name, value in changes.items():
        if name.startswith("about_"):
            about[name.removeprefix("about_")] = value
        elif name in named:
            named[name] = value
        elif value is None:
            table = table.drop_columns([name])
        else:
            table = table.set_column(table.column_names.index(name), name, value)
    named = {name: value for name, value in named.items() if value is not None}
    if any(name.startswith("about_") for name in changes):
        named["about"] = json.dumps(about)
    return table.replace_schema_metadata(named)


def entries(*given: list[tuple[int | None, bytes]]) -> pa.Array:
    """A column of changes."""
    kind = pa.list_(pa.struct([("key", pa.int64()), ("value", pa.binary())]))
    return pa.array([[{"key": key, "value": value} for key, value in each] for each in given], kind)


W = b"\x05" * 32


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"state": None}, ["column state: missing"]),
        ({"runs": None}, ["column runs: missing"]),
        ({"plan_start": None}, ["column plan_start: missing"]),
        ({"serial_position": None}, ["column serial_position: missing"]),
        ({"block_number": pa.array([9, 9, 8, 9])}, ["column block_number, row 2 = 8: must be 9"]),
        ({"tx_index": pa.array([0, 2, 1, 3])}, ["column tx_index, row 1 = 2", "sorted"]),
        ({"status": pa.array([0, 0, 2, 4])}, ["column status, row 3 = 4: must be in [0, 3]"]),
        ({"status": pa.array([0, 0, None, 0])}, ["column status, row 2 = None: must not be null"]),
        ({"status": pa.array(["ok"] * 4)}, ["column status: type string: must be integers"]),
        ({"gas_used": pa.array([1, -1, 1, 1])}, ["column gas_used, row 1 = -1"]),
        ({"output": pa.array([b"x" * 31] * 4)}, ["column output, row 0 = 0x78", "must be 32 bytes"]),
        ({"stop": pa.array([2, 3, 3, 1])}, ["column stop, row 0 = 2: must be at most the number of ops"]),
        ({"state": entries([(0, W)], [(3, W)], [], [])}, ["column state.key, row 1, item 0 = 3: must be in [0, 2]"]),
        ({"state": entries([(0, W)], [(0, W)], [], [])}, ["column state.key, row 1, item 0 = 0", "each key once"]),
        ({"state": entries([(0, b"x")], [], [], [])}, ["column state.value, row 0, item 0 = 0x78: must be 32 bytes"]),
        ({"state": entries([(None, W)], [], [], [])}, ["column state.key, row 0, item 0 = None: must not be null"]),
        ({"state": pa.array([[1]] * 4)}, ["column state: type", "must be a list of structs"]),
        ({"changes": entries([], [(1, W), (0, W)], [], [])}, ["column changes.key, row 1, item 1 = 0", "ascending"]),
        ({"worker": pa.array([0, 2, 0, 0])}, ["column worker, row 1 = 2: must be below n_workers = 2"]),
        ({"end_ns": pa.array([-1, 0, 0, 0])}, ["column end_ns, row 0 = -1"]),
        ({"start_ns": pa.array([0, 0, 0, 2**62])}, ["column end_ns, row 3", "must not be before start_ns"]),
        ({"runs": pa.array([1, 1, 0, 1])}, ["column runs, row 2 = 0: must be in [1, "]),
        ({"wave": pa.array([0, 2, 0, 2])}, ["column wave, row 1 = 2: wave 1 has no transaction"]),
        ({"plan_end": pa.array([1.0, 2.5, 1, 9])}, ["column plan_end, row 3 = 9.0: must not be after makespan = 3"]),
        ({"pevm_numba.schema": "pevm_numba.execution/2"}, [f"schema 'pevm_numba.execution/2': must be {SCHEMA}"]),
        ({"content_sha256": None}, ["metadata content_sha256: missing"]),
        ({"about": "{"}, ["metadata about: not readable JSON"]),
        ({"about": "[" * 100_000}, ["metadata about: not readable JSON"]),
        ({"about": "{}"}, ["metadata about = {}: must have block_number"]),
        ({"about_counters": {"waves": "x"}}, ["counters['waves'] = 'x': must be an integer"]),
        ({"about_executor": 5}, ["metadata about, executor = 5: is of a wrong type"]),
        ({"about_n_workers": 0}, ["n_workers = 0: must be in [1,"]),
        ({"about_policy": None}, ["policy = None: must be a str"]),
        ({"about_block_digest": "no"}, ["execution of block 9 with digest 'no': must be of <Block 9: "]),
        ({"about_reason": "another"}, ["content_sha256", "is not that of the content"]),
        ({"about_counters": {"waves": 3}}, ["is not that of the content"]),
        ({"gas_used": pa.array([1, 2, 3, 4])}, ["is not that of the content"]),
        ({"refund": pa.array([1, 2, 3, 4])}, ["is not that of the content"]),
        ({"state": entries([(0, W)], [], [], [])}, ["is not that of the content"]),
        ({"start_ns": pa.array([0, 0, 0, 0])}, ["is not that of the content"]),
        ({"plan_start": pa.array([0, 0, 0, 0])}, ["is not that of the content"]),
    ],
    ids=lambda value: str(value[0])[:50] if isinstance(value, list) else "",
)  # fmt: skip
def test_a_file_that_breaks_a_rule_is_refused_with_its_place(tmp_path: Path, changes: Any, parts: list[str]) -> None:
    done, path = example(), tmp_path / "broken.parquet"
    pq.write_table(stored(tmp_path), path)
    assert read_execution(path, done.block).difference(done) is None  # rewritten by another program, but the same
    pq.write_table(stored(tmp_path, **changes), path)
    with pytest.raises(FileFormatError) as said:
        read_execution(path, done.block)
    assert str(said.value).startswith(f"{path}: ")
    for part in parts:
        assert part in str(said.value)


def test_a_file_of_another_block_is_refused(tmp_path: Path) -> None:
    done = example()
    write_execution(tmp_path / "done.parquet", done)
    other = done.block.slice(0, 3)
    with pytest.raises(FileFormatError, match=f"with digest '{done.block.digest()}': must be of <Block 9: 3 txs"):
        read_execution(tmp_path / "done.parquet", other)


def test_rows_that_were_taken_out_are_missed(tmp_path: Path) -> None:
    pq.write_table(stored(tmp_path).slice(0, 3), tmp_path / "short.parquet")
    with pytest.raises(FileFormatError, match="3 rows: must be 4, one for each transaction"):
        read_execution(tmp_path / "short.parquet", example().block)


# -------------------------------------------------------------------- damaged files


@cache
def _sound() -> Execution:
    return pn.execute(pn.generate("small", n_tx=30, seed=2), "waves", workers=1, record=("changes", "times"))


def _run_seeds(start: int, stop: int, folder: Path) -> int:
    """Read one damaged file per seed; 1 unless each gives a PevmError or the execution that was written."""
    resource.setrlimit(resource.RLIMIT_AS, (2 * _MEMORY, 2 * _MEMORY))
    done, path = _sound(), folder / "done.parquet"
    counts = {"block": 0, "error": 0}
    for seed in range(start, stop):
        print(f"seed {seed}", flush=True)
        write_execution(path, done)
        if seed % 4 == 0:
            pq.write_table(table_mutation(pq.read_table(path), seed // 4), path)
        else:
            if seed % 4 != 1:  # without checksums of pages, so that the damage reaches the values
                pq.write_table(pq.read_table(path), path, compression=("none", "zstd")[seed % 2])
            data = bytearray(path.read_bytes())
            if seed % 4 == 2:  # one bit anywhere
                rng = random.Random(seed)
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            path.write_bytes(bytes(data) if seed % 4 == 2 else mutations(bytes(data), seed))
        try:
            assert same(done, read_execution(path, done.block)), "a wrong value was read"
            counts["block"] += 1
        except PevmError:
            counts["error"] += 1
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            return 1
    print(json.dumps({**counts, "peak": peak_memory()}))
    return 0


def test_damaged_files_give_an_error_or_the_execution_that_was_written(tmp_path: Path) -> None:
    seeds = 2000 if os.environ.get("PEVM_NUMBA_SOAK") else 200
    counts = survives(Path(__file__), "execution", 0, seeds, tmp_path)
    assert counts["block"] + counts["error"] == seeds
    assert counts["error"] >= seeds // 2, "the damage is too weak to test anything"


if __name__ == "__main__":
    sys.exit(_run_seeds(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
