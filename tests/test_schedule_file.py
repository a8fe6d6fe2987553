"""Schedule files: what is written comes back to the bit, and a file that breaks a rule is refused with its place.

This file is also the program that reads damaged files, in a process of its own (see test_fuzz_files.py).
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from test_fuzz_files import mutations, peak_memory, survives, table_mutation

import pevm_numba as pn
from pevm_numba.errors import BlockError, FileFormatError, PevmError
from pevm_numba.io.schedule_file import SCHEMA, is_schedule_file, read_schedule, write_schedule
from pevm_numba.schedule.plan import Schedule
from pevm_numba.schedule.timeline import Timeline

_MEMORY = 4 * 2**30


def plan(**changes: Any) -> pa.Table:
    """A sound file of four transactions on two workers, as a table, with columns replaced (None: dropped)."""
    columns = {
        "block_number": pa.array([7] * 4, pa.uint64()),
        "tx_index": pa.array(range(4), pa.uint32()),
        "wave": pa.array([0, 0, 1, 1], pa.uint32()),
        "serial_position": pa.array([0, 1, 3, 2], pa.uint32()),
        "worker": pa.array([0, 1, 0, 1], pa.uint32()),
        "start": pa.array([0.0, 0.0, 3.0, 3.0]),
        "end": pa.array([3.0, 2.0, 4.0, 5.0]),
        "cost": pa.array([3.0, 2.0, 1.0, 2.0]),
    } | changes
    metadata = {"pevm_numba.schema": SCHEMA, "policy": "mine", "n_workers": "2", "makespan": "5.5"}
    return pa.table({name: values for name, values in columns.items() if values is not None}, metadata=metadata)


def with_metadata(**changes: str) -> pa.Table:
    """The sound file with other metadata."""
    table = plan()
    return table.replace_schema_metadata({**{k.decode(): v.decode() for k, v in table.schema.metadata.items()}, **changes})


# -------------------------------------------------------------------- round trips


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Any valid schedule: random waves, order, and with or without a timeline."""
    n = draw(st.integers(0, 12))
    waves = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    kept = np.unique(waves, return_inverse=True)[1]
    lists = [np.flatnonzero(kept == w).tolist() for w in range(len(set(waves)))]
    order = draw(st.permutations(range(n)))
    policy = draw(st.text(st.characters(codec="utf-8"), max_size=8))
    timeline = None
    if draw(st.booleans()):
        workers = draw(st.integers(1, 2**31 - 1))
        used = [draw(st.integers(0, min(3, workers - 1))) for _ in range(n)]
        clock, start, end = dict.fromkeys(range(4), 0.0), np.zeros(n), np.zeros(n)
        for i, w in enumerate(used):
            start[i] = clock[w] + draw(st.floats(0, 1e9))
            clock[w] = end[i] = start[i] + draw(st.floats(0, 1e9))
        timeline = Timeline(workers, used, start, end, max(clock.values()) + draw(st.floats(0, 1e6)))
    flat = [t for wave in lists for t in wave]
    return Schedule.from_arrays(policy, np.cumsum([0] + [len(wave) for wave in lists]), flat, order, timeline)


@given(schedules(), st.integers(0, 2**64 - 1))
@example(Schedule.from_waves("", [[0]]), 2**63)
def test_a_schedule_written_and_read_is_the_same(tmp_path_factory: Any, schedule: Schedule, number: int) -> None:
    path = tmp_path_factory.mktemp("plan") / "plan.parquet"
    write_schedule(path, schedule, number)
    assert read_schedule(path) == schedule
    write_schedule(path.with_suffix(".json"), schedule, number)
    assert read_schedule(path.with_suffix(".json")) == schedule
    assert json.loads(path.with_suffix(".json").read_text())["block_number"] == number
    assert is_schedule_file(path)
    assert is_schedule_file(path.with_suffix(".json"))
    table = pq.read_table(path)
    assert set(table["block_number"].to_pylist()) <= {number}
    assert table["cost"].to_pylist() == [1.0] * schedule.n_tx


@pytest.mark.parametrize("policy", ["levels", "list", "mis", "mis-parallel", "first-fit", "largest-first"])
@pytest.mark.parametrize("workers", [None, 3])
def test_the_schedule_of_every_policy_comes_back_and_is_proved_again(
    tmp_path: Path, policy: str, workers: int | None
) -> None:
    block = pn.generate(n_tx=300, key_space=200, conflict_ratio=0.4, seed=5)
    made = pn.schedule(block, policy, workers=workers, cost="accesses")
    write_schedule(tmp_path / "plan.parquet", made, block.number)
    read = read_schedule(tmp_path / "plan.parquet")
    assert read == made
    pn.check_schedule(read, pn.access_sets(block), block=block)


def test_the_columns_and_the_metadata_are_those_of_the_format(tmp_path: Path) -> None:
    path = tmp_path / "plan.parquet"
    line = Timeline(2, [0, 1, 0], [0, 0, 3], [3, 2, 4], 4.5)
    write_schedule(path, Schedule.from_arrays("mine", [0, 2, 3], [0, 1, 2], [1, 0, 2], line), 9, [3, 2, 1])
    table = pq.read_table(path)
    types = ["uint64", "uint32", "uint32", "uint32", "uint32", "double", "double", "double"]
    assert [str(field.type) for field in table.schema] == types
    assert table.to_pylist()[2] == {
        "block_number": 9, "tx_index": 2, "wave": 1, "serial_position": 2, "worker": 0, "start": 3.0, "end": 4.0, "cost": 1.0,
    }  # fmt: skip
    assert table["serial_position"].to_pylist() == [1, 0, 2]
    assert table.schema.metadata == {
        b"pevm_numba.schema": b"pevm_numba.schedule/1", b"policy": b"mine", b"n_workers": b"2", b"makespan": b"4.5",
    }  # fmt: skip
    write_schedule(path, Schedule.from_waves("mine", [[0]]))
    assert pq.read_table(path)["worker"].to_pylist() == [None]
    assert set(pq.read_schema(path).metadata) == {b"pevm_numba.schema", b"policy"}


def test_further_facts_are_written_and_ignored_by_the_reader(tmp_path: Path) -> None:
    made = Schedule.from_waves("mine", [[0, 1]])
    about = {"cost_unit": "gas", "seed": 3, "bound": 2.5, "valid": True, "priority": None, "policy": "another", "n_tx": 9}
    for name in ("plan.parquet", "plan.json"):
        write_schedule(tmp_path / name, made, 4, about=about)
        assert read_schedule(tmp_path / name) == made
    found = pq.read_schema(tmp_path / "plan.parquet").metadata
    assert found[b"cost_unit"] == b"gas"
    assert {key: json.loads(found[key]) for key in (b"seed", b"bound", b"valid", b"priority")} == {
        b"seed": 3, b"bound": 2.5, b"valid": True, b"priority": None,
    }  # fmt: skip
    assert found[b"policy"] == b"mine"
    whole = json.loads((tmp_path / "plan.json").read_text())
    assert whole == about | {
        "schema": SCHEMA, "block_number": 4, "n_tx": 2, "policy": "mine", "serial_order": [0, 1], "wave": [0, 0],
        "cost": [1, 1],
    }  # fmt: skip


@pytest.mark.parametrize("about", [5, {"a": [1]}, {1: 2}, {"wave": 1}, {"a": float("nan")}])
def test_facts_that_are_none_are_refused(tmp_path: Path, about: Any) -> None:
    with pytest.raises(BlockError, match="about"):
        write_schedule(tmp_path / "plan.json", Schedule.from_waves("mine", [[0]]), about=about)
    assert list(tmp_path.iterdir()) == []


def test_other_programs_can_read_and_rewrite_it(tmp_path: Path) -> None:
    path, other = tmp_path / "plan.parquet", tmp_path / "other.parquet"
    made = pn.schedule(pn.generate(n_tx=50, seed=2), "list", workers=3)
    write_schedule(path, made, 1)
    for rewrite in (
        lambda: pl.read_parquet(path).select(reversed(pl.read_parquet(path).columns)).write_parquet(other),
        lambda: pd.read_parquet(path).to_parquet(other),
        lambda: duckdb.sql(f"COPY (SELECT *, 1 AS more FROM '{path}' ORDER BY tx_index) TO '{other}'"),
    ):
        rewrite()
        read = read_schedule(other)
        assert read.timeline is not None
        assert made.timeline is not None
        assert np.array_equal(read.timeline.end, made.timeline.end)
        assert np.array_equal(read.wave_of, made.wave_of)
        assert read == made or read.policy == "unknown"  # not every program keeps the metadata


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan.parquet"
    write_schedule(path, Schedule.from_waves("first", [[0]]))

    def fails(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", fails)
    with pytest.raises(FileFormatError, match=r"plan\.parquet: cannot be written: disk full"):
        write_schedule(path, Schedule.from_waves("second", [[0]]))
    assert read_schedule(path).policy == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["plan.parquet"]


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    made, path = Schedule.from_waves("mine", [[0]]), tmp_path / "plan.parquet"
    with pytest.raises(FileFormatError, match=r"a schedule file is named NAME\.parquet or NAME\.json"):
        write_schedule(tmp_path / "plan.csv", made)
    with pytest.raises(BlockError, match="schedule = 5: must be a Schedule"):
        write_schedule(path, 5)  # type: ignore[arg-type]  # the refusal is the test
    with pytest.raises(BlockError, match="block_number = -1"):
        write_schedule(path, made, -1)
    with pytest.raises(BlockError, match="cost has shape"):
        write_schedule(path, made, 0, [1, 2])
    with pytest.raises(FileFormatError, match="cannot be written as UTF-8"):
        write_schedule(path, Schedule.from_waves("\ud800", [[0]]))
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------- files that break a rule


def u32(*values: int | None) -> pa.Array:
    return pa.array(values, pa.uint32())


@pytest.mark.parametrize(
    ("table", "parts"),
    [
        (plan(tx_index=None), ["column tx_index: missing"]),
        (plan(tx_index=u32(0, 2, 1, 3)), ["column tx_index, row 1 = 2", "sorted, no gap, no row twice"]),
        (plan(tx_index=u32(0, 1, 2, None)), ["column tx_index, row 3 = None", "must not be null"]),
        (plan(block_number=u32(7, 7, 8, 7)), ["column block_number, row 2 = 8", "must be 7 in all rows"]),
        (plan(wave=u32(0, 0, 2, 2)), ["column wave, row 2 = 2", "wave 1 has no transaction"]),
        (plan(wave=u32(0, 0, 1, 4)), ["column wave, row 3 = 4", "must be in [0, 3]"]),
        (plan(wave=pa.array(["a"] * 4)), ["column wave: type string: must be integers"]),
        (plan(serial_position=u32(0, 1, 1, 2)), ["column serial_position, row 2 = 1", "each place in serial order once"]),
        (plan(serial_position=u32(0, 1, 2, 9)), ["column serial_position, row 3 = 9", "must be in [0, 3]"]),
        (plan(worker=u32(0, 1, 0, 2)), ["column worker, row 3 = 2", "must be below n_workers = 2"]),
        (plan(worker=u32(0, None, 0, 1)), ["column worker, row 1 = None", "must not be null where"]),
        (plan(end=None), ["column end: missing: a timeline needs worker, start, end"]),
        (plan(start=pa.array([0.0, -1.0, 3, 3])), ["column start, row 1 = -1.0", "finite and not negative"]),
        (plan(start=pa.array([0.0, float("nan"), 3, 3])), ["column start, row 1 = nan"]),
        (plan(start=pa.array([0.0, 2.5, 3, 3])), ["column end, row 1 = 2.0", "must not be before start"]),
        (plan(end=pa.array([3.0, 2, 4, 6])), ["column end, row 3 = 6.0", "must not be after makespan = 5.5"]),
        (plan(end=pa.array([b"x"] * 4)), ["column end: type binary: must be floats"]),
        (with_metadata(n_workers="two"), ["metadata n_workers = 'two': must be an integer"]),
        (with_metadata(n_workers="0"), ["metadata n_workers = '0'"]),
        (with_metadata(makespan="nan"), ["metadata makespan = 'nan': must be a finite number"]),
        (with_metadata(**{"pevm_numba.schema": "pevm_numba.block/1"}), ["must be pevm_numba.schedule/1"]),
    ],
    ids=lambda value: value[0][:40] if isinstance(value, list) else "",
)  # fmt: skip
def test_a_file_that_breaks_a_rule_is_refused_with_its_place(tmp_path: Path, table: pa.Table, parts: list[str]) -> None:
    path = tmp_path / "plan.parquet"
    pq.write_table(plan(), path)
    assert read_schedule(path).policy == "mine"
    pq.write_table(table, path)
    with pytest.raises(FileFormatError) as said:
        read_schedule(path)
    assert str(said.value).startswith(f"{path}: ")
    for part in parts:
        assert part in str(said.value)


def as_json(**changes: Any) -> str:
    """The sound file as JSON, with members replaced (None: dropped)."""
    whole: dict[str, Any] = {"schema": SCHEMA, "block_number": 7, "policy": "mine", "n_workers": 2, "makespan": 5.5}
    whole |= {"serial_order": [0, 1, 3, 2], "wave": [0, 0, 1, 1], "worker": [0, 1, 0, 1]}
    whole |= {"start": [0, 0, 3, 3.0], "end": [3, 2, 4, 5]}
    return json.dumps({name: value for name, value in (whole | changes).items() if value is not None})


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "not readable JSON"),
        (as_json(schema="pevm_numba.block/1"), "schema 'pevm_numba.block/1': must be pevm_numba.schedule/1"),
        (as_json(wave=None), "wave: missing: a required list"),
        (as_json(serial_order=None), "serial_order: missing"),
        (as_json(wave={"a": 1}), "wave: {'a': 1}: must be a list"),
        (as_json(wave=[0, 0, 2, 2]), "column wave, row 2 = 2: wave 1 has no transaction"),
        (as_json(wave=[0, 0, 1, "x"]), "wave: not a list of numbers"),
        (as_json(wave=[0, 0, 1, 0.5]), "column wave: type double: must be integers"),
        (as_json(wave=[0, 0, 1, True]), "wave"),
        (as_json(wave=[0, 0, 1, 2**80]), "wave: not a list of numbers"),
        (as_json(serial_order=[0, 1, 1, 2]), "serial_order"),
        (as_json(serial_order=[0, 1, 2, 4]), "column serial_order, row 3 = 4"),
        (as_json(serial_order=[0, 1, 2, [3]]), "serial_order: not a list of numbers"),
        (as_json(start=[0, 0, 3]), "start: 3 values: must be a list, one value for each transaction"),
        (as_json(start=[0, 0, 3, -1]), "column start, row 3 = -1"),
        (as_json(end=None), "column end: missing: a timeline needs"),
        (as_json(worker=[0, 1, 0, 2]), "column worker, row 3 = 2: must be below n_workers = 2"),
        (as_json(n_workers=2.5), "n_workers = '2.5': must be an integer"),
        (as_json(makespan=float("nan")), "makespan = 'NaN': must be a finite number"),
        (as_json(makespan=[1]), "makespan = '[1]'"),
        (as_json(block_number="x"), "column block_number"),
        (as_json(block_number=2**70), "block_number: "),
        ("{" + '"a":[' * 100_000, "not readable JSON"),
    ],
)
def test_json_that_breaks_a_rule_is_refused_with_its_place(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(as_json())
    pq.write_table(plan(), tmp_path / "plan.parquet")
    assert read_schedule(path) == read_schedule(tmp_path / "plan.parquet")
    path.write_text(text)
    with pytest.raises(FileFormatError) as said:
        read_schedule(path)
    assert str(said.value).startswith(f"{path}: ")
    assert part in str(said.value)


def test_a_path_without_a_readable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no such file"):
        read_schedule(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("nothing that fits")
    with pytest.raises(FileFormatError, match="not a readable Parquet file"):
        read_schedule(tmp_path / "text.parquet")
    with pytest.raises(FileFormatError):
        read_schedule(tmp_path)


# -------------------------------------------------------------------- damaged files


@cache
def sound(workers: int | None) -> Schedule:
    """A schedule to damage."""
    return pn.schedule(pn.generate(n_tx=20, key_space=20, conflict_ratio=0.5, seed=1), "mis", workers=workers)


def damaged(folder: Path, seed: int) -> Path:
    """A sound file with something broken by chance."""
    path = folder / "plan.parquet"
    path.unlink(missing_ok=True)
    write_schedule(path, sound(2 if seed % 2 else None), 3)
    if seed % 3 == 0:
        pq.write_table(table_mutation(pq.read_table(path), seed // 3), path)
        return path
    if seed % 3 == 1:  # without checksums, so that the damage reaches the decoders
        pq.write_table(pq.read_table(path), path, compression=("none", "snappy")[seed % 2], use_dictionary=seed % 4 < 2)
    path.write_bytes(mutations(path.read_bytes(), seed))
    return path


def main(start: int, stop: int, folder: Path) -> int:
    """Read one damaged file per seed; returns 1 if anything but a PevmError or a Schedule came out."""
    resource.setrlimit(resource.RLIMIT_AS, (2 * _MEMORY, 2 * _MEMORY))
    outcomes = {"schedule": 0, "error": 0}
    for seed in range(start, stop):
        print(f"seed {seed}", flush=True)
        path = damaged(folder, seed)
        try:
            read = read_schedule(path)
            assert sorted(read.serial_order.tolist()) == list(range(read.n_tx))
            outcomes["schedule"] += 1
        except PevmError:
            outcomes["error"] += 1
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            return 1
    print(json.dumps({**outcomes, "peak": peak_memory()}))
    return 0


def test_damaged_files_give_an_error_or_a_valid_schedule(tmp_path: Path) -> None:
    seeds = 3000 if os.environ.get("PEVM_NUMBA_SOAK") else 240
    counts = survives(Path(__file__), "schedule", 0, seeds, tmp_path)
    assert counts["schedule"] + counts["error"] == seeds
    assert counts["error"] >= seeds // 4, "the damage is too weak to test anything"


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
